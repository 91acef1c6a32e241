"""The parts of a network as they are met by one row: shapes, weights, cost, what feeds what, what is never used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from pellucid.core.leaves import Leaves
from pellucid.core.model import Model
from pellucid.core.run import undisturbed
from pellucid.core.site import first_tensor
from pellucid.errors import OutputError

ROWS = 8
LOOKS = frozenset(
    """
    __hash__ __set__ device dim dtype grad is_contiguous is_cuda is_floating_point is_leaf is_mkldnn layout ndim numel
    requires_grad shape size stride
    """.split()  # noqa: SIM905 - names read better as words
)
"""What tells something about a tensor without reading its numbers."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One module: ``parameters`` and ``multiply_adds`` are those of all that is inside, for one row.

    ``shape`` is that of its first answer to one row, ``calls`` how often it was called, ``order`` when its first call
    ended (-1: never). ``sees`` is the receptive field along each axis of the input; None where a unit sees all.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int | None
    calls: int
    order: int
    leaf: bool
    sees: tuple[int | None, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """The parts, the whole first; and how they hang together.

    ``feeds`` are pairs of layers of which the second takes the answer of the first as it is; ``entered`` layers take
    the inputs as they are; ``made_between`` layers take what some operation outside of any layer made. ``unread`` are
    the names of weights that a forward pass does not read, ``uncalled`` layers without weights that are not called.

    Example:
        >>> import torch, pellucid as pl
        >>> model = pl.Model(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)))
        >>> found = anatomy(model, model.read(torch.rand(1, 3)))
        >>> found.whole.multiply_adds, found.feeds
        (20, (('0', '1'),))
    """

    parts: tuple[Part, ...]
    inputs: tuple[tuple[str, tuple[int, ...]], ...] = ()
    output: tuple[int, ...] | None = None
    feeds: tuple[tuple[str, str], ...] = ()
    entered: tuple[str, ...] = ()
    rectified: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    uncalled: tuple[str, ...] = ()
    met: bool = True

    @property
    def whole(self) -> Part:
        """The network."""
        return self.parts[0]

    @property
    def layers(self) -> tuple[Part, ...]:
        """Parts without parts."""
        return tuple(each for each in self.parts if each.leaf)

    def __getitem__(self, name: str) -> Part:
        return next(each for each in self.parts if each.name == name)


@dataclass(eq=False)
class Reads(TorchFunctionMode):
    """While entered, notes which tensors are given to operations."""

    ids: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        name = getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name
        if name not in LOOKS:
            self.ids |= {id(each) for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        return func(*args, **(kwargs or {}))


@dataclass(eq=False)
class Walk:
    """Hooks that note calls: shapes, order, and whose answer a layer takes."""

    inputs: set[int]
    shapes: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    makers: dict[int, tuple[str, int]] = field(default_factory=dict)
    feeds: dict[tuple[str, str], None] = field(default_factory=dict)
    entered: dict[str, None] = field(default_factory=dict)
    rectified: dict[str, None] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)

    def before(self, name: str, *, leaf: bool) -> Any:
        """Note where the input of a layer comes from."""

        def enter(_part: nn.Module, args: Any, kwargs: Any) -> None:
            tensor = first_tensor((args, kwargs))
            if tensor is None or not leaf:
                return
            maker, version = self.makers.get(id(tensor), ("", -1))
            if version == tensor._version and maker:
                self.feeds[maker, name] = None
            elif id(tensor) in self.inputs:
                self.entered[name] = None
            elif tensor.is_floating_point() and bool((tensor >= 0).all()) and bool(tensor.any()):
                self.rectified[name] = None
            self.alive.append(tensor)

        return enter

    def after(self, name: str, *, leaf: bool) -> Any:
        """Note the shape of an answer, and who made it."""

        def leave(_part: nn.Module, _args: Any, output: Any) -> None:
            tensor = first_tensor(output)
            self.shapes.setdefault(name, []).append(() if tensor is None else tuple(tensor.shape[1:]))
            if tensor is not None and (leaf or id(tensor) not in self.makers):
                self.makers[id(tensor)] = (name, tensor._version)
            self.alive.append(tensor)

        return leave


def anatomy(model: Model, leaves: Leaves | None) -> Anatomy:
    """Look at every part of a model, with a few rows going through it; without rows, at weights only."""
    if leaves is None:
        return Anatomy(parts=parts_of(model, {}, None), met=False)
    some = torch.arange(min(leaves.batch, ROWS))
    args, kwargs = leaves.take(some).arguments(None, some, model.dtype)
    given = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    walk, reads = Walk({id(each) for each in given}), Reads()
    with undisturbed(), torch.no_grad(), model.session(), ExitStack() as stack:
        for name, part in model.module.named_modules():
            leaf = not any(True for _ in part.children())
            stack.callback(part.register_forward_pre_hook(walk.before(name, leaf=leaf), with_kwargs=True).remove)
            stack.callback(part.register_forward_hook(walk.after(name, leaf=leaf)).remove)
        with reads:
            answer = model.call(model.module, args, kwargs)
    sample = leaves.take(some[:1])
    parts = parts_of(model, walk.shapes, cost(model, sample))
    sizes = [tuple(each.shape[1:]) if isinstance(each, Tensor) else () for each in sample.tensors]
    named = list(model.module.named_parameters())
    scripted = any(isinstance(part, torch.jit.ScriptModule) for part in model.module.modules())
    return Anatomy(
        parts=parts,
        inputs=tuple(zip(sample.names, sizes, strict=True)),
        output=output_of(model, answer),
        feeds=tuple(walk.feeds),
        entered=tuple(walk.entered),
        rectified=tuple(walk.rectified),
        unread=() if scripted else tuple(name for name, each in named if id(each) not in reads.ids),
        uncalled=tuple(each.name for each in parts if each.leaf and not each.calls and not each.parameters),
    )


def parts_of(model: Model, shapes: dict[str, list[tuple[int, ...]]], costs: dict[str, int] | None) -> tuple[Part, ...]:
    """Every module with what is known of it."""
    order = {name: i for i, name in enumerate(shapes)}
    return tuple(
        Part(
            name=name,
            kind=type(part).__name__,
            shape=shapes[name][0] if name in shapes else None,
            parameters=sum(each.numel() for each in part.parameters()),
            multiply_adds=None if costs is None else costs.get(name, 0),
            calls=len(shapes.get(name, ())),
            order=order.get(name, -1),
            leaf=not any(True for _ in part.children()),
        )
        for name, part in model.module.named_modules()
    )


def output_of(model: Model, answer: Any) -> tuple[int, ...] | None:
    """The shape of what is explained, for one row."""
    try:
        return tuple(model.main(answer if model.output is None else model.output(answer)).shape[1:])
    except OutputError:
        return None


def cost(model: Model, sample: Leaves) -> dict[str, int] | None:
    """Multiply–adds by the name of a module; of convolutions, matrix products and attention. None if not countable."""
    args, kwargs = sample.arguments(None, torch.tensor([0]), model.dtype)
    root = type(model.module).__name__
    try:
        counter = FlopCounterMode(display=False)
        with undisturbed(), torch.no_grad(), model.session(), apart(model.module), counter:
            model.call(model.module, args, kwargs)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return None
    found = {name: sum(each.values()) // 2 for name, each in counter.get_flop_counts().items()}
    total = found.pop("Global", 0)
    return {"": total, **{name.removeprefix(f"{root}."): each for name, each in found.items() if name != root}}


@contextmanager
def apart(module: nn.Module) -> Iterator[None]:
    """While open, fused kernels of attention and recurrent layers are taken apart, to count inside."""
    fused = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # torch warns about other devices when this switch is touched
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield
