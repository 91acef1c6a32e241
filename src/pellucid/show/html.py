"""HTML: fragments without scripts and without style attributes; whatever a figure says is escaped.

``paint`` makes a fragment that stands alone, with its style. ``fragment`` makes one for a page that brings the style,
the filters and the shared pictures itself (``layers``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

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
from pellucid.show import charts, multiples, panels, scatter
from pellucid.show.color import level, levels, rules
from pellucid.show.layers import ALONE, Paper, map_layers
from pellucid.show.pixels import borders, composed, frame, peaks, png, sharp
from pellucid.show.words import TOWARDS, cell, clean, number, signed

NUMBERED = 0.15


def paint(figure: Figure) -> Markup:
    """A fragment that stands alone, for a notebook: the figure and the few rules of style that it uses."""
    drawn = fragment(figure)
    used = sorted(set(re.findall(r"\bpl-([pnu]\d+|z)\b", drawn)))
    style = Markup("<style>{}</style>").format(Markup(sheet() + rules(used)))  # noqa: S704 - our own file and numbers
    return Markup('<div class="pl-alone">{}{}</div>').format(style, drawn)


@cache
def sheet() -> str:
    """The style of figures."""
    return (files("pellucid.show") / "figures.css").read_text("utf-8")


def fragment(figure: Figure, paper: Paper = ALONE) -> Markup:
    """The figure as HTML, without style."""
    kind = next(each for each in type(figure).__mro__ if each in PAINTERS)
    return Markup('<figure class="pl-figure pl-{}">{}{}{}</figure>').format(
        kind.__name__.lower(),
        wrapped('<figcaption class="pl-title">{}</figcaption>', figure.title),
        PAINTERS[kind](figure, paper),
        wrapped('<p class="pl-caption">{}</p>', figure.caption),
    )


def wrapped(markup: str, text: Any) -> Markup:
    """The text within the markup, or nothing if there is none."""
    text = text if isinstance(text, Markup) else clean(text)
    return Markup(markup).format(text) if text else Markup()  # noqa: S704 - only literals are passed


def picture(figure: Picture, paper: Paper) -> Markup:
    rows, columns = figure.pixels.shape[:2]
    wide, high = frame(rows, columns)
    crisp = Markup(" pl-sharp") if max(rows, columns) <= 64 else ""
    return Markup('<svg class="pl-map{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        crisp, short(wide), short(high), alt(figure), paper.picture(figure.pixels, wide, high)
    )


def heat(figure: Heat, paper: Paper) -> Markup:
    ground = figure.values if figure.under is None else figure.under
    wide, high = frame(*ground.shape[:2])
    crisp = Markup(" pl-sharp") if sharp(figure) else ""
    if paper.page:
        inside = map_layers(figure, paper, wide, high)
    else:
        picture = Markup('<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>')
        inside = picture.format(png(composed(figure)), short(wide), short(high))
    drawn = Markup('<svg class="pl-map{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        crisp, short(wide), short(high), alt(figure), inside, edges(figure, wide, high), marks(figure, wide, high)
    )
    return drawn + scale(figure.limit, figure.signed, resolution(figure))


def edges(figure: Heat, wide: float, high: float) -> Markup:
    """The borders between the parts of a map."""
    if figure.edges is None:
        return Markup()
    lines, rows, across = borders(figure.edges)
    path = "".join(f"M{x0} {y0}{f'H{x1}' if y0 == y1 else f'V{y1}'}" for x0, y0, x1, y1 in lines)
    form = '<path class="pl-edge" transform="scale({:.5g} {:.5g})" d="{}"/>'
    return Markup(form).format(wide / across, high / rows, path)  # noqa: S704 - a literal


def marks(figure: Heat, wide: float, high: float) -> Markup:
    """Plus and minus where a map is strongest, so that the sign is not told by color alone."""
    mark = Markup('<text class="pl-mark" x="{}" y="{}">{}</text>')
    return Markup().join(
        mark.format(short(x * wide), short(y * high), "+" if sign > 0 else "−") for x, y, sign in peaks(figure)
    )


def resolution(figure: Heat) -> str:
    """What a reader has to know of the cells of a map."""
    rows, columns = figure.values.shape
    notes = []
    if figure.under is not None and (rows, columns) != figure.under.shape[:2]:
        smooth = "" if sharp(figure) else ", smoothed for display"
        notes.append(f"{rows} × {columns} cells{smooth}")
    bad = int((~np.isfinite(figure.values)).sum())
    if bad:
        notes.append(f"{bad} values are not numbers")
    return " · ".join(notes)


def scale(limit: float, signs: bool, note: str = "", sense: str = TOWARDS) -> Markup:
    """The colors from one limit to the other, the limits in print, and what the sign means."""
    names = levels(signs)
    box = Markup('<rect class="pl-{}" x="{}" width="1.05" height="1"/>')
    ramp = Markup().join(box.format(name, i) for i, name in enumerate(names))
    return Markup(
        '<div class="pl-scale"><span>{}</span>'
        '<svg class="pl-ramp" viewBox="0 0 {} 1" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
        "<span>{}</span>{}{}</div>"
    ).format(
        signed(-limit) if signs else "0",
        len(names),
        ramp,
        signed(limit) if signs else number(limit),
        wrapped('<small class="pl-sense">{}</small>', sense if signs else ""),
        wrapped('<small class="pl-sense">{}</small>', note),
    )


def marked(figure: MarkedText, paper: Paper) -> Markup:
    glue = figure.glue or (False,) * len(figure.tokens)
    order = np.argsort(np.argsort(-np.abs(np.nan_to_num(figure.values)), kind="stable"))
    plain = not np.any(figure.values)
    parts = []
    for i, (token, value) in enumerate(zip(figure.tokens, figure.values, strict=True)):
        parts.append("" if glue[i] or not i else " ")
        place = round(100 * (int(order[i]) + 1) / len(figure.tokens))
        parts.append(clean(token) if plain else chip(token, float(value), figure, place))
    text = Markup('<p class="pl-text">{}</p>').format(Markup().join(parts))
    return text if plain else text + scale(figure.limit, figure.signed)


def chip(token: str, value: float, figure: MarkedText, place: int) -> Markup:
    """A word on its color, strong ones with their number. It is among the strongest ``place`` percent."""
    name = level(value, figure.limit, figure.signed)
    if name == "z":
        return Markup("{}").format(clean(token))
    written = signed(value, 2) if figure.signed else number(value, 2)
    strong = abs(value) >= NUMBERED * figure.limit
    return Markup('<span class="pl-chip pl-{}" data-place="{}" title="{}">{}{}</span>').format(
        name,
        place,
        written,
        Markup("<span>{}</span>").format(clean(token)),
        Markup(" <small>{}</small>").format(written) if strong else "",
    )


def table(figure: Sheet, paper: Paper) -> Markup:
    heads = Markup().join(Markup('<th scope="col">{}</th>').format(clean(each)) for each in figure.header)
    rows = Markup().join(Markup("<tr>{}</tr>").format(Markup().join(map(data, row))) for row in figure.rows)
    return Markup(
        '<div class="pl-scroll" tabindex="0" role="region" aria-label="{}"><table class="pl-sheet">'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(alt(figure), heads, rows)


def data(value: Any) -> Markup:
    """A cell; numbers stand to the right."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return Markup("<td{}>{}</td>").format(Markup(' class="pl-number"') if numeric else "", cell(value))


def grid(figure: Grid, paper: Paper) -> Markup:
    columns = max(1, min(figure.columns, 6, len(figure.figures)))
    inside = Markup().join(fragment(each, paper) for each in figure.figures)
    return Markup('<div class="pl-cells pl-columns-{}">{}</div>').format(columns, inside)


def bars(figure: Bars, paper: Paper) -> Markup:
    return charts.bars(figure)


def curve(figure: Curve, paper: Paper) -> Markup:
    return charts.curve(figure, alt(figure))


def force(figure: Force, paper: Paper) -> Markup:
    return panels.force(figure, alt(figure))


def points(figure: Points, paper: Paper) -> Markup:
    return panels.dots(figure, alt(figure))


def spread(figure: Scatter, paper: Paper) -> Markup:
    return scatter.html_scatter(figure, alt(figure))


def matrix(figure: Matrix, paper: Paper) -> Markup:
    drawn = panels.matrix(figure, alt(figure))
    return drawn + scale(figure.limit, figure.signed, sense=figure.sense or TOWARDS)


def maps(figure: Maps, paper: Paper) -> Markup:
    drawn = multiples.html_maps(figure, alt(figure))
    if figure.values.ndim == 2 or figure.own:
        return drawn
    return drawn + scale(figure.limit, figure.signed, sense=figure.sense)


def tiles(figure: Tiles, paper: Paper) -> Markup:
    return multiples.html_tiles(figure, alt(figure))


def alt(figure: Figure) -> str:
    """What a figure shows, for those who do not see it."""
    return clean(figure.alt or figure.title or figure.caption) or "figure"


def short(size: float) -> str:
    """A length in a drawing."""
    return f"{size:.2f}".rstrip("0").rstrip(".")


PAINTERS: dict[type[Figure], Callable[[Any, Paper], Markup]] = {
    Picture: picture,
    Heat: heat,
    Bars: bars,
    Force: force,
    Points: points,
    Scatter: spread,
    Matrix: matrix,
    Curve: curve,
    MarkedText: marked,
    Maps: maps,
    Tiles: tiles,
    Grid: grid,
    Sheet: table,
}
