"""Gradient ascent on inputs: many goals in one batch, one backward pass, and only as far into the network as needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
from pellucid.core.site import Site, Stop, meet, site_of, uncalled
from pellucid.core.target import Sum, Target
from pellucid.errors import GradientError

Seen = dict[Site | None, Any]


class Canvas(Protocol):
    """How inputs are written: parameters, and what they paint."""

    def start(self, rows: int) -> list[Tensor]:
        """Parameters of ``rows`` inputs; row i does not depend on how many there are."""

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs (rows, *shape) as the model takes them."""


class Penalty(Protocol):
    """What is taken off the score: (rows,) from inputs (rows, *shape) and the layers it names."""

    layers: tuple[str, ...]

    def __call__(self, painted: Tensor, seen: dict[str, Tensor]) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Goals:
    """One goal a row: a weighted sum of targets, each read at its layer (None: the model's answer)."""

    targets: tuple[Target, ...]
    terms: tuple[tuple[tuple[float, Site | None, Target], ...], ...]

    @classmethod
    def of(cls, model: Model, targets: Sequence[Target]) -> Goals:
        """Goals as written by the user; their layers are looked up."""
        return cls(tuple(targets), tuple(tuple(terms_of(model, each)) for each in targets))

    @property
    def sites(self) -> tuple[Site | None, ...]:
        """Where the goals are read."""
        return tuple(dict.fromkeys(site for terms in self.terms for _, site, _ in terms))

    def bound(self, seen: Seen, about: Outputs) -> Goals:
        """The same goals, their open choices made on a first pass: unknown channels are refused here."""
        rows = {site: apart(value, len(self.terms)) for site, value in seen.items()}
        made = tuple(
            tuple(
                (weight, site, target.bind(rows[site][i], about, torch.tensor([0]), 1))
                for weight, site, target in terms
            )
            for i, terms in enumerate(self.terms)
        )
        return replace(self, terms=made)

    def scores(self, site: Site | None, value: Any) -> Tensor:
        """(rows,) what a site adds to each goal."""
        added, only = [], torch.tensor([0])
        for one, terms in zip(apart(value, len(self.terms)), self.terms, strict=True):
            here = [weight * target.score(one, only) for weight, where, target in terms if where == site]
            added.append(full(torch.stack(here).sum(0)) if here else torch.zeros(1, device=first_of(one).device))
        return torch.cat(added)


def terms_of(model: Model, target: Target, weight: float = 1.0) -> list[tuple[float, Site | None, Target]]:
    """A sum of targets at any layers, taken apart."""
    if isinstance(target, Sum):
        return [each for factor, term in target.terms for each in terms_of(model, term, weight * factor)]
    return [(weight, None if target.layer is None else site_of(model.module, target.layer), target)]


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
    """What came of it: inputs (rows, *shape), scores at them, the path of scores (steps, rows), and what to know."""

    painted: Tensor
    score: Tensor
    path: Tensor
    notes: tuple[str, ...] = ()
    parameters: list[Tensor] = field(default_factory=list)


Watch = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True, eq=False)
class Climb:
    """An ascent: ``transform(painted, step, rows)`` shakes the inputs before each step; ``watch`` sees each step."""

    model: Model
    leaves: Leaves
    canvas: Canvas
    run: Run
    steps: int = 256
    rate: float = 0.05
    transform: Callable[[Tensor, int, Tensor], Tensor] | None = None
    penalties: tuple[Penalty, ...] = ()
    watch: Watch | None = None

    def __call__(self, targets: Sequence[Target]) -> Ascent:
        """Climb for all targets at once, one row each."""
        goals = Goals.of(self.model, targets)
        numbers = torch.arange(len(targets))
        parameters = self.canvas.start(len(targets))
        optimizer = torch.optim.Adam(parameters, lr=self.rate)
        path: list[Tensor] = []
        notes: tuple[str, ...] = ()
        self.run.announce(self.steps * len(targets))
        with self.model.session():
            painted = self.canvas.paint(parameters).detach()
            with torch.no_grad():
                goals = goals.bound(self.passed(painted, goals.sites, keep=True)[1], self.about(painted))
            good = [each.detach().clone() for each in parameters]
            try:
                for step in range(self.steps):
                    self.run.check_stop()
                    painted = self.canvas.paint(parameters)
                    shaken = painted if self.transform is None else self.transform(painted, step, numbers)
                    score = self.climbed(goals, shaken, painted)
                    slopes = torch.autograd.grad(-score.sum(), parameters, allow_unused=True)
                    self.run.count(len(targets), backward=True)
                    if not all(slope is None or bool(torch.isfinite(slope).all()) for slope in slopes):
                        notes = (f"stopped at step {step}: the slope was not finite; the last good input is kept",)
                        break
                    path.append(score.detach())
                    if self.watch is not None:
                        self.watch(step, painted.detach(), score.detach())
                    for here, there in zip(good, parameters, strict=True):
                        here.copy_(there.detach())
                    for parameter, slope in zip(parameters, slopes, strict=True):
                        parameter.grad = torch.zeros_like(parameter) if slope is None else slope
                    optimizer.step()
                else:
                    good = [each.detach().clone() for each in parameters]
            except KeyboardInterrupt:
                notes = (f"stopped by you after {len(path)} of {self.steps} steps: the best so far",)
            with torch.no_grad():
                painted = self.canvas.paint(good).detach()
                score = self.reached(goals, painted)
        curve = torch.stack(path) if path else score[None]
        return Ascent(painted, score, curve, notes, good)

    def about(self, painted: Tensor) -> Outputs:
        """What the spatial rank of the inputs is, for targets that ask."""
        return Outputs(self.model.classes, rank=painted.ndim - 2)

    def climbed(self, goals: Goals, shaken: Tensor, painted: Tensor) -> Tensor:
        """(rows,) goals less penalties."""
        wanted = dict.fromkeys(layer for each in self.penalties for layer in each.layers)
        more = {site_of(self.model.module, layer): layer for layer in wanted}
        score, seen = self.passed(shaken, goals.sites, goals, keep_also=tuple(more))
        if not score.requires_grad:
            do = "Look for .detach(), round or argmax before the layer; or take another target."
            raise GradientError(expected="a target with a slope", got="one that no input changes", do=do)
        layers = {layer: seen[site] for site, layer in more.items()}
        for penalty in self.penalties:
            score = score - penalty(painted, layers)
        return score

    def reached(self, goals: Goals, painted: Tensor) -> Tensor:
        """(rows,) goals at inputs as they are."""
        return self.passed(painted, goals.sites, goals)[0]

    def passed(
        self,
        painted: Tensor,
        sites: Sequence[Site | None],
        goals: Goals | None = None,
        *,
        keep: bool = False,
        keep_also: tuple[Site, ...] = (),
    ) -> tuple[Tensor, Seen]:
        """One forward pass to the last site: the goals' scores as they are met, and activations where asked for."""
        left = {*sites, *keep_also}
        seen: Seen = {}
        scores: list[Tensor] = []

        def meet_value(site: Site | None, value: Any) -> None:
            if goals is not None and site in sites:
                scores.append(goals.scores(site, value))
            if keep or site in keep_also:
                seen[site] = value

        def tap(site: Site) -> Callable[[Tensor], Tensor | None]:
            def look(value: Tensor) -> Tensor | None:
                meet_value(site, value)
                left.discard(site)
                if not left:
                    raise Stop
                return value.clone()  # what comes next may write over it

            return look

        inner = [site for site in left if site is not None]
        with ExitStack() as stack:
            module = self.model.choose(self.leaves, exact=self.run.exact, layers=[site.layer for site in inner])
            self.run.path = self.model.path(module)
            for site in inner:
                stack.enter_context(meet(module, site, tap(site)))
            try:
                rows = torch.zeros(len(painted), dtype=torch.long)
                answer = self.model.answer(self.leaves, painted, rows, module=module)
                if missing := [site for site in left if site is not None]:
                    raise uncalled(missing[0])
                meet_value(None, answer)
            except Stop:
                pass
        total = torch.stack(scores).sum(0) if scores else torch.zeros(len(painted))
        return total, seen


def in_groups(count: int, at_once: int) -> list[range]:
    """Rows in groups of at most so many, of nearly equal size."""
    groups = max(1, math.ceil(count / max(1, at_once)))
    edges = [round(count * i / groups) for i in range(groups + 1)]
    return [range(a, b) for a, b in pairwise(edges)]
