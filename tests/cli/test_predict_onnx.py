"""ONNX files: their inputs and outputs are found, their answers are those of what they were exported from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pellucid as pl
from pellucid.errors import InputError, LoadError

pytest.importorskip("onnxruntime")
from pellucid.loading.onnx import Onnx

Pellucid = Callable[..., Any]
ROWS = np.random.default_rng(0).normal(size=(40, 3))
LABELS = np.array(["low", "high"])[(ROWS.sum(1) > 0).astype(int)]


def exported(path: Path, model: Any, **options: Any) -> Path:
    """A scikit-learn model as an ONNX file."""
    skl2onnx = pytest.importorskip("skl2onnx")
    example = None if "initial_types" in options else ROWS[:1].astype(np.float32)
    path.write_bytes(skl2onnx.to_onnx(model, example, **options).SerializeToString())
    return path


def built(path: Path, inputs: list[Any], outputs: list[Any], *nodes: Any) -> Path:
    """A file of a few operations; inputs and outputs are (name, type, shape)."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def values(given: list[Any]) -> list[Any]:
        return [helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), s) for name, kind, s in given]

    made = [helper.make_node(*node) for node in nodes]
    graph = helper.make_graph(made, "g", values(inputs), values(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def classifier() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(ROWS, LABELS)


@pytest.mark.parametrize(
    ("zipmap", "names"),
    [(True, ("high", "low")), (False, None), ("columns", ("high", "low"))],
)
def test_probabilities_in_every_form(tmp_path: Path, classifier: Any, zipmap: Any, names: Any) -> None:
    net = Onnx(exported(tmp_path / "net.onnx", classifier, options={"zipmap": zipmap}))
    np.testing.assert_allclose(net(ROWS), classifier.predict_proba(ROWS), atol=1e-6)
    assert (net.columns, net.width) == (None, 3)
    found = net.classes(ROWS)
    assert found is None if names is None else [each.removeprefix("s") for each in found or ()] == list(names)
    heat = pl.KernelSHAP()(pl.BlackBox(net), ROWS[:2])
    np.testing.assert_allclose(heat.values.sum(1), heat.score - heat.base_score, atol=1e-6)


def test_values_of_a_regressor(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    line = LinearRegression().fit(ROWS, ROWS[:, 0])
    net = Onnx(exported(tmp_path / "net.onnx", line))
    np.testing.assert_allclose(net(ROWS), line.predict(ROWS)[:, None], atol=1e-6)


def test_one_input_a_column(tmp_path: Path) -> None:
    inputs = [("b", "FLOAT", [None, 1]), ("a", "FLOAT", [None, 1])]
    net = Onnx(built(tmp_path / "n.onnx", inputs, [("y", "FLOAT", [None, 1])], ("Sub", ["b", "a"], ["y"])))
    frame = pd.DataFrame({"a": [1.0, 2.0], "other": [9, 9], "b": [10.0, 30.0]})
    assert net.columns == ("b", "a")
    assert net(frame).tolist() == [[9], [28]]
    assert net(np.array([[10.0, 1.0]])).tolist() == [[9]]
    with pytest.raises(InputError, match="the column 'b'"):
        net(frame[["a"]])
    with pytest.raises(InputError, match="rows of 2 columns"):
        net(ROWS)
    with pytest.raises(InputError, match="numbers, as"):
        net(frame.assign(a="x"))


def test_a_file_of_a_fixed_number_of_rows(tmp_path: Path) -> None:
    double = ("Add", ["x", "x"], ["y"])
    net = Onnx(built(tmp_path / "n.onnx", [("x", "FLOAT", [4, 3])], [("y", "FLOAT", [4, 3])], double))
    for many in (1, 4, 7):
        np.testing.assert_allclose(net(ROWS[:many]), 2 * ROWS[:many], rtol=1e-6)
    flat = Onnx(built(tmp_path / "f.onnx", [("x", "DOUBLE", ["n"])], [("y", "DOUBLE", ["n"])], double))
    np.testing.assert_array_equal(flat(ROWS[:, :1]), 2 * ROWS[:, 0])


@pytest.mark.parametrize(
    ("inputs", "outputs", "node", "words"),
    [
        (
            [("x", "FLOAT", [None, 3])],
            [("y", "INT64", [None])],
            ("ArgMax", ["x"], ["y"]),
            "an output of numbers; got 'y' of tensor",
        ),
        (
            [("x", "FLOAT", [None, 3]), ("z", "FLOAT", [None, 1])],
            [("y", "FLOAT", [None, 3])],
            ("Add", ["x", "z"], ["y"]),
            "one input, or one a column; got 'x'",
        ),
        ([("x", "FLOAT", [])], [("y", "FLOAT", [])], ("Abs", ["x"], ["y"]), "inputs that are rows"),
    ],
)
def test_files_that_cannot_be_asked(tmp_path: Path, inputs: Any, outputs: Any, node: Any, words: str) -> None:
    path = built(tmp_path / "n.onnx", inputs, outputs, node)
    with pytest.raises(LoadError, match=words):
        Onnx(path)


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no protobuf")
    with pytest.raises(LoadError, match="that onnxruntime can open"):
        Onnx(tmp_path / "net.onnx")
    with pytest.raises(LoadError, match=r"Near: 'net\.onnx'"):
        Onnx(tmp_path / "nett.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LoadError, match=r"pip install 'pellucid\[onnx\]'"):
        Onnx(tmp_path / "net.onnx")


def test_answers_are_kept_by_what_the_file_holds(tmp_path: Path, classifier: Any) -> None:
    path = exported(tmp_path / "net.onnx", classifier)
    pl.BlackBox(Onnx(path), cache=tmp_path / "answers.db")(ROWS)
    again = pl.BlackBox(Onnx(path), cache=tmp_path / "answers.db")
    again(ROWS)
    assert again.asked == 0
    exported(path, classifier, options={"zipmap": False})
    with pytest.raises(LoadError):
        pl.BlackBox(Onnx(path), cache=tmp_path / "answers.db")


def test_the_command_line(pellucid: Pellucid, folder: Path, classifier: Any) -> None:
    exported(folder / "net.onnx", classifier)
    pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(id=7).to_csv(folder / "r.csv", index=False)
    line = ("--input", "r.csv", "--row", "3", "--columns", "a,b,c", "--method", "KernelSHAP", "--json")
    p = classifier.predict_proba(ROWS[3:4])[0]
    for option in ("--predict", "--model"):
        ran = pellucid("explain", option, "net.onnx", *line)
        assert ran.code == 0, ran.err
        told = ran.json["methods"][0]
        assert told["target"] == f"probability of “{classifier.classes_[p.argmax()]}”"
        assert told["score"] == pytest.approx(p.max(), abs=1e-6)
        assert ran.json["provenance"]["model"].startswith("net.onnx ")
    ran = pellucid("explain", "--model", "net.onnx", "--input", "r.csv")
    assert "expected: 3 columns" in ran.err
    ran = pellucid("explain", "--model", "non.onnx", "--input", "r.csv")
    assert ran.code == 2
    assert "'net.onnx'" in ran.err


def test_a_pipeline_with_texts_on_the_command_line(pellucid: Pellucid, folder: Path) -> None:
    pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"size": ROWS[:, 0], "kind": np.where(ROWS[:, 1] > 0, "a", "b")})
    first = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(), ["kind"]))
    pipeline = make_pipeline(first, LogisticRegression()).fit(frame, LABELS)
    types = [("size", FloatTensorType([None, 1])), ("kind", StringTensorType([None, 1]))]
    exported(folder / "net.onnx", pipeline, initial_types=types)
    frame.assign(more=1).to_csv(folder / "r.csv", index=False)
    ran = pellucid("explain", "--predict", "net.onnx", "--input", "r.csv", "--method", "KernelSHAP", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["methods"][0]["score"] == pytest.approx(pipeline.predict_proba(frame[:1])[0].max(), abs=1e-6)
    assert {name for name, _ in ran.json["methods"][0]["top"]} == {"size", "kind"}
