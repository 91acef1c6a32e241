"""Text for a terminal: plain characters, nothing that a terminal would obey."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import wrap
from typing import Any

import numpy as np

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
    Sheet,
    Tiles,
)
from pellucid.show.color import share
from pellucid.show.multiples import text_maps, text_tiles
from pellucid.show.panels import reach, segments, span, spoken
from pellucid.show.pixels import fit, gray, resized
from pellucid.show.steps import Step, extent, steps_of
from pellucid.show.words import TOWARDS, cell, clean, columns, number, short, signed, written

WIDTH = 80
LABEL = 30
BAR = 28
SIDE = 24
LIGHT = " ░▒▓█"
TOWARD = " .+*#"
AWAY = " ,-~="
HEIGHTS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉█"


def paint(figure: Figure) -> str:
    """The figure as lines of plain text."""
    kind = next(each for each in type(figure).__mro__ if each in PAINTERS)
    parts = [clean(figure.title), PAINTERS[kind](figure), *wrap(clean(figure.caption), WIDTH)]
    return "\n".join(part for part in parts if part)


def picture(figure: Picture) -> str:
    """Lightness in five steps."""
    light = gray(figure.pixels)[..., 0]
    rows, across = fit(len(light), len(light[0]), SIDE)
    return cells(resized(light, rows, across), LIGHT, LIGHT)


def heat(figure: Heat) -> str:
    """Size in five steps; other characters for towards than for away."""
    rows, across = figure.values.shape
    rows, across = (min(rows, SIDE), min(across, SIDE)) if figure.under is None else fit(rows, across, SIDE)
    part = share(resized(figure.values, rows, across), figure.limit, figure.signed)
    if not figure.signed:
        return f"{cells(part, LIGHT, LIGHT)}\n0 '{LIGHT}' {number(figure.limit)}"
    key = f"{signed(-figure.limit)} '{AWAY[:0:-1]}{TOWARD}' {signed(figure.limit)}   {TOWARDS}"
    return f"{cells(part, TOWARD, AWAY)}\n{key}"


def cells(part: np.ndarray[Any, Any], up: str, down: str) -> str:
    """A map of −1 … 1, two characters a cell."""
    signs = (up, down)
    rows = ("".join(2 * signs[int(v < 0)][round(min(abs(v), 1) * 4)] for v in row) for row in part.tolist())
    return "\n".join(row.rstrip() for row in rows)


def bars(figure: Bars) -> str:
    steps = steps_of(figure)
    low, high = extent(figure, steps)
    largest = max((abs(each.value) for each in steps if np.isfinite(each.value)), default=1.0)
    lines = [bar(figure, each, low, high, largest) for each in steps]
    notes = [clean(figure.unit)] * bool(figure.unit) + [clean(figure.sense) or TOWARDS] * figure.signed
    return "\n".join(lines + [" · ".join(notes)] * bool(notes))


def bar(figure: Bars, step: Step, low: float, high: float, largest: float) -> str:
    """A name, a bar from where it starts to where it ends, and its number."""
    name = step.label + (f" = {step.detail}" if step.detail else "")
    start, end = ((BAR * (each - low) / (high - low)) for each in sorted((step.start, step.end)))
    drawn = "".join(block(i, start, end) for i in range(BAR)) if step.moves else dot(end)
    text = written(step.value, figure.unit, figure.signed and step.moves, largest)
    error = f" ± {number(step.error, 2)}" if step.error else ""
    return f"{padded(name, LABEL)} {drawn} {text:>9}{error}"


def block(i: int, start: float, end: float) -> str:
    """The part of a bar in column i."""
    if start <= i:
        return EIGHTHS[round(8 * min(max(end - i, 0), 1))]
    return "█" if start < i + 0.5 and end > i + 0.5 else "▐" if start < i + 1 and end > start else " "


def dot(place: float) -> str:
    """A point on the axis."""
    at = min(int(place), BAR - 1)
    return " " * at + "●" + " " * (BAR - 1 - at)


def force(figure: Force) -> str:
    """Both lanes as bars, then what pushes in words."""
    low, high = reach(figure)
    parts, lines = segments(figure), [f"baseline {number(figure.base)}, this input {number(figure.total)}"]
    for lane, name in enumerate(("up", "down", "not accounted for")):
        ends = [end for each in parts if each.lane == lane for end in (each.start, each.end)]
        if ends:
            start, end = (WIDTH // 2 * (each - low) / (high - low) for each in (min(ends), max(ends)))
            lines.append(f"{padded(name, 18)} " + "".join(block(i, start, end) for i in range(WIDTH // 2)).rstrip())
    said = [line for _, text in spoken(figure) for line in wrap(clean(text), WIDTH, subsequent_indent="  ")]
    return "\n".join(lines + said)


def points(figure: Points) -> str:
    """How many dots lie where: a strip a row, or a map on two axes."""
    x, y = (np.asarray(each, dtype=float) for each in (figure.x, figure.y))
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    left, right = span(x, zero=bool(figure.rows))
    names = f"across: {clean(figure.x_label) or 'x'}, {number(left)} … {number(right)}"
    if figure.rows:
        strips = [crowd(x[np.rint(y) == row], left, right, 44) for row in range(len(figure.rows))]
        lines = [f"{padded(name, LABEL)} {strip}" for name, strip in zip(figure.rows, strips, strict=True)]
        return "\n".join([*lines, names])
    low, high = span(y)
    at = np.clip(((high - y) / (high - low) * 12).astype(int), 0, 11)
    lines = ["│" + crowd(x[at == row], left, right, 60) for row in range(12)]
    return "\n".join([*lines, f"{names}; up: {clean(figure.y_label) or 'y'}, {number(low)} … {number(high)}"])


def crowd(x: np.ndarray[Any, Any], low: float, high: float, columns: int) -> str:
    """Where numbers lie between two ends, denser where there are more."""
    counts, _ = np.histogram(x, columns, (low, high))
    return "".join(" ·•●"[min(int(each), 3)] for each in counts).rstrip()


def matrix(figure: Matrix) -> str:
    """A table of numbers where it is small, else cells with signs."""
    rows, across = figure.values.shape
    if across <= 8 and rows <= 30:
        shown = tuple((name, *row) for name, row in zip(figure.row_names, figure.values.tolist(), strict=True))
        return sheet(Sheet(header=("", *figure.column_names), rows=shown))
    part = share(figure.values, figure.limit, figure.signed)
    names = [f"{padded(name, LABEL)} " for name in figure.row_names]
    drawn = [cells(row[None], TOWARD, AWAY) if figure.signed else cells(row[None], LIGHT, LIGHT) for row in part]
    key = f"columns: {', '.join(map(clean, figure.column_names))}"
    lines = [name + line for name, line in zip(names, drawn, strict=True)]
    return "\n".join([*lines, *wrap(key, WIDTH), f"colors end at {number(figure.limit)}"])


def curve(figure: Curve) -> str:
    """A line of blocks each, with its range."""
    lines = []
    for name, values in figure.lines.items():
        values = np.asarray(values, dtype=float)
        real = values[np.isfinite(values)]
        low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
        level = np.nan_to_num((values - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0)
        coarse = resized(level[None], 1, min(len(values), 40))[0] if len(values) else level
        blocks = "".join(HEIGHTS[round(7 * float(min(max(each, 0), 1)))] for each in coarse)
        lines.append(f"{padded(name, LABEL)} {blocks} {number(low)} … {number(high)}")
    axes = [f"{way}: {clean(name)}" for way, name in (("across", figure.x_label), ("up", figure.y_label)) if name]
    return "\n".join([*lines, ", ".join(axes)] if axes else lines)


def marked(figure: MarkedText) -> str:
    """The text, the stronger words with their numbers."""
    glue = figure.glue or (False,) * len(figure.tokens)
    text = ""
    for token, value, joined in zip(figure.tokens, figure.values, glue, strict=True):
        strong = abs(value) >= 0.15 * figure.limit and value
        amount = signed(value, 2) if figure.signed else number(value, 2)
        text += ("" if joined else " ") + clean(token) + (f"[{amount}]" if strong else "")
    lines = wrap(text.strip(), WIDTH, break_on_hyphens=False)
    return "\n".join(lines + [TOWARDS] * (figure.signed and bool(np.any(figure.values))))


def sheet(figure: Sheet) -> str:
    rows = [[short(cell(each), 200) for each in row] for row in (figure.header, *figure.rows)]
    widths = [max(columns(row[i]) for row in rows) for i in range(len(figure.header))]
    while sum(widths) + 2 * len(widths) > WIDTH and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    lines = ["  ".join(padded(each, width) for each, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * min(WIDTH, sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def grid(figure: Grid) -> str:
    return "\n\n".join(paint(each) for each in figure.figures)


def padded(text: str, width: int) -> str:
    """Text in exactly ``width`` columns of a terminal."""
    text = short(text, 4 * width)
    if columns(text) > width:
        ends = np.cumsum([columns(each) for each in text])
        text = text[: int(np.searchsorted(ends, width - 1, side="right"))] + "…"
    return text + " " * (width - columns(text))


PAINTERS: dict[type[Figure], Callable[[Any], str]] = {
    Picture: picture,
    Heat: heat,
    Bars: bars,
    Force: force,
    Points: points,
    Matrix: matrix,
    Curve: curve,
    MarkedText: marked,
    Maps: text_maps,
    Tiles: text_tiles,
    Grid: grid,
    Sheet: sheet,
}
