"""Tables: numbers, categories, pandas, one-hot, back in original units, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pellucid as pl
from pellucid.errors import DtypeError, EmptyError, NonFiniteError, OptionError, ShapeError, UnknownName

TABLE = pl.Table(
    columns=("age", "kind", "size"),
    categories={"kind": ("a", "b", "c")},
    mean=(50.0, 0.0, 1.0),
    std=(10.0, 1.0, 2.0),
    units={"age": "years"},
)
HOT = pl.Table(columns=TABLE.columns, categories=TABLE.categories, one_hot=("kind",), mean=TABLE.mean, std=TABLE.std)
FRAME = pd.DataFrame({"size": [3.0, 1.0], "age": [60, 40], "kind": ["b", "c"]})


@pytest.mark.parametrize(
    "given",
    [
        [[60, "b", 3.0], [40, "c", 1.0]],
        np.array([[60, "b", 3.0], [40, "c", 1.0]], dtype=object),
        np.array([[60, 1, 3.0], [40, 2, 1.0]]),
        FRAME,
        {"age": [60, 40], "kind": ["b", "c"], "size": [3.0, 1.0]},
        np.array([["60", "b", "3"], ["40", "c", "1"]]),
        FRAME.astype({"kind": "category"}),
    ],
    ids=["list", "objects", "indexes", "frame", "dict", "texts", "category"],
)
def test_rows_however_they_come(given: Any) -> None:
    expected = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 2.0, 0.0]])
    torch.testing.assert_close(TABLE.prepare(given), expected)
    hot = torch.tensor([[1.0, 0, 1, 0, 1], [-1, 0, 0, 1, 0]])
    torch.testing.assert_close(HOT.prepare(given), hot)


@pytest.mark.parametrize("given", [[60, "b", 3.0], FRAME.iloc[0], {"age": 60, "kind": "b", "size": 3.0}])
def test_a_single_row(given: Any) -> None:
    torch.testing.assert_close(TABLE.prepare(given), torch.tensor([[1.0, 1.0, 1.0]]))


def test_tensors_are_taken_as_they_are() -> None:
    x = torch.randn(2, 3)
    assert TABLE.prepare(x) is x
    assert TABLE.prepare(x[0]).shape == (1, 3)


rows = st.lists(
    st.tuples(st.floats(-1e4, 1e4, width=32), st.integers(0, 2), st.floats(-1e4, 1e4, width=32)), min_size=1, max_size=5
)


@given(rows=rows)
def test_encoding_and_back(rows: list[tuple[float, int, float]]) -> None:
    plain = np.array(rows, dtype=float)
    for table in (TABLE, HOT):
        np.testing.assert_allclose(table.original(table.encode(plain)), plain, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(table.decode(table.encode(plain)), plain, rtol=1e-9, atol=1e-9)


def test_levels_that_look_like_numbers() -> None:
    table = pl.Table(columns=("grade",), categories={"grade": ("1", "2", "3")})
    for cells in ([[1], [3]], np.array([[1.0], [3.0]]), [["1"], ["3"]], pd.DataFrame({"grade": [1, 3]})):
        torch.testing.assert_close(table.prepare(cells), torch.tensor([[0.0], [2.0]]))
    with pytest.raises(UnknownName):
        table.prepare([[4]])
    flags = pl.Table(columns=("on",), categories={"on": ("False", "True")})
    torch.testing.assert_close(flags.prepare(pd.DataFrame({"on": [True, False]})), torch.tensor([[1.0], [0.0]]))


def test_a_frame_says_what_it_holds() -> None:
    frame = FRAME.assign(on=[True, False])
    table = pl.Table.of(frame)
    assert table.columns == ("size", "age", "kind", "on")
    assert table.categories == {"kind": ("b", "c"), "on": ("False", "True")}
    back = table.decode(table.prepare(frame).numpy())
    assert list(back.columns) == list(frame.columns)
    assert list(back["kind"]) == ["b", "c"]
    np.testing.assert_allclose(back["size"], frame["size"])
    assert table.background_rows().shape == (2, 4)
    numbered = pd.DataFrame({0: [1.0, 2.0], 1: ["u", "v"]})
    assert pl.Table.of(numbered).prepare(numbered).tolist() == [[1, 0], [2, 1]]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([[60, "d", 3.0]], UnknownName),
        ([[60, None, 3.0]], UnknownName),
        (np.array([[60.0, 7, 3.0]]), UnknownName),
        (np.array([[60.0, -1, 3.0]]), UnknownName),
        (np.array([[60.0, 0.5, 3.0]]), UnknownName),
        ([[60, "b"]], ShapeError),
        ([[60, "b", 1.0, 2.0]], ShapeError),
        ([["old", "b", 1.0]], DtypeError),
        ([[np.nan, "b", 1.0]], NonFiniteError),
        ([[np.inf, "b", 1.0]], NonFiniteError),
        ([[None, "b", 1.0]], (DtypeError, NonFiniteError)),
        (np.empty((0, 3)), EmptyError),
        (FRAME.drop(columns="age"), UnknownName),
        (FRAME.iloc[:0], EmptyError),
        ({"age": [60], "kind": ["b"]}, UnknownName),
        ({"age": [60, 61], "kind": ["b"], "size": [1.0]}, ShapeError),
    ],
)
def test_rows_that_are_refused(given: Any, kind: Any) -> None:
    for table in (TABLE, HOT):
        with pytest.raises(kind) as caught:
            pl.Saliency()(pl.Model(torch.nn.Linear(3, 1), inputs=table), given)
        assert caught.value.expected
        assert caught.value.got
        assert caught.value.do


def test_near_names_are_told() -> None:
    with pytest.raises(OptionError, match="'kind'"):
        pl.Table(columns=("age", "kind"), categories={"knd": ("a",)})
    with pytest.raises(UnknownName, match="'agee'"):
        TABLE.prepare({"agee": 1, "kind": "a", "size": 1})


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ("a",), "categories": {"b": ("x",)}},
        {"columns": ("a",), "one_hot": ("b",)},
        {"columns": ("a",), "one_hot": ("a",)},
        {"columns": ("a",), "units": {"b": "kg"}},
        {"columns": ("a", "b"), "mean": (0.0,)},
        {"columns": ("a",), "mean": (0.0,), "std": (0.0,)},
        {"columns": ("a",), "std": (-1.0,)},
        {"columns": ("a", "a")},
    ],
    ids=str,
)
def test_tables_that_are_refused(options: Any) -> None:
    with pytest.raises((OptionError, UnknownName)):
        pl.Table(**options)


def test_words_and_figures() -> None:
    encoded = HOT.prepare(FRAME)[0].numpy()
    assert HOT.details(encoded) == ("60", "b", "3")
    assert TABLE.details(TABLE.prepare(FRAME)[0].numpy()) == ("60 years", "b", "3")
    np.testing.assert_allclose(HOT.by_column(np.array([1.0, 2, 3, 4, 5])), [1, 9, 5])
    figure = HOT.map_figure(np.array([1.0, 2, 3, 4, 5]), encoded, title="t")
    assert figure.labels[0] == "kind"
    assert HOT.input_figure(encoded).rows[1] == ("kind", "b")


def test_columns_are_the_parts_of_a_table() -> None:
    """A one-hot column is hidden as a whole, by the most frequent level of the background."""
    table = pl.Table(
        columns=("age", "kind"),
        categories={"kind": ("a", "b")},
        one_hot=("kind",),
        background=[[10.0, "a"], [20.0, "a"], [30.0, "b"]],
    )
    net = torch.nn.Linear(3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 10.0, 30.0]]))
    result = pl.Ablation()(pl.Model(net, inputs=table), [[50.0, "b"]])
    torch.testing.assert_close(result.values, torch.tensor([[30.0, 20.0, 20.0]]))
    shap = pl.KernelSHAP()(pl.Model(net, inputs=table), [[50.0, "b"]])
    torch.testing.assert_close(shap.values, torch.tensor([[30.0, 10.0, 10.0]]))
    assert dict(shap.top()) == pytest.approx({"age": 30, "kind": 20})
