"""Targets for many units of a layer at once: a direction among its channels, and all that goes on in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.outputs import Outputs, check_index
from pellucid.core.target import Target
from pellucid.errors import OptionError, ShapeError, TargetError

LEAST_COSINE = 0.1


@dataclass(frozen=True, eq=False)
class Direction(Target):
    r"""How much of a ``vector`` (channels,) is in a layer, the mean over positions, or at one ``position``.

    .. math:: \mathrm{mean}_p\; \operatorname{sign}(d_p)\,|d_p|^{\text{dot}}\,\max(0.1, c_p)^{\text{cosine}},
        \qquad d_p = h_p \cdot v, \quad c_p = \frac{d_p}{\lVert h_p \rVert\,\lVert v \rVert}

    With ``dot`` 0 it is the cosine alone. ``axis`` is the axis of channels, as for ``Neuron``.

    Source: Olah et al. 2018, "The Building Blocks of Interpretability", Distill; the powers as in lucid.

    Example:
        >>> import torch, pellucid as pl
        >>> target = pl.Direction("0", torch.tensor([1.0, -1.0]))
        >>> pl.Saliency()(torch.nn.Sequential(torch.nn.Identity()), torch.ones(1, 2), target=target).values
        tensor([[ 1., -1.]])
    """

    at: str
    vector: Tensor
    cosine: float = 0.0
    dot: float = 1.0
    position: int | tuple[int, ...] | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", torch.as_tensor(self.vector).detach().flatten())
        if self.cosine < 0 or self.dot < 0 or self.cosine + self.dot == 0:
            got = f"cosine={self.cosine}, dot={self.dot}"
            raise OptionError(expected="powers at least 0, not both 0", got=got, do="Use e.g. cosine=1, dot=1.")
        if not bool(torch.isfinite(self.vector).all()) or not bool((self.vector != 0).any()):
            raise OptionError(expected="a finite vector other than zero", got="another", do="Give a direction.")

    @property
    def layer(self) -> str:
        return self.at

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        shape = tuple(outputs.shape[1:])
        axis = self.axis if self.axis is not None else int(len(shape) == 2 and about.rank != 1)
        if not 0 <= axis < len(shape):
            raise TargetError(expected=f"an axis 0 … {len(shape) - 1}", got=str(axis), do=f"Its maps are {shape}.")
        if len(self.vector) != shape[axis]:
            got = f"{len(self.vector)} numbers"
            raise ShapeError(expected=f"a vector of {shape[axis]} numbers", got=got, do=f"Its maps are {shape}.")
        if self.position is not None:
            check_index(self.where(), shape[:axis] + shape[axis + 1 :], "position")
        return replace(self, axis=axis)

    def where(self) -> tuple[int, ...]:
        """The position as a tuple."""
        return self.position if isinstance(self.position, tuple) else (self.position,)  # type: ignore[return-value]

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        maps = outputs.movedim((self.axis or 0) + 1, 1)
        if self.position is not None:
            maps = maps[(slice(None), slice(None), *self.where())]
        maps, vector = maps.flatten(2) if maps.ndim > 2 else maps[..., None], self.vector.to(outputs)
        along = torch.einsum("rcp,c->rp", maps, vector)
        if self.cosine == 0 and self.dot == 1:
            return along.mean(1)
        sizes = maps.norm(dim=1) * vector.norm()
        cosine = along / sizes.clamp_min(torch.finfo(sizes.dtype).tiny)
        if self.dot == 0:
            return (cosine.sign() * cosine.abs() ** self.cosine).mean(1)
        return (along.sign() * along.abs() ** self.dot * cosine.clamp_min(LEAST_COSINE) ** self.cosine).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"a direction in layer “{self.at}”" + ("" if self.position is None else f" at {self.position}")


@dataclass(frozen=True)
class MeanSquare(Target):
    r"""How much goes on in a layer: the mean square of its activations, as DeepDream climbs it.

    .. math:: \frac1n \sum_i h_i^2

    Source: Mordvintsev, Olah & Tyka 2015, "Inceptionism: Going Deeper into Neural Networks".

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Identity())
        >>> pl.Saliency()(net, torch.tensor([[3.0, 1.0]]), target=pl.MeanSquare("0")).values
        tensor([[3., 1.]])
    """

    at: str

    @property
    def layer(self) -> str:
        return self.at

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        return torch.as_tensor(outputs).square().flatten(1).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"mean square of layer “{self.at}”"
