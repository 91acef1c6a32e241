"""A tally of a layer's units over a data set: sums, ends, counts and a sample of rows, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pellucid.features.units import Place, Visible

SAMPLED = 256
FAR = 30.0


class Scratch:
    """Memory that all readers of a sweep share."""

    def __init__(self) -> None:
        self.held = torch.empty(0)

    def like(self, values: Tensor) -> Tensor:
        """Room for as many numbers as ``values`` has, of its shape."""
        if self.held.numel() < values.numel() or self.held.device != values.device or self.held.dtype != values.dtype:
            self.held = torch.empty(values.numel(), dtype=values.dtype, device=values.device)
        return self.held[: values.numel()].view(values.shape)


class Lots:
    """Which rows are kept as a sample: those whose hash is lowest, the same whatever the batches are."""

    def __init__(self, seed: int, size: int = SAMPLED) -> None:
        self.seed, self.size = seed, size
        self.ranks = torch.empty(0, dtype=torch.float64)
        self.key: tuple[int, int] | None = None
        self.drawn = (torch.empty(0, dtype=torch.long), self.ranks, torch.empty(0, dtype=torch.long))

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The chosen ones of these rows, a random number in 0 … 1 of each, and who of (known, new) ones is kept."""
        key = (int(rows[0]), len(rows))
        if key != self.key:
            self.key = key
            rank = ranks_of(key[0], key[0] + key[1], self.seed)
            edge = float(self.ranks.max()) if len(self.ranks) >= self.size else float("inf")
            chosen = torch.nonzero(rank < edge).flatten()
            chosen = chosen[rank[chosen].argsort()[: self.size]]
            ranks = torch.cat([self.ranks, rank[chosen]])
            kept = ranks.argsort()[: self.size]
            self.ranks = ranks[kept]
            self.drawn = (chosen, (rank[chosen] * 2**20) % 1.0, kept)
        return self.drawn


@dataclass(eq=False)
class Tally:
    """Reads the activations of one layer: few passes over memory, float32 within a batch and float64 between batches.

    Sums are over rows × places, ``count`` of them: of values, of their squares about ``shift``, of those above
    ``threshold`` and, for a bounded activation, of those within a twentieth of its ``ends``.
    """

    place: Place
    visible: Visible
    scratch: Scratch
    lots: Lots
    threshold: float = 0.0
    ends: tuple[float, float] | None = None
    count: int = 0
    held: dict[str, Tensor] = field(default_factory=dict)
    shift: Tensor | None = None
    sample: Tensor | None = None

    def read(self, values: Tensor, rows: Tensor) -> None:
        mask = self.visible.of(rows, self.place, values)
        self.draw(values, rows, mask)
        cube = as_cube(values, self.place) if mask is None else values[mask].float()[..., None]
        for name, new in self.reduced(cube).items():
            self.put(name, new)
        self.count += cube.shape[0] * cube.shape[2]
        if self.shift is None:
            self.settle(cube)

    def put(self, name: str, new: Tensor) -> None:
        """Join what a batch gave, (units, places) or (rows, units) reduced already, with what is known."""
        held = self.held.get(name)
        if held is None:
            self.held[name] = new.double()
            return
        if held.shape != new.shape:
            held, new = (each if each.ndim == 1 else joined(name, each) for each in (held, new.double()))
        how = {"low": torch.minimum, "high": torch.maximum}.get(name)
        self.held[name] = held.add_(new) if how is None else how(held, new.double())

    def sums(self) -> dict[str, Tensor]:
        """Each of what was gathered, (units,)."""
        return {name: (each if each.ndim == 1 else joined(name, each)).cpu() for name, each in self.held.items()}

    def settle(self, cube: Tensor) -> None:
        """After the first batch: where means are far from zero, squares are summed about them from now on."""
        sums = self.sums()
        mean = sums["sum"] / self.count
        spread = (sums["square"] / self.count - mean**2).clamp_min(0).sqrt()
        self.shift = torch.zeros_like(mean)
        if bool((mean.abs() > FAR * spread).any()):
            self.shift = mean
            self.held["square"] = self.reduced(cube)["square"].double()

    def reduced(self, cube: Tensor) -> dict[str, Tensor]:
        """Sums and ends of (rows, units, places); the longer of rows and places is gone over first."""
        rows, units, spots = cube.shape
        first, room = rows >= spots, self.scratch.like(cube)
        ones = cube.new_ones(rows if first else spots)

        def total(values: Tensor) -> Tensor:
            if first:
                return (ones @ values.view(rows, -1)).view(units, spots)
            return (values.view(-1, spots) @ ones).view(rows, units).sum(0, dtype=torch.float64)

        seen = {"sum": total(cube)}
        if self.shift is None or not bool(self.shift.any()):
            seen["square"] = total(torch.mul(cube, cube, out=room))
        else:
            seen["square"] = total(torch.sub(cube, self.shift.to(cube)[:, None], out=room).square_())
        seen["above"] = total(torch.gt(cube, self.threshold, out=room))
        seen["low"] = cube.amin(0) if first else cube.amin(2).amin(0)
        seen["high"] = cube.amax(0) if first else cube.amax(2).amax(0)
        if self.ends is not None:
            low, high = self.ends
            edge = 0.05 * (high - low)
            seen["near low"] = total(torch.lt(cube, low + edge, out=room))
            seen["near high"] = total(torch.gt(cube, high - edge, out=room))
        return seen

    def draw(self, values: Tensor, rows: Tensor, mask: Tensor | None) -> None:
        """Keep one random place of each row that was chosen."""
        chosen, where, kept = self.lots.of(rows)
        if not len(chosen):
            return
        maps = values.movedim(self.place.axis + 1, 1) if self.place.shape else values[:, None]
        space = maps.shape[2:]
        spots = torch.full((len(chosen),), space.numel()) if mask is None else mask[chosen].sum(1).clamp_min(1).cpu()
        at = (where * spots).long()
        if mask is not None:
            at = (mask[chosen].cpu().long().cumsum(1) <= at[:, None]).sum(1).clamp_max(space[0] - 1)
        if maps.is_contiguous() or len(maps) == len(chosen):
            new = maps.reshape(len(maps), self.place.units, -1)[chosen, :, at]
        else:
            new = maps[chosen].reshape(len(chosen), self.place.units, -1)[torch.arange(len(chosen)), :, at]
        new = new.float().cpu()
        self.sample = (new if self.sample is None else torch.cat([self.sample, new]))[kept]


def joined(name: str, values: Tensor) -> Tensor:
    """(units, places) over places."""
    return {"low": values.amin, "high": values.amax}.get(name, values.sum)(1)


def as_cube(values: Tensor, place: Place) -> Tensor:
    """Activations (rows, *shape) as (rows, units, places), as they lie in memory; units that lie last have places 1."""
    values = values.float() if values.dtype.itemsize < 4 else values
    last = values.movedim(place.axis + 1, -1) if place.shape else values[:, None]
    if last.is_contiguous():
        return last.reshape(-1, place.units, 1)
    return values.movedim(place.axis + 1, 1).reshape(len(values), place.units, -1).contiguous()


@lru_cache(maxsize=4)
def ranks_of(start: int, stop: int, seed: int) -> Tensor:
    """A hash in 0 … 1 of each row's number: SplitMix64."""
    with np.errstate(over="ignore"):
        x = np.arange(start, stop, dtype=np.uint64) + np.uint64(seed * 0x632BE59BD9B4E019 % 2**64)
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return torch.from_numpy((x >> np.uint64(11)).astype(np.float64) / 2**53)
