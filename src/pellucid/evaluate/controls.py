"""Controls: maps known to be wrong that resemble the map in everything else.

Pictures, series and volumes: the same map moved to a random place (mirrored at its borders, so that no seam appears),
flipped and turned; and maps with the same power spectrum and random phases, for series with the same numbers, too.
Columns, words and units: the same values dealt to others, words among their kind in their half of the text.
Beside them stand maps that need no model: the edges of a picture, its middle, the same everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.evaluate.layout import Layout

ROUNDS = 10
"""Rounds of IAAFT; the error of the spectrum hardly falls after."""

NAMES = {
    "picture": "the same map moved to a random place, or a random map as smooth as it",
    "series": "the same curve moved to a random time, or a random curve as smooth as it",
    "volume": "the same map moved to a random place, or a random map as smooth as it",
    "words": "the same values dealt to other words, those that carry meaning and those that do not apart",
    "columns": "the same values dealt to random columns",
    "units": "the same values dealt to random units",
}


def wrong_maps(cells: Tensor, layout: Layout, count: int, seed: int) -> Tensor:
    """(count, cells): wrong maps made of the cells (cells,) of a map."""
    if not layout.space:
        return dealt(cells, layout.strata, count, seed)
    grid, half = cells.reshape(layout.grid), count // 2
    alike = iaaft if layout.words == "series" else rephased
    return torch.cat([moved(grid, count - half, seed), alike(grid, half, seed + 1)]).flatten(1)


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


def iaaft(grid: Tensor, count: int, seed: int) -> Tensor:
    """(count, *grid): the very same numbers in an order whose power spectrum is nearly the same.

    Schreiber & Schmitz 1996, doi:10.1103/PhysRevLett.77.635: spectrum and numbers are put right in turn.
    """
    axes = tuple(range(1, grid.ndim + 1))
    size, ordered = torch.fft.rfftn(grid).abs(), grid.reshape(-1).sort().values
    made = rephased(grid, count, seed)
    for _ in range(ROUNDS):
        order = made.flatten(1).argsort(1)
        made = torch.zeros_like(made).flatten(1).scatter(1, order, ordered.expand(count, -1)).reshape(made.shape)
        waves = torch.fft.rfftn(made, dim=axes)
        made = torch.fft.irfftn(size * waves / waves.abs().clamp_min(1e-300), s=grid.shape, dim=axes)
    order = made.flatten(1).argsort(1)
    return torch.zeros_like(made).flatten(1).scatter(1, order, ordered.expand(count, -1)).reshape(made.shape)


def edges(picture: Tensor) -> Tensor:
    """(*space): how steeply a picture (channels, *space) changes, |∇x| by central differences, over all channels.

    >>> edges(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    tensor([0.0000, 0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    picture = picture.detach().cpu().double()
    axes = [axis for axis in range(1, picture.ndim) if picture.shape[axis] > 1]
    if not axes:
        return torch.zeros(picture.shape[1:], dtype=torch.float64)
    slopes = torch.gradient(picture, dim=axes)
    return torch.stack(list(slopes)).square().sum((0, 1)).sqrt()


def center(space: tuple[int, ...]) -> Tensor:
    """(*space): a Gaussian in the middle, a quarter of each side wide.

    >>> center((3,))
    tensor([0.4111, 1.0000, 0.4111], dtype=torch.float64)
    """
    made = torch.zeros((), dtype=torch.float64)
    for size in space:
        along = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) / (size / 4)
        made = made[..., None] + along**2
    return torch.exp(-made / 2)


def dealt(values: Tensor, strata: Tensor, count: int, seed: int) -> Tensor:
    """(count, n): the values dealt anew, each within its stratum."""
    keys = torch.rand(count, len(values), generator=generator(seed, len(values)), dtype=torch.float64)
    order = (keys + strata).argsort(1)
    return torch.zeros_like(keys).scatter(1, strata.argsort(stable=True).expand(count, -1), values[order])
