"""Curves: slow references from the papers, linear models on all kinds of inputs, and what cannot be measured."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.evaluate.metrics.curves import steps_of
from pellucid.evaluate.metrics.hiding import falling
from tests.evaluate.metrics_cases import SHAPES, cells, linear_on, noisy, reasons, shuffled, value
from tests.evaluate.planted import spots

METRICS = pl.metrics
CURVES = [
    METRICS.Deletion(), METRICS.Insertion(), METRICS.MoRF(), METRICS.LeRF(), METRICS.SRG(),
    METRICS.RegionPerturbation(), METRICS.PixelFlipping(),
]  # fmt: skip


def name(metric: Any) -> str:
    return type(metric).__name__


def better(metric: Any) -> int:
    return 1 if metric.better == "higher" else -1


def curve(model: pl.Model, x: Tensor, map_: Tensor, *, most_first: bool, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares and answers, one step after the other, from the papers: places hidden by zeros with all channels."""
    shape = tuple(x.shape[1:])
    worth = cells(map_, shape)
    order = np.argsort(-worth if most_first else worth)
    counts = np.unique(np.round(np.linspace(0, len(worth), min(steps, len(worth)) + 1)).astype(int))
    net, found = model.module, []
    for count in counts:
        flat = x[0].numpy().reshape(-1, len(worth)).copy() if len(shape) > 1 else x.numpy().copy()
        flat[:, order[:count]] = 0
        found.append(float(net(torch.from_numpy(flat.reshape(x.shape)))))
    return counts / len(worth), np.asarray(found)


def under(shares: np.ndarray, heights: np.ndarray) -> float:
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(shares)).sum())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("steps", [4, 10, 1000])
def test_curves_are_those_of_a_slow_reference(shape: tuple[int, ...], steps: int) -> None:
    model, x, exact = linear_on(shape)
    map_ = noisy(exact, 0.5)
    shares, most = curve(model, x, map_, most_first=True, steps=steps)
    shares_up, least = curve(model, x, map_, most_first=False, steps=steps)
    size = abs(most[0] - most[-1])
    wanted = {
        METRICS.Deletion(steps=steps): under(shares, most),
        METRICS.MoRF(steps=steps): under(shares, (most - most[-1]) / size),
        METRICS.LeRF(steps=steps): under(shares_up, (least - most[-1]) / size),
        METRICS.SRG(steps=steps): (under(shares_up, least) - under(shares, most)) / size,
        METRICS.RegionPerturbation(steps=steps): np.mean(most[0] - most),
        METRICS.PixelFlipping(steps=steps): under(shares, most),
        METRICS.Insertion(steps=steps): under(shares_up, least),
        METRICS.SRG(steps=steps, per="nothing"): under(shares_up, least) - under(shares, most),
    }
    for metric, number in wanted.items():
        assert value(metric, map_, model, x) == pytest.approx(number, rel=1e-9, abs=1e-12), name(metric)


def test_insertion_shows_the_most_important_first() -> None:
    """By the paper's own words: parts are put in, most important first."""
    model, x, exact = linear_on((12,))
    order, answers = np.argsort(-exact.numpy().ravel()), []
    for count in range(13):
        row = np.zeros((1, 12))
        row[:, order[:count]] = x.numpy()[:, order[:count]]
        answers.append(float(model.module(torch.from_numpy(row))))
    assert value(METRICS.Insertion(steps=12), exact, model, x) == pytest.approx(
        under(np.linspace(0, 1, 13), np.asarray(answers))
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", CURVES, ids=name)
def test_the_exact_map_wins_over_noisy_random_and_negated(metric: Any, shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    maps = [exact, noisy(exact, 1.0), -exact]
    best, middle, worst = (better(metric) * value(metric, each, model, x) for each in maps)
    chance = [better(metric) * value(metric, shuffled(exact, seed), model, x) for seed in range(8)]
    assert best > middle > worst
    assert best > max(chance)
    assert worst < min(chance)


@pytest.mark.parametrize("channels", [1, 3])
def test_superpixels_of_one_size_are_ranked_by_their_mean(channels: int) -> None:
    pytest.importorskip("skimage")
    shades = torch.tensor([[0.1, 0.9, 0.3], [0.7, 0.2, 1.0], [0.4, 0.8, 0.5]]).double()
    x = torch.kron(shades, torch.ones(5, 5).double()).expand(1, channels, 15, 15).contiguous()
    net = nn.Sequential(nn.Flatten(), nn.Linear(x.numel(), 1)).double().requires_grad_(False)
    net[1].weight[:] = 1.0
    metric = METRICS.IROF(superpixels=9)
    best, worst = value(metric, x, net, x), value(metric, -x, net, x)
    chance = [value(metric, shuffled(x, seed), net, x) for seed in range(6)]
    assert best > max(chance) > min(chance) > worst
    assert value(METRICS.IROF(superpixels=9, per="answer"), x, net, x) < best


def test_irof_is_that_of_a_slow_reference() -> None:
    pytest.importorskip("skimage")
    model, x, exact = linear_on((3, 6, 6), positive=True)
    players: Any = pl.Superpixels(6)(question(model, x))
    parts = players.labels.reshape(6, 6).numpy()
    worth = exact[0].numpy().sum(0)
    order = sorted(range(parts.max() + 1), key=lambda part: -worth[parts == part].mean())
    picture, answers = x.numpy().copy(), [float(model.module(x))]
    for part in order:
        picture[:, :, parts == part] = 0
        answers.append(float(model.module(torch.from_numpy(picture))))
    ratio = 1 - np.asarray(answers) / answers[0]
    found = value(METRICS.IROF(superpixels=6, per="answer"), exact, model, x)
    assert found == pytest.approx(under(np.linspace(0, 1, len(ratio)), ratio))


def test_srg_of_opposites_are_opposite_and_of_random_maps_small() -> None:
    model, x, exact = linear_on((3, 6, 6))
    srg = METRICS.SRG()
    assert value(srg, -exact, model, x) == pytest.approx(-value(srg, exact, model, x))
    chance = [value(srg, shuffled(exact, seed), model, x) for seed in range(30)]
    assert abs(np.mean(chance)) < 3 * np.std(chance) / len(chance) ** 0.5 + 1e-9


def test_right_maps_win_where_the_answer_is_below_that_of_nothing() -> None:
    """The range divides without its sign, or it would turn the ranking around."""
    model, x, exact = linear_on((12,))
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).double().requires_grad_(False)
    net[1].weight[:], net[1].bias[:] = -model.module[1].weight, 0
    for metric in (METRICS.SRG(), METRICS.MoRF(), METRICS.LeRF()):
        assert better(metric) * value(metric, -exact, net, x) > better(metric) * value(metric, exact, net, x)


def test_metrics_share_what_they_ask() -> None:
    model, x, exact = linear_on((1, 6, 6))
    metrics = [METRICS.MoRF(steps=12), METRICS.LeRF(steps=12), METRICS.SRG(steps=12), METRICS.Deletion(steps=12)]
    alone = pl.measure(exact, model, x, metrics=[METRICS.SRG(steps=12)]).rows
    assert pl.measure(exact, model, x, metrics=metrics).rows == alone == 2 * 11 + 2
    assert pl.measure([exact, exact.clone()], model, x, metrics=metrics).rows == alone


def test_all_steps_of_a_row_are_one_batch() -> None:
    calls: list[int] = []

    def answer(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return rows.reshape(len(rows), -1) @ np.arange(1.0, 37.0)

    x = torch.rand(2, 1, 6, 6)
    assert METRICS.PixelFlipping(steps=36)(x, pl.BlackBox(answer), x).value is not None
    assert max(calls) >= 16
    assert sum(calls) <= 2 * (36 + 3)


def test_ties_are_broken_by_lot_and_not_from_a_corner() -> None:
    order = falling(torch.tensor([0.0] * 50 + [1.0] + [0.0] * 49).double(), 0)
    assert int(order[0]) == 50
    assert order[1:].tolist() != sorted(order[1:].tolist())
    assert torch.equal(order, falling(torch.tensor([0.0] * 50 + [1.0] + [0.0] * 49).double(), 0))


def test_steps_hide_all_in_the_end_and_at_least_one_each() -> None:
    for n in (2, 3, 7, 49, 50):
        for steps in (1, 2, 10, 100):
            counts = steps_of(n, steps)
            assert (int(counts[0]), int(counts[-1])) == (0, n)
            assert int(counts.diff().min()) >= 1
            assert len(counts) <= steps + 1


@pytest.mark.parametrize("metric", [*CURVES, METRICS.IROF(superpixels=9)], ids=name)
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


def sure(rows: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-(rows.reshape(len(rows), -1).sum(1) + 40)))
    return np.stack([1 - p, p], 1)


@pytest.mark.parametrize("metric", CURVES, ids=name)
def test_where_nothing_can_be_measured_it_says_why(metric: Any) -> None:
    model, x, exact = linear_on((12,))
    assert "the same everywhere" in reasons(metric, torch.full_like(exact, 0.3), model, x)
    assert "the same everywhere" in reasons(metric, torch.zeros_like(exact), model, x)
    assert "only one part" in reasons(metric, torch.ones(1, 1), nn.Linear(1, 1), torch.ones(1, 1))
    ramp = torch.arange(6.0)[None]
    assert "saturated" in reasons(metric, ramp, pl.BlackBox(sure), torch.ones(1, 6))
    constant = pl.BlackBox(lambda rows: rows[:, 0] * 0 + 2)
    assert "does not change the answer" in reasons(metric, ramp, constant, torch.ones(1, 6))
    even = pl.BlackBox(lambda rows: rows.sum(1))
    balanced = torch.tensor([[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]])
    assert "no difference to explain" in reasons(metric, ramp, even, balanced)


def test_never_divided_by_an_answer_that_is_not_positive() -> None:
    model, x, exact = linear_on((12,))
    less = pl.BlackBox(lambda rows: model.module(torch.from_numpy(rows)).numpy()[:, 0] - 100.0)
    assert "not positive" in reasons(METRICS.MoRF(per="answer"), exact, less, x)


def test_superpixels_need_a_picture() -> None:
    model, x, exact = linear_on((3, 12))
    assert "superpixels" in reasons(METRICS.IROF(), exact, model, x)


def test_a_fill_of_its_own() -> None:
    model, x, exact = linear_on((12,))
    wanted = value(METRICS.Deletion(), exact, model, x)
    assert value(METRICS.Deletion(fill=pl.Zeros()), exact, model, x) == wanted
    assert value(METRICS.Deletion(fill=pl.Constant(0.5)), exact, model, x) != wanted


def test_text_and_layers() -> None:
    heat = pl.Ablation()(pl.load("demo:sentences"), "A truly wonderful and charming film.")
    assert METRICS.SRG()(heat, pl.load("demo:sentences")).value > 0
    model, pictures = spots()
    inside = pl.InputXGradient()(model, pictures[:1], at="look")
    assert METRICS.SRG()(inside, model).value is not None


@pytest.mark.peer
def test_region_perturbation_is_that_of_quantus() -> None:
    """Where it is right: one pixel a region, all regions, black; Quantus leaves the step before the first out."""
    quantus = pytest.importorskip("quantus")
    model, x, exact = linear_on((1, 6, 6), positive=True)
    given = quantus.RegionPerturbation(
        patch_size=1, regions_evaluation=36, normalise=False, disable_warnings=True, perturb_baseline=0.0
    )
    net, labels = deepcopy(model.module).float().eval(), np.zeros(1, int)
    drops = given(net, x.numpy(), labels, a_batch=exact.numpy(), softmax=False, channel_first=True)[0]
    ours = value(METRICS.RegionPerturbation(steps=36), exact, model, x)
    assert ours == pytest.approx(np.mean([0.0, *np.ravel(drops)]), rel=1e-4)
