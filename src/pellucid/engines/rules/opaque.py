"""What a mode cannot see into, or must not: TorchScript, compiled graphs, gradients taken inside of a model."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from pellucid.errors import GradientError

INNER = frozenset({"grad", "backward"})
DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


def refuse_scripts(module: nn.Module) -> None:
    """TorchScript runs outside of Python: its operations would keep their plain gradient."""
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            do = "Explain the module from before it was scripted or traced, or ask a gradient method."
            raise GradientError(
                expected="a model written in Python", got=f"TorchScript in {path or 'the model'}", do=do
            )

        for name in names_in(type(part).forward):
            if isinstance(name, torch.jit.ScriptFunction):
                got = f"the scripted function {name.name}, called in {path or 'the model'}"
                do = "Call the function from before it was scripted, or ask a gradient method."
                raise GradientError(expected="a model written in Python", got=got, do=do)


def names_in(forward: Any) -> list[Any]:
    """What the names in a method's code stand for in its module."""
    code, there = getattr(forward, "__code__", None), getattr(forward, "__globals__", {})
    return [] if code is None else [there.get(name) for name in code.co_names]


def refuse_inner(name: str, path: str, args: Any, kwargs: Any) -> None:
    """A model that takes gradients itself would compute other values when these are changed."""
    if name in INNER:
        what = f"torch.autograd.{name}"
    elif torch._C._are_functorch_transforms_active() and any(map(tracked, pytree.tree_leaves((args, kwargs)))):
        what = f"{name} inside of a transform of torch.func"
    else:
        return
    do = "Write the derivative, or the loop over rows, with plain operations; or ask a gradient method."
    got = f"{what}, used in {path or 'the model itself'}"
    raise GradientError(expected="a model that takes no gradients itself", got=got, do=do)


def tracked(value: Any) -> bool:
    """Whether a tensor, out of the wrappers of torch.func, is on the way from the inputs."""
    while isinstance(value, torch.Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return isinstance(value, torch.Tensor) and value.requires_grad


def eagerly() -> AbstractContextManager[Any]:
    """While entered, compiled parts run as they were written, operation by operation."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def cut(func: Any, name: str) -> str:
    """The name of an operation that takes a tensor off the gradient; nothing for others."""
    if name in ("detach", "detach_"):
        return name
    return ".data" if name == "__get__" and func == DATA else ""
