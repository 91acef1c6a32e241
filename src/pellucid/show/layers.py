"""Maps as layers that a page can mix: below the picture, above it a gray picture of indexes that a filter colors.

One gray file serves light ground, dark ground and paper, because the page brings a filter for each; a script may make
a filter that hides the weak part of a map. Pictures that occur more than once stand once and are referred to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pellucid.core.figure import Figure, Grid, Heat, Picture
from pellucid.show.color import STEPS, cover, pigment
from pellucid.show.pixels import SHARP, frame, photo, png, shown

NODES = 51
SHARES = 100


@dataclass(frozen=True)
class Paper:
    """What a fragment lies on: alone, or on a page that holds pictures by their ids."""

    page: bool = False
    pictures: dict[str, str] = field(default_factory=dict)

    def picture(self, pixels: NDArray[np.uint8], wide: float, high: float, name: str = "pl-under") -> Markup:
        """A picture as an SVG element."""
        known = self.pictures.get(digest(pixels))
        if known:
            return Markup('<use class="{}" href="#{}"/>').format(name, known)
        return drawn(pixels, wide, high)


ALONE = Paper()


def drawn(pixels: NDArray[np.uint8], wide: float, high: float) -> Markup:
    """A picture as an SVG image."""
    crisp = Markup(' class="pl-sharp"') if max(pixels.shape[:2]) <= SHARP else ""
    return Markup('<image{} href="{}" width="{:g}" height="{:g}" preserveAspectRatio="none"/>').format(
        crisp, photo(pixels), wide, high
    )


def digest(pixels: NDArray[np.uint8]) -> str:
    """The same for the same picture."""
    return f"{pixels.shape}{hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()}"


def map_layers(figure: Heat, paper: Paper, wide: float, high: float) -> Markup:
    """A map over its picture, both as layers."""
    under = "" if figure.under is None else paper.picture(figure.under, wide, high)
    at = shown(figure)
    size = np.abs(at.astype(int) - STEPS) if figure.signed else at
    cuts = np.quantile(size, np.linspace(1, 0, SHARES + 1), method="inverted_cdf")
    return Markup(
        '<rect class="pl-plate" width="{w:g}" height="{h:g}"/>{under}'
        '<image class="pl-layer pl-{kind}" href="{href}" width="{w:g}" height="{h:g}" preserveAspectRatio="none"'
        ' data-cuts="{cuts}"/><rect class="pl-hatch" width="{w:g}" height="{h:g}" fill="url(#pl-hatch)"/>'
    ).format(
        w=wide,
        h=high,
        under=under,
        kind="signed" if figure.signed else "unsigned",
        href=png(at),
        cuts=" ".join(str(int(each)) for each in cuts),
    )


def pictures(figures: list[Figure]) -> tuple[Paper, Markup]:
    """The paper that knows every picture of these figures, and the hidden drawing in which they stand."""
    known: dict[str, str] = {}
    stored = []
    for pixels in every(figures):
        key = digest(pixels)
        if key not in known:
            known[key] = f"picture-{len(known)}"
            image = drawn(pixels, *frame(*pixels.shape[:2]))
            stored.append(Markup('<g id="{}">{}</g>').format(known[key], image))
    return Paper(page=True, pictures=known), Markup().join(stored)


def every(figures: Any) -> Iterator[NDArray[np.uint8]]:
    """The pictures of figures, those within grids included."""
    for figure in figures:
        if isinstance(figure, Grid):
            yield from every(figure.figures)
        elif isinstance(figure, Picture):
            yield figure.pixels
        elif isinstance(figure, Heat) and figure.under is not None:
            yield figure.under


GRAY = Markup(
    '<filter id="pl-gray" color-interpolation-filters="sRGB"><feColorMatrix type="saturate" values="0"/></filter>'
)
HATCH = Markup(
    '<pattern id="pl-hatch" width="9" height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="pl-hatch-line" x1="0" y1="0" x2="0" y2="9"/></pattern>'
)


def filters() -> Markup:
    """What maps refer to: filters for both signs and both grounds, one for gray, and a hatching."""
    return GRAY + HATCH + Markup().join(lookup(signed, dark) for signed in (True, False) for dark in (False, True))


def lookup(signed: bool, dark: bool) -> Markup:
    """A filter that turns the gray of an index into its color and its cover."""
    at = np.minimum(np.arange(NODES + 1) * 255 // NODES, 2 * STEPS)
    colors, thick = pigment(signed, dark)[at], cover(signed, dark)[at]
    nodes = [" ".join(f"{each:.3g}" for each in row) for row in (*colors.T, thick)]
    return Markup(
        '<filter id="pl-{name}" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">'
        '<feColorMatrix in="SourceGraphic" values="0 0 0 0 1  0 0 0 0 1  0 0 0 0 1  1 0 0 0 0"/>'
        '<feComponentTransfer result="cover"><feFuncA type="table" tableValues="{a}"/></feComponentTransfer>'
        '<feComponentTransfer in="SourceGraphic"><feFuncR type="table" tableValues="{r}"/>'
        '<feFuncG type="table" tableValues="{g}"/><feFuncB type="table" tableValues="{b}"/></feComponentTransfer>'
        '<feComposite in2="cover" operator="in"/></filter>'
    ).format(
        name=("signed" if signed else "unsigned") + ("-dark" if dark else "-light"),
        r=nodes[0],
        g=nodes[1],
        b=nodes[2],
        a=nodes[3],
    )
