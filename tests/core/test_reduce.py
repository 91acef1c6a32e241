"""Streaming reducers against NumPy, whatever the sizes of the pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.reduce import Keep, Mean, Moments, Weighted


def fed(reducer: Any, values: Any, scores: Any, sizes: list[int]) -> Any:
    """Fill a reducer with pieces of some sizes."""
    start, left = 0, list(sizes)
    while start < len(values):
        size = left.pop(0) if left else 3
        part = slice(start, start + size)
        draws = torch.arange(len(values))[part]
        reducer.update(draws, torch.from_numpy(values[part].copy()), torch.from_numpy(scores[part].copy()))
        start += size
    return reducer.result()


@given(draws=st.integers(2, 17), sizes=st.lists(st.integers(1, 6), max_size=6), seed=st.integers(0, 99))
def test_reducers(draws: int, sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    values, scores = random.normal(size=(draws, 2, 3)) + 100, random.normal(size=(draws, 2))
    close = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(fed(Mean(), values, scores, sizes), values.mean(0), **close)
    weights = random.normal(size=draws)
    weighted = fed(Weighted(torch.from_numpy(weights)), values, scores, sizes)
    np.testing.assert_allclose(weighted, (weights[:, None, None] * values).sum(0), **close)
    by_row = random.normal(size=(draws, 2))
    weighted = fed(Weighted(torch.from_numpy(by_row)), values, scores, sizes)
    np.testing.assert_allclose(weighted, (by_row[:, :, None] * values).sum(0), **close)
    moments = fed(Moments(), values, scores, sizes)
    np.testing.assert_allclose(moments.mean, values.mean(0), **close)
    np.testing.assert_allclose(moments.variance, values.var(0, ddof=1), rtol=1e-7)
    np.testing.assert_allclose(moments.standard_error, values.std(0, ddof=1) / np.sqrt(draws), rtol=1e-7)
    kept, kept_scores = fed(Keep(), values, scores, sizes)
    np.testing.assert_array_equal(kept, values)
    np.testing.assert_array_equal(kept_scores, scores)


def test_a_single_draw_has_no_spread() -> None:
    moments = fed(Moments(), np.ones((1, 1, 1)), np.ones((1, 1)), [])
    assert float(moments.variance) == 0
    assert float(moments.standard_error) == 0
