"""Rules that change what another rule is given: pass-through, normalized shares, and biases that take nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.engines.rules.blind import OFF, Flat, WSquare, ZBox
from pellucid.engines.rules.gates import Gate
from pellucid.engines.rules.linear import TINY, AlphaBeta, Epsilon, Gamma, LinearOp, Rule, stable
from pellucid.engines.rules.meeting import Place, ours
from pellucid.errors import OptionError

FROM_PARTS = (AlphaBeta, Gamma, WSquare, ZBox)  # z gives them the relevance and its sign; denominators are their own


@dataclass(frozen=True)
class Pass(Rule):
    """Pass-through: the relevance of an output goes to the input at its place, for operations that keep the shape.

    A unit that is zero hands nothing on, so what is passed to a silent ReLU stays there.

    Example:
        >>> import torch, pellucid as pl
        >>> from pellucid import rules
        >>> mine = rules.Composite(((rules.named("0"), rules.Pass()), (rules.anywhere, rules.Epsilon())))
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
        >>> pl.LRP(mine)(net, torch.rand(1, 3)).values.shape
        torch.Size([1, 3])
    """

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        if z.shape != op.x.shape:
            got = f"{tuple(op.x.shape)} to {tuple(z.shape)}"
            do = "Let the composite give this place another rule."
            raise OptionError(expected="an operation that keeps the shape, for Pass", got=got, do=do)
        return g * z / stable(op.x, OFF)


@dataclass(frozen=True)
class Norm(Epsilon):
    """Relevance in proportion to gradient × input, normalized: LRP-ε with an ε that only stabilizes.

    Sums, means and average pools answer so by themselves and need no rule.
    """


@dataclass(frozen=True)
class WithoutBias(Rule):
    """Another rule, with biases left out of its denominators: they take nothing, and all relevance is handed on.

    The shift of a folded batch-norm is a bias.
    """

    rule: Rule

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        without = replace(op, bias=None)
        if op.bias is None or isinstance(self.rule, FROM_PARTS):
            return self.rule(without, z, g)
        bare = stable(op(op.x, op.weight), OFF)
        return self.rule(without, bare, g * z / bare)


@ours
class Passed(torch.autograd.Function):
    """An operation that keeps the shape; relevance goes from each output to the input at its place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y / stable(x, TINY))
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ratio,) = ctx.saved_tensors
        return grads[0] * ratio, None


@dataclass(frozen=True)
class PassNorm(Gate):
    """Pass-through for layer, RMS, group and instance norms: each feature keeps the relevance it had after the norm."""

    kind: ClassVar[str] = "norm"

    def __call__(self, rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
        rules.note(func.__name__, "approximated", "pass")
        x = args[0] if args else kwargs["input"]
        return Passed.apply(x, func(*args, **kwargs).detach())


@dataclass(frozen=True)
class FromEnd:
    """One of the last ``n`` linear operations; ``of`` says how many there are."""

    n: int = 1

    def __call__(self, place: Place) -> bool:
        do = "Use the composite in pl.LRP, which counts them; a predicate of your own cannot call it."
        raise OptionError(expected="the number of linear operations", got="none that is known", do=do)

    def of(self, count: int) -> BeforeEnd:
        """The predicate for a network of ``count`` linear operations."""
        return BeforeEnd(count - self.n)


@dataclass(frozen=True)
class BeforeEnd:
    """Linear operations from a number on."""

    start: int

    def __call__(self, place: Place) -> bool:
        return place.number >= self.start


def unwrapped(rule: Any) -> Any:
    """The rule inside of a wrapper."""
    return rule.rule if isinstance(rule, WithoutBias) else rule


def without_bias(rule: Any) -> Any:
    """A rule with biases left out; what is no rule for linear operations, or never looks at a bias, as it is."""
    return WithoutBias(rule) if isinstance(rule, Rule) and not isinstance(rule, Flat | Pass | WithoutBias) else rule
