"""Fills made of other rows: each in turn, or shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Table
from pellucid.core.probe import Probe
from pellucid.engines.fills.seam import Fill
from pellucid.engines.points import generator
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True, eq=False)
class Marginal(Fill):
    """Rows of background data, each in turn: the interventional expectation. Without data, the table's background.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Ablation(fill=pl.Marginal(torch.tensor([[0.0], [1.0]])))(
        ...     torch.nn.Flatten(), torch.tensor([[2.0]])
        ... ).values
        tensor([[1.5000]])
    """

    assumes: ClassVar[str] = "that hidden and shown parts are independent"
    data: Any = None
    most: int = 100

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        rows = rows_of(self.data, ask, leaves)
        if len(rows) > self.most:
            rows = rows[torch.linspace(0, len(rows) - 1, self.most).long()]
        return rows[:, None].expand(len(rows), *leaves.values.shape)


@dataclass(frozen=True, eq=False)
class Shuffle(Fill):
    """Every column takes its value from a background row of its own, drawn at random; ``variants`` times.

    A picture or series without background has its own places in another order, channels together.

    Example:
        >>> import torch, pellucid as pl
        >>> data = torch.tensor([[0.0, 5.0], [1.0, 6.0]])
        >>> heat = pl.Ablation(fill=pl.Shuffle(8, data))(torch.nn.Linear(2, 1), torch.tensor([[2.0, 2.0]]))
        >>> heat.receipt.rows_forward
        17
    """

    assumes: ClassVar[str] = "that hidden parts are independent of the shown ones and of each other"
    variants: int = 8
    data: Any = None

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        x, numbers = leaves.values, range(check_variants(self.variants))
        draws = [generator(ask.seed, 3, i) for i in numbers]
        if leaves.integer:
            raise ShapeError(expected="numbers to shuffle", got="token ids", do="Use MaskToken or Zeros.")
        if self.data is None and background(ask) is None and x.ndim > 2:
            places = x.flatten(2)
            orders = [torch.randperm(places.shape[2], generator=draw) for draw in draws]
            return torch.stack([places[:, :, order.to(x.device)].reshape(x.shape) for order in orders])
        rows = rows_of(self.data, ask, leaves).flatten(1)
        column, n = columns_of(ask, rows.shape[1])
        picks = torch.stack([torch.randint(len(rows), (n,), generator=draw)[column] for draw in draws])
        mixed = rows[picks.to(x.device), torch.arange(rows.shape[1], device=x.device)]
        return mixed.reshape(-1, 1, *x.shape[1:]).expand(-1, *x.shape)


def rows_of(data: Any, ask: Probe, leaves: Leaves) -> Tensor:
    """(rows, *shape): the data given, or the table's background, like the inputs."""
    rows = background(ask) if data is None else ask.model.read(data).values
    if rows is None:
        do = "Pass data to the fill, or say pl.Table(columns, background=rows)."
        raise OptionError(expected="background data", got="none", do=do)
    if rows.shape[1:] != leaves.values.shape[1:]:
        got, shape = str(tuple(rows.shape)), tuple(leaves.values.shape[1:])
        raise ShapeError(expected=f"background rows of shape {shape}", got=got, do="Give rows like the inputs.")
    return rows.to(leaves.values)


def columns_of(ask: Probe, width: int) -> tuple[Tensor, int]:
    """The column of each of ``width`` numbers, and how many: the numbers of a one-hot column share theirs."""
    table = ask.model.modality
    if not isinstance(table, Table) or table.slots[-1].stop != width:
        return torch.arange(width), width
    sizes = torch.tensor([slot.stop - slot.start for slot in table.slots])
    return torch.arange(len(sizes)).repeat_interleave(sizes), len(sizes)


def check_variants(variants: Any) -> int:
    """How many variants, a whole number of at least 1."""
    if isinstance(variants, bool) or not isinstance(variants, int) or variants < 1:
        raise OptionError(expected="a number of variants ≥ 1", got=repr(variants), do="Use e.g. variants=8.")
    return variants


def background(ask: Probe) -> Tensor | None:
    """The table's background rows, encoded, or None."""
    return ask.model.modality.background_rows() if isinstance(ask.model.modality, Table) else None


def typical(ask: Probe, rows: Tensor) -> Tensor:
    """(1, width): means of numeric columns, the most frequent level of categorical ones."""
    table, middle = ask.model.modality, rows.mean(0, keepdim=True)
    columns = zip(table.columns, table.slots, strict=True) if isinstance(table, Table) else ()
    for name, slot in columns:
        if name in getattr(table, "categories", ()):
            levels, counts = rows[:, slot].unique(dim=0, return_counts=True)
            middle[:, slot] = levels[counts.argmax()]
    return middle
