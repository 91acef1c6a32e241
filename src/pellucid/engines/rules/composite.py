"""Composites: which rule stands where. An ordered list of predicates over places; the first that fits decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pellucid.engines.rules.gates import Gate
from pellucid.engines.rules.linear import Rule
from pellucid.engines.rules.meeting import Place
from pellucid.errors import OptionError

Predicate = Callable[[Place], bool]


def anywhere(place: Place) -> bool:
    """Every linear operation."""
    return True


def first(place: Place) -> bool:
    """The first linear operation of the forward pass."""
    return place.number == 0


def convolutional(place: Place) -> bool:
    """Convolutions, transposed ones included."""
    return place.operation.startswith("conv")


def named(pattern: str) -> Predicate:
    """Modules whose path fits a pattern: ``named("layer4.*")``."""
    return lambda place: fnmatchcase(place.path, pattern)


@dataclass(frozen=True)
class Composite:
    """An ordered list of (predicate, rule); a linear operation that none fits is an error.

    Rules for softmax, activations, products and norms may stand in it, too; these have answers of their own without.

    Example:
        >>> import torch, pellucid as pl
        >>> from pellucid.engines.rules import Composite, Epsilon, ZPlus, anywhere, named
        >>> mine = Composite(((named("0"), ZPlus()), (anywhere, Epsilon(0.01))))
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> pl.LRP(mine)(net, torch.rand(1, 3)).values.shape
        torch.Size([1, 3])
    """

    entries: tuple[tuple[Predicate, Rule | Gate], ...]

    def __call__(self, place: Place) -> Rule:
        for fits, rule in self.entries:
            if isinstance(rule, Rule) and fits(place):
                return rule
        do = "End the composite with (anywhere, …)."
        raise OptionError(expected="a rule for every place", got=f"none for {place.path or place.operation}", do=do)

    def gate(self, place: Place, kind: str) -> Gate | None:
        """The rule for an operation that is not linear; None where the composite has none of its kind."""
        for fits, rule in self.entries:
            if isinstance(rule, Gate) and rule.kind == kind and fits(place):
                return rule
        return None
