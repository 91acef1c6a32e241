"""Linear operations with weights, and the rules by which they hand relevance back.

Everything is in the gradient × input domain: ``g`` is relevance divided by the value it belongs to, so a rule gets the
``g`` of its output and gives that of its input. A residual sum, a view or a mean then needs no rule at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from pellucid.engines.rules.lent import Lent
from pellucid.errors import OptionError

TINY = 1e-6
Half = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearOp:
    """One call of y = W x + b: a dense layer or a convolution of any rank, transposed ones included."""

    lent: Lent
    weight: Tensor
    bias: Tensor | None
    there: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]

    @property
    def x(self) -> Tensor:
        """The input."""
        return self.lent.tensor

    def back(self, s: Tensor, weight: Tensor) -> Tensor:
        """The gradient by the input, for a gradient of the output."""
        return self.backward(s, weight, self.x)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The operation with other numbers."""
        return self.there(x, weight, bias)

    def scaled(self, factor: Tensor, shift: Tensor) -> LinearOp:
        """The same operation followed by a scale and a shift of each output channel (a batch-norm folded in)."""
        bias = shift if self.bias is None else self.bias * factor + shift
        weight = channels(self.weight, factor, self.axis)
        return LinearOp(self.lent, weight, bias, self.there, self.backward)

    def to(self, dtype: torch.dtype) -> LinearOp:
        """The same operation in another precision."""
        if self.x.dtype == dtype:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return LinearOp(Lent(self.x.to(dtype)), self.weight.to(dtype), bias, self.there, self.backward)

    @cached_property
    def axis(self) -> int:
        """Which axis of the weight runs over output channels."""
        return int(getattr(self.there, "transposed", False))


def channels(weight: Tensor, factor: Tensor, axis: int) -> Tensor:
    """A weight with its output channels scaled."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return weight * factor.reshape(shape)


@dataclass(frozen=True)
class Rule:
    """How a linear operation answers backwards: ``g`` of the output to ``g`` of the input."""

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        raise NotImplementedError


def stable(z: Tensor, epsilon: float) -> Tensor:
    """z moved away from zero, by epsilon in the direction of its sign."""
    return torch.full_like(z, epsilon).copysign_(z).add_(z)


@dataclass(frozen=True)
class Gradient(Rule):
    """LRP-0: the plain gradient."""

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        return op.back(g, op.weight)


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-ε: R_j = Σ_k x_j w_jk / (z_k + ε sign z_k) R_k; small outputs keep some relevance to themselves."""

    epsilon: float = TINY

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        return op.back(self.scaled(z, g), op.weight)

    def scaled(self, z: Tensor, g: Tensor) -> Tensor:
        """g z / (z + ε sign z) = g − ε g / (|z| + ε), in as few passes over memory."""
        single = z.to(torch.float32) if z.dtype.itemsize < 4 else z
        share = torch.addcdiv(g.to(single), g.to(single), single.abs().add_(self.epsilon), value=-self.epsilon)
        return share.to(g)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-γ: parts that agree with the sign of the output count (1 + γ) times; of inputs of either sign."""

    gamma: float = 0.25

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        r, shares = g * z, torch.zeros_like(op.x)
        for part, half, bias in zip((z > 0, z < 0), (raised, lowered), halves(op.bias), strict=True):
            there = r * part
            if bool(there.any()):  # a ReLU that follows leaves nothing where z is negative
                full = None if op.bias is None or bias is None else op.bias + self.gamma * bias
                other = lowered if half is raised else raised
                shares += handed_back(op, there, full, partial(self.more, half), partial(self.more, other))
        return shares

    def more(self, half: Half, weight: Tensor) -> Tensor:
        """A weight, one half of it (1 + γ) times."""
        return weight + self.gamma * half(weight)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-αβ: positive parts hand back α times the relevance, negative ones −β times; α − β = 1."""

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            got = f"alpha {self.alpha}, beta {self.beta}"
            raise OptionError(expected="alpha − beta = 1, both at least 0", got=got, do="Use e.g. AlphaBeta(2, 1).")

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        bias_up, bias_down = halves(op.bias)
        r, shares = g * z, None
        if self.alpha:
            shares = handed_back(op, r, bias_up, raised, lowered)
            shares = shares if self.alpha == 1 else shares * self.alpha
        if self.beta:
            less = handed_back(op, r, bias_down, lowered, raised) * -self.beta
            shares = less if shares is None else shares.add_(less)
        return torch.zeros_like(op.x) if shares is None else shares


def handed_back(op: LinearOp, r: Tensor, bias: Tensor | None, same: Half, other: Half) -> Tensor:
    """Relevance r shared among the parts x w, with weights ``same`` where x is positive, ``other`` where negative."""
    there, x = same(op.weight), op.x
    if bool(x.min() >= 0):
        return op.back(r / stable(op(x, there, bias), TINY), there)
    elsewhere = other(op.weight)
    s = r / stable(op(x.clamp(min=0), there, bias).add_(op(x.clamp(max=0), elsewhere)), TINY)
    return torch.where(x >= 0, op.back(s, there), op.back(s, elsewhere))


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """LRP-z⁺: positive parts only, AlphaBeta with α = 1 and β = 0."""

    alpha: float = 1.0
    beta: float = 0.0


def halves(bias: Tensor | None) -> tuple[Any, Any]:
    """The positive and the negative part of a bias."""
    return (None, None) if bias is None else (bias.clamp(min=0), bias.clamp(max=0))


HALVES: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def raised(weight: Tensor) -> Tensor:
    """The positive part of a weight, kept as long as the weight is."""
    return remembered(weight, "min")


def lowered(weight: Tensor) -> Tensor:
    """The negative part of a weight, kept as long as the weight is."""
    return remembered(weight, "max")


def remembered(weight: Tensor, bound: str) -> Tensor:
    """A half of a weight; that of a parameter is made once for each state of it."""
    if not isinstance(weight, nn.Parameter):
        return weight.clamp(**{bound: 0})
    state = (weight._version, weight.data_ptr(), weight.dtype)
    kept = HALVES.get(weight, {})
    if kept.get("state") != state:
        kept = HALVES[weight] = {"state": state}
    if bound not in kept:
        kept[bound] = weight.detach().clamp(**{bound: 0})
    return kept[bound]
