"""Features: what counts as one part. A feature set makes players: parts that are shown or hidden together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.errors import EmptyError, OptionError, ShapeError, UnknownName, nearest


class Players(Protocol):
    """Parts of the inputs that a coalition shows or hides."""

    @property
    def n(self) -> int:
        """How many."""
        ...

    def shown(self, coalitions: Tensor) -> Tensor:
        """Coalitions (k, n) bool as masks that broadcast to (k, batch, *shape): True where the input stays."""
        ...

    def values(self, players: Tensor, *, shared: bool) -> Tensor:
        """Values (batch, n) laid out on the inputs; ``shared`` divides a part's value among its elements."""
        ...


@dataclass(frozen=True, eq=False)
class Parts:
    """Players that do not overlap: ``labels`` (1, *shape) numbers each element's player, −1 is never hidden."""

    labels: Tensor
    n: int
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    def shown(self, coalitions: Tensor) -> Tensor:
        always = torch.ones(len(coalitions), 1, dtype=torch.bool)
        return torch.cat([coalitions.cpu(), always], 1)[:, self.labels].to(coalitions.device)

    def values(self, players: Tensor, *, shared: bool) -> Tensor:
        labels = self.labels.expand(1, *self.shape)
        if shared:
            counts = torch.bincount(labels[labels >= 0], minlength=self.n).clamp_min(1).to(players)
            players = players / counts
        padded = torch.cat([players, torch.zeros_like(players[:, :1])], 1)
        return padded[:, labels[0]]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Players that may overlap: windows, each a slice a spatial axis."""

    slices: tuple[tuple[slice, ...], ...]
    shape: tuple[int, ...]

    @property
    def n(self) -> int:
        return len(self.slices)

    def shown(self, coalitions: Tensor) -> Tensor:
        space = self.shape[1:] if len(self.shape) > 1 else self.shape
        lead = (1, 1) if len(self.shape) > 1 else (1,)
        mask = torch.ones(len(coalitions), *lead, *space, dtype=torch.bool)
        for k, coalition in enumerate(coalitions.cpu()):
            for i in (~coalition).nonzero().flatten().tolist():
                mask[(k, ..., *self.slices[i])] = False
        return mask.to(coalitions.device)

    def values(self, players: Tensor, *, shared: bool) -> Tensor:
        total = torch.zeros(len(players), *self.shape, dtype=players.dtype, device=players.device)
        count = torch.zeros(1, *self.shape, dtype=players.dtype, device=players.device)
        for i, window in enumerate(self.slices):
            where: Any = (..., *window)
            total[where] += players[:, i].reshape(-1, *[1] * len(self.shape))
            count[where] += 1
        return total / count.clamp_min(1)


@dataclass(frozen=True)
class Features:
    """What counts as one part of the inputs."""

    def __call__(self, ask: Probe) -> Players:
        """The players of one example (or of all, where they are alike)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Elements(Features):
    """Every element of the inputs by itself; every token that is not special.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
        >>> pl.Ablation(features=pl.Elements())(net, torch.rand(1, 1, 2, 2)).extra["players"].shape
        torch.Size([1, 4])
    """

    def __call__(self, ask: Probe) -> Players:
        if ask.leaves.integer and ask.site is None:
            return Tokens()(ask)
        shape = tuple(ask.inputs.shape[1:])
        return Parts(torch.arange(torch.Size(shape).numel()).reshape(1, *shape), torch.Size(shape).numel(), shape)


@dataclass(frozen=True)
class Patches(Features):
    """A grid of ``n`` patches a side over the spatial axes, all channels together; ``n`` parts for a series.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Ablation(features=pl.Patches(2))(net, torch.rand(1, 1, 8, 8)).extra["players"].shape
        torch.Size([1, 4])
    """

    n: int = 7

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        if not isinstance(self.n, int) or self.n < 1:
            raise OptionError(expected="a whole number of patches a side", got=repr(self.n), do="Use Patches(7).")
        if len(shape) < 2:
            raise ShapeError(expected="inputs (batch, channels, *space)", got=str(shape), do="Use Elements or Columns.")
        label, total = torch.zeros(1, dtype=torch.long), 1
        for size in shape[1:]:
            parts = min(self.n, size)
            along = (torch.arange(size) * parts).div(size, rounding_mode="floor")
            label, total = label[..., None] * parts + along, total * parts
        return Parts(label[None], total, shape)


@dataclass(frozen=True)
class Windows(Features):
    """Windows of ``size`` every ``stride`` places (half of the size without) over the spatial axes; they may overlap.

    The last window of an axis is cut at the border, so that every place is covered.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Ablation(features=pl.Windows(4, stride=2))(net, torch.rand(1, 1, 8, 8)).extra["players"].shape
        torch.Size([1, 9])
    """

    size: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        space = shape[1:] if len(shape) > 1 else shape
        size = as_axes(self.size, space, [max(1, round(each / 8)) for each in space])
        stride = as_axes(self.stride, space, [max(1, each // 2) for each in size])
        if any(step > width for step, width in zip(stride, size, strict=True)):
            got = f"stride {stride}, window {size}"
            raise OptionError(expected="a stride no larger than the window", got=got, do="Else places are skipped.")
        axes = []
        for length, width, step in zip(space, size, stride, strict=True):
            count = max(0, -(-(length - width) // step)) + 1
            axes.append([slice(i * step, min(i * step + width, length)) for i in range(count)])
        return Boxes(tuple(itertools.product(*axes)), shape)


@dataclass(frozen=True)
class Tokens(Features):
    """Every token that is not special, one by one.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(features=pl.Tokens())(pl.load("demo:sentences"), "A good film.")
        >>> heat.extra["players"].shape
        torch.Size([1, 4])
    """

    def __call__(self, ask: Probe) -> Players:
        ids, text = ids_of(ask)
        content = ~text.special(ids) if text is not None else ids != 0
        return numbered(content.cumsum(0) - 1, content, ask, int(content.sum()))


@dataclass(frozen=True)
class Words(Features):
    """Sub-words of a word together.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(features=pl.Words())(pl.load("demo:sentences"), "A good film.")
        >>> heat.extra["players"].shape
        torch.Size([1, 4])
    """

    def __call__(self, ask: Probe) -> Players:
        ids, text = ids_of(ask)
        if text is None:
            return Tokens()(ask)
        _, index = text.words(text.tokens(np.asarray(ids.cpu())))
        content = ~text.special(ids)
        known: dict[int, int] = {}
        labels = torch.tensor(
            [known.setdefault(i, len(known)) if kept else -1 for i, kept in zip(index, content, strict=True)]
        )
        return numbered(labels, content, ask, len(known))


@dataclass(frozen=True)
class Columns(Features):
    """The columns of a table; the numbers of a one-hot column together.

    Example:
        >>> import torch, pellucid as pl
        >>> table = pl.Table(columns=("age", "sex"), categories={"sex": ("f", "m")}, one_hot=("sex",))
        >>> model = pl.Model(torch.nn.Linear(3, 1), inputs=table)
        >>> pl.Ablation(features=pl.Columns())(model, {"age": 50, "sex": "m"}).extra["players"].shape
        torch.Size([1, 2])
    """

    def __call__(self, ask: Probe) -> Players:
        table, shape = ask.model.modality, tuple(ask.inputs.shape[1:])
        if not isinstance(table, Table) or shape != (table.slots[-1].stop,):
            return Elements()(ask)
        labels = torch.zeros(1, *shape, dtype=torch.long)
        for i, slot in enumerate(table.slots):
            labels[0, slot] = i
        return Parts(labels, len(table.columns), shape, table.columns)


@dataclass(frozen=True, eq=False)
class Groups(Features):
    """Parts named by the user: name → column names or element indexes; or a label tensor of the input's shape.

    What is in no group is never hidden.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
        >>> pl.Ablation(features=pl.Groups({"left": [0, 1], "right": [2, 3]}))(net, torch.rand(1, 4)).extra[
        ...     "players"
        ... ].shape
        torch.Size([1, 2])
    """

    groups: Mapping[str, Sequence[int | str]] | Tensor

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        if isinstance(self.groups, Mapping):
            return self._named(self.groups, ask, shape)
        labels = torch.as_tensor(np.asarray(self.groups))
        try:
            labels = labels.expand(1, *shape)
        except RuntimeError:
            got, do = str(tuple(labels.shape)), "Give one label an element, the same for every example."
            raise ShapeError(expected=f"labels that broadcast to {shape}", got=got, do=do) from None
        used = labels[labels >= 0].unique()
        if not len(used):
            raise EmptyError(expected="at least one group", got="no label ≥ 0", do="Number the groups from 0.")
        dense = torch.full_like(labels, -1)
        for i, label in enumerate(used.tolist()):
            dense[labels == label] = i
        return Parts(dense, len(used), shape, tuple(str(each) for each in used.tolist()))

    def _named(self, groups: Mapping[str, Any], ask: Probe, shape: tuple[int, ...]) -> Players:
        table, labels = ask.model.modality, torch.full((1, torch.Size(shape).numel()), -1)
        for i, (name, members) in enumerate(groups.items()):
            if not members:
                raise EmptyError(expected=f"members in group {name!r}", got="none", do="Name columns or indexes.")
            for member in members:
                if isinstance(member, str):
                    columns = table.columns if isinstance(table, Table) else ()
                    if member not in columns or not isinstance(table, Table):
                        raise UnknownName(expected="a column", got=repr(member), do=nearest(member, columns))
                    labels[0, table.slots[columns.index(member)]] = i
                elif not -labels.shape[1] <= member < labels.shape[1]:
                    want = f"an element 0 … {labels.shape[1] - 1}"
                    raise OptionError(expected=want, got=str(member), do="Groups name elements by their index.")
                else:
                    labels[0, member] = i
        return Parts(labels.reshape(1, *shape), len(groups), shape, tuple(groups))


def usual_features(ask: Probe) -> Features:
    """What counts as one part where nothing is said: columns, words, patches of a picture, or elements."""
    if ask.site is not None:
        return (
            Elements()
            if ask.inputs.ndim == 2
            else Groups(torch.arange(ask.inputs.shape[1]).reshape(-1, *[1] * (ask.inputs.ndim - 2)))
        )
    if ask.leaves.integer or isinstance(ask.model.modality, Text):
        return Words()
    if isinstance(ask.model.modality, Table):
        return Columns()
    if ask.inputs.ndim < 3:
        return Elements()
    return Patches(min(7, max(2, min(ask.inputs.shape[2:]) // 2))) if ask.inputs.ndim > 3 else Patches(16)


def ids_of(ask: Probe) -> tuple[Tensor, Text | None]:
    """The ids of the one example asked about, and the text modality."""
    ids = ask.leaves.values
    if len(ids) != 1 or ids.ndim != 2:
        raise ShapeError(expected="ids (1, tokens)", got=str(tuple(ids.shape)), do="Ask one example at a time.")
    return ids[0], ask.model.modality if isinstance(ask.model.modality, Text) else None


def numbered(labels: Tensor, content: Tensor, ask: Probe, n: int) -> Parts:
    """Token players from their labels; no content at all is an error."""
    if n == 0:
        raise EmptyError(expected="at least one word", got="special tokens only", do="Pass some words.")
    return Parts(torch.where(content.cpu(), labels.cpu(), -1)[None], n, tuple(ask.inputs.shape[1:]))


def as_axes(given: Any, space: tuple[int, ...], usual: list[int]) -> tuple[int, ...]:
    """One positive number an axis, from one number, several, or none."""
    several = given if isinstance(given, list | tuple) else (given,) * len(space)
    numbers = tuple(usual) if given is None else tuple(several)
    if len(numbers) > len(space):
        numbers = numbers[-len(space) :]
    if len(numbers) != len(space) or not all(isinstance(each, int) and each >= 1 for each in numbers):
        got = f"{given} for space {space}"
        raise OptionError(expected=f"{len(space)} positive numbers", got=got, do="Give one number, or one an axis.")
    return tuple(min(number, length) for number, length in zip(numbers, space, strict=True))
