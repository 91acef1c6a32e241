"""Planted truth: the networks rely on it, right methods find it, and maps made without the model do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.demo import planted as tasks
from pellucid.demo.planted import Trial, planted, verified
from pellucid.errors import LoadError, MethodError, ModelError
from pellucid.gauntlet import BUDGET, Gauntlet, gauntlet, model_of, placed, places

RIGHT = ("IntegratedGradients", "InputXGradient", "LRP")
FEW = ("tag", "columns")


@pytest.fixture(scope="module")
def made() -> Gauntlet:
    """Two tasks and a few methods, one of which is known to ignore the model's later layers."""
    return gauntlet(FEW, [*RIGHT, "Deconvolution", pl.KernelSHAP(budget=64)])


def test_the_tag_decides() -> None:
    """Black in the corner, as digits are there, and the eights are threes again."""
    task = planted("tag")
    without = torch.where(task.truth[:, None], -1.0, task.inputs)
    assert len(task.inputs) == len(task.truth) == tasks.INPUTS
    assert task.module(task.inputs).argmax(1).tolist() == task.target.tolist() == [1] * tasks.INPUTS
    assert task.module(without).argmax(1).tolist() == [0] * tasks.INPUTS
    assert task.accuracy >= tasks.DECIDED


def test_the_columns_decide() -> None:
    task = planted("columns")
    other = task.inputs[(task.target[:, None] != task.target).long().argmax(1)]
    assert task.module(torch.where(task.truth, task.inputs, other)).argmax(1).tolist() == task.target.tolist()
    flipped = task.module(torch.where(task.truth, other, task.inputs)).argmax(1) != task.target
    assert flipped.float().mean() > 0.9
    assert task.flips > 0.9
    assert task.chance == pytest.approx(1 / 3)
    assert planted("columns") is task


def test_training_leaves_the_random_state_alone() -> None:
    tasks._planted.cache_clear()
    before = torch.get_rng_state()
    one = planted("columns")
    assert torch.equal(before, torch.get_rng_state())
    tasks._planted.cache_clear()
    two = planted("columns")
    assert all(torch.equal(a, b) for a, b in zip(one.module.parameters(), two.module.parameters(), strict=True))


def test_a_network_that_did_not_learn_it_is_refused() -> None:
    inputs = torch.randn(40, 3)
    trial = Trial(inputs, torch.zeros(40, dtype=torch.long), torch.ones(40, 3, dtype=torch.bool), inputs)
    constant = torch.nn.Linear(3, 2)
    with torch.no_grad():
        constant.weight.zero_()
        constant.bias.copy_(torch.tensor([1.0, 0.0]))
    with pytest.raises(ModelError, match="0% of the answers"):
        verified("mine", constant, trial, 0.9, kind="table", words="", classes=("a", "b"))
    with pytest.raises(LoadError, match="patch"):
        planted("pach")


@pytest.mark.parametrize("method", RIGHT)
@pytest.mark.parametrize("task", FEW)
def test_right_methods_beat_maps_made_without_the_model(made: Gauntlet, method: str, task: str) -> None:
    score = made.score(method, task)
    for control in ("edges", "center") if task == "tag" else ("size of the input",):
        paired = score.auc - made.score(control, task).auc
        assert paired.mean() > 0.02
    assert score.interval[0] > made.score("random", task).interval[1]
    assert score.mass.mean() > 2 * planted(task).chance
    assert score.verdicts[0] in ("supported", "mixed")


def test_a_method_that_ignores_the_weights_above_finds_no_more_than_chance(made: Gauntlet) -> None:
    assert np.nanmean(made.score("Deconvolution", "tag").auc) < 0.7
    assert made.score("KernelSHAP", "columns").auc.mean() > 0.8


def test_scores_of_known_maps() -> None:
    task = planted("tag")
    truth = task.truth.double()
    perfect, worst, nothing = (placed("map", task, each) for each in (truth, -truth, torch.ones_like(truth)))
    assert (perfect.auc == 1).all()
    assert (perfect.mass == 1).all()
    assert (perfect.rank == 1).all()
    assert (worst.auc == 0).all()
    assert not np.isfinite(nothing.auc).any()
    half = placed("map", task, torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)))
    flat, inside = half.auc[0], task.truth[0].flatten()
    values = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))[0].flatten()
    wins = (values[inside][:, None] > values[~inside]).double().mean()
    assert flat == pytest.approx(float(wins))
    assert half.mass[0] == pytest.approx(float(values[inside].sum() / values.sum()))


def test_maps_of_any_resolution_are_read() -> None:
    task = planted("tag")
    result = pl.GradCAM()(model_of("tag"), task.inputs)
    found = places(result, task)
    assert found is not None
    assert found.shape == task.truth.shape
    assert result.main().shape[2:] != task.truth.shape[1:]


def test_what_a_method_refuses_is_said() -> None:
    made = gauntlet(["tag"], ["ExactShapley", "LIME"], checked=0)
    assert made.score("ExactShapley", "tag").left_out.startswith("it needs")
    assert "ExactShapley (it needs" in made.sheet("tag").caption
    assert "ExactShapley" not in made.figure().row_names
    assert made.score("LIME", "tag").verdicts == ()
    assert pl.LIME().budget > BUDGET
    with pytest.raises(MethodError):
        gauntlet(["tag"], ["Limes"])


def test_the_page(made: Gauntlet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "_ext"))
    import trials

    text = trials.page(made, tmp_path / "pictures")
    assert (tmp_path / "pictures" / "gauntlet.png").stat().st_size > 5000
    assert text.startswith("% pellucid")
    assert "## Tag" in text
    assert text.count("| LRP |") == 2
    assert made.figure().breaks == (made.figure().row_names.index("edges"),) or made.figure().breaks
    sys.modules.pop("trials")
