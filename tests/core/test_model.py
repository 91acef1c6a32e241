"""Model: layers, tasks, checks of the first call, outputs of every structure, changed copies."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.model import Layer, another, like_probabilities, same_answer
from pellucid.errors import DtypeError, MixedRowsError, ModelError, OptionError, OutputError, ShapeError
from tests.nets import BY_NAME, CASES, Answer

X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


class Does(nn.Module):
    """A linear layer and then anything."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.function = nn.Linear(4, 3), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.body(x))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_prediction_is_the_modules_answer(case: Any) -> None:
    net, given = case.net(), case.given()
    prediction = pl.Model(net, inputs=case.modality())(given)
    args, kwargs = ((), given) if isinstance(given, dict) else (given if isinstance(given, tuple) else (given,), {})
    net.eval()
    answer = net(*args, **kwargs)
    logits = answer["logits"] if isinstance(answer, dict) else getattr(answer, "logits", answer)
    torch.testing.assert_close(prediction.values.double(), logits.detach(), rtol=1e-5, atol=1e-6)
    assert prediction.classes == [f"class {i}" for i in logits.argmax(1).tolist()]
    assert net.training is False


def test_layers_have_names_kinds_shapes_calls_and_an_order() -> None:
    case = BY_NAME["cnn"]
    layers = {each.name: each for each in case.model().layers(case.given())}
    assert layers["stem"] == Layer(name="stem", kind="Conv2d", shape=(4, 8, 8), weights=76, calls=1, order=0)
    assert layers["block.act"].calls == 2
    assert layers["block"].shape == (4, 4, 4)
    assert layers["block"].order > layers["block.conv"].order
    assert layers["head"].shape == (3,)
    assert layers["stem"].spatial
    assert not layers["head"].spatial
    unseen = pl.Model(case.net()).layers()
    assert all(each.shape is None and each.calls == 0 and each.order == -1 for each in unseen)
    model = case.model()
    model(case.given())
    assert model.layers() == model.layers(case.given())


def test_layers_of_tuples_and_of_what_is_never_called() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.spare, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(2, 2), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x[:, None])[0][:, -1])

    layers = {each.name: each for each in pl.Model(Net()).layers(X)}
    assert layers["memory"].shape == (1, 5)
    assert (layers["spare"].shape, layers["spare"].calls) == (None, 0)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: y,
        lambda y: (y, None),
        lambda y: [torch.tensor([1, 2, 3])[: len(y)], y],
        lambda y: {"loss": y.sum(1), "logits": y},
        lambda y: {"out": y, "aux": y * 0},
        lambda y: OrderedDict(prediction=y),
        lambda y: Answer(logits=y, hidden=y * 2),
        lambda y: {"anything": "text", "else": y},
    ],
)
def test_answers_of_every_structure(function: Any) -> None:
    net = Does(function)
    expected = net.body(X).detach()
    torch.testing.assert_close(pl.Saliency()(net, X).score, expected.max(1).values)
    torch.testing.assert_close(pl.Model(net)(X).values, expected)


def test_the_explained_part_may_be_picked() -> None:
    net = Does(lambda y: {"deep": {"down": [y, y * 2]}})
    result = pl.Saliency()(pl.Model(net, output=lambda out: out["deep"]["down"][1]), X)
    torch.testing.assert_close(result.score, 2 * net.body(X).max(1).values.detach())
    with pytest.raises(OutputError) as caught:
        pl.Saliency()(net, X)
    assert "output=" in caught.value.do


@pytest.mark.parametrize(
    ("function", "task"),
    [
        (lambda y: y, "classification"),
        (lambda y: y[:, :1], "regression"),
        (lambda y: y[:, 0], "regression"),
        (lambda y: y[:, :, None, None].expand(-1, -1, 2, 2), "image"),
        (lambda y: y[:, None].expand(-1, 5, -1), "tokens"),
    ],
)
def test_the_task_is_read_off_the_answer(function: Any, task: str) -> None:
    model = pl.Model(Does(function))
    assert model.task_of(model(X).values) == task


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"task": "clasification"}, OptionError),
        ({"classes": ("a", "b")}, ShapeError),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        pl.Model(Does(lambda y: y), **options)(X)


def test_what_is_no_module() -> None:
    for wrong in (lambda x: x, "net", None, nn.Linear):
        with pytest.raises(DtypeError) as caught:
            pl.Model(wrong)
        assert "BlackBox" in caught.value.do
    with pytest.raises(DtypeError):
        pl.Saliency()(lambda x: x, X)


MIXERS: dict[str, Any] = {
    "mean over the batch": lambda y: y - y.mean(0),
    "softmax over the batch": lambda y: y.softmax(0),
    "sorting": lambda y: y.sort(0).values,
    "batch norm in training": lambda y: F.batch_norm(y, None, None, training=True),
    "neighbor": lambda y: y + torch.roll(y, 1, 0),
    "batch size": lambda y: y * len(y),
}


@pytest.mark.parametrize("inputs", [X, torch.zeros(3, 4), torch.ones(1, 4)], ids=["rows", "zeros", "one row"])
@pytest.mark.parametrize("name", MIXERS)
def test_a_model_that_mixes_rows_is_refused(name: str, inputs: Tensor) -> None:
    """Also when the first inputs are all alike."""
    with pytest.raises((MixedRowsError, ModelError)) as caught:
        pl.Saliency()(Does(MIXERS[name]), inputs)
    assert caught.value.do
    with pytest.raises(ModelError):
        pl.Model(Does(MIXERS[name]))(inputs)


def test_a_batch_norm_without_statistics_is_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(MixedRowsError):
        pl.Saliency()(net, X)


def test_a_model_that_answers_differently_each_time_is_refused() -> None:
    for function in (lambda y: F.dropout(y, 0.5, training=True), lambda y: y + torch.randn_like(y)):
        with pytest.raises(ModelError, match="another each time"):
            pl.Saliency()(Does(function), X)


def test_rows_that_are_lost_or_joined_are_refused() -> None:
    for function in (lambda y: y[:1], lambda y: torch.cat([y, y]), lambda y: y.T[:2].T.reshape(-1, 1)):
        with pytest.raises((ShapeError, MixedRowsError)):
            pl.Saliency()(Does(function), X)
    with pytest.raises(OutputError):
        pl.Saliency()(Does(lambda y: y.sum()), X)


class Picky(nn.Module):
    """Raises what it is told to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.body, self.error = nn.Linear(4, 3), error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), KeyError("k"), AttributeError("a"), TypeError("t"), ValueError(), IndexError("i")]
)
def test_what_fails_in_the_module_is_named(error: Exception) -> None:
    with pytest.raises(ModelError) as caught:
        pl.Saliency()(Picky(error), X)
    assert type(error).__name__ in caught.value.got
    assert caught.value.__cause__ is not None


def test_errors_of_your_own_pass() -> None:
    class Mine(Exception):
        pass

    with pytest.raises(Mine):
        pl.Saliency()(Picky(Mine()), X)


def test_a_changed_copy_leaves_the_model_alone() -> None:
    net = Does(lambda y: y)
    model = pl.Model(net)
    before = model(X).values

    def halve(module: nn.Module) -> nn.Module:
        with torch.no_grad():
            module.body.weight.mul_(0.5)
        return module

    other = model.with_module(halve)
    torch.testing.assert_close(other.module.body.weight, net.body.weight.detach() / 2)
    assert torch.equal(model(X).values, before)
    assert not torch.equal(other(X).values, before)
    with model.session():
        inside = model.with_module(halve)
    assert torch.equal(inside(X).values, other(X).values)
    assert other.fingerprint() != model.fingerprint()


def test_small_rules() -> None:
    assert like_probabilities(torch.tensor([[0.2, 0.8], [0.5, 0.5]]))
    assert not like_probabilities(torch.tensor([[0.2, 0.9]]))
    assert not like_probabilities(torch.tensor([[-0.2, 1.2]]))
    assert same_answer(torch.ones(2), torch.ones(2) * (1 + 1e-5))
    assert not same_answer(torch.ones(2), torch.ones(2) * 1.1)
    for row in (torch.rand(5), torch.zeros(5), torch.ones(1), torch.tensor([1, 2])):
        assert not torch.equal(another(row), row)


def test_an_attribute_of_a_method_call_may_be_the_module_itself_or_a_model() -> None:
    net = Does(lambda y: y)
    assert torch.equal(pl.Saliency()(net, X).values, pl.Saliency()(pl.Model(net), X).values)
