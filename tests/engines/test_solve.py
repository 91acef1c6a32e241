"""From scores of coalitions to values of players."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.engines.coalitions import every, paired
from pellucid.engines.solve import exact_values, shapley_regression


@given(n=st.integers(1, 8), seed=st.integers(0, 50))
def test_axioms_of_the_shapley_value(n: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    z = every(n)
    one, two = (torch.randn(2**n, 1, generator=random, dtype=torch.float64) for _ in range(2))
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(exact_values(2 * one - two, n), 2 * exact_values(one, n) - exact_values(two, n), **close)
    order = torch.randperm(n, generator=random)
    index = (z[:, order].long() * 2 ** torch.arange(n)).sum(1)
    torch.testing.assert_close(exact_values(one[index], n)[order], exact_values(one, n), **close)
    without = (z.long() * 2 ** torch.arange(n) * (torch.arange(n) != 0)).sum(1)
    assert float(exact_values(one[without], n)[0].abs()) < 1e-12


def test_weights_are_exact_to_the_last_digit() -> None:
    scores = every(10).all(1).double()[:, None]
    assert np.abs(exact_values(scores, 10).numpy() - 0.1).max() < 1e-16


@pytest.mark.parametrize("budget", [20, 40, 80])
def test_a_regression_always_adds_up(budget: int) -> None:
    random = torch.Generator().manual_seed(1)
    design = paired(9, budget, 0)
    scores = torch.randn(len(design.coalitions), 3, generator=random, dtype=torch.float64)
    empty, full = torch.randn(2, 3, generator=random, dtype=torch.float64)
    values, error = shapley_regression(design, scores, empty, full)
    torch.testing.assert_close(values.sum(0), full - empty)
    assert values.shape == error.shape == (9, 3)
    assert bool((error >= 0).all())
