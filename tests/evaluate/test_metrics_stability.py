"""Metrics of stability: linear and quadratic models, of which the answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import Attributor, question
from pellucid.core.probe import Probe
from pellucid.engines.points import generator
from pellucid.evaluate.metrics.stability import Near, widths
from tests.evaluate.planted import Restless, linear, spots

M = pl.metrics
SHAPES = [(12,), (1, 30), (3, 30), (1, 6, 7), (3, 6, 7), (1, 4, 5, 3), (3, 4, 5, 3)]


def straight(shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """A linear model of inputs of any shape, and one input of positive numbers."""
    random = torch.Generator().manual_seed(0)
    x = 1 + torch.rand(1, *shape, generator=random)
    net = nn.Sequential(nn.Flatten(), nn.Linear(x.numel(), 1)).requires_grad_(False)
    net[1].weight[:] = torch.randn(1, x.numel(), generator=random)
    return net, x


def neighbors(metric: Near, x: Tensor, seed: int = 0) -> Tensor:
    """(draws, elements) the inputs nearby, made in another way."""
    noise = [torch.rand(x.numel(), generator=generator(seed, k), dtype=torch.float64) for k in range(metric.draws)]
    return x.double().flatten() + metric.radius * (2 * torch.stack(noise) - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_slope_of_a_linear_model_does_not_move(shape: tuple[int, ...]) -> None:
    net, x = straight(shape)
    metrics = [
        M.MaxSensitivity(),
        M.AverageSensitivity(),
        M.LocalLipschitz(),
        M.RelativeInputStability(),
        M.RelativeOutputStability(),
    ]
    table = pl.measure(pl.Saliency()(net, x), net, metrics=metrics)
    assert [each.value for each in table.measured[0]] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_input_times_gradient_of_a_linear_model_moves_as_on_paper(shape: tuple[int, ...]) -> None:
    net, x = straight(shape)
    heat = pl.InputXGradient()(net, x)
    weights = net[1].weight[0].double()
    options: dict[str, Any] = {"radius": 0.1, "draws": 6}
    there = neighbors(M.MaxSensitivity(**options), x)
    moved, own = (there - x.double().flatten()) * weights, weights * x.double().flatten()
    steps = there - x.double().flatten()
    share = moved.norm(dim=1) / own.norm()
    wanted = {
        M.MaxSensitivity: share.max(),
        M.AverageSensitivity: share.mean(),
        M.LocalLipschitz: (moved.norm(dim=1) / steps.norm(dim=1)).max(),
        M.RelativeInputStability: (share / (steps.norm(dim=1) / x.double().norm())).max(),
        M.RelativeOutputStability: (share / moved.sum(1).abs()).max(),
    }
    for kind, value in wanted.items():
        assert kind(**options)(heat, net).value == pytest.approx(float(value), rel=2e-3)
    by_elements = M.RelativeInputStability(change="elements", **options)(heat, net).value
    assert by_elements == pytest.approx(1, rel=1e-3)  # Δa / a = Δx / x


class Quadratic(nn.Module):
    """c ‖x‖² / 2, of which the gradient is c x."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7 * x.flatten(1).square().sum(1, keepdim=True)


def test_the_lipschitz_constant_of_a_quadratic() -> None:
    x = 1 + torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    measured = M.LocalLipschitz(radius=0.05)(pl.Saliency()(Quadratic(), x), Quadratic())
    assert measured.values == pytest.approx([3.4, 3.4], rel=1e-4)
    table = pl.measure(pl.Saliency()(Quadratic(), x), Quadratic(), metrics=[M.RelativeInputStability()])
    assert table.measured[0][0].values == pytest.approx([1, 1], rel=1e-4)


def test_the_representation_is_what_the_last_layer_reads() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 1)).requires_grad_(False)
    x = 1 + torch.rand(1, 6)
    heat = pl.InputXGradient()(net, x)
    metric = M.RelativeRepresentationStability(radius=0.1, draws=5)
    there = neighbors(metric, x)
    first, slope = net[0].weight.double(), (net[1].weight @ net[0].weight)[0].double()
    steps = there - x.double()
    change = (steps * slope).norm(dim=1) / (x.double() * slope).norm()
    inner = (steps @ first.T).norm(dim=1) / (x.double() @ first.T).norm()
    assert metric(heat, net).value == pytest.approx(float((change / inner).max()), rel=1e-3)
    named = M.RelativeRepresentationStability(radius=0.1, draws=5, layer="0")
    assert named(heat, net).value == pytest.approx(metric(heat, net).value)
    wrong = M.RelativeRepresentationStability(layer="nowhere")(heat, net)
    assert wrong.value is None
    assert "nowhere" in wrong.reasons[0]


def test_a_noisy_map_moves_more_than_the_exact_one() -> None:
    model, pictures = spots()
    metrics = [M.MaxSensitivity(), M.AverageSensitivity(), M.LocalLipschitz(), M.RelativeOutputStability()]
    listed = [pl.InputXGradient()(model, pictures[:2]), Restless()(model, pictures[:2])]
    exact, noisy = pl.measure(listed, model, metrics=metrics).measured
    for own, other in zip(exact[:2], noisy[:2], strict=True):
        assert own.value < 0.5 < 1 < other.value


def test_all_inputs_nearby_go_through_the_model_in_one_batch_and_once() -> None:
    net, x = straight((12,))
    heat = pl.InputXGradient()(net, x)
    sizes: list[int] = []
    counted = pl.Model(Counted(net, sizes))
    shared = [M.MaxSensitivity(draws=16), M.AverageSensitivity(draws=16), M.LocalLipschitz(draws=16)]
    one = pl.measure(heat, counted, metrics=shared[:1])
    pl.measure(heat, counted, metrics=shared)
    before = len(sizes)
    all_of_them = pl.measure(heat, counted, metrics=shared)
    assert max(sizes[before:]) == 16
    assert sum(sizes[before:]) == 17  # and the input itself
    assert all_of_them.rows == one.rows


class Counted(nn.Module):
    """Notes how many rows each call has."""

    def __init__(self, inner: nn.Module, sizes: list[int]) -> None:
        super().__init__()
        self.inner, self.note = inner, sizes.append

    def __deepcopy__(self, memo: Any) -> Counted:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.note(len(x))
        return self.inner(x)


def test_values_without_their_method_are_not_testable_unless_it_is_named() -> None:
    net, x, values = linear()
    foreign = M.MaxSensitivity()(values, net, x)
    assert foreign.value is None
    assert "without its method" in foreign.reasons[0]
    named = M.MaxSensitivity(method=pl.InputXGradient())(values, net, x)
    assert named.value == pytest.approx(M.MaxSensitivity()(pl.InputXGradient()(net, x), net).value)


@pytest.mark.parametrize("kind", [M.MaxSensitivity, M.LocalLipschitz, M.RelativeInputStability])
def test_a_constant_map_has_no_stability(kind: Any) -> None:
    net, x, values = linear()
    measured = kind(method=pl.Saliency())(torch.ones_like(values), net, x)
    assert measured.value is None
    assert "same everywhere" in measured.reasons[0]


def test_zeros_have_no_relative_change() -> None:
    net, x, _ = linear()
    with torch.no_grad():
        net.weight[0, 3] = 0
    heat = pl.InputXGradient()(net, x)
    assert M.RelativeInputStability()(heat, net).value > 0
    measured = M.RelativeInputStability(change="elements")(heat, net)
    assert measured.value is None
    assert "zero" in measured.reasons[0]


def test_relative_metrics_need_the_class_to_stay() -> None:
    class Flips(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = (x * torch.linspace(1, 2, x.shape[1])).sum(1)
            here = (total - torch.linspace(1, 2, x.shape[1]).sum()).abs() < 1e-9
            return torch.stack([here.to(x) + 0 * total, 0.5 + 1e-3 * total], 1)

    x = torch.ones(1, 12, dtype=torch.float64)
    heat = pl.InputXGradient()(Flips().double(), x, target=1)
    measured = M.RelativeOutputStability()(heat, Flips().double())
    assert measured.value is None
    assert "predicted class" in measured.reasons[0]


def test_categories_ids_and_black_boxes() -> None:
    table = pl.Table(columns=("a", "b"), categories={"b": ("x", "y")}, background=[[0.0, 0], [4.0, 1]])
    model = pl.Model(nn.Linear(2, 1), inputs=table)
    for radius in (0.5, None):
        width = widths(question(model, [[1.0, 1]]), radius)
        assert width[0, 0] > 0
        assert width[0, 1] == 0
    box = pl.BlackBox(lambda rows: rows @ np.arange(1.0, 5))
    told = pl.Ablation()(box, np.ones((1, 4)))
    assert M.MaxSensitivity()(told, box).value > 0
    assert "black box" in M.RelativeRepresentationStability()(told, box).reasons[0]


def test_words_move_at_their_embedding() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))
    ids = torch.arange(6)[None]
    assert M.MaxSensitivity()(pl.InputXGradient()(net, ids), net).value > 0
    assert M.RelativeInputStability()(pl.InputXGradient()(net, ids), net).value > 0
    assert "token ids" in M.MaxSensitivity()(pl.Occlusion()(net, ids), net).reasons[0]


@dataclass(frozen=True, kw_only=True)
class Failing(Attributor):
    """Works for one row only."""

    def attribute(self, ask: Probe) -> Tensor:
        if ask.batch > 1:
            raise ArithmeticError("mine")
        return ask.gradient()


def test_a_method_that_fails_leaves_no_trace() -> None:
    net, x, _ = linear()
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    heat = Failing()(net, x)
    with pytest.raises(ArithmeticError, match="mine"):
        M.MaxSensitivity()(heat, net)
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())


def test_memory_and_other_rows_change_nothing() -> None:
    model, pictures = spots()
    metrics = [M.MaxSensitivity(), M.LocalLipschitz(), M.RelativeInputStability(), M.RelativeOutputStability()]

    def values(pictures: Tensor, **options: Any) -> np.ndarray:
        with pl.settings(**options):
            table = pl.measure(pl.InputXGradient()(model, pictures), model, metrics=metrics)
        return np.stack([each.values for each in table.measured[0]])

    alone, beside = values(pictures[:1]), values(pictures[:3])
    assert beside[:, :1] == pytest.approx(alone, rel=1e-4)
    assert values(pictures[:1], memory=2**20) == pytest.approx(alone, rel=1e-4)
    assert values(pictures[:1], seed=1) != pytest.approx(alone, rel=1e-4)
