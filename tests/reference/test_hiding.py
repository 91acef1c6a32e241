"""Occlusion, ablation and Shapley values against loops over windows, parts and orders."""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import OptionError
from tests.reference.plain import Array, Tanh3, close, rows

NET = Tanh3()
X = rows()
TORCH = torch.from_numpy(X)
CLASSES = [NET.predicted(x) for x in X]
DATA = rows(4, seed=6)


def value(x: Array, c: int, shown: tuple[int, ...], fill: Array) -> float:
    """The score with only ``shown`` of x, the rest taken from each row of ``fill``, averaged."""
    total = 0.0
    for row in np.atleast_2d(fill):
        mixed = row.copy()
        mixed[list(shown)] = x[list(shown)]
        total += NET.score(mixed, c) / len(np.atleast_2d(fill))
    return total


FILLS = {
    "zeros": (None, np.zeros(5)),
    "number": (0.4, np.full(5, 0.4)),
    "row": (torch.from_numpy(DATA[0]), DATA[0]),
    "data": (pl.Marginal(torch.from_numpy(DATA)), DATA),
}


@pytest.mark.parametrize("fill", FILLS)
def test_ablation(fill: str) -> None:
    given, plain = FILLS[fill]
    expected = [
        [NET.score(x, c) - value(x, c, tuple(j for j in range(5) if j != i), plain) for i in range(5)]
        for x, c in zip(X, CLASSES, strict=True)
    ]
    close(pl.Ablation(fill=given)(NET.module(), TORCH).values, expected)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 1), (3, 2), ((2, 3), (1, 2)), (4, 3)])
def test_occlusion(window: int | tuple[int, int], stride: int | tuple[int, int]) -> None:
    """Every place gets the mean over the windows that cover it; the last window is cut at the border."""
    net = Tanh3(inputs=2 * 5 * 6, seed=4)
    picture = np.random.default_rng(8).normal(size=(2, 5, 6))
    c = net.predicted(picture.ravel())
    (high, wide), (down, right) = np.broadcast_to(window, 2), np.broadcast_to(stride, 2)
    total, count, asked = np.zeros((5, 6)), np.zeros((5, 6)), 0
    tops = [i * down for i in range(max(0, -(-(5 - high) // down)) + 1)]
    lefts = [i * right for i in range(max(0, -(-(6 - wide) // right)) + 1)]
    for top in tops:
        for left in lefts:
            hidden = picture.copy()
            hidden[:, top : top + high, left : left + wide] = 0
            total[top : top + high, left : left + wide] += net.score(picture.ravel(), c) - net.score(hidden.ravel(), c)
            count[top : top + high, left : left + wide] += 1
            asked += 1
    assert count.min() >= 1
    module = nn.Sequential(nn.Flatten(), net.module())
    result = pl.Occlusion(window=window, stride=stride)(module, torch.from_numpy(picture)[None])
    close(result.values[0], np.broadcast_to(total / count, (2, 5, 6)))
    assert result.receipt.rows_forward == asked + 1


def test_occlusion_refuses_gaps() -> None:
    with pytest.raises(OptionError):
        pl.Occlusion(window=2, stride=3)(nn.Flatten(), torch.rand(1, 1, 8, 8))


def by_orders(x: Array, c: int, fill: Array, n: int = 5) -> Array:
    """The mean over all orders of what a player adds when it comes."""
    total = np.zeros(n)
    for order in permutations(range(n)):
        before = value(x, c, (), fill)
        for k, player in enumerate(order):
            after = value(x, c, order[: k + 1], fill)
            total[player] += after - before
            before = after
    return total / factorial(n)


def by_regression(x: Array, c: int, fill: Array, n: int = 5) -> Array:
    """Theorem 2 of Lundberg & Lee: weighted least squares over all coalitions, the two ends as constraints."""
    empty, full = value(x, c, (), fill), value(x, c, tuple(range(n)), fill)
    rows_, targets, weights = [], [], []
    for size in range(1, n):
        for members in combinations(range(n), size):
            z = np.zeros(n)
            z[list(members)] = 1
            rows_.append(z)
            targets.append(value(x, c, members, fill) - empty)
            weights.append((n - 1) / (comb(n, size) * size * (n - size)))
    z, y, w = np.array(rows_), np.array(targets), np.array(weights)[:, None]
    system = np.block([[z.T @ (w * z), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(z.T @ (w[:, 0] * y), full - empty))[:n]


@pytest.mark.parametrize("fill", FILLS)
def test_kernel_shap_is_the_shapley_value(fill: str) -> None:
    given, plain = FILLS[fill]
    result = pl.KernelSHAP(fill=given)(NET.module(), TORCH)
    close(result.values, [by_orders(x, c, plain) for x, c in zip(X, CLASSES, strict=True)], 1e-10)
    close(result.values, [by_regression(x, c, plain) for x, c in zip(X, CLASSES, strict=True)], 1e-8)
    assert result.standard_error is None
    assert float(result.gap.max()) < 1e-10


@pytest.mark.parametrize("budget", [12, 13, 20, 29, 31])
def test_kernel_shap_never_asks_for_more_than_its_budget(budget: int) -> None:
    result = pl.KernelSHAP(budget=budget)(NET.module(), TORCH[:1])
    assert result.receipt.rows_forward <= budget
    assert result.standard_error is not None
    assert float(result.gap.max()) < 1e-9
    assert pl.KernelSHAP(budget=32)(NET.module(), TORCH[:1]).receipt.rows_forward == 32


def test_sampled_kernel_shap_solves_its_regression() -> None:
    """The same constrained regression over the coalitions it drew, solved by another formula."""
    from pellucid.engines.coalitions import paired

    net, n, budget = Tanh3(inputs=8, seed=2), 8, 60
    x = rows(1, 8, seed=4)[0]
    c = net.predicted(x)
    with pl.settings(seed=6):
        result = pl.KernelSHAP(budget=budget)(net.module(), torch.from_numpy(x)[None])
    design = paired(n, budget - 2, 6)
    z, w = design.coalitions.double().numpy(), design.weights.numpy()[:, None]
    assert len(np.unique(z, axis=0)) == len(z)
    assert (z[0::2] + z[1::2] == 1).all()
    empty, full = net.score(0 * x, c), net.score(x, c)
    y = np.array([net.score(x * row, c) for row in z]) - empty
    system = np.block([[z.T @ (w * z), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    expected = np.linalg.solve(system, np.append(z.T @ (w[:, 0] * y), full - empty))[:n]
    close(result.values[0], expected, 1e-8)


def test_parts_share_their_value_or_each_bear_it() -> None:
    """A group of KernelSHAP is shared out among its elements; of Ablation, every element bears the whole."""
    groups = pl.Groups(torch.tensor([0, 0, 1, -1, 1]))
    for x, c, shap, left in zip(
        X,
        CLASSES,
        pl.KernelSHAP(features=groups)(NET.module(), TORCH).values,
        pl.Ablation(features=groups)(NET.module(), TORCH).values,
        strict=True,
    ):
        v = {
            s: value(x, c, tuple(sorted(s)), np.where(np.arange(5) == 3, x, 0))
            for s in ((), (0, 1), (2, 4), (0, 1, 2, 4))
        }
        one = ((v[0, 1] - v[()]) + (v[0, 1, 2, 4] - v[2, 4])) / 2
        two = ((v[2, 4] - v[()]) + (v[0, 1, 2, 4] - v[0, 1])) / 2
        close(shap, [one / 2, one / 2, two / 2, 0, two / 2], 1e-9)
        close(left, [v[0, 1, 2, 4] - v[2, 4]] * 2 + [v[0, 1, 2, 4] - v[0, 1], 0, v[0, 1, 2, 4] - v[0, 1]])
