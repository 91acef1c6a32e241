"""ROAD: a slow reference that solves the paper's system directly, on one channel and three, on series and volumes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import nn

import pellucid as pl
from tests.evaluate.metrics_cases import cells, linear_on, noisy, reasons, shuffled, value
from tests.evaluate.planted import spots

METRICS = pl.metrics
SPACES = [(1, 9, 7), (3, 9, 7), (1, 4, 4, 4), (3, 4, 4, 4)]
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def imputed(channel: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """One channel, hidden places solved for: 2 beside and 1 across a corner (4, 2, 1 in a volume), from the paper."""
    places = {place: i for i, place in enumerate(map(tuple, np.argwhere(hidden)))}
    system, right = lil_matrix((len(places), len(places))), np.zeros(len(places))
    for place, i in places.items():
        for step in itertools.product((-1, 0, 1), repeat=channel.ndim):
            near = tuple(a + b for a, b in zip(place, step, strict=True))
            if not any(step) or not all(0 <= a < size for a, size in zip(near, channel.shape, strict=True)):
                continue
            weight = 2.0 ** -sum(map(abs, step))
            system[i, i] += weight
            if near in places:
                system[i, places[near]] -= weight
            else:
                right[i] += weight * channel[near]
    filled = channel.copy()
    filled[hidden] = spsolve(system.tocsr(), right)
    return filled


def reference(model: pl.Model, x: torch.Tensor, map_: torch.Tensor, *, most_first: bool) -> float:
    """The mean answer over the shares, hidden by a direct solve, one share and channel after the other."""
    shape = tuple(x.shape[1:])
    worth, answers = cells(map_, shape), []
    order = np.argsort(-worth if most_first else worth)
    for share in SHARES:
        hidden = np.zeros(len(worth), bool)
        hidden[order[: round(share * len(worth))]] = True
        filled = np.stack([imputed(channel, hidden.reshape(shape[1:])) for channel in x[0].numpy()])
        answers.append(float(model.module(torch.from_numpy(filled)[None])))
    return float(np.mean(answers))


@pytest.mark.parametrize("shape", [(1, 12), (3, 12), *SPACES], ids=str)
def test_road_is_that_of_a_direct_solve(shape: tuple[int, ...]) -> None:
    model, x, exact = linear_on(shape)
    map_ = noisy(exact, 0.5)
    most, least = (reference(model, x, map_, most_first=first) for first in (True, False))
    size = float(x.std()) * float(model.module[1].weight.norm())
    assert value(METRICS.ROADMoRF(noise=0.0), map_, model, x) == pytest.approx(most, abs=1e-3 * size)
    assert value(METRICS.ROADLeRF(noise=0.0), map_, model, x) == pytest.approx(least, abs=1e-3 * size)
    assert value(METRICS.ROAD(noise=0.0), map_, model, x) == pytest.approx((least - most) / 2, abs=1e-3 * size)


@pytest.mark.parametrize("shape", SPACES, ids=str)
def test_the_right_map_wins(shape: tuple[int, ...]) -> None:
    """What tells is how a place differs from what its surroundings foretell; for single bright places, their value."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 1)).double().requires_grad_(False)
    random = np.random.default_rng(1)
    spots_ = np.where(random.random(shape[1:]) < 0.25, random.random(shape[1:]) + 1, 0.1)
    x = torch.from_numpy(np.broadcast_to(spots_, shape).copy())[None]
    net[1].weight[:] = 1.0 + 0.1 * torch.from_numpy(random.random(int(np.prod(shape))))
    exact = (net[1].weight * x.flatten(1)).reshape(x.shape)
    road = METRICS.ROAD()
    best = value(road, exact, net, x)
    chance = [value(road, shuffled(exact, seed), net, x) for seed in range(6)]
    assert best > max(chance)
    assert best > value(road, noisy(exact, 2.0), net, x) > value(road, -exact, net, x)
    assert min(chance) > value(road, -exact, net, x) == pytest.approx(-best)


def test_a_flat_picture_tells_nothing() -> None:
    """Neighbors foretell every hidden place: nothing changes, and no number is made of rounding."""
    model, x, exact = linear_on((3, 9, 7))
    assert "does not change" in reasons(METRICS.ROAD(noise=0.0), exact, model, torch.full_like(x, 0.7))


def test_all_shares_of_both_orders_are_asked_at_once_and_shared() -> None:
    model, x, exact = linear_on((3, 9, 7))
    rows = pl.measure(exact, model, x, metrics=[METRICS.ROAD()]).rows
    shared = [METRICS.ROAD(), METRICS.ROADMoRF(), METRICS.ROADLeRF()]
    assert pl.measure(exact, model, x, metrics=shared).rows == rows == 18 + 3


@pytest.mark.parametrize("metric", [METRICS.ROAD(), METRICS.ROADMoRF(), METRICS.ROADLeRF()], ids=lambda m: m.better)
def test_memory_and_other_rows_change_nothing(metric: Any) -> None:
    model, pictures = spots()
    rows = pictures[:3]
    map_ = pl.InputXGradient()(model, rows).values
    found = []
    for memory in ("100 kB", "500 MB"):
        with pl.settings(memory=memory):
            found.append(metric(map_, model, rows).values)
    assert np.allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    single = np.concatenate([metric(map_[i : i + 1], model, rows[i : i + 1]).values for i in range(3)])
    assert np.allclose(found[1], single, rtol=1e-4, atol=1e-5)


def test_noise_follows_the_seed() -> None:
    model, x, exact = linear_on((3, 9, 7))
    first = value(METRICS.ROAD(noise=0.3), exact, model, x)
    assert value(METRICS.ROAD(noise=0.3), exact, model, x) == first
    with pl.settings(seed=1):
        assert value(METRICS.ROAD(noise=0.3), exact, model, x) != first


def test_where_nothing_can_be_measured_it_says_why() -> None:
    road = METRICS.ROAD()
    model, x, exact = linear_on((12,))
    assert "have neighbors" in reasons(road, exact, model, x)
    model, x, exact = linear_on((3, 9, 7))
    assert "the same everywhere" in reasons(road, torch.ones_like(exact), model, x)
    still = pl.BlackBox(lambda rows: rows[:, 0, 0, 0] * 0 + 2)
    assert "does not change the answer" in reasons(road, exact, still, x)
    sentences = pl.load("demo:sentences")
    heat = pl.Ablation()(sentences, "A truly wonderful and charming film.")
    assert "have neighbors" in " ".join(road(heat, sentences).reasons)
