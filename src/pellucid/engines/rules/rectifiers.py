"""Rectifiers that answer backwards in their own way: guided backpropagation and the deconvolution network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pellucid.engines.rules.meeting import kept, packed
from pellucid.engines.rules.opaque import eagerly, refuse_inner, refuse_scripts

RECTIFIERS = frozenset({"relu", "relu_"})
Rectifier = Callable[[Tensor, Callable[[], Tensor], bool], Tensor]


def guided(x: Tensor, compute: Callable[[], Tensor], inplace: bool) -> Tensor:
    """Backwards only what is positive, and only where the input is."""
    y = compute()
    y.register_hook(lambda g: g.clamp(min=0))
    return y


def deconvolution(x: Tensor, compute: Callable[[], Tensor], inplace: bool) -> Tensor:
    """Backwards only what is positive, wherever it comes from."""
    value = x.detach()
    lift = value.clamp(min=0) - value  # a constant, so that the gate of the ReLU is not in the way
    y = x.add_(lift) if inplace else x + lift
    y.register_hook(lambda g: g.clamp(min=0))
    return y


class Rectifiers(TorchFunctionMode):
    """While entered, every ReLU is ``rectify``'s; other operations have their gradient. ``met`` counts."""

    def __init__(self, rectify: Rectifier) -> None:
        super().__init__()
        self.rectify, self.met = rectify, 0

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """In force for calls of any module."""
        refuse_scripts(module)
        with eagerly(), self:
            yield

    def retell(self, first: Rectifiers, _number: int) -> None:
        """Take over what another one met on a pass that served both."""
        self.met = first.met

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with kept() if packed() else nullcontext():
            return self.answered(func, getattr(func, "__name__", ""), args, kwargs or {})

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """The operation, rectified where it is a ReLU."""
        refuse_inner(name, "", args, kwargs)
        if name not in RECTIFIERS and not clamps_at_zero(name, args, kwargs):
            return func(*args, **kwargs)
        self.met += 1
        x = args[0] if args else kwargs["input"]
        if not (torch.is_grad_enabled() and x.requires_grad):
            return func(*args, **kwargs)
        inplace = name.endswith("_") or bool(kwargs.get("inplace"))
        return self.rectify(x, lambda: func(*args, **kwargs), inplace)


def clamps_at_zero(name: str, args: Any, kwargs: Any) -> bool:
    """Whether an operation is max(x, 0) under another name."""
    low, high = [*args[1:], None, None][:2]
    return name in ("clamp", "clip", "clamp_min") and kwargs.get("min", low) == 0 and kwargs.get("max", high) is None
