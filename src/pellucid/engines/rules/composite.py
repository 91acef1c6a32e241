"""Composites: which rule stands where. An ordered list of predicates over places; the first that fits decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pellucid.engines.rules.conventions import FromEnd, without_bias
from pellucid.engines.rules.gates import Gate
from pellucid.engines.rules.linear import Rule
from pellucid.engines.rules.meeting import Place
from pellucid.errors import OptionError

Predicate = Callable[[Place], bool]


def anywhere(place: Place) -> bool:
    """Every operation."""
    return True


def first(place: Place) -> bool:
    """The first linear operation of the forward pass."""
    return place.number == 0


last: Predicate = FromEnd()  # the last linear operation; whoever runs the composite counts them first


def convolutional(place: Place) -> bool:
    """Convolutions, transposed ones included."""
    return place.operation.startswith("conv")


def dense(place: Place) -> bool:
    """Dense layers, written as a module, a function or a product with a constant matrix."""
    return place.operation in ("linear", "addmm", "matmul", "__matmul__", "__rmatmul__", "mm")


def operation(*names: str) -> Predicate:
    """Operations by their names in torch: ``operation("conv2d", "linear")``; patterns, too: ``operation("conv*d")``."""
    return lambda place: any(fnmatchcase(place.operation, name) for name in names)


def named(pattern: str) -> Predicate:
    """Modules whose path fits a pattern: ``named("layer4.*")``."""
    return lambda place: fnmatchcase(place.path, pattern)


def typed(*kinds: str) -> Predicate:
    """Modules by the names of their types: ``typed("Conv2d")``."""
    return lambda place: place.kind in kinds


def before(n: int) -> Predicate:
    """The first ``n`` linear operations, and what comes before the next one."""
    return lambda place: place.number < n


def from_end(n: int) -> Predicate:
    """The last ``n`` linear operations."""
    return FromEnd(n)


@dataclass(frozen=True)
class Composite:
    """An ordered list of (predicate, rule); a linear operation that none fits is an error.

    A predicate is any function of a place: its ``operation``, the ``path`` and ``kind`` of the module, and the
    ``number`` of linear operations before it. Rules for softmax, activations, products and norms may stand in the
    list, too; these have answers of their own without.

    Example:
        >>> import torch, pellucid as pl
        >>> from pellucid import rules
        >>> mine = rules.Composite(
        ...     (
        ...         (rules.first, rules.Flat()),
        ...         (rules.operation("conv*"), rules.ZPlus()),
        ...         (rules.anywhere, rules.Epsilon(0.01)),
        ...     )
        ... )
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

    def each(self, change: Callable[[Any], Any]) -> Composite:
        """The composite with every rule changed."""
        return Composite(tuple((fits, change(rule)) for fits, rule in self.entries))

    def without_bias(self) -> Composite:
        """The composite whose rules leave biases out of their denominators."""
        return self.each(without_bias)

    @property
    def counts(self) -> bool:
        """Whether it must know how many linear operations there are."""
        return any(isinstance(fits, FromEnd) for fits, _ in self.entries)

    def of(self, count: int) -> Composite:
        """The composite for a network of ``count`` linear operations."""
        made = [(fits.of(count) if isinstance(fits, FromEnd) else fits, rule) for fits, rule in self.entries]
        return Composite(tuple(made))
