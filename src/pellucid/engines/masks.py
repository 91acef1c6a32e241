"""Masks: random grids that hide parts of the inputs, and how the score follows the mask at each place, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from pellucid.core.probe import Probe
from pellucid.engines.features import Features, Players
from pellucid.errors import OptionError, ShapeError

Masks = Callable[[Tensor], Tensor]
NUMBERS = 2**21
SHIFT_BITS = 12


@dataclass(frozen=True)
class SoftGrid(Features):
    """A grid of ``cells`` a side over the spatial axes, drawn large: bilinear in between, shifted by part of a cell."""

    cells: int = 7

    def __call__(self, ask: Probe) -> Players:
        space = tuple(ask.inputs.shape[2:])
        if not space:
            got = f"shape {tuple(ask.inputs.shape)}"
            raise ShapeError(expected="inputs (batch, channels, *space)", got=got, do="Give features=.")
        if self.cells > min(space):
            do = "Use fewer cells, or give features=."
            raise OptionError(expected=f"at most {min(space)} cells a side", got=str(self.cells), do=do)
        return Clouds(self.cells, tuple(ask.inputs.shape[1:]), ask.inputs)


@dataclass(frozen=True, eq=False)
class Clouds:
    """Soft masks of a grid: a coalition (n,) holds its cells, then ``SHIFT_BITS`` bits of its shift along each axis.

    The grid is stretched to one cell more than the picture and cut where the shift says (Petsiuk et al., section 3.2).
    ``like`` says where masks are made, and in which numbers.
    """

    cells: int
    shape: tuple[int, ...]
    like: Tensor
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial axes."""
        return self.shape[1:]

    @property
    def count(self) -> int:
        """How many cells."""
        return int(self.cells ** len(self.space))

    @property
    def n(self) -> int:
        return self.count + SHIFT_BITS * len(self.space)

    def shown(self, coalitions: Tensor) -> Tensor:
        masks = self.seen(coalitions.to(self.like.device), [stretched(size, self.cells) for size in self.space])
        return masks[:, None, None]

    def seen(self, coalitions: Tensor, tables: list[Tensor]) -> Tensor:
        r"""Masks (k, \*places), or sums of them: ``tables`` (shifts, cells, places), one an axis, weigh the cells."""
        given = coalitions.to(self.like.dtype)
        cells, bits = given[:, : self.count], coalitions[:, self.count :].unflatten(1, (-1, SHIFT_BITS))
        fine = (bits * 2 ** torch.arange(SHIFT_BITS, device=bits.device)).sum(2)
        mask = cells.unflatten(1, (self.cells,) * len(self.space))
        for axis, table in enumerate(tables):
            shift = fine[:, axis] * len(table) >> SHIFT_BITS
            mask = torch.einsum("kcs,kc...->k...s", table.to(given)[shift], mask)
        return mask

    def values(self, players: Tensor, *, shared: bool) -> Tensor:
        return players.reshape(len(players), 1, *self.space).expand(len(players), *self.shape).contiguous()


def stretched(size: int, cells: int) -> Tensor:
    """How much of each cell is in each place, for every shift: (shifts, cells, size), sums over cells are 1.

    >>> stretched(4, 2).mT
    tensor([[[1.0000, 0.0000],
             [1.0000, 0.0000],
             [0.6667, 0.3333],
             [0.3333, 0.6667]],
    <BLANKLINE>
            [[1.0000, 0.0000],
             [0.6667, 0.3333],
             [0.3333, 0.6667],
             [0.0000, 1.0000]]], dtype=torch.float64)
    """
    places = torch.arange(size + ceil(size / cells) - 1, dtype=torch.float64)
    centers = ((places + 0.5) * cells / (size + size / cells) - 0.5).clamp(0, cells - 1)
    return (1 - (centers[:, None] - torch.arange(cells)).abs()).clamp_min(0).unfold(0, size, 1)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Random masks: ``masks(numbers)`` (k, places), ``coarse`` sums of their places (draws, q), and what is known.

    ``joint`` (q, places) are the covariances of the coarse sums with the places, ``own`` (places,) the variances.
    """

    masks: Masks
    coarse: Tensor
    joint: Tensor
    own: Tensor


def drawn_parts(coalitions: Tensor, keep: float) -> Drawn:
    """Masks that are the coalitions (k, n) themselves; where these are few, their coarse sum is that of all parts."""
    n = coalitions.shape[1]
    sums = torch.eye(n, dtype=torch.float64) if 4 * n <= len(coalitions) else torch.ones(1, n, dtype=torch.float64)
    chance = keep * (1 - keep)
    coarse = coalitions.double() @ sums.T
    return Drawn(lambda k: coalitions[k].double(), coarse, chance * sums, torch.full((n,), chance, dtype=torch.float64))


def drawn_clouds(players: Clouds, coalitions: Tensor, keep: float) -> Drawn:
    """Soft masks of coalitions (k, n); their coarse sums are over blocks of places, as many as the draws can tell."""
    axes, side = len(players.space), players.cells
    while side > 1 and 4 * side**axes > len(coalitions):
        side -= 1
    tables = [stretched(size, players.cells) for size in players.space]
    blocks = [torch.arange(size) * side // size == torch.arange(side)[:, None] for size in players.space]
    sums = [
        table @ (block.double() / block.sum(1, keepdim=True)).T for table, block in zip(tables, blocks, strict=True)
    ]
    joint = own = torch.full((1, 1), keep * (1 - keep), dtype=torch.float64)
    for table, summed in zip(tables, sums, strict=True):
        fine = torch.arange(2**SHIFT_BITS) * len(table) >> SHIFT_BITS
        often = torch.bincount(fine).double() / len(fine)
        joint = torch.kron(joint, torch.einsum("t,tcq,tcs->qs", often, summed, table))
        own = torch.kron(own, torch.einsum("t,tcs->s", often, table.square())[None])
    precise = Clouds(players.cells, players.shape, torch.zeros((), dtype=torch.float64))
    coarse = torch.cat([precise.seen(part, sums).flatten(1) for part in coalitions.split(1024)])
    return Drawn(lambda k: players.shown(coalitions[k]).flatten(1), coarse, joint, own[0])


def slopes(drawn: Drawn, scores: Tensor, center: float) -> tuple[Tensor, Tensor]:
    """Cov(score, mask) / Var(mask) (places, batch) of scores (draws, batch), and standard errors.

    What the coarse sums explain of the scores is taken out by regression, and its known covariance put back: the error
    is only that of the rest.
    """
    scores, coarse = scores.cpu().double(), drawn.coarse - drawn.coarse.mean(0)
    centered = scores - scores.mean(0)
    slope = torch.linalg.pinv(coarse) @ centered
    count, free = len(scores), max(len(scores) - coarse.shape[1] - 1, 1)
    mean, error = weighted_mean(drawn.masks, centered - coarse @ slope, center)
    own = drawn.own[:, None]
    return (mean + drawn.joint.T @ slope) / own, error / own * (count / free)


def weighted_mean(masks: Masks, scores: Tensor, center: float) -> tuple[Tensor, Tensor]:
    """The mean over draws of score times mask less ``center`` (places, batch), and its standard error.

    Masks (k, places) are made again, a few at a time: nothing of size draws × places is held.
    """
    count, done, at_once = len(scores), 0, 1
    total = square = torch.zeros(())
    while done < count:
        numbers = torch.arange(done, min(done + at_once, count))
        mask = on_device(masks(numbers)) - center
        some = scores[numbers].to(mask)
        total, square = total.to(mask) + mask.T @ some, square.to(mask) + mask.square().T @ some.square()
        done, at_once = done + len(numbers), max(1, NUMBERS // mask.shape[1])
    total, square = total.cpu() / count, square.cpu() / count
    return total, ((square - total.square()).clamp_min(0) / max(count - 1, 1)).sqrt()


def on_device(numbers: Tensor) -> Tensor:
    """In float64 where they are, or on the CPU where the device has none."""
    return numbers.double() if numbers.device.type in ("cpu", "cuda") else numbers.cpu().double()
