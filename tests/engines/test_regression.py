"""Weighted regression against the normal equations, scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.engines.regression import forward_selection, highest_weights, lasso_path, weighted_ridge

SELECTIONS = (forward_selection, highest_weights, lasso_path)


def sample(
    seed: int, *, designs: int = 1, k: int = 40, n: int = 6, batch: int = 3
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    z = (torch.rand(designs, k, n, generator=random) < 0.5).double()
    y = torch.randn(k, batch, generator=random, dtype=torch.float64)
    return z, y, torch.rand(designs, k, generator=random, dtype=torch.float64) + 0.05


@pytest.mark.parametrize("penalty", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("designs", [1, 3])
def test_slopes_intercept_and_fit_are_those_of_the_normal_equations(penalty: float, designs: int) -> None:
    """The intercept is a column of ones that is not penalized."""
    z, y, w = sample(0, designs=designs)
    line = weighted_ridge(z, y, w, penalty)
    for row in range(3):
        zi, wi, yi = z[row % designs].numpy(), w[row % designs].numpy(), y[:, row].numpy()
        x = np.column_stack([np.ones(len(yi)), zi])
        normal = x.T @ (wi[:, None] * x) + penalty * np.diag([0.0] + [1.0] * 6)
        beta = np.linalg.solve(normal, x.T @ (wi * yi))
        residual = yi - x @ beta
        np.testing.assert_allclose(line.slopes[:, row], beta[1:], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(line.intercept[row], beta[0], rtol=1e-9)
        spread = (wi * (yi - np.average(yi, weights=wi)) ** 2).sum()
        np.testing.assert_allclose(line.r2[row], 1 - (wi * residual**2).sum() / spread, rtol=1e-9)
        leverage = wi * np.einsum("ki,ij,kj->k", x, np.linalg.inv(normal), x)
        meat = x.T @ ((wi * residual / (1 - leverage)) ** 2 * x.T).T
        variance = np.linalg.inv(normal) @ meat @ np.linalg.inv(normal)
        np.testing.assert_allclose(line.error[:, row], np.sqrt(np.diag(variance))[1:], rtol=1e-8)


def test_the_weight_of_a_sample_is_how_often_it_counts() -> None:
    z, y, _ = sample(1, k=20)
    w = torch.arange(20).remainder(3).add(1).double()[None]
    often = torch.arange(20).repeat_interleave(w[0].long())
    one, several = weighted_ridge(z, y, w, 0.7), weighted_ridge(z[:, often], y[often], torch.ones(1, len(often)), 0.7)
    torch.testing.assert_close(one.slopes, several.slopes)
    torch.testing.assert_close(one.r2, several.r2)


@given(seed=st.integers(0, 30), penalty=st.sampled_from([0.0, 1.0]))
def test_columns_that_say_nothing_get_nothing(seed: int, penalty: float) -> None:
    """Constant columns, also where they are the only ones, and a constant response."""
    z, y, w = sample(seed, k=12, n=4)
    z[..., 1], z[..., 2] = 1.0, 0.0
    line = weighted_ridge(z, y, w, penalty)
    assert float(line.slopes[1:3].abs().max()) < 1e-12
    assert float(line.error[1:3].abs().max()) < 1e-12
    nothing = weighted_ridge(torch.ones(1, 12, 4), y, w, penalty)
    assert float(nothing.slopes.abs().max()) < 1e-9
    flat = weighted_ridge(z, torch.full((12, 2), 0.3, dtype=torch.float64), w, penalty)
    assert float(flat.slopes.abs().max()) == 0
    assert flat.r2.tolist() == [1.0, 1.0]
    assert flat.intercept.tolist() == [0.3, 0.3]


def test_columns_that_are_alike_share() -> None:
    z, y, w = sample(3, n=3)
    z[..., 2] = z[..., 0]
    line = weighted_ridge(z, y, w)
    torch.testing.assert_close(line.slopes[0], line.slopes[2])
    torch.testing.assert_close(2 * line.slopes[0], weighted_ridge(z[..., :2], y, w).slopes[0])


def explained(z: torch.Tensor, y: torch.Tensor, w: torch.Tensor, columns: tuple[int, ...]) -> float:
    return float(weighted_ridge(z[..., list(columns)], y, w).r2[0])


@given(seed=st.integers(0, 30), count=st.integers(1, 5))
def test_forward_selection_adds_what_raises_the_fit_most(seed: int, count: int) -> None:
    z, y, w = sample(seed, batch=1)
    kept: tuple[int, ...] = ()
    for _ in range(count):
        others = [i for i in range(6) if i not in kept]
        kept += (max(others, key=lambda i: explained(z, y, w, (*kept, i))),)
    assert forward_selection(z, y, w, count)[0].nonzero().flatten().tolist() == sorted(kept)


@pytest.mark.parametrize("select", SELECTIONS)
@pytest.mark.parametrize("designs", [1, 4])
def test_every_selection_finds_the_columns_that_matter(select: object, designs: int) -> None:
    z, _, w = sample(5, designs=designs, k=80, n=9, batch=4)
    pairs = [(1, 4), (1, 7), (4, 7), (0, 8)]
    true = torch.zeros(4, 9, dtype=torch.float64)
    for row, pair in enumerate(pairs):
        true[row, list(pair)] = torch.tensor([2.0, -1.5], dtype=torch.float64)
    y = (z.expand(4, -1, -1) @ true[..., None])[..., 0].T
    assert torch.equal(select(z, y, w, 2), true != 0)  # type: ignore[operator]


def test_the_lasso_path_is_asked_for_few_and_for_columns_that_are_alike() -> None:
    z, y, w = sample(6)
    z[..., 5] = z[..., 0]
    for count in range(1, 6):
        assert int(lasso_path(z, y, w, count).sum(1).max()) <= count
    assert forward_selection(z, y, w, 6).all()
    assert int(lasso_path(torch.ones(1, 40, 6), y, w, 2).sum()) == 0
