"""Controls: maps known to be wrong that resemble the map in everything else.

Pictures, series and volumes: the same map moved to a random place (mirrored at its borders, so that no seam appears),
flipped and turned; and maps with the same power spectrum and random phases. Columns, words and units: the same values
dealt to others, words within their half of the sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.evaluate.layout import Layout

NAMES = {
    "picture": "the same map moved to a random place, or a random map as smooth as it",
    "series": "the same curve moved to a random time, or a random curve as smooth as it",
    "volume": "the same map moved to a random place, or a random map as smooth as it",
    "words": "the same values dealt to other words",
    "columns": "the same values dealt to random columns",
    "units": "the same values dealt to random units",
}


def wrong_maps(cells: Tensor, layout: Layout, count: int, seed: int) -> Tensor:
    """(count, cells): wrong maps made of the cells (cells,) of a map."""
    if not layout.space:
        return dealt(cells, layout.strata, count, seed)
    grid, half = cells.reshape(layout.grid), count // 2
    return torch.cat([moved(grid, count - half, seed), rephased(grid, half, seed + 1)]).flatten(1)


def moved(grid: Tensor, count: int, seed: int) -> Tensor:
    """(count, *grid): shifted on the torus of the map and its mirror image, flipped, and turned where it is square."""
    random = generator(seed, grid.ndim)
    torus = mirrored(grid)
    index = []
    for axis, size in enumerate(grid.shape):
        shift = torch.randint(2 * size, (count, 1), generator=random)
        sign = 2 * torch.randint(2, (count, 1), generator=random) - 1
        along = (shift + sign * torch.arange(size)) % (2 * size)
        index.append(along.reshape(count, *[size if axis == i else 1 for i in range(grid.ndim)]))
    made = torus[tuple(index)]
    if grid.ndim > 1 and len(set(grid.shape)) == 1:
        turn = torch.randint(2, (count,), generator=random).bool().reshape(-1, *[1] * grid.ndim)
        made = torch.where(turn, made.transpose(-1, -2), made)
    return made


def mirrored(grid: Tensor) -> Tensor:
    """The grid and its mirror image side by side along every axis: a torus without seams."""
    for axis in range(grid.ndim):
        grid = torch.cat([grid, grid.flip(axis)], axis)
    return grid


def rephased(grid: Tensor, count: int, seed: int) -> Tensor:
    """(count, *grid): the same power spectrum, phases those of white noise (Theiler et al. 1992)."""
    noise = torch.randn(count, *grid.shape, generator=generator(seed, grid.ndim), dtype=grid.dtype)
    axes = tuple(range(1, noise.ndim))
    phase = torch.fft.rfftn(noise, dim=axes)
    phase = phase / phase.abs().clamp_min(1e-300)
    phase[(slice(None), *[0] * grid.ndim)] = 1
    return torch.fft.irfftn(torch.fft.rfftn(grid) * phase, s=grid.shape, dim=axes)


def dealt(values: Tensor, strata: Tensor, count: int, seed: int) -> Tensor:
    """(count, n): the values dealt anew, each within its stratum."""
    keys = torch.rand(count, len(values), generator=generator(seed, len(values)), dtype=torch.float64)
    order = (keys + strata).argsort(1)
    return torch.zeros_like(keys).scatter(1, strata.argsort(stable=True).expand(count, -1), values[order])
