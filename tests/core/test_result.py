"""Results: values in the inputs' structure, in words, tables and figures; for every method of the catalogue."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.errors import InputError
from tests.nets import BY_NAME
from tests.small import at_of, pairs, small


@pytest.mark.parametrize(("name", "case"), pairs())
def test_a_result_speaks_and_draws(name: str, case: str) -> None:
    kept = BY_NAME[case]
    result = small(name)(kept.model(classes=("a", "b<script>", "c")), kept.given(), at=at_of(name, kept))
    assert len(result) == 3
    for row in (0, 2, -1):
        assert np.isfinite(result.array(row)).all()
        top = result.top(3, row)
        assert 1 <= len(top) <= 3
        sizes = [abs(value) for _, value in top]
        assert sizes == sorted(sizes, reverse=True)
        assert all(isinstance(part, str) for part, _ in top)
        assert result.figure(row).text()
    frame = result.to_frame(1)
    assert len(frame) == result.array(1).size
    np.testing.assert_allclose(frame["value"], result.array(1).ravel())
    assert ("standard_error" in frame) == (result.standard_error is not None)
    words = result.words(1)
    assert str(result.receipt) in words
    assert ("complete to" in words) == (result.gap is not None)
    assert repr(result).startswith(f"{name}(")
    page = result._repr_html_()
    HTMLParser().feed(page)
    assert "<script>" not in page
    assert result.about.classes == ("a", "b<script>", "c")


@pytest.mark.parametrize("row", [3, -4, 99])
def test_a_row_that_was_not_explained(row: int) -> None:
    case = BY_NAME["mlp"]
    result = pl.Saliency()(case.net(), case.given())
    for ask in (result.array, result.input_array, result.figure, lambda row: result.top(1, row)):
        with pytest.raises(InputError) as caught:
            ask(row)
        assert "0 … 2" in caught.value.expected


def test_parts_of_a_result_may_be_replaced() -> None:
    case = BY_NAME["mlp"]
    result = pl.Saliency()(case.net(), case.given())
    other = dataclasses.replace(result, values=-result.values, notes=("turned",))
    assert torch.equal(other.values, -result.values)
    assert "turned" in other.words()
    assert other.score is result.score
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.values = None


def test_a_hidden_layer_has_parts_of_its_own() -> None:
    case = BY_NAME["mlp"]
    result = pl.Saliency()(case.net(), case.given(), at="1")
    assert result.at == "1"
    assert sorted(name for name, _ in result.top(6)) == list("012345")
    assert list(result.to_frame().columns) == ["part", "value"]
    assert "at 1" in result.figure().title


def test_the_options_that_differ_are_told() -> None:
    case = BY_NAME["mlp"]
    note = pl.IntegratedGradients(steps=3)(case.net(), case.given()).method
    assert note.options == {"steps": 3}
    assert str(note) == "IntegratedGradients(steps=3)"
    assert pl.IntegratedGradients()(case.net(), case.given()).method.options == {}
    given = pl.IntegratedGradients(baseline=torch.zeros(5))(case.net(), case.given()).method
    assert list(given.options) == ["baseline"]


def test_columns_are_named_and_one_hot_columns_added_up() -> None:
    table = pl.Table(columns=("age", "kind"), categories={"kind": ("a", "b", "c")}, one_hot=("kind",))
    net = torch.nn.Linear(4, 1)
    result = pl.InputXGradient()(pl.Model(net, inputs=table), [[3.0, "b"]])
    assert result.values.shape == (1, 4)
    weight = net.weight[0].detach()
    assert dict(result.top()) == pytest.approx({"age": 3 * float(weight[0]), "kind": float(weight[2])}, rel=1e-5)
