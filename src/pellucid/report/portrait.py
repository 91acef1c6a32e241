"""From an inspection to its page: plain sentences, facts, pictures of units, findings, and the tree of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.core.figure import Bars, Figure, Grid, Sheet, Tiles
from pellucid.core.modality import Images, Table
from pellucid.features.finding import LEVELS, Finding, counted
from pellucid.features.symptoms import FEW_ROWS
from pellucid.report.page import KINDS, environment, policy, script, style
from pellucid.report.tree import Node, tree_of
from pellucid.show.layers import filters, pictures
from pellucid.show.words import number, short

NOUNS = {"image": "pictures", "table": "table rows", "text": "texts", "series": "series"}
COLUMNS = 6
LIMITS = (
    "Multiply–adds count convolutions, matrix products and attention for one row; everything else is left out.",
    "A receptive field (“sees”) is what a unit can see; what it looks at is usually a small part of that.",
    "A synthesized input can be misleading: read its score beside that of the natural inputs.",
    "What a unit is most active for in these data need not be all, or the most, that it does.",
    "A finding is a number outside of a fixed range, not a judgment: a dead unit may be wanted.",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitView:
    """A unit: its synthesized input and its best examples."""

    name: str
    words: str = ""
    picture: Figure | None = None
    examples: Figure | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerView:
    """A layer with the units that are shown of it."""

    name: str
    words: str
    units: tuple[UnitView, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Portrait:
    """Everything the page of a model shows. Every text in it may be hostile: the page escapes all of them."""

    title: str
    modality: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    findings: tuple[Finding, ...]
    findings_words: str
    filters: Figure | None
    filters_words: str
    layers: tuple[LayerView, ...]
    units_words: str
    examples: str
    tree: tuple[Node, ...]
    tree_words: str
    limits: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    reproduce: str
    stopped: str

    @property
    def figures(self) -> list[Figure]:
        """Every figure of the page."""
        units = [unit for view in self.layers for unit in view.units]
        found = [self.filters, *(unit.picture for unit in units), *(unit.examples for unit in units)]
        return [each for each in found if each is not None]


def portrait(inspection: Any) -> str:
    """The page of a model as HTML."""
    content = portrait_of(inspection)
    paper, stored = pictures(content.figures)
    css, js = style("inspect.css"), script()
    told = {"content": content, "kind": content.modality if content.modality in KINDS else "tensor"}
    given = {"paper": paper, "stored": stored, "filters": filters(), "css": css, "js": js, "policy": policy(css, js)}
    return environment().get_template("inspect.html").render(**told, **given)


def portrait_of(inspection: Any) -> Portrait:
    """What the page shows."""
    layers = tuple(layer_view(inspection, each) for each in inspection.specimens)
    nodes, told = tree_of(inspection)
    seen = inspection.filters
    return Portrait(
        title=inspection.name,
        modality=inspection.modality.kind,
        sentences=inspection.sentences,
        facts=tuple(facts(inspection)),
        findings=inspection.findings,
        findings_words=findings_words(inspection),
        filters=None if seen is None else seen.figure(),
        filters_words=""
        if seen is None
        else f"{counted(len(seen), 'filter')} of “{short(seen.layer)}”: what the network looks for first.",
        layers=layers,
        units_words=units_words(inspection),
        examples="what it answers to most in the data" if inspection.statistics is not None else "",
        tree=nodes,
        tree_words=told,
        limits=(*LIMITS, *(f"Left out: {each}" for each in inspection.left_out)),
        provenance=inspection.provenance,
        reproduce=inspection.command,
        stopped=f"Stopped at {inspection.stopped}: the page holds what was done until then." * bool(inspection.stopped),
    )


# ---------------------------------------------------------------------------------------------------------- sentences


def model_sentence(inspection: Any) -> str:
    """What goes in, what comes out, of what size it is."""
    built, whole = inspection.anatomy, inspection.anatomy.whole
    reads = NOUNS.get(inspection.modality.kind, "tensors")
    sizes = [by(shape) for _, shape in built.inputs if shape][: 1 if reads == "texts" else 3]
    size = "" if not sizes or reads == "texts" else f" of {' and '.join(sizes)}"
    size += " columns" if reads == "table rows" else ""
    gives = "" if built.output is None else f" and gives {answers(inspection)}"
    cost = "" if not whole.multiply_adds else f", and {large(whole.multiply_adds)} multiply–adds for one row"
    weights = f"It has {large(whole.parameters)} parameters in {counted(len(built.layers), 'layer')}{cost}."
    return f"This {whole.kind} reads {reads}{size}{gives}. {weights}"


def answers(inspection: Any) -> str:
    """The outputs in words."""
    shape, classes = inspection.anatomy.output, inspection.classes
    if classes and shape and shape[-1] == len(classes):
        named = ", ".join(short(each, 24) for each in classes[:4])
        named += ", …" if len(classes) > 4 else ""
        return f"a number for each of {counted(len(classes), 'class', 'classes')} ({named})"
    return "1 number" if shape in ((), (1,)) else f"{by(shape)} numbers"


def dead_sentence(inspection: Any) -> str:
    """Whether units are dead, and on how many rows."""
    dead = inspection.dead
    if dead is None:
        return "No data went through it, so nothing is known of dead units."
    rows = counted(inspection.statistics.rows, "row")
    if not dead[1]:
        return f"None of its layers is rectified, so no unit can be dead; {rows} of data went through it."
    if not dead[0]:
        return f"None of its {counted(dead[1], 'rectified unit')} is dead on {rows} of data."
    verb = "is" if dead[0] == 1 else "are"
    few = ", which are few: more may wake some" if inspection.statistics.rows < FEW_ROWS else ": never active"
    return f"{dead[0]:,} of its {counted(dead[1], 'rectified unit')} {verb} dead on {rows} of data{few}."


def finding_sentence(inspection: Any) -> str:
    """How much is odd."""
    levels = [each.level for each in inspection.findings]
    parts = [counted(levels.count(level), level) for level in LEVELS if level in levels]
    return f"Found: {', '.join(parts)}." if parts else "Nothing odd was found."


def findings_words(inspection: Any) -> str:
    """What the list of findings is."""
    if not inspection.findings:
        return "Nothing: no broken, idle or unused weights, no dead or saturated units, no odd scales."
    levels = "A problem makes answers wrong; a warning is worth a look; a note is good to know."
    return f"Each with the numbers it comes from. {levels}"


def units_words(inspection: Any) -> str:
    """How to read the units."""
    made, statistics, told = inspection.pictures, inspection.statistics, []
    if made is not None:
        told.append(
            f"A synthesized input is what {counted(len(made.path), 'step')} of gradient ascent made to drive a unit."
        )
        maps = any(each.place.space for each in inspection.specimens)
        said = "the activation it reaches (the mean of the unit's map)" if maps else "the activation it reaches"
        beside = (
            ", beside the highest of the data" if statistics is not None else "; no data were given to compare with"
        )
        told.append(f"Below it stands {said}{beside}.")
    if statistics is not None and any(each.examples is not None for each in inspection.specimens):
        rows = counted(statistics.rows, "row")
        if isinstance(inspection.modality, Table):
            told.append(
                f"A table shows in which columns the best of {rows}, by the unit's activation, differ most from all:"
            )
            told.append("their means, and how many standard deviations they are apart.")
        else:
            cut = ", cut to what the unit can see" if isinstance(inspection.modality, Images) else ""
            place = "at its strongest place" if any(each.place.space for each in inspection.specimens) else "most"
            told.append(f"Examples are those of {rows} that excite a unit {place}{cut}, with the activation there.")
    return " ".join(told)


def facts(inspection: Any) -> Iterator[tuple[str, str, str]]:
    """The numbers of the first screen: name, value, what else."""
    built, whole, dead = inspection.anatomy, inspection.anatomy.whole, inspection.dead
    shapes = [by(shape) or "1" for _, shape in built.inputs]
    if shapes:
        nouns = {"text": "tokens", "table": "columns"}
        yield "input", shapes[0], nouns.get(inspection.modality.kind, NOUNS.get(inspection.modality.kind, "tensor"))
    if built.output is not None:
        yield "output", by(built.output) or "1", "classes" if inspection.classes else ""
    yield "parameters", large(whole.parameters), ""
    if whole.multiply_adds is not None:
        yield "multiply–adds", large(whole.multiply_adds), "for one row"
    yield "layers", f"{len(built.layers):,}", f"in {counted(len(built.parts) - len(built.layers), 'block')}"
    if dead is not None:
        yield "dead units", f"{dead[0]:,}", f"of {dead[1]:,} rectified"


# -------------------------------------------------------------------------------------------------------------- units


def layer_view(inspection: Any, shown: Any) -> LayerView:
    """A layer's units with their pictures."""
    place = shown.place
    sees = inspection.sees.get(place.name, ())
    parts = [by(place.shape) or "1"]
    parts += [f"sees {by_or_all(sees)} of the input"] if sees else []
    parts += [
        f"{len(shown.units)} of {place.units} units: {shown.order}"
        if len(shown.units) < place.units
        else f"all {place.units} units"
    ]
    return LayerView(
        name=f"{place.name} · {place.kind}",
        words=" · ".join(parts),
        units=tuple(unit_view(inspection, shown, i) for i in range(len(shown.units))),
    )


def unit_view(inspection: Any, shown: Any, i: int) -> UnitView:
    """A unit."""
    unit, statistics = shown.units[i], inspection.statistics
    own = None if statistics is None or shown.layer not in statistics else statistics[shown.layer]
    words = ""
    if own is not None:
        active = f", above 0 in {100 * (1 - own.sparsity[unit]):.0f} % of all values"
        words = f"mean {number(own.mean[unit])}, range {number(own.low[unit])} … {number(own.high[unit])}{active}"
    made, table = inspection.pictures, isinstance(inspection.modality, Table)
    return UnitView(
        name=unit_name(inspection, shown, unit),
        words=words,
        picture=None if made is None or shown.first is None or table else made_figure(made, shown.first + i),
        examples=columns_figure(inspection, shown, i) if table else examples_figure(shown.examples, unit),
    )


def made_figure(made: Any, row: int) -> Figure:
    """A synthesized input, with its score beside the highest natural one; of a table the largest columns."""
    drawn, report = made.picture(row), made.honesty
    natural = "" if report.highest is None else f"; natural\u00a0≤\u00a0{report.highest[row]:.3g}"
    drawn = replace(drawn, caption=f"{report.reached[row]:.3g}{natural}".replace("-", "−"))
    if isinstance(drawn, Bars) and len(drawn.labels) > COLUMNS:
        errors, details = drawn.errors, drawn.details[:COLUMNS]
        errors = None if errors is None else errors[:COLUMNS]
        labels, caption = drawn.labels[:COLUMNS], f"{drawn.caption}; the {COLUMNS} largest of its columns"
        return replace(
            drawn, labels=labels, values=drawn.values[:COLUMNS], details=details, errors=errors, caption=caption
        )
    return drawn


def unit_name(inspection: Any, shown: Any, unit: int) -> str:
    """The unit's number; of the last layer, the class."""
    classes, last = inspection.classes, shown is inspection.specimens[-1]
    named = last and classes and len(classes) == shown.place.units and not shown.place.space
    return f"unit {unit} · {short(classes[unit], 40)}" if named else f"unit {unit}"


def columns_figure(inspection: Any, shown: Any, i: int) -> Figure | None:
    """Of a unit that reads a table: the columns in which its best examples differ most from all rows."""
    table, made, found = inspection.modality, inspection.pictures, shown.examples
    made_row = None if made is None or shown.first is None else np.asarray(made.inputs[shown.first + i][None].cpu())
    if found is None or inspection.typical is None:
        rows = None if made_row is None else table.original(made_row)[0]
        kept = () if rows is None else tuple((name, float(n)) for name, n in zip(table.columns, rows, strict=True))
        return Sheet(header=("column", "synthesized"), rows=kept[:COLUMNS], alt="a synthesized row") if kept else None
    best = np.stack([found.inputs[int(row)].numpy() for row in found.rows[i]])
    typical = inspection.typical.numpy()
    own, every, spread = table.original(best), table.original(typical), table.original(typical).std(0)
    apart = (own.mean(0) - every.mean(0)) / np.where(spread > 0, spread, np.inf)
    numeric = [j for j, name in enumerate(table.columns) if name not in table.categories]
    order = sorted(numeric, key=lambda j: -abs(apart[j]))[:COLUMNS]
    extra = None if made_row is None else table.original(made_row)[0]
    rows = tuple(
        (table.columns[j], float(own[:, j].mean()), float(every[:, j].mean()), f"{apart[j]:+.2g}".replace("-", "−"))
        + (() if extra is None else (float(extra[j]),))
        for j in order
    )
    header: tuple[str, ...] = ("column", f"best {len(best)}", "all rows", "apart")
    natural = "" if made is None or shown.first is None else made_figure(made, shown.first + i).caption
    told = (
        f"Its best rows give {found.values[i].max():.3g} … {found.values[i].min():.3g}"
        + (f"; synthesized {natural}" if natural else "")
        + "."
    )
    header += () if extra is None else ("synthesized",)
    return Sheet(header=header, rows=rows, caption=told, alt="columns in which the best examples differ from all rows")


def examples_figure(found: Any, unit: int) -> Figure | None:
    """One unit's examples, without what the page says already."""
    if found is None:
        return None
    drawn = found.figure([unit])
    if isinstance(drawn, Tiles):
        return replace(drawn, title="", caption="", row_names=("",))
    if isinstance(drawn, Grid):
        return replace(drawn.figures[0], title="", caption="")
    if isinstance(drawn, Sheet) and drawn.header[0] == "unit":
        return replace(drawn, title="", caption="", header=drawn.header[1:], rows=tuple(row[1:] for row in drawn.rows))
    return replace(drawn, title="", caption="")


# ------------------------------------------------------------------------------------------------------------ numbers


def by(shape: Sequence[int] | None) -> str:
    """A shape in words.

    >>> by((3, 32, 32))
    '3 × 32 × 32'
    """
    return " × ".join(map(str, shape or ()))


def by_or_all(sizes: Sequence[int | None]) -> str:
    """A receptive field in words."""
    return "all" if all(each is None for each in sizes) else " × ".join("all" if n is None else str(n) for n in sizes)


def large(n: int) -> str:
    """A large number as people say it.

    >>> large(63346), large(68862592), large(4_100_000_000)
    ('63,346', '68.9 million', '4.1 billion')
    """
    for size, name in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if n >= size:
            return f"{n / size:.3g} {name}"
    return f"{n:,}"
