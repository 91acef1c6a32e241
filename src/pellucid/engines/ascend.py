"""Gradient ascent on inputs: many goals in one batch, one backward pass, and only as far into the network as needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pellucid.core.bound import full
from pellucid.core.leaves import Leaves
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.run import Run
from pellucid.core.site import site_of
from pellucid.core.target import Class, Probability, Sum, Target
from pellucid.engines.points import generator
from pellucid.engines.visit import LOGITS, Place, squashed, visit
from pellucid.errors import Cancelled, GradientError, OutputError

LOUDEST = 8
"""How often a row without a slope is stirred, each time twice as much."""


class Canvas(Protocol):
    """How inputs are written: parameters, row axis first, and what they paint."""

    def start(self, numbers: Tensor) -> list[Tensor]:
        """Parameters of rows (rows, …), each drawn by its number only; those that need no gradient stay as they are."""

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs (rows, *shape) as the model takes them."""


class Penalty(Protocol):
    """What is taken off the score.

    (rows,) from inputs (rows, *shape) in the units of ``Climb.unit``, activations at the ``layers`` it names, and both
    as they were at the start, the inputs under ``""``.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    def __call__(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Goals:
    """One goal a row: a weighted sum of targets, each read at its place."""

    targets: tuple[Target, ...]
    terms: tuple[tuple[tuple[float, Place, Target], ...], ...]
    about: Outputs = field(default_factory=Outputs)

    @classmethod
    def of(cls, model: Model, targets: Sequence[Target], *, before: bool = False) -> Goals:
        """Goals as written by the user; their layers are looked up. With ``before``, classes are read at the logits."""
        return cls(tuple(targets), tuple(tuple(terms_of(model, each, before)) for each in targets))

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the goals are read."""
        return tuple(dict.fromkeys(place for terms in self.terms for _, place, _ in terms))

    def take(self, rows: Sequence[int]) -> Goals:
        """Some of the goals."""
        return Goals(tuple(self.targets[i] for i in rows), tuple(self.terms[i] for i in rows), self.about)

    def words(self, row: int) -> str:
        """A goal in words, its open choices made."""
        return Sum(tuple((weight, target) for weight, _, target in self.terms[row])).words(self.about)

    def bound(self, seen: Mapping[Place, Any], about: Outputs) -> Goals:
        """The same goals, their open choices made on a first pass: unknown channels are refused here."""
        rows, first = {place: apart(value, len(self.terms)) for place, value in seen.items()}, torch.tensor([0])
        made = tuple(
            tuple((weight, place, target.bind(rows[place][i], about, first, 1)) for weight, place, target in terms)
            for i, terms in enumerate(self.terms)
        )
        return replace(self, terms=made, about=about)

    def scores(self, place: Place, value: Any) -> Tensor:
        """(rows,) what a place adds to each goal."""
        added, only = [], torch.tensor([0])
        for one, terms in zip(apart(value, len(self.terms)), self.terms, strict=True):
            here = [weight * target.score(one, only) for weight, where, target in terms if where == place]
            added.append(full(torch.stack(here).sum(0)) if here else full(torch.zeros_like(first_of(one)).sum()[None]))
        return torch.cat(added)

    def everywhere(self, place: Place, value: Any, rows: int) -> Tensor:
        """(goals, rows) what a place adds to every goal at every row."""
        only = torch.zeros(rows, dtype=torch.long)
        table = torch.zeros(len(self.terms), rows, device=first_of(value).device)
        for i, terms in enumerate(self.terms):
            for weight, where, target in terms:
                if where == place:
                    table[i] += weight * full(target.score(value, only)).to(table)
        return table


def terms_of(model: Model, target: Target, before: bool, weight: float = 1.0) -> list[tuple[float, Place, Target]]:
    """A sum of targets at any layers, taken apart."""
    if isinstance(target, Sum):
        return [each for factor, term in target.terms for each in terms_of(model, term, before, weight * factor)]
    if target.layer is not None:
        return [(weight, site_of(model.module, target.layer), target)]
    logits = before and isinstance(target, Class) and not isinstance(target, Probability)
    return [(weight, LOGITS if logits else None, target)]


def first_of(value: Any) -> Tensor:
    """The first tensor of an answer."""
    found: Tensor = next(each for each in pytree.tree_leaves(value) if isinstance(each, Tensor))
    return found


def apart(value: Any, rows: int) -> list[Any]:
    """An answer as one of each row; split at once, so that the way back puts it together at once."""
    leaves, spec = pytree.tree_flatten(value)
    split = [each.split(1) if isinstance(each, Tensor) and each.ndim else [each] * rows for each in leaves]
    return [pytree.tree_unflatten([each[i] for each in split], spec) for i in range(rows)]


@dataclass(eq=False)
class Ascent:
    """What came of it.

    Inputs ``painted`` (rows, *shape), ``score`` (rows,) there, ``path`` (steps, rows) of scores on the way,
    ``touched`` (rows, *shape) Σ|slope by the inputs| over steps (zero everywhere: nothing could be climbed), ``kept``
    inputs by step, ``ended`` rows whose slope was not finite with the step, and the step at which it was ``stopped``.
    """

    painted: Tensor
    score: Tensor
    path: Tensor
    touched: Tensor
    kept: dict[int, Tensor] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    stopped: int | None = None

    @classmethod
    def joined(cls, parts: Sequence[Ascent]) -> Ascent:
        """Several groups of rows as one; the paths of groups that were stopped are filled with their last score."""
        longest = max(len(part.path) for part in parts)
        paths = [torch.cat([part.path, part.path[-1:].expand(longest - len(part.path), -1)]) for part in parts]
        starts = [sum(len(part.score) for part in parts[:i]) for i in range(len(parts))]
        steps = [step for step in parts[0].kept if all(step in part.kept for part in parts)]
        halted = [part.stopped for part in parts if part.stopped is not None]
        return cls(
            torch.cat([part.painted for part in parts]),
            torch.cat([part.score for part in parts]),
            torch.cat(paths, 1),
            torch.cat([part.touched for part in parts]),
            {step: torch.cat([part.kept[step] for part in parts]) for step in steps},
            {start + row: step for start, part in zip(starts, parts, strict=True) for row, step in part.ended.items()},
            halted[0] if halted else None,
        )


Transform = Callable[[Tensor, int, Tensor], Tensor]


def same(painted: Tensor) -> Tensor:
    """Inputs as they are."""
    return painted


@dataclass(frozen=True, eq=False)
class Climb:
    """An ascent by Adam, the rate falling to a tenth along half a cosine.

    ``transform(painted, step, numbers)`` changes the inputs before each step. ``stir`` lets rows whose slope is zero
    be disturbed, more each time, until they have one. ``keep`` are the steps after which inputs are kept.
    """

    model: Model
    leaves: Leaves
    canvas: Canvas
    run: Run
    steps: int = 256
    rate: float = 0.05
    transform: Transform | None = None
    penalties: tuple[Penalty, ...] = ()
    unit: Callable[[Tensor], Tensor] = same
    rank: int = 2
    stir: bool = True
    keep: tuple[int, ...] = ()

    def bound(self, targets: Sequence[Target], numbers: Tensor) -> Goals:
        """Goals with all choices made at the starting points; what is out of range is refused before any climbing."""
        with self.model.session(), torch.no_grad():
            painted = self.canvas.paint(self.canvas.start(numbers))
            first = painted[:1], torch.tensor([0])
            before = classes_in(targets) and squashed(self.model, self.leaves, *first)
            goals = Goals.of(self.model, targets, before=before)
            seen: dict[Place, Any] = {}
            self.visit(painted, goals.places, seen.__setitem__)
            return goals.bound(seen, self.about(seen))

    def about(self, seen: Mapping[Place, Any]) -> Outputs:
        """What the answer means, for targets that ask."""
        about = Outputs(self.model.classes, rank=self.rank)
        if None in seen:
            with suppress(OutputError):  # only a target function can read such an answer
                about = replace(self.model.about(self.model.main(seen[None])), rank=self.rank)
        return about

    def __call__(self, goals: Goals, numbers: Tensor) -> Ascent:
        """Climb for all goals at once, one row each; ``numbers`` (rows,) name the rows' random draws."""
        with self.model.session(), torch.enable_grad():
            parameters = self.canvas.start(numbers)
            begun = self.begin(goals, parameters)
            return self.finish(goals, self.climb(goals, numbers, parameters, begun))

    def begin(self, goals: Goals, parameters: list[Tensor]) -> dict[str, Tensor]:
        """Inputs and activations at the start, for the penalties."""
        if not self.penalties:
            return {}
        with torch.no_grad():
            painted = self.canvas.paint(parameters)
            _, seen = self.scored(goals, painted, reach=False)
        return {"": self.unit(painted)} | seen

    def climb(self, goals: Goals, numbers: Tensor, parameters: list[Tensor], begun: dict[str, Tensor]) -> State:
        """All steps; ends early where it is stopped or no row is left."""
        state = State(parameters)
        free = [each for each in parameters if each.requires_grad]
        optimizer = torch.optim.Adam(free, lr=self.rate)
        try:
            for step in range(self.steps):
                if step:
                    self.run.check_stop()
                painted = self.canvas.paint(parameters)
                shaken = painted if self.transform is None else self.transform(painted, step, numbers)
                score, total = self.climbed(goals, shaken, painted, begun)
                *slopes, slope = torch.autograd.grad(-total.sum(), [*free, painted], allow_unused=True)
                self.run.count(len(numbers), backward=True)
                if not state.note(step, score.detach(), slopes, slope, painted):
                    break
                still = state.still() if self.stir and step < LOUDEST else []
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * (0.1 + 0.9 * math.cos(0.5 * math.pi * step / self.steps) ** 2)
                for parameter, each in zip(free, slopes, strict=True):
                    parameter.grad = torch.zeros_like(parameter) if each is None else each
                optimizer.step()
                disturb(free, still, numbers, step)
                if step + 1 in self.keep:
                    with torch.no_grad():
                        state.kept[step + 1] = self.canvas.paint(parameters)
        except (KeyboardInterrupt, Cancelled):
            state.stopped = len(state.path)
        return state

    def finish(self, goals: Goals, state: State) -> Ascent:
        """Scores at the last inputs; rows that went wrong are put back to their last good ones."""
        with torch.no_grad():
            if state.stopped is None:
                state.accept()
            painted = self.canvas.paint(state.good).detach()
            score, _ = self.scored(goals, painted)
            if state.stopped is None and not bool(torch.isfinite(score).all()):
                wrong = (~torch.isfinite(score)).nonzero()[:, 0].tolist()
                state.put_back(wrong)
                painted = self.canvas.paint(state.good).detach()
                score, _ = self.scored(goals, painted)
        path = torch.stack(state.path) if state.path else score[None]
        touched = torch.zeros_like(painted) if state.touched is None else state.touched
        return Ascent(painted, score, path, touched, state.kept, state.ended, state.stopped)

    def climbed(
        self, goals: Goals, shaken: Tensor, painted: Tensor, begun: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(rows,) goals, and goals less penalties."""
        score, seen = self.scored(goals, shaken)
        if not score.requires_grad:
            do = "Look for .detach(), round or argmax before the layer; or take another target."
            raise GradientError(expected="a target with a slope", got="one that no input changes", do=do)
        total = score
        for penalty in self.penalties:
            total = total - penalty(self.unit(painted), seen, begun)
        return score, total

    def scored(self, goals: Goals, painted: Tensor, *, reach: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """(rows,) goals at inputs, and the activations that penalties ask for."""
        wanted = {site_of(self.model.module, layer): layer for each in self.penalties for layer in each.layers}
        seen: dict[str, Tensor] = {}
        scores: list[Tensor] = []

        def see(place: Place, value: Any) -> None:
            if place in goals.places and reach:
                scores.append(goals.scores(place, value))
            if place in wanted:
                seen[wanted[place]] = value

        self.visit(painted, (*goals.places, *wanted) if reach else tuple(wanted), see)
        total = scores[0] if len(scores) == 1 else torch.stack(scores).sum(0) if scores else torch.zeros(len(painted))
        return total, seen

    def visit(self, painted: Tensor, places: Sequence[Place], see: Callable[[Place, Any], None]) -> None:
        """One forward pass."""
        if places:
            rows = torch.zeros(len(painted), dtype=torch.long)
            visit(self.model, self.leaves, painted, rows, places, see, self.run)


@dataclass(eq=False)
class State:
    """An ascent under way: the parameters, the last good ones, and what was seen."""

    parameters: list[Tensor]
    path: list[Tensor] = field(default_factory=list)
    touched: Tensor | None = None
    kept: dict[int, Tensor] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    stopped: int | None = None
    good: list[Tensor] = field(init=False)
    before: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.good = [each.detach().clone() for each in self.parameters]
        self.before = self.good

    def note(
        self, step: int, score: Tensor, slopes: Sequence[Tensor | None], slope: Tensor | None, painted: Tensor
    ) -> bool:
        """Book a step; rows whose slope is not finite end here. False when no row is left."""
        fine = torch.isfinite(score)
        for each in slopes:
            if each is not None:
                fine &= torch.isfinite(each.flatten(1).sum(1))
        if not bool(fine.all()):
            for row in (~fine).nonzero()[:, 0].tolist():
                self.ended.setdefault(row, step)
            for each in slopes:
                if each is not None:
                    each[~fine] = 0
            score = torch.where(fine, score, self.path[-1] if self.path else torch.zeros_like(score))
        self.path.append(score)
        self.accept()
        slope = torch.zeros_like(painted) if slope is None else slope.detach().abs()
        slope = slope if bool(fine.all()) else torch.where(torch.isfinite(slope), slope, 0)
        self.touched = slope if self.touched is None else self.touched.add_(slope)
        return len(self.ended) < len(score)

    def accept(self) -> None:
        """The parameters as they are now are good, other than those of rows that ended."""
        if self.before is self.good:
            self.before = [each.clone() for each in self.good]
        for old, good, now in zip(self.before, self.good, self.parameters, strict=True):
            old.copy_(good)
            ended = {row: good[row].clone() for row in self.ended}
            good.copy_(now.detach())
            for row, value in ended.items():
                good[row] = value

    def put_back(self, rows: list[int]) -> None:
        """Rows that went wrong in the last step, as they were before it."""
        for row in rows:
            self.ended.setdefault(row, len(self.path))
            for old, good in zip(self.before, self.good, strict=True):
                good[row] = old[row]

    def still(self) -> list[int]:
        """Rows that had no slope so far."""
        if self.touched is None:
            return []
        return (self.touched.flatten(1).amax(1) == 0).nonzero()[:, 0].tolist()


def disturb(parameters: list[Tensor], rows: list[int], numbers: Tensor, step: int) -> None:
    """Move rows at random, twice as far at each step."""
    with torch.no_grad():
        for row in rows:
            source = generator(int(numbers[row]), step)
            for parameter in parameters:
                drawn = torch.randn(parameter.shape[1:], generator=source, dtype=torch.float64)
                parameter[row] += min(2.0, 0.05 * 2.0**step) * drawn.to(parameter)


def classes_in(targets: Sequence[Target]) -> bool:
    """Whether the score of a class is among the goals."""
    parts = [term for each in targets for term in ([t for _, t in each.terms] if isinstance(each, Sum) else [each])]
    return any(isinstance(each, Sum | Class) and not isinstance(each, Probability) for each in parts)


def in_groups(count: int, at_once: int, together: int = 1) -> list[range]:
    """Rows in groups of at most so many, of nearly equal size; ``together`` consecutive rows are never parted."""
    blocks = count // together
    groups = max(1, math.ceil(blocks / max(1, at_once // together)))
    edges = [round(blocks * i / groups) * together for i in range(groups + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
