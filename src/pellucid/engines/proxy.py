"""Proxies: quick models of a game whose values are known in closed form, and estimates adjusted by them.

A linear functional of a game v is that of a proxy f, plus that of v − f estimated from samples. Whatever the proxy, the
estimate is unbiased, because each sample is judged by a proxy that has not seen it (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, comb, log2
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pellucid.engines.coalitions import Design, Stratum
from pellucid.engines.interactions import BLOCK, Index

FOLDS = 5
PENALTIES = torch.logspace(-6, 3, 19, dtype=torch.float64)


class Proxy(Protocol):
    """A fitted proxy."""

    def __call__(self, z: Tensor) -> Tensor:
        """Scores (k, batch) of coalitions (k, n)."""
        ...

    def values(self, index: Index, terms: Tensor) -> Tensor:
        """Terms (p, batch), in closed form."""
        ...


Learn = Callable[[Tensor, Tensor], Proxy]


@dataclass(frozen=True, eq=False)
class Quadratic:
    """f(x) = c + Σ wᵢ xᵢ + Σ_{i<j} wᵢⱼ xᵢ xⱼ at x = ±½; ``pair`` (n, n, batch) is symmetric with a zero diagonal."""

    constant: Tensor
    single: Tensor
    pair: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        x = z.double() - 0.5
        return self.constant + x @ self.single + torch.einsum("ki,ijb,kj->kb", x, self.pair, x) / 2

    def values(self, index: Index, terms: Tensor) -> Tensor:
        found, sizes = torch.zeros(len(terms), self.single.shape[1], dtype=torch.float64), terms.sum(1)
        beside = self.pair.sum(1)
        alone = index.share(1, 1) * (self.single - beside / 2) + index.share(1, 2) * beside
        found[sizes == 1] = alone[terms[sizes == 1].int().argmax(1)]
        i, j = terms[sizes == 2].nonzero()[:, 1].reshape(-1, 2).T
        found[sizes == 2] = index.share(2, 2) * self.pair[i, j]
        return found


def linear(z: Tensor, y: Tensor) -> Quadratic:
    """Ridge regression on single players; rows of z come in complementary pairs."""
    x, odd = z[0::2].double() - 0.5, (y[0::2] - y[1::2]) / 2
    basis, size, _ = torch.linalg.svd(x, full_matrices=False)
    n = z.shape[1]
    none = torch.zeros(n, n, y.shape[1], dtype=torch.float64)
    return Quadratic(y.mean(0), x.T @ ridge(basis, size.square(), odd), none)


def quadratic(z: Tensor, y: Tensor) -> Quadratic:
    """Ridge regression on players and pairs of them: one tells complements apart, the other does not."""
    x, even = z[0::2].double() - 0.5, (y[0::2] + y[1::2]) / 2
    gram = ((x @ x.T).square() - z.shape[1] / 16) / 2
    middle = gram.mean(0)
    size, basis = torch.linalg.eigh(gram - middle - middle[:, None] + middle.mean())
    dual = ridge(basis, size.clamp_min(0), even - even.mean(0))
    dual = dual - dual.mean(0)
    pair = torch.einsum("ki,kb,kj->ijb", x, dual, x)
    pair.diagonal(dim1=0, dim2=1).zero_()
    return Quadratic(even.mean(0) - middle @ dual, linear(z, y).single, pair)


def ridge(basis: Tensor, size: Tensor, y: Tensor) -> Tensor:
    """Dual coefficients (m, batch) of ridge regression, the penalty of each column chosen by leaving one out.

    ``basis`` (m, r) and ``size`` (r,) are the eigenvectors and eigenvalues of the samples' inner products.
    """
    turned = basis.T @ y
    best, found = torch.full((y.shape[1],), torch.inf, dtype=torch.float64), torch.zeros_like(y)
    for penalty in PENALTIES * (size.sum() / len(y)).clamp_min(1e-12):
        kept = size / (size + penalty)
        left = (y - basis @ (kept[:, None] * turned)) / (1 - basis.square() @ kept).clamp_min(1e-9)[:, None]
        missed = left.square().sum(0)
        found = torch.where(missed < best, basis @ (turned / (size + penalty)[:, None]), found)
        best = torch.minimum(missed, best)
    return found


@dataclass(frozen=True, eq=False)
class Boosted:
    """A line, and boosted trees on what it leaves, one ensemble (with its unit) an example.

    Every leaf is worth its weight where some players are shown and some are hidden.
    """

    line: Quadratic
    models: tuple[tuple[Any, float], ...]

    def __call__(self, z: Tensor) -> Tensor:
        rows = np.asarray(z, dtype=np.float32)
        trees = np.stack([unit * model.predict(rows) for model, unit in self.models], 1)
        return self.line(z) + torch.from_numpy(trees)

    def values(self, index: Index, terms: Tensor) -> Tensor:
        columns = []
        for model, unit in self.models:
            weight, shown, hidden = leaves(model, terms.shape[1])
            blocks = terms.split(max(1, BLOCK // max(len(weight), 1)))
            columns.append(unit * torch.cat([index.of_boxes(some, shown, hidden) @ weight for some in blocks]))
        return self.line.values(index, terms) + torch.stack(columns, 1)


def boosted(z: Tensor, y: Tensor) -> Boosted:
    """Gradient boosting on what a line leaves, rounded to 2⁻¹⁶ of the largest: no split hangs on a last digit."""
    from sklearn.ensemble import GradientBoostingRegressor

    line, rows, models = linear(z, y), np.asarray(z, dtype=np.float32), []
    largest = y.abs().amax(0)
    for column, most in zip((y - line(z)).T, largest.tolist(), strict=True):
        unit = 2.0 ** (ceil(log2(most)) - 16) if most > 0 else 1.0
        model = GradientBoostingRegressor(max_depth=4, subsample=0.5, random_state=0)
        models.append((model.fit(rows, np.asarray((column / unit).round())), unit))
    return Boosted(line, tuple(models))


def leaves(model: Any, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (leaves,), shown and hidden (leaves, n) of all leaves of an ensemble."""
    weights, sides = [], []
    for (tree,) in model.estimators_:
        nodes = tree.tree_
        box = np.zeros((2, nodes.node_count, n), dtype=bool)
        for node in np.flatnonzero(nodes.children_left >= 0):  # parents come before their children
            for side, child in enumerate((nodes.children_right[node], nodes.children_left[node])):
                box[:, child] = box[:, node]
                box[side, child, nodes.feature[node]] = True
        ends = nodes.children_left < 0
        weights.append(model.learning_rate * nodes.value[ends, 0, 0])
        sides.append(box[:, ends])
    shown, hidden = torch.from_numpy(np.concatenate(sides, 1))
    return torch.from_numpy(np.concatenate(weights)), shown, hidden


PROXIES: dict[str, Learn] = {"tree": boosted, "linear": linear, "quadratic": quadratic}


def root_mass(n: int, s: int) -> float:
    """How often to draw size s for Shapley values: as much as its coalitions count in them, √(1/s + 1/(n − s))."""
    return (1 / s + 1 / (n - s)) ** 0.5 * (1 + (2 * s == n))


def mixed_mass(n: int, s: int) -> float:
    """How often to draw size s for interactions: small and large sizes count more, and every size gets its part."""
    harmonic = sum(1 / k for k in range(1, n))
    return (1 / (s * (n - s)) * n / (2 * harmonic) + 1 / (n - 1)) * (1 + (2 * s == n))


def adjusted(
    design: Design, scores: Tensor, empty: Tensor, full: Tensor, index: Index, terms: Tensor, learn: Learn
) -> tuple[Tensor, Tensor]:
    """Terms (p, batch) of an index and their standard errors: those of proxies, and what the proxies missed.

    A fold's proxy is fitted without the fold; what it was fitted on counts as it is, and the fold stands for the rest.
    """
    z, y = design.coalitions, scores.double().cpu() - empty.double().cpu()
    n, sampled = z.shape[1], [len(each.pairs) // 2 for each in design.strata if len(each.pairs) < 2 * each.there]
    folds = min(FOLDS, max(2, min(sampled, default=FOLDS)))
    fold = torch.cat([(torch.arange(len(each.pairs)) // 2) % folds for each in design.strata])
    ends = torch.tensor([[False] * n, [True] * n])
    at_ends = torch.stack([torch.zeros_like(y[0]), (full - empty).double().cpu()])
    known, missed, own = torch.zeros(len(terms), y.shape[1], dtype=torch.float64), torch.zeros_like(y), y.clone()
    for k in range(folds):
        proxy = learn(z[fold != k], y[fold != k])
        left = y - proxy(z)
        weight = torch.cat([stands_for(each, k, folds) for each in design.strata])[:, None]
        known += proxy.values(index, terms) / folds
        missed += weight * left / folds
        at_ends -= proxy(ends) / folds
        average = weight / folds + (folds - 1) / folds * (-log_counts(z)).exp()[:, None]
        own = torch.where(fold[:, None] == k, average * left, own)
    values, errors = [], []
    for some in terms.split(max(1, BLOCK // len(z))):
        counts = index.of_boxes(some, z, ~z, log_counts(z))
        values.append(counts @ missed + index.of_boxes(some, ends, ~ends) @ at_ends)
        errors.append(spread(design, counts, own))
    return known + torch.cat(values), torch.cat(errors)


def log_counts(z: Tensor) -> Tensor:
    """(k,) log of how many coalitions are as large as each."""
    n, s = torch.tensor(float(z.shape[1]), dtype=torch.float64), z.sum(1).double()
    return torch.lgamma(n + 1) - torch.lgamma(s + 1) - torch.lgamma(n - s + 1)


def stands_for(stratum: Stratum, k: int, folds: int) -> Tensor:
    """(rows,) how many coalitions each drawn one stands for in fold k, as a share of those of its size.

    Drawing was without replacement, so the fold is a sample of all that the other folds left. Where a size has no pair
    in the fold, all of its pairs stand for all there are.
    """
    drawn, there = len(stratum.pairs) // 2, stratum.there
    count = comb(stratum.pairs.shape[1], int(stratum.pairs[0].sum()))
    mine = (torch.arange(2 * drawn) // 2) % folds == k
    here = len(range(k, drawn, folds))
    if here == 0 or drawn == there:
        return torch.full((2 * drawn,), there / (drawn * count), dtype=torch.float64)
    return torch.where(mine, (there - drawn + here) / (here * count), 1 / count).double()


def spread(design: Design, counts: Tensor, residual: Tensor) -> Tensor:
    """Standard errors (p, batch) of Σ counts (p, k) · residual (k, batch), over pairs within each size."""
    square = torch.zeros(len(counts), residual.shape[1], dtype=torch.float64)
    start = 0
    for stratum in design.strata:
        stop, drawn = start + len(stratum.pairs), len(stratum.pairs) // 2
        (a, b), (r, s) = ((each[:, start:stop:2], each[:, start + 1 : stop : 2]) for each in (counts, residual.T))
        total = a.square() @ r.T.square() + b.square() @ s.T.square() + 2 * (a * b) @ (r * s).T
        if drawn > 1:
            total = (total - (a @ r.T + b @ s.T).square() / drawn) * drawn / (drawn - 1)
        square += (1 - drawn / stratum.there) * total.clamp_min(0)
        start = stop
    return square.sqrt()
