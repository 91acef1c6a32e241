"""Parts by element, by column, and by groups the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.modality import Table
from pellucid.core.probe import Probe
from pellucid.engines.features.players import Features, Parts, Players
from pellucid.engines.features.text import Tokens
from pellucid.errors import EmptyError, OptionError, ShapeError, UnknownName, nearest


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


@dataclass(frozen=True)
class Inputs(Features):
    """Each input of a model with several inputs as one part, under its own name.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Bilinear(2, 3, 1)
        >>> given = {"input1": torch.ones(1, 2), "input2": torch.ones(1, 3)}
        >>> pl.Ablation(features=pl.Inputs())(net, given).extra["names"]
        ('input1', 'input2')
    """

    def __call__(self, ask: Probe) -> Players:
        if ask.site is not None:
            do = "Use Elements or Groups at a hidden layer."
            raise ShapeError(expected="the inputs", got=f"layer {ask.site}", do=do)
        places, shape = inputs_of(ask), tuple(ask.inputs.shape[1:])
        labels = torch.zeros(torch.Size(shape).numel(), dtype=torch.long)
        for i, place in enumerate(places.values()):
            labels[place] = i
        return Parts(labels.reshape(1, *shape), len(places), shape, tuple(places))


@dataclass(frozen=True, eq=False)
class Groups(Features):
    """Parts named by the user: name → names of columns or inputs, or element indexes; or labels of the input's shape.

    Several inputs are numbered through, one after the other. What is in no group is never hidden.

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
        labels, places = torch.full((1, torch.Size(shape).numel()), -1), named_places(ask, shape)
        for i, (name, members) in enumerate(groups.items()):
            if not members:
                raise EmptyError(expected=f"members in group {name!r}", got="none", do="Name columns or indexes.")
            for member in members:
                if isinstance(member, str):
                    if member not in places:
                        raise UnknownName(expected="a column or an input", got=repr(member), do=nearest(member, places))
                    labels[0, places[member]] = i
                elif not -labels.shape[1] <= member < labels.shape[1]:
                    want = f"an element 0 … {labels.shape[1] - 1}"
                    raise OptionError(expected=want, got=str(member), do="Groups name elements by their index.")
                else:
                    labels[0, member] = i
        return Parts(labels.reshape(1, *shape), len(groups), shape, tuple(groups))


def named_places(ask: Probe, shape: tuple[int, ...]) -> dict[str, slice]:
    """Where the elements of each column of a table, or each of several inputs, stand."""
    table = ask.model.modality
    if ask.site is not None:
        return {}
    if isinstance(table, Table) and shape == (table.slots[-1].stop,):
        return dict(zip(table.columns, table.slots, strict=True))
    return inputs_of(ask) if len(ask.leaves.explained) > 1 else {}


def inputs_of(ask: Probe) -> dict[str, slice]:
    """Where the elements of each explained input stand, side by side; a single one without a name is "input"."""
    leaves, places, start = ask.leaves, {}, 0
    for i in leaves.explained:
        size = leaves.tensors[i][0].numel()
        places[leaves.names[i] or "input"] = slice(start, start + size)
        start += size
    return places
