"""Linear models on rows, series, pictures and volumes, with exact maps, and maps that are wrong in known ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.engines.points import generator

SHAPES = [(12,), (1, 12), (3, 12), (1, 6, 6), (3, 6, 6), (1, 3, 3, 3), (3, 3, 3, 3)]


def linear_on(shape: tuple[int, ...], *, positive: bool = False) -> tuple[pl.Model, Tensor, Tensor]:
    """A linear model of inputs of this shape, one input, and its exact map; f(x) is well above f(0)."""
    n = int(np.prod(shape))
    net = nn.Sequential(nn.Flatten(), nn.Linear(n, 1)).double().requires_grad_(False)
    random = generator(4, n)
    weight = torch.randn(1, n, generator=random, dtype=torch.float64) + 0.3
    net[1].weight[:] = weight.abs() if positive else weight
    net[1].bias[:] = 0.25
    x = 0.5 + torch.rand(1, *shape, generator=random, dtype=torch.float64)
    return pl.Model(net), x, (net[1].weight * x.flatten(1)).reshape(1, *shape)


def value(metric: Any, map_: Tensor, model: Any, x: Tensor, target: Any = None) -> float:
    """The metric's number; a failure with its reason where there is none."""
    found = metric(map_, model, x, target)
    assert found.value is not None, found.reasons
    return float(found.value)


def noisy(map_: Tensor, size: float) -> Tensor:
    """The map with noise of ``size`` of its own spread."""
    noise = torch.randn(map_.shape, generator=generator(8, map_.numel()), dtype=map_.dtype)
    return map_ + size * map_.std() * noise


def shuffled(map_: Tensor, seed: int) -> Tensor:
    """The map's values at other places."""
    order = torch.randperm(map_.numel(), generator=generator(seed, map_.numel()))
    return map_.flatten()[order].reshape(map_.shape)


def cells(map_: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """(places,) the map with channels added up, as NumPy."""
    array = map_[0].numpy()
    return array.sum(0).ravel() if len(shape) > 1 else array.ravel()


def reasons(metric: Any, map_: Tensor, model: Any, x: Tensor, target: Any = None) -> str:
    """Why there is no number."""
    found = metric(map_, model, x, target)
    assert found.value is None
    return " ".join(found.reasons)
