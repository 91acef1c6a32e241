"""Several targets of the same inputs: one pass forward, and one answer backwards for each.

A method is asked once for each target. The first question it asks, where that is a gradient of one draw, cannot depend
on the target yet; it is answered for all targets at once, and what the others will be told is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pellucid._typing import Points
from pellucid.core.bound import Bound
from pellucid.core.outputs import by_class, main_output
from pellucid.core.probe import Probe
from pellucid.core.reduce import Keep, Reducer
from pellucid.core.run import Run
from pellucid.core.target import Target, as_target
from pellucid.core.ways import can_share, owner, tell
from pellucid.errors import OptionError


@dataclass(frozen=True, eq=False)
class Several(Probe):
    """The question of ``asks``, which differ in their targets or in the turn of their ways: values (rows, asks, …)."""

    asks: tuple[Probe, ...] = ()

    def _key(self, grad: bool) -> tuple[Any, ...]:
        return (*super()._key(grad), len(self.asks))

    def _ask(self, points: Tensor, rows: Tensor, *, grad: bool, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
        try:
            return self._answers(points, rows, grad=grad, other=other)
        except (MemoryError, RuntimeError):
            for ask in self.asks:
                ask.bound.parts.pop(int(rows[0]), None)
            raise

    def _answers(self, points: Tensor, rows: Tensor, *, grad: bool, other: Tensor | None) -> tuple[Tensor, Tensor]:
        tell(self.ways, "piece", rows)
        with torch.set_grad_enabled(grad):
            with self._changed() as module:
                bases = []
                if other is not None:
                    there = self._outputs(other.detach().requires_grad_().clone(), rows, module=module)
                    bases = [score.detach() for score in self._scores(there, rows)]
                leaf = points.detach().requires_grad_(grad)
                outputs = self._outputs(leaf.clone(), rows, module=module)
                scores = self._scores(outputs, rows)
            together = torch.stack([score.detach() for score in scores], 1)
            together = torch.stack([together, torch.stack(bases, 1)], 2) if bases else together
            if not grad:
                return together, together
            slopes = []
            for number, score in enumerate(scores):
                tell(self.ways, "turn", number)
                ask = replace(self.asks[number], ways=self.ways)
                slopes.append(ask._slope(score, leaf, rows, last=number + 1 == len(scores)))
            return torch.stack(slopes, 1), together

    def _scores(self, outputs: Any, rows: Tensor) -> list[Tensor]:
        scores = []
        for number, ask in enumerate(self.asks):
            tell(self.ways, "reading", number)
            scores.append(ask._score(outputs, rows))
        return scores

    def _settle(self, score: Tensor) -> None:
        for number, ask in enumerate(self.asks):
            ask.bound.settle(score[:, number].contiguous())

    def together(self, points: Points | None, against: Points | None) -> Answer:
        """The gradient for each, of one draw."""
        if (points is not None or against is not None) and not self.bound.decided:
            self._sweep(None, 1, Keep(), grad=False)
        answer: Answer = self._sweep(points, 1, Answer(), grad=True, against=against)
        return answer


class Answer:
    """Keeps what a reducer is told of one draw, for reducers that each want one of the asks."""

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        self.draws, self.values, self.scores = draws, values, scores

    def result(self) -> Answer:
        return self

    def tell(self, reducer: Reducer, number: int) -> None:
        """Tell a reducer the part of one of the asks."""
        reducer.update(self.draws, self.values[:, :, number].contiguous(), self.scores[:, :, number].contiguous())


class FirstQuestion:
    """Answers the first question of each of several probes, if one pass can serve them all."""

    def __init__(self) -> None:
        self.asks: tuple[Probe, ...] = ()
        self.counted: list[int] = []
        self.left: set[int] = set()
        self.answer: Answer | None = None
        self.ways: tuple[Any, ...] = ()

    def of(self, asks: Sequence[Probe]) -> tuple[Probe, ...]:
        """The same probes, their first question shared; a single one, and those read at different places, stay."""
        if len(asks) < 2 or len({ask.bound.target.layer for ask in asks}) > 1:
            return tuple(asks)
        self.asks = tuple(replace(ask, first=self) for ask in asks)
        self.counted, self.left = [ask.run.rows_forward for ask in asks], set(range(len(asks)))
        return self.asks

    def __call__(self, asked: Probe, points: Points | None, reducer: Reducer, against: Points | None) -> bool:
        """Tell the reducer the gradient that a probe asks for; false where it must be asked for by itself."""
        number = next(i for i, ask in enumerate(self.asks) if ask.run is asked.run)
        if not self.is_first(asked, number):
            return False
        if number == 0:
            self.ways = asked.ways
            own = {each.name: getattr(asked, each.name) for each in fields(asked)}
            asks = tuple(replace(ask, first=None) for ask in self.asks)
            self.answer = Several(**{**own, "first": None, "asks": asks}).together(points, against)
        if self.answer is None or kinds(self.ways) != kinds(asked.ways):
            return False
        self.left.discard(number)
        first = self.asks[0].run
        for way, mine in zip(self.ways, asked.ways, strict=True):
            if owner(way) is not owner(mine):
                tell((mine,), "retell", owner(way), number)
        if number:
            asked.run.rows_backward += asked.batch
            asked.run.path, asked.run.peak = first.path, max(asked.run.peak, first.peak)
        self.answer.tell(reducer, number)
        return True

    def is_first(self, asked: Probe, number: int) -> bool:
        """Whether nothing was asked before, and the question is the bound one."""
        ask = self.asks[number]
        same = asked.leaves is ask.leaves and asked.clean is ask.clean and asked.site == ask.site
        untouched = number in self.left and asked.run.rows_forward == self.counted[number]
        return same and untouched and asked.changes == ask.changes and can_share(asked.ways)


def kinds(ways: Sequence[Any]) -> list[type]:
    """What kinds of ways."""
    return [type(owner(way)) for way in ways]


def several(ask: Probe, targets: Any) -> tuple[Probe, ...]:
    """The question of a probe for each of several targets; the first pays for the pass they share."""
    wanted = listed(ask, targets)
    asks = [with_target(ask, Bound(wanted[0], ask.batch, about=ask.bound.about), ask.run)]
    for target in wanted[1:]:
        bound = Bound(target, ask.batch, about=ask.bound.about)
        asks.append(with_target(ask, bound, Run(ask.run.options, ask.run.device)))
    return FirstQuestion().of(asks)


def with_target(ask: Probe, bound: Bound, run: Run) -> Probe:
    """The same question of another target, on another bill."""
    outer = None if ask.outer is None else with_target(ask.outer, bound, run)
    return replace(ask, bound=bound, run=run, outer=outer)


def listed(ask: Probe, targets: Any) -> list[Target]:
    """Targets as a list; "all" is every class."""
    if isinstance(targets, str) and targets == "all":
        return [as_target(number) for number in range(classes_of(ask))]
    if hasattr(targets, "tolist"):
        targets = targets.tolist()
    do = 'Pass a list: targets=[0, 1, "cat"]; or "all".'
    if isinstance(targets, str | Target) or not isinstance(targets, Sequence):
        raise OptionError(expected="several targets", got=repr(targets)[:60], do=do)
    if not targets:
        raise OptionError(expected="at least one target", got="none", do=do)
    return [as_target(target) for target in targets]


def classes_of(ask: Probe) -> int:
    """How many classes a model answers with; one row is asked where they have no names."""
    if ask.model.classes is not None:
        return len(ask.model.classes)
    rows = torch.tensor([0])
    with torch.no_grad(), ask.model.session():
        answer = by_class(main_output(ask.model.answer(ask.leaves, None, rows)))
    ask.run.count(1, backward=False)
    return answer.shape[1] if answer.ndim > 1 else 1
