"""Fills: what a hidden part is replaced by. Each states what it assumes; ``fill(ask)`` is (variants, batch, *shape).

Asked of a hidden layer, a fill of the inputs is carried through the network to that layer; asked of embedded token
ids, it is made of ids first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.points import noise
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True)
class Fill:
    """What takes the place of a hidden part."""

    assumes: ClassVar[str] = ""

    def __call__(self, ask: Probe) -> Tensor:
        """(variants, batch, *shape) at the probe's site."""
        if ask.outer is None or ask.site is None:
            return self.values(ask, ask.leaves)
        return torch.stack([ask.outer.record(ask.site, each) for each in self(ask.outer)])

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        """(variants, batch, *shape) for the inputs themselves; ids get ids."""
        raise NotImplementedError


@dataclass(frozen=True)
class Zeros(Fill):
    """Zero in the model's own units; for token ids, the padding token in place of every content token.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Ablation(fill=pl.Zeros())(torch.nn.Flatten(), torch.tensor([[2.0]])).values
        tensor([[2.]])
    """

    assumes: ClassVar[str] = "that zero (after normalization: the mean) means nothing is there"

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        if leaves.integer:
            return hidden_ids(ask, leaves, mask=False)[None]
        return torch.zeros_like(leaves.values)[None]


@dataclass(frozen=True)
class Constant(Fill):
    """A number, or a tensor that broadcasts to the inputs (or to the layer asked about).

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Ablation(fill=pl.Constant(0.5))(torch.nn.Flatten(), torch.tensor([[2.0]])).values
        tensor([[1.5000]])
    """

    assumes: ClassVar[str] = "that this value means nothing is there"
    value: Any = 0.0

    def __call__(self, ask: Probe) -> Tensor:
        value = as_numbers(self.value)
        if ask.site is not None and value.ndim and broadcasts(value.shape, ask.inputs.shape):
            return value.to(ask.inputs).expand(ask.inputs.shape)[None]
        return super().__call__(ask)

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        value = as_numbers(self.value).to(leaves.values)
        if not bool(torch.isfinite(value).all()):
            raise OptionError(expected="a finite baseline", got="NaN or infinity", do="Clean it.")
        if not broadcasts(value.shape, leaves.values.shape):
            got, shape = f"shape {tuple(value.shape)}", tuple(leaves.values.shape)
            raise ShapeError(
                expected=f"a baseline that broadcasts to {shape}", got=got, do="Give one row, or one a row."
            )
        return value.expand(leaves.values.shape)[None]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Constant):
            return NotImplemented
        return bool(torch.equal(as_numbers(self.value), as_numbers(other.value)))

    def __hash__(self) -> int:
        return hash(type(self))


@dataclass(frozen=True)
class Mean(Fill):
    """The mean of the background rows of a table; else each channel's own mean.

    Example:
        >>> import torch, pellucid as pl
        >>> table = pl.Table(columns=("a", "b"), background=[[1, 0], [3, 4]])
        >>> model = pl.Model(torch.nn.Flatten(), inputs=table)
        >>> pl.Ablation(fill=pl.Mean())(model, [[5, 5]], target=0).values
        tensor([[3., 0.]])
    """

    assumes: ClassVar[str] = "that an average value means nothing is there"

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        rows = background(ask)
        if rows is not None and rows.shape[1:] == leaves.values.shape[1:]:
            return typical(ask, rows).to(leaves.values).expand(leaves.values.shape)[None]
        if leaves.values.ndim < 3:
            return torch.zeros_like(leaves.values)[None]
        space = tuple(range(2, leaves.values.ndim))
        return leaves.values.mean(space, keepdim=True).expand(leaves.values.shape)[None]


@dataclass(frozen=True)
class Blur(Fill):
    """A Gaussian blur of the picture or series; ``sigma`` in places, an eighth of the side without.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Ablation(fill=pl.Blur(2.0))(net, torch.rand(1, 1, 8, 8)).extra["hidden_by"]
        'Blur'
    """

    assumes: ClassVar[str] = "that detail is the evidence and coarse structure is not"
    sigma: float | None = None

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        x = leaves.values
        if x.ndim < 3 or leaves.integer:
            raise ShapeError(expected="pictures or series to blur", got=str(tuple(x.shape)), do="Use Zeros or Mean.")
        sigma = min(x.shape[2:]) / 8 if self.sigma is None else self.sigma
        return blurred(x, sigma)[None]


@dataclass(frozen=True)
class Noise(Fill):
    """Gaussian noise around the channel means, as wide as the channel; ``variants`` independent ones.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
        >>> pl.Ablation(fill=pl.Noise(variants=3))(net, torch.rand(1, 1, 4)).receipt.rows_forward >= 9
        True
    """

    assumes: ClassVar[str] = "that structureless noise means nothing is there"
    variants: int = 4

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        x = leaves.values
        space = tuple(range(2, x.ndim)) if x.ndim > 2 else (1,)
        center, width = x.mean(space, keepdim=True), x.std(space, keepdim=True, correction=0)
        draws = noise(torch.arange(self.variants), x.shape[1:], ask.seed).to(x)
        return center[None] + width[None] * draws[:, None]


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
        rows = background(ask) if self.data is None else ask.model.read(self.data).values
        if rows is None:
            do = "Use Marginal(data), or pl.Table(columns, background=rows)."
            raise OptionError(expected="background data", got="none", do=do)
        if rows.shape[1:] != leaves.values.shape[1:]:
            got, shape = str(tuple(rows.shape)), tuple(leaves.values.shape[1:])
            raise ShapeError(expected=f"background rows of shape {shape}", got=got, do="Give rows like the inputs.")
        if len(rows) > self.most:
            rows = rows[torch.linspace(0, len(rows) - 1, self.most).long()]
        return rows.to(leaves.values)[:, None].expand(len(rows), *leaves.values.shape)


@dataclass(frozen=True)
class MaskToken(Fill):
    """The mask token in place of hidden tokens (the padding token where the tokenizer has no mask).

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(fill=pl.MaskToken())(pl.load("demo:sentences"), "A good film.")
        >>> list(heat.values)
        ['input_ids']
    """

    assumes: ClassVar[str] = "that the model reads the mask token as a gap"

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        if not leaves.integer:
            raise ShapeError(expected="token ids", got=str(leaves.values.dtype), do="Use Zeros, Mean or Blur.")
        return hidden_ids(ask, leaves, mask=True)[None]


def as_fill(given: Any) -> Fill:
    """A fill as it is; a number, array or tensor as a constant; None as zeros."""
    if given is None:
        return Zeros()
    if isinstance(given, Fill):
        return given
    try:
        return Constant(as_numbers(given))
    except (TypeError, ValueError, RuntimeError):
        do = "Use e.g. Zeros(), Mean(), Blur(), Constant(0.5), Marginal(data)."
        raise OptionError(expected="a fill, a number or a tensor", got=repr(given)[:60], do=do) from None


def as_numbers(given: Any) -> Tensor:
    """A tensor as it is; a number, list or array with all of its digits."""
    return given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))


def baseline(given: Any, ask: Probe) -> Tensor:
    """(batch, *shape): the one point a path starts from."""
    variants = as_fill(given)(ask)
    return variants[0] if len(variants) == 1 else variants.mean(0)


def hidden_ids(ask: Probe, leaves: Leaves, *, mask: bool) -> Tensor:
    """Ids with every content token replaced; special tokens stay."""
    ids, text = leaves.values, ask.model.modality
    if not isinstance(text, Text):
        return torch.zeros_like(ids)
    fill = torch.full_like(ids, text.mask_id if mask else text.pad_id)
    return torch.where(text.special(ids), ids, fill)


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


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(batch, channels, *space) convolved with a Gaussian, edges reflected where the picture is wide enough."""
    if sigma <= 0:
        return x
    space = x.ndim - 2
    for axis in range(space):
        radius = min(math.ceil(3 * sigma), x.shape[2 + axis] - 1)
        if radius < 1:
            continue
        reach = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
        kernel = torch.exp(-reach.square() / (2 * sigma**2))
        kernel = kernel / kernel.sum()
        moved = x.movedim(2 + axis, -1)
        line = moved.reshape(-1, 1, moved.shape[-1])
        line = torch.nn.functional.pad(line, (radius, radius), mode="reflect")
        x = torch.nn.functional.conv1d(line, kernel.reshape(1, 1, -1)).reshape(moved.shape).movedim(-1, 2 + axis)
    return x


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to another without growing it."""
    try:
        return torch.broadcast_shapes(shape, to) == torch.Size(to)
    except RuntimeError:
        return False
