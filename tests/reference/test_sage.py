"""SAGE against a slow reference written from the paper: every coalition, every background row, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.errors import OptionError, ShapeError, TargetError
from tests.reference.plain import Array, Tanh3, rows

Loss = Callable[[Array, Any], float]


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


LOSSES: dict[str, Loss] = {
    "log": lambda p, y: -np.log(p[y]),
    "squared": lambda p, y: float(sum((p[c] - (c == y)) ** 2 for c in range(len(p)))),
    "zero-one": lambda p, y: float(p.argmax() != y),
}


def worth(answer: Callable[[Array], Array], loss: Loss, x: Array, y: Any, back: Array, shown: frozenset[int]) -> float:
    """v(S): minus the mean loss of predictions averaged over background rows in the hidden features."""
    total = 0.0
    for row, truth in zip(x, y, strict=True):
        mean = np.mean([answer(np.array([row[i] if i in shown else b[i] for i in range(len(row))])) for b in back], 0)
        total -= loss(mean, truth) / len(x)
    return total


def shapley(n: int, v: Callable[[frozenset[int]], float]) -> Array:
    """The mean step over all orders."""
    known: dict[frozenset[int], float] = {}

    def of(shown: frozenset[int]) -> float:
        if shown not in known:
            known[shown] = v(shown)
        return known[shown]

    values, orders = np.zeros(n), list(permutations(range(n)))
    for order in orders:
        for place, i in enumerate(order):
            values[i] += (of(frozenset(order[: place + 1])) - of(frozenset(order[:place]))) / len(orders)
    return values


@pytest.mark.parametrize("loss", LOSSES)
def test_the_values_are_those_of_the_paper(loss: str) -> None:
    net, x, back = Tanh3(inputs=4), rows(7, 4), rows(5, 4, seed=2)
    y = [0, 2, 1, 1, 0, 2, 2]

    def answer(point: Array) -> Array:
        return softmax(net.forward(point)[2])

    expected = shapley(4, lambda shown: worth(answer, LOSSES[loss], x, y, back, shown))
    found = pl.SAGE(loss=loss, fill=pl.Marginal(torch.from_numpy(back)))(net.module(), torch.from_numpy(x), target=y)
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert found.base == pytest.approx(-worth(answer, LOSSES[loss], x, y, back, frozenset()), abs=1e-9)
    assert found.score == pytest.approx(-worth(answer, LOSSES[loss], x, y, back, frozenset(range(4))), abs=1e-9)


def test_a_regression_by_a_black_box() -> None:
    x, back, weight = rows(6, 3), rows(4, 3, seed=3), np.array([1.0, -2.0, 0.0])
    y = x @ weight + np.array([0.1, -0.2, 0.3, 0.0, 0.2, -0.1])

    def predict(table: Array) -> Array:
        return np.asarray(np.sin(table @ weight))

    def v(shown: frozenset[int]) -> float:
        return worth(lambda p: predict(p[None]), lambda m, t: float((m[0] - t) ** 2), x, y, back, shown)

    found = pl.SAGE(fill=pl.Marginal(back))(pl.BlackBox(predict), x, target=y)
    np.testing.assert_allclose(found.values, shapley(3, v), atol=1e-12)
    assert found.title == "SAGE · squared error"
    assert abs(found.values[2]) < 1e-12, "a feature that is never read"


def linear(n: int, seed: int = 0) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """A classifier whose last feature is never read, rows, and noisy true classes."""
    random = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(n, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    with torch.no_grad():
        for each in net.parameters():
            each.copy_(torch.randn(each.shape, generator=random, dtype=torch.float64))
        net[0].weight[:, -1] = 0
    x = torch.randn(20, n, generator=random, dtype=torch.float64)
    return net, x, net(x).argmax(1)


def test_drawn_coalitions_come_near_the_exact_values() -> None:
    net, x, y = linear(11)
    back = pl.Marginal(x[:8])
    exact = pl.SAGE(fill=back, budget=8 * 2**11)(net, x, target=y)
    drawn = pl.SAGE(fill=back, budget=8 * 300)(net, x, target=y)
    assert exact.interval.endswith("over rows")
    assert drawn.interval.endswith("over rows and coalitions")
    assert (np.abs(drawn.values - exact.values) < 3 * drawn.standard_error + 1e-9).all()
    assert (drawn.standard_error > 0).all()
    again = pl.SAGE(fill=back, budget=8 * 300)(net, x, target=y)
    np.testing.assert_array_equal(again.values, drawn.values)
    assert abs(exact.values[-1]) < 1e-12
    for each in (exact, drawn):
        assert each.values.sum() == pytest.approx(each.base - each.score, abs=1e-9)
        assert each.receipt.rows_forward <= 20 * (8 * 2**11 if each is exact else 8 * 300)


def test_a_tolerance_stops_early() -> None:
    net, x, y = linear(12)
    long = pl.SAGE(fill=pl.Marginal(x[:4]), budget=8000)(net, x, target=y)
    short = pl.SAGE(fill=pl.Marginal(x[:4]), budget=8000, tolerance=0.5)(net, x, target=y)
    assert short.receipt.rows_forward < long.receipt.rows_forward
    assert np.abs(short.values - long.values).max() < 0.5 * np.abs(long.values).max()


def test_the_rows_themselves_are_the_background_where_there_is_none() -> None:
    net, x, y = linear(4)
    assert pl.SAGE()(net, x, target=y).values == pytest.approx(pl.SAGE(fill=pl.Marginal(x))(net, x, target=y).values)


def test_groups_and_class_names_and_one_output() -> None:
    _, x, _ = linear(4)
    net = torch.nn.Linear(4, 1).double()
    model = pl.Model(net, classes=("no", "yes"))
    names = ["yes" if each > 0 else "no" for each in net(x)[:, 0]]
    found = pl.SAGE(features=pl.Groups({"left": [0, 1], "right": [2, 3]}))(model, x, target=names)
    assert found.names == ("left", "right")
    p = net(x)[:, 0].sigmoid().detach()
    chosen = torch.where(torch.tensor([each == "yes" for each in names]), p, 1 - p)
    assert found.score == pytest.approx(float(-chosen.log().mean()))
    frame = found.to_frame()
    assert list(frame["feature"]) == [name for name, _ in found.top(2)]
    assert (frame["low"] <= frame["importance"]).all()
    figure = found.figure()
    assert "lowers the loss" in figure.text()
    assert "pushes" not in figure.html()
    assert "loss" in figure.caption


def test_memory_does_not_change_the_answer() -> None:
    net, x, y = linear(6)
    with pl.settings(memory="200 kB"):
        small = pl.SAGE()(net, x, target=y)
    assert pl.SAGE()(net, x, target=y).values == pytest.approx(small.values, abs=1e-12)


def test_what_cannot_be_shared_out_is_refused() -> None:
    net, x, y = linear(4)
    with pytest.raises(OptionError, match="true answers"):
        pl.SAGE()(net, x)
    with pytest.raises(ShapeError, match="20 true answers"):
        pl.SAGE()(net, x, target=y[:3])
    with pytest.raises(TargetError):
        pl.SAGE()(net, x, target=y + 5)
    with pytest.raises(TargetError, match="true class"):
        pl.SAGE()(net, x, target=y + 0.5)
    with pytest.raises(OptionError, match="loss"):
        pl.SAGE(loss="hinge")
    with pytest.raises(OptionError, match="loss for numbers"):
        pl.SAGE(loss="log")(torch.nn.Linear(4, 1).double(), x, target=x[:, 0])
    with pytest.raises(OptionError, match="budget"):
        pl.SAGE(budget=21 * 4)(linear(12)[0], torch.randn(20, 12).double(), target=y)
    with pytest.raises(OptionError, match="same in every row"):
        pl.SAGE()(pl.load("demo:sentences"), ["A good film.", "A bad one."], target=[1, 0])
