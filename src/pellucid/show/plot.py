"""matplotlib: figures for papers. No global state is touched: no pyplot, no style, no window."""

from __future__ import annotations

import math
from collections.abc import Callable
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea, VPacker

from pellucid.core.figure import Bars, Curve, Figure, Grid, Heat, MarkedText, Picture, Sheet
from pellucid.show.charts import DASHES
from pellucid.show.color import code, level, level_color, table, writing
from pellucid.show.html import resolution
from pellucid.show.pixels import composed, peaks, sharp
from pellucid.show.steps import Step, steps_of
from pellucid.show.words import TOWARDS, cell, clean, columns, number, short, signed, written

LINES = ("#0b6e93", "#b4531f", "#4b7f2a", "#8a4f9e", "#8b6f00", "#5b6770")
QUIET = "#4d5b66"
WIDTH = 60


def paint(figure: Figure) -> Canvas:
    """The figure drawn by matplotlib; ``savefig`` writes it to a file."""
    each = list(figure.figures) if isinstance(figure, Grid) else [figure]
    across = max(1, min(figure.columns, len(each))) if isinstance(figure, Grid) else 1
    down = math.ceil(len(each) / across) or 1
    sizes = [size(one) for one in each] or [(4.0, 3.0)]
    wide, high = max(w for w, _ in sizes), max(h for _, h in sizes)
    canvas = Canvas(figsize=(wide * across, high * down + 0.3), layout="constrained")
    canvas.canvas  # noqa: B018 - a figure without pyplot already has the canvas that writes files
    places = canvas.subplots(down, across, squeeze=False).ravel()
    for place, one in zip(places, each, strict=False):
        draw(one, place)
    for place in places[len(each) :]:
        place.set_axis_off()
    if isinstance(figure, Grid) and figure.title:
        canvas.suptitle(short(figure.title), parse_math=False, fontsize=11, fontweight="bold")
    return canvas


def draw(figure: Figure, axes: Any) -> None:
    """One figure into one set of axes."""
    if isinstance(figure, Grid):
        figure = Sheet(title=figure.title, header=("figures",), rows=tuple((one.title,) for one in figure.figures))
    PAINTERS[next(kind for kind in type(figure).__mro__ if kind in PAINTERS)](figure, axes)
    if figure.title:
        axes.set_title(short(figure.title, 60), parse_math=False, fontsize=10, loc="left", fontweight="bold")
    if figure.caption:
        lines = "\n".join(wrap(short(figure.caption, 240), 80))
        axes.text(0, -0.14, lines, transform=axes.transAxes, va="top", fontsize=8, color=QUIET, parse_math=False)


def size(figure: Figure) -> tuple[float, float]:
    """Width and height in inches."""
    if isinstance(figure, Heat):
        rows, across = figure.values.shape if figure.under is None else figure.under.shape[:2]
        return (7.0, 2.2) if rows * 3 < across else (3.6, 3.9)
    if isinstance(figure, Picture):
        return 3.6, 3.6
    if isinstance(figure, Bars):
        return 6.5, 0.9 + 0.28 * (len(figure.labels) + 3)
    if isinstance(figure, MarkedText):
        return 6.5, 1.0 + 0.42 * len(broken(figure))
    return (6.5, 0.8 + 0.3 * (len(figure.rows) + 1)) if isinstance(figure, Sheet) else (6.5, 3.4)


def picture(figure: Picture, axes: Any) -> None:
    axes.imshow(figure.pixels, interpolation="nearest" if max(figure.pixels.shape[:2]) <= 64 else "antialiased")
    axes.set_axis_off()


def heat(figure: Heat, axes: Any) -> None:
    drawn = composed(figure)
    rows, across = drawn.shape[:2]
    strip = figure.under is None and rows * 3 < across
    axes.imshow(drawn, interpolation="nearest" if sharp(figure) else "antialiased", aspect="auto" if strip else "equal")
    for x, y, sign in peaks(figure):
        place = (x * across - 0.5, y * rows - 0.5)
        mark = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.8}
        axes.text(*place, "+" if sign > 0 else "−", ha="center", va="center", fontsize=7, bbox=mark)
    axes.set_axis_off()
    colorbar(figure.limit, figure.signed, resolution(figure), axes)


def colorbar(limit: float, signs: bool, note: str, axes: Any) -> None:
    """The scale with its limits in print and what the sign means."""
    limit = limit if np.isfinite(limit) and limit > 0 else 1.0
    shades = ScalarMappable(Normalize(-limit if signs else 0, limit), ListedColormap(table(signs)))
    bar = axes.figure.colorbar(shades, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03, aspect=30)
    ends = [-limit, 0, limit] if signs else [0, limit]
    bar.set_ticks(ends, labels=[signed(each) if signs else number(each) for each in ends], fontsize=8)
    bar.outline.set_visible(False)
    label = "\n".join(part for part in (TOWARDS if signs else "", note) if part)
    bar.set_label(label, fontsize=8, color=QUIET)


def bars(figure: Bars, axes: Any) -> None:
    steps = steps_of(figure)
    largest = max((abs(each.value) for each in steps if np.isfinite(each.value)), default=1.0)
    for row, step in enumerate(steps):
        bar(figure, step, row, axes, largest)
    names = [short(step.label + (f" = {step.detail}" if step.detail else ""), 44) for step in steps]
    axes.set_yticks(range(len(steps)), labels=names, parse_math=False, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
    axes.axvline(0, color="#9aa3ab", lw=0.8, zorder=0)
    note = " · ".join([clean(figure.unit)] * bool(figure.unit) + [TOWARDS] * figure.signed)
    axes.set_xlabel(note, parse_math=False, fontsize=8, color=QUIET)


def bar(figure: Bars, step: Step, row: int, axes: Any, largest: float) -> None:
    """One bar with its whisker, its number, and the line to the next row."""
    if step.moves:
        color = {"plain": "#4d5b66", "rest": "#9aa3ab"}.get(step.color) or code(level_color(step.color))
        error = {"xerr": step.error, "ecolor": "#222222", "error_kw": {"lw": 1}} if step.error else {}
        axes.barh(row, step.end - step.start, left=step.start, height=0.6, color=color, **error)
    else:
        axes.plot([step.end], [row], "o", color=QUIET, ms=5)
    if step.after:
        axes.plot([step.end] * 2, [row, row + 1], color="#9aa3ab", lw=0.8, ls=":", zorder=0)
    text = written(step.value, figure.unit, figure.signed and step.moves, largest)
    right = max(step.start, step.end) + step.error
    axes.annotate(text, (right, row), (4, 0), textcoords="offset points", va="center", fontsize=8, parse_math=False)


def curve(figure: Curve, axes: Any) -> None:
    handles = []
    for i, (name, values) in enumerate(figure.lines.items()):
        dash = [float(each) / 2 for each in DASHES[i % 6].split()]
        style: Any = (0, dash) if dash else "-"
        handles += axes.plot(figure.x, values, color=LINES[i % 6], ls=style, lw=1.6)
        if figure.bands and name in figure.bands:
            axes.fill_between(figure.x, *figure.bands[name], color=LINES[i % 6], alpha=0.18, lw=0)
    axes.set_xlabel(short(figure.x_label), parse_math=False, fontsize=9)
    axes.set_ylabel(short(figure.y_label), parse_math=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0)
    if handles:
        legend = axes.legend(handles, [str(i) for i in range(len(handles))], frameon=False, fontsize=8)
        for label, name in zip(legend.get_texts(), figure.lines, strict=True):
            label.set_parse_math(False)
            label.set_text(short(name, 40))


def broken(figure: MarkedText) -> list[list[int]]:
    """The tokens of each line, by number."""
    lines: list[list[int]] = [[]]
    filled = 0
    for i, token in enumerate(figure.tokens):
        filled += columns(clean(token)) + 2
        if filled > WIDTH and lines[-1]:
            lines.append([])
            filled = columns(clean(token)) + 2
        lines[-1].append(i)
    return lines


def marked(figure: MarkedText, axes: Any) -> None:
    rows: list[Any] = [
        HPacker(children=[word(figure, i) for i in line], pad=0, sep=5, align="top") for line in broken(figure)
    ]
    packed = VPacker(children=rows, pad=0, sep=9, align="left")
    box = AnnotationBbox(packed, (0, 1), xycoords="axes fraction", box_alignment=(0, 1), frameon=False, pad=0)
    axes.add_artist(box)
    axes.set_axis_off()
    if np.any(figure.values):
        colorbar(figure.limit, figure.signed, "", axes)


def word(figure: MarkedText, i: int) -> VPacker:
    """A word on its color; strong ones bear their number."""
    value = float(figure.values[i])
    name = level(value, figure.limit, figure.signed)
    ground = level_color(name)
    style: dict[str, Any] = {"fontsize": 10, "parse_math": False}
    if name != "z":
        style |= {"color": writing(ground), "bbox": {"boxstyle": "round,pad=0.2", "fc": code(ground), "ec": "none"}}
    amount = (signed(value, 2) if figure.signed else number(value, 2)) if abs(value) >= 0.15 * figure.limit else ""
    below = TextArea(amount or " ", textprops={"fontsize": 6.5, "color": QUIET})
    above = TextArea(clean(figure.tokens[i]) or " ", textprops=style)
    return VPacker(children=[above, below], pad=0, sep=2, align="center")


def sheet(figure: Sheet, axes: Any) -> None:
    axes.set_axis_off()
    rows = [[short(cell(each), 40) for each in row] for row in figure.rows]
    if not figure.header:
        return
    drawn = axes.table([[short(each, 40) for each in figure.header], *rows], loc="upper left", cellLoc="left", edges="")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    for (row, _), one in drawn.get_celld().items():
        one.get_text().set_parse_math(False)
        one.get_text().set_fontweight("bold" if row == 0 else "normal")


PAINTERS: dict[type[Figure], Callable[[Any, Any], None]] = {
    Picture: picture,
    Heat: heat,
    Bars: bars,
    Curve: curve,
    MarkedText: marked,
    Sheet: sheet,
}
