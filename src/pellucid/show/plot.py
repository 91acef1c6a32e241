"""matplotlib: figures for papers. No global state is touched: no pyplot, no style, no window."""

from __future__ import annotations

import math
from collections.abc import Callable
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea, VPacker

from pellucid.core.figure import (
    Bars,
    Curve,
    Figure,
    Force,
    Grid,
    Heat,
    Maps,
    MarkedText,
    Matrix,
    Picture,
    Points,
    Scatter,
    Sheet,
    Tiles,
)
from pellucid.show.charts import DASHES
from pellucid.show.color import code, index, level, level_color, table, writing
from pellucid.show.html import resolution
from pellucid.show.multiples import maps_size, plot_maps, plot_tiles, tiles_size
from pellucid.show.panels import LETTER, MOST_NUMBERS, PALEST, colors, end_words, reach, segments, span, spoken
from pellucid.show.pixels import borders, composed, peaks, sharp
from pellucid.show.scatter import plot_scatter
from pellucid.show.steps import Step, steps_of
from pellucid.show.words import TOWARDS, cell, clean, columns, number, short, signed, written

LINES = ("#0b6e93", "#b4531f", "#4b7f2a", "#8a4f9e", "#8b6f00", "#5b6770")
QUIET = "#4d5b66"
WIDTH = 60
CAPTION: dict[str, Any] = {"fontsize": 8, "color": QUIET, "parse_math": False}


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
    if isinstance(figure, Points | Curve) and figure.caption:
        axes.annotate(told(figure), (0, 0), (0, -36), "axes fraction", "offset points", va="top", **CAPTION)
    elif figure.caption and not isinstance(figure, Matrix | Force | Heat | Maps | Tiles):
        axes.text(0, -0.14, told(figure), transform=axes.transAxes, va="top", **CAPTION)


def told(figure: Figure) -> str:
    """The caption in lines."""
    return "\n".join(wrap(short(figure.caption, 240), 80))


def size(figure: Figure) -> tuple[float, float]:
    """Width and height in inches."""
    if isinstance(figure, Heat):
        rows, across = figure.values.shape if figure.under is None else figure.under.shape[:2]
        if figure.under is None and figure.edges is not None:
            return 7.0, 1.3 + 6.4 * min(max(rows / across, 0.15), 1.3)
        return (7.0, 2.2) if rows * 3 < across else (3.6, 3.9)
    if isinstance(figure, Picture):
        return 3.6, 3.6
    if isinstance(figure, Bars):
        return 6.5, 0.9 + 0.28 * (len(figure.labels) + 3)
    if isinstance(figure, Force):
        return 6.5, 1.9 + 0.16 * len(said(figure))
    if isinstance(figure, Points):
        if isinstance(figure, Scatter):
            return 7.4, 5.4
        return 6.5, 1.1 + 0.36 * len(figure.rows) if figure.rows else 3.6
    if isinstance(figure, Matrix):
        return matrix_size(figure)
    if isinstance(figure, Maps):
        return maps_size(figure)
    if isinstance(figure, Tiles):
        return tiles_size(figure)
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
    if figure.edges is not None:
        lines, high, wide = borders(figure.edges)
        scale = np.array([across / wide, rows / high])
        ends = np.array(lines, dtype=float).reshape(-1, 2, 2) * scale - 0.5
        axes.add_collection(LineCollection(list(ends), colors="#1a1f22", linewidths=0.6, alpha=0.6))
    for x, y, sign in peaks(figure):
        place = (x * across - 0.5, y * rows - 0.5)
        mark = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.8}
        axes.text(*place, "+" if sign > 0 else "−", ha="center", va="center", fontsize=7, bbox=mark)
    axes.set_axis_off()
    note = "\n".join(part for part in (told(figure), resolution(figure)) if part)
    colorbar(figure.limit, figure.signed, note, axes)


def colorbar(limit: float, signs: bool, note: str, axes: Any, sense: str = TOWARDS) -> None:
    """The scale with its limits in print and what the sign means."""
    limit = limit if np.isfinite(limit) and limit > 0 else 1.0
    shades = ScalarMappable(Normalize(-limit if signs else 0, limit), ListedColormap(table(signs)))
    bar = axes.figure.colorbar(shades, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03, aspect=30)
    ends = [-limit, 0, limit] if signs else [0, limit]
    bar.set_ticks(ends, labels=[signed(each) if signs else number(each) for each in ends], fontsize=8)
    bar.outline.set_visible(False)
    label = "\n".join(part for part in (sense if signs else "", note) if part)
    bar.set_label(label, fontsize=8, color=QUIET)


def bars(figure: Bars, axes: Any) -> None:
    steps = steps_of(figure)
    largest = max((abs(each.value) for each in steps if np.isfinite(each.value)), default=1.0)
    for row, step in enumerate(steps):
        bar(figure, step, row, axes, largest)
    names = [short(step.label + (f" = {step.detail}" if step.detail else ""), 44) for step in steps]
    axes.set_yticks(range(len(steps)), labels=names, parse_math=False, fontsize=9)
    axes.invert_yaxis()
    low, high = axis_ends(steps, zero=figure.base is None)
    axes.set_xlim(low, high)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False, labelsize=9)
    if low <= 0 <= high:
        axes.axvline(0, color="#9aa3ab", lw=0.8, zorder=0)
    note = " · ".join([clean(figure.unit)] * bool(figure.unit) + [clean(figure.sense) or TOWARDS] * figure.signed)
    axes.set_xlabel(note, parse_math=False, fontsize=8, color=QUIET)


def axis_ends(steps: list[Step], *, zero: bool) -> tuple[float, float]:
    """The ends of the axis: all bars and whiskers, with room for numbers; zero where bars start there."""
    ends = [edge + sign * each.error for each in steps for edge in (each.start, each.end) for sign in (-1, 1)]
    finite = [each for each in [*ends, *[0.0] * zero] if np.isfinite(each)] or [0.0]
    low, high = min(finite), max(finite)
    room = 0.18 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


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
    back = figure.base is None and step.end < step.start
    edge = step.end - step.error if back else max(step.start, step.end) + step.error
    place: dict[str, Any] = {"ha": "right" if back else "left", "va": "center", "textcoords": "offset points"}
    axes.annotate(text, (edge, row), (-4 if back else 4, 0), fontsize=8, parse_math=False, **place)


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


def force(figure: Force, axes: Any) -> None:
    """Up from the baseline in one lane, down to the input's value in the next."""
    low, high = reach(figure)
    parts = segments(figure)
    lanes = max((each.lane for each in parts), default=0)
    for each in parts:
        ground = "#9aa3ab" if each.color == "rest" else code(level_color(each.color))
        axes.barh(each.lane, each.end - each.start, left=each.start, height=0.72, color=ground, ec="white", lw=0.8)
        wide = abs(each.end - each.start) / (high - low) * 6.2 * 72
        if wide > LETTER * len(each.label) + 8:
            ink = "#000000" if each.color == "rest" else writing(level_color(each.color))
            at = min(each.start, each.end)
            style: Any = {"textcoords": "offset points", "va": "center", "fontsize": 8, "parse_math": False}
            axes.annotate(short(each.label), (at, each.lane), (4, 0), color=ink, **style)
    for value, lane, name, up in ((figure.base, 0, "baseline", -1), (figure.total, lanes, "this input", 1)):
        axes.plot([value] * 2, [lane - 0.45, lane + 0.45], color="#222222", lw=1.4)
        text = end_words(figure, name, value)
        share = (value - low) / (high - low)
        side = "left" if share < 0.15 else "right" if share > 0.85 else "center"
        axes.text(
            value, lane + 0.55 * up, text, ha=side, va="bottom" if up < 0 else "top", fontsize=8, parse_math=False
        )
    axes.set_xlim(low, high)
    axes.set_ylim(lanes + 1.1, -1.1)
    axes.set_axis_off()
    axes.text(0, -0.02, "\n".join(said(figure)), transform=axes.transAxes, va="top", fontsize=8, parse_math=False)


def said(figure: Force) -> list[str]:
    """What pushes, in lines that fit."""
    lines = [line for _, text in spoken(figure) for line in wrap(clean(text), 100, subsequent_indent="    ")]
    return [*lines, *told(figure).splitlines()]


def points(figure: Points, axes: Any) -> None:
    shades = [LINES[0] if each == "plain" else "#9aa3ab" if each == "rest" else code(level_color(each))
              for each in colors(figure)]  # fmt: skip
    axes.scatter(figure.x, figure.y, s=9 if figure.rows else 14, c=shades, lw=0.25, ec="#222222", zorder=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if figure.rows:
        axes.set_xlim(*span(figure.x, zero=True))
        axes.set_ylim(len(figure.rows) - 0.5, -0.5)
        axes.set_yticks(range(len(figure.rows)), [short(each, 34) for each in figure.rows], parse_math=False)
        axes.tick_params(left=False)
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color="#9aa3ab", lw=0.8)
    elif figure.columns:
        most = max(3, 70 // len(figure.columns))
        axes.set_xlim(-0.6, len(figure.columns) - 0.4)
        axes.set_xticks(range(len(figure.columns)), [short(each, most) for each in figure.columns], parse_math=False)
    if not figure.rows:
        axes.axhline(0, color="#9aa3ab", lw=0.8, zorder=0)
    axes.set_xlabel(short(figure.x_label), parse_math=False, fontsize=9)
    axes.set_ylabel(short(figure.y_label, 50), parse_math=False, fontsize=9)
    if figure.shades is not None:
        table = ListedColormap([level_color(f"u{each}") for each in range(PALEST, 17)])
        bar = axes.figure.colorbar(ScalarMappable(Normalize(0, 1), table), ax=axes, aspect=30, pad=0.02, fraction=0.04)
        bar.set_ticks([0, 1], labels=[short(each, 20) for each in figure.shade_ends], fontsize=8)
        for label in bar.ax.get_yticklabels():
            label.set_parse_math(False)
        bar.outline.set_visible(False)
        bar.set_label(short(figure.shade_label, 50), fontsize=8, color=QUIET)
        bar.ax.yaxis.label.set_parse_math(False)


def matrix_size(figure: Matrix) -> tuple[float, float]:
    """Width and height that leave room for names and, in small matrices, numbers."""
    rows, across = figure.values.shape
    name = 0.075 * max((min(len(each), 30) for each in figure.row_names), default=0)
    head = 0.06 * max((min(len(each), 24) for each in figure.column_names), default=0)
    cell = 0.5 if max(rows, across) <= MOST_NUMBERS else min(0.3, 10 / max(across, 1))
    tall = 0.34 if max(rows, across) <= MOST_NUMBERS else min(0.24, 7 / max(rows, 1))
    return max(4.0, name + cell * across + 0.4), head + tall * rows + 1.3


def matrix(figure: Matrix, axes: Any) -> None:
    values, (rows, across) = np.asarray(figure.values, dtype=float), figure.values.shape
    drawn = table(figure.signed)[index(values, figure.limit, figure.signed)]
    drawn = np.where(np.isfinite(values)[..., None], drawn, 1.0)
    axes.imshow(drawn, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(across), [short(each, 24) for each in figure.column_names], parse_math=False, rotation=90)
    shown = [i for i, name in enumerate(figure.row_names) if name]
    ends = [*shown[1:], rows]
    middle = [(start + end - 1) / 2 for start, end in zip(shown, ends, strict=True)]
    axes.set_yticks(middle, [short(figure.row_names[i], 30) for i in shown], parse_math=False)
    axes.tick_params(length=0, labelsize=8 if max(rows, across) <= 48 else 5.5)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    for each in figure.breaks:
        axes.axhline(each - 0.5, color="white", lw=3)
    if max(rows, across) <= MOST_NUMBERS:
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = signed(value, 2) if figure.signed else number(value, 2)
                ink = writing(drawn[i, j])
                axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=ink, parse_math=False)
    colorbar(figure.limit, figure.signed, told(figure), axes, clean(figure.sense) or TOWARDS)


def maps(figure: Maps, axes: Any) -> None:
    plot_maps(figure, axes)
    if figure.values.ndim == 3 and not figure.own:
        colorbar(figure.limit, figure.signed, told(figure), axes, clean(figure.sense))
    else:
        axes.text(0, -0.02, told(figure), transform=axes.transAxes, va="top", **CAPTION)


def tiles(figure: Tiles, axes: Any) -> None:
    plot_tiles(figure, axes)
    axes.text(0, -0.01, told(figure), transform=axes.transAxes, va="top", **CAPTION)


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
    drawn.set_fontsize(9 if len(figure.header) <= 8 else 7.5)
    drawn.auto_set_column_width(list(range(len(figure.header))))
    for (row, _), one in drawn.get_celld().items():
        one.get_text().set_parse_math(False)
        one.get_text().set_fontweight("bold" if row == 0 else "normal")


PAINTERS: dict[type[Figure], Callable[[Any, Any], None]] = {
    Picture: picture,
    Heat: heat,
    Bars: bars,
    Force: force,
    Points: points,
    Scatter: plot_scatter,
    Matrix: matrix,
    Curve: curve,
    MarkedText: marked,
    Maps: maps,
    Tiles: tiles,
    Sheet: sheet,
}
