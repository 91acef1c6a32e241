"""RISE, Sobol and HSIC against slow loops, closed forms and enumerations."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.engines import masks as engine
from pellucid.engines import sensitivity
from pellucid.engines.coalitions import bernoulli, every
from pellucid.engines.masks import SHIFT_BITS, Clouds, drawn_clouds, drawn_parts, slopes
from pellucid.engines.sensitivity import dependence, exact_total_indices, swapped, total_indices
from pellucid.errors import OptionError, ShapeError
from tests.reference.plain import Array, Tanh3, close, rows


class Of(nn.Module):
    """Any function of the flat inputs, (rows, width) → (rows,)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.anything = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x.flatten(1))[:, None] + 0 * self.anything


def linear(weights: Any) -> Of:
    return Of(lambda x: x @ torch.as_tensor(weights, dtype=x.dtype) + 3)


# ---------------------------------------------------------------------------------------------------- RISE, slowly


def interpolated(line: Array, where: float) -> Array:
    """Linear between the numbers of a line, flat beyond its ends."""
    where = min(max(where, 0.0), len(line) - 1.0)
    low = int(where)
    high = min(low + 1, len(line) - 1)
    return line[low] * (1 - (where - low)) + line[high] * (where - low)


def cloud(grid: Array, shift: tuple[int, ...], space: tuple[int, ...]) -> Array:
    """The grid enlarged to one cell more than the picture, then cut at the shift, place by place."""
    cells = len(grid)
    for axis, (size, start) in enumerate(zip(space, shift, strict=True)):
        line = np.moveaxis(grid, axis, 0)
        centers = [(start + i + 0.5) * cells / (size * (cells + 1) / cells) - 0.5 for i in range(size)]
        grid = np.moveaxis(np.array([interpolated(line, each) for each in centers]), 0, axis)
    return grid


def decoded(coalition: Array, cells: int, space: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """Grid and shift of a coalition: cells first, then the bits of each shift, lowest first."""
    count = cells ** len(space)
    bits = coalition[count:].reshape(len(space), SHIFT_BITS)
    fine = [sum(int(bit) << i for i, bit in enumerate(axis)) for axis in bits]
    shift = tuple(each * ceil(size / cells) // 2**SHIFT_BITS for each, size in zip(fine, space, strict=True))
    return coalition[:count].reshape((cells,) * len(space)).astype(float), shift


def slow_masks(count: int, cells: int, space: tuple[int, ...], keep: float, seed: int) -> Array:
    coins = SHIFT_BITS * len(space)
    drawn = bernoulli(count, cells ** len(space), keep, seed, coins=coins).numpy()
    return np.array([cloud(*decoded(each, cells, space), space) for each in drawn])


NET = Tanh3(inputs=2 * 5 * 6, seed=4)
PICTURE = rows(1, 60, seed=8)[0].reshape(2, 5, 6)
CLASS = NET.predicted(PICTURE.ravel())


def scored(masks: Array) -> Array:
    return np.array([NET.score((PICTURE * mask).ravel(), CLASS) for mask in masks])


def rise(**options: Any) -> pl.Attribution:
    model = pl.Model(nn.Sequential(nn.Flatten(), NET.module()), inputs=pl.Images(mean=(0.0,), std=(1.0,)))
    return pl.RISE(fill=0.0, **options)(model, torch.from_numpy(PICTURE)[None])


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_plain_rise_is_the_weighted_mean_of_masks(keep: float) -> None:
    """Equation 6 of the paper, mask by mask."""
    with pl.settings(seed=5):
        result = rise(budget=41, cells=3, keep=keep, estimator="plain")
    masks = slow_masks(40, 3, (5, 6), keep, 5)
    terms = scored(masks)[:, None, None] * masks / keep
    close(result.values[0], np.broadcast_to(terms.mean(0), (2, 5, 6)))
    close(result.standard_error[0, 1], terms.std(0, ddof=1) / 40**0.5)
    assert result.receipt.rows_forward == 41


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_rise_is_the_slope_with_a_regression_as_control_variate(keep: float) -> None:
    """Blocks of places, least squares, and the known covariances from every shift, all in loops."""
    with pl.settings(seed=5):
        result = rise(budget=81, cells=3, keep=keep)
    space, cells = (5, 6), 3
    masks = slow_masks(80, cells, space, keep, 5)
    y = scored(masks)
    blocks = [(i * cells // 5, j * cells // 6) for i in range(5) for j in range(6)]
    pool = np.array([[each == block for each in blocks] for block in product(range(3), range(3))], dtype=float)
    pool /= pool.sum(1, keepdims=True)
    coarse = masks.reshape(80, 30) @ pool.T
    centered = coarse - coarse.mean(0)
    slope = np.linalg.lstsq(centered, y - y.mean(), rcond=None)[0]
    rest = y - y.mean() - centered @ slope
    covariance = exact_covariance(cells, space, keep)
    own = np.diag(covariance)
    noise = rest[:, None] * (masks.reshape(80, 30) - keep)
    expected = (noise.mean(0) + covariance @ pool.T @ slope) / own
    close(result.values[0, 0].flatten(), expected, 1e-9)
    error = noise.var(0)
    close(result.standard_error[0, 0].flatten(), np.sqrt(error / 79) / own * 80 / (80 - 9 - 1), 1e-9)


def exact_covariance(cells: int, space: tuple[int, ...], keep: float) -> Array:
    """Cov(M_λ, M_κ) over grids and shifts: each cell's image, for each shift as often as it is drawn."""
    shifts = [[fine * ceil(size / cells) // 2**SHIFT_BITS for fine in range(2**SHIFT_BITS)] for size in space]
    total = np.zeros((int(np.prod(space)),) * 2)
    for shift in product(*(sorted(set(each)) for each in shifts)):
        often = np.prod([each.count(one) / len(each) for each, one in zip(shifts, shift, strict=True)])
        for cell in range(cells ** len(space)):
            grid = np.zeros(cells ** len(space))
            grid[cell] = 1
            image = cloud(grid.reshape((cells,) * len(space)), shift, space).ravel()
            total += often * keep * (1 - keep) * np.outer(image, image)
    return total


def series(function: Any, size: int) -> tuple[pl.Model, Tensor]:
    return pl.Model(Of(function), inputs=pl.Series()), torch.ones(1, 1, size, dtype=torch.float64)


def enumerated(function: Any, size: int, cells: int, keep: float) -> Array:
    """Cov / Var over all grids and shifts of a series of ones."""
    shifts = [fine * ceil(size / cells) // 2**SHIFT_BITS for fine in range(2**SHIFT_BITS)]
    masks, weights = [], []
    for grid in product((0.0, 1.0), repeat=cells):
        for shift in sorted(set(shifts)):
            masks.append(cloud(np.array(grid), (shift,), (size,)))
            chance = np.prod([keep if each else 1 - keep for each in grid])
            weights.append(chance * shifts.count(shift) / len(shifts))
    m, w = np.array(masks), np.array(weights)
    y = function(torch.from_numpy(m)).numpy()
    d = m - w @ m
    return (w * (y - w @ y)) @ d / (w @ d**2)


def bent(x: Tensor) -> Tensor:
    return torch.tanh(3 * x[:, 0] - 2 * x[:, 2]) + x[:, 1] * x[:, 4] + (x[:, 5] - x[:, 3]).square()


@pytest.mark.parametrize("keep", [0.5, 0.7])
def test_intervals_of_rise_hold_the_slope_over_all_masks(keep: float) -> None:
    truth = enumerated(bent, 6, 3, keep)
    model, x = series(bent, 6)
    inside = []
    for seed in range(60):
        with pl.settings(seed=seed):
            result = pl.RISE(fill=0.0, budget=101, cells=3, keep=keep)(model, x)
        off = np.abs(result.values[0, 0].numpy() - truth) / result.standard_error[0, 0].numpy()
        inside.append(off <= 1.96)
        assert off.max() < 6
    assert 0.9 <= np.mean(inside) <= 0.995


def test_rise_is_far_less_noisy_than_plain_rise() -> None:
    """The same draws, the same units: plain times E M / Var M is the slope plus a constant where masks are hard."""
    spread = {}
    for estimator in ("slope", "plain"):
        found = []
        for seed in range(20):
            with pl.settings(seed=seed):
                found.append(rise(budget=121, cells=3, estimator=estimator, features=pl.Patches(3)).values)
        spread[estimator] = float(torch.stack(found).var(0).mean()) * (4 if estimator == "plain" else 1)
    assert spread["slope"] < 0.3 * spread["plain"]


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_rise_of_a_linear_function_of_the_cells_is_its_weights(keep: float) -> None:
    """Each cell's slope is w·x; plain RISE is E f + (1 − keep) w·x."""
    weights, x = rows(2, 64, seed=3)
    cells = [(weights * x).reshape(8, 8)[i : i + 2, j : j + 2].sum() for i in range(0, 8, 2) for j in range(0, 8, 2)]
    given, options = torch.from_numpy(x).reshape(1, 1, 8, 8), {"fill": 0.0, "features": pl.Patches(4), "keep": keep}
    for budget in (300, 40):  # so few draws for sixteen parts are regressed on the sum of parts only
        result = pl.RISE(budget=budget, **options)(linear(weights), given)
        found, error = result.extra["players"][0].numpy(), result.standard_error[0, 0, ::2, ::2].flatten().numpy()
        assert (np.abs(found - cells) <= 4 * error + 1e-9).all()
        assert (error.max() < 1e-8) == (budget == 300)
    plain = pl.RISE(budget=2**16, estimator="plain", **options)(linear(weights), given)
    close(plain.extra["players"][0], 3 + keep * sum(cells) + (1 - keep) * np.array(cells), 1e-9)
    assert plain.standard_error is None


def test_soft_masks_of_a_linear_function_smear_its_weights() -> None:
    weights = np.arange(6.0)
    model, x = series(lambda m: m @ torch.arange(6.0, dtype=m.dtype), 6)
    covariance = exact_covariance(2, (6,), 0.5)
    result = pl.RISE(fill=0.0, budget=400, cells=2)(model, x)
    expected = covariance @ weights / np.diag(covariance)
    assert (np.abs(result.values[0, 0].numpy() - expected) <= 4 * result.standard_error[0, 0].numpy() + 1e-9).all()
    close(expected, enumerated(lambda m: m @ torch.arange(6.0, dtype=m.dtype), 6, 2, 0.5))


def test_rise_over_all_coalitions_is_what_sampling_tends_to() -> None:
    exact = pl.RISE(fill=0.0, keep=0.3, features=pl.Elements())(series(bent, 6)[0], torch.ones(1, 1, 6).double())
    z = bernoulli(4000, 6, 0.3, seed=2)
    values, error = slopes(drawn_parts(z, 0.3), bent(z.double())[:, None], 0.3)
    assert exact.standard_error is None
    assert bool(((values[:, 0] - exact.values[0, 0]).abs() <= 4 * error[:, 0]).all())


def test_masks_are_made_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In both passes; and it makes no difference to the values."""
    usual = rise(budget=200, cells=3)
    largest, whole = [], Clouds.shown

    def shown(self: Clouds, coalitions: Tensor) -> Tensor:
        largest.append(len(coalitions))
        return whole(self, coalitions)

    monkeypatch.setattr(Clouds, "shown", shown)
    monkeypatch.setattr(engine, "NUMBERS", 300)
    with pl.settings(memory=100_000):
        again = rise(budget=200, cells=3)
    assert sum(largest) == 2 * 199
    assert max(largest) <= 100
    assert set(largest[-10:]) <= {10, 199 % 10, 8}  # 300 numbers are ten masks of thirty places
    torch.testing.assert_close(again.values, usual.values)


def test_masks_of_a_picture_are_those_of_the_paper_where_cells_divide_it() -> None:
    """Seven cells in 28 places: the grid enlarged to 32 by torch, then cut."""
    clouds = Clouds(7, (1, 28, 28), torch.zeros((), dtype=torch.float64))
    drawn = bernoulli(20, 49, 0.5, seed=1, coins=2 * SHIFT_BITS)
    for coalition, mask in zip(drawn, clouds.shown(drawn), strict=True):
        grid, (down, right) = decoded(coalition.numpy(), 7, (28, 28))
        large = nn.functional.interpolate(torch.from_numpy(grid)[None, None], (32, 32), mode="bilinear")[0, 0]
        torch.testing.assert_close(mask[0, 0], large[down : down + 28, right : right + 28])
    assert len({decoded(each.numpy(), 7, (28, 28))[1] for each in drawn}) > 5


# ------------------------------------------------------------------------------------------------------------ Sobol


def sobol(function: Any, n: int, **options: Any) -> pl.Attribution:
    return pl.Sobol(fill=0.0, **options)(Of(function), torch.ones(1, n, dtype=torch.float64))


def known_additive() -> tuple[Any, Array]:
    weights = np.array([3.0, -2.0, 1.0, 0.0])
    return lambda x: x @ torch.from_numpy(weights), weights**2 / (weights**2).sum()


def known_product() -> tuple[Any, Array]:
    return lambda x: x.prod(1), np.array([4 / 7, 4 / 7])


def known_g() -> tuple[Any, Array]:
    """Sobol's g-function: Π (|4u − 2| + a) / (1 + a)."""
    a = np.array([0.0, 1.0, 4.5, 9.0, 99.0])
    own = 1 / 3 / (1 + a) ** 2
    total = [own[i] * np.prod(1 + np.delete(own, i)) for i in range(5)] / (np.prod(1 + own) - 1)
    coefficients = torch.from_numpy(a)
    return lambda u: (((4 * u - 2).abs() + coefficients) / (1 + coefficients)).prod(1), total


@pytest.mark.parametrize("known", [known_additive, known_product, known_g])
def test_sobol_of_functions_with_known_indices(known: Any) -> None:
    function, expected = known()
    found = []
    for seed in range(5):
        with pl.settings(seed=seed):
            result = sobol(function, len(expected))
        found.append(result.values[0].numpy())
        assert (np.abs(found[-1] - expected) <= 4 * result.standard_error[0].numpy() + 1e-12).all()
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=0.04)


@pytest.mark.parametrize("size", [64, 603])
def test_intervals_of_sobol_hold_the_indices(size: int) -> None:
    """Pairs of dimensions that go together badly, in one long sequence, would be off by ten standard errors here."""
    function, expected = known_g()
    off = []
    for seed in range(60):
        scores = function(swapped(5, size, seed)(torch.arange(size * 7)))
        values, error = total_indices(scores.reshape(size, 7, 1))
        off.append(np.abs(values[:, 0].numpy() - expected) / error[:, 0].numpy())
    assert np.mean(np.array(off) <= 1.96) >= 0.9
    assert np.max(off) < 6


def test_sobol_is_jansens_estimator() -> None:
    """A, B, and A with one column from B, row by row."""
    n, count = 3, 20
    function = lambda x: torch.tanh(x @ torch.tensor([2.0, -1.0, 0.5]).double()) + x[:, 0] * x[:, 2]  # noqa: E731
    with pl.settings(seed=4):
        result = sobol(function, n, budget=count * (n + 2) + 1)
    design = swapped(n, count, 4)
    a, b = design.a.numpy(), design.b.numpy()
    f = lambda row: float(function(torch.from_numpy(np.array(row))[None])[0])  # noqa: E731
    steps = np.zeros((count, n))
    for row in range(count):
        for i in range(n):
            mixed = [b[row, j] if j == i else a[row, j] for j in range(n)]
            steps[row, i] = (f(a[row]) - f(mixed)) ** 2 / 2
    both = np.array([f(row) for row in a] + [f(row) for row in b])
    close(result.values[0], steps.mean(0) / both.var(ddof=1))
    assert result.receipt.rows_forward == count * (n + 2) + 1
    without = []
    for row in range(count):
        kept = np.delete(np.arange(count), row)
        without.append(steps[kept].mean(0) / both[np.concatenate([kept, kept + count])].var(ddof=1))
    jackknife = np.sqrt((count - 1) ** 2 / count * np.var(without, axis=0, ddof=1))
    np.testing.assert_allclose(result.standard_error[0].numpy(), jackknife, rtol=0.15)


def test_designs_begin_with_shorter_ones() -> None:
    long, short = swapped(4, 37, 2), swapped(4, 5, 2)
    assert torch.equal(long(torch.arange(30)), short(torch.arange(30)))
    assert not torch.equal(swapped(4, 5, 3).a, short.a)
    assert len(torch.cat([long.a, long.b], 1).unique(dim=0)) == 37
    with pytest.raises(OptionError):
        swapped(30_000, 4, 0)


def test_sobol_of_what_is_there_or_not() -> None:
    """Words and windows cannot be mixed; over all coalitions the index is exact."""
    scores = torch.from_numpy(rows(1, 16, seed=5)[0])[:, None]
    expected = []
    for i in range(4):
        steps = [(scores[s, 0] - scores[s ^ (1 << i), 0]) ** 2 / 4 for s in range(16)]
        expected.append(np.mean(steps) / scores.numpy().var())
    close(exact_total_indices(scores, 4)[:, 0], expected)
    design = swapped(4, 2000, 1)(torch.arange(12_000)) > 0.5
    drawn = scores[(design * 2 ** torch.arange(4)).sum(1)].unflatten(0, (2000, 6))
    values, error = total_indices(drawn)
    assert (np.abs(values[:, 0].numpy() - expected) <= 4 * error[:, 0].numpy()).all()
    picture, net = torch.rand(1, 1, 8, 8), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    assert pl.Sobol(features=pl.Windows(4), budget=200)(net, picture).values.shape == (1, 1, 8, 8)


def test_categories_are_never_mixed() -> None:
    seen: list[Array] = []

    def predict(plain: Array) -> Array:
        seen.append(plain)
        return plain[:, 0] + plain[:, 1]

    table = pl.Table(columns=("age", "sex"), categories={"sex": ("f", "m")}, background=[[30, 0], [40, 0]])
    box = pl.BlackBox(predict, inputs=table, task="regression")
    result = pl.Sobol()(box, {"age": 50, "sex": "m"})
    assert set(np.concatenate(seen)[:, 1]) == {0, 1}
    close(result.values[0], [225 / 226, 1 / 226])


# ------------------------------------------------------------------------------------------------------------- HSIC


def slow_hsic(parts: Array, y: Array) -> Array:
    """tr KHLH / N² over √ of each with itself, with matrices filled in loops."""
    count = len(y)
    differences = [abs(y[i] - y[j]) for i in range(count) for j in range(i) if abs(y[i] - y[j]) > 0]
    width = sorted(differences)[(len(differences) - 1) // 2]
    away = np.eye(count) - 1 / count
    kernel = np.array([[np.exp(-((a - b) ** 2) / (2 * width**2)) for b in y] for a in y])
    found = []
    for part in parts.T:
        same = np.array([[float(a == b) for b in part] for a in part])
        between = np.trace(same @ away @ kernel @ away)
        alone = np.trace(same @ away @ same @ away) * np.trace(kernel @ away @ kernel @ away)
        found.append(between / np.sqrt(alone))
    return np.array(found)


def test_hsic_is_the_normalized_v_statistic(monkeypatch: pytest.MonkeyPatch) -> None:
    z = bernoulli(40, 5, 0.5, seed=3)
    y = torch.stack([z[:, 0] * 2.0 + z[:, 1] * z[:, 2], z[:, 4] + 0.1 * torch.arange(40)], 1).double()
    values, error, chance = dependence(z, y)
    close(values, np.stack([slow_hsic(z.numpy(), each.numpy()) for each in y.T], 1))
    monkeypatch.setattr(sensitivity, "NUMBERS", 90)
    for again, first in zip(dependence(z, y), (values, error, chance), strict=True):
        torch.testing.assert_close(again, first)


def test_errors_of_hsic_are_those_of_a_jackknife(monkeypatch: pytest.MonkeyPatch) -> None:
    """The width of the kernel taken as given."""
    monkeypatch.setattr(sensitivity, "bandwidth", lambda y: torch.tensor(0.8).double())
    z = bernoulli(150, 4, 0.5, seed=3)
    y = torch.tanh(z.double() @ torch.tensor([3.0, 1.0, 0.6, 0.3]).double()) + 0.3 * z[:, 0] * z[:, 1]
    values, error, _ = dependence(z, y[:, None])
    kept = [torch.arange(150) != i for i in range(150)]
    without = torch.stack([dependence(z[each], y[each, None])[0] for each in kept])
    jackknife = (149**2 / 150 * without.var(0)).sqrt()
    assert float(values[0]) > 0.3
    np.testing.assert_allclose(error[0], jackknife[0], rtol=0.15)


def test_intervals_of_hsic_hold_what_all_coalitions_give() -> None:
    weights = torch.linspace(0.3, 3, 10, dtype=torch.float64)
    y = lambda z: torch.tanh(z.double() @ weights - 8) + 0.3 * z[:, 9] * z[:, 8]  # noqa: E731
    truth = dependence(every(10), y(every(10))[:, None])[0][:, 0]
    inside = []
    for seed in range(60):
        z = bernoulli(300, 10, 0.5, seed=seed)
        values, error, chance = dependence(z, y(z)[:, None])
        inside.append((values[:, 0] - chance - truth).abs() <= 1.96 * error[:, 0])
    assert 0.9 <= torch.stack(inside).double().mean() <= 0.995


def test_hsic_of_a_part_without_influence_is_chance() -> None:
    y = lambda z: torch.sin(1.5 * z[:, 0]) + z[:, 1] * z[:, 2]  # noqa: E731
    found, chances = [], []
    for seed in range(40):
        z = bernoulli(200, 6, 0.5, seed=seed)
        values, error, chance = dependence(z, y(z.double())[:, None])
        assert (values >= 0).all()
        assert (values[:2, 0] > chance).all()
        assert (error > 0).all()
        found.append(values[3:, 0])
        chances.append(chance)
    mean, spread = torch.stack(found).mean(), torch.stack(found).std() / 120**0.5
    assert abs(mean - torch.stack(chances).mean()) < 4 * spread
    assert float(mean) < 0.01
    exact = pl.HSIC(fill=0.0)(Of(y), torch.ones(1, 6, dtype=torch.float64))
    assert exact.standard_error is None
    assert float(exact.values[0, 3:].abs().max()) < 1e-12
    assert float(exact.values[0, :3].min()) > 0.01


def test_hsic_of_many_equal_scores() -> None:
    """One draw in a thousand differs: the width is that of unequal scores."""
    z = bernoulli(3000, 3, 0.5, seed=0)
    y = torch.zeros(3000, 2, dtype=torch.float64)
    y[7, 0] = 1
    values, error, _ = dependence(z, y)
    assert bool(torch.isfinite(values).all() and torch.isfinite(error).all())
    assert float(values[:, 1].abs().max()) == 0


# ---------------------------------------------------------------------------------------------------------- all three


@pytest.mark.parametrize("name", ["RISE", "Sobol", "HSIC"])
def test_no_more_predictions_than_the_budget(name: str) -> None:
    kind, x = getattr(pl, name), torch.rand(2, 9, dtype=torch.float64)
    net = Of(lambda x: x.prod(1) + x[:, 0])
    for budget in (45, 46, 60, 100):
        assert kind(budget=budget)(net, x).receipt.rows_forward <= 2 * budget
        noise = kind(budget=2 * budget, fill=pl.Noise(variants=2))(net, x)
        assert noise.receipt.rows_forward <= 4 * budget


@pytest.mark.parametrize("name", ["RISE", "Sobol", "HSIC"])
def test_tolerance_and_resuming(name: str) -> None:
    """Easy questions end early; what a smaller budget asked is asked by a larger one, and not again."""
    kind, x = getattr(pl, name), torch.rand(1, 1, 6, dtype=torch.float64) + 0.5
    options = {"fill": 0.0, **({"cells": 3} if name == "RISE" else {})}
    model = series(bent, 6)[0]
    if name == "HSIC":
        options["features"] = pl.Elements()
        model, x = Of(lambda v: bent(v) + v[:, 6:].sum(1)), torch.rand(1, 14, dtype=torch.float64) + 0.5
    whole = kind(budget=801, **options)(model, x)
    early = kind(budget=801, tolerance=0.5, **options)(model, x)
    assert early.receipt.rows_forward < 0.6 * whole.receipt.rows_forward
    half = kind(budget=401, **options)(model, x)
    on = kind(budget=801, resume=half, **options)(model, x)
    torch.testing.assert_close(on.values, whole.values)
    assert on.receipt.rows_forward <= whole.receipt.rows_forward - half.receipt.rows_forward + 1


@pytest.mark.parametrize("name", ["RISE", "Sobol", "HSIC"])
def test_words_of_a_sentence(name: str) -> None:
    kind = getattr(pl, name)
    result = kind()(pl.load("demo:sentences"), "A wonderful film.")
    assert "wonderful" in result.top(1)[0][0]
    assert result.standard_error is None  # all coalitions of four words


def test_a_network_that_moves_by_rounding_only_gets_zeros() -> None:
    x = torch.rand(1, 1, 8, 8)
    net = Of(lambda x: 1.2 + 1e-8 * x.sum(1)).float()
    for name in ("Sobol", "HSIC"):
        result = getattr(pl, name)(budget=200)(net, x)
        assert float(result.values.abs().max()) == float(result.standard_error.abs().max()) == 0


@pytest.mark.parametrize(
    "options",
    [{"cells": 9}, {"cells": 0}, {"keep": 0.0}, {"keep": 1.0}, {"keep": "half"}, {"budget": 8}, {"estimator": "best"}],
)
def test_rise_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        pl.RISE(**options)(nn.Conv2d(1, 1, 8), torch.rand(1, 1, 8, 8))


def test_sobol_and_hsic_refuse_too_few() -> None:
    net, x = nn.Linear(20, 1), torch.rand(1, 20)
    with pytest.raises(OptionError) as caught:
        pl.Sobol(budget=44)(net, x)
    assert "45" in caught.value.expected
    assert pl.Sobol(budget=45)(net, x).receipt.rows_forward == 45
    with pytest.raises(OptionError):
        pl.HSIC(budget=8)
    with pytest.raises(ShapeError):
        pl.RISE(features=engine.SoftGrid(2))(net, x)


def test_coarse_sums_shrink_where_draws_are_few() -> None:
    clouds = Clouds(5, (1, 10, 10), torch.zeros((), dtype=torch.float64))
    for count, side in ((400, 5), (99, 4), (20, 2), (8, 1)):
        drawn = drawn_clouds(clouds, bernoulli(count, 25, 0.5, 0, coins=2 * SHIFT_BITS), 0.5)
        assert drawn.coarse.shape == (count, side**2)
        assert drawn.joint.shape == (side**2, 100)
        masks = drawn.masks(torch.arange(count)).unflatten(1, (10, 10))
        if side == 5:
            pooled = nn.functional.avg_pool2d(masks[:, None], 2).flatten(1)
            torch.testing.assert_close(drawn.coarse, pooled)
