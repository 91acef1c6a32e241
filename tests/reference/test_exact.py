"""Exact answers (research/attribution.md, section 4): what each method must give where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.engines.coalitions import every, paired
from pellucid.engines.solve import exact_values, shapley_regression
from tests.reference.plain import Tanh3, close

TINY = 1e-12


class Identity(nn.Module):
    """Hands its input on, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.one


def of(function: Any) -> pl.Function:
    return pl.Function(function)


def float64(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


numbers = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4)


@given(w=numbers, x=numbers, b=numbers, c=st.floats(-5, 5))
def test_row_1_linear_functions(w: list[float], x: list[float], b: list[float], c: float) -> None:
    """f = w·x + c: everything that starts from b gives w ⊙ (x − b)."""
    weight, point, base = float64(*w), float64(x), float64(b)
    target = of(lambda y: y @ weight + c)
    expected = weight * (point - base)
    scale = max(1.0, float(expected.abs().sum()))
    for method in (
        pl.IntegratedGradients(baseline=base),
        pl.IntegratedGradients(baseline=base, steps=1),
        pl.ExpectedGradients(baseline=pl.Marginal(base)),
        pl.Ablation(fill=base),
        pl.Occlusion(fill=base, window=1),
        pl.KernelSHAP(fill=base),
        pl.GuidedIG(baseline=base, steps=3),
    ):
        values = method(Identity(), point, target=target).values
        assert float((values - expected).abs().max()) <= 1e-12 * scale * 10, method


def test_row_1_expected_gradients_of_a_linear_function_start_at_the_mean() -> None:
    weight, data, point = float64(1, -2, 3), torch.rand(5, 3, dtype=torch.float64), float64([0.3, 0.2, -1.0])
    values = pl.ExpectedGradients(baseline=data, draws=20)(Identity(), point, target=of(lambda y: y @ weight)).values
    close(values, weight * (point - data.mean(0)), TINY)


def unanimity(members: tuple[int, ...], scale: float = 1.0) -> Any:
    return lambda y: scale * y[:, list(members)].prod(1)


@pytest.mark.parametrize("members", [(0,), (1, 2), (0, 2, 3), (0, 1, 2, 3, 4)])
def test_row_2_unanimity_games(members: tuple[int, ...]) -> None:
    """φ = 1/|T| on T and nothing elsewhere; sums of such games add."""
    values = pl.KernelSHAP()(Identity(), torch.ones(1, 5, dtype=torch.float64), target=of(unanimity(members))).values
    expected = [[1 / len(members) if i in members else 0 for i in range(5)]]
    assert np.abs(values.numpy() - expected).max() <= TINY
    both = of(lambda y: unanimity(members, 2.0)(y) - unanimity((4, 3))(y))
    values = pl.KernelSHAP()(Identity(), torch.ones(1, 5, dtype=torch.float64), target=both).values
    expected = 2 * np.array(expected) - [[0, 0, 0, 0.5, 0.5]]
    assert np.abs(values.numpy() - expected).max() <= TINY


@pytest.mark.parametrize("seed", range(3))
def test_row_2_sampled_shapley_values_lie_within_four_standard_errors(seed: int) -> None:
    """A function of 11 inputs whose exact values come from all 2,048 coalitions."""
    net, x = Tanh3(inputs=11, seed=3).module(), torch.randn(1, 11, dtype=torch.float64)
    exact = pl.KernelSHAP(budget=2048)(net, x)
    assert exact.standard_error is None
    with pl.settings(seed=seed):
        some = pl.KernelSHAP(budget=300)(net, x)
    assert bool(((some.values - exact.values).abs() <= 4 * some.standard_error + 1e-9).all())


@pytest.mark.parametrize("seed", range(4))
def test_row_3_pairs_are_exact_on_games_of_pairs(seed: int) -> None:
    """A quadratic game, once the design has full rank (3n evaluations suffice)."""
    random = torch.Generator().manual_seed(seed)
    n = 9
    q = torch.randn(n, n, generator=random, dtype=torch.float64)
    design = paired(n, 3 * n + 6, seed)
    z = design.coalitions.double()
    scores = ((z @ q) * z).sum(1, keepdim=True)
    full = q.sum().reshape(1)
    values, error = shapley_regression(design, scores, torch.zeros(1, dtype=torch.float64), full)
    exact = (q.sum(0) + q.sum(1)) / 2
    assert float((values[:, 0] - exact).abs().max()) < 1e-9
    assert error.shape == (n, 1)


@given(n=st.integers(1, 6), seed=st.integers(0, 100))
def test_row_4_a_budget_for_all_coalitions_gives_the_shapley_value(n: int, seed: int) -> None:
    """Efficiency and the two formulas agree, on any game."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(2**n, 2, generator=random, dtype=torch.float64)
    values = exact_values(scores, n)
    assert float((values.sum(0) - (scores[-1] - scores[0])).abs().max()) < 1e-12
    if n >= 2:
        design = paired(n, 2**n - 2, 0)
        assert len(design.coalitions) == 2**n - 2
        order = (design.coalitions.long() * 2 ** torch.arange(n)).sum(1)
        again, error = shapley_regression(design, scores[order], scores[0], scores[-1])
        assert float((values - again).abs().max()) < 1e-9
        assert float(error.abs().max()) == 0
    z = every(n)
    assert (z.long() * 2 ** torch.arange(n)).sum(1).tolist() == list(range(2**n))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_row_7_the_product_is_shared_equally(n: int) -> None:
    """f = ∏ xᵢ from zero: aᵢ = f / n, exact with ⌈n/2⌉ nodes."""
    x = torch.rand(2, n, dtype=torch.float64) + 0.5
    product = of(lambda y: y.prod(1))
    values = pl.IntegratedGradients(steps=-(-n // 2))(Identity(), x, target=product).values
    close(values, (x.prod(1, keepdim=True) / n).expand(2, n), 1e-10)


def test_row_7_a_product_from_a_baseline() -> None:
    """f = x₁x₂ from b: a₁ = (x₁ − b₁)(x₂ + b₂) / 2."""
    x, b = float64([2.0, 5.0]), float64([0.5, -1.0])
    values = pl.IntegratedGradients(steps=1, baseline=b)(Identity(), x, target=of(lambda y: y.prod(1))).values
    close(values, [[1.5 * (5 - 1) / 2, 6 * (2 + 0.5) / 2]], 1e-10)


@given(degree=st.integers(1, 9), x=st.floats(-2, 2), b=st.floats(-2, 2))
def test_row_7_polynomials_are_exact_with_half_as_many_nodes(degree: int, x: float, b: float) -> None:
    result = pl.IntegratedGradients(steps=-(-degree // 2), baseline=b)(
        Identity(), float64([x]), target=of(lambda y: (y**degree).sum(1))
    )
    assert abs(float(result.values) - (x**degree - b**degree)) <= 1e-10 * max(1, abs(x) ** degree, abs(b) ** degree)


@pytest.mark.parametrize("steps", [8, 32, 128])
def test_row_8_a_kink_on_the_path(steps: int) -> None:
    """f = relu(x₁ − c): a₁ = x₁ − c; every fixed rule is off by the order of one step."""
    x, c = float64([1.7, 0.4]), 0.6
    values = pl.IntegratedGradients(steps=steps)(Identity(), x, target=of(lambda y: (y[:, 0] - c).relu())).values
    assert abs(float(values[0, 0]) - 1.1) <= 2 * 1.7 / steps
    assert float(values[0, 1]) == 0


def test_row_8_the_stopping_rule_sees_the_kink() -> None:
    x = float64([1.7, 0.4])
    kink = of(lambda y: (y[:, 0] - 0.6).relu())
    result = pl.IntegratedGradients(tolerance=1e-3, budget=4095)(Identity(), x, target=kink)
    assert abs(float(result.values[0, 0]) - 1.1) <= 1.1 * 1e-3
    assert float(result.gap) <= 1e-3


@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_row_9_conductance_of_any_cut_adds_up(layer: str) -> None:
    net, x = Tanh3().module(), torch.randn(2, 5, dtype=torch.float64)
    gaps = [float(pl.Conductance(steps=steps)(net, x, at=layer).gap.max()) for steps in (8, 32, 128)]
    assert gaps[2] < 1e-3
    assert gaps[2] <= gaps[1] <= gaps[0]


def test_row_10_noise_on_a_linear_function() -> None:
    weight, x = float64(1, -2, 3), torch.rand(2, 3, dtype=torch.float64)
    target = of(lambda y: y @ weight)
    smooth = pl.SmoothGrad()(Identity(), x, target=target)
    close(smooth.values, weight.expand(2, 3), TINY)
    assert float(smooth.standard_error.max()) < 1e-12
    assert float(pl.VarGrad()(Identity(), x, target=target).values.max()) < 1e-20


def test_row_10_noise_on_a_quadratic_function() -> None:
    """f = x'Qx: the mean slope is unbiased; its variance is σ² times the squared rows of Q + Q'."""
    random = torch.Generator().manual_seed(4)
    q = torch.randn(4, 4, generator=random, dtype=torch.float64)
    x = torch.rand(1, 4, generator=random, dtype=torch.float64)
    target = of(lambda y: ((y @ q) * y).sum(1))
    smooth = pl.SmoothGrad(draws=1500, noise=0.3)(Identity(), x, target=target)
    slope = x @ (q + q.T)
    assert bool(((smooth.values - slope).abs() <= 4 * smooth.standard_error).all())
    sigma = 0.3 * float(x.max() - x.min())
    variance = sigma**2 * (q + q.T).square().sum(0)
    found = pl.VarGrad(draws=1500, noise=0.3)(Identity(), x, target=target).values[0]
    assert bool(((found - variance).abs() <= 4 * variance * (2 / 1500) ** 0.5).all())


def test_row_22_occlusion_of_an_additive_function() -> None:
    """Σ g(x_p): a window that covers one place gives g(x_p) − g(0); larger ones average their sums exactly."""
    x = torch.randn(1, 1, 6, 7, dtype=torch.float64)
    g = x.sin()[0, 0]
    target = of(lambda y: y.sin().sum((1, 2, 3)))
    close(pl.Occlusion(window=1, stride=1)(Identity(), x, target=target).values[0, 0], g, 1e-12)
    found = pl.Occlusion(window=3, stride=1)(Identity(), x, target=target).values[0, 0]
    expected = torch.zeros(6, 7, dtype=torch.float64)
    for r in range(6):
        for c in range(7):
            sums = [
                g[i : i + 3, j : j + 3].sum()
                for i in range(max(0, r - 2), min(4, r + 1))
                for j in range(max(0, c - 2), min(5, c + 1))
            ]
            expected[r, c] = torch.stack(sums).mean()
    close(found, expected, 1e-6)


def test_row_24_constants_and_unused_inputs() -> None:
    """More of it in tests/laws; here with every start and fill of its own."""
    x = torch.randn(2, 4, dtype=torch.float64)
    constant = of(lambda y: torch.full((len(y),), 2.5, dtype=torch.float64))
    first = of(lambda y: y[:, 0].exp())
    for method in (pl.IntegratedGradients(baseline=0.7), pl.KernelSHAP(fill=pl.Marginal(x)), pl.IDGI(baseline=1.0)):
        assert float(method(Identity(), x, target=constant).values.abs().max()) < TINY
        assert float(method(Identity(), x, target=first).values[:, 1:].abs().max()) < TINY


def covered(results: list[tuple[Tensor, Tensor]], exact: Tensor) -> float:
    """The share of nominal 95 % intervals that contain the exact value."""
    inside = [((values - exact).abs() <= 1.96 * error + 1e-12).double().mean() for values, error in results]
    return float(torch.stack(inside).mean())


def test_row_27_standard_errors_cover() -> None:
    """Nominal 95 % intervals of sampled methods hold the exact value in at least 90 % of seeds."""
    random = torch.Generator().manual_seed(4)
    net, x = Tanh3(inputs=10, seed=3).module(), torch.randn(1, 10, generator=random, dtype=torch.float64)
    q = torch.randn(10, 10, generator=random, dtype=torch.float64)
    data = torch.randn(6, 10, generator=random, dtype=torch.float64)
    quadratic = of(lambda y: ((y @ q) * y).sum(1))
    shap, noise, expected = [], [], []
    model, plain = pl.Model(net), pl.Model(Identity())
    for seed in range(60):
        with pl.settings(seed=seed):
            result = pl.KernelSHAP(budget=160)(model, x)
            shap.append((result.values, result.standard_error))
            result = pl.SmoothGrad(draws=30)(plain, x, target=quadratic)
            noise.append((result.values, result.standard_error))
            result = pl.ExpectedGradients(baseline=data, draws=30)(plain, x, target=quadratic)
            expected.append((result.values, result.standard_error))
    exact = pl.KernelSHAP(budget=1024)(model, x).values
    assert covered(shap, exact) >= 0.9
    assert covered(noise, x @ (q + q.T)) >= 0.9
    lines = torch.cat(
        [pl.IntegratedGradients(baseline=row, steps=2)(plain, x, target=quadratic).values for row in data]
    )
    assert covered(expected, lines.mean(0, keepdim=True)) >= 0.9
