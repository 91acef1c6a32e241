"""Predictions of each task, in numbers and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.figure import Bars, Heat, Sheet
from pellucid.core.prediction import ClassPrediction, ImagePrediction, TokenPrediction, ValuePrediction


class Says(nn.Module):
    """Hands its input on."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1


def predict(values: Any, **options: Any) -> Any:
    return pl.Model(Says(), **options)(torch.tensor(values))


LOGITS = [[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]


def test_classes() -> None:
    found = predict(LOGITS, classes=("a", "b", "c"))
    assert isinstance(found, ClassPrediction)
    p = torch.tensor(LOGITS).softmax(1)
    torch.testing.assert_close(found.probabilities, p)
    assert found.classes == ["b", "a"]
    assert found.index.tolist() == [1, 0]
    torch.testing.assert_close(found.entropy, -(p * p.log2()).sum(1))
    best = p.sort(1, descending=True).values
    torch.testing.assert_close(found.margin, best[:, 0] - best[:, 1])
    assert [name for name, _ in found.top(2)] == ["b", "c"]
    assert len(found.top(9, row=1)) == 3
    assert len(found) == 2
    assert found.words().replace("\u00a0", " ").startswith("“b” 66.5 %, then “c” 24.5 %")
    assert repr(found) == found.words() + " … and 1 more"
    assert isinstance(found.figure(), Bars)
    assert found.figure().labels == ("b", "c", "a")


def test_certain_and_clueless_classes() -> None:
    assert float(predict([[100.0, 0.0]]).entropy) == pytest.approx(0, abs=1e-6)
    assert float(predict([[0.0] * 8]).entropy) == pytest.approx(3)
    assert float(predict([[0.0] * 8]).margin) == 0


def test_probabilities_stay_what_they_are() -> None:
    given = torch.tensor(LOGITS).softmax(1)
    found = predict(given.tolist())
    assert found.about.kind == "probabilities"
    torch.testing.assert_close(found.probabilities, given)


def test_one_logit_for_two_classes() -> None:
    found = predict([[2.0], [-3.0]], classes=("no", "yes"))
    assert found.classes == ["yes", "no"]
    torch.testing.assert_close(found.probabilities[:, 1], torch.tensor([2.0, -3.0]).sigmoid())


def test_values() -> None:
    found = predict([[3.25], [-1.0]])
    assert isinstance(found, ValuePrediction)
    assert found.words() == "3.25"
    assert isinstance(found.figure(1), Sheet)
    assert predict([[1.0, 2.0]], task="regression").words() == "1, 2"
    assert repr(predict([[1.5]])) == "1.5"


def test_pictures() -> None:
    values = torch.zeros(1, 3, 2, 2)
    values[0, 1, 0] = 1
    values[0, 2, 1, 0] = 2
    found = predict(values.tolist(), classes=("sky", "road", "car"))
    assert isinstance(found, ImagePrediction)
    assert found.labels.tolist() == [[[1, 1], [2, 0]]]
    assert dict(found.shares()) == {"road": 0.5, "car": 0.25, "sky": 0.25}
    assert found.words().startswith("“road” 50")
    assert isinstance(found.figure(), Heat)
    plain = predict(values.tolist())
    assert plain.words() == "a picture of (3, 2, 2)"
    assert plain.figure().values.shape == (2, 2)


def test_tokens() -> None:
    values = torch.zeros(1, 2, 4)
    values[0, 0, 3], values[0, 1, 2] = 5, 5
    found = predict(values.tolist())
    assert isinstance(found, TokenPrediction)
    assert found.ids.tolist() == [[3, 2]]
    assert found.words().startswith("next token id 2 (98")
    named = predict(values.tolist(), classes=("a", "b", "c", "d"))
    assert named.figure().labels[0] == "c"


@pytest.mark.parametrize("values", [LOGITS, [[3.0]], torch.rand(2, 3, 4, 4).tolist(), torch.rand(1, 3, 5).tolist()])
def test_every_prediction_draws_itself(values: Any) -> None:
    found = predict(values)
    assert "<" in found._repr_html_()
    assert found.figure().text()
    assert np.isfinite(found.array(0)).all()


def test_the_answer_itself_is_kept() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": x * 1, "hidden": x * 2}

    found = pl.Model(Two())(torch.tensor(LOGITS))
    torch.testing.assert_close(found.raw["hidden"], 2 * torch.tensor(LOGITS))


@pytest.mark.parametrize("squash", [nn.Sigmoid(), None], ids=["probability", "logit"])
@pytest.mark.parametrize("flat", [True, False])
def test_one_number_for_two_classes_means_the_same_alone_and_in_a_batch(squash: nn.Module | None, flat: bool) -> None:
    """Whether it is a probability is seen from how it was made, not from its size."""

    class Judge(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 1
            y = y if squash is None else squash(y)
            return y[:, 0] if flat else y

    x = torch.tensor([[0.3], [0.6], [0.9], [0.1], [0.5], [0.7]])
    model = pl.Model(Judge(), classes=("no", "yes"))
    together = model(x)
    torch.testing.assert_close(together.probabilities[:, 1], x[:, 0].sigmoid())
    torch.testing.assert_close(model(x[:1]).probabilities, together.probabilities[:1])
    for rows in (x, x[:1]):
        score = pl.Saliency()(model, rows, target=pl.Probability("yes")).score
        torch.testing.assert_close(score, rows[:, 0].sigmoid())
