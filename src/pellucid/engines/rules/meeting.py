"""A mode that meets every operation of a forward pass on its way from the inputs, by name and place.

Operations are met, not modules: functional calls, reused modules, in-place ReLU and residual sums all are. What is done
with one is said by a table of handlers; an operation nobody knows is an error, never a silent plain gradient.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.engines.rules.ledger import Ledger
from pellucid.engines.rules.names import PLAIN
from pellucid.engines.rules.opaque import cut, eagerly, refuse_inner, refuse_scripts
from pellucid.errors import GradientError

OURS: set[str] = set()
UNMODED = {name: (lambda *_: False) for name in dir(functional) if name.startswith("has_torch_function")}


def ours(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Mark an autograd function as one of this house: what it answers backwards is known."""
    OURS.add(function.__name__)
    return function


@dataclass(frozen=True)
class Place:
    """Where an operation stands: its name, the path and type of the module, and how many linear ones came before it."""

    operation: str
    path: str
    kind: str
    number: int


Handler = Callable[[Any, Any, Any, Any], Any]


class Meeting(TorchFunctionMode):
    """While entered, an operation inside the module goes to its handler: ``handler(meeting, func, args, kwargs)``.

    ``outside`` operations, those of the target, are met, too, where a subclass says so.
    """

    handlers: ClassVar[Mapping[str, Handler]] = {}
    plain: ClassVar[frozenset[str]] = PLAIN
    outside: ClassVar[bool] = False

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__()
        self.ledger = ledger if ledger is not None else Ledger()
        self.stack: list[tuple[str, str]] = []
        self.number = 0

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """In force for calls of a module, whose parts are named in the ledger."""
        refuse_scripts(module)
        handles = []
        for path, part in module.named_modules():
            kind = type(part).__name__
            handles.append(part.register_forward_pre_hook(lambda *_, at=(path, kind): self.stack.append(at)))
            handles.append(part.register_forward_hook(lambda *_: self.stack.pop() and None))
        handles.append(module.register_forward_pre_hook(lambda *_: self.begin(), prepend=True))
        handles.append(module.register_forward_hook(lambda _part, _args, output: self.refuse_foreign(output)))
        try:
            with eagerly(), self:
                yield
        finally:
            for handle in handles:
                handle.remove()
            self.stack, self.number = [], 0

    def begin(self) -> None:
        """A forward pass begins."""
        self.ledger.clear()
        self.stack, self.number = [], 0

    def reading(self, number: int) -> None:
        """Which of several targets is read now."""
        self.ledger.reads = number

    def retell(self, first: Meeting, number: int) -> None:
        """Take over what another one met on a pass that served both."""
        self.ledger.take(first.ledger, number)

    def refuse_foreign(self, values: Any) -> None:
        """Refuse what came out of an autograd function of somebody else's (reentrant checkpoints among them)."""
        for each in tensors_in(values):
            maker = each.grad_fn
            if isinstance(maker, BackwardCFunction) and type(maker).__name__.removesuffix("Backward") not in OURS:
                path, name = self.at[0], type(maker).__name__.removesuffix("Backward")
                do = "Write it with plain operations; use checkpoint(…, use_reentrant=False); or ask a gradient method."
                got = f"the autograd function {name}, used in {path or 'the model itself'}"
                raise GradientError(expected="operations with a rule", got=got, do=do)

    def unknown(self, name: str) -> GradientError:
        """The error for an operation that has no rule."""
        path, kind = self.at
        where = f"{name} in {path or 'the model itself'} ({kind})" if kind else name
        do = "Give it a rule, write it with operations that have one, or ask a gradient method."
        return GradientError(expected="operations with a rule", got=where, do=do)

    @property
    def at(self) -> tuple[str, str]:
        """Path and type of the module that runs now."""
        return self.stack[-1] if self.stack else ("", "")

    def place(self, operation: str) -> Place:
        """Where the operation that is met now stands."""
        return Place(operation, *self.at, self.number)

    def note(self, operation: str, status: Any, rule: str = "") -> None:
        """Book the operation that is met now."""
        self.ledger.note(operation, self.at[0], status, rule)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        if not (self.stack or self.outside):
            return func(*args, **kwargs)
        refuse_inner(name, self.at[0], args, kwargs)
        if not needs_gradient(args, kwargs):
            return func(*args, **kwargs)
        if not torch.is_grad_enabled():
            return self.cut_off(func, name, args, kwargs)
        self.refuse_foreign((args, kwargs))
        with kept() if packed() else nullcontext():
            return self.answered(func, name, args, kwargs)

    def cut_off(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """An operation that leaves the way from the inputs; what is made of it gets nothing."""
        out = func(*args, **kwargs)
        made = [each for each in pytree.tree_leaves(out) if isinstance(each, Tensor) and each.is_floating_point()]
        if made and moves_numbers(name):
            self.note(name, "approximated", "cut off")
        return out

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """An operation on the way from the inputs, seen to by its handler."""
        if off := cut(func, name):
            self.note(off, "approximated", "cut off")
            return func(*args, **kwargs)
        handler = self.handlers.get(name)
        if handler is not None:
            return handler(self, func, args, kwargs)
        if name in self.plain or not moves_numbers(name):
            if moves_numbers(name):
                self.note(name, "linear")
            return func(*args, **kwargs)
        if (opened := same_function(func)) is not None:
            with self:
                return opened(*args, **kwargs)
        out = func(*args, **kwargs)
        if needs_gradient(out, None):
            raise self.unknown(name)
        return out  # a comparison, an index, a tensor of zeros: nothing flows back through it


def packed() -> bool:
    """Whether somebody keeps saved tensors elsewhere, as checkpoints do."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def kept() -> Any:
    """Saved tensors stay as they are: what is computed a second time would not obey the rules."""
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def needs_gradient(args: Any, kwargs: Any) -> bool:
    """Whether any tensor of a call is on the way from the inputs."""
    return any(each.requires_grad for each in tensors_in((args, kwargs)))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in a call's arguments or in an answer."""
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (tuple, list):
        for each in value:
            yield from tensors_in(each)
    elif type(value) is dict:
        for each in value.values():
            yield from tensors_in(each)
    elif value is not None and not isinstance(value, int | float | str):
        yield from (each for each in pytree.tree_leaves(value) if isinstance(each, Tensor))


def moves_numbers(name: str) -> bool:
    """Whether a function makes numbers from numbers, and does not only look at a tensor."""
    return name not in ("__get__", "__set__") and not name.startswith(("is_", "size", "dim", "numel", "stride"))


def same_function(func: Any) -> Any:
    """A function of torch that is written in Python, for its parts to be met one by one; None for others."""
    if not isinstance(func, types.FunctionType) or not (func.__module__ or "").startswith("torch."):
        return None
    opened = types.FunctionType(
        func.__code__, {**func.__globals__, **UNMODED}, func.__name__, func.__defaults__, func.__closure__
    )
    opened.__kwdefaults__ = func.__kwdefaults__
    return opened
