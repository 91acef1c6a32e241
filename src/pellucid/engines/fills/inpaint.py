"""Inpainting: hidden places as noisy means of their neighbors, for every mask by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.probe import Probe
from pellucid.engines.fills.rows import check_variants
from pellucid.engines.fills.seam import Around, Fill
from pellucid.engines.points import noise
from pellucid.errors import OptionError, ShapeError

STEPS, LARGEST_BLOCK, DAMPING = 12, 2**21, 2 / 3
MEAN = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
MAXIMUM = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
SPREAD = ("linear", "bilinear", "trilinear")


@dataclass(frozen=True)
class Inpaint(Fill):
    r"""Each hidden place of a picture is the weighted mean of its neighbors, hidden ones included, plus a little noise.

    .. math:: x_p = \frac{\sum_{q \in N(p)} w_q x_q}{\sum_{q \in N(p)} w_q} + \varepsilon,
        \qquad w = \tfrac16 \text{ beside}, \ \tfrac1{12} \text{ across a corner}

    The equations are solved for every mask and channel, to about a thousandth of the channel's standard deviation.
    ``noise`` is in such deviations, so that a filled region is no smoother than a picture. Where a channel is hidden
    altogether, its own mean stands. Series and volumes are filled in the same way.

    Source: Rong et al. 2022, arXiv:2202.00449 (noisy linear imputation).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> heat = pl.Ablation(fill=pl.Inpaint(), features=pl.Patches(4))(net, torch.ones(1, 1, 8, 8))
        >>> bool(heat.values.abs().max() < 1e-5)
        True
    """

    assumes: ClassVar[str] = "that what its surroundings foretell of a part is no evidence"
    noise: float = 0.01
    variants: int = 1

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        x = leaves.values
        if leaves.integer or not 3 <= x.ndim <= 5:
            got, do = f"{x.dtype} {tuple(x.shape)}", "Use Zeros, Mean, Marginal or MaskToken."
            raise ShapeError(expected="pictures or series (batch, channels, *space)", got=got, do=do)
        if not 0 <= self.noise < float("inf"):
            raise OptionError(expected="noise ≥ 0", got=repr(self.noise), do="Use e.g. noise=0.01.")
        draws = noise(torch.arange(check_variants(self.variants)), x.shape[1:], ask.seed).to(x)
        space = tuple(range(2, x.ndim))
        width = x.std(space, keepdim=True, correction=0) * self.noise
        return x.mean(space, keepdim=True)[None] + width[None] * draws[:, None]

    def around(self, ask: Probe, hidden: Tensor) -> Around:
        if ask.site is not None:
            raise ShapeError(expected="the inputs", got=f"layer {ask.site}", do="Use Zeros or Mean at a hidden layer.")
        x = ask.inputs
        bumps = hidden - x.mean(tuple(range(2, x.ndim)), keepdim=True)

        def fill(shown: Tensor, variants: Tensor) -> Tensor:
            known = (shown > 0.5).expand(len(shown), *x.shape)
            return inpainted(x.expand(known.shape), known) + bumps[variants]

        return fill


def inpainted(values: Tensor, known: Tensor) -> Tensor:
    """Unknown places of maps (k, batch, channels, *space) as means of their neighbors; those of an empty map, its mean.

    Conjugate gradients, a fixed number of steps, with a multigrid cycle as preconditioner.
    """
    maps, mask = (each.reshape(-1, 1, *values.shape[3:]) for each in (values, known))
    size = max(1, LARGEST_BLOCK // maps[0].numel())
    blocks = zip(maps.split(size), mask.split(size), strict=True)
    return torch.cat([solved(block, part) for block, part in blocks]).reshape(values.shape)


def solved(maps: Tensor, known: Tensor) -> Tensor:
    """Maps (n, 1, *space) with every unknown place the mean of its neighbors."""
    space = tuple(range(1, maps.ndim))
    empty = ~known.flatten(1).any(1).reshape(-1, *[1] * len(space))
    used = (known | empty).to(maps)
    mean = (maps * used).sum(space, keepdim=True) / used.sum(space, keepdim=True)
    grids = Grids((~known & ~empty).to(maps))
    maps = torch.where(known, maps, mean)
    left = -grids.lacking(maps)
    way = ahead = grids.cycle(left)
    size = (left * ahead).sum(space, keepdim=True)
    least = (32 * torch.finfo(maps.dtype).eps) ** 2 * size  # what is left then is rounding, and would grow
    for _ in range(STEPS):
        bend = grids.lacking(way)
        step = ratio(size, (way * bend).sum(space, keepdim=True)) * (size > least)
        maps, after = maps + step * way, left - step * bend
        ahead = grids.cycle(after)
        fresh = ((after - left) * ahead).sum(space, keepdim=True)
        way = ahead + ratio(fresh, size) * way
        left, size = after, (after * ahead).sum(space, keepdim=True)
    return maps


class Grids:
    """The equations of ``free`` places (n, 1, *space) on grids of halved resolutions."""

    def __init__(self, free: Tensor) -> None:
        self.rank, self.free = free.ndim - 3, [free]
        while max(self.free[-1].shape[2:]) > 2:
            self.free.append(1 - halved(1 - self.free[-1], MAXIMUM[self.rank]))
        self.weight = [neighbors(torch.ones_like(each[:1])).clamp_min(1e-3) for each in self.free]

    def lacking(self, maps: Tensor, level: int = 0) -> Tensor:
        """How much each free place has beyond its share of its neighbors."""
        return self.free[level] * (self.weight[level] * maps - neighbors(maps))

    def cycle(self, left: Tensor, level: int = 0) -> Tensor:
        """About the maps of which ``left`` is what they lack: smoothed here, corrected from the coarser grid."""
        pace = DAMPING * self.free[level] / self.weight[level]
        maps = pace * left
        if level + 1 < len(self.free):
            coarse = 4 * self.free[level + 1] * halved(left - self.lacking(maps, level), MEAN[self.rank])
            finer = doubled(self.cycle(coarse, level + 1), left.shape[2:], SPREAD[self.rank])
            maps = maps + self.free[level] * finer
        return maps + pace * (left - self.lacking(maps, level))


def neighbors(maps: Tensor) -> Tensor:
    """The weighted sum of each place's neighbors; away from the border the weights add up to 1.

    >>> (12 * neighbors(torch.tensor([[[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]]]))).int()[0, 0].tolist()
    [[1, 2, 1], [2, 0, 2], [1, 2, 1]]
    """
    total, rank = maps, maps.ndim - 2
    for axis in range(2, maps.ndim):
        along, most = 2 * total, total.shape[axis] - 1
        along.narrow(axis, 1, most).add_(total.narrow(axis, 0, most))
        along.narrow(axis, 0, most).add_(total.narrow(axis, 1, most))
        total = along
    return (total - 2**rank * maps) / (4**rank - 2**rank)


def halved(maps: Tensor, pool: Any) -> Tensor:
    """Maps at half the resolution, padded by 0 where a side is odd."""
    odd = [side for size in reversed(maps.shape[2:]) for side in (0, size % 2)]
    return torch.as_tensor(pool(F.pad(maps, odd), 2))


def doubled(maps: Tensor, space: torch.Size, mode: str) -> Tensor:
    """Maps at twice the resolution, cut to ``space``."""
    finer = F.interpolate(maps, scale_factor=2, mode=mode, align_corners=False)
    where: Any = (..., *[slice(size) for size in space])
    return finer[where]


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below where below is positive; else 0: nothing is left to solve."""
    return torch.where(below > 0, above / below.clamp_min(torch.finfo(below.dtype).tiny), 0.0)
