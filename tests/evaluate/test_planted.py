"""Verdicts on a model whose truth is planted: how often wrong maps are believed, and right ones."""

from __future__ import annotations

import pytest
import torch

import pellucid as pl
from pellucid.core.evidence import Evidence
from tests.evaluate.planted import Restless, Wrong, spots


def test_right_methods_are_supported_and_rank_above_wrong_ones() -> None:
    model, pictures = spots()
    for row in range(3):
        x = pictures[row : row + 1]
        right = [method(model, x) for method in (pl.IntegratedGradients(), pl.Occlusion(), pl.KernelSHAP(budget=400))]
        values = right[0].values
        noisy = values + torch.randn(values.shape) * values.std() * 2
        shuffled = values.flatten()[torch.randperm(values.numel())].reshape(values.shape)
        judged = pl.check([*right, noisy, shuffled], model, x)
        assert [each.verdict for each in judged[:3]] == ["supported"] * 3
        agreement = [each.check("faithfulness").value for each in judged]
        assert agreement[0] > agreement[3] > agreement[4]


@pytest.mark.slow
def test_wrong_maps_are_called_faithful_in_one_of_twenty_and_never_supported() -> None:
    """Maps of nothing, each for another picture; 120 of them, 5 % and twice the standard error of such a share."""
    model, pictures = spots()
    x = pictures[:20]
    found: list[Evidence] = []
    for number in range(6):
        found += pl.check(Wrong(number=number)(model, x), model)
    passed = [evidence.check("faithfulness").passed for evidence in found]
    assert len(passed) == 120
    assert passed.count(None) <= 6
    assert passed.count(True) / len(passed) <= 0.05 + 2 * (0.05 * 0.95 / 120) ** 0.5
    assert not any(evidence.verdict == "supported" for evidence in found)


@pytest.mark.slow
def test_foreign_wrong_maps_are_hardly_ever_supported() -> None:
    model, pictures = spots()
    verdicts = []
    for number in range(6):
        values = Wrong(number=number)(model, pictures[:20]).values
        verdicts += [evidence.verdict for evidence in pl.check(values, model, pictures[:20])]
    assert verdicts.count("supported") / len(verdicts) <= 0.05
    assert verdicts.count("not supported") / len(verdicts) >= 0.85


@pytest.mark.slow
def test_the_verdict_hardly_depends_on_the_seed() -> None:
    model, pictures = spots()
    right, wrong = pl.IntegratedGradients()(model, pictures[:1]), Restless()(model, pictures[:1])
    for seed in range(8):
        with pl.settings(seed=seed):
            judged = pl.check([right, wrong], model)
        assert [each.verdict for each in judged] == ["supported", "not supported"]
