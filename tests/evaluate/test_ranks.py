"""Ranks, correlations and their bootstrap against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr

from pellucid.evaluate.ranks import bootstrap, correlation, interval, rank_correlation, ranks, tidy, within


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_ranks_share_ties(numbers: list[int]) -> None:
    given_numbers = torch.tensor(numbers, dtype=torch.float64)
    assert ranks(given_numbers).tolist() == pytest.approx(rankdata(numbers) - 1)


def test_correlations_are_those_of_scipy() -> None:
    one, other = torch.randn(2, 5, 40, dtype=torch.float64)
    other = other + one
    for i in range(5):
        assert float(correlation(one, other)[i]) == pytest.approx(pearsonr(one[i], other[i])[0])
        assert float(rank_correlation(one, other)[i]) == pytest.approx(spearmanr(one[i], other[i])[0])


def test_a_constant_side_correlates_with_nothing() -> None:
    assert float(correlation(torch.ones(4), torch.arange(4.0))) == 0


def test_within_leaves_no_group_a_mean() -> None:
    groups = torch.tensor([0, 0, 3, 3, 3])
    left = within(torch.randn(7, 5, dtype=torch.float64), groups)
    for group in (0, 3):
        assert left[:, groups == group].mean(1).abs().max() < 1e-12


def test_sums_that_are_equal_on_paper_are_ties() -> None:
    sums = torch.tensor([0.1 + 0.2, 0.3, 1.0], dtype=torch.float64)
    assert ranks(tidy(sums)).tolist() == [0.5, 0.5, 2]


def test_the_bootstrap_covers_the_value_and_repeats() -> None:
    one = torch.randn(128, dtype=torch.float64)
    other = one + torch.randn(128, dtype=torch.float64)
    samples = bootstrap(one, other, 0)
    low, high = interval(samples)
    assert low < float(rank_correlation(one, other)) < high
    assert 0.1 < high - low < 0.5
    assert torch.equal(samples, bootstrap(one, other, 0))
    assert not torch.equal(samples, bootstrap(one, other, 1))
    assert np.isfinite(samples.numpy()).all()
