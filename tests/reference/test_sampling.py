"""What all methods that draw coalitions promise: a budget, a tolerance, going on from a saved result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid import errors
from tests.nets import mlp

SAMPLED = ["KernelSHAP", "LeverageSHAP", "PermutationSHAP"]


class Counting(torch.nn.Module):
    """A bent function of 14 numbers that counts the rows it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.net = torch.nn.Sequential(torch.nn.Linear(14, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
        self.rows = [0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows[0] += len(x)
        return self.net(3 * x)


X = torch.rand(2, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("budget", [50, 101, 500, 5000, 20000])
def test_never_more_predictions_than_the_budget(name: str, budget: int) -> None:
    net = Counting()
    box = pl.BlackBox(lambda rows: net(torch.from_numpy(rows)).detach().numpy(), task="regression")
    result = getattr(pl, name)(budget=budget)(box, X.numpy())
    assert result.receipt.rows_forward <= 2 * budget
    assert net.rows[0] <= 2 * budget
    assert (result.standard_error is None) == (budget >= 2**14)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_tolerance_stops_early_each_row_by_itself(name: str) -> None:
    method = getattr(pl, name)
    free = method(budget=4000)(Counting(), X)
    stopped = method(budget=4000, tolerance=0.2)(Counting(), X)
    assert stopped.receipt.rows_forward < free.receipt.rows_forward / 2
    half = 1.96 * stopped.standard_error.amax(1)
    assert bool((half <= 0.2 * stopped.values.abs().amax(1)).all())
    for row in range(2):
        alone = method(budget=4000, tolerance=0.2)(Counting(), X[row : row + 1])
        assert torch.allclose(alone.values[0], stopped.values[row], atol=1e-12)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_small_budget_does_not_seem_exact(name: str) -> None:
    """With fewer pairs than parts a regression fits perfectly, and would stop at once."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(30, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    x = 3 * torch.rand(1, 30, dtype=torch.float64)
    result = getattr(pl, name)(budget=300, tolerance=0.01)(net, x)
    assert result.receipt.rows_forward > 200
    truth = pl.PermutationSHAP(budget=20000)(net, x).values
    wrong = (result.values - truth).abs()
    assert float((wrong <= 4 * result.standard_error + 1e-3).double().mean()) > 0.9
    with pytest.raises(errors.OptionError, match="at least 6"):
        getattr(pl, name)(budget=50)(net, x)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_saved_result_goes_on(name: str, tmp_path: Path) -> None:
    method = getattr(pl, name)
    first = method(budget=300)(Counting(), X)
    first.save(tmp_path / "first.safetensors")
    again = method(budget=1200, resume=tmp_path / "first.safetensors")(Counting(), X)
    fresh = method(budget=1200)(Counting(), X)
    assert torch.allclose(again.values, fresh.values, atol=1e-12)
    assert again.receipt.rows_forward <= fresh.receipt.rows_forward - 2 * 250
    assert "resume" not in again.method.options
    same = method(budget=300, resume=first)(Counting(), X)
    assert same.receipt.rows_forward == 2  # only the inputs themselves, to know that the model is the same
    assert torch.equal(same.values, first.values)


def test_sentences_go_on_one_by_one(tmp_path: Path) -> None:
    model, texts = (
        pl.load("demo:sentences"),
        ["A wonderful and moving film with a weak end.", "Not a good film at all."],
    )
    method = pl.PermutationSHAP(budget=20)
    first = method(model, texts)
    first.save(tmp_path / "texts.safetensors")
    again = pl.PermutationSHAP(budget=20, resume=tmp_path / "texts.safetensors")(model, texts)
    assert torch.allclose(again.main(), first.main(), atol=1e-5)
    assert again.receipt.rows_forward == 2


def test_another_question_is_refused() -> None:
    saved = pl.KernelSHAP(budget=100)(Counting(), X)
    go_on = pl.KernelSHAP(budget=200, resume=saved)
    with pytest.raises(errors.OptionError, match="inputs"):
        go_on(Counting(), X + 1)
    other = Counting()
    torch.nn.init.zeros_(other.net[0].weight)
    with pytest.raises(errors.OptionError, match="score"):
        go_on(other, X)
    groups = pl.Groups({"a": range(7), "b": range(7, 14)})
    with pytest.raises(errors.ShapeError, match="2 parts"):
        pl.KernelSHAP(budget=200, resume=saved, features=groups)(Counting(), X)
    with pytest.raises(errors.OptionError, match="target"):
        go_on(Counting(), X, target=2.0 * pl.Output(0))
    with pytest.raises(errors.OptionError, match="sampled"):
        pl.KernelSHAP(budget=200, resume=pl.Saliency()(Counting(), X))(Counting(), X)
    with pytest.raises(errors.LoadError):
        pl.KernelSHAP(budget=200, resume="nowhere.safetensors")(Counting(), X)


def test_equal_coalitions_are_asked_once() -> None:
    net = Counting()
    seen: list[bytes] = []

    def predict(rows: np.ndarray) -> np.ndarray:
        seen.extend(row.tobytes() for row in rows)
        return net(torch.from_numpy(rows)).detach().numpy()

    pl.PermutationSHAP(budget=2000)(pl.BlackBox(predict, task="regression"), X[:1].numpy())
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("name", SAMPLED)
def test_more_parts_than_the_budget_is_an_error(name: str) -> None:
    with pytest.raises(errors.OptionError, match="14 parts"):
        getattr(pl, name)(budget=12)(Counting(), X)


@pytest.mark.parametrize("name", [*SAMPLED, "ExactShapley"])
def test_one_part_gets_everything(name: str) -> None:
    result = getattr(pl, name)(features=pl.Groups({"all": range(14)}))(Counting(), X)
    assert torch.allclose(result.values.sum(1), result.score - result.base_score)


def test_exact_shapley_refuses_too_many_parts() -> None:
    with pytest.raises(errors.OptionError, match="at most 10"):
        pl.ExactShapley(most=10)(Counting(), X)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_wide_picture_of_parts(name: str) -> None:
    """Two hundred parts: the additive part is exact for every design with enough coalitions."""
    net = torch.nn.Linear(200, 1).double()
    x = torch.rand(1, 200, dtype=torch.float64)
    result = getattr(pl, name)(budget=500)(net, x)
    assert torch.allclose(result.values, net.weight * x, atol=1e-8)


def test_play_and_game_speak_numpy() -> None:
    net = mlp()
    x = torch.randn(1, 5, dtype=torch.float64)
    game = pl.KernelSHAP().game(net, x)
    values = pl.ExactShapley().play(game, ["a", "b", "c", "d", "e"])
    assert torch.allclose(values.values.double(), pl.ExactShapley()(net, x).values.double(), atol=1e-6)
    assert values.top(1)[0][0] in "abcde"
    with pytest.raises(errors.ShapeError, match="one example"):
        pl.KernelSHAP().game(net, torch.randn(2, 5, dtype=torch.float64))
