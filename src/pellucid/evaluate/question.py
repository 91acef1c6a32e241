"""Question: one input, one target, one model, and what all explanations of it share; Case: one explanation of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from pellucid.core.bound import Bound, Studied
from pellucid.core.evidence import Check
from pellucid.core.leaves import Leaves
from pellucid.core.method import Attributor
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.probe import Probe
from pellucid.core.result import MethodNote
from pellucid.core.run import Options, Run
from pellucid.core.target import Target
from pellucid.engines.game import Game
from pellucid.evaluate.bank import Bank, bank_of, hidings
from pellucid.evaluate.layout import Layout, features_of, layout_of
from pellucid.evaluate.thresholds import MASKS

Tier = Literal["quick", "full"]
Made = TypeVar("Made")


@dataclass(eq=False)
class Question:
    """One row of inputs and its target, bound; what several explanations or checks need of it is made once.

    ``memo`` keeps what belongs to this input, ``common`` what belongs to the model and is shared by all inputs.
    """

    model: Studied
    leaves: Leaves
    target: Target
    about: Outputs
    at: str | None
    tier: Tier
    options: Options
    fill: Any = None
    common: dict[str, Any] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """Rows that went through models for this question so far."""
        return sum(run.rows_forward for run in self.runs)

    @property
    def seed(self) -> int:
        """The seed of all draws."""
        return self.options.seed

    def ask(
        self,
        *,
        model: Studied | None = None,
        discrete: bool = True,
        points: Tensor | None = None,
        target: Target | None = None,
        outside: bool = False,
    ) -> Probe:
        """A fresh probe with its own receipt: of another model, of embedded ids, moved to ``points`` (draws, 1, …).

        ``outside`` asks of the inputs even where the explanation is of a layer.
        """
        model = model or self.model
        bound = Bound(target or self.target, 1, about=self.about, decided=True)
        exact = self.options.exact or model is not self.model
        self.runs.append(Run(replace(self.options, exact=exact), model.device))
        probe = Probe(model, self.leaves, bound, self.runs[-1])
        if self.leaves.integer and isinstance(model, Model) and not discrete:
            probe = probe.embedded()
        if points is not None:
            probe = probe.moved(points)
        return probe if self.at is None or outside else probe.at(self.at)

    def same(self, other: Question) -> bool:
        """Whether another question is this one."""
        if self.at != other.at or self.target != other.target or self.leaves.names != other.leaves.names:
            return False
        pairs = zip(self.leaves.tensors, other.leaves.tensors, strict=True)
        return all(torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b for a, b in pairs)

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` gives, made on first need."""
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]

    def pay(self, name: str, rows: int) -> int:
        """``rows`` for the first explanation that needs something shared, 0 for the others."""
        paid = self.once("paid", set)
        first = name not in paid
        paid.add(name)
        return rows if first else 0

    @cached_property
    def game(self) -> Game:
        """Parts of the input shown or hidden."""
        ask = self.ask()
        with ask.model.session():
            return Game(ask, features_of(ask), self.fill)

    @cached_property
    def layout(self) -> Layout:
        """Which part each place belongs to."""
        return layout_of(self.game)

    @cached_property
    def bank(self) -> Bank:
        """The mask bank of this input."""
        return bank_of(self.game, hidings(self.game.n, MASKS[self.tier], self.seed))


@dataclass(frozen=True, eq=False)
class Case:
    """One explanation of a question: a map, how it is read, and, where known, the method that made it.

    ``rows`` is what the explanation cost, in rows forward; ``base_score`` the score at the method's own baseline;
    ``row`` the row of the batch it was given in.
    """

    question: Question
    values: Tensor
    note: MethodNote | None = None
    maker: Attributor | None = None
    base_score: float | None = None
    rows: int = 0
    row: int = 0

    @property
    def by_size(self) -> bool:
        """Whether values are slopes, to be read by their size, and not shares of the score."""
        return self.note is not None and self.note.folding == "norm"

    @cached_property
    def cells(self) -> Tensor:
        """(cells,) the map on the cells of the layout."""
        return self.question.layout.cells(self.values, by_size=self.by_size)

    @cached_property
    def parts(self) -> Tensor:
        """(parts,) the map summed up over parts."""
        return self.question.layout.parts(self.cells)

    @cached_property
    def bank(self) -> Bank:
        """The mask bank as this map is read: slopes tell how far the score moves, not whether up or down."""
        return self.question.bank.unsigned() if self.by_size else self.question.bank

    @cached_property
    def flat(self) -> str | None:
        """Why there is nothing to test in the map itself, in words; None where there is."""
        size = float(self.values.abs().max())
        if float(self.values.max() - self.values.min()) <= 1e-9 * size:
            return "the map is the same everywhere: it says nothing on what matters more"
        bank = self.question.bank
        if bank.n > 1 and len(bank.hidden) and float(bank.claims(self.parts).abs().max()) <= 1e-6:
            return "the map gives every part that can be hidden the same value"
        return None


Make = Callable[[Case], Check]
"""A check: a case in, its answer out; ``check.TIERS`` lists those of each tier."""
