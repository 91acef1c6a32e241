"""Players: parts of the inputs that a coalition shows or hides, and the feature sets that make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pellucid.core.probe import Probe


class Players(Protocol):
    """Parts of the inputs that a coalition shows or hides."""

    @property
    def n(self) -> int:
        """How many."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called, or nothing."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of them."""
        ...

    def shown(self, coalitions: Tensor) -> Tensor:
        """Coalitions (k, n) as masks that broadcast to (k, batch, *shape): True, or 1, where the input stays."""
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
    notes: tuple[str, ...] = ()

    def shown(self, coalitions: Tensor) -> Tensor:
        always = torch.ones(len(coalitions), 1, dtype=coalitions.dtype)
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
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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

    def alike(self, ask: Probe) -> bool:
        """Whether all examples have the same parts, so that they can be asked together."""
        return not (ask.leaves.integer and ask.site is None)

    def __call__(self, ask: Probe) -> Players:
        """The players of one example (or of all, where they are alike)."""
        raise NotImplementedError
