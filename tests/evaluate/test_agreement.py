"""Agreement: with itself, with its negation, by hand, by a slow count, and with known coefficients."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.engines.points import generator
from pellucid.errors import EmptyError, OptionError, ShapeError
from pellucid.evaluate.metrics.agreement import MEASURES, pairwise

RANDOM = torch.randn(3, 12, generator=generator(0, 0), dtype=torch.float64)


def pair(one: Any, other: Any, **more: Any) -> dict[str, float]:
    found = pl.agreement([torch.as_tensor(one), torch.as_tensor(other)], **more)
    return {name: float(found.mean(name)[0, 1]) for name in found.measures}


def test_a_map_agrees_with_itself_and_its_negation_but_for_signs() -> None:
    assert list(pair(RANDOM, RANDOM).values()) == pytest.approx([1] * 6)
    turned = pair(RANDOM, -RANDOM)
    assert [turned.pop("SignAgreement"), turned.pop("SignedRankAgreement")] == [0, 0]
    assert list(turned.values()) == pytest.approx([1] * 4)


def test_values_by_hand() -> None:
    # tops of 3: {0, 1, 2} in order 0, 1, 2 and {0, 1, 3} in order 0, 3, 1
    found = pair([[4.0, 3.0, -2.0, 1.0]], [[4.0, -2.0, 1.0, 3.0]], k=3)
    assert found["FeatureAgreement"] == pytest.approx(2 / 3)
    assert found["RankAgreement"] == pytest.approx(1 / 3)
    assert found["SignAgreement"] == pytest.approx(1 / 3)
    assert found["SignedRankAgreement"] == pytest.approx(1 / 3)
    assert found["RankCorrelation"] == pytest.approx(1 - 6 * (0 + 1 + 1 + 4) / (4 * 15))
    assert found["PairwiseRankAgreement"] == pytest.approx(4 / 6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=9))
def test_pairs_in_the_same_order_are_counted_right_with_ties(pairs: list[tuple[int, int]]) -> None:
    one, other = (torch.tensor(each, dtype=torch.float64) for each in zip(*pairs, strict=True))
    order = [np.sign(abs(a[0]) - abs(b[0])) == np.sign(abs(a[1]) - abs(b[1])) for a, b in combinations(pairs, 2)]
    assert pairwise(one, other, 0) == pytest.approx(np.mean(order))


def test_unrelated_maps_agree_by_chance_only() -> None:
    found = pair(torch.randn(200, 20, generator=generator(1, 0)), torch.randn(200, 20, generator=generator(2, 0)), k=5)
    want = {"FeatureAgreement": 0.25, "RankAgreement": 0.05, "SignAgreement": 0.125, "SignedRankAgreement": 0.025}
    for name, chance in (want | {"RankCorrelation": 0, "PairwiseRankAgreement": 0.5}).items():
        assert found[name] == pytest.approx(chance, abs=0.05)


def test_methods_agree_on_a_linear_model_and_known_coefficients_stand_beside_them() -> None:
    net, x = nn.Linear(12, 1).double(), torch.ones(4, 12, dtype=torch.float64)
    results = [method(net, x) for method in (pl.IntegratedGradients(), pl.ExactShapley(), pl.Saliency())]
    found = pl.agreement(results, known=net.weight.detach()[0])
    assert found.names == ("IntegratedGradients", "ExactShapley", "Saliency", "known coefficients")
    assert np.allclose(found.mean("RankCorrelation"), 1)
    signs = found.mean("SignAgreement")
    assert signs[0, 1] == signs[0, 3] == 1
    assert np.isfinite(found.values).all(1).all(1).sum() >= 4 * 4
    figure = found.figure()
    assert figure.row_names == found.names
    assert figure.text()
    assert "rank correlation 1.00" in repr(found)
    assert len(found.to_frame()) == 6 * 6


def test_maps_of_sizes_have_no_signs_and_flat_maps_nothing() -> None:
    net, x = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 1)), torch.tensor([[1, 2, 3, 4, 5, 6]])
    sizes = pl.Saliency()(net, x)
    found = pl.agreement([sizes, torch.randn(1, 6)])
    if sizes.method.folding == "norm":
        assert np.isnan(found.mean("SignAgreement")[0, 1])
    assert np.isfinite(found.mean("RankCorrelation")[0, 1])
    flat = pl.agreement([torch.ones(1, 6), torch.randn(1, 6)])
    assert np.isnan(flat.values[:, 0]).all()


def test_pictures_of_other_resolutions_meet_on_the_finest() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.rand(2, 3, 8, 8)
    found = pl.agreement([pl.InputXGradient()(net, x, 0), pl.GradCAM()(net, x, 0)])
    assert found.values.shape == (6, 2, 2, 2)
    assert found.k == 16


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(EmptyError):
        pl.agreement([RANDOM])
    with pytest.raises(ShapeError):
        pl.agreement([RANDOM, RANDOM[:, :5]])
    with pytest.raises(ShapeError):
        pl.agreement([RANDOM, RANDOM[:2]])
    with pytest.raises(OptionError):
        pl.agreement([RANDOM, RANDOM]).mean("Agreement")


@pytest.mark.parametrize("name", MEASURES)
def test_metrics_against_known_coefficients_say_the_same(name: str) -> None:
    net, x = nn.Linear(12, 1).double(), torch.ones(3, 12, dtype=torch.float64)
    metric, truth = getattr(pl.metrics, name), RANDOM.flip(0)
    want = pl.agreement([RANDOM, truth]).of(name)[0, 1]
    assert metric(known=truth)(RANDOM, net, x).values == pytest.approx(want)
    assert metric(known=truth[0])(RANDOM[:1], net, x[:1]).value == pytest.approx(want[0])
    assert metric(known=RANDOM)(RANDOM, net, x).value == pytest.approx(1)
    assert metric()(RANDOM, net, x).reasons == ("no coefficients are known",)
    with pytest.raises(ShapeError):
        metric(known=torch.ones(5))(RANDOM, net, x)
    assert "same everywhere" in metric(known=truth)(torch.ones(3, 12), net, x).reasons[0]
