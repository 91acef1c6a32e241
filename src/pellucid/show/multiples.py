"""Small multiples: many maps or curves on one scale, and rows of small pictures, for every painter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pellucid.core.figure import Maps, Tiles, robust_limit
from pellucid.show.color import index, table
from pellucid.show.pixels import png, resized
from pellucid.show.words import number, short

Array = NDArray[Any]
LINE = "#0b6e93"
QUIET = "#4d5b66"
SIDE = 0.78
LIGHT = " ░▒▓█"


def limits(figure: Maps) -> list[float]:
    """Where the scale of each map ends."""
    return [robust_limit(each, 1.0) if figure.own else figure.limit for each in figure.values]


def colored(figure: Maps) -> list[NDArray[np.uint8]]:
    """Each map as a picture."""
    shades = np.rint(255 * table(figure.signed)).astype(np.uint8)
    return [shades[index(each, end, figure.signed)] for each, end in zip(figure.values, limits(figure), strict=True)]


def span_of(values: Array) -> tuple[float, float]:
    """The ends of an upright axis for curves, with some room; zero is on it."""
    real = values[np.isfinite(values)]
    low, high = min(float(real.min(initial=0)), 0.0), max(float(real.max(initial=0)), 0.0)
    room = 0.06 * ((high - low) or 1.0)
    return low - room, high + room


# ------------------------------------------------------------------------------------------------------- matplotlib


def maps_size(figure: Maps) -> tuple[float, float]:
    """Width and height in inches."""
    across = max(1, min(figure.columns, len(figure.values)))
    down = math.ceil(len(figure.values) / across)
    rows, columns = figure.values.shape[1:] if figure.values.ndim == 3 else (1, 2)
    ratio = float(np.clip(rows / columns, 0.25, 2.5))
    return max(3.4, SIDE * across), (SIDE * ratio + 0.2) * down + 0.9


def plot_maps(figure: Maps, axes: Any) -> None:
    """Each map in a cell of its own."""
    axes.set_axis_off()
    n = len(figure.values)
    across = max(1, min(figure.columns, n))
    down = math.ceil(n / across) or 1
    ends = span_of(figure.values)
    pictures = colored(figure) if figure.values.ndim == 3 else []
    for i, values in enumerate(figure.values):
        left, top = (i % across) / across, 1 - (i // across) / down
        cell = axes.inset_axes((left + 0.03 / across, top - 0.98 / down, 0.94 / across, 0.8 / down))
        cell.set_title(short(figure.names[i], 18), fontsize=6.5, pad=1.5, color=QUIET, parse_math=False)
        cell.set_xticks([])
        cell.set_yticks([])
        if pictures:
            cell.imshow(pictures[i], interpolation="nearest", aspect="equal" if min(values.shape) > 1 else "auto")
            cell.spines[:].set(color="#c9d0d6", linewidth=0.5)
        else:
            cell.axhline(0, color="#c9d0d6", lw=0.6)
            cell.plot(values, color=LINE, lw=0.9)
            cell.set_ylim(*(span_of(values) if figure.own else ends))
            cell.margins(x=0.01)
            cell.spines[:].set_visible(False)


def tiles_size(figure: Tiles) -> tuple[float, float]:
    """Width and height in inches."""
    across = max((len(each) for each in figure.rows), default=1)
    return 0.9 + 0.85 * across, 1.08 * len(figure.rows) + 0.5


def plot_tiles(figure: Tiles, axes: Any) -> None:
    """Rows of pictures with their names at the left."""
    axes.set_axis_off()
    down, across = len(figure.rows) or 1, max((len(each) for each in figure.rows), default=1)
    wide, _ = tiles_size(figure)
    start = 0.85 / wide
    for row, pictures in enumerate(figure.rows):
        top = 1 - row / down
        style: dict[str, Any] = {"fontsize": 8, "ha": "left", "va": "center", "parse_math": False}
        axes.text(0, top - 0.42 / down, short(figure.row_names[row], 20), transform=axes.transAxes, **style)
        for i, pixels in enumerate(pictures):
            left = start + (1 - start) * i / across
            cell = axes.inset_axes((left, top - 0.82 / down, 0.94 * (1 - start) / across, 0.8 / down))
            cell.imshow(pixels, interpolation="nearest" if max(pixels.shape[:2]) <= 64 else "antialiased")
            cell.set_xticks([])
            cell.set_yticks([])
            cell.spines[:].set(color="#c9d0d6", linewidth=0.5)
            cell.set_xlabel(short(figure.labels[row][i], 18), fontsize=7, labelpad=1.5, color=QUIET, parse_math=False)


# ------------------------------------------------------------------------------------------------------------- HTML


def tile(picture: str, rows: int, columns: int, label: str, alt: str) -> Markup:
    """A picture with its label below."""
    crisp = Markup(" pl-sharp") if max(rows, columns) <= 64 else ""
    return Markup(
        '<div class="pl-tile"><svg class="pl-map{}" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/></svg><small>{}</small></div>'
    ).format(crisp, columns, rows, alt, picture, columns, rows, short(label, 40))


def html_maps(figure: Maps, alt: str) -> Markup:
    """Each map as a picture, curves as lines."""
    if figure.values.ndim == 3:
        parts = [
            tile(png(pixels), pixels.shape[0], pixels.shape[1], name, short(f"{alt}: {name}", 90))
            for pixels, name in zip(colored(figure), figure.names, strict=True)
        ]
    else:
        parts = [spark(each, figure, name) for each, name in zip(figure.values, figure.names, strict=True)]
    return Markup('<div class="pl-tiles">{}</div>').format(Markup().join(parts))


def spark(values: Array, figure: Maps, name: str) -> Markup:
    """One curve without axes."""
    low, high = span_of(values if figure.own else figure.values)
    shown = values if len(values) <= 200 else resized(values[None], 1, 200)[0]
    x = np.linspace(0, 100, len(shown)) if len(shown) > 1 else np.array([50.0])
    y = 50 * (high - np.nan_to_num(shown)) / (high - low)
    zero = 50 * high / (high - low)
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return Markup(
        '<div class="pl-tile"><svg class="pl-map" viewBox="0 0 100 50" role="img" aria-label="{}">'
        '<line class="pl-guide" x1="0" x2="100" y1="{}" y2="{}"/>'
        '<polyline class="pl-line pl-line-0" points="{}"/></svg><small>{}</small></div>'
    ).format(short(name, 40), f"{zero:.1f}", f"{zero:.1f}", places, short(name, 40))


def html_tiles(figure: Tiles, alt: str) -> Markup:
    """A row of pictures for each name."""
    lines = []
    for name, pictures, labels in zip(figure.row_names, figure.rows, figure.labels, strict=True):
        parts = [
            tile(png(each), each.shape[0], each.shape[1], label, short(f"{name}: {label}", 90))
            for each, label in zip(pictures, labels, strict=True)
        ]
        form = '<section class="pl-tile-row"><h4>{}</h4><div class="pl-tiles">{}</div></section>'
        lines.append(Markup(form).format(short(name, 40), Markup().join(parts)))  # noqa: S704 - a literal
    return Markup('<div role="group" aria-label="{}">{}</div>').format(alt, Markup().join(lines))


# ------------------------------------------------------------------------------------------------------------- text


def text_maps(figure: Maps) -> str:
    """A line a map: its name and what it reaches."""
    lines = []
    for name, values in zip(figure.names, figure.values, strict=True):
        flat = resized(values.reshape(1, -1) if values.ndim == 1 else values.mean(0)[None], 1, 24)[0]
        top = float(np.abs(flat).max()) or 1.0
        drawn = "".join(LIGHT[round(4 * min(abs(float(each)) / top, 1.0))] for each in flat)
        lines.append(f"{short(name, 20):20} {drawn} {number(float(values.min()))} … {number(float(values.max()))}")
    return "\n".join(lines)


def text_tiles(figure: Tiles) -> str:
    """A line a row: its name and the labels."""
    return "\n".join(
        f"{short(name, 20):20} {', '.join(short(each, 20) for each in labels)}"
        for name, labels in zip(figure.row_names, figure.labels, strict=True)
    )
