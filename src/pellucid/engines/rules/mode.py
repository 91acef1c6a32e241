"""Rules in force: one mode that meets every operation of a forward pass and sees to how it answers backwards.

Operations are met, not modules: functional calls, reused modules, in-place ReLU and residual sums all obey. Values are
computed by the operation itself and are never changed; an operation nobody has a rule for is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.engines.rules.ledger import Ledger
from pellucid.engines.rules.linear import LinearOp, Rule
from pellucid.engines.rules.names import PLAIN
from pellucid.engines.rules.operations import HANDLERS, same_function
from pellucid.errors import GradientError


@dataclass(frozen=True)
class Place:
    """Where a linear operation stands: its name, the path and type of the module, and how many came before it."""

    operation: str
    path: str
    kind: str
    number: int


Choice = Callable[[Place], Rule]
OURS = ("LinearAnswer", "Ratio", "NormAnswer")


class Rules(TorchFunctionMode):
    """While entered, linear operations obey the rule that ``choose`` gives for their place."""

    def __init__(self, choose: Choice, ledger: Ledger | None = None) -> None:
        super().__init__()
        self.choose, self.ledger = choose, ledger if ledger is not None else Ledger()
        self.stack: list[tuple[str, str]] = [("", "")]
        self.linear: dict[int, tuple[Tensor, LinearOp, Rule]] = {}
        self.number = 0

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """The rules in force for calls of a module, whose parts are named in the ledger."""
        handles = []
        self.ledger.calls.clear()
        for path, part in module.named_modules():
            kind = type(part).__name__
            handles.append(part.register_forward_pre_hook(lambda *_, at=(path, kind): self.stack.append(at)))
            handles.append(part.register_forward_hook(lambda *_: self.stack.pop() and None))
        handles.append(module.register_forward_hook(lambda _part, _args, output: self.refuse_foreign(output)))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()
            self.stack, self.linear, self.number = [("", "")], {}, 0

    def refuse_foreign(self, values: Any) -> None:
        """Refuse what came out of an autograd function of somebody else's (reentrant checkpoints among them)."""
        for each in pytree.tree_leaves(values):
            maker = getattr(each, "grad_fn", None) if isinstance(each, Tensor) else None
            if isinstance(maker, BackwardCFunction) and not type(maker).__name__.startswith(OURS):
                path, name = self.stack[-1][0], type(maker).__name__.removesuffix("Backward")
                do = "Write it with plain operations; use checkpoint(…, use_reentrant=False); or ask a gradient method."
                got = f"the autograd function {name}, used in {path or 'the model itself'}"
                raise GradientError(expected="operations with a rule", got=got, do=do)

    def unknown(self, name: str) -> GradientError:
        """The error for an operation that has no rule."""
        path, kind = self.stack[-1]
        where = f"{name} in {path or 'the model itself'} ({kind})" if kind else name
        do = "Give it a rule, write it with operations that have one, or ask a gradient method."
        return GradientError(expected="operations with a rule", got=where, do=do)

    def place(self, operation: str) -> Place:
        """Where the operation that is met now stands."""
        path, kind = self.stack[-1]
        return Place(operation, path, kind, self.number)

    def note(self, operation: str, status: Any, rule: str = "") -> None:
        """Book the operation that is met now."""
        self.ledger.note(operation, self.stack[-1][0], status, rule)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        if not torch.is_grad_enabled() or not needs_gradient(args, kwargs):
            return func(*args, **kwargs)
        self.refuse_foreign((args, kwargs))
        with kept() if packed() else nullcontext():
            return self.answered(func, name, args, kwargs)

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """An operation on the way from the inputs, seen to by its handler."""
        handler = HANDLERS.get(name)
        if handler is not None:
            return handler(self, func, args, kwargs)
        if name in PLAIN or not moves_numbers(func, name):
            if moves_numbers(func, name):
                self.note(name, "linear")
            return func(*args, **kwargs)
        if (opened := same_function(func)) is not None:
            with self:
                return opened(*args, **kwargs)
        raise self.unknown(name)


def packed() -> bool:
    """Whether somebody keeps saved tensors elsewhere, as checkpoints do."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def kept() -> Any:
    """Saved tensors stay as they are: what is computed a second time would not obey the rules."""
    return torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def needs_gradient(args: Any, kwargs: Any) -> bool:
    """Whether any tensor of a call is on the way from the inputs."""
    leaves = pytree.tree_leaves((args, kwargs))
    return any(isinstance(each, Tensor) and each.requires_grad for each in leaves)


def moves_numbers(func: Any, name: str) -> bool:
    """Whether a function makes numbers from numbers, and does not only look at a tensor."""
    return name not in ("__get__", "__set__") and not name.startswith(("is_", "size", "dim", "numel", "stride"))
