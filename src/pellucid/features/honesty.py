"""What a synthesized picture is worth: against natural inputs, against a control, and along the path through layers.

A picture can be made to show anything (Geirhos et al. 2023, arXiv:2306.04719); these are the comparisons that say how
far this one may be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.bound import full
from pellucid.core.directions import Direction, MeanSquare
from pellucid.core.figure import Bars, Curve, Figure
from pellucid.core.leaves import Leaves
from pellucid.core.meter import Meter
from pellucid.core.model import Model
from pellucid.core.outputs import by_class, main_output
from pellucid.core.places import Neuron
from pellucid.core.run import Run, half_of
from pellucid.core.site import Site, site_of
from pellucid.core.target import Class, Output, Target
from pellucid.engines.ascend import Goals
from pellucid.engines.points import generator
from pellucid.engines.sweep import batches, key_of, pieces
from pellucid.engines.visit import LOGITS, Place, visit

BEST = 8
LAYERS = 8
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """Correlations of activations at ``layers`` (goals, layers).

    ``own`` is between the picture and the best natural inputs, ``best`` among those, ``others`` between them and
    natural inputs at random.
    """

    layers: tuple[str, ...]
    own: Array
    best: Array
    others: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Honesty:
    """The standing report: scores ``reached`` (rows,) beside natural ones and those of controls, and the path there.

    ``highest`` (rows,) is the highest score of ``count`` natural inputs, found at ``where``; ``control`` (rows,) the
    highest score of the same target at pictures made the same way for other units (``controls`` says which).

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2).honesty.brief().split("; ")[1]
        'not compared with data'
    """

    reached: Array
    highest: Array | None = None
    where: tuple[int, ...] = ()
    count: int = 0
    control: Array | None = None
    controls: tuple[str, ...] = ()
    path: Path | None = None

    def brief(self, row: int = 0) -> str:
        """The report on one picture in a few words."""
        if self.highest is None:
            return f"{self.reached[row]:.3g}; not compared with data"
        return f"{self.reached[row]:.3g}; natural at most {self.highest[row]:.3g}"

    def words(self, row: int = 0) -> str:
        """The report on one picture in sentences."""
        said = [f"Reaches {self.reached[row]:.3g}"]
        if self.highest is None:
            said[0] += "; not compared with natural inputs (data=… was not given)"
        else:
            top = float(self.highest[row])
            times = f", {self.reached[row] / top:.2g} times as much" if top > 0 and self.reached[row] > 0 else ""
            said[0] += f"; the highest of {self.count} natural inputs gives {top:.3g} (row {self.where[row]}){times}"
        if self.control is None or not np.isfinite(self.control[row]):
            said.append("No control was made")
        else:
            said.append(f"A picture made the same way for {self.controls[row]} gives {self.control[row]:.3g}")
        if self.path is None:
            said.append("The path through the layers was not compared")
        else:
            said.append(self.path_words(row))
        return ". ".join(said) + "."

    def path_words(self, row: int) -> str:
        """How natural the path is."""
        if self.path is None:
            return ""
        own, best, others = self.path.own[row], self.path.best[row], self.path.others[row]
        unlike = [name for name, mine, theirs in zip(self.path.layers, own, others, strict=True) if mine < theirs]
        last = f"at {self.path.layers[-1]} {own[-1]:.2f}, {best[-1]:.2f} among those and {others[-1]:.2f} with any"
        told = "Correlation of activations with the best natural inputs: " + last
        if unlike:
            told += f"; below that of any natural inputs at {len(unlike)} of {len(own)} layers ({', '.join(unlike[:4])}"
            told += ", …)" if len(unlike) > 4 else ")"
        return told

    def figure(self, row: int = 0) -> Bars:
        """Reached, natural and control scores as bars."""
        names, values = ["this picture"], [float(self.reached[row])]
        if self.highest is not None:
            names.append(f"highest of {self.count} natural")
            values.append(float(self.highest[row]))
        if self.control is not None and np.isfinite(self.control[row]):
            names.append("control picture")
            values.append(float(self.control[row]))
        return Bars(
            title="score of the target",
            labels=tuple(names),
            values=np.array(values),
            signed=False,
            caption=self.words(row),
            alt=self.words(row),
        )

    def path_figure(self, row: int = 0) -> Figure | None:
        """Correlations along the layers."""
        if self.path is None:
            return None
        lines = {
            "picture and best natural": self.path.own[row],
            "best natural among themselves": self.path.best[row],
            "best natural and any natural": self.path.others[row],
        }
        names = ", ".join(f"{i} {name}" for i, name in enumerate(self.path.layers))
        return Curve(
            title="how natural the path is",
            x=np.arange(float(len(self.path.layers))),
            lines=lines,
            x_label="layer",
            y_label="correlation of activations",
            caption=names,
            alt=self.path_words(row),
        )


# ------------------------------------------------------------------------------------------------------ natural inputs


@dataclass(eq=False)
class Natural:
    """The highest scores of natural inputs while they stream by, with the inputs themselves and some at random."""

    goals: int
    seed: int
    score: Tensor = field(init=False)
    rows: Tensor = field(init=False)
    drawn: list[tuple[float, int]] = field(default_factory=list)
    kept: dict[int, Leaves] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.score = torch.full((self.goals, BEST), -torch.inf, dtype=torch.float64)
        self.rows = torch.full((self.goals, BEST), -1)

    def add(self, table: Tensor, leaves: Leaves, part: Tensor) -> None:
        """Scores (goals, rows) of the next rows, which are ``part`` of ``leaves``."""
        numbers = self.count + torch.arange(table.shape[1])
        joined = torch.cat([self.score, table.detach().cpu().double()], 1)
        rows = torch.cat([self.rows, numbers.expand(self.goals, -1)], 1)
        self.score, order = joined.sort(dim=1, descending=True, stable=True)
        self.score, self.rows = self.score[:, :BEST], rows.gather(1, order)[:, :BEST]
        for number in numbers.tolist():
            self.drawn.append((float(torch.rand((), generator=generator(self.seed, number))), number))
        self.drawn = sorted(self.drawn)[:BEST]
        wanted = set(self.rows.flatten().tolist()) | {number for _, number in self.drawn}
        self.kept = {number: each for number, each in self.kept.items() if number in wanted}
        for place, number in zip(part.tolist(), numbers.tolist(), strict=True):
            if number in wanted:
                self.kept[number] = leaves.take(torch.tensor([place]))
        self.count += table.shape[1]

    def best(self, goal: int) -> list[int]:
        """The numbers of the best rows of a goal."""
        return [row for row in self.rows[goal].tolist() if row >= 0]

    def others(self, goal: int) -> list[int]:
        """The numbers of rows at random that are not among the best."""
        return [number for _, number in self.drawn if number not in self.best(goal)]


def natural(model: Model, data: Any, goals: Goals, run: Run) -> Natural:
    """Score natural inputs by all goals in one pass."""
    found = Natural(len(goals.terms), run.seed)
    sites = {place: () for place in goals.places if place not in (None, LOGITS)}
    with torch.no_grad(), model.session():
        for leaves in batches(model, data, run):
            key = key_of(leaves, sites)
            for part in pieces(model, leaves, sites, run):
                run.check_stop()
                meter = Meter(measure=key not in model.paces)
                with meter:
                    table = scored(model, leaves, part, goals, run)
                if key not in model.paces:
                    model.paces[key] = meter.pace(len(part), grad=False, comfortable=run.comfortable)
                found.add(table, leaves, part)
    return found


def scored(model: Model, leaves: Leaves, rows: Tensor, goals: Goals, run: Run, points: Tensor | None = None) -> Tensor:
    """(goals, rows) every goal at every row, in halves where memory runs out."""
    tables: list[Tensor] = []

    def see(place: Place, value: Any) -> None:
        tables.append(goals.everywhere(place, value, len(rows)))

    try:
        visit(model, leaves, points, rows, goals.places, see, run)
    except (MemoryError, RuntimeError) as error:
        half = half_of(len(rows), error)
        parts = [slice(0, half), slice(half, None)]
        points_of = [None if points is None else points[part] for part in parts]
        done = [scored(model, leaves, rows[p], goals, run, q) for p, q in zip(parts, points_of, strict=True)]
        return torch.cat(done, 1)
    run.count(len(rows), backward=False)
    return torch.stack(tables).sum(0)


# ------------------------------------------------------------------------------------------------------------ controls


def control_of(goals: Goals, row: int, widths: dict[Place, tuple[int, ...]], source: torch.Generator) -> Goals | None:
    """The same goal for another unit of each of its layers, drawn at random; None where there is no other."""
    terms = []
    for weight, place, target in goals.terms[row]:
        other = other_unit(target, widths[place], source)
        if other is None:
            return None
        terms.append((weight, place, other))
    return Goals((terms[0][2],), (tuple(terms),), goals.about)


def other_unit(target: Target, shape: tuple[int, ...], source: torch.Generator) -> Target | None:
    """A bound target for another unit where an activation has ``shape``; None where there is none."""

    def another(n: int, but: int) -> int | None:
        return None if n < 2 else (but % n + 1 + int(torch.randint(n - 1, (), generator=source))) % n

    if isinstance(target, Neuron) and target.channel is not None:
        channel = another(shape[target.axis or 0], target.channel)
        return None if channel is None else replace(target, channel=channel)
    if isinstance(target, Class) and target.index:
        index = another(shape[0], target.index[0])
        return None if index is None else replace(target, which=index, index=(index,))
    if isinstance(target, Output) and isinstance(target.index, int) and len(shape) == 1:
        index = another(shape[0], target.index)
        return None if index is None else replace(target, index=index)
    if isinstance(target, Direction):
        drawn = torch.randn(len(target.vector), generator=source).to(target.vector)
        return replace(target, vector=drawn * (target.vector.norm() / drawn.norm()))
    if isinstance(target, MeanSquare) and len(shape) != 2:
        drawn = torch.randn(shape[0], generator=source)
        return Direction(target.at, drawn / drawn.norm(), axis=0)
    return None


def widths_of(model: Model, leaves: Leaves, points: Tensor, goals: Goals, run: Run) -> dict[Place, tuple[int, ...]]:
    """The shape of one row of what is read at each place."""
    found: dict[Place, tuple[int, ...]] = {}

    def see(place: Place, value: Any) -> None:
        answer = value if isinstance(place, Site) and place != LOGITS else by_class(main_output(value))
        found[place] = tuple(answer.shape[1:])

    with torch.no_grad(), model.session():
        visit(model, leaves, points, torch.zeros(len(points), dtype=torch.long), goals.places, see, run)
    return found


# ---------------------------------------------------------------------------------------------------------------- path


def layers_to(model: Model, leaves: Leaves, goals: Goals) -> tuple[str, ...]:
    """At most eight layers on the way to the goals, evenly spaced in the order in which they answer."""
    called = sorted((each for each in model.layers(leaves) if each.order >= 0), key=lambda each: each.order)
    last = [place.layer for place in goals.places if place is not None and place != LOGITS]
    ends = [i for i, each in enumerate(called) if each.name in last]
    names = [each.name for each in (called[: max(ends) + 1] if len(last) == len(goals.places) and ends else called)]
    places = np.unique(np.linspace(0, len(names) - 1, min(LAYERS, len(names))).round().astype(int))
    return tuple(names[i] for i in places)


def path_of(
    model: Model, leaves: Leaves, painted: Tensor, goals: Goals, found: Natural, run: Run, starts: Sequence[int]
) -> Path | None:
    """Correlations along the layers for the rows ``starts`` of ``painted``, one a goal."""
    names = layers_to(model, leaves, goals)
    if len(found.kept) < 3 or not names:
        return None
    tables = []
    for goal, row in enumerate(starts):
        best, others = found.best(goal), found.others(goal)
        if len(best) < 2 or not others:
            return None
        some = stacked([found.kept[number] for number in (*best, *others)])
        if some.values.shape[1:] != painted.shape[1:]:
            return None
        points = torch.cat([painted[row : row + 1], some.values.to(painted)])
        whole = stacked([leaves.take(torch.tensor([0])), some])
        tables.append(correlations(model, whole, points, names, len(best), run))
    own, best_, others_ = np.array(tables).transpose(1, 0, 2)
    return Path(layers=names, own=own, best=best_, others=others_)


def correlations(
    model: Model, leaves: Leaves, points: Tensor, names: tuple[str, ...], best: int, run: Run
) -> list[list[float]]:
    """Mean correlations at layers: first row with the best, those among each other, those with the rest."""
    seen: dict[str, tuple[float, float, float]] = {}
    sites = {site_of(model.module, name): name for name in names}

    def see(place: Place, value: Any) -> None:
        flat = full(value).flatten(1).double()
        flat = flat - flat.mean(1, keepdim=True)
        flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
        table = flat @ flat.T
        mine, theirs = table[0, 1 : best + 1], table[1 : best + 1, 1 : best + 1]
        among = (theirs.sum() - theirs.trace()) / (best * (best - 1))
        if isinstance(place, Site):
            seen[sites[place]] = (float(mine.mean()), float(among), float(table[1 : best + 1, best + 1 :].mean()))

    with torch.no_grad(), model.session():
        visit(model, leaves, points, torch.arange(len(points)), tuple(sites), see, run)
    run.count(len(points), backward=False)
    return [[seen[name][i] for name in names] for i in range(3)]


def stacked(many: Sequence[Leaves]) -> Leaves:
    """Inputs one after the other."""
    first, batch = many[0], sum(each.batch for each in many)
    tensors = tuple(
        torch.cat([each.tensors[i] for each in many])
        if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == first.batch
        else leaf
        for i, leaf in enumerate(first.tensors)
    )
    return replace(first, tensors=tensors, batch=batch)
