"""Rank correlations of many rows at once, and their bootstrap."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.evaluate.thresholds import RESAMPLES


def ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis, from 0; equal values share the mean of their ranks.

    >>> ranks(torch.tensor([3.0, 1.0, 3.0]))
    tensor([1.5000, 0.0000, 1.5000])
    """
    values = values.contiguous()
    ordered = values.sort(-1).values
    below = torch.searchsorted(ordered, values)
    above = torch.searchsorted(ordered, values, right=True)
    return (below + above - 1).to(values) / 2


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation along the last axis; 0 where a side is constant."""
    one, other = (each - each.mean(-1, keepdim=True) for each in (one, other))
    size = one.norm(dim=-1) * other.norm(dim=-1)
    return torch.where(size > 0, (one * other).sum(-1) / size.clamp_min(1e-300), 0)


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's correlation along the last axis."""
    return correlation(ranks(one), ranks(other))


def within(values: Tensor, groups: Tensor) -> Tensor:
    """Values (…, n) minus the mean of their group (n,), so that only differences inside a group count."""
    member = torch.nn.functional.one_hot(groups).to(values)
    return values - (values @ member / member.sum(0).clamp_min(1)) @ member.T


def tidy(values: Tensor, digits: int = 9) -> Tensor:
    """Values rounded to ``digits`` of their largest, so that sums which are equal on paper are ties."""
    scale = values.abs().amax(-1, keepdim=True).clamp_min(1e-300)
    return torch.round(values / scale, decimals=digits)


def bootstrap(one: Tensor, other: Tensor, seed: int) -> Tensor:
    """Rank correlations (resamples, …) of columns drawn with replacement: one (…, n) against other (…, n)."""
    n = one.shape[-1]
    drawn = torch.randint(n, (RESAMPLES, n), generator=generator(seed, RESAMPLES))
    return rank_correlation(one[..., drawn], other[..., drawn]).movedim(-1, 0)


def interval(samples: Tensor) -> tuple[float, float]:
    """The middle 95 % of samples (n,)."""
    low, high = torch.quantile(samples, torch.tensor([0.025, 0.975]).to(samples)).tolist()
    return low, high
