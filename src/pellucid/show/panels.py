"""Dots, matrices and forces as HTML, and the layouts that every painter shares."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pellucid.core.figure import Force, Matrix, Points
from pellucid.show.charts import axes, column_mark, guide, line, row_mark
from pellucid.show.color import LEVELS, level
from pellucid.show.steps import UNACCOUNTED, ticks
from pellucid.show.words import number, short, signed, written

MOST_SEGMENTS = 8
MOST_NUMBERS = 14
LETTER, ROOM = 6.6, 460
PALEST = 3


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of a force: ``lane`` 0 pushes up, 1 pushes down, 2 is not accounted for."""

    label: str
    value: float
    start: float
    end: float
    color: str
    lane: int
    detail: str = ""
    parts: int = 1


def segments(figure: Force) -> list[Segment]:
    """The stretches of a force, in the order in which they are drawn; small ones of a sign stand together."""
    values = np.nan_to_num(np.asarray(figure.values, dtype=float), posinf=0.0, neginf=0.0)
    details = figure.details or ("",) * len(figure.labels)
    found, at = [], float(figure.base)
    for lane, color in enumerate(("p11", "n11")):
        order = [int(i) for i in np.argsort(-np.abs(values), kind="stable") if (values[i] > 0, values[i] < 0)[lane]]
        rows = [(figure.labels[i], details[i], float(values[i]), 1) for i in order[:MOST_SEGMENTS]]
        if rest := order[MOST_SEGMENTS:]:
            rows.append((f"{len(rest)} others together", "", float(values[rest].sum()), len(rest)))
        for label, detail, value, parts in rows:
            end = at + value
            given = {"label": label, "detail": detail, "color": color}
            found.append(Segment(**given, value=value, start=at, end=end, lane=lane, parts=parts))
            at = end
    missing = float(figure.total) - at
    size = max(float(np.abs(values).max(initial=0)), abs(figure.total - figure.base), 1e-300)
    if abs(missing) > UNACCOUNTED * size:
        name = "not accounted for"
        found.append(Segment(label=name, value=missing, start=at, end=figure.total, color="rest", lane=2))
    return found


def reach(figure: Force) -> tuple[float, float]:
    """The ends of a force's axis, with some room."""
    places = [figure.base, figure.total, *(each.end for each in segments(figure))]
    low, high = min(places), max(places)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def spoken(figure: Force) -> list[tuple[str, str]]:
    """What pushes up, what pushes down and what is missing, in words: the color and the line."""
    parts, lines = segments(figure), []
    largest = max((abs(each.value) for each in parts), default=1.0)
    for lane, (one, many) in enumerate((("pushes up", "push up"), ("pushes down", "push down"))):
        mine = [each for each in parts if each.lane == lane]
        if not mine:
            continue
        named = ", ".join(
            short(each.label + (f" = {each.detail}" if each.detail else ""))
            + f" ({written(each.value, figure.unit, True, largest)})"
            for each in mine
        )
        together = written(sum(each.value for each in mine), figure.unit, True, largest)
        count = sum(each.parts for each in mine)
        lead = f"{count} parts {many}, {together} together" if count > 1 else f"1 part {one}"
        lines.append((mine[0].color, f"{lead}: {named}"))
    lines += [("rest", f"{each.label}: {signed(each.value)}") for each in parts if each.lane == 2]
    return lines


def force(figure: Force, alt: str) -> Markup:
    """One bar in two lanes: up from the baseline, then down to the input's own value."""
    low, high = reach(figure)
    parts = segments(figure)
    lanes = max((each.lane for each in parts), default=0) + 1

    def at(value: float) -> float:
        return 100 * (value - low) / (high - low)

    drawn = [stretch(each, at(min(each.start, each.end)), at(max(each.start, each.end))) for each in parts]
    turns = [each for one, each in pairwise(parts) if one.lane != each.lane]
    drawn += [upright(at(each.start), 24 + 30 * each.lane - 8, 24 + 30 * each.lane, "pl-lead") for each in turns]
    bottom = 24 + 30 * lanes - 6
    drawn += [
        upright(at(figure.base), 18, 46, "pl-level"),
        upright(at(figure.total), bottom - 24, bottom + 4, "pl-level"),
    ]
    ends = [
        end_mark(at(figure.base), 13, end_words(figure, "baseline", figure.base)),
        end_mark(at(figure.total), bottom + 17, end_words(figure, "this input", figure.total)),
    ]
    key = Markup('<svg class="pl-key pl-{}" viewBox="0 0 1 1" aria-hidden="true"><rect width="1" height="1"/></svg>')
    words = Markup().join(Markup("<li>{} {}</li>").format(key.format(color), text) for color, text in spoken(figure))
    return Markup(
        '<svg class="pl-forces pl-lanes-{}" role="img" aria-label="{}">{}</svg><ul class="pl-said">{}</ul>'
    ).format(lanes, alt, Markup().join(drawn + ends), words)


def end_words(figure: Force, name: str, value: float) -> str:
    """An end of a force in words, with its unit."""
    unit = "" if figure.unit in ("", "probability") else f" {short(figure.unit, 24)}"
    return f"{name} {written(value, figure.unit, False, max(abs(figure.base), abs(figure.total)))}{unit}"


def stretch(each: Segment, left: float, right: float) -> Markup:
    """A segment with its name where there is room for it."""
    wide = max(right - left, 0.2)
    fits = wide / 100 * ROOM > LETTER * len(each.label) + 10
    name = Markup('<text class="pl-in" x="5" y="15">{}</text>').format(short(each.label)) if fits else ""
    return Markup(
        '<svg class="pl-{}" x="{:.2f}%" y="{}" width="{:.2f}%" height="22"><title>{}</title>'
        '<rect width="100%" height="100%"/>{}</svg>'
    ).format(each.color, left, 24 + 30 * each.lane, wide, f"{short(each.label)} {signed(each.value)}", name)


def upright(x: float, top: float, bottom: float, name: str) -> Markup:
    """An upright line at a share of the width."""
    return line(f"{x:.2f}%", str(top), f"{x:.2f}%", str(bottom), name)


def end_mark(x: float, y: float, text: str) -> Markup:
    """A word at one end of a force; near a border it is written inwards."""
    anchor = "start" if x < 15 else "end" if x > 85 else "middle"
    return Markup('<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


# ------------------------------------------------------------------------------------------------------------- dots


def shade(value: float) -> str:
    """The color of a share 0 … 1 on the unsigned scale; the palest steps are left out, so that no dot is lost.

    >>> shade(0.0), shade(1.0), shade(float("nan"))
    ('u3', 'u16', 'rest')
    """
    if not np.isfinite(value):
        return "rest"
    return f"u{PALEST + round((LEVELS - PALEST) * min(max(float(value), 0.0), 1.0))}"


def span(values: NDArray[np.floating], zero: bool = False) -> tuple[float, float]:
    """The range of numbers with some room, never empty; with ``zero``, it is in it."""
    real = np.asarray(values, dtype=float)
    real = real[np.isfinite(real)]
    real = np.append(real, 0.0) if zero or not real.size else real
    low, high = float(real.min()), float(real.max())
    room = 0.04 * (high - low) or 0.5
    return low - room, high + room


def dots(figure: Points, alt: str) -> Markup:
    """Dots in named rows, or on two axes."""
    body = in_rows(figure, alt) if figure.rows else on_axes(figure, alt)
    if figure.shades is None:
        return body
    return body + ramp(figure)


def real(figure: Points) -> NDArray[np.intp]:
    """The numbers of the points that can be drawn."""
    return np.flatnonzero(np.isfinite(figure.x) & np.isfinite(figure.y))


def dot(x: float, y: float, name: str) -> Markup:
    """One dot, in percent of the drawing."""
    return Markup('<circle class="pl-point pl-{}" cx="{:.2f}%" cy="{:.2f}%" r="2.6"/>').format(name, x, y)


def colors(figure: Points) -> list[str]:
    """The color of every point."""
    return ["plain"] * len(figure.x) if figure.shades is None else [shade(each) for each in figure.shades]


def in_rows(figure: Points, alt: str) -> Markup:
    """A row a name: its dots on one common axis."""
    low, high = span(figure.x, zero=True)
    across, names = 100 * (figure.x - low) / (high - low), colors(figure)
    zero = line(f"{-100 * low / (high - low):.2f}%", "0", f"{-100 * low / (high - low):.2f}%", "100%", "pl-zero")
    row_of = np.full(len(figure.y), -1)
    row_of[real(figure)] = np.rint(figure.y[real(figure)]).astype(int)
    form = Markup(
        '<tr><th scope="row"><span class="pl-label">{}</span></th><td class="pl-dots">'
        '<svg width="100%" height="100%" aria-hidden="true">{}{}</svg></td></tr>'
    )
    lines = []
    for row, name in enumerate(figure.rows):
        mine = np.flatnonzero(row_of == row)
        drawn = Markup().join(dot(across[i], 50 + 100 * (figure.y[i] - row), names[i]) for i in mine)
        lines.append(form.format(short(name), zero, drawn))
    marks = Markup().join(column_mark(each, low, high) for each in ticks(low, high, 5))
    return Markup(
        '<table class="pl-dot-table" aria-label="{}"><tbody>{}</tbody><tfoot><tr><td></td><td class="pl-ticks">'
        '<svg width="100%" height="100%" aria-hidden="true">{}</svg></td></tr></tfoot></table>{}'
    ).format(alt, Markup().join(lines), marks, axes(figure))


def on_axes(figure: Points, alt: str) -> Markup:
    """A plain scatter; named columns stand where whole numbers would."""
    left, right = (-0.6, len(figure.columns) - 0.4) if figure.columns else span(figure.x)
    low, high = span(figure.y)
    across, up = 100 * (figure.x - left) / (right - left), 100 * (high - figure.y) / (high - low)
    names, rows = colors(figure), ticks(low, high, 4)
    zero = line("0%", f"{100 * high / (high - low):.2f}%", "100%", f"{100 * high / (high - low):.2f}%", "pl-zero")
    drawn = Markup().join(dot(across[i], up[i], names[i]) for i in real(figure))
    if figure.columns:
        form = Markup('<text x="{:.2f}%" y="1.1em" text-anchor="middle">{}</text>')
        places = [100 * (i - left) / (right - left) for i in range(len(figure.columns))]
        most = max(3, 80 // len(figure.columns))
        marks = [form.format(at, short(name, most)) for at, name in zip(places, figure.columns, strict=True)]
    else:
        marks = [column_mark(each, left, right) for each in ticks(left, right, 5)]
    return Markup(
        '<div class="pl-plot" role="img" aria-label="{}"><svg class="pl-rows" aria-hidden="true">{}</svg>'
        '<svg class="pl-lines" aria-hidden="true">{}{}{}</svg>'
        '<svg class="pl-marks-x" aria-hidden="true">{}</svg></div>{}'
    ).format(
        alt,
        Markup().join(row_mark(each, low, high) for each in rows),
        Markup().join(guide(100 * (high - each) / (high - low)) for each in rows),
        zero if low < 0 < high else "",
        drawn,
        Markup().join(marks),
        axes(figure),
    )


def ramp(figure: Points) -> Markup:
    """What the colors of dots mean."""
    box = Markup('<rect class="pl-u{}" x="{}" width="1.05" height="1"/>')
    shown = range(PALEST, LEVELS + 1)
    return Markup(
        '<div class="pl-scale"><span>{}</span><svg class="pl-ramp" viewBox="0 0 {} 1" preserveAspectRatio="none"'
        ' aria-hidden="true">{}</svg><span>{}</span><small class="pl-sense">{}</small></div>'
    ).format(
        short(figure.shade_ends[0], 24),
        len(shown),
        Markup().join(box.format(each, i) for i, each in enumerate(shown)),
        short(figure.shade_ends[1], 24),
        short(figure.shade_label),
    )


# ----------------------------------------------------------------------------------------------------------- matrix


def matrix(figure: Matrix, alt: str) -> Markup:
    """A table of colored cells, with numbers where it is small."""
    rows, across = figure.values.shape
    numbers = max(rows, across) <= MOST_NUMBERS
    heads = Markup().join(
        Markup('<th scope="col"><span>{}</span></th>').format(short(each, 40)) for each in figure.column_names
    )
    body = Markup().join(
        Markup("<tr{}>{}{}</tr>").format(
            Markup(' class="pl-break"') if i in figure.breaks else "",
            row_head(figure.row_names, i),
            Markup().join(square(value, figure, numbers) for value in figure.values[i].tolist()),
        )
        for i in range(rows)
    )
    form = "pl-numbers" if numbers else "pl-thin" if rows > 24 else "pl-bare"
    return Markup(
        '<div class="pl-scroll" tabindex="0" role="region" aria-label="{}"><table class="pl-matrix-table {}">'
        "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(alt, form, heads, body)


def row_head(names: tuple[str, ...], i: int) -> Markup:
    """The name of a row, beside all rows that belong to it."""
    if i and not names[i]:
        return Markup()
    to = next((j for j in range(i + 1, len(names)) if names[j]), len(names))
    many = Markup(' rowspan="{}"').format(to - i) if to > i + 1 else ""
    return Markup('<th scope="row"{}>{}</th>').format(many, short(names[i], 60))


def square(value: float, figure: Matrix, numbers: bool) -> Markup:
    """One cell."""
    if not np.isfinite(value):
        return Markup('<td class="pl-none"></td>')
    text = (signed(value, 2) if figure.signed else number(value, 2)) if numbers else ""
    return Markup('<td class="pl-{}">{}</td>').format(level(value, figure.limit, figure.signed), text)
