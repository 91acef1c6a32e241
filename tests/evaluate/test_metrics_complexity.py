"""Complexity: exact values, bounds, and that scale and sign do not matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl

M = pl.metrics


def value(metric: Any, values: list[float] | Tensor) -> Any:
    row = torch.as_tensor(values, dtype=torch.float64)[None]
    return metric(row, pl.Model(nn.Linear(row.shape[1], 1).double()), torch.ones_like(row)).value


def test_even_and_one_place_maps_are_the_ends() -> None:
    for n in (2, 5, 12):
        even, one = [-1.0] * n, [0.0] * (n - 1) + [-3.0]
        assert value(M.Gini(), even) == pytest.approx(0, abs=1e-12)
        assert value(M.Gini(), one) == pytest.approx(1 - 1 / n)
        assert value(M.Entropy(), even) == pytest.approx(math.log(n))
        assert value(M.Entropy(), one) == pytest.approx(0, abs=1e-12)
        assert value(M.EffectiveSize(), even) == math.ceil(0.8 * n - 1e-9)
        assert value(M.EffectiveSize(), one) == 1


def slow_gini(values: np.ndarray) -> float:
    """The mean difference of two places over twice the mean: another way to the same number."""
    sizes = np.abs(values)
    return float(np.abs(sizes[:, None] - sizes).mean() / (2 * sizes.mean()))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=2, max_size=9), st.floats(0.1, 9))
def test_against_another_formula_and_whatever_the_scale(values: list[float], scale: float) -> None:
    if not any(values):
        assert value(M.Gini(), values) is None
        return
    assert value(M.Gini(), values) == pytest.approx(slow_gini(np.array(values)), abs=1e-9)
    for metric in (M.Gini(), M.Entropy()):
        assert value(metric, [-scale * each for each in values]) == pytest.approx(value(metric, values), abs=1e-9)


def test_effective_size_counts_the_largest_parts_up_to_the_share() -> None:
    assert value(M.EffectiveSize(), [5.0, -3.0, 1.0, 1.0]) == 2
    assert value(M.EffectiveSize(share=0.81), [5.0, -3.0, 1.0, 1.0]) == 3
    assert value(M.EffectiveSize(share=1.0), [5.0, -3.0, 1.0, 1.0]) == 4


def test_pictures_are_read_by_pixel_and_say_nothing_when_empty() -> None:
    x, net = torch.rand(2, 3, 6, 6), pl.Model(nn.Sequential(nn.Conv2d(3, 2, 6), nn.Flatten()))
    values = torch.zeros(2, 3, 6, 6)
    values[0, :, 2, 3] = 1
    found = M.Gini()(values, net, x, target=0)
    assert found.values[0] == pytest.approx(1 - 1 / 36)
    assert np.isnan(found.values[1])
    assert found.reasons == ("the map is zero everywhere",)
    assert found.better == "neither"


def test_one_part_has_no_complexity() -> None:
    assert value(M.Entropy(), [2.0]) is None
