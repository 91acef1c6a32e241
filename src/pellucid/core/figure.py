"""What to draw, as data: a painter in ``show`` turns it into matplotlib, HTML or text.

Arrays are NumPy, pictures are ``uint8`` of shape (height, width, 3), values are in the units of the explained target.
``limit`` is the value at which the color scale saturates; signed figures run from ``-limit`` to ``+limit`` with zero
at the neutral color. ``title``, ``caption`` and ``alt`` are plain text and may be hostile: painters escape them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAINTERS = {
    "plot": "pellucid.show.plot:paint",
    "html": "pellucid.show.html:paint",
    "text": "pellucid.show.text:paint",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A description of a drawing; ``plot()``, ``html()`` and ``text()`` let a painter draw it."""

    title: str = ""
    caption: str = ""
    alt: str = ""

    def plot(self) -> Any:
        """Draw with matplotlib and return its ``Figure``."""
        return painter("plot")(self)

    def html(self) -> str:
        """A fragment of HTML without scripts; everything shown is escaped."""
        return str(painter("html")(self))

    def text(self) -> str:
        """A few lines for a terminal."""
        return str(painter("text")(self))

    def _repr_html_(self) -> str:
        return self.html()


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture(Figure):
    """A picture as it is: ``pixels`` (height, width, 3) uint8."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat(Figure):
    """A map over a picture: ``values`` (height, width); ``under`` the picture it lies on, of any resolution.

    ``edges`` (height, width) numbers the part each place belongs to; the borders between parts are drawn.
    """

    values: NDArray[np.floating]
    limit: float
    signed: bool = True
    under: NDArray[np.uint8] | None = None
    edges: NDArray[np.integer] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars(Figure):
    """One bar a row, largest first as given: ``values`` (rows,), ``errors`` 95 % half-widths, ``details`` a text a row.

    With ``base`` and ``total`` it is a waterfall: bars are steps from the base value to the total. ``sense`` says what
    the signs mean where they do not mean towards and away.
    """

    labels: tuple[str, ...]
    values: NDArray[np.floating]
    details: tuple[str, ...] = ()
    errors: NDArray[np.floating] | None = None
    base: float | None = None
    total: float | None = None
    signed: bool = True
    unit: str = ""
    sense: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Force(Figure):
    """One bar from ``base`` to ``total``: parts that push up, end to end, then those that push down, back again.

    ``values`` (parts,) are drawn by size; what they leave open is drawn as not accounted for.
    """

    labels: tuple[str, ...]
    values: NDArray[np.floating]
    base: float
    total: float
    details: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Points(Figure):
    """Dots at ``x`` and ``y`` (points,), colored by ``shades`` in 0 … 1 where given, ``shade_label`` saying of what.

    With ``rows``, y is a row's number (the first at the top) plus an offset within ±0.5. With ``columns``, x is a
    column's number plus an offset. ``shade_ends`` are the words, or numbers, at both ends of the color scale.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    shades: NDArray[np.floating] | None = None
    shade_label: str = ""
    shade_ends: tuple[str, str] = ("low", "high")
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scatter(Points):
    """Rows of data as dots on a plane, one unit as long across as up, colored by ``groups`` (points,) or by ``shades``.

    A group is a number of ``group_names``, -1 for the rest. ``notes`` are what is said of each dot; ``pictures`` small
    ones (height, width, 3) uint8, or None, that HTML shows where the pointer is. Without ``ticks``, axes are bare.
    """

    groups: NDArray[np.integer] | None = None
    group_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[NDArray[np.uint8] | None, ...] = ()
    ticks: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix(Figure):
    """Cells of signed ``values`` (rows, columns) with names; NaN is an empty cell.

    ``breaks`` are rows with a gap above; a row without a name belongs to the named one above it. Small matrices show
    their numbers.
    """

    values: NDArray[np.floating]
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    limit: float
    signed: bool = True
    breaks: tuple[int, ...] = ()
    sense: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve(Figure):
    """Lines over a common axis: ``x`` (points,), ``lines`` name → (points,), ``bands`` name → (low, high)."""

    x: NDArray[np.floating]
    lines: dict[str, NDArray[np.floating]]
    bands: dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]] | None = None
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkedText(Figure):
    """Words colored by a value; ``glue[i]`` joins token i to the one before."""

    tokens: tuple[str, ...]
    values: NDArray[np.floating]
    limit: float
    signed: bool = True
    glue: tuple[bool, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps(Figure):
    """Many small maps ``values`` (n, height, width) on one color scale, or many curves ``values`` (n, time).

    ``names`` stand above each. With ``own``, the scale of each map ends at its own largest magnitude.
    """

    values: NDArray[np.floating]
    names: tuple[str, ...]
    limit: float
    signed: bool = True
    own: bool = False
    columns: int = 8
    sense: str = "activation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiles(Figure):
    """Rows of small pictures (height, width, 3) uint8 with a ``label`` below each, and a name before each row."""

    rows: tuple[tuple[NDArray[np.uint8], ...], ...]
    labels: tuple[tuple[str, ...], ...]
    row_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid(Figure):
    """Several figures side by side on one scale."""

    figures: tuple[Figure, ...]
    columns: int = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet(Figure):
    """A table of texts and numbers: ``header`` and ``rows`` of equal width."""

    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def painter(kind: str) -> Any:
    """The function that paints ``kind``; the only names in the house that point up a floor."""
    module, name = PAINTERS[kind].split(":")
    return getattr(import_module(module), name)


def robust_limit(values: NDArray[np.floating], quantile: float = 0.995) -> float:
    """The magnitude at which a color scale saturates: a high quantile of |values|, never zero.

    >>> robust_limit(np.array([0.0, 1.0, -2.0]), 1.0)
    2.0
    """
    size = np.abs(np.asarray(values, dtype=float))
    size = size[np.isfinite(size)]
    limit = float(np.quantile(size, quantile)) if size.size else 0.0
    if limit == 0.0 and size.size:
        limit = float(size.max())
    return limit if limit > 0 else 1.0
