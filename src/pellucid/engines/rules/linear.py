"""Linear operations with weights, and the rules by which they hand relevance back.

Everything is in the gradient × input domain: ``g`` is relevance divided by the value it belongs to, so a rule gets the
``g`` of its output and gives that of its input. A residual sum, a view or a mean then needs no rule at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pellucid.errors import OptionError

TINY = 1e-6


@dataclass(frozen=True, eq=False)
class LinearOp:
    """One call of y = W x + b: a dense layer or a convolution of any rank, transposed ones included."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    there: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The operation with other numbers."""
        return self.there(x, weight, bias)

    def scaled(self, factor: Tensor, shift: Tensor) -> LinearOp:
        """The same operation followed by a scale and a shift of each output channel (a batch-norm folded in)."""
        bias = shift if self.bias is None else self.bias * factor + shift
        return LinearOp(self.x, channels(self.weight, factor, self.axis), bias, self.there, self.back)

    def to(self, dtype: torch.dtype) -> LinearOp:
        """The same operation in another precision."""
        if self.x.dtype == dtype:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return LinearOp(self.x.to(dtype), self.weight.to(dtype), bias, self.there, self.back)

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
    return z + epsilon * torch.where(z >= 0, 1.0, -1.0).to(z)


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
        return op.back(g * (z / stable(z, self.epsilon)), op.weight)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-γ: parts that agree with the sign of the output count (1 + γ) times; of inputs of either sign."""

    gamma: float = 0.25

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        up, down = op.weight + self.gamma * op.weight.clamp(min=0), op.weight + self.gamma * op.weight.clamp(max=0)
        bias_up, bias_down = (None if op.bias is None else op.bias + self.gamma * part for part in halves(op.bias))
        plus, minus = op.x.clamp(min=0), op.x.clamp(max=0)
        high = op(plus, up, bias_up) + op(minus, down)
        low = op(plus, down, bias_down) + op(minus, up)
        r = g * z
        s, t = r * (z > 0) / stable(high, TINY), r * (z < 0) / stable(low, TINY)
        positive = op.back(s, up) + op.back(t, down)
        negative = op.back(s, down) + op.back(t, up)
        return torch.where(op.x >= 0, positive, negative)


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
        up, down = op.weight.clamp(min=0), op.weight.clamp(max=0)
        plus, minus = op.x.clamp(min=0), op.x.clamp(max=0)
        bias_up, bias_down = halves(op.bias)
        r, positive, negative = g * z, torch.zeros_like(op.x), torch.zeros_like(op.x)
        if self.alpha:
            s = self.alpha * r / stable(op(plus, up, bias_up) + op(minus, down), TINY)
            positive, negative = positive + op.back(s, up), negative + op.back(s, down)
        if self.beta:
            t = self.beta * r / stable(op(plus, down, bias_down) + op(minus, up), TINY)
            positive, negative = positive - op.back(t, down), negative - op.back(t, up)
        return torch.where(op.x >= 0, positive, negative)


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """LRP-z⁺: positive parts only, AlphaBeta with α = 1 and β = 0."""

    alpha: float = 1.0
    beta: float = 0.0


def halves(bias: Tensor | None) -> tuple[Any, Any]:
    """The positive and the negative part of a bias."""
    return (None, None) if bias is None else (bias.clamp(min=0), bias.clamp(max=0))
