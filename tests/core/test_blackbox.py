"""BlackBox: NumPy rows in, numbers out, and every way in which a predict function can go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import pellucid as pl
from pellucid.attribution.games import GameAttributor
from pellucid.core.law import COMPLETE
from pellucid.errors import (
    DtypeError,
    EmptyError,
    GradientError,
    LayerError,
    NonFiniteError,
    OptionError,
    OutputError,
    PredictError,
    ShapeError,
)
from tests.small import NAMES, small

ROWS = np.random.default_rng(0).normal(size=(3, 4))


def linear(rows: np.ndarray) -> np.ndarray:
    return rows @ np.array([1.0, -2.0, 3.0, 0.5])


@pytest.mark.parametrize(
    "predict",
    [
        linear,
        lambda rows: linear(rows).tolist(),
        lambda rows: linear(rows)[:, None],
        lambda rows: linear(rows).astype(np.float32).astype(float),
        lambda rows: torch.from_numpy(linear(rows)),
        lambda rows: pd.Series(linear(rows)),
        lambda rows: [np.array(each) for each in linear(rows)],
        lambda rows: np.array(list(linear(rows)), dtype=object),
    ],
    ids=["array", "list", "column", "float32", "tensor", "series", "arrays", "objects"],
)
def test_what_a_predict_function_may_give(predict: Any) -> None:
    values = pl.KernelSHAP()(pl.BlackBox(predict), ROWS).values
    np.testing.assert_allclose(values, ROWS * [1.0, -2.0, 3.0, 0.5], rtol=1e-5, atol=1e-6)


def test_it_gets_numpy_rows_at_most_so_many_at_a_time() -> None:
    seen = []

    def watch(rows: np.ndarray) -> np.ndarray:
        assert type(rows) is np.ndarray
        seen.append(len(rows))
        return linear(rows)

    pl.KernelSHAP()(pl.BlackBox(watch, batch=5), ROWS)
    assert max(seen) <= 5
    assert sum(seen) == 3 * 15 + 1  # with everything hidden, the three rows are one


def test_rows_that_are_changed_in_place_are_copies() -> None:
    def rude(rows: np.ndarray) -> np.ndarray:
        rows -= 1
        answer = linear(rows)
        rows[:] = 0
        return answer

    for given in (ROWS.copy(), torch.from_numpy(ROWS.copy())):
        box = pl.BlackBox(rude)
        expected = linear(ROWS - 1)
        np.testing.assert_allclose(box(given).values, expected)
        np.testing.assert_allclose(pl.Ablation()(box, given).score, expected)
        np.testing.assert_array_equal(np.asarray(given), ROWS)


def test_a_single_row_may_lie_flat() -> None:
    assert pl.KernelSHAP()(pl.BlackBox(linear), ROWS[0]).values.shape == (1, 4)
    assert pl.BlackBox(linear)(ROWS[0]).words()


@pytest.mark.parametrize(
    ("predict", "kind"),
    [
        (lambda rows: None, OutputError),
        (lambda rows: 3.0, OutputError),
        (lambda rows: linear(rows)[:-1], OutputError),
        (lambda rows: np.concatenate([linear(rows)] * 2), OutputError),
        (lambda rows: ["cat"] * len(rows), OutputError),
        (lambda rows: ["1"] * len(rows), OutputError),
        (lambda rows: np.array([b"1"] * len(rows)), OutputError),
        (lambda rows: [[1], [1, 2], [1]][: len(rows)] if len(rows) > 1 else [{}], OutputError),
        (lambda rows: linear(rows) * 1j, OutputError),
        (lambda rows: np.array(["2020-01-01"] * len(rows), dtype="datetime64[D]"), OutputError),
        (lambda rows: linear(rows) * np.nan, NonFiniteError),
        (lambda rows: np.where(np.arange(len(rows)) == 1, np.inf, linear(rows)), NonFiniteError),
    ],
)
def test_what_a_predict_function_must_not_give(predict: Any, kind: type[Exception]) -> None:
    for ask in (lambda box: box(ROWS), lambda box: pl.KernelSHAP()(box, ROWS)):
        with pytest.raises(kind) as caught:
            ask(pl.BlackBox(predict))
        error: Any = caught.value
        assert error.expected
        assert error.got
        assert error.do


def test_an_error_of_the_function_is_named() -> None:
    def broken(rows: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("by nothing\nat all")

    with pytest.raises(PredictError, match="ZeroDivisionError: by nothing in call 1, of 3 rows") as caught:
        pl.BlackBox(broken)(ROWS)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.do.startswith("0 answers are kept")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (np.empty((0, 4)), EmptyError),
        (np.array([["a", "b"]]), DtypeError),
        (ROWS * np.nan, NonFiniteError),
        ("text", DtypeError),
    ],
)
def test_rows_that_are_refused(given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        pl.KernelSHAP()(pl.BlackBox(linear), given)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: pl.BlackBox(3), DtypeError),
        (lambda: pl.BlackBox(linear, task="guess"), OptionError),
        (lambda: pl.BlackBox(linear, batch=0), OptionError),
    ],
)
def test_options_that_are_refused(make: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        make()


@pytest.mark.parametrize("name", NAMES)
def test_every_method_answers_or_says_what_it_lacks(name: str) -> None:
    kind: Any = pl.catalogue.find(name)
    if issubclass(kind, GameAttributor):
        box = pl.BlackBox(linear)
        values = small(name)(box, ROWS).values
        assert len(values) == len(ROWS)
        assert box.asked
        if COMPLETE in kind.laws or name in ("Ablation", "Occlusion"):
            np.testing.assert_allclose(values, ROWS * [1.0, -2.0, 3.0, 0.5], rtol=1e-9, atol=1e-12)
        return
    with pytest.raises((GradientError, LayerError, OptionError, ShapeError)) as caught:
        small(name)(pl.BlackBox(linear), ROWS)
    assert caught.value.do


def test_layers_and_neurons_are_out_of_reach() -> None:
    for options in ({"at": "layer"}, {"target": pl.Neuron("layer", 1)}):
        with pytest.raises(LayerError):
            pl.Occlusion()(pl.BlackBox(linear), ROWS, **options)


def test_classes_and_probabilities() -> None:
    def proba(rows: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-linear(rows)))
        return np.stack([1 - p, p], 1)

    box = pl.BlackBox(proba, classes=("no", "yes"))
    found = box(ROWS)
    np.testing.assert_allclose(found.probabilities, proba(ROWS))
    yes = pl.KernelSHAP()(box, ROWS, target="yes")
    no = pl.KernelSHAP()(box, ROWS, target="no")
    np.testing.assert_allclose(yes.values, -no.values, atol=1e-12)
    np.testing.assert_allclose(yes.score, proba(ROWS)[:, 1])
    assert yes.target_words() == "probability of “yes”"


def test_a_table_and_texts() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0], "kind": ["a", "b"]})
    seen: list[Any] = []

    def price(rows: pd.DataFrame) -> Any:
        seen.append(rows)
        return rows["size"] * np.where(rows["kind"] == "b", 10, 1)

    result = pl.KernelSHAP(fill=pl.Mean())(pl.BlackBox(price, inputs=pl.Table.of(frame)), frame)
    assert all(isinstance(each, pd.DataFrame) and list(each.columns) == ["size", "kind"] for each in seen)
    np.testing.assert_allclose(result.values.sum(1), result.score - result.base_score)

    def good(texts: list[str]) -> list[float]:
        assert all(isinstance(each, str) for each in texts)
        return [float("good" in each) - float("not good" in each) * 2 for each in texts]

    result = pl.KernelSHAP()(pl.BlackBox(good, inputs=pl.Text()), ["a not good film"])
    assert dict(result.top(4)) == pytest.approx({"not": -1, "good": 0, "a": 0, "film": 0})
