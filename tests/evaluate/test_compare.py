"""Comparisons: the exact method wins on planted models, intervals cover, chance is called chance, costs add up."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import Attributor
from pellucid.core.probe import Probe
from pellucid.engines.points import generator
from pellucid.errors import Cancelled, LayerError, MethodError, OptionError, ShapeError
from pellucid.evaluate.comparison import Comparison
from pellucid.evaluate.differences import mean_of, p_of, paired


@dataclass(frozen=True, kw_only=True)
class Guess(Attributor):
    """Random numbers, others for every input and ``number``."""

    number: int = 0

    def attribute(self, ask: Probe) -> Tensor:
        seeds = (ask.inputs.flatten(1).double().sum(1) * 1e6).abs().long().tolist()
        made = [torch.randn(ask.inputs.shape[1:], generator=generator(each, self.number)) for each in seeds]
        return torch.stack(made).to(ask.inputs)


@dataclass(frozen=True, kw_only=True)
class Nowhere(Attributor):
    """A method that needs a layer that is not there."""

    def attribute(self, ask: Probe) -> Tensor:
        raise LayerError(expected="a convolution", got="none", do="Use another model.")


def planted(rows: int = 12, columns: int = 10) -> tuple[pl.Model, Tensor]:
    """A small MLP whose columns have clearly unequal weight, and inputs."""
    random = generator(0, 0)
    net = nn.Sequential(nn.Linear(columns, 16), nn.Tanh(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        for each in net.parameters():
            each.copy_(torch.randn(each.shape, generator=random, dtype=torch.float64) / 2)
        net[0].weight *= torch.linspace(0.1, 1.5, columns)
    return pl.Model(net), torch.randn(rows, columns, generator=random, dtype=torch.float64)


@pytest.fixture(scope="module")
def found() -> Comparison:
    model, x = planted()
    return pl.compare([Guess(), "ExactShapley", Guess(number=1), pl.Ablation], model, x)


def test_the_exact_method_wins_and_random_maps_lose_and_are_not_told_apart(found: Comparison) -> None:
    assert found.names == ("Guess()", "ExactShapley", "Guess(number=1)", "Ablation")
    assert found.ranking[0] == "ExactShapley"
    assert found.ranking[1] == "Ablation"
    assert isinstance(found.best, pl.ExactShapley)
    assert [each.name for each in found.scores] == ["MuFidelity", "SRG"]
    for score in found.scores:
        exact, wrong = (score.means[found.names.index(each)] for each in ("ExactShapley", "Guess()"))
        assert exact.low > wrong.high
    for guess in ("Guess()", "Guess(number=1)"):
        assert found.difference("ExactShapley", guess).told_apart
        assert f"ExactShapley is better than {guess}" in str(found.difference(guess, "ExactShapley"))
    assert not found.difference("Guess()", "Guess(number=1)").told_apart
    assert "cannot be told apart" in str(found.difference("Guess()", "Guess(number=1)"))
    assert not {"Guess()", "Guess(number=1)"} & set(found.equals)


def test_wrong_maps_and_checks_stand_beside_the_ranking(found: Comparison) -> None:
    assert abs(np.nanmean(found.control)) < 0.2
    faithful, weights, stable = found.passes
    exact, guess = found.names.index("ExactShapley"), found.names.index("Guess()")
    assert faithful.rate(exact) > 0.8
    assert faithful.rate(guess) < 0.3
    assert weights.rate(exact) > 0.5
    assert stable.rate(guess) == 0
    judged = sum(each is not None for each in stable.answers[guess])  # not held against it where the answer moved, too
    assert stable.words(guess) == f"0 of {judged}"


def test_numbers_are_those_of_measure_and_check(found: Comparison) -> None:
    model, x = planted()
    results = [pl.ExactShapley()(model, x), pl.Ablation()(model, x)]
    table = pl.measure(results, model, metrics=[pl.metrics.MuFidelity(), pl.metrics.SRG()])
    for name, row in zip(("ExactShapley", "Ablation"), table.measured, strict=True):
        for score, each in zip(found.scores, row, strict=True):
            assert score.values[found.names.index(name)] == pytest.approx(each.values)
    control = pl.check(results[0], model)[3].check("faithfulness").control.median
    assert found.control[found.names.index("ExactShapley"), 3] == pytest.approx(control)


def test_figure_table_and_frame_show_all_of_it(found: Comparison) -> None:
    figure = found.figure()
    assert [each.title for each in figure.figures] == ["MuFidelity", "SRG", "Share of inputs that passed"]
    assert figure.figures[0].labels == found.ranking
    assert figure.html()
    assert figure.text()
    table = found.table()
    assert [row[0] for row in table.rows] == list(found.ranking)
    assert table.rows[0][-1] == "first"
    assert table.rows[-1][-1] == "yes"
    frame = found.to_frame()
    assert len(frame) == 4 * 12
    assert set(frame["method"]) == set(found.names)
    assert found.receipt.rows_forward > sum(found.rows) * 12
    assert "ExactShapley is first by MuFidelity" in repr(found)


def test_rows_are_shared_by_all_methods_and_the_bill_says_so() -> None:
    model, x = planted(2)
    alone = pl.compare([pl.Ablation()], model, x)
    three = pl.compare([pl.Ablation(), pl.Ablation(), pl.Ablation()], model, x)
    assert three.names == ("Ablation 1", "Ablation 2", "Ablation 3")
    assert three.receipt.rows_forward < 2.5 * alone.receipt.rows_forward
    assert three.difference("Ablation 1", "Ablation 2").p == 1
    assert len(three.chosen(2)) == 2


def test_targets_metrics_and_the_usual_methods() -> None:
    model, x = planted(3)
    gini = pl.metrics.Gini()
    found = pl.compare(["Saliency", "Ablation"], model, x, targets=[0, 1, 0], metrics=[gini])
    assert [each.name for each in found.scores] == ["MuFidelity", "Gini"]
    want = pl.measure(pl.Ablation()(model, x, [0, 1, 0]), model, metrics=[gini]).measured[0][0].values
    assert found.scores[1].values[1] == pytest.approx(want)
    usual = pl.compare(None, model, x[:1], metrics=[pl.metrics.MuFidelity()])
    assert usual.names == ("IntegratedGradients", "SmoothGrad", "Ablation")
    assert np.isnan(usual.scores[0].means[0].low)


def test_a_method_that_cannot_be_used_is_left_out_and_named() -> None:
    model, x = planted(2)
    found = pl.compare([Nowhere(), pl.Ablation()], model, x)
    assert found.names == ("Ablation",)
    assert "convolution" in found.left_out[0]
    assert "left out Nowhere" in found.table().caption
    with pytest.raises(OptionError, match="convolution"):
        pl.compare([Nowhere()], model, x)
    with pytest.raises(MethodError):
        pl.compare(["Oclusion"], model, x)
    with pytest.raises(ShapeError):
        pl.compare([pl.Ablation()], model, x, clusters=[1])


def test_it_stops_when_asked() -> None:
    model, x = planted(2)
    stop = threading.Event()
    stop.set()
    with pl.settings(stop=stop), pytest.raises(Cancelled):
        pl.compare([pl.Ablation()], model, x)


def test_a_model_that_ignores_its_input_is_not_ranked_by_numbers() -> None:
    net = nn.Linear(5, 1)
    nn.init.zeros_(net.weight)
    found = pl.compare([pl.Ablation(), Guess()], net, torch.rand(3, 5))
    assert "nothing could be ranked" in found.words()
    assert found.scores[0].means[0].count == 0
    assert found.figure().text()
    assert found.table().html()


def test_explain_takes_its_methods_from_a_comparison(found: Comparison) -> None:
    model, x = planted(1)
    report = pl.explain(model, x, methods=found)
    assert [each.method.name for each in report.results] == [type(each).__name__ for each in found.chosen()]
    assert report.results[0].method.name == "ExactShapley"


# -------------------------------------------------------------------------------------------------------- statistics


def simulated(k: int, n: int, size: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Skewed numbers of mean 0 in clusters that share half of their variance."""
    random = np.random.default_rng(k)
    shared = (random.exponential(size=n) - 1).repeat(size)
    own = random.exponential(size=n * size) - 1
    return (shared + own if size > 1 else own), np.arange(n).repeat(size)


@pytest.mark.parametrize(("n", "size"), [(20, 1), (15, 4)])
def test_intervals_cover_the_truth(n: int, size: int) -> None:
    """400 skewed samples; nominal 95 %, of a skewed mean a little less is usual."""
    hits = []
    for k in range(400):
        values, clusters = simulated(k, n, size)
        mean = mean_of(values, clusters, k)
        hits.append(mean.low <= 0 <= mean.high)
    assert 0.9 <= np.mean(hits) <= 0.98


def test_few_inputs_have_a_mean_and_no_interval() -> None:
    mean = mean_of(np.array([1.0, 2, 3, np.nan]), np.arange(4), 0)
    assert (mean.value, mean.count, str(mean)) == (2, 3, "2")
    assert np.isnan(mean.low)
    assert np.isnan(mean_of(np.arange(8.0), np.arange(8) // 2, 0).high)
    assert mean_of(np.arange(8.0), np.arange(8), 0).high > 3.5


def test_intervals_that_ignore_clusters_are_too_short() -> None:
    values, clusters = simulated(1, 15, 4)
    narrow, wide = (mean_of(values, each, 0) for each in (np.arange(60), clusters))
    assert narrow.value == wide.value
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_p_values_are_exact_for_few_inputs_and_rare_by_chance() -> None:
    assert p_of(np.ones(5), np.arange(5), 0) == pytest.approx(2 / 32)
    assert p_of(np.array([3.0, 2, -1]), np.arange(3), 0) == pytest.approx(4 / 8)
    assert p_of(np.ones(10), np.arange(10).repeat(1) // 2, 0) == pytest.approx(2 / 32)
    assert p_of(np.full(30, 0.5), np.arange(30), 0) == pytest.approx(1 / 10000)
    assert p_of(np.zeros(4), np.arange(4), 0) == 1
    random = np.random.default_rng(0)
    ps = [p_of(random.normal(size=9), np.arange(9), k) for k in range(400)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_differences_are_paired_over_inputs_that_both_know_and_corrected_for_pairs() -> None:
    values = np.array([[5.0, 9, 7, np.nan], [4, 8, 6, 3], [1, 2, np.nan, 4]])
    one, two, three = paired(values, ("a", "b", "c"), "m", 1, np.arange(4), 0)
    assert (one.one, one.other, one.mean.value, one.mean.count, one.wins) == ("a", "b", 1, 3, 1)
    assert (two.mean.value, two.mean.count) == (5.5, 2)
    assert three.mean.value == pytest.approx((3 + 6 - 1) / 3)
    assert [each.p for each in (one, two, three)] == [0.25, 0.5, 0.5]
    assert [each.p_holm for each in (one, two, three)] == [0.75, 1, 1]
    lower = paired(values, ("a", "b", "c"), "m", -1, np.arange(4), 0)[0]
    assert lower.mean.value == -1
    assert lower.turned().mean.value == 1
    assert lower.wins == 0
