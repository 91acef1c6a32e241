"""Solves: from the scores of coalitions to values of players, in float64."""

from __future__ import annotations

from math import factorial

import torch
from torch import Tensor

from pellucid.engines.coalitions import Design, every


def shapley_exact(scores: Tensor, n: int) -> Tensor:
    """Shapley values (n, batch) from the scores (2ⁿ, batch) of ``every(n)``.

    φᵢ = Σ_{S∋i} (s−1)! (n−s)! / n! · v(S) − Σ_{S∌i} s! (n−s−1)! / n! · v(S)
    """
    z, size = every(n), every(n).sum(1)
    with_i = [factorial(s - 1) * factorial(n - s) / factorial(n) if s else 0.0 for s in range(n + 1)]
    without = [factorial(s) * factorial(n - s - 1) / factorial(n) if s < n else 0.0 for s in range(n + 1)]
    there, away = (torch.tensor(each, dtype=torch.float64)[size][:, None] for each in (with_i, without))
    return torch.where(z, there, -away).T @ scores.double().cpu()


def shapley_regression(design: Design, scores: Tensor, empty: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
    """Shapley values (n, batch) as the constrained weighted regression on coalitions, and their standard errors.

    Minimizes Σ w_S (v(S) − v(∅) − Σ_{i∈S} φᵢ)² under Σ φᵢ = v(N) − v(∅). The errors are the sandwich estimate over
    pairs, with the finite-population factor of sampling without replacement.
    """
    z, w = design.coalitions.double(), design.weights[:, None]
    y = scores.double().cpu() - empty.double().cpu()
    total = (full - empty).double().cpu()
    inverse = torch.linalg.pinv(z.T @ (w * z), hermitian=True)
    ones = inverse.sum(1, keepdim=True)
    projector = inverse - ones @ ones.T / ones.sum()
    values = projector @ (z.T @ (w * y)) + ones / ones.sum() * total
    residual = w * (y - z @ values)
    pairs, n = len(z) // 2, z.shape[1]
    score = (z.T[:, :, None] * residual[None]).unflatten(1, (pairs, 2)).sum(2)
    influence = torch.einsum("ij,jpb->ipb", projector, score)
    freedom = pairs / max(pairs - (n - 1), 1)
    left = design.open.unflatten(0, (pairs, 2))[:, 0]
    error = (freedom * (left[None, :, None] * influence.square()).sum(1)).sqrt()
    return values, error
