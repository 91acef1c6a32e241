"""Scatters of rows, colored and marked by group: a legend, and in HTML the picture of a row where the pointer is."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pellucid.core.figure import Scatter
from pellucid.show.charts import axes as axis_names
from pellucid.show.charts import column_mark, guide, row_mark
from pellucid.show.color import code, level_color
from pellucid.show.panels import PALEST, ramp, real, shade, span
from pellucid.show.pixels import png
from pellucid.show.steps import ticks
from pellucid.show.words import short

LINES = ("#0b6e93", "#b4531f", "#4b7f2a", "#8a4f9e", "#8b6f00", "#5b6770", "#d1588f", "#1f9e89", "#a0673c", "#5b6fd6")
REST = "#9aa3ab"
KINDS = ("dot", "box", "ring")
RATIO = 1.25
PEEK = 72

Array = NDArray[Any]


def style(group: int) -> tuple[int, str]:
    """A color's number and a kind of mark; beyond 30 groups they repeat.

    >>> style(0), style(1), style(12)
    ((0, 'dot'), (1, 'box'), (2, 'box'))
    """
    return group % 10, KINDS[(group + group // 10) % 3]


def frame(figure: Scatter) -> tuple[float, float, float, float]:
    """The ends of both axes, one unit as long on the one as on the other."""
    there = real(figure)
    left, right = span(figure.x[there])
    low, high = span(figure.y[there])
    more_x, more_y = max(RATIO * (high - low) - (right - left), 0), max((right - left) / RATIO - (high - low), 0)
    return left - more_x / 2, right + more_x / 2, low - more_y / 2, high + more_y / 2


# ------------------------------------------------------------------------------------------------------- matplotlib


def plot_scatter(figure: Scatter, axes: Any) -> None:
    """Marks by group, the name of each at its middle, a legend at the right."""
    left, right, low, high = frame(figure)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_aspect("equal", adjustable="box")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if not figure.ticks:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel(short(figure.x_label), parse_math=False, fontsize=9)
    axes.set_ylabel(short(figure.y_label, 50), parse_math=False, fontsize=9)
    if figure.groups is not None:
        plot_groups(figure, figure.groups, axes)
    elif figure.shades is not None:
        plot_shades(figure, figure.shades, axes)
    else:
        axes.scatter(figure.x, figure.y, s=12, c=LINES[0], lw=0.3, ec="white")


def plot_groups(figure: Scatter, groups: Array, axes: Any) -> None:
    """Each group in its color and mark."""
    from matplotlib.patheffects import withStroke

    markers = {"dot": "o", "box": "s", "ring": "o"}
    handles = []
    for group, name in [*enumerate(figure.group_names), (-1, "others")]:
        mine = groups == group
        if not mine.any():
            continue
        number, kind = style(group)
        color = LINES[number] if group >= 0 else REST
        look = {"fc": "none", "ec": color, "lw": 1.1} if kind == "ring" else {"fc": color, "ec": "white", "lw": 0.3}
        size = {"dot": 15, "box": 12, "ring": 11}[kind]
        marks = axes.scatter(
            figure.x[mine], figure.y[mine], s=size, marker=markers[kind], zorder=2 + (group >= 0), **look
        )
        handles.append((marks, name))
        if group >= 0:
            middle = float(np.nanmedian(figure.x[mine])), float(np.nanmedian(figure.y[mine]))
            halo = [withStroke(linewidth=2.5, foreground="white")]
            axes.text(*middle, short(name, 16), ha="center", va="center", fontsize=9, fontweight="bold", color=color,
                      path_effects=halo, parse_math=False, zorder=4)  # fmt: skip
    labels = [str(i) for i in range(len(handles))]
    legend = axes.legend([each for each, _ in handles], labels, frameon=False, fontsize=8, loc="upper left",
                         bbox_to_anchor=(1.0, 1.0), handletextpad=0.2)  # fmt: skip
    for label, (_, name) in zip(legend.get_texts(), handles, strict=True):
        label.set_parse_math(False)
        label.set_text(short(name, 24))


def plot_shades(figure: Scatter, shades: Array, axes: Any) -> None:
    """Dots on a color scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    names = [shade(each) for each in shades]
    colors = [REST if each == "rest" else code(level_color(each)) for each in names]
    axes.scatter(figure.x, figure.y, s=14, c=colors, lw=0.25, ec="#222222")
    table = ListedColormap([level_color(f"u{each}") for each in range(PALEST, 17)])
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, 1), table), ax=axes, aspect=30, pad=0.02, fraction=0.04)
    bar.set_ticks([0, 1], labels=[short(each, 20) for each in figure.shade_ends], fontsize=8)
    bar.outline.set_visible(False)
    bar.set_label(short(figure.shade_label, 50), fontsize=8)
    for label in (*bar.ax.get_yticklabels(), bar.ax.yaxis.label):
        label.set_parse_math(False)


# ------------------------------------------------------------------------------------------------------------- HTML


def html_scatter(figure: Scatter, alt: str) -> Markup:
    """Marks by group; a legend; above them, invisible ones that show a picture where the pointer is."""
    left, right, low, high = frame(figure)
    across, up = 100 * (figure.x - left) / (right - left), 100 * (high - figure.y) / (high - low)
    there = real(figure).tolist()
    marks = Markup().join(mark(figure, i, float(across[i]), float(up[i])) for i in there)
    peeks = Markup().join(peek(figure, i, float(across[i]), float(up[i])) for i in there if i < len(figure.pictures))
    rows = ticks(low, high, 4) if figure.ticks else []
    columns = ticks(left, right, 5) if figure.ticks else []
    return Markup(
        '<div class="pl-plot" role="img" aria-label="{}"><svg class="pl-rows" aria-hidden="true">{}</svg>'
        '<svg class="pl-lines" aria-hidden="true">{}{}{}</svg>'
        '<svg class="pl-marks-x" aria-hidden="true">{}</svg></div>{}{}'
    ).format(
        alt,
        Markup().join(row_mark(each, low, high) for each in rows),
        Markup().join(guide(100 * (high - each) / (high - low)) for each in rows),
        marks,
        peeks,
        Markup().join(column_mark(each, left, right) for each in columns),
        axis_names(figure),
        ramp(figure) if figure.groups is None and figure.shades is not None else legend(figure),
    )


def mark(figure: Scatter, i: int, x: float, y: float) -> Markup:
    """One row, with what is said of it."""
    if figure.groups is not None:
        group = int(figure.groups[i])
        number, kind = style(group)
        name = f"pl-spot-{number} pl-{kind}" if group >= 0 else "pl-rest pl-dot-plain"
        kind = kind if group >= 0 else "dot"
    else:
        name, kind = f"pl-point pl-{'spot-0' if figure.shades is None else shade(figure.shades[i])}", "dot"
    note = Markup("<title>{}</title>").format(short(figure.notes[i])) if figure.notes else Markup()
    return Markup("{}").format(shaped(kind, name, f"{x:.2f}%", f"{y:.2f}%", note))


def shaped(kind: str, name: str, x: str, y: str, inside: Markup = Markup()) -> Markup:  # noqa: B008 - it is a constant
    """A dot, a box or a ring."""
    if kind == "box":
        form = '<rect class="{}" x="{}" y="{}" width="5.6" height="5.6" transform="translate(-2.8 -2.8)">{}</rect>'
        return Markup(form).format(name, x, y, inside)  # noqa: S704 - a literal
    radius = "3.1" if kind == "dot" else "2.6"
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}">{}</circle>').format(name, x, y, radius, inside)


def peek(figure: Scatter, i: int, x: float, y: float) -> Markup:
    """An invisible dot, and the picture that stands beside it while the pointer is on it."""
    pixels = figure.pictures[i]
    if pixels is None:
        return Markup()
    rows, columns = pixels.shape[:2]
    wide, high = PEEK * columns / max(rows, columns), PEEK * rows / max(rows, columns)
    crisp = " pl-sharp" if max(rows, columns) <= 64 else ""
    note = short(figure.notes[i], 28) if figure.notes else ""
    place = f"{12 if x < 70 else -20 - PEEK} {10 if y < 60 else -34 - high:.0f}"
    return Markup(
        '<g class="pl-spot"><circle cx="{0}%" cy="{1}%" r="5"><title>{2}</title></circle>'
        '<svg x="{0}%" y="{1}%"><g class="pl-peek{3}" transform="translate({4})">'
        '<rect width="{5}" height="{6:.0f}" rx="3"/>'
        '<image x="4" y="4" href="{7}" width="{8:.1f}" height="{9:.1f}" preserveAspectRatio="none"/>'
        '<text x="4" y="{10:.0f}">{11}</text></g></svg></g>'
    ).format(
        f"{x:.2f}", f"{y:.2f}", note, crisp, place, max(PEEK, 6.4 * len(note)) + 8, high + 22, png(pixels), wide, high,
        high + 17, note,
    )  # fmt: skip


def legend(figure: Scatter) -> Markup:
    """The names of the groups beside their marks."""
    if figure.groups is None:
        return Markup()
    items = [(style(i), f"pl-spot-{style(i)[0]} pl-{style(i)[1]}", name) for i, name in enumerate(figure.group_names)
             if bool((figure.groups == i).any())]  # fmt: skip
    form = Markup('<li><svg class="pl-key" viewBox="0 0 8 8" aria-hidden="true">{}</svg> {}</li>')
    lines = [form.format(shaped(kind, name, "4", "4"), short(text, 40)) for (_, kind), name, text in items]
    if bool((figure.groups < 0).any()):
        lines.append(form.format(shaped("dot", "pl-rest", "4", "4"), "others"))
    return Markup('<ul class="pl-legend">{}</ul>').format(Markup().join(lines))
