"""Targets: every kind against its formula, arithmetic, binding by name, index, list and array, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.outputs import Outputs
from pellucid.core.target import as_target
from pellucid.errors import OutputError, ShapeError, TargetError

ROWS = 3
NAMES = ("cat", "dog", "bird", "fish")
LOGITS = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))
X = torch.rand(ROWS, 5, generator=torch.Generator().manual_seed(2))


class Gives(nn.Module):
    """Answers a function of a linear layer's output."""

    def __init__(self, shape: tuple[int, ...] = (4,), change: Any = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.shape, self.change = shape, change or (lambda y: y)
        self.body = nn.Linear(5, torch.Size(shape).numel())

    def forward(self, x: Tensor) -> Any:
        return self.change(self.body(x).reshape(len(x), *self.shape))


def scores(net: nn.Module, target: Any = None, **options: Any) -> Tensor:
    """The explained numbers."""
    return pl.Saliency()(pl.Model(net, **options), X, target=target).score


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-6)


CLASSIFIER = Gives()
ANSWER = CLASSIFIER(X).detach()


def test_a_class_by_index_name_list_and_array() -> None:
    assert torch.equal(ANSWER.argmax(1), scores(CLASSIFIER).new_tensor([0]).long() + ANSWER.argmax(1))
    same(scores(CLASSIFIER), ANSWER.max(1).values)
    same(scores(CLASSIFIER, 2), ANSWER[:, 2])
    same(scores(CLASSIFIER, -1), ANSWER[:, 3])
    same(scores(CLASSIFIER, "bird", classes=NAMES), ANSWER[:, 2])
    same(scores(CLASSIFIER, pl.Class("bird"), classes=NAMES), ANSWER[:, 2])
    each = ANSWER[torch.arange(ROWS), torch.tensor([1, 0, 3])]
    for listed in (
        [1, 0, 3],
        (1, 0, 3),
        np.array([1, 0, 3]),
        torch.tensor([1, 0, 3]),
        [np.int64(1), np.int64(0), np.int64(3)],
        [torch.tensor(1), torch.tensor(0), torch.tensor(3)],
        pl.Class((1, 0, 3)),
    ):
        same(scores(CLASSIFIER, listed), each)
    same(scores(CLASSIFIER, ["dog", "cat", "fish"], classes=NAMES), each)
    same(scores(CLASSIFIER, np.int64(2)), ANSWER[:, 2])
    same(scores(CLASSIFIER, torch.tensor(2)), ANSWER[:, 2])


def test_the_predicted_class_is_decided_once_on_the_clean_inputs() -> None:
    """A path that crosses into another class does not change what is explained."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(2))
    result = pl.IntegratedGradients(baseline=torch.tensor([0.0, 5.0]))(net, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(result.values, torch.tensor([[2.0, 0.0]]))
    assert float(result.base_score) == 0


@pytest.mark.parametrize(
    ("target", "options", "kind"),
    [
        (4, {}, TargetError),
        (-5, {}, TargetError),
        ("brid", {"classes": NAMES}, TargetError),
        ("bird", {}, TargetError),
        ([0, 1], {}, ShapeError),
        ([0, 1, 9], {}, TargetError),
        ("twin", {"classes": ("twin", "twin", "a", "b")}, TargetError),
        (2.5, {}, TargetError),
        (True, {}, TargetError),
        ({"a": 1}, {}, TargetError),
        (torch.tensor([0.5, 1.0, 2.0]), {}, TargetError),
        (None, {"classes": ("a", "b")}, ShapeError),
    ],
)
def test_targets_that_are_refused(target: Any, options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        scores(CLASSIFIER, target, **options)
    error: Any = caught.value
    assert error.expected
    assert error.got
    assert error.do


def test_an_unknown_class_is_answered_with_near_names() -> None:
    with pytest.raises(TargetError, match="'bird'"):
        scores(CLASSIFIER, "brid", classes=NAMES)
    with pytest.raises(TargetError, match=r"\[0, 1\]"):
        scores(CLASSIFIER, "twin", classes=("twin", "twin", "a", "b"))


def test_one_output_for_two_classes() -> None:
    for change in (lambda y: y, lambda y: y[:, 0]):
        net = Gives((1,), change)
        value = net.body(X)[:, 0].detach()
        same(scores(net), value)
        same(scores(net, 0), value)
        same(scores(net, "yes", classes=("no", "yes")), value)
        same(scores(net, "no", classes=("no", "yes")), -value)
        same(scores(net, ["no", "yes", "no"], classes=("no", "yes")), value * torch.tensor([-1, 1, -1]))
        same(scores(net, [0, 1, 1], classes=("no", "yes")), value * torch.tensor([-1, 1, 1]))
        same(scores(net, pl.Probability("yes"), classes=("no", "yes")), value.sigmoid())
        same(scores(net, pl.Probability("no"), classes=("no", "yes")), 1 - value.sigmoid())
        same(scores(net, pl.Probability(), classes=("no", "yes")), value.sigmoid())
        same(scores(net, pl.Probability(["no", "yes", "no"][0]), classes=("no", "yes")), 1 - value.sigmoid())
        for wrong in ("cat", 1, 7):
            with pytest.raises(TargetError):
                scores(net, wrong)


def test_probabilities_of_logits_and_of_probabilities() -> None:
    same(scores(CLASSIFIER, pl.Probability(2)), ANSWER.softmax(1)[:, 2])
    same(scores(CLASSIFIER, pl.Probability()), ANSWER.softmax(1).max(1).values)
    sure = Gives(change=lambda y: y.softmax(1))
    same(scores(sure, pl.Probability(2)), ANSWER.softmax(1)[:, 2])
    same(scores(sure, 2), ANSWER.softmax(1)[:, 2])
    result = pl.Saliency()(pl.Model(sure, classes=NAMES), X, target=1)
    assert result.target_words() == "probability of “dog”"
    assert pl.Saliency()(pl.Model(CLASSIFIER, classes=NAMES), X, target=1).target_words(2) == "logit of “dog”"


def test_outputs_by_index() -> None:
    same(scores(CLASSIFIER, pl.Output(3)), ANSWER[:, 3])
    net = Gives((2, 3, 4))
    answer = net(X).detach()
    same(scores(net, pl.Output((1, 2, 3))), answer[:, 1, 2, 3])
    same(scores(net, pl.Output((1, 2))), answer[:, 1, 2].mean(1))
    same(scores(Gives((1,), lambda y: y[:, 0]), pl.Output(0)), Gives((1,))(X)[:, 0])
    for wrong in (pl.Output(4), pl.Output((0, 0)), pl.Output(-5)):
        with pytest.raises(TargetError):
            scores(CLASSIFIER, wrong)


def test_answers_with_more_axes() -> None:
    """(rows, classes, height, width): the mean over the places of that class; (rows, tokens, classes) likewise."""
    net = Gives((3, 2, 2))
    answer = net(X).detach()
    expected = torch.stack(
        [one[1][one.argmax(0) == 1].mean() if (one.argmax(0) == 1).any() else one[1].mean() for one in answer]
    )
    same(scores(net, 1), expected)
    same(scores(net), scores(net, answer.mean((2, 3)).argmax(1).tolist()))
    tokens = Gives((2, 4))
    answer = tokens(X).detach()
    expected = torch.stack(
        [one[:, 3][one.argmax(1) == 3].mean() if (one.argmax(1) == 3).any() else one[:, 3].mean() for one in answer]
    )
    same(scores(tokens, 3), expected)
    same(scores(tokens, "fish", classes=NAMES), expected)
    p = answer.softmax(2)
    expected = torch.stack(
        [one[:, 3][one.argmax(1) == 3].mean() if (one.argmax(1) == 3).any() else one[:, 3].mean() for one in p]
    )
    same(scores(tokens, pl.Probability(3)), expected)


def test_losses() -> None:
    truth = torch.tensor([1, 0, 3])
    expected = nn.functional.cross_entropy(ANSWER, truth, reduction="none")
    for given_truth in (truth, truth.numpy(), truth.tolist(), truth.int()):
        same(scores(CLASSIFIER, pl.Loss(given_truth)), expected)
    net = Gives((1,))
    real = torch.tensor([0.5, -1.0, 2.0])
    same(scores(net, pl.Loss(real)), (net(X)[:, 0] - real).square())
    same(scores(net, pl.Loss(real.double().numpy())), (net(X)[:, 0] - real).square())
    same(scores(CLASSIFIER, pl.Loss(ANSWER * 0)), ANSWER.square().mean(1))
    tokens = Gives((2, 4))
    words = torch.tensor([[0, 1], [2, 3], [3, 3]])
    expected = nn.functional.cross_entropy(tokens(X).movedim(2, 1), words, reduction="none").mean(1)
    same(scores(tokens, pl.Loss(words)), expected)
    places = torch.randint(0, 3, (ROWS, 2, 2))
    picture = Gives((3, 2, 2))
    same(
        scores(picture, pl.Loss(places)), nn.functional.cross_entropy(picture(X), places, reduction="none").mean((1, 2))
    )


@pytest.mark.parametrize(
    "truth",
    [
        torch.tensor([1, 0]),
        torch.tensor([1, 0, 4]),
        torch.tensor([1, 0, -1]),
        torch.tensor([1.0, 0.0, 2.0]),
        torch.zeros(ROWS, 2, dtype=torch.long),
        3,
    ],
    ids=["few", "unknown class", "negative", "floats", "shape", "one"],
)
def test_losses_that_are_refused(truth: Any) -> None:
    with pytest.raises((TargetError, ShapeError)):
        scores(CLASSIFIER, pl.Loss(truth))


def test_functions_of_the_outputs() -> None:
    same(scores(CLASSIFIER, lambda y: y[:, 0] * y[:, 1]), ANSWER[:, 0] * ANSWER[:, 1])
    nested = Gives(change=lambda y: {"a": {"b": y}, "c": [y.sum(1)]})
    same(scores(nested, lambda out: out["a"]["b"][:, 2]), ANSWER[:, 2])
    boxes = Gives(change=lambda y: [{"score": row} for row in y])
    same(scores(boxes, lambda out: torch.stack([each["score"][0] for each in out])), ANSWER[:, 0])
    same(
        pl.Occlusion()(boxes, X, target=lambda out: torch.stack([each["score"][0] for each in out])).score, ANSWER[:, 0]
    )
    for wrong in (lambda y: y, lambda y: y.sum(), lambda y: 1.0, lambda y: (y + 0j)[:, 0]):
        with pytest.raises(ShapeError):
            scores(CLASSIFIER, wrong)
    with pytest.raises(OutputError):
        scores(nested)

    def margin(outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    assert pl.Saliency()(CLASSIFIER, X, target=margin).target_words() == "margin"


weights = st.lists(st.tuples(st.floats(-3, 3, width=32), st.integers(0, 3)), min_size=1, max_size=4)


@given(terms=weights)
def test_targets_add_subtract_and_scale(terms: list[tuple[float, int]]) -> None:
    total: Any = pl.Class(0) * 0.0
    expected = torch.zeros(ROWS)
    for weight, which in terms:
        total = total + weight * pl.Class(which)
        expected = expected + weight * ANSWER[:, which]
    same(scores(CLASSIFIER, total), expected)
    same(scores(CLASSIFIER, -total), -expected)


def test_sums_in_words_and_with_bare_names() -> None:
    both = pl.Class("cat") - "dog"
    result = pl.Saliency()(pl.Model(CLASSIFIER, classes=NAMES), X, target=both)
    same(result.score, ANSWER[:, 0] - ANSWER[:, 1])
    assert result.target_words() == "logit of “cat” − logit of “dog”"
    assert pl.Saliency()(CLASSIFIER, X, target=0.5 * pl.Class(1)).target_words() == "0.5 × logit of “class 1”"


def test_a_bound_target_may_be_asked_of_any_of_its_rows() -> None:
    target = pl.Class().bind(ANSWER, Outputs(), torch.arange(ROWS), ROWS)
    taken = target.take(torch.tensor([2, 0, 0]))
    same(taken.score(ANSWER[[2, 0, 0]], torch.arange(3)), ANSWER.max(1).values[[2, 0, 0]])
    parts = [pl.Class().bind(ANSWER[i : i + 1], Outputs(), torch.tensor([i]), ROWS) for i in range(ROWS)]
    assert parts[0].join(parts) == target
    loss = pl.Loss(torch.tensor([1, 0, 3])).bind(ANSWER, Outputs(), torch.arange(ROWS), ROWS)
    same(loss.take(torch.tensor([2])).score(ANSWER[2:], torch.tensor([0])), loss.score(ANSWER, torch.arange(ROWS))[2:])


def test_what_a_target_may_be() -> None:
    assert as_target(None) == pl.Class()
    assert as_target("dog") == pl.Class("dog")
    neuron = pl.Neuron("a", 1)
    assert as_target(neuron) is neuron
