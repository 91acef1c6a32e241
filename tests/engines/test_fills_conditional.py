"""Conditional fills: what the shown columns say about the hidden ones."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.coalitions import every
from pellucid.engines.game import Game
from pellucid.errors import OptionError, ShapeError

WIDTH = 4
RANDOM = np.random.default_rng(0)
MEAN = RANDOM.normal(size=WIDTH)
MIX = RANDOM.normal(size=(WIDTH, WIDTH))
SIGMA = MIX @ MIX.T
WEIGHTS = RANDOM.normal(size=WIDTH)
POINT = RANDOM.normal(size=(3, WIDTH))


def exact_data(mean: Any = MEAN, sigma: Any = SIGMA, rows: int = 50) -> torch.Tensor:
    """Rows whose sample mean and covariance are exactly these."""
    draws = RANDOM.normal(size=(rows, len(mean)))
    draws -= draws.mean(0)
    white = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws.T))).T
    return torch.tensor(white @ np.linalg.cholesky(sigma).T + mean)


def line() -> nn.Module:
    net = nn.Linear(WIDTH, 1).double()
    net.weight.data = torch.tensor(WEIGHTS)[None]
    nn.init.constant_(net.bias, 0.5)
    return net


def expected(x: Any, shown: list[int]) -> float:
    """E[f(X) | X_S = x_S] for a Gaussian X and a linear f, from the textbook."""
    hidden = [i for i in range(WIDTH) if i not in shown]
    guess = MEAN[hidden]
    if shown:
        inverse = np.linalg.inv(SIGMA[np.ix_(shown, shown)])
        guess = guess + SIGMA[np.ix_(hidden, shown)] @ inverse @ (x[shown] - MEAN[shown])
    return float(WEIGHTS[shown] @ x[shown] + WEIGHTS[hidden] @ guess + 0.5)


def shapley(x: Any) -> list[float]:
    values = []
    for i in range(WIDTH):
        others, total = [j for j in range(WIDTH) if j != i], 0.0
        for size in range(WIDTH):
            weight = factorial(size) * factorial(WIDTH - size - 1) / factorial(WIDTH)
            for some in combinations(others, size):
                total += weight * (expected(x, sorted([*some, i])) - expected(x, list(some)))
        values.append(total)
    return values


@pytest.mark.parametrize("variants", [1, 2, 16])
def test_a_linear_model_has_the_values_of_the_closed_form(variants: int) -> None:
    """Mirrored draws: the mean is exact for any number of variants."""
    fill, x = pl.Conditional(exact_data(), variants=variants), torch.tensor(POINT)
    ablated = pl.Ablation(fill=fill)(line(), x).values
    whole = list(range(WIDTH))
    want = [[expected(row, whole) - expected(row, [j for j in whole if j != i]) for i in whole] for row in POINT]
    torch.testing.assert_close(ablated, torch.tensor(want, dtype=torch.float64), atol=1e-8, rtol=1e-8)
    shared = pl.ExactShapley(fill=fill)(line(), x)
    torch.testing.assert_close(
        shared.values, torch.tensor([shapley(row) for row in POINT], dtype=torch.float64), atol=1e-8, rtol=1e-8
    )
    torch.testing.assert_close(shared.base_score, torch.full((3,), expected(POINT[0], []), dtype=torch.float64))


def test_draws_have_the_conditional_mean_and_covariance() -> None:
    probe = question(pl.Model(line()), torch.tensor(POINT))
    fill = pl.Conditional(exact_data(), variants=20_000)
    shown, hidden = [0, 2], [1, 3]
    mask = torch.tensor([True, False, True, False])[None, None].expand(20_000, 1, -1)
    draws = fill.around(probe, fill(probe))(mask, torch.arange(20_000))[:, 1].numpy()[:, hidden]
    inverse = np.linalg.inv(SIGMA[np.ix_(shown, shown)])
    slope = SIGMA[np.ix_(hidden, shown)] @ inverse
    np.testing.assert_allclose(draws.mean(0), MEAN[hidden] + slope @ (POINT[1, shown] - MEAN[shown]), atol=1e-9)
    spread = SIGMA[np.ix_(hidden, hidden)] - slope @ SIGMA[np.ix_(shown, hidden)]
    np.testing.assert_allclose(np.cov(draws.T), spread, atol=0.03 * np.abs(spread).max())


def test_independent_columns_are_marginal_means() -> None:
    data = exact_data(sigma=np.diag([1.0, 2.0, 3.0, 4.0]))
    x = torch.tensor(POINT)
    found = pl.ExactShapley(fill=pl.Conditional(data))(line(), x).values
    torch.testing.assert_close(found, torch.tensor(WEIGHTS) * (x - torch.tensor(MEAN)), atol=1e-8, rtol=1e-8)


def test_one_row_constant_columns_and_copies() -> None:
    x = torch.tensor(POINT)
    row = torch.tensor(MEAN)[None]
    for fill in (pl.Conditional(row), pl.Conditional(row, by="neighbors"), pl.Marginal(row), pl.Shuffle(data=row)):
        found = pl.ExactShapley(fill=fill)(line(), x).values
        torch.testing.assert_close(found, torch.tensor(WEIGHTS) * (x - row), atol=1e-8, rtol=1e-8)
    data = exact_data()
    data[:, 1] = 1e6 / 3
    data[:, 2] = 2 * data[:, 0] + 1
    x = data[:1].clone()
    probe = question(pl.Model(line()), x)
    for fill in (pl.Conditional(data, variants=1), pl.Conditional(data.float(), variants=8)):
        around = fill.around(probe, fill(probe))
        found = around(torch.tensor([[[True, True, False, True]], [[False, True, True, False]]]), torch.zeros(2).long())
        torch.testing.assert_close(found[0, 0, 2], x[0, 2], atol=1e-4, rtol=1e-5)  # the copy is told by its original
        torch.testing.assert_close(found[1, 0, 0], x[0, 0], atol=1e-4, rtol=1e-5)
        assert bool(torch.isfinite(found).all())


def test_neighbors_are_the_nearest_rows_in_the_shown_columns() -> None:
    data, x = exact_data(rows=40), torch.tensor(POINT)
    game = Game(question(pl.Model(line()), x), fill=pl.Conditional(data, by="neighbors", variants=5))
    scores = game(every(WIDTH))
    scale = data.numpy().std(0)
    for mask, found in zip(every(WIDTH).numpy(), scores.numpy(), strict=True):
        if not mask.any():
            continue
        for b, row in enumerate(POINT):
            apart = (((data.numpy() - row) / scale) ** 2)[:, mask].sum(1)
            near = data.numpy()[apart.argsort()[:5]]
            np.testing.assert_allclose(found[b], (np.where(mask, row, near) @ WEIGHTS + 0.5).mean())


def test_neighbors_match_categories() -> None:
    rows = [
        {"age": age, "sex": sex, "size": size}
        for age, sex, size in ((1, "f", 10), (2, "f", 11), (1, "m", 20), (2, "m", 21))
    ]
    background = {name: [row[name] for row in rows] for name in rows[0]}
    table = pl.Table(
        columns=("age", "sex", "size"), categories={"sex": ("f", "m")}, one_hot=("sex",), background=background
    )
    net = nn.Linear(4, 1, bias=False)
    net.weight.data = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    model = pl.Model(net, inputs=table)
    game = Game(question(model, {"age": 1, "sex": "m", "size": 99}), fill=pl.Conditional(by="neighbors", variants=2))
    assert game(torch.tensor([[False, True, False]])).tolist() == [[20.5]]
    assert game(torch.tensor([[True, False, False]])).tolist() == [[15.0]]
    with pytest.raises(OptionError, match="neighbors"):
        pl.KernelSHAP(fill=pl.Conditional())(model, {"age": 1, "sex": "m", "size": 99})


def test_the_background_of_a_table_in_its_own_units() -> None:
    data = exact_data()
    names, std = ("a", "b", "c", "d"), (1.0, 2.0, 3.0, 4.0)
    table = pl.Table(columns=names, mean=tuple(MEAN), std=std, background=data.numpy())
    net = line().float()
    net.weight.data = (torch.tensor(WEIGHTS) * torch.tensor(std).double())[None].float()
    nn.init.constant_(net.bias, float(WEIGHTS @ MEAN + 0.5))
    found = pl.ExactShapley(fill=pl.Conditional())(pl.Model(net, inputs=table), POINT[:1]).values
    torch.testing.assert_close(found[0].double(), torch.tensor(shapley(POINT[0])).double(), atol=1e-4, rtol=1e-4)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(1, 6),
    width=st.integers(1, 5),
    by=st.sampled_from(["gaussian", "neighbors"]),
    seed=st.integers(0, 99),
)
def test_any_data_gives_finite_and_repeatable_values(rows: int, width: int, by: str, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    data = torch.randint(-2, 3, (rows, width), generator=random).float()
    net = nn.Sequential(nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, 1))
    x = torch.randn(2, width, generator=random)
    method = pl.ExactShapley(fill=pl.Conditional(data, by=by, variants=4))
    first = method(net, x)
    assert bool(torch.isfinite(first.values).all())
    torch.testing.assert_close(first.values.sum(1), first.score - first.base_score, atol=1e-4, rtol=1e-4)
    assert torch.equal(first.values, method(net, x).values)
    torch.testing.assert_close(method(net, x[1:]).values, first.values[1:], atol=1e-4, rtol=1e-4)
    with pl.settings(memory=1):
        torch.testing.assert_close(method(net, x).values, first.values, atol=1e-4, rtol=1e-4)


def test_several_inputs_and_parts_of_many_columns() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return torch.cat([a, b], 1).double() @ torch.tensor(WEIGHTS)[:, None] + 0.5

    data, x = exact_data(), torch.tensor(POINT)
    fill = pl.Conditional({"a": data[:, :1], "b": data[:, 1:]})
    found = pl.Ablation(features=pl.Inputs(), fill=fill)(Two(), {"a": x[:, :1], "b": x[:, 1:]})
    whole = [expected(row, [0, 1, 2, 3]) for row in POINT]
    want = [
        [score - expected(row, [1, 2, 3]), score - expected(row, [0])] for score, row in zip(whole, POINT, strict=True)
    ]
    torch.testing.assert_close(found.extra["players"].double(), torch.tensor(want).double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fill", "x", "kind"),
    [
        (pl.Conditional(), torch.rand(1, 4).double(), OptionError),
        (pl.Conditional(torch.rand(5, 4), by="copula"), torch.rand(1, 4), OptionError),
        (pl.Conditional(torch.rand(5, 4), variants=3), torch.rand(1, 4), OptionError),
        (pl.Conditional(torch.rand(5, 4), variants=0), torch.rand(1, 4), OptionError),
        (pl.Conditional(torch.rand(5, 3)), torch.rand(1, 4), ShapeError),
        (pl.Conditional(torch.rand(2, 3, 32, 32)), torch.rand(1, 3, 32, 32), ShapeError),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_does_not_fit(fill: Any, x: torch.Tensor, kind: type[Exception]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 1)).to(x.dtype)
    with pytest.raises(kind) as caught:
        pl.Ablation(fill=fill, features=pl.Elements())(net, x)
    error: Any = caught.value
    assert error.do


def test_hidden_layers_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(ShapeError):
        pl.Ablation(fill=pl.Conditional(torch.rand(5, 4)))(net, torch.rand(1, 4), at="0")
