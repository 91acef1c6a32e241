"""Several targets of the same inputs: the answers of one by one, from one pass forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import pellucid as pl
from pellucid import errors
from tests.nets import BY_NAME, CASES, CheckpointedBlock, ConvNet
from tests.small import fits, small

TARGETS: list[Any] = [0, 2, pl.Class(1) - pl.Class(0), None, [2, 0, 1], pl.Probability(1)]
ONE_PASS = ("Saliency", "InputXGradient", "LRP", "GuidedBackprop", "Deconvolution")


def same(one: Any, other: Any) -> None:
    mine, yours = pytree.tree_leaves(one), pytree.tree_leaves(other)
    assert len(mine) == len(yours)
    for a, b in zip(mine, yours, strict=True):
        if isinstance(a, Tensor):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        else:
            assert a == b


def compare(several: tuple[pl.Attribution, ...], alone: list[pl.Attribution]) -> None:
    assert len(several) == len(alone)
    for mine, yours in zip(several, alone, strict=True):
        same(mine.values, yours.values)
        same(mine.score, yours.score)
        same(dict(mine.extra), dict(yours.extra))
        assert mine.notes == yours.notes
        assert mine.target_words(1) == yours.target_words(1)
        assert mine.method == yours.method
        assert mine.receipt.path == yours.receipt.path


class Counting(nn.Module):
    """Counts the rows that pass forward, on a list that the twin shares."""

    def __init__(self, net: nn.Module, seen: Any) -> None:
        super().__init__()
        self.net, self.seen = net, seen

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.seen(len([*args, *kwargs.values()][0]))
        return self.net(*args, **kwargs)


class Seen:
    """Rows by call; a copy is the same."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: int) -> None:
        self.rows.append(rows)

    def __deepcopy__(self, _memo: Any) -> Seen:
        return self


@pytest.mark.parametrize("memory", ["400 MB", 1])
@pytest.mark.parametrize("case", [case.name for case in CASES])
@pytest.mark.parametrize("name", ONE_PASS)
def test_one_pass_gives_what_one_by_one_gives(name: str, case: str, memory: Any) -> None:
    net, given, method = BY_NAME[case], BY_NAME[case].given(), small(name)
    if not fits(name, net):
        pytest.skip("not its kind of input")
    model = net.model()
    with pl.settings(memory=memory):
        alone = [method(model, given, target) for target in TARGETS]
        several = method.each(model, given, TARGETS)
    compare(several, alone)
    rows = len(alone[0])
    before = 3 if case == "ids" else 0  # the embedding is looked up once
    assert [each.receipt.rows_forward for each in several] == [rows + before] + [0] * (len(TARGETS) - 1)
    assert [each.receipt.rows_backward for each in several] == [rows] * len(TARGETS)


@pytest.mark.parametrize("name", ["IntegratedGradients", "GradCAM", "Ablation", "SmoothGrad", "GuidedGradCAM", "RISE"])
def test_other_methods_are_asked_one_by_one(name: str) -> None:
    case, method = BY_NAME["cnn"], small(name)
    model = case.model()
    compare(method.each(model, case.given(), [0, 2]), [method(model, case.given(), target) for target in (0, 2)])


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in ONE_PASS for case in ("cnn", "ids")])
def test_the_model_runs_once(name: str, case: str) -> None:
    seen = Seen()
    model = pl.Model(Counting(BY_NAME[case].net(), seen), inputs=BY_NAME[case].modality())
    method, given = small(name), BY_NAME[case].given()
    method.each(model, given, [0, 1, 2])  # rows are measured, embeddings found
    seen.rows.clear()
    method.each(model, given, [0, 1, 2])
    alone = Seen()
    model = pl.Model(Counting(BY_NAME[case].net(), alone), inputs=BY_NAME[case].modality())
    method(model, given, 0)
    alone.rows.clear()
    method(model, given, 0)
    assert seen.rows == alone.rows


@pytest.mark.parametrize("name", ["InputXGradient", "LRP"])
def test_at_a_layer_and_for_neurons_of_one(name: str) -> None:
    case, method = BY_NAME["cnn"], small(name)
    model, given = case.model(), case.given()
    compare(method.each(model, given, [0, 1], at="block"), [method(model, given, k, at="block") for k in (0, 1)])
    neurons = [pl.Neuron("norm", channel) for channel in range(3)]
    several = method.each(model, given, neurons)
    compare(several, [method(model, given, neuron) for neuron in neurons])
    assert sum(each.receipt.rows_forward for each in several) == len(given)
    mixed = [neurons[0], 1]
    compare(method.each(model, given, mixed), [method(model, given, target) for target in mixed])


def test_all_classes() -> None:
    case, method = BY_NAME["cnn"], pl.InputXGradient()
    several = method.each(case.model(), case.given())
    compare(several, [method(case.model(), case.given(), target) for target in range(3)])
    assert several[0].receipt.rows_forward == len(case.given()) + 1
    named = pl.Model(case.net(), inputs=case.modality(), classes=("a", "b", "c"))
    assert [each.target_words() for each in method.each(named, case.given())] == [
        f"logit of “{name}”" for name in "abc"
    ]
    assert len(method.each(nn.Linear(2, 1), torch.ones(1, 2))) == 1


def test_black_boxes_and_single_precision() -> None:
    box = pl.BlackBox(lambda rows: rows @ torch.eye(3).numpy())
    x = torch.rand(2, 3).double()
    compare(pl.Ablation().each(box, x, [0, 1]), [pl.Ablation()(box, x, target) for target in (0, 1)])
    net, given = BY_NAME["cnn"].net().float(), BY_NAME["cnn"].given().float()
    for mine, target in zip(pl.LRP().each(net, given, [0, 1]), (0, 1), strict=True):
        torch.testing.assert_close(mine.values, pl.LRP()(net, given, target).values)


def test_checkpointed_parts_are_computed_again_for_each_target() -> None:
    torch.manual_seed(0)
    net, x = ConvNet(CheckpointedBlock).double(), torch.rand(2, 2, 8, 8).double()
    for method in (pl.Saliency(), pl.LRP()):
        compare(method.each(net, x, [0, 1, 2]), [method(net, x, target) for target in range(3)])


def test_predicted_classes_are_decided_on_the_inputs_not_on_what_they_are_held_against() -> None:
    from pellucid.core.method import question

    net = nn.Sequential(nn.Flatten())
    ask = question(net, torch.tensor([[1.0, 5.0]]))
    gradient = ask.gradient(against=lambda numbers: torch.tensor([[[9.0, 0.0]]]))
    assert gradient.tolist() == [[0.0, 1.0]]


def test_a_model_without_a_gradient_is_refused_and_a_constant_one_gives_zeros() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() * 2

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), 2)

    with pytest.raises(errors.GradientError):
        pl.Saliency().each(Cut(), torch.rand(1, 2), [0, 1])
    for each in pl.Saliency().each(Fixed(), torch.rand(1, 2), [0, 1]):
        assert not each.values.any()


@pytest.mark.parametrize("targets", ["cat", 3, [], pl.Class(0), None])
def test_what_is_no_list_of_targets_is_refused(targets: Any) -> None:
    with pytest.raises(errors.OptionError):
        pl.Saliency().each(nn.Linear(2, 2), torch.rand(1, 2), targets)


def test_memory_that_runs_out_halves_the_rows() -> None:
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise MemoryError("out of memory")
            return x.square()

    x = torch.rand(5, 2)
    for target, each in enumerate(pl.InputXGradient().each(Hungry(), x, [0, 1])):
        assert torch.equal(each.values[:, target], 2 * x[:, target].square())
