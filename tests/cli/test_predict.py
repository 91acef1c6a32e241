"""``--predict``: functions, scikit-learn pipelines and tables from CSV files, and what can be wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli.backing import levels_of

Pellucid = Callable[..., Any]
CODE = """
import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

random = np.random.default_rng(0)
train = pd.DataFrame({
    "age": random.integers(18, 80, 60).astype(float),
    "job": random.choice(["clerk", "nurse", "pilot"], 60),
    "owner": random.random(60) < 0.5,
})
score = train["age"] / 20 + np.where(train["job"] == "pilot", 2, 0) + train["owner"]
label = np.where(score > 3.5, "yes", "no")

def fitted(last, target):
    first = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["job"]), remainder="passthrough")
    return make_pipeline(first, last).fit(train, target)

pipeline = fitted(LogisticRegression(), label)
ridge = fitted(Ridge(), score)
margin = fitted(RidgeClassifier(), label)
first = make_column_transformer((StandardScaler(), [0]), (OneHotEncoder(), [1]))
nameless = make_pipeline(first, LogisticRegression()).fit(train[["age", "job"]].to_numpy(object), label)
untrained, network = LogisticRegression(), torch.nn.Linear(3, 1)
number = 3

class Labels:
    classes_ = np.array(["no", "yes"])
    def predict(self, rows):
        return ["yes"] * len(rows)

labels, calls = Labels(), []

def seen(frame):
    calls.append(frame)
    print("loud")
    assert frame["owner"].dtype == bool and frame["age"].dtype == float
    return pipeline.predict_proba(frame)

def numbers(rows):
    calls.append(rows)
    assert type(rows) is np.ndarray
    return rows.sum(1)

def flawed(rows):
    return [[0.9, 0.9] for _ in rows]

def failing(rows):
    raise ConnectionError("the service is down")
"""


@pytest.fixture
def bank(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module ``own_bank``, its training rows as a file, and three rows to be explained."""
    (folder / "own_bank.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(folder))
    import own_bank

    own_bank.train.assign(label=own_bank.label).to_csv(folder / "train.csv", index=False)
    own_bank.train[:3].assign(label="?").to_csv(folder / "people.csv", index=False)
    yield own_bank
    del sys.modules["own_bank"]


def explain(pellucid: Pellucid, thing: str, *more: str, rows: str = "people.csv") -> Any:
    return pellucid("explain", "--predict", f"own_bank:{thing}", "--input", rows, "--method", "KernelSHAP", *more)


def test_a_pipeline_with_a_column_of_texts(pellucid: Pellucid, bank: Any, folder: Path) -> None:
    arguments = ("--background", "train.csv", "--row", "1", "--save", "v.safetensors", "--out", "why.html")
    ran = explain(pellucid, "pipeline", *arguments, "--json")
    assert ran.code == 0, ran.err
    assert ran.err == "note:     columns that are not used: label\n"
    p = bank.pipeline.predict_proba(bank.train[1:2])[0]
    best = bank.pipeline.classes_[p.argmax()]
    told = ran.json["methods"][0]
    assert told["target"] == f"probability of “{best}”"
    assert told["score"] == pytest.approx(p.max())
    assert {name for name, _ in told["top"]} == {"age", "job", "owner"}
    assert ran.json["provenance"]["model"] == "own_bank:pipeline.predict_proba"

    table = pl.Table.of(bank.train.astype({"owner": str}))
    box = pl.BlackBox(lambda f: bank.pipeline.predict_proba(f.assign(owner=f.owner == "True")), inputs=table)
    again = pl.KernelSHAP()(box, bank.train.astype({"owner": str})[1:2])
    saved = pl.read_result(folder / "v.safetensors")
    np.testing.assert_allclose(saved.values, again.values, atol=1e-12)
    page = (folder / "why.html").read_text("utf-8")
    assert "people.csv, row 1" in page
    for value in (f"{bank.train.age[1]:.4g}", bank.train.job[1], str(bank.train.owner[1])):
        assert value in page


def test_the_input_is_its_own_background_where_it_is_long(pellucid: Pellucid, bank: Any) -> None:
    ran = explain(pellucid, "pipeline", rows="train.csv")
    assert ran.code == 0, ran.err
    assert "the 60 rows of train.csv stand for what is hidden" in ran.err
    own = explain(pellucid, "pipeline", "--json", rows="train.csv").json["methods"][0]["top"]
    other = explain(pellucid, "pipeline", "--background", "train.csv", "--json", rows="train.csv")
    assert other.json["methods"][0]["top"] == own
    ran = explain(pellucid, "pipeline")
    assert ran.code == 0, ran.err
    assert "no background" in ran.err


def test_regressors_margins_and_methods(pellucid: Pellucid, bank: Any) -> None:
    for thing, value in (
        ("ridge", bank.ridge.predict(bank.train[:1])[0]),
        ("margin", bank.margin.decision_function(bank.train[:1])[0]),
        ("pipeline.predict_proba", bank.pipeline.predict_proba(bank.train[:1])[0].max()),
    ):
        told = explain(pellucid, thing, "--background", "train.csv", "--json")
        assert told.code == 0, told.err
        assert told.json["methods"][0]["score"] == pytest.approx(value)


def test_a_pipeline_without_names_gets_arrays(pellucid: Pellucid, bank: Any) -> None:
    ran = explain(pellucid, "nameless", "--columns", "age,job", "--json")
    assert ran.code == 0, ran.err
    value = bank.nameless.predict_proba(bank.train[["age", "job"]][:1].to_numpy(object))[0].max()
    assert ran.json["methods"][0]["score"] == pytest.approx(value)


def test_functions_get_arrays_or_frames_and_may_print(pellucid: Pellucid, bank: Any) -> None:
    ran = explain(pellucid, "seen", "--columns", "age,job,owner", "--classes", "no,yes", "--json")
    assert ran.code == 0, ran.err
    assert "“" in ran.json["prediction"]
    assert "loud" in ran.err
    assert bank.calls
    ran = explain(pellucid, "numbers", rows="rows.csv")
    assert ran.code == 0, ran.err


def test_check_takes_the_same_options(pellucid: Pellucid, bank: Any) -> None:
    line = ("check", "--predict", "own_bank:pipeline", "--input", "people.csv", "--background", "train.csv")
    ran = pellucid(*line, "--method", "KernelSHAP", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["evidence"][0]["method"] == "KernelSHAP"


def test_a_network_may_have_a_background(pellucid: Pellucid, folder: Path) -> None:
    line = ("explain", "--model", "own_cli_nets:rows", "--method", "KernelSHAP", "--json", "--input")
    plain = pellucid(*line, "rows.csv").json["methods"][0]["top"]
    backed = pellucid(*line, "rows.csv", "--background", "rows.csv")
    assert backed.code == 0, backed.err
    assert backed.json["methods"][0]["top"] != plain
    refused = pellucid(*line, "array.npy", "--background", "rows.csv")
    assert refused.json["error"]["expected"] == "a table with --background"


@pytest.mark.parametrize(
    ("thing", "rows", "more", "words"),
    [
        ("pipeline", "age,owner\n30,True\n", (), "no 'job' in 'r.csv'"),
        ("pipeline", "age,jobs,owner\n30,pilot,True\n", (), "Near: 'jobs'"),
        ("pipeline", "age,job,owner\n", (), "at least one row"),
        ("pipeline", "", (), "no header"),
        ("pipeline", "age,job,owner\n30,astronaut,True\n", (), "unknown categories ['astronaut']"),
        ("pipeline", "age,job,owner\n,pilot,True\n", (), "a value in column 'age'"),
        ("pipeline", "age,job,owner\nNA,pilot,True\n4,pilot,True\n", (), "a value in column 'age'"),
        ("pipeline", "age,job,owner\n30,,True\n", (), "a value in column 'job'"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--row", "1"), "The last row is 0"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--background", "none.csv"), "no file 'none.csv'"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--background", "cat.png"), "a table with --background"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--background", "rows.csv"), "in 'rows.csv'"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--background", "empty.csv"), "complete rows in 'empty.csv'"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--task", "guess"), "a task of"),
        ("pipeline", "age,job,owner\n30,pilot,True\n", ("--classes", "a,b,c"), "2 class names"),
        ("nameless", "age,job,owner\n30,pilot,True\n", (), "expected: 2 columns"),
        ("untrained", "age\n30\n", (), "NotFittedError"),
        ("labels", "age\n30\n", (), "class labels from predict alone"),
        ("Labels", "age\n30\n", (), "the class Labels"),
        ("number", "age\n30\n", (), "number of type int"),
        ("pipelin", "age\n30\n", (), "'pipeline'"),
        ("flawed", "age\n30\n", ("--task", "classification"), "a sum of 1.8"),
        ("failing", "age\n30\n", (), "ConnectionError: the service is down in call 1"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    pellucid: Pellucid, bank: Any, folder: Path, thing: str, rows: str, more: tuple[str, ...], words: str
) -> None:
    (folder / "r.csv").write_text(rows)
    (folder / "empty.csv").write_text("age,job,owner\n,pilot,True\n30,,True\n")
    ran = explain(pellucid, thing, *more, rows="r.csv")
    assert ran.code == 2
    assert words in ran.err
    assert "do:" in ran.err
    assert "Traceback" not in ran.err
    assert not ran.out


def test_a_network_is_sent_to_model(pellucid: Pellucid, bank: Any) -> None:
    ran = explain(pellucid, "network", rows="rows.csv")
    assert ran.code == 2
    assert "Say --model own_bank:network" in ran.err


def test_a_failing_function_shows_where_on_request(
    pellucid: Pellucid, bank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELLUCID_TRACEBACK", "1")
    ran = explain(pellucid, "failing", rows="rows.csv")
    assert ran.code == 2
    assert "own_bank.py" in ran.err


def test_incomplete_rows_are_no_background(pellucid: Pellucid, bank: Any, folder: Path) -> None:
    whole = "age,job,owner\n" + "".join(f"{20 + i},{('clerk', 'pilot')[i % 2]},True\n" for i in range(12))
    (folder / "whole.csv").write_text(whole)
    (folder / "part.csv").write_text(whole + "NA,nurse,False\n50,,False\n")
    line = ("--background", "whole.csv", "--json")
    values = explain(pellucid, "pipeline", *line, rows="part.csv").json["methods"][0]["top"]
    ran = explain(pellucid, "pipeline", "--json", rows="part.csv")
    assert ran.json["methods"][0]["top"] == values
    assert "2 rows of part.csv have empty cells" in ran.err


def test_a_long_background_is_thinned(pellucid: Pellucid, bank: Any, folder: Path) -> None:
    (folder / "long.csv").write_text("age,job,owner\n" + "30,pilot,True\n" * 1500)
    ran = explain(pellucid, "pipeline", "--background", "long.csv")
    assert ran.code == 0, ran.err
    assert "1000 are taken" in ran.err


def test_json_rows_and_arrays(pellucid: Pellucid, bank: Any, folder: Path) -> None:
    (folder / "one.json").write_text('{"age": 30, "job": "pilot", "owner": true}')
    ran = explain(pellucid, "pipeline", "--background", "train.csv", "--json", rows="one.json")
    assert ran.code == 0, ran.err
    frame = bank.train[:1].assign(age=30.0, job="pilot", owner=True)
    assert ran.json["methods"][0]["score"] == pytest.approx(bank.pipeline.predict_proba(frame)[0].max())
    ran = explain(pellucid, "numbers", rows="array.npy")
    assert ran.code == 0, ran.err


def test_columns_of_numbers_and_of_texts() -> None:
    assert levels_of(["1", "2.5", " -3e4", "", "NA", "nan"]) is None
    assert levels_of([1, 2.5, None]) is None
    assert levels_of(["b", "a", "b", ""]) == ("a", "b")
    assert levels_of(["0", "1", "2+"]) == ("0", "1", "2+")
    assert levels_of(["1_000"]) == ("1_000",)
    assert levels_of([True, False]) == ("False", "True")
