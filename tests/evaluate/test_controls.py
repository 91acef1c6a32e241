"""Wrong maps: alike in everything but being right; and what that is worth, measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid as pl
from pellucid.engines.points import generator
from pellucid.evaluate.beside import beside
from pellucid.evaluate.controls import center, dealt, edges, iaaft, moved, rephased, wrong_maps
from pellucid.evaluate.faithfulness import no_better, p_value
from pellucid.evaluate.layout import Layout
from pellucid.evaluate.metrics.measure import Metric
from pellucid.evaluate.question import Case
from pellucid.evaluate.strata import kinds
from tests.evaluate.planted import listed, played, smooth, spatial

TEXT = replace(listed(30, "words"), strata=torch.tensor([0, 1, 0, 1, 1] * 6))
PICTURE, SERIES = spatial((28, 28), (7, 7)), spatial((128,), (32,))


def test_moved_maps_hold_the_same_numbers() -> None:
    grid = torch.randn(6, 6, dtype=torch.float64)
    made = moved(grid, 50, 0)
    assert made.shape == (50, 6, 6)
    assert torch.isin(made, grid).all()
    assert len(torch.unique(made.flatten(1), dim=0)) > 40


def test_a_moved_map_has_no_seam() -> None:
    ramp = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None].expand(20, 20)
    steps = moved(ramp, 100, 0).diff(dim=1).abs().amax()
    assert float(steps) <= 1 / 19 + 1e-9


def test_rephased_maps_have_the_same_spectrum_and_mean() -> None:
    grid = smooth(generator(0, 0), 2.0, (28, 28)) + 3
    made = rephased(grid, 20, 0)
    wanted = torch.fft.fftn(grid).abs()
    assert torch.allclose(torch.fft.fftn(made, dim=(1, 2)).abs(), wanted.expand(20, -1, -1), atol=1e-8)
    assert torch.allclose(made.mean((1, 2)), grid.mean().expand(20))


def test_iaaft_keeps_the_numbers_and_nearly_the_spectrum() -> None:
    curve = smooth(generator(0, 0), 2.0, (128,)) ** 3  # far from normal: random phases alone would change the numbers
    made, plain = iaaft(curve, 30, 0), rephased(curve, 30, 0)
    assert torch.equal(made.sort(1).values, curve.sort().values.expand(30, -1))
    assert not torch.allclose(plain.sort(1).values, curve.sort().values.expand(30, -1), atol=0.1)
    wanted = torch.fft.rfft(curve).abs()
    missed = (torch.fft.rfft(made, dim=1).abs() - wanted).norm(dim=1) / wanted.norm()
    shuffled = dealt(curve, torch.zeros(128, dtype=torch.long), 30, 0)
    assert missed.mean() < 0.25 * ((torch.fft.rfft(shuffled, dim=1).abs() - wanted).norm(dim=1) / wanted.norm()).mean()
    assert len(torch.unique(made, dim=0)) == 30


def test_series_are_compared_with_moved_and_iaaft_curves() -> None:
    cells = torch.randn(len(SERIES.part), dtype=torch.float64)
    made = wrong_maps(cells, SERIES, 40, 3)
    assert torch.equal(made[20:], iaaft(cells, 20, 4))
    assert torch.isin(made, cells).all()


def test_words_are_of_two_kinds() -> None:
    text = "it was not the plot but the wonderful light and sound , again and again"
    said = text.split()
    content = [name for name, kind in zip(said, kinds(said).tolist(), strict=True) if kind]
    assert content == ["not", "plot", "wonderful", "light", "sound", "again", "again"]
    assert kinds(["good", "film", "the"]).tolist() == [0, 0, 0]  # too few of a kind to be dealt apart


def test_a_text_is_dealt_within_its_kinds() -> None:
    said = "The light and the sound of the film are a joy to the senses and to the mind."
    model = pl.load("demo:sentences")
    question = case_of(pl.Saliency()(model, said), model).question
    strata, names = question.layout.strata, question.game.players.names
    apart = {name for name, stratum in zip(names, strata.tolist(), strict=True) if stratum == int(strata.max())}
    assert {"light", "sound", "film", "joy", "mind"} <= apart
    assert not {"the", "and", "of", "."} & apart


class Look(Metric):
    """Keeps the cases it sees."""

    def __init__(self, seen: list[Case]) -> None:
        object.__setattr__(self, "seen", seen)

    def measure(self, case: Case) -> float:
        self.seen.append(case)  # type: ignore[attr-defined]
        return 0.0


@pytest.mark.parametrize("shape", [(1, 12), (3, 9, 12), (1, 5, 6, 7)])
def test_edges_are_where_the_input_changes(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    slopes = np.gradient(x, axis=tuple(range(1, len(shape))))
    slopes = slopes if isinstance(slopes, list | tuple) else [slopes]
    wanted = np.sqrt(sum((each**2).sum(0) for each in slopes))
    assert np.allclose(edges(torch.from_numpy(x)), wanted)
    assert float(edges(torch.ones(shape)).abs().max()) == 0
    middle = center(shape[1:])
    assert torch.allclose(middle, middle.flip(0))
    assert float(middle.max()) == float(middle[tuple(size // 2 for size in shape[1:])])


def case_of(explanation: Any, model: Any, inputs: Any = None) -> Case:
    """The case of one explanation."""
    seen: list[Case] = []
    pl.measure(explanation, model, inputs, metrics=[Look(seen)])
    return seen[0]


def test_maps_made_without_the_model_stand_beside_and_ask_nothing() -> None:
    model = pl.load("demo:digits")
    case = case_of(pl.InputXGradient()(model, torch.rand(1, 1, 8, 8)), model)
    _ = case.bank
    before = case.question.asked
    found = beside(case)
    assert case.question.asked == before
    assert found["model_free"].keys() == {"edges", "center", "uniform"}
    assert found["model_free"]["uniform"] == 0.0
    x = case.question.game.ask.inputs[0]
    assert found["model_free"]["edges"] == pytest.approx(float(case.bank.agreement(edges(x).flatten())))


def test_the_average_importance_of_columns_is_asked_once_a_model() -> None:
    model = pl.load("demo:breast-cancer")
    rows = np.asarray(model.modality.background)
    rows = rows[np.asarray(model(rows).index) == 1][:2]
    result = pl.IntegratedGradients()(model, rows)
    first, second = pl.check(result, model)
    one, two = (each.check("faithfulness") for each in (first, second))
    assert one.rows - two.rows == 8 * 31  # eight rows: as they are, and with each of 30 columns hidden
    assert one.options["by_size"] > one.options["average_importance"]
    assert "average importance" not in one.reason


def test_a_map_that_is_only_the_average_importance_is_told() -> None:
    """Columns of a linear model, hidden by their mean: the average importance is |weight| times the mean deviation."""
    weights = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2, 4.0, -0.7, 2.5, 0.9])
    net = torch.nn.Linear(10, 1).requires_grad_(False)
    net.weight[:] = weights
    background = np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)
    model = pl.Model(net, inputs=pl.Table(columns=[f"c{i}" for i in range(10)], background=background))
    x = torch.ones(1, 10)
    average = case_of(torch.rand(1, 10), model, x)
    found = beside(average)
    measured = next(each for name, each in average.question.common.items() if name.startswith("average importance"))
    few = torch.from_numpy(background)[torch.linspace(0, 39, 8).long()]
    wanted = (weights * (few - torch.from_numpy(background).mean(0))).abs().mean(0).double()
    assert torch.allclose(measured, wanted, atol=1e-4)
    told = pl.check(measured[None], model, x).check("faithfulness")
    assert told.options["average_importance"] == pytest.approx(told.options["by_size"])
    assert "average importance of the columns tells as much" in told.reason
    assert found["average_importance"] == told.options["average_importance"]


@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        (0.4, {"model_free": {"edges": 0.5, "uniform": 0.0}}, "(edges: 0.50) does as well"),
        (0.6, {"model_free": {"edges": 0.5, "uniform": 0.0}}, ""),
        (-0.4, {"model_free": {"edges": 0.5, "uniform": 0.0}}, ""),
        (0.6, {"model_free": {"uniform": 0.0}, "average_importance": 0.7, "by_size": 0.6}, "tells as much"),
        (0.6, {"model_free": {"uniform": 0.0}, "average_importance": 0.5, "by_size": 0.6}, ""),
        (0.6, {}, ""),
    ],
)
def test_what_does_as_well_is_told(value: float, options: dict[str, Any], words: str) -> None:
    check = pl.Check(name="c", kind="k", question="?", value=value, better="higher", passed=None, reason="so")
    told = no_better(replace(check, options=options))
    assert words in told
    assert bool(told) == bool(words)


def test_values_are_dealt_within_their_stratum() -> None:
    values, strata = torch.arange(9.0).double(), torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 2])
    made = dealt(values, strata, 200, 0)
    for stratum in range(3):
        members = values[strata == stratum]
        assert torch.equal(made[:, strata == stratum].sort(1).values, members.expand(200, -1))
    assert len(torch.unique(made, dim=0)) > 60


@pytest.mark.parametrize("layout", [PICTURE, SERIES, listed(10)])
def test_controls_follow_the_seed(layout: Layout) -> None:
    cells = torch.randn(len(layout.part), dtype=torch.float64)
    one, same, other = (wrong_maps(cells, layout, 60, seed) for seed in (0, 0, 1))
    assert one.shape == (60, len(layout.part))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def significant(layout: Layout, truth: Tensor, claim: Tensor, number: int) -> bool:
    """Whether a claim on cells is found better than 199 wrong maps, at 5 %."""
    bank = played(layout.parts(truth), generator(number, 1))
    others = bank.agreement(layout.parts(wrong_maps(claim, layout, 199, number)))
    return p_value(float(bank.agreement(layout.parts(claim))), others) <= 0.05


def rates(layout: Layout, reaches: list[tuple[float, float]], trials: int) -> tuple[float, float]:
    """How often unrelated and half-right maps are found significant."""
    false = right = 0
    for trial in range(trials):
        for number, (of_truth, of_map) in enumerate(reaches, trial * len(reaches)):
            random = generator(number, 0)
            if layout.space:
                truth, noise = (smooth(random, reach, layout.grid).reshape(-1) for reach in (of_truth, of_map))
            else:
                truth, noise = torch.randn(2, layout.n, generator=random, dtype=torch.float64)
            false += significant(layout, truth, noise, number)
            right += significant(layout, truth, truth + noise, number)
    return false / (trials * len(reaches)), right / (trials * len(reaches))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "reaches"),
    [
        (PICTURE, [(1.0, 1.0), (2.0, 2.0)]),
        (SERIES, [(0.7, 0.7), (2.0, 2.0)]),
        (listed(30), [(0, 0)] * 2),
        (TEXT, [(0, 0)] * 2),
    ],
    ids=["pictures", "series", "columns", "words"],
)
def test_unrelated_maps_pass_in_one_of_twenty_half_right_ones_nearly_always(
    layout: Layout, reaches: list[tuple[float, float]]
) -> None:
    """240 maps each; 5 % and twice the standard error of such a share."""
    false, right = rates(layout, reaches, 120)
    assert false <= 0.05 + 2 * (0.05 * 0.95 / 240) ** 0.5
    assert right >= 0.9


@pytest.mark.slow
def test_very_smooth_maps_pass_no_more_often() -> None:
    """Maps that vary over a third of the picture leave few independent places: the test gets weaker, not wrong."""
    false, _ = rates(PICTURE, [(8.0, 4.0)], 160)
    assert false <= 0.05 + 2 * (0.05 * 0.95 / 160) ** 0.5
