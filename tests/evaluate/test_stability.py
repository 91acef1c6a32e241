"""Stability: near inputs on which the answer stays, and maps that stay there or do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.demo import parts
from pellucid.evaluate.stability import noise_width
from pellucid.evaluate.thresholds import NEIGHBORS
from tests.evaluate.planted import Restless, linear, spots


def test_a_map_of_noise_is_unsteady() -> None:
    model, pictures = spots()
    evidence = pl.check(Restless()(model, pictures[:1]), model)
    assert evidence.check("stability").passed is False
    assert "does not stay" in evidence.check("stability").reason
    assert evidence.verdict == "not supported"


def test_a_steady_map_takes_four_repetitions() -> None:
    model, pictures = spots()
    check = pl.check(pl.Saliency()(model, pictures[:1]), model).check("stability")
    assert check.passed
    assert len(check.options["each"]) == NEIGHBORS
    assert check.rows == 3 * NEIGHBORS + 2  # classes and scores of near inputs and of the input itself, then the maps


def test_a_constant_map_never_passes() -> None:
    _, x, _ = linear()
    box = pl.BlackBox(lambda rows: rows.sum(1) * 0 + 1)
    assert pl.check(pl.Ablation()(box, x.numpy()), box).check("stability").passed is None


class Cliff(nn.Module):
    """Two classes that change places close by; the slope turns there, too."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(1, 2, 12))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        above = (x * self.weight).sum(1) - self.weight.sum() - self.width
        return torch.stack([-above, above], 1)


def test_the_change_is_made_smaller_until_the_top_class_stays() -> None:
    x = torch.ones(1, 12)
    wide, narrow, none = (
        pl.check(pl.InputXGradient()(net, x), net).check("stability") for net in map(Cliff, (9.0, 0.2, 1e-6))
    )
    assert wide.options["noise"] == 0.05
    assert narrow.options["noise"] < 0.05
    assert none.value is None
    assert "already changes the top class" in none.reason


def test_a_map_that_moves_with_the_answer_is_not_blamed() -> None:
    class Steep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (torch.sin(40 * x) * torch.linspace(1, 2, 12) + x).sum(1, keepdim=True)

    check = pl.check(pl.InputXGradient()(Steep(), torch.linspace(0.5, 1.5, 12)[None]), Steep()).check("stability")
    assert check.value < 0.7
    assert check.passed is None
    assert "the answer itself moved" in check.reason


def test_columns_move_by_their_spread_and_categories_not_at_all() -> None:
    background = [[0.0, 0, 0], [2.0, 1, 100], [4.0, 0, 200]]
    table = pl.Table(columns=("a", "b", "c"), categories={"b": ("x", "y")}, background=background)
    model = pl.Model(nn.Linear(3, 1), inputs=table)
    width, share = noise_width(question(model, [[1.0, 1, 50]]))
    assert width.tolist() == [pytest.approx([0.2, 0, 10])]
    assert share == 0.1
    only = pl.Table(columns=("b",), categories={"b": ("x", "y")}, one_hot=("b",), background=[["x"], ["y"]])
    assert not noise_width(question(pl.Model(nn.Linear(2, 1), inputs=only), [["x"]]))[0].any()


@pytest.mark.parametrize(("method", "reason"), [(pl.Saliency(), None), (pl.Ablation(), "token ids cannot")])
def test_words_move_where_they_are_embedded(method: Any, reason: str | None) -> None:
    model = pl.load("demo:sentences")
    check = pl.check(method(model, parts("sentences").examples[:1]), model).check("stability")
    assert check.testable is (reason is None)
    assert (reason or "") in check.reason


def test_a_layer_is_asked_at_moved_inputs() -> None:
    model, pictures = spots()
    check = pl.check(pl.InputXGradient()(model, pictures[:1], at="norm"), model).check("stability")
    assert check.passed
