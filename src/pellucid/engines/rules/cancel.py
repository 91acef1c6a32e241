"""RevealCancel: positive and negative contributions to a sum go through the next non-linearity apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pellucid.engines.rules.differences import HANDLERS
from pellucid.engines.rules.linear import LinearOp
from pellucid.engines.rules.meeting import Handler, ours
from pellucid.engines.rules.operations import (
    CONVOLUTION_NAMES,
    REMEMBERED,
    TRANSPOSED_NAMES,
    Convolution,
    dense_back,
)

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Sum:
    """The output z of a dense layer or convolution, and how it was made of x, here and at the reference."""

    z: Tensor
    op: LinearOp
    x: Tensor
    versions: tuple[int, int]
    there: Tensor

    @property
    def untouched(self) -> bool:
        """Whether z and x are still what they were."""
        return (self.z._version, self.x._version) == self.versions


@ours
class Canceled(torch.autograd.Function):
    """f(W x + b), handed back to x by the sign of each contribution to the sum (Shrikumar et al. 2017, sec. 3.5.2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Sum, base: Tensor, function: Elementwise, plain: Elementwise) -> Tensor:
        ctx.made, ctx.base, ctx.function, ctx.plain = made, base, function, plain
        return function(made.z.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        made: Sum = ctx.made
        op, f, base = made.op, ctx.function, ctx.base
        with torch.no_grad():
            way = op.x - made.there
            more, less = way.clamp(min=0), way.clamp(max=0)
            up, down = op.weight.clamp(min=0), op.weight.clamp(max=0)
            plus = op(more, up) + op(less, down)
            minus = op(less, up) + op(more, down)
            ends = [f(base + each) for each in (plus, minus, plus + minus)]
            start, usual = f(base), ctx.plain(base + plus + minus, base)
            of_plus = shared(ends[0] - start + ends[2] - ends[1], plus, usual)
            of_minus = shared(ends[1] - start + ends[2] - ends[0], minus, usual)
            g_plus, g_minus = grads[0] * of_plus, grads[0] * of_minus
            rising = op.back(g_plus, up) + op.back(g_minus, down)
            falling = op.back(g_minus, up) + op.back(g_plus, down)
            middle = torch.where(way == 0, (rising + falling) / 2, falling)
            return torch.where(way > 0, rising, middle), None, None, None, None


def shared(change: Tensor, part: Tensor, usual: Tensor) -> Tensor:
    """Half a change over the part of the sum that made it; the multiplier of Rescale where there is none."""
    tiny = part.abs() <= torch.finfo(part.dtype).tiny
    return torch.where(tiny, usual, change / (2 * part.masked_fill(tiny, 1)))


def remember(meeting: Any, z: Tensor, op: LinearOp, x: Tensor, there: tuple[Tensor, ...] | None) -> Tensor:
    """Keep how z was made, for an elementwise operation that may read it."""
    if there is not None:
        meeting.sums[id(z)] = Sum(z, op, x, (z._version, x._version), there[0])
        for old in list(meeting.sums)[:-REMEMBERED]:
            del meeting.sums[old]
    return z


def dense(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """y = x Wᵀ + b."""
    names = ("input", "weight", "bias")
    given = dict(zip(names, args, strict=False)) | kwargs
    x, weight = given["input"], given["weight"]
    if weight.requires_grad or not x.requires_grad:
        return HANDLERS["linear"](meeting, func, args, kwargs)
    meeting.note(func.__name__, "linear")
    op = LinearOp(meeting.keep(x), weight, given.get("bias"), functional.linear, dense_back)
    return remember(meeting, func(*args, **kwargs), op, x, meeting.against(x))


def convolution(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Convolutions of any rank, transposed ones included."""
    transposed = "transpose" in func.__name__
    given = dict(zip(TRANSPOSED_NAMES if transposed else CONVOLUTION_NAMES, args, strict=False)) | kwargs
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    if weight.requires_grad or not x.requires_grad or x.ndim != weight.ndim:
        return HANDLERS[func.__name__](meeting, func, args, kwargs)
    meeting.note(func.__name__, "linear")
    there = Convolution(weight.ndim - 2, transposed, tuple(weight.shape[2:]), **given)
    op = LinearOp(meeting.keep(x), weight, bias, there, there.back)
    return remember(meeting, func(*args, **kwargs), op, x, meeting.against(x))


def batch_norm(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A scale and a shift a channel: part of the sum before it."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, args, strict=False)) | kwargs
    made = meeting.sums.pop(id(given["input"]), None)
    out = HANDLERS["batch_norm"](meeting, func, args, kwargs)
    if made is None or made.z is not given["input"] or given.get("training"):
        return out
    factor = (given["running_var"] + given.get("eps", 1e-5)).rsqrt()
    factor = factor if given.get("weight") is None else factor * given["weight"]
    op = made.op.scaled(factor, -given["running_mean"] * factor)
    versions = (out._version, made.versions[1])
    meeting.sums[id(out)] = Sum(out, op, made.x, versions, made.there)
    return out


CANCELING: dict[str, Handler] = {
    "linear": dense,
    "batch_norm": batch_norm,
    **dict.fromkeys([f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)], convolution),
}
