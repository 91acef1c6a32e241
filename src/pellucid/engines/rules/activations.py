"""Activations written out by hand in a module of their own, such as x σ(1.7 x): one number in, one number out.

Met operation by operation they would be products of x with a function of x. As a whole, relevance passes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.engines.rules.answers import Ratio

# Types of modules that do nothing else, of transformers, timm, CLIP and those who follow them.
ACTIVATIONS = frozenset(
    """
    NewGELUActivation FastGELUActivation QuickGELUActivation AccurateGELUActivation ClippedGELUActivation
    LaplaceActivation MishActivation ReLUSquaredActivation SqrtSoftplusActivation XIELUActivation
    NewGELU QuickGELU FastGELU Swish
    """.split()  # noqa: SIM905
)


@contextmanager
def passing(rules: Any, module: nn.Module) -> Iterator[None]:
    """While entered, activations among the parts of a module pass all relevance on."""
    met: list[Tensor] = []

    def before(_part: nn.Module, args: tuple[Any, ...]) -> Any:
        x = args[0] if len(args) == 1 else None
        if not (isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled()):
            return None
        met.append(x)
        with torch._C.DisableTorchFunction():
            return (x.detach(),)

    def after(part: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not met or args[0] is met[-1] or args[0].requires_grad or not torch.is_grad_enabled():
            return None
        rules.note(type(part).__name__, "exact", "pass")
        with torch._C.DisableTorchFunction():
            return Ratio.apply(met.pop(), part.forward, False)

    handles = []
    for part in module.modules():
        if type(part).__name__ in ACTIVATIONS:
            handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
