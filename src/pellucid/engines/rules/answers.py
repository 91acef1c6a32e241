"""Autograd functions that compute what the operation computes and answer backwards as a rule says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid.engines.rules.lent import Lent
from pellucid.engines.rules.linear import LinearOp, Rule
from pellucid.engines.rules.meeting import ours

NEAR = 1e-7


@ours
class LinearAnswer(torch.autograd.Function):
    """A linear operation that obeys a rule; ``compute`` gives its output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, op: LinearOp, rule: Rule, value: Lent, compute: Callable[[], Tensor]) -> Tensor:
        z = compute()
        value.hold(z.detach())
        ctx.op, ctx.rule, ctx.value = op, rule, value
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        with torch.no_grad():
            z, g = (each.to(ctx.op.x.dtype) for each in (ctx.value.tensor, grads[0]))
            return ctx.rule(ctx.op, z, g).to(grads[0].dtype), None, None, None, None


@ours
class Ratio(torch.autograd.Function):
    """An elementwise non-linearity that passes all relevance on: g y / x; its slope where x is next to zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compute: Callable[[Tensor], Tensor], inplace: bool) -> Tensor:
        before = x.clone() if inplace else x
        y = compute(before)
        small = before.abs() < NEAR
        ratio = y / torch.where(small, torch.ones_like(before), before)
        if bool(small.any()):
            step = torch.full_like(before, 1e-3)
            slope = (compute(step) - compute(-step)) / 2e-3
            ratio = torch.where(small, slope.nan_to_num(0.0), ratio)  # √x has none on one side
        ctx.save_for_backward(ratio)
        if inplace:
            x.copy_(y)
            ctx.mark_dirty(x)
            return x
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (ratio,) = ctx.saved_tensors
        return grads[0] * ratio, None, None


@ours
class NormAnswer(torch.autograd.Function):
    """A normalization over ``dims`` whose spread is taken as given: linear in what is left."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        inverse: Tensor,
        dims: tuple[int, ...] | None,
        compute: Callable[[], Tensor],
    ) -> Tensor:
        ctx.weight, ctx.inverse, ctx.dims = weight, inverse, dims
        return compute()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        g = grads[0] if ctx.weight is None else grads[0] * ctx.weight
        g = g.reshape((*ctx.inverse.shape[:-1], -1)) if g.ndim != ctx.inverse.ndim else g
        g = g * ctx.inverse
        if ctx.dims is not None:
            g = g - g.mean(ctx.dims, keepdim=True)
        return g.reshape(grads[0].shape), None, None, None, None
