"""Rectifiers that answer backwards in their own way: guided backpropagation and the deconvolution network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RECTIFIERS = frozenset({"relu", "relu_"})
Backwards = Callable[[Tensor, Tensor], Tensor]


def guided(x: Tensor, g: Tensor) -> Tensor:
    """Only where the input is positive, and only what is positive."""
    return g.clamp(min=0) * (x > 0)


def deconvolution(x: Tensor, g: Tensor) -> Tensor:
    """Only what is positive, wherever it comes from."""
    return g.clamp(min=0)


class Rectified(torch.autograd.Function):
    """max(x, 0) with another way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Backwards, inplace: bool) -> Tensor:
        ctx.back = back
        ctx.save_for_backward(x.sign())
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(min=0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (sign,) = ctx.saved_tensors
        return ctx.back(sign, grads[0]), None, None


class Rectifiers(TorchFunctionMode):
    """While entered, every ReLU goes backwards by ``back``; other operations have their gradient. ``met`` counts."""

    def __init__(self, back: Backwards) -> None:
        super().__init__()
        self.back, self.met = back, 0

    @contextmanager
    def on(self, _module: nn.Module) -> Iterator[None]:
        """In force for calls of any module."""
        with self:
            yield

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in RECTIFIERS and not clamps_at_zero(name, args, kwargs):
            return func(*args, **kwargs)
        self.met += 1
        x = args[0] if args else kwargs["input"]
        if not (torch.is_grad_enabled() and x.requires_grad):
            return func(*args, **kwargs)
        return Rectified.apply(x, self.back, name.endswith("_") or bool(kwargs.get("inplace")))


def clamps_at_zero(name: str, args: Any, kwargs: Any) -> bool:
    """Whether an operation is max(x, 0) under another name."""
    low, high = [*args[1:], None, None][:2]
    return name in ("clamp", "clip", "clamp_min") and kwargs.get("min", low) == 0 and kwargs.get("max", high) is None
