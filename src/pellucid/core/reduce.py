"""Streaming reducers: what is kept of values that come a few draws at a time.

``update(draws, values, scores)`` takes draw numbers (k,), values (k, batch, *shape) and scores (k, batch);
``result()`` gives what was asked for. Nothing of size draws × input is held.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Reducer(Protocol):
    """Something that takes values a few draws at a time."""

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None: ...

    def result(self) -> Any: ...


class Mean:
    """The mean over draws."""

    def __init__(self) -> None:
        self.total: Tensor = torch.zeros(())
        self.count = 0

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        part = values.sum(0)
        self.total = self.total.add_(part) if self.count else part
        self.count += len(values)

    def result(self) -> Tensor:
        return self.total / self.count


class Weighted:
    """The sum over draws with ``weights`` (draws,) or (draws, batch)."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.total: Tensor = torch.zeros(())
        self.started = False

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        weight = self.weights[draws.cpu()].to(values)
        weight = weight.reshape(*weight.shape, *[1] * (values.ndim - weight.ndim))
        part = (weight * values).sum(0)
        self.total = self.total.add_(part) if self.started else part
        self.started = True

    def result(self) -> Tensor:
        return self.total


class Moments:
    """Mean and variance over draws, and the standard error of the mean (Welford's update, in blocks)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor = torch.zeros(())
        self.square: Tensor = torch.zeros(())

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        n = len(values)
        mean = values.mean(0)
        square = (values - mean).square().sum(0)
        if not self.count:
            self.mean, self.square, self.count = mean, square, n
            return
        delta, total = mean - self.mean, self.count + n
        self.square = self.square + square + delta.square() * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.count = total

    def result(self) -> Moments:
        return self

    @property
    def variance(self) -> Tensor:
        """The unbiased variance over draws."""
        return self.square / max(self.count - 1, 1)

    @property
    def standard_error(self) -> Tensor:
        """The standard error of the mean."""
        return (self.variance / max(self.count, 1)).sqrt()


class Keep:
    """Everything, in order; for few draws only."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.scores: list[Tensor] = []

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        self.values.append(values)
        self.scores.append(scores)

    def result(self) -> tuple[Tensor, Tensor]:
        """Values (draws, batch, *shape) and scores (draws, batch)."""
        return torch.cat(self.values), torch.cat(self.scores)
