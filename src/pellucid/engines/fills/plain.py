"""Fills made of the input alone: zeros, a constant, means, a blur, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.probe import Probe
from pellucid.engines.fills.rows import background, typical
from pellucid.engines.fills.seam import Fill
from pellucid.engines.fills.words import hidden_ids
from pellucid.engines.points import noise
from pellucid.errors import OptionError, ShapeError


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


def as_numbers(given: Any) -> Tensor:
    """A tensor as it is; a number, list or array with all of its digits."""
    return given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given))


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
