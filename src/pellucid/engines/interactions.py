"""Interactions: what parts do together, as linear functionals of a game. Terms are coalitions (p, n) bool."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from torch import Tensor

from pellucid.engines.coalitions import Design, every
from pellucid.engines.solve import sandwich

BLOCK = 2**22


def terms_up_to(n: int, order: int) -> Tensor:
    """All coalitions of 1 … ``order`` players (p, n), single players first.

    >>> terms_up_to(3, 2).int().tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    sizes = range(1, min(order, n) + 1)
    lists = [torch.tensor(list(combinations(range(n), size))) for size in sizes]
    return torch.cat([torch.zeros(len(each), n, dtype=torch.bool).scatter(1, each, True) for each in lists])


def mobius(scores: Tensor) -> Tensor:
    """m(T) = Σ_{S⊆T} (−1)^{|T|−|S|} v(S): from the scores (2ⁿ, batch) of ``every(n)``, in the same order.

    >>> mobius(torch.tensor([[0.0], [1.0], [2.0], [7.0]]))[:, 0].tolist()
    [0.0, 1.0, 2.0, 4.0]
    """
    found = scores.double().cpu().clone()
    half = 1
    while half < len(found):
        pairs = found.unflatten(0, (-1, 2, half))
        pairs[:, 1] -= pairs[:, 0]
        half *= 2
    return found


@dataclass(frozen=True)
class Index:
    """An interaction index up to an order, linear in the game.

    SII (Grabisch & Roubens 1999), STII (Sundararajan, Dhamdhere & Agarwal 2020), FSII (Tsai, Yeh & Ravikumar 2023), or
    the Möbius coefficients themselves.
    """

    name: str
    order: int

    def share(self, t: int, s: int) -> float:
        """How much m(S), |S| = s, counts for each term of t ≤ s players within S."""
        if self.name == "SII":
            return 1 / (s - t + 1)
        if self.name == "STII" and t == self.order:
            return 1 / comb(s, t)
        if self.name == "FSII" and s > self.order:
            k = self.order
            size = t * comb(k, t) * comb(s - 1, k) / ((k + t) * comb(s + k - 1, k + t))
            return size if (k - t) % 2 == 0 else -size
        return float(s == t)

    def from_mobius(self, m: Tensor, terms: Tensor) -> Tensor:
        """Terms (p, batch) from Möbius coefficients (2ⁿ, batch)."""
        n = terms.shape[1]
        z, sizes = every(n), every(n).sum(1)
        found = []
        for some in terms.split(max(1, BLOCK // 2**n)):
            t = some.sum(1)
            table = [[self.share(k, s) if s >= k else 0.0 for s in range(n + 1)] for k in range(self.order + 1)]
            inside = some.double() @ z.T.double() == t[:, None]
            found.append((torch.tensor(table, dtype=torch.float64)[t][:, sizes] * inside) @ m)
        return torch.cat(found)

    def of_boxes(self, terms: Tensor, shown: Tensor, hidden: Tensor, log_scale: Tensor | None = None) -> Tensor:
        """Terms (p, boxes) of the games [A ⊆ S, B ∩ S = ∅], one a row of ``shown`` A and ``hidden`` B.

        Such a box is a monomial, a leaf of a tree, or, where B is all that is not in A, one coalition. With each player
        there at rate q it is worth q^a (1 − q)^b; SII is the mean over q of its derivative by the term, STII that under
        the density k (1 − q)^{k−1}, and its lower orders the derivative at 0. ``log_scale`` (boxes,) multiplies.
        """
        one, other = (terms.double() @ each.T.double() for each in (shown, hidden))
        t = terms.sum(1, keepdim=True)
        p, q = shown.sum(1).double() - one, hidden.sum(1).double() - other
        extra = (t == self.order).double() * (self.order - 1 if self.name == "STII" else 0)
        log = torch.lgamma(p + 1) + torch.lgamma(q + extra + 1) - torch.lgamma(p + q + extra + 2)
        log = log + torch.log(extra + 1)
        if self.name != "SII":
            at_zero = torch.where(p == 0, 0.0, -torch.inf)
            log = torch.where(t == self.order, log, at_zero) if self.name == "STII" else at_zero
        log = log if log_scale is None else log + log_scale
        return torch.where(one + other == t, (1 - 2 * (other % 2)) * log.exp(), 0.0)


SHAPLEY = Index("SII", 1)


def faith_regression(
    design: Design, terms: Tensor, scores: Tensor, empty: Tensor, full: Tensor
) -> tuple[Tensor, Tensor]:
    """Faithful interactions (p, batch): the weighted regression on all terms under Σ = v(N) − v(∅), and its errors."""
    columns = (design.coalitions.double() @ terms.T.double() == terms.sum(1)).double()
    w, y = design.weights[:, None], scores.double().cpu() - empty.double().cpu()
    inverse = torch.linalg.pinv(columns.T @ (w * columns), hermitian=True)
    ones = inverse.sum(1, keepdim=True)
    projector = inverse - ones @ ones.T / ones.sum()
    values = projector @ (columns.T @ (w * y)) + ones / ones.sum() * (full - empty).double().cpu()
    residual = w * unshrunk(y - columns @ values, w * (columns @ projector), columns)
    return values, sandwich(design, projector, columns, residual, 0)


def unshrunk(residual: Tensor, weighted: Tensor, columns: Tensor) -> Tensor:
    """Residuals (k, batch) over √(1 − leverage), for sums and differences of complements apart: HC2.

    With many terms, the regression follows its own samples closely, and plain residuals are too small.
    """
    own = (weighted[0::2] * columns[0::2]).sum(1, keepdim=True)
    cross = (weighted[0::2] * columns[1::2]).sum(1, keepdim=True)
    sums, differences = residual[0::2] + residual[1::2], residual[0::2] - residual[1::2]
    sums = sums / (1 - own - cross).clamp_min(1e-3).sqrt()
    differences = differences / (1 - own + cross).clamp_min(1e-3).sqrt()
    return torch.stack([sums + differences, sums - differences], 1).flatten(0, 1) / 2
