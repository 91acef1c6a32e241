"""Points: where the model is asked, as lazy functions of draw numbers; quadratures, paths, shared noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pellucid._typing import Points


@lru_cache(maxsize=64)
def gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (n,) on [0, 1]: exact for polynomials of degree 2n − 1.

    >>> nodes, weights = gauss_legendre(2)
    >>> round(float((weights * nodes**3).sum()), 12)
    0.25
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


@lru_cache(maxsize=64)
def sine_squared(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (n − 1,) on [0, 1], crowded at both ends; every other one belongs to ``sine_squared(n // 2)``.

    The trapezoidal rule after t = u − sin(2πu) / 2π (Sidi 1993); its end nodes have no weight and are left out.

    >>> nodes, weights = sine_squared(8)
    >>> len(nodes), round(float((weights * nodes**3).sum()), 3)
    (7, 0.25)
    """
    u = np.arange(1, n) / n
    return torch.from_numpy(u - np.sin(2 * np.pi * u) / (2 * np.pi)), torch.from_numpy((1 - np.cos(2 * np.pi * u)) / n)


def straight(base: Tensor, inputs: Tensor, nodes: Tensor) -> Points:
    """Points on the line from ``base`` to ``inputs`` (batch, *shape), at ``nodes`` in [0, 1]."""
    return lambda k: torch.lerp(base[None], inputs[None], lifted(nodes[k], inputs))


def only(points: Tensor) -> Points:
    """These points (batch, *shape), whatever the draw."""
    return lambda k: points[None].expand(len(k), *points.shape)


def noisy(inputs: Tensor, sigma: Tensor, seed: int) -> Points:
    """``inputs`` plus Gaussian noise of width ``sigma`` (batch, 1, …); a draw's noise is shared by the batch."""
    return lambda k: inputs[None] + sigma[None] * noise(k, inputs.shape[1:], seed).to(inputs)[:, None]


def noise(draws: Tensor, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers (k, *shape) that depend on (seed, draw number) only."""
    return torch.stack([torch.randn(shape, generator=generator(seed, int(k))) for k in draws])


def uniforms(draws: Tensor, n: int, seed: int) -> Tensor:
    """Uniform numbers (k, n) in [0, 1) that depend on (seed, draw number) only."""
    return torch.stack([torch.rand(n, generator=generator(seed, int(k)), dtype=torch.float64) for k in draws])


def generator(seed: int, *draw: int) -> torch.Generator:
    """A private generator for one draw (a number, or several) of one seed."""
    mixed = seed
    for number in draw:
        mixed = (mixed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**63
    return torch.Generator().manual_seed(mixed)


def lifted(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (k,) as (k, 1, 1, …) beside a batch of ``like``'s rank, in its dtype and on its device."""
    return numbers.to(like).reshape(-1, *[1] * like.ndim)


def spread(inputs: Tensor) -> Tensor:
    """(batch, 1, …) the range max − min of each example."""
    flat = inputs.flatten(1)
    return (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (inputs.ndim - 1))


def per_example(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (batch,) as (batch, 1, …)."""
    return numbers.to(like).reshape(-1, *[1] * (like.ndim - 1))
