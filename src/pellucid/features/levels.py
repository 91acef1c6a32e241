"""Readers for dissection: the level that a unit passes at a given share of places, and where concepts lie under it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.errors import NonFiniteError
from pellucid.features.concepts import ConceptMasks
from pellucid.features.units import Place

ROOM = 2**24
"""How many of the highest values are kept in all while the levels are looked for."""
WIDE = 2**22
"""How many numbers are enlarged, or compared, at once."""


@dataclass(eq=False)
class Fingerprint:
    """Reads the inputs: how many rows of which ``width``, and a number that changes when their order does."""

    rows: int = 0
    width: int = 0
    mark: float = 0.0

    def read(self, values: Tensor, rows: Tensor) -> None:
        sums = values.reshape(len(values), -1).double().mean(1).cpu()
        self.mark += float((sums * (rows + 1).double().sqrt()).sum())
        self.rows, self.width = self.rows + len(rows), values[0].numel()

    def same(self, other: Fingerprint) -> bool:
        """Whether the same rows came in the same order."""
        return self.rows == other.rows and abs(self.mark - other.mark) <= 1e-9 * max(1.0, abs(self.mark), self.rows)


@dataclass(eq=False)
class Levels:
    """Reads a layer's maps: the value that a share of all places lies above, exactly, and the rows with the peaks.

    The highest ``share`` of values is all that is kept. Where that is over ``room`` numbers, the values of some places
    of each row count only, drawn by the row's number: ``drawn`` of them, the same for all units.
    """

    place: Place
    rows: int
    share: float
    best: int
    room: int
    seed: int
    low: Tensor | None = None
    high: Tensor | None = None
    peaks: Tensor | None = None
    who: Tensor | None = None
    fresh: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.area = int(np.prod(self.place.space))
        most = self.room / max(self.place.units * self.rows * self.share, 1e-9)
        self.drawn = min(self.area, max(1, int(most)))
        self.above = int(self.share * self.rows * self.drawn)

    def read(self, values: Tensor, rows: Tensor) -> None:
        maps = self.place.maps(values).flatten(2)
        if not bool(torch.isfinite(maps).all()):
            do = "Check the weights and the scale of the inputs."
            raise NonFiniteError(expected=f"finite activations of {self.place.name!r}", got="NaN or infinity", do=do)
        low = maps.amin((0, 2))
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.note_peaks(maps.amax(2), rows.to(maps.device))
        if self.drawn < self.area:
            order = [torch.randperm(self.area, generator=generator(self.seed, int(r)))[: self.drawn] for r in rows]
            maps = maps.gather(2, torch.stack(order).to(maps.device)[:, None].expand(-1, maps.shape[1], -1))
        self.fresh.append(maps.movedim(1, 0).flatten(1).clone())
        if sum(each.shape[1] for each in self.fresh) > self.above:
            self.settle()

    def note_peaks(self, peaks: Tensor, rows: Tensor) -> None:
        """The rows where each unit is highest: (best, units)."""
        who = rows[:, None].expand_as(peaks)
        if self.peaks is not None and self.who is not None:
            peaks, who = torch.cat([self.peaks, peaks]), torch.cat([self.who, who])
        order = torch.argsort(peaks, dim=0, descending=True, stable=True)[: self.best]
        self.peaks, self.who = peaks.gather(0, order), who.gather(0, order)

    def settle(self) -> None:
        """Only the highest values stay."""
        every = torch.cat([*([] if self.high is None else [self.high]), *self.fresh], 1)
        self.high, self.fresh = every.topk(min(self.above + 1, every.shape[1]), 1, sorted=False).values, []

    def level(self) -> Tensor:
        """(units,) the lowest level that no more than the share of values lie above."""
        if self.fresh or self.high is None:
            self.settle()
        return torch.as_tensor(self.high).amin(1)


@dataclass(eq=False)
class Overlap:
    """Reads a layer's maps again: how many places each unit's regions share with each concept's masks.

    ``orders`` (1 + permutations, rows) says whose masks are laid on each row, the first its own; ``shared``
    (1 + permutations, units, concepts) and ``area`` (units,) are counts of places, over the rows with labels.
    """

    place: Place
    level: Tensor
    strict: Tensor
    masks: ConceptMasks
    orders: NDArray[np.intp]

    def __post_init__(self) -> None:
        self.area = np.zeros(self.place.units, np.int64)
        self.shared = np.zeros((len(self.orders), self.place.units, self.masks.concepts), np.int64)

    def read(self, values: Tensor, rows: Tensor) -> None:
        maps = self.place.maps(values)
        at_once = max(1, WIDE // (self.masks.space[0] * self.masks.space[1]))
        for one, row in zip(maps, rows.tolist(), strict=True):
            if self.masks.labeled[row]:
                for start in range(0, len(one), at_once):
                    some = slice(start, start + at_once)
                    self.lay(regions(one[some], self.level[some], self.strict[some], self.masks.space), row, start)

    def lay(self, inside: Tensor, row: int, start: int) -> None:
        """The regions (units, height, width) of a row on the masks of all orders."""
        flat = inside.flatten(1)
        units, places = flat.any(1).nonzero()[:, 0], flat.any(0).nonzero()[:, 0]
        if not len(units):
            return
        ours = flat[units][:, places].float().cpu()
        who, where = units.cpu().numpy() + start, places.cpu().numpy()
        self.area[who] += ours.sum(1).long().numpy()
        at_once = max(1, WIDE // (self.masks.concepts * len(where)))
        for first in range(0, len(self.orders), at_once):
            theirs = self.masks.at(self.orders[first : first + at_once, row], where)
            both = torch.from_numpy(theirs.reshape(-1, len(where)).astype(np.float32)) @ ours.T
            counts = both.reshape(len(theirs), self.masks.concepts, len(who)).round().long().numpy()
            self.shared[first : first + at_once, who] += counts.transpose(0, 2, 1)


def regions(maps: Tensor, level: Tensor, strict: Tensor, space: tuple[int, int]) -> Tensor:
    """(units, height, width) where maps, enlarged bilinearly, are at their level or above; above if strict."""
    large = F.interpolate(maps[None], space, mode="bilinear", align_corners=False)[0]
    level, strict = level.to(large)[:, None, None], strict.to(large.device)[:, None, None]
    return torch.where(strict, large > level, large >= level)
