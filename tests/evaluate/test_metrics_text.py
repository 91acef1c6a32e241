"""Rationales of texts, prediction gaps of tables, soft masks: slow references, linear models, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from tests.evaluate.metrics_cases import SHAPES, cells, linear_on, noisy, reasons, shuffled, value
from tests.evaluate.planted import spots

METRICS = pl.metrics
RATIONALES = [METRICS.Comprehensiveness(), METRICS.Sufficiency()]
GAPS = [METRICS.PGI(), METRICS.PGU()]
SOFT = [METRICS.AverageDrop(), METRICS.AverageIncrease(), METRICS.AverageGain()]
SENTENCE = "A truly wonderful and charming film, with a weak end."


def name(metric: Any) -> str:
    return type(metric).__name__


def better(metric: Any) -> int:
    return 1 if metric.better == "higher" else -1


# ---------------------------------------------------------------------------------- rationales


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rationales_are_those_of_a_slow_reference(shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    map_ = noisy(exact, 0.5)
    worth = cells(map_, shape)
    order, n = np.argsort(-worth), len(worth)
    full, wide = float(model.module(x)), x[0].numpy().reshape(-1, n)
    without, only = [], []
    for share in (0.01, 0.05, 0.1, 0.2, 0.5):
        top = order[: max(1, math.ceil(round(share * n, 9)))]
        gone, left = wide.copy(), np.zeros_like(wide)
        gone[:, top], left[:, top] = 0, wide[:, top]
        without.append(full - float(model.module(torch.from_numpy(gone.reshape(x.shape)))))
        only.append(full - float(model.module(torch.from_numpy(left.reshape(x.shape)))))
    assert value(METRICS.Comprehensiveness(), map_, model, x) == pytest.approx(np.mean(without))
    assert value(METRICS.Sufficiency(), map_, model, x) == pytest.approx(np.mean(only))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", RATIONALES, ids=name)
def test_the_exact_rationale_wins(metric: Any, shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    best, worst = (better(metric) * value(metric, each, model, x) for each in (exact, -exact))
    chance = [better(metric) * value(metric, shuffled(exact, seed), model, x) for seed in range(8)]
    assert best > max(chance) > min(chance) > worst
    assert best >= better(metric) * value(metric, noisy(exact, 1.0), model, x) > worst


def test_words_are_deleted_or_masked() -> None:
    model = pl.load("demo:sentences")
    heat = pl.Ablation()(model, SENTENCE)
    wrong = -next(iter(heat.values.values()))
    given, target = heat.inputs, heat.target
    for metric in (METRICS.Comprehensiveness, METRICS.Sufficiency):
        numbers = {fill: metric(fill=fill)(heat, model).value for fill in (pl.DeleteToken(), pl.MaskToken(), None)}
        assert None not in numbers.values()
        assert numbers[pl.DeleteToken()] != numbers[pl.MaskToken()]
        worse = metric()(wrong, model, given, target).value
        assert better(metric) * numbers[None] > better(metric) * worse


# ---------------------------------------------------------------------------------- prediction gaps


def test_gaps_of_a_linear_model_are_the_mean_of_a_folded_normal() -> None:
    net = nn.Linear(8, 1).double().requires_grad_(False)
    net.weight[:] = torch.tensor([4.0, -3.0, 2.0, 1.0, -0.5, 0.4, 0.3, 0.2])
    x = torch.linspace(1, 2, 8, dtype=torch.float64)[None]
    map_ = (net.weight * x).abs()
    sigma = 0.1 * (net.weight * x)[0]
    top = map_[0].argsort(descending=True)[:2]
    rest = [i for i in range(8) if i not in top.tolist()]
    for metric, columns in ((METRICS.PGI(draws=4000), top.tolist()), (METRICS.PGU(draws=4000), rest)):
        wanted = math.sqrt(2 / math.pi) * float(sigma[columns].norm())
        assert value(metric, map_, net, x) == pytest.approx(wanted, rel=0.05)
    assert value(METRICS.PGI(noise=0.2), map_, net, x) == pytest.approx(2 * value(METRICS.PGI(), map_, net, x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_exact_map_has_the_largest_gap(shape: tuple[int, ...]) -> None:
    """Of the sizes of slopes: noise on a part moves the answer by them, whatever their sign."""
    model, x, _ = linear_on(shape)
    width = x.abs() if len(shape) == 1 else torch.ones_like(x)
    power = (model.module[1].weight.reshape(x.shape) * width).square()
    important, rest = METRICS.PGI(), METRICS.PGU()
    assert value(important, power, model, x) > value(important, -power, model, x)
    assert value(rest, power, model, x) < value(rest, -power, model, x)
    chance = [value(important, shuffled(power, seed), model, x) for seed in range(6)]
    assert value(important, power, model, x) > np.mean(chance) > value(important, -power, model, x)


def test_categories_of_a_table_stay() -> None:
    rows = [["a", 1.0, 3.0], ["b", 2.0, 1.0], ["a", 4.0, 2.0]]
    table = pl.Table(columns=("kind", "one", "two"), categories={"kind": ("a", "b")}, background=rows)
    model = pl.Model(nn.Linear(3, 1), inputs=table)
    row = [["b", 3.0, 2.0]]
    first = torch.tensor([[3.0, 2.0, 1.0]])
    assert "none of these parts" in reasons(METRICS.PGI(), first, model, row)  # type: ignore[arg-type]
    assert METRICS.PGU()(first, model, row).value > 0


def test_gaps_say_why_there_is_none() -> None:
    model, x, exact = linear_on((12,))
    for metric in GAPS:
        assert "the same everywhere" in reasons(metric, torch.ones_like(exact), model, x)
        assert "only one part" in reasons(metric, torch.ones(1, 1), nn.Linear(1, 1), torch.ones(1, 1))
        still = pl.BlackBox(lambda rows: rows[:, 0] * 0 + 2)
        assert "does not change the answer" in reasons(metric, torch.arange(6.0)[None], still, torch.ones(1, 6))
        sentences = pl.load("demo:sentences")
        assert "token ids" in " ".join(metric(pl.Ablation()(sentences, SENTENCE), sentences).reasons)


# ---------------------------------------------------------------------------------- soft masks


class Two(nn.Module):
    """Logits of two classes; the first is a weighted sum, the second is 0.3."""

    def __init__(self, n: int) -> None:
        super().__init__()
        weight = torch.randn(n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        self.weight = nn.Parameter(0.4 * weight + 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1) @ self.weight
        return torch.stack([score, torch.full_like(score, 0.3)], 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_soft_masks_are_those_of_a_slow_reference(shape: tuple[int, ...]) -> None:
    net, x = Two(int(np.prod(shape))), linear_on(shape)[1]
    for sign in (1, -1):
        map_ = sign * net.weight.detach().reshape(x.shape) * x
        mask = np.maximum(cells(map_, shape), 0)
        mask = mask / mask.max()
        wide = x[0].numpy().reshape(-1, len(mask)) * mask
        p, masked = (
            float(net(each).softmax(1)[0, 0].detach()) for each in (x, torch.from_numpy(wide.reshape(x.shape)))
        )
        assert value(METRICS.AverageDrop(), map_, net, x, 0) == pytest.approx(max(0, p - masked) / p, abs=1e-12)
        assert value(METRICS.AverageIncrease(), map_, net, x, 0) == float(masked > p)
        gain = max(0, masked - p) / (1 - p)
        assert value(METRICS.AverageGain(), map_, net, x, 0) == pytest.approx(gain, abs=1e-12)


def test_the_exact_map_gains_and_its_opposite_drops() -> None:
    net, x = Two(36), linear_on((1, 6, 6))[1]
    exact = net.weight.detach().reshape(x.shape) * x
    drop, increase, gain = SOFT
    assert value(drop, exact, net, x, 0) == 0 < value(drop, -exact, net, x, 0)
    assert value(increase, exact, net, x, 0) == 1 > value(increase, -exact, net, x, 0)
    assert value(gain, exact, net, x, 0) > 0 == value(gain, -exact, net, x, 0)


def test_average_drop_is_gamed_by_a_map_that_is_large_everywhere() -> None:
    """As the docstring warns; and gain is not."""
    net, x = Two(36), linear_on((1, 6, 6))[1]
    nearly = torch.ones_like(x)
    nearly[0, 0, 0, 0] = 1 - 1e-6
    assert value(METRICS.AverageDrop(), nearly, net, x, 0) == pytest.approx(0, abs=1e-5)
    assert value(METRICS.AverageGain(), nearly, net, x, 0) == pytest.approx(0, abs=1e-5)


def test_soft_masks_say_why_there_is_no_number() -> None:
    net, x = Two(12), linear_on((12,))[1]
    for metric in SOFT:
        assert "the same everywhere" in reasons(metric, torch.ones_like(x), net, x, 0)
        assert "nothing is left" in reasons(metric, -x, net, x, 0)
        sentences = pl.load("demo:sentences")
        assert "token ids" in " ".join(metric(pl.Ablation()(sentences, SENTENCE), sentences).reasons)
    model, row, exact = linear_on((12,))
    assert "no probability" in reasons(METRICS.AverageGain(), exact, model, row)
    below = pl.BlackBox(lambda rows: -rows.sum(1))
    assert "not positive" in reasons(METRICS.AverageDrop(), exact, below, row)


def test_the_three_soft_metrics_ask_once() -> None:
    net, x = Two(36), linear_on((1, 6, 6))[1]
    exact = net.weight.detach().reshape(x.shape) * x
    one = pl.measure(exact, net, x, 0, metrics=SOFT[:1]).rows
    assert pl.measure(exact, net, x, 0, metrics=SOFT).rows == one


@pytest.mark.parametrize("metric", [*RATIONALES, *GAPS, *SOFT], ids=name)
def test_memory_and_other_rows_change_nothing(metric: Any) -> None:
    model, pictures = spots()
    rows = pictures[:3]
    map_ = pl.InputXGradient()(model, rows).values
    found = []
    for memory in ("100 kB", "500 MB"):
        with pl.settings(memory=memory):
            found.append(metric(map_, model, rows).values)
    assert np.allclose(found[0], found[1], rtol=1e-4, atol=1e-5, equal_nan=True)
    single = np.concatenate([metric(map_[i : i + 1], model, rows[i : i + 1]).values for i in range(3)])
    assert np.allclose(found[1], single, rtol=1e-4, atol=1e-5, equal_nan=True)
