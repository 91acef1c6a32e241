"""Metrics of the bank and of parts hidden one by one: slow references, linear models, what cannot be measured."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

import pellucid as pl
from tests.evaluate.metrics_cases import SHAPES, cells, linear_on, noisy, reasons, shuffled, value
from tests.evaluate.planted import spots

METRICS = pl.metrics
CORRELATIONS = [METRICS.MuFidelity(), METRICS.SensitivityN(), METRICS.FaithfulnessEstimate()]
ALL = [*CORRELATIONS, METRICS.Infidelity(), METRICS.Monotonicity(), METRICS.MonotonicityCorrelation()]


def name(metric: Any) -> str:
    return type(metric).__name__


def better(metric: Any) -> int:
    return 1 if metric.better == "higher" else -1


class Interacting(nn.Module):
    """Six columns that do not add up."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2]).to(x)
        return (x @ weight + 2 * x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3])[:, None]


def game(x: np.ndarray) -> dict[tuple[bool, ...], float]:
    """The answer for each set of columns hidden by zeros."""
    net = Interacting().double()
    sets = list(itertools.product([False, True], repeat=6))
    return {each: float(net(torch.from_numpy(np.where(each, 0.0, x)))) for each in sets}


X = np.asarray([[1.0, 0.7, 1.3, 0.9, 1.1, 0.6]])
MAP = np.asarray([2.0, -1.0, 1.2, 0.1, -0.7, 0.4])


def measured(metric: Any, map_: np.ndarray = MAP) -> float:
    return value(metric, torch.from_numpy(map_)[None], Interacting().double(), torch.from_numpy(X))


def test_sensitivity_n_is_that_of_a_slow_reference() -> None:
    answers, found = game(X), []
    for size in range(1, 6):
        sets = [each for each in answers if sum(each) == size]
        drops = [answers[(False,) * 6] - answers[each] for each in sets]
        found.append(pearsonr([MAP[list(each)].sum() for each in sets], drops)[0])
    assert measured(METRICS.SensitivityN()) == pytest.approx(np.mean(found), abs=1e-6)


def test_infidelity_is_that_of_a_slow_reference() -> None:
    answers = game(X)
    sets = [each for each in answers if 0 < sum(each) < 6]
    drops = np.asarray([answers[(False,) * 6] - answers[each] for each in sets])
    claims = np.asarray([MAP[list(each)].sum() for each in sets])
    assert measured(METRICS.Infidelity(scale="none")) == pytest.approx(np.mean((claims - drops) ** 2))
    scales = np.linspace(0, 10, 20001)
    least = min(np.mean((scale * claims - drops) ** 2) for scale in scales)
    assert measured(METRICS.Infidelity()) == pytest.approx(least, rel=1e-5)
    assert measured(METRICS.Infidelity(), 1000 * MAP) == pytest.approx(measured(METRICS.Infidelity()))
    assert measured(METRICS.Infidelity(), -MAP) == pytest.approx(np.mean(drops**2))


def test_faithfulness_estimate_and_monotonicity_correlation_hide_one_at_a_time() -> None:
    answers = game(X)
    drops = [answers[(False,) * 6] - answers[tuple(i == j for j in range(6))] for i in range(6)]
    assert measured(METRICS.FaithfulnessEstimate()) == pytest.approx(pearsonr(MAP, drops)[0])
    wanted = spearmanr(np.abs(MAP), np.square(drops))[0]
    assert measured(METRICS.MonotonicityCorrelation()) == pytest.approx(wanted)
    assert measured(METRICS.MonotonicityCorrelation(), -MAP) == pytest.approx(wanted)


def test_the_expectation_of_monotonicity_correlation_is_over_variants() -> None:
    rows = np.asarray([[0.0] * 6, [2.0, 0, 2, 0, 2, 0.5], [1.0, 1.4, 0.6, 0.9, 3.0, 0.0]])
    net = Interacting().double()
    full = float(net(torch.from_numpy(X)))
    moved = []
    for i in range(6):
        other = np.repeat(X, 3, 0)
        other[:, i] = rows[:, i]
        moved.append(float(np.mean((net(torch.from_numpy(other)).numpy()[:, 0] - full) ** 2)))
    found = measured(METRICS.MonotonicityCorrelation(fill=pl.Marginal(torch.from_numpy(rows))))
    assert found == pytest.approx(spearmanr(np.abs(MAP), moved)[0])


@pytest.mark.parametrize("seed", range(12))
def test_monotonicity_adds_values_onto_the_baseline(seed: int) -> None:
    map_ = np.random.default_rng(seed).normal(size=6)
    row, answers = np.zeros((1, 6)), [game(X)[(True,) * 6]]
    for i in np.argsort(map_):
        row[0, i] = X[0, i]
        answers.append(float(Interacting().double()(torch.from_numpy(row))))
    assert measured(METRICS.Monotonicity(), map_) == float(np.all(np.diff(answers) >= 0))


def test_monotonicity_tells_maps_apart() -> None:
    """The second column helps only when the first is there: first the first, then the second."""
    model, x = pl.BlackBox(lambda rows: rows[:, 0] - rows[:, 1] + 3 * rows[:, 0] * rows[:, 1]), torch.ones(1, 2)
    assert value(METRICS.Monotonicity(), torch.tensor([[1.0, 2.0]]), model, x) == 1
    assert value(METRICS.Monotonicity(), torch.tensor([[2.0, 1.0]]), model, x) == 0


@pytest.mark.parametrize("positive", [True, False])
def test_monotonicity_of_a_model_that_adds_up_is_the_same_for_every_map(positive: bool) -> None:
    model, x, exact = linear_on((12,), positive=positive)
    maps = [exact, -exact, shuffled(exact, 1)]
    assert [value(METRICS.Monotonicity(), each, model, x) for each in maps] == [float(positive)] * 3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", CORRELATIONS, ids=name)
def test_correlations_of_exact_negated_and_shuffled_maps(metric: Any, shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    assert value(metric, exact, model, x) == pytest.approx(1)
    assert value(metric, 1e-5 * exact, model, x) == pytest.approx(1)
    assert value(metric, -exact, model, x) == pytest.approx(-1)
    chance = [value(metric, shuffled(exact, seed), model, x) for seed in range(12)]
    assert abs(np.mean(chance)) < 0.45
    assert max(chance) < value(metric, noisy(exact, 0.4), model, x) < 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_infidelity_of_exact_negated_and_shuffled_maps(shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    best, plain = METRICS.Infidelity(), METRICS.Infidelity(scale="none")
    nothing = value(best, -exact, model, x)
    chance = [value(best, shuffled(exact, seed), model, x) for seed in range(8)]
    assert value(best, exact, model, x) == pytest.approx(0, abs=1e-12)
    assert value(plain, exact, model, x) == pytest.approx(0, abs=1e-12)
    assert 0 < value(best, noisy(exact, 0.3), model, x) < min(chance) < max(chance) <= nothing + 1e-9
    assert value(best, 7 * exact, model, x) == pytest.approx(0, abs=1e-12)
    assert value(plain, 7 * exact, model, x) == pytest.approx(36 * nothing)
    assert value(plain, -exact, model, x) == pytest.approx(4 * nothing)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sizes_rank_as_moves_do(shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    metric = METRICS.MonotonicityCorrelation()
    assert value(metric, exact, model, x) == value(metric, -exact, model, x) == pytest.approx(1)
    worth = np.abs(cells(exact, shape))
    assert len(np.unique(worth)) == len(worth)
    chance = [value(metric, shuffled(exact, seed), model, x) for seed in range(8)]
    assert max(chance) < 1


def test_slopes_are_read_by_their_size() -> None:
    model, x, exact = linear_on((12,))
    heat = pl.Saliency()(model, x)
    assert heat.method.folding == "norm"
    drops = exact.abs().numpy().ravel()
    wanted = pearsonr(heat.values.abs().numpy().ravel(), drops)[0]
    assert METRICS.FaithfulnessEstimate()(heat, model).value == pytest.approx(wanted)
    assert METRICS.Infidelity()(heat, model).value >= 0


@pytest.mark.parametrize("metric", ALL, ids=name)
def test_memory_and_other_rows_change_nothing(metric: Any) -> None:
    model, pictures = spots()
    rows = pictures[:3]
    map_ = pl.InputXGradient()(model, rows).values
    found = []
    for memory in ("100 kB", "500 MB"):
        with pl.settings(memory=memory):
            found.append(metric(map_, model, rows).values)
    assert np.allclose(found[0], found[1], rtol=1e-4, atol=1e-5, equal_nan=True)
    alone = np.concatenate([metric(map_[i : i + 1], model, rows[i : i + 1]).values for i in range(3)])
    assert np.allclose(found[1], alone, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_the_bank_and_single_parts_are_asked_once() -> None:
    model, x, exact = linear_on((1, 6, 6))
    shared = [METRICS.MuFidelity(), METRICS.SensitivityN(), METRICS.Infidelity(), METRICS.Infidelity(scale="none")]
    alone = pl.measure(exact, model, x, metrics=shared[:1]).rows
    assert pl.measure([exact, -exact], model, x, metrics=shared).rows == alone
    singles = [METRICS.FaithfulnessEstimate(), METRICS.MonotonicityCorrelation()]
    assert pl.measure([exact, -exact], model, x, metrics=singles).rows == 36 + 2


@pytest.mark.parametrize("metric", ALL, ids=name)
def test_where_nothing_can_be_measured_it_says_why(metric: Any) -> None:
    model, x, exact = linear_on((12,))
    for constant in (torch.full_like(exact, 0.3), torch.zeros_like(exact)):
        assert "the same" in reasons(metric, constant, model, x)
    assert "only one part" in reasons(metric, torch.ones(1, 1), nn.Linear(1, 1), torch.ones(1, 1))
    ramp, ones = torch.arange(6.0)[None], torch.ones(1, 6)
    still = pl.BlackBox(lambda rows: rows[:, 0] * 0 + 2)
    assert "does not change the answer" in reasons(metric, ramp, still, ones)
    added = pl.BlackBox(lambda rows: rows.sum(1))
    balanced = torch.tensor([[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]])
    assert "no difference to explain" in reasons(metric, ramp, added, balanced)


def test_where_all_parts_do_the_same_there_is_no_correlation() -> None:
    added, ramp, ones = pl.BlackBox(lambda rows: rows.sum(1)), torch.arange(6.0)[None], torch.ones(1, 6)
    for metric in (METRICS.FaithfulnessEstimate(), METRICS.MonotonicityCorrelation(), METRICS.SensitivityN()):
        assert "no difference" in reasons(metric, ramp, added, ones)
    assert "of the same size" in reasons(
        METRICS.MonotonicityCorrelation(), torch.tensor([[1.0, -1, 1, -1, 1, -1]]), Interacting().double(),
        torch.from_numpy(X),
    )  # fmt: skip


def test_options_out_of_bounds_are_refused() -> None:
    with pytest.raises(pl.errors.OptionError):
        METRICS.Infidelity(scale="captum")
    with pytest.raises(pl.errors.OptionError):
        METRICS.SRG(steps=0)
    with pytest.raises(pl.errors.OptionError):
        METRICS.MoRF(per="log")
    for kind in (METRICS.ROAD, METRICS.Comprehensiveness):
        for shares in ((), (0.0,), (0.5, 1.0), (float("nan"),)):
            with pytest.raises(pl.errors.OptionError):
                kind(shares=shares)


@pytest.mark.peer
def test_faithfulness_estimate_is_that_of_quantus() -> None:
    quantus = pytest.importorskip("quantus")
    model, x, exact = linear_on((1, 6, 6))
    map_ = noisy(exact, 0.7)
    given = quantus.FaithfulnessEstimate(normalise=False, disable_warnings=True, perturb_baseline=0.0)
    net, labels = deepcopy(model.module).float().eval(), np.zeros(1, int)
    theirs = given(net, x.numpy(), labels, a_batch=map_.numpy(), softmax=False, channel_first=True)[0]
    assert value(METRICS.FaithfulnessEstimate(), map_, model, x) == pytest.approx(theirs, abs=1e-4)
