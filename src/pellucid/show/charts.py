"""Charts as HTML: bars, waterfalls and curves. Lengths are percentages, so that they fit every width."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pellucid.core.figure import Bars, Curve, Points
from pellucid.show.steps import Step, extent, steps_of, ticks
from pellucid.show.words import TOWARDS, clean, number, short, written

DASHES = ("", "7 4", "2 3", "9 3 2 3", "5 2", "1 3")
MOST_POINTS = 800


def bars(figure: Bars) -> Markup:
    """A table with a bar a row; with base and total, each bar starts where the one before ended."""
    steps = steps_of(figure)
    low, high = extent(figure, steps)
    largest = max((abs(each.value) for each in steps if np.isfinite(each.value)), default=1.0)
    body = Markup().join(row(figure, each, (low, high), largest) for each in steps)
    ends = [written(each, figure.unit, False, largest) for each in (low, high)]
    sense = [clean(figure.sense) or TOWARDS] if figure.signed else []
    unit = [] if figure.unit in ("", "probability") else [clean(figure.unit)]
    note = Markup('<small class="pl-sense">{}</small>').format(" · ".join(unit + sense)) if unit + sense else ""
    return Markup(
        '<table class="pl-bar-table{}"><tbody>{}</tbody><tfoot><tr><td></td>'
        '<td class="pl-axis"><span>{}</span><span>{}</span></td><td></td></tr></tfoot></table>{}'
    ).format("" if figure.errors is None else " pl-errors", body, *ends, note)


def row(figure: Bars, step: Step, ends: tuple[float, float], largest: float) -> Markup:
    """One row: name, bar, number."""
    detail = Markup(' <span class="pl-detail">= {}</span>').format(short(step.detail)) if step.detail else ""
    error = Markup(" <small>± {}</small>").format(number(step.error, 2)) if step.error else ""
    return Markup(
        '<tr class="pl-{}"><th scope="row"><span class="pl-label">{}</span>{}</th>'
        '<td class="pl-bar"><svg width="100%" height="100%" aria-hidden="true">{}</svg></td>'
        '<td class="pl-number">{}{}</td></tr>'
    ).format(
        "step" if step.moves else "level",
        short(step.label),
        detail,
        bar(step, *ends, figure),
        written(step.value, figure.unit, figure.signed and step.moves, largest),
        error,
    )


def bar(step: Step, low: float, high: float, figure: Bars) -> Markup:
    """The bar of a row, with its whisker and the lines that lead from the row before and to the next."""

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    parts = []
    if low < 0 < high:
        parts.append(line(at(0), "0", at(0), "100%", "pl-zero"))
    if figure.base is not None:
        parts += [line(at(step.start), "0", at(step.start), "50%", "pl-lead")] if step.before else []
        parts += [line(at(step.end), "50%", at(step.end), "100%", "pl-lead")] if step.after else []
    if not step.moves:
        parts.append(Markup('<circle class="pl-dot" cx="{}" cy="50%" r="4"/>').format(at(step.end)))
    else:
        left, right = min(step.start, step.end), max(step.start, step.end)
        wide = f"{max(100 * (right - left) / (high - low), 0.3):.2f}%"
        box = Markup('<rect class="pl-{}" x="{}" y="22%" width="{}" height="56%" rx="1"/>')
        parts.append(box.format(step.color, at(left), wide))
    if step.error:
        parts.append(line(at(step.end - step.error), "50%", at(step.end + step.error), "50%", "pl-whisker"))
    return Markup().join(parts)


def line(x1: str, y1: str, x2: str, y2: str, name: str) -> Markup:
    """A line of a drawing."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(name, x1, y1, x2, y2)


def curve(figure: Curve, alt: str) -> Markup:
    """Lines over a common axis, told apart by color and dash."""
    x = np.asarray(figure.x, dtype=float)
    low, high = reach(figure)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    rows, columns = ticks(low, high, 4), ticks(*span(x), 5)
    frame = (*span(x), low, high)
    drawn = []
    for i, name in enumerate(figure.lines):
        if figure.bands and name in figure.bands:
            drawn.append(band(x, *figure.bands[name], frame, i))
        drawn.append(polyline(x, figure.lines[name], frame, i))
    guides = Markup().join(guide(100 * (high - each) / (high - low)) for each in rows)
    return Markup(
        '<div class="pl-plot" role="img" aria-label="{alt}"><svg class="pl-rows" aria-hidden="true">{rows}</svg>'
        '<svg class="pl-lines" viewBox="0 0 1000 1000" preserveAspectRatio="none">{guides}{lines}</svg>'
        '<svg class="pl-marks-x" aria-hidden="true">{columns}</svg></div>{names}{legend}'
    ).format(
        alt=alt,
        rows=Markup().join(row_mark(each, low, high) for each in rows),
        guides=guides,
        lines=Markup().join(drawn),
        columns=Markup().join(column_mark(each, *span(x)) for each in columns),
        names=axes(figure),
        legend=legend(figure),
    )


def span(x: NDArray[np.floating]) -> tuple[float, float]:
    """The finite range of numbers, never empty."""
    real = x[np.isfinite(x)]
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def reach(figure: Curve) -> tuple[float, float]:
    """The range of all lines and bands."""
    parts = [np.ravel(each) for each in figure.lines.values()]
    parts += [np.ravel(each) for pair in (figure.bands or {}).values() for each in pair]
    return span(np.concatenate(parts).astype(float) if parts else np.zeros(0))


def guide(y: float) -> Markup:
    """A line across the plot."""
    return line("0%", f"{y:.2f}%", "100%", f"{y:.2f}%", "pl-guide")


def row_mark(value: float, low: float, high: float) -> Markup:
    """A number on the upright axis."""
    y = 100 * (high - value) / (high - low)
    return Markup('<text x="100%" y="{:.2f}%" dx="-6" dy="0.32em" text-anchor="end">{}</text>').format(y, number(value))


def column_mark(value: float, low: float, high: float) -> Markup:
    """A number on the level axis."""
    x = 100 * (value - low) / (high - low)
    anchor = "start" if x < 4 else "end" if x > 96 else "middle"
    return Markup('<text x="{:.2f}%" y="1.1em" text-anchor="{}">{}</text>').format(x, anchor, number(value))


def points(x: Any, y: Any, frame: tuple[float, float, float, float]) -> list[str]:
    """Pieces of a line in the coordinates of the plot; a missing value ends a piece."""
    left, right, low, high = frame
    x, y = thinned(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    across, up = 1000 * (x - left) / (right - left), 1000 * (high - y) / (high - low)
    pieces: list[list[str]] = [[]]
    for a, b in zip(across, up, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            pieces[-1].append(f"{a:.1f},{b:.1f}")
        elif pieces[-1]:
            pieces.append([])
    return [" ".join(piece) for piece in pieces if piece]


def thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most ``MOST_POINTS`` points: the lowest and the highest of each stretch, in their order."""
    if len(x) <= MOST_POINTS:
        return x, y
    chosen = []
    for part in np.array_split(np.arange(len(x)), MOST_POINTS // 2):
        values = np.nan_to_num(y[part])
        chosen += sorted({int(part[values.argmin()]), int(part[values.argmax()])})
    return x[chosen], y[chosen]


def polyline(x: Any, y: Any, frame: tuple[float, float, float, float], i: int) -> Markup:
    """One line of a curve."""
    form = Markup('<polyline class="pl-line pl-line-{}" stroke-dasharray="{}" points="{}"/>')
    return Markup().join(form.format(i % 6, DASHES[i % 6], each) for each in points(x, y, frame))


def band(x: Any, low: Any, high: Any, frame: tuple[float, float, float, float], i: int) -> Markup:
    """The area between two lines."""
    x, low, high = (np.asarray(each, dtype=float) for each in (x, low, high))
    whole = np.isfinite(low) & np.isfinite(high)
    there, back = points(x[whole], low[whole], frame), points(x[whole][::-1], high[whole][::-1], frame)
    return Markup('<polygon class="pl-band pl-line-{}" points="{}"/>').format(i % 6, " ".join(there + back))


def axes(figure: Curve | Points) -> Markup:
    """The names of both axes."""
    if not (figure.x_label or figure.y_label):
        return Markup()
    names = [("↑ ", figure.y_label), ("→ ", figure.x_label)]
    parts = [Markup("<span>{}{}</span>").format(arrow, short(name)) for arrow, name in names if name]
    return Markup('<p class="pl-axes">{}</p>').format(Markup().join(parts))


def legend(figure: Curve) -> Markup:
    """The names of the lines beside samples of them."""
    item = Markup(
        '<li><svg class="pl-sample" viewBox="0 0 28 8" aria-hidden="true">'
        '<line class="pl-line pl-line-{}" stroke-dasharray="{}" x1="0" y1="4" x2="28" y2="4"/></svg> {}</li>'
    )
    items = (item.format(i % 6, DASHES[i % 6], short(name)) for i, name in enumerate(figure.lines))
    return Markup('<ul class="pl-legend">{}</ul>').format(Markup().join(items))
