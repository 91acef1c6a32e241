"""Solves: from the scores of coalitions to values of players, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import factorial
from typing import Any

import torch
from torch import Tensor

from pellucid.engines.coalitions import Design, every


@dataclass(frozen=True, eq=False)
class Solved:
    """Values of players (n, batch), their standard errors where they were sampled, and the score of nobody."""

    values: Tensor
    error: Tensor | None = None
    base: Tensor | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def settled(self, tolerance: float) -> Tensor:
        """(batch,) whether every 95 % interval is narrower than a share of the largest value."""
        if self.error is None:
            return torch.ones(self.values.shape[1], dtype=torch.bool)
        return 1.96 * self.error.amax(0) <= tolerance * self.values.abs().amax(0)

    def where(self, rows: Tensor, other: Solved) -> Solved:
        """This solution for the examples ``rows`` (batch,) bool, the other's for the rest."""

        def pick(mine: Any, others: Any) -> Any:
            if isinstance(mine, Tensor) and isinstance(others, Tensor) and mine.shape[-1:] == rows.shape:
                return torch.where(rows, mine, others)
            return others

        extra = {name: pick(self.extra.get(name), each) for name, each in other.extra.items()}
        return Solved(pick(self.values, other.values), pick(self.error, other.error), other.base, extra)


Weights = Callable[[int, int], float]


def shapley_weight(n: int, s: int) -> float:
    """How much a player's step into s others counts for its Shapley value: s! (n − s − 1)! / n!.

    >>> sum(shapley_weight(3, s) * count for s, count in enumerate((1, 2, 1)))
    1.0
    """
    return factorial(s) * factorial(n - s - 1) / factorial(n)


def banzhaf_weight(n: int, s: int) -> float:
    """How much a player's step into s others counts for its Banzhaf value: every coalition alike."""
    return 0.5 ** (n - 1)


def exact_values(scores: Tensor, n: int, weight: Weights = shapley_weight) -> Tensor:
    """Values (n, batch) from the scores (2ⁿ, batch) of ``every(n)``: Σ_{S∌i} p(s) (v(S with i) − v(S))."""
    z, size = every(n), every(n).sum(1)
    with_i = [weight(n, s - 1) if s else 0.0 for s in range(n + 1)]
    without = [weight(n, s) if s < n else 0.0 for s in range(n + 1)]
    there, away = (torch.tensor(each, dtype=torch.float64)[size][:, None] for each in (with_i, without))
    scores = scores.double().cpu()
    return torch.where(z, there, -away).T @ (scores - scores[:1])


def shapley_regression(design: Design, scores: Tensor, empty: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
    """Shapley values (n, batch) as the constrained weighted regression on coalitions, and their standard errors.

    Minimizes Σ w_S (v(S) − v(∅) − Σ_{i∈S} φᵢ)² under Σ φᵢ = v(N) − v(∅).
    """
    z, w = design.coalitions.double(), design.weights[:, None]
    y = scores.double().cpu() - empty.double().cpu()
    total = (full - empty).double().cpu()
    inverse = torch.linalg.pinv(z.T @ (w * z), hermitian=True)
    ones = inverse.sum(1, keepdim=True)
    projector = inverse - ones @ ones.T / ones.sum()
    values = projector @ (z.T @ (w * y)) + ones / ones.sum() * total
    return values, sandwich(design, projector, z, w * (y - z @ values), z.shape[1] - 1)


def sandwich(design: Design, inverse: Tensor, columns: Tensor, residual: Tensor, freedom: int) -> Tensor:
    """Standard errors (p, batch) of a regression over complementary pairs drawn without replacement.

    ``inverse`` (p, p) is that of the normal equations on ``columns`` (k, p), ``residual`` (k, batch) is weighted;
    ``freedom`` counts what was fitted.
    """
    one, other = (inverse @ columns[start::2].T for start in (0, 1))
    r, s = residual[0::2], residual[1::2]
    left = design.open
    square = (left * one.square()) @ r.square() + (left * other.square()) @ s.square()
    square = square + 2 * (left * one * other) @ (r * s)
    pairs = len(r)
    return (square.clamp_min(0) * (pairs / max(pairs - freedom, 1))).sqrt()
