"""pl.check as it is called: verdicts, shared banks, what may be given, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.evidence import Evidence
from pellucid.demo import parts
from pellucid.errors import DtypeError, EmptyError, InputError, NonFiniteError, OptionError, ShapeError, TargetError
from pellucid.evaluate.check import TIERS
from pellucid.evaluate.thresholds import CONTROLS
from tests.evaluate.planted import linear, spots

QUICK = ("completeness", "faithfulness", "weights", "stability")


def test_a_right_explanation_is_supported_by_every_check() -> None:
    model, pictures = spots()
    evidence = pl.check(pl.IntegratedGradients()(model, pictures[:1]), model)
    assert evidence.verdict == "supported"
    assert tuple(check.name for check in evidence.checks) == QUICK
    assert all(check.passed for check in evidence.checks)
    assert 1 / (CONTROLS + 1) <= evidence.check("faithfulness").p <= 0.05


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda values: values, "supported"),
        (lambda values: 1e-6 * values, "supported"),
        (lambda values: values + 7, "supported"),
        (lambda values: -values, "not supported"),
        (lambda values: values.roll(2, 1), "not supported"),
        (lambda values: torch.full_like(values, 0.3), "not testable"),
        (torch.zeros_like, "not testable"),
    ],
    ids=["exact", "scaled", "shifted", "negated", "shuffled", "constant", "zero"],
)
def test_maps_from_elsewhere(change: Any, wanted: str) -> None:
    net, x, values = linear()
    evidence = pl.check(change(values), net, x)
    assert evidence.verdict == wanted
    again = {check.name: check for check in evidence.checks}
    assert again["weights"].passed is again["stability"].passed is None
    reason = "the same everywhere" if wanted == "not testable" else "without its method"
    assert reason in again["weights"].reason
    assert reason in again["stability"].reason


def test_every_check_says_what_it_asks_what_it_cannot_show_and_where_it_is_from() -> None:
    model, pictures = spots()
    result = pl.IntegratedGradients()(model, pictures[:1])
    for tier in TIERS:
        evidence = pl.check(result, model, tier=tier)
        for check in evidence.checks:
            assert check.question.endswith("?")
            assert check.cannot_show.endswith(".")
            assert "arXiv" in check.source
            assert check.reason
            assert (check.passed is None) or (check.value is not None)
        control = evidence.check("faithfulness").control
        assert control is not None
        assert control.n == CONTROLS
        low, high = evidence.check("faithfulness").interval or (0, 0)
        assert low < evidence.check("faithfulness").value < high
        assert evidence.check("faithfulness").hidden_by == "Zeros"


def test_four_methods_share_one_bank() -> None:
    model, pictures = spots()
    methods = [pl.IntegratedGradients(), pl.Saliency(), pl.GradCAM(layer="look"), pl.Occlusion()]
    results = [method(model, pictures[:1]) for method in methods]
    together = pl.check(results, model)
    rows = [evidence.check("faithfulness").rows for evidence in together]
    assert rows == [130, 0, 0, 0]
    near = [evidence.check("stability").rows for evidence in together]
    alone = [pl.check(result, model) for result in results]
    assert near[0] == alone[0].check("stability").rows
    assert near[1] < alone[1].check("stability").rows
    for one, other in zip(together, alone, strict=True):
        assert one.check("faithfulness").value == other.check("faithfulness").value
        assert one.check("faithfulness").p == other.check("faithfulness").p
        assert one.check("faithfulness").p_holm >= other.check("faithfulness").p_holm


def test_other_targets_and_layers_are_other_questions() -> None:
    model, pictures = spots()
    one = pl.IntegratedGradients()(model, pictures[:1], target=0)
    other = pl.IntegratedGradients()(model, pictures[:1], target=1)
    inside = pl.IntegratedGradients()(model, pictures[:1], target=1, at="norm")
    rows = [evidence.check("faithfulness").rows for evidence in pl.check([one, other, inside], model)]
    assert min(rows) > 60


def test_p_values_are_corrected_together() -> None:
    net, x, values = linear()
    alone = pl.check(values, net, x).check("faithfulness")
    three = [each.check("faithfulness") for each in pl.check([values, -values, values], net, x)]
    assert alone.p == alone.p_holm
    assert [each.p for each in three] == [alone.p, three[1].p, alone.p]
    assert three[0].p_holm == pytest.approx(3 * alone.p)
    assert "3 explanations" in three[0].reason


def test_rows_of_a_batch_are_judged_as_if_alone() -> None:
    model, pictures = spots()
    result = pl.IntegratedGradients()(model, pictures[:3])
    together = pl.check(result, model)
    assert isinstance(together, tuple)
    assert len(together) == 3
    for row in range(3):
        alone = pl.check(pl.IntegratedGradients()(model, pictures[row : row + 1]), model)
        assert numbers(together[row]) == pytest.approx(numbers(alone), abs=0.02)
        assert together[row].input_hash == alone.input_hash
        assert f"inputs[{row}:{row + 1}]" in together[row].reproduce


def numbers(evidence: Evidence) -> dict[str, float]:
    return {check.name: check.value for check in evidence.checks if check.value is not None}


def test_the_same_seed_gives_the_same_evidence() -> None:
    model, pictures = spots()
    result = pl.SmoothGrad(draws=5)(model, pictures[:1])
    one, same = pl.check(result, model), pl.check(result, model)
    with pl.settings(seed=4):
        other = pl.check(result, model)
    assert one == same
    assert other.seed == 4
    assert numbers(other) != numbers(one)
    assert other.check("faithfulness").value == pytest.approx(one.check("faithfulness").value, abs=0.25)


def test_the_memory_budget_does_not_change_the_evidence() -> None:
    model, pictures = spots()
    result = pl.IntegratedGradients()(model, pictures[:1])
    found = []
    for memory in ("50 kB", "1 GB"):
        with pl.settings(memory=memory):
            found.append(numbers(pl.check(result, model)))
    assert found[0] == pytest.approx(found[1], abs=2e-3)


@pytest.mark.parametrize("tier", list(TIERS))
def test_the_line_gives_the_same_evidence_again(tier: str) -> None:
    model, pictures = spots()
    methods = [pl.Occlusion(window=4, stride=2), pl.Smooth(pl.InputXGradient(), draws=4)]
    with pl.settings(seed=3):
        told = pl.check(
            [method(model, pictures[2:3], target=1) for method in methods], model, tier=tier, fill=pl.Mean()
        )
    for evidence in told:
        names = {"pl": pl, "model": model, "inputs": pictures[2:3]}
        exec(evidence.reproduce, names)  # noqa: S102 - the line is ours
        assert names["evidence"] == evidence
        assert "\n" not in evidence.reproduce
        assert all(each in evidence.reproduce for each in (evidence.model_hash, evidence.input_hash, pl.__version__))


def test_the_line_for_values_from_elsewhere() -> None:
    net, x, values = linear()
    evidence = pl.check(values, net, x)
    names = {"pl": pl, "model": net, "inputs": x, "values": values}
    exec(evidence.reproduce, names)  # noqa: S102 - the line is ours
    assert names["evidence"] == evidence


def test_the_model_and_the_random_state_stay_as_they_were() -> None:
    model, pictures = spots()
    net = parts("digits").module
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x, mark, state = torch.rand(1, 1, 8, 8), model.fingerprint(), torch.get_rng_state()
    pl.check(pl.GradCAM()(net, x), net)
    pl.check(pl.Saliency()(model, pictures[:1]), model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.fingerprint() == mark
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training


def test_checks_work_inside_no_grad_and_inference_mode() -> None:
    net, x, _ = linear()
    result = pl.InputXGradient()(net, x)
    with torch.no_grad():
        one = pl.check(result, net)
    with torch.inference_mode():
        other = pl.check(result, net)
    assert one == other == pl.check(result, net)


# ------------------------------------------------------------------------------ other inputs, models, targets


def test_a_black_box_has_no_weights_to_scramble() -> None:
    net, x, _ = linear()
    box = pl.BlackBox(lambda rows: net(torch.tensor(rows)).detach().numpy())
    evidence = pl.check(pl.KernelSHAP(budget=200)(box, x.numpy()), box)
    assert evidence.verdict == "supported"
    assert "black box" in evidence.check("weights").reason
    assert evidence.check("weights").value is None
    foreign = pl.check(net.weight.detach() * x, box, x.numpy())
    assert foreign.verdict == "not testable"
    assert foreign.check("faithfulness").passed


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "diabetes", "sentences"])
def test_the_demos_have_a_supported_explanation(name: str) -> None:
    model, example = pl.load(f"demo:{name}"), parts(name).examples[:1]
    methods = [pl.IntegratedGradients(), pl.KernelSHAP(), pl.Ablation()]
    verdicts = [each.verdict for each in pl.check([method(model, example) for method in methods], model)]
    assert "supported" in verdicts
    assert "mixed" not in verdicts


def test_a_map_of_the_layer_is_checked_as_it_is_shown() -> None:
    model = pl.load("demo:digits")
    result = pl.GradCAM()(model, parts("digits").examples[:1])
    assert result.values.shape[-1] < 8
    again = pl.check(result.values, model, parts("digits").examples[:1])
    assert again.check("faithfulness").value == pl.check(result, model).check("faithfulness").value


def test_several_inputs_and_their_values() -> None:
    net = nn.Bilinear(3, 4, 1)
    nn.init.uniform_(net.weight, 0, 2)
    given = (torch.rand(1, 3) + 0.5, torch.rand(1, 4) + 0.5)
    result = pl.IntegratedGradients()(pl.Model(net), given)
    assert pl.check(result, net).check("faithfulness").value > 0.5
    assert pl.check(result.values, net, given).check("faithfulness").value > 0.5


def test_a_slope_is_read_by_its_size() -> None:
    net, x, _ = linear()
    slope = pl.Saliency()(net, x)
    assert pl.check(slope, net).check("faithfulness").options["read_by"] == "size"
    assert pl.check(slope.values, net, x).check("faithfulness").options["read_by"] == "sign and size"


def test_a_slope_does_not_say_whether_the_score_goes_up_or_down() -> None:
    """Half of the columns speak against: their slopes are as large, and hiding them moves the score as far."""
    net, x, _ = linear(20)
    with torch.no_grad():
        net.weight.copy_(torch.linspace(0.1, 3, 20) * torch.tensor([1.0, -1.0] * 10))
    x = x * 0 + 1
    evidence = pl.check(pl.Saliency()(net, x), net)
    assert evidence.check("faithfulness").passed
    assert evidence.verdict == "supported"


def test_arrays_and_objects_that_hold_them() -> None:
    net, x, values = linear()

    class Shap:
        def __init__(self, values: Any) -> None:
            self.values = values

    wanted = pl.check(values, net, x)
    assert pl.check(values.numpy(), net, x) == wanted
    assert pl.check(values[0].tolist(), net, x) == wanted
    assert pl.check(Shap(values.numpy()), net, x) == wanted
    assert pl.check(values.clone().requires_grad_(), net, x) == wanted


def test_another_model_may_be_asked_whether_the_map_fits_it() -> None:
    net, x, _ = linear()
    other = nn.Linear(12, 1).double()
    with torch.no_grad():
        other.weight.copy_(-net.weight)
    assert pl.check(pl.InputXGradient()(net, x), other).verdict == "not supported"


def test_a_saved_result_needs_its_target_and_cannot_be_asked_again(tmp_path: Path) -> None:
    model, pictures = spots()
    result = pl.IntegratedGradients()(model, pictures[:1])
    result.save(tmp_path / "heat.safetensors")
    read = pl.read_result(tmp_path / "heat.safetensors")
    with pytest.raises(TargetError):
        pl.check(read, model)
    target = result.target.index[0]
    evidence, wanted = pl.check(read, model, target=target), pl.check(result, model)
    assert evidence.check("faithfulness") == wanted.check("faithfulness")
    assert evidence.check("completeness").passed
    assert "without its method" in evidence.check("weights").reason


def test_evidence_travels_with_a_saved_result(tmp_path: Path) -> None:
    net, x, _ = linear()
    result = pl.IntegratedGradients()(net, x)
    evidence = pl.check(result, net)
    replace(result, evidence=(evidence,)).save(tmp_path / "heat.safetensors")
    (read,) = pl.read_result(tmp_path / "heat.safetensors").evidence
    assert read.verdict == evidence.verdict
    assert read.words == evidence.words
    assert [check.p_holm for check in read.checks] == [check.p_holm for check in evidence.checks]


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (torch.tensor([[float("nan")] * 12]), NonFiniteError),
        (np.full((1, 12), np.inf), NonFiniteError),
        (torch.ones(1, 11), ShapeError),
        (torch.ones(2, 12), ShapeError),
        (torch.ones(1, 12, 2, 2), ShapeError),
        (torch.ones(1, 0), EmptyError),
        ("a map", DtypeError),
        (torch.ones(1, 12, dtype=torch.complex64), DtypeError),
        (None, DtypeError),
        ((), DtypeError),
    ],
)
def test_what_is_no_map_is_a_named_error(values: Any, error: type[Exception]) -> None:
    net, x, _ = linear()
    with pytest.raises(error):
        pl.check(values, net, x)


def test_values_need_inputs() -> None:
    net, _, values = linear()
    with pytest.raises(InputError):
        pl.check(values, net)


def test_no_explanations_and_no_such_tier_are_errors() -> None:
    net, x, values = linear()
    with pytest.raises(EmptyError):
        pl.check([], net)
    with pytest.raises(OptionError) as caught:
        pl.check(values, net, x, tier="quik")
    assert "quick" in caught.value.do


@pytest.mark.parametrize(
    ("net", "x", "words"),
    [
        (nn.Linear(1, 1), torch.ones(1, 1), "only one part"),
        (nn.Linear(6, 1), torch.zeros(1, 6), "does not change"),
        (nn.Identity(), torch.ones(1, 3), "too few different|only 3 different|only 6 different"),
    ],
)
def test_what_cannot_be_tested_says_why_and_gives_no_number(net: nn.Module, x: Tensor, words: str) -> None:
    values = torch.arange(1.0, 1 + x.shape[1])[None]
    evidence = pl.check(values, net, x)
    assert evidence.verdict == "not testable"
    check = evidence.check("faithfulness")
    assert (check.value, check.p, check.interval, check.passed) == (None, None, None, None)
    assert any(each in evidence.words for each in words.split("|"))


def test_weights_between_tokens_are_no_map_of_the_input() -> None:
    """Beside a map that can be tested; values from elsewhere of such a shape are a mistake."""
    model = pl.load("demo:sentences")
    both = [pl.AttentionWeights()(model, "A wonderful film."), pl.Saliency()(model, "A wonderful film.")]
    first, second = pl.check(both, model)
    assert (first.verdict, first.checks) == ("not testable", ())
    assert second.checks
    with pytest.raises(ShapeError):
        pl.check(both[0].values, model, "A wonderful film.", 1)
