"""Walks: the line integral of the slope along any path, as a sum over short steps; nothing of path × input is held."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.core.probe import Probe
from pellucid.core.reduce import Reducer

Path = Callable[[float], Tensor]
"""A point (batch, *shape) for a time in [0, 1]; the path ends at the inputs."""


def walked(ask: Probe, path: Path, steps: int) -> Tensor:
    """Σ ∇f(path(middle of step)) · (path(end) − path(start)): (batch, *shape), in steps of equal time."""
    middles = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    return ask.gradient(lambda k: torch.stack([path(float(middles[i])) for i in k]), steps, into=Steps(path, steps))


class Steps:
    """Sums slope × way of each step; keeps one edge of the path."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps
        self.edge = path(0.0)
        self.total = torch.zeros_like(self.edge)

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        for k, slope in zip(draws.tolist(), values, strict=True):
            after = self.path((k + 1) / self.steps)
            self.total += slope * (after - self.edge)
            self.edge = after

    def result(self) -> Tensor:
        return self.total


class Times:
    """Feeds another reducer with values × a factor that depends on the draw: (k, batch, *shape)."""

    def __init__(self, factor: Callable[[Tensor], Tensor], inner: Reducer) -> None:
        self.factor, self.inner = factor, inner

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        self.inner.update(draws, values * self.factor(draws), scores)

    def result(self) -> object:
        return self.inner.result()
