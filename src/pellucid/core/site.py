"""Sites: where in the network a question is asked. A named layer's output or input, or the embedding ids reach.

A layer is written ``"layer3"``, its second call ``"layer3@2"``, its input side ``"layer3:input"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.errors import LayerError, nearest

Action = Callable[[Tensor], Tensor | None]


class Stop(Exception):
    """Everything needed was seen."""


@dataclass(frozen=True)
class Site:
    """A named layer, one of its calls (counted from 1), and the side asked about."""

    layer: str
    call: int = 1
    side: str = "output"

    def __str__(self) -> str:
        call = f"@{self.call}" if self.call > 1 else ""
        return self.layer + call + (":input" if self.side == "input" else "")


@dataclass(frozen=True)
class EmbeddingSite:
    """The output of the ``call``-th embedding look-up (counted from 1), reached by integer inputs."""

    call: int

    def __str__(self) -> str:
        return f"embedding {self.call}"


def site_of(module: nn.Module, layer: str | nn.Module | Site) -> Site:
    """Read a layer's name (or find a module's name) and check that it exists."""
    if isinstance(layer, Site):
        return layer
    if isinstance(layer, nn.Module):
        raise LayerError(expected="a layer's name", got=f"a {type(layer).__name__} module", do=layer_names(module, ""))
    found = re.fullmatch(r"(.+?)(?:@([1-9]\d*))?(?::(input|output))?", str(layer))
    known = dict(module.named_modules())
    if found is not None and isinstance(known.get(found[1]), torch.jit.ScriptModule):
        do = "Use the module from before it was scripted or traced."
        raise LayerError(expected="a layer written in Python", got=f"{found[1]!r} in TorchScript", do=do)
    if found is None or found[1] not in known:
        name = found[1] if found is not None else str(layer)
        raise LayerError(expected="the name of a layer", got=repr(layer), do=layer_names(module, name))
    return Site(found[1], int(found[2] or 1), found[3] or "output")


def layer_names(module: nn.Module, name: str) -> str:
    """The layers to choose from, nearest first."""
    return nearest(name, [each for each, _ in module.named_modules() if each])


@contextmanager
def meet(module: nn.Module, site: Site | EmbeddingSite | None, action: Action) -> Iterator[None]:
    """While open, ``action`` sees the tensor at ``site`` and may answer another in its place."""
    if site is None:
        yield
    elif isinstance(site, EmbeddingSite):
        with EmbeddingCalls(lambda call, _ids, out: action(out) if call == site.call else None):
            yield
    else:
        handle = hook(module, site, action)
        try:
            yield
        finally:
            handle.remove()


def hook(module: nn.Module, site: Site, action: Action) -> Any:
    """Register the forward (pre-)hook that meets one call of one layer."""
    part, seen = module.get_submodule(site.layer), [0]

    def answer(value: Any) -> Any:
        seen[0] += 1
        if seen[0] != site.call:
            return None
        tensor = first_tensor(value)
        new = None if tensor is None else action(tensor)
        return None if new is None else swapped(value, tensor, new)

    if site.side == "input":

        def before(_part: nn.Module, args: Any, kwargs: Any) -> Any:
            return answer((args, kwargs))

        return part.register_forward_pre_hook(before, with_kwargs=True)
    return part.register_forward_hook(lambda _part, _args, output: answer(output))


def first_tensor(value: Any) -> Tensor | None:
    """The first floating tensor of a pytree (dataclass-like outputs included)."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    leaves = pytree.tree_leaves(value)
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)


def swapped(value: Any, old: Tensor | None, new: Tensor) -> Any:
    """The same pytree with ``new`` in place of ``old``."""
    return pytree.tree_map(lambda leaf: new if leaf is old else leaf, value)


class EmbeddingCalls(TorchFunctionMode):
    """Sees every embedding look-up: ``action(call, ids, output)`` may answer another output."""

    def __init__(self, action: Callable[[int, Tensor, Tensor], Tensor | None]) -> None:
        super().__init__()
        self.action, self.calls = action, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is nn.functional.embedding:
            self.calls += 1
            ids = args[0] if args else (kwargs or {})["input"]
            new = self.action(self.calls, ids, out)
            return out if new is None else new
        return out


def embedding_reached(run: Callable[[], Any], leaf: Tensor) -> EmbeddingSite | None:
    """The embedding look-up that is fed with ``leaf``, found by running the model as far as there."""
    found: list[int] = []

    def look(call: int, ids: Tensor, _out: Tensor) -> None:
        same = ids.data_ptr() == leaf.data_ptr() or (ids.shape == leaf.shape and bool(torch.equal(ids, leaf)))
        if same:
            found.append(call)
            raise Stop

    with EmbeddingCalls(look), torch.no_grad(), suppress(Stop):
        run()
    return EmbeddingSite(found[0]) if found else None


class Followed(TorchFunctionMode):
    """Follows a tensor through a forward pass: what was computed from its values, with a gradient or without."""

    def __init__(self, source: Tensor) -> None:
        super().__init__()
        self.made: dict[int, Tensor] = {id(source): source}

    def reached(self, tensor: Tensor) -> bool:
        """Whether a tensor was computed from the source."""
        return id(tensor) in self.made

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name.endswith("_like") or name.startswith("new_"):  # these read the shape only
            return out
        if any(id(leaf) in self.made for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)):
            made = args[0] if name == "__setitem__" else out
            self.made |= {id(leaf): leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)}
        return out


class Squashed(TorchFunctionMode):
    """Sees which tensors a sigmoid or softmax made, and which are views or copies of those: probabilities."""

    makers = frozenset({"sigmoid", "sigmoid_", "softmax", "special_expit"})
    carriers = frozenset({"__getitem__", "squeeze", "unsqueeze", "flatten", "reshape", "view", "float", "double", "to"})

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Tensor] = {}

    def made_by(self, tensor: Tensor) -> bool:
        """Whether a tensor is one of them."""
        return id(tensor) in self.made

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in self.makers or (name in self.carriers and args and id(args[0]) in self.made):
            self.made[id(out)] = out
        return out


def uncalled(site: Site | EmbeddingSite) -> LayerError:
    """The error for a layer that the forward pass does not go through."""
    do = "Choose a layer (and call) that the forward pass goes through."
    return LayerError(expected=f"a layer that is called: {site}", got="no call of it, or no floating output", do=do)
