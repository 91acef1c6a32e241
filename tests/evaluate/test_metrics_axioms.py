"""Metrics of axioms: on linear models every answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from tests.evaluate.planted import Edges, linear, spots

M = pl.metrics
SHAPES = [(12,), (1, 30), (3, 30), (1, 6, 7), (3, 6, 7), (1, 4, 5, 3), (3, 4, 5, 3)]


def holes(shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model that looks away from every other place, an input, and the exact map."""
    random = torch.Generator().manual_seed(0)
    x = 1 + torch.rand(1, *shape, generator=random, dtype=torch.float64)
    space = shape[1:] if len(shape) > 1 else shape
    weight = torch.randn(1, *shape, generator=random, dtype=torch.float64)
    weight *= (torch.arange(space.numel() if isinstance(space, torch.Size) else int(np.prod(space))) % 2).reshape(space)
    net = nn.Sequential(nn.Flatten(), nn.Linear(x.numel(), 1)).double().requires_grad_(False)
    net[1].weight[:] = weight.reshape(1, -1)
    return net, x, weight * x


def changed(values: Tensor) -> dict[str, Tensor]:
    """Maps of which the answer follows from the definition."""
    random = torch.Generator().manual_seed(1)
    order = torch.randperm(values.numel(), generator=random)
    return {
        "exact": values,
        "negated": -values,
        "doubled": 2 * values,
        "shuffled": values.flatten()[order].reshape(values.shape),
        "rounded": values * (1 + 1e-14),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_missed_of_the_difference(shape: tuple[int, ...]) -> None:
    net, x, values = holes(shape)
    base = float(net(torch.zeros_like(x)))
    wanted = {"exact": 0, "negated": 2, "doubled": 1, "shuffled": 0, "rounded": 0}
    for name, each in changed(values).items():
        assert M.Completeness(base_score=base)(each, net, x).value == pytest.approx(wanted[name])
    assert M.Completeness()(pl.IntegratedGradients()(net, x), net).value == 0
    assert M.Completeness(base_score=base)(values * 1.001, net, x).value == pytest.approx(1e-3)
    assert M.Completeness(base_score=base, tolerance=0.01)(values * 1.001, net, x).value == 0


def test_completeness_is_measured_where_it_is_claimed_and_there_is_a_difference() -> None:
    net, x, values = linear()
    assert "not claimed" in M.Completeness()(pl.Saliency()(net, x), net).reasons[0]
    assert "not claimed" in M.Completeness(base_score=0.0)(pl.Saliency()(net, x), net).reasons[0]
    assert "not claimed" in M.Completeness()(values, net, x).reasons[0]
    same = M.Completeness(base_score=net(x).item())(values, net, x)
    assert same.value is None
    assert "no difference" in same.reasons[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_with_a_value_and_no_effect_are_counted(shape: tuple[int, ...]) -> None:
    net, x, values = holes(shape)
    metric = M.NonSensitivity()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    silent = (values.reshape(-1, *values.shape[2:]).abs().sum(0) == 0).sum() if values.ndim > 2 else (values == 0).sum()
    assert metric(values, net, x).value == 0
    assert metric(-values, net, x).value == 0  # negative values are values
    assert metric(values + 1e-9 * noise, net, x).value == 0
    if x.shape[-1] > 7:  # one part a place
        assert metric(noise, net, x).value == int(silent)
    else:
        assert metric(noise, net, x).value == min(int(silent), metric(noise, net, x).value)
    one = values.clone().flatten()
    one[one.abs().argmax()] = 0
    assert metric(one.reshape(values.shape), net, x).value in (0, 1)  # 0 where its part has other values


def test_a_part_that_hides_nothing_still_matters() -> None:
    net, x, _ = linear()
    x[0, 2] = 0  # hidden by zeros, it stays as it is; other values in its place tell
    slopes = net.weight.detach().clone()
    assert M.NonSensitivity()(slopes, net, x).value == 0
    assert M.NonSensitivity(draws=0)(slopes, net, x).value == 1


def test_where_nothing_can_be_said_of_parts() -> None:
    net, x, values = linear()
    assert "same everywhere" in M.NonSensitivity()(torch.ones_like(values), net, x).reasons[0]
    box = pl.BlackBox(lambda rows: rows.sum(1) * 0 + 1)
    assert "does not depend" in M.NonSensitivity()(values, box, x.numpy()).reasons[0]
    ids = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))
    assert M.NonSensitivity()(pl.InputXGradient()(ids, torch.arange(6)[None]), ids).value is not None


def test_what_parts_do_is_asked_once() -> None:
    net, x, values = linear()
    one = pl.measure([values], net, x, metrics=[M.NonSensitivity()])
    both = pl.measure([values, -values], net, x, metrics=[M.NonSensitivity(), M.NonSensitivity(tolerance=0.1)])
    assert one.rows == both.rows


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
@pytest.mark.parametrize("padding", [0, 1, "same"])
def test_a_shift_is_taken_back_by_a_convolution(channels: int, kind: Any, padding: Any) -> None:
    torch.manual_seed(0)
    space = {nn.Conv1d: (12,), nn.Conv2d: (6, 7), nn.Conv3d: (4, 5, 4)}[kind]
    first = kind(channels, 4, 3, padding=padding, bias=channels == 1)
    net = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = torch.rand(1, channels, *space)
    net(x)
    heat = pl.Saliency()(net, x)
    assert M.InputInvariance(shift=-1.0)(heat, net).value == pytest.approx(0, abs=1e-4)
    assert M.InputInvariance()(pl.InputXGradient()(net, x), net).value > 0.1


@pytest.mark.parametrize("shape", [(12,), (3, 6, 7)])
def test_input_times_gradient_moves_by_the_shift_times_the_slope(shape: tuple[int, ...]) -> None:
    net, x, values = holes(shape)
    wanted = 0.5 * (values / x).norm() / values.norm()
    flat = nn.Linear(12, 1).double()
    model = net if len(shape) > 1 else flat
    if len(shape) == 1:
        flat.load_state_dict(net[1].state_dict())
    measured = M.InputInvariance(shift=0.5)(pl.InputXGradient()(model, x), model)
    assert measured.value == pytest.approx(float(wanted), rel=1e-5)
    assert M.InputInvariance(shift=0.5, method=pl.InputXGradient())(values, model, x).value == measured.value


def test_an_edge_map_does_not_see_a_shift() -> None:
    model, pictures = spots()
    assert M.InputInvariance()(Edges()(model, pictures[:1]), model).value == pytest.approx(0, abs=1e-5)


def test_where_no_bias_can_take_a_shift_back() -> None:
    net, x, values = linear()

    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x**2)

    for model, words in (
        (Squared(), "cannot take a shift"),
        (nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 1)).double(), "neither linear"),
        (pl.Model(net, copy=False), "cannot be copied"),
    ):
        measured = M.InputInvariance()(pl.Saliency()(model, x), model)
        assert measured.value is None
        assert words in measured.reasons[0]
    box = pl.BlackBox(lambda rows: rows @ np.arange(1.0, 13))
    assert "black box" in M.InputInvariance()(pl.Ablation()(box, x.numpy()), box).reasons[0]
    assert "without its method" in M.InputInvariance()(values, net, x).reasons[0]
    ids = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))
    assert "ids" in M.InputInvariance()(pl.InputXGradient()(ids, torch.arange(6)[None]), ids).reasons[0]


def test_the_model_is_not_touched() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(50, 2))
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    heat = pl.InputXGradient()(net, torch.rand(1, 1, 5, 5))
    pl.measure(heat, net, metrics=[M.InputInvariance(), M.NonSensitivity()])
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert net[0].padding == (1, 1)
    assert not net[0]._forward_pre_hooks


def test_memory_and_other_rows_change_nothing() -> None:
    model, pictures = spots()
    metrics = [M.Completeness(), M.NonSensitivity(), M.InputInvariance()]

    def values(pictures: Tensor, **options: Any) -> np.ndarray:
        with pl.settings(**options):
            table = pl.measure(pl.IntegratedGradients(steps=8)(model, pictures), model, metrics=metrics)
        return np.stack([each.values for each in table.measured[0]])

    alone, beside = values(pictures[:1]), values(pictures[:3])
    assert beside[:, :1] == pytest.approx(alone, rel=1e-3, abs=1e-6)
    assert values(pictures[:1], memory="50 kB") == pytest.approx(alone, rel=1e-3, abs=1e-6)
