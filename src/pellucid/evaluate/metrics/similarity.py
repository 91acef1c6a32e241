"""How similar two maps are: rank correlation, cosine, structural similarity."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.ranks import rank_correlation

SIMILARITIES: Final = ("rank", "rank of sizes", "cosine", "structure")
WINDOW: Final = 7


def similarity(kind: str, one: Tensor, other: Tensor, shape: tuple[int, ...]) -> float:
    """The similarity of two maps (elements,) of this ``shape``; Untestable where it has no value."""
    if kind == "rank":
        return float(rank_correlation(one, other))
    if kind == "rank of sizes":
        return float(rank_correlation(one.abs(), other.abs()))
    if kind == "cosine":
        size = one.norm() * other.norm()
        return float(one @ other / size) if float(size) else 0.0
    if len(shape) < 2 or min(shape[-2:]) < WINDOW:
        raise Untestable(f"structural similarity is of pictures of at least {WINDOW} × {WINDOW}")
    return structure(one.reshape(1, -1, *shape[-2:]), other.reshape(1, -1, *shape[-2:]))


def structure(one: Tensor, other: Tensor) -> float:
    """Mean structural similarity (SSIM; Wang et al. 2004) of maps (1, channels, height, width), each scaled to [0, 1].

    Windows of 7 × 7 with equal weights and unbiased covariances.
    """
    one, other = scaled(one), scaled(other)
    mean, more = (avg_pool2d(each, WINDOW, 1) for each in (one, other))
    fair = WINDOW**2 / (WINDOW**2 - 1)
    spread, more_spread, joint = (
        fair * (avg_pool2d(a * b, WINDOW, 1) - avg_pool2d(a, WINDOW, 1) * avg_pool2d(b, WINDOW, 1))
        for a, b in ((one, one), (other, other), (one, other))
    )
    c, d = 0.01**2, 0.03**2
    top = (2 * mean * more + c) * (2 * joint + d)
    return float((top / ((mean**2 + more**2 + c) * (spread + more_spread + d))).mean())


def scaled(values: Tensor) -> Tensor:
    """Values brought to [0, 1]; zeros where all are alike."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if bool(high > low) else torch.zeros_like(values)
