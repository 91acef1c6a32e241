"""Weights: maps that do not depend on them are found out; the model itself is never touched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.evaluate.repeat import lighter
from pellucid.evaluate.sanity import likeness
from pellucid.evaluate.scrambled import permuted, scrambles
from pellucid.evaluate.thresholds import CALIBRATION
from tests.evaluate.planted import Edges, Patches, Wrong, linear, spots


def digits() -> tuple[Any, Tensor]:
    return pl.load("demo:digits"), torch.as_tensor(parts("digits").examples[:1])


@pytest.mark.parametrize("method", [Edges(), Wrong()], ids=["edges", "nothing"])
def test_a_method_that_never_asks_the_model_fails(method: Any) -> None:
    model, pictures = digits()
    check = pl.check(method(model, pictures), model).check("weights")
    assert check.passed is False
    assert check.value == pytest.approx(1)
    assert "hardly changes" in check.reason


@pytest.mark.parametrize("method", [pl.Saliency(), pl.IntegratedGradients(), pl.GradCAM(), pl.Occlusion()])
def test_methods_that_ask_it_pass(method: Any) -> None:
    model, pictures = digits()
    check = pl.check(method(model, pictures), model).check("weights")
    assert check.passed
    assert check.control is not None
    assert check.rows >= 2


def test_every_weight_moves_within_its_tensor_bare_ones_too() -> None:
    net = Patches()
    net.bare = nn.Parameter(torch.randn(50))
    before = {name: value.clone() for name, value in net.named_parameters()}
    model = pl.Model(net)
    made = scrambles(model, 0)
    assert not isinstance(made, str)
    for scramble in made:
        for name, value in scramble.model.module.named_parameters():
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
            if len(before[name].unique()) > 2:
                assert not torch.equal(value, before[name])
    assert all(torch.equal(value, before[name]) for name, value in net.named_parameters())
    one, other = (dict(each.model.module.named_parameters())["bare"] for each in made)
    assert not torch.equal(one, other)


def test_tied_weights_stay_tied() -> None:
    net = nn.ModuleDict({"in": nn.Linear(5, 5), "out": nn.Linear(5, 5)})
    net["out"].weight = net["in"].weight
    made = scrambles(pl.Model(net), 0)
    assert not isinstance(made, str)
    twin = made[0].model.module
    assert twin["in"].weight is twin["out"].weight
    assert torch.equal(permuted(net, 0)["in"].weight, net["out"].weight)


class Frozen(nn.Module):
    """Nothing to scramble: a fixed table that is no parameter."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * torch.arange(1.0, 1 + x.shape[1])).sum(1, keepdim=True)


class Alike(nn.Module):
    """A weight for every column, all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * x * torch.arange(1.0, 1 + x.shape[1])).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Frozen(), "no weights"),
        (Alike(), "all are alike"),
        (pl.Model(nn.Linear(10, 1), copy=False), "cannot be copied"),
    ],
)
def test_weights_that_cannot_be_scrambled_are_not_testable(model: Any, words: str) -> None:
    check = pl.check(pl.InputXGradient()(model, torch.ones(1, 10)), model).check("weights")
    assert (check.value, check.passed) == (None, None)
    assert words in check.reason


def test_quantized_weights_are_not_testable() -> None:
    class Quantized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.randint(-9, 9, (8, 1), dtype=torch.int8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight.to(x) * 0.1

    result = pl.InputXGradient()(Quantized(), 1 + torch.rand(1, 8))
    evidence = pl.check(result, Quantized())
    assert "quantized" in evidence.check("weights").reason


def test_weights_too_large_to_copy_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, _ = linear()
    monkeypatch.setattr("pellucid.evaluate.scrambled.MOST_COPIED", 100)
    check = pl.check(pl.InputXGradient()(net, x), net).check("weights")
    assert "too large" in check.reason
    assert check.value is None


def test_deep_batch_norms_do_not_overflow_when_scrambled() -> None:
    torch.manual_seed(0)
    blocks = [each for _ in range(30) for each in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(1, 4, 3), *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
            if isinstance(part, nn.Conv2d):
                part.weight[0] *= 1e-6  # a channel that died in training: its statistics fit no other weights
        net.train()(torch.rand(8, 1, 16, 16))
        net.eval()
    uncalibrated = scrambles(pl.Model(net), 0)[0].model.module(x)
    assert not uncalibrated.isfinite().all()
    check = pl.check(pl.Saliency()(net, x), net).check("weights")
    assert check.value is not None
    assert check.rows == 2 + 2 * CALIBRATION


def test_batch_norms_are_set_to_each_input_anew() -> None:
    model, pictures = spots()
    result = pl.Saliency()(model, pictures[:2])
    together = pl.check(result, model)
    alone = pl.check(pl.Saliency()(model, pictures[1:2]), model)
    assert together[1].check("weights").value == pytest.approx(alone.check("weights").value, abs=1e-3)


def test_maps_from_elsewhere_are_put_to_scrambled_models_instead() -> None:
    model, pictures = spots()
    values = pl.IntegratedGradients()(model, pictures[:1]).values
    right, wrong = pl.check([values, -values], model, pictures[:1])
    assert right.verdict == "supported"
    assert right.check("fit").passed
    assert right.check("fit").kind == "weights"
    assert right.check("fit").rows > 0 == wrong.check("fit").rows
    assert wrong.check("fit").passed is False


def test_a_costly_method_is_repeated_lighter_or_not_at_all() -> None:
    assert lighter(pl.SmoothGrad(draws=50), 51, 100) == pl.SmoothGrad(draws=50)
    assert lighter(pl.SmoothGrad(draws=50), 51, 10) == pl.SmoothGrad(draws=9)
    assert lighter(pl.KernelSHAP(budget=2048), 2048, 256) == pl.KernelSHAP(budget=256)
    assert lighter(pl.IntegratedGradients(steps=64), 66, 8) == pl.IntegratedGradients(steps=7)
    assert lighter(pl.IntegratedGradients(), 129, 16) == pl.IntegratedGradients(budget=16)
    assert lighter(pl.IntegratedGradients(), 129, 3) is None
    assert lighter(pl.Occlusion(), 226, 28) is None


def test_the_quick_tier_spends_no_more_than_the_explanation() -> None:
    """On a large picture: repetitions take at most as many rows as the explanation, beside the shared bank."""
    net = nn.Sequential(nn.Conv2d(3, 4, 7, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 28, 3))
    x = torch.rand(1, 3, 224, 224)
    methods = [pl.SmoothGrad(draws=80), pl.KernelSHAP(budget=1000), pl.Occlusion()]
    results = [method(net, x) for method in methods]
    for result, evidence in zip(results, pl.check(results, net), strict=True):
        again = evidence.check("weights").rows + evidence.check("stability").rows
        assert again <= result.receipt.rows_forward + 20
    costly = evidence
    assert "tier='full'" in costly.check("weights").reason
    assert costly.check("fit").value is not None
    full = pl.check(results[2], net, tier="full")
    assert full.check("weights").value is not None
    assert full.check("stability").value is not None


def test_likeness_looks_at_sizes_where_a_map_is_not_zero() -> None:
    one = torch.tensor([0.0, 0.0, 0.0, 1.0, -2.0, 3.0])
    assert likeness(one, -one) == pytest.approx(1)
    assert likeness(one, torch.tensor([0.0, 0.0, 0.0, 3.0, 2.0, 1.0])) == pytest.approx(-1)


def test_too_few_places_are_not_compared() -> None:
    net = nn.Linear(4, 1)
    check = pl.check(pl.InputXGradient()(net, torch.ones(1, 4)), net).check("weights")
    assert check.value is None
    assert "only 4 places" in check.reason


def test_completeness_is_asked_of_those_that_claim_it() -> None:
    net, x, _ = linear()
    assert pl.check(pl.IntegratedGradients()(net, x), net).check("completeness").passed
    assert pl.check(pl.InputXGradient()(net, x), net).check("completeness").reason.startswith("not claimed")
    from dataclasses import replace

    result = pl.IntegratedGradients()(net, x)
    evidence = pl.check(replace(result, values=1.2 * result.values), net)
    assert evidence.check("completeness").passed is False
    assert evidence.verdict == "mixed"
    assert "do not add up" in evidence.words
