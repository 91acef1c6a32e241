"""Autograd functions that hand back DeepLIFT's multipliers: Δy/Δx in place of dy/dx.

Each multiplier is a function of its own element, window or row, and of nothing else in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid.engines.rules.lent import Lent
from pellucid.engines.rules.meeting import ours

Elementwise = Callable[[Tensor], Tensor]
Multiplier = Callable[[Tensor, Tensor], Tensor]


@ours
class Through(torch.autograd.Function):
    """``value`` forwards, the way of ``x`` backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@ours
class Rescale(torch.autograd.Function):
    """An elementwise operation that hands back g Δy/Δx; ``compute`` does it, in place where it says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compute: Elementwise, multiplier: Multiplier, now: Lent, there: Tensor) -> Tensor:
        y = compute(x)
        ctx.multiplier, ctx.now, ctx.there = multiplier, now, there
        if y.data_ptr() == x.data_ptr() and y.numel():
            ctx.mark_dirty(x)
            return x
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            slope = ctx.multiplier(ctx.now.tensor, ctx.there)
            return torch.mul(slope, grads[0], out=slope), None, None, None, None


def rectified(x: Tensor, there: Tensor) -> Tensor:
    """The multiplier of a ReLU: the share of the way from ``there`` to x that is above zero."""
    way = (x - there).abs_().add_(torch.finfo(x.dtype).tiny)
    return torch.maximum(x, there).div_(way).clamp_(0, 1)


def rescaled(function: Elementwise, near: Multiplier) -> Multiplier:
    """Δy/Δx of an elementwise function; its slope in the middle where ``near`` says that the two are one place."""

    def multiplier(x: Tensor, there: Tensor) -> Tensor:
        way = x - there
        same = way.abs() <= near(x, there)
        ratio = (function(x) - function(there)).div_(way)
        if bool(same.any()):
            ratio = torch.where(same, slope(function, (x + there) / 2), ratio)
        return ratio

    return multiplier


def slope(function: Elementwise, at: Tensor) -> Tensor:
    """The derivative of an elementwise function; zero where it has none."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        y = function(at)
        (made,) = torch.autograd.grad(y.sum(), at)
    return made.nan_to_num_(0.0, 0.0, 0.0)


def step(x: Tensor) -> float:
    """Where a difference loses as many digits as a slope in the middle is wrong by."""
    return float(torch.finfo(x.dtype).eps ** (1 / 3))


def absolutely_near(x: Tensor, there: Tensor) -> Tensor:
    """For functions that bend at the scale of one."""
    return x.new_tensor(step(x))


def relatively_near(x: Tensor, there: Tensor) -> Tensor:
    """For functions that bend at the scale of x: powers and logarithms."""
    return torch.minimum(x.abs(), there.abs()).clamp_(max=1).mul_(step(x))


def exactly_there(x: Tensor, there: Tensor) -> Tensor:
    """For functions made of straight pieces, whose differences are exact."""
    return x.new_zeros(())


@ours
class Selected(torch.autograd.Function):
    """The largest of each window: its change goes to the element that was or is the largest.

    ``x``, ``there`` are (rows, n); ``y``, ``before`` the largest values (rows, windows), ``at``, ``was`` where.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, y: Tensor, before: Tensor, at: Tensor, was: Tensor) -> Tensor:
        place = torch.where(y >= before, at, was)
        way = (x - there).gather(-1, place)
        still = way == 0
        ctx.share = torch.where(still, torch.ones_like(y), (y - before) / way.masked_fill(still, 1))
        ctx.place, ctx.shape = place, x.shape
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        empty = grads[0].new_zeros(ctx.shape)
        return empty.scatter_add_(-1, ctx.place, grads[0] * ctx.share), None, None, None, None, None


class Exponentials:
    """x − mean of a pass and of its reference, and their log Σ exp, over the last axis, in double precision.

    log Σ exp is exp, sum and logarithm, each by Δ out over Δ in; a softmax is exp(x − log Σ exp). So written, all
    multipliers are at most one, and a common shift of x changes nothing. Positions that count for nothing in both
    passes are left out: masked ones, whose values are arbitrary.
    """

    def __init__(self, x: Tensor, there: Tensor) -> None:
        sides = [each.detach().double() for each in (x, there)]
        seen = [each - each.amax(-1, keepdim=True) > -700 for each in sides]
        self.alive = (seen[0] | seen[1]) & torch.isfinite(sides[0]) & torch.isfinite(sides[1])
        self.count = self.alive.sum(-1, keepdim=True).clamp_min(1)
        kept = [each.masked_fill(~self.alive, 0) for each in sides]
        logs = [(each - each.sum(-1, keepdim=True) / self.count).masked_fill(~self.alive, -torch.inf) for each in kept]
        totals = [torch.logsumexp(each, -1, keepdim=True) for each in logs]
        self.alone = self.mean_exp(logs[0] - totals[0], logs[1] - totals[1])
        top = torch.maximum(*totals)
        self.share = self.mean_exp(*(each - top for each in logs)) / self.mean_exp(*(each - top for each in totals))

    @staticmethod
    def mean_exp(a: Tensor, b: Tensor) -> Tensor:
        """(exp a − exp b) / (a − b)."""
        way = (a - b).abs().nan_to_num_(0.0)
        flat = way < 1e-12
        return torch.maximum(a, b).exp() * torch.where(flat, 1.0, -torch.expm1(-way) / way.masked_fill(flat, 1))

    def centered(self, g: Tensor) -> Tensor:
        """From multipliers of x − mean to those of x."""
        g = g.masked_fill(~self.alive, 0)
        return (g - g.sum(-1, keepdim=True) / self.count).masked_fill(~self.alive, 0)

    def softmax(self, g: Tensor) -> Tensor:
        """exp(log softmax)."""
        return self.log_softmax(g * self.alone)

    def log_softmax(self, g: Tensor) -> Tensor:
        """x − log Σ exp."""
        g = g.masked_fill(~self.alive, 0)
        return self.centered(g - g.sum(-1, keepdim=True) * self.share)

    def logsumexp(self, g: Tensor) -> Tensor:
        """log Σ exp, and the mean that was taken off."""
        return self.centered(g * self.share) + (g / self.count) * self.alive


@ours
class Softened(torch.autograd.Function):
    """softmax, log_softmax or logsumexp over the last axis, by its name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, name: str, value: Tensor) -> Tensor:
        ctx.parts, ctx.back, ctx.dtype = Exponentials(x, there), getattr(Exponentials, name), x.dtype
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return ctx.back(ctx.parts, grads[0].double()).to(ctx.dtype), None, None, None


@ours
class Midpoint(torch.autograd.Function):
    """The value in the middle between x and its reference, for quadratic operations: their slope there is exact."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor) -> Tensor:
        return torch.lerp(there, x, 0.5) if x.is_floating_point() else x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
