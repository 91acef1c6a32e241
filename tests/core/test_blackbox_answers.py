"""What a BlackBox remembers, how often it asks, and what is left when its function fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pellucid as pl
from pellucid.core.answers import AnswersFile, contents, identity
from pellucid.errors import Cancelled, LoadError, NonFiniteError, OptionError, OutputError, PellucidError, PredictError
from tests.small import small

WEIGHTS = np.array([1.0, -2.0, 3.0, 0.5])
ROWS = np.random.default_rng(0).normal(size=(6, 4))


class Watched:
    """A predict function that keeps what it was shown, and fails or errs when told to."""

    def __init__(self, fail_at: int | None = None, weights: Any = WEIGHTS) -> None:
        self.calls: list[Any] = []
        self.fail_at, self.weights = fail_at, weights

    def __call__(self, rows: Any) -> Any:
        self.calls.append(rows)
        if len(self.calls) == self.fail_at:
            raise ConnectionError("the service is down")
        return np.asarray(rows, dtype=float) @ self.weights

    @property
    def rows(self) -> int:
        return sum(len(each) for each in self.calls)


# ---------------------------------------------------------------------------------------------------- equal rows


def test_equal_rows_are_asked_once_within_a_call_and_across_calls() -> None:
    watched = Watched()
    box = pl.BlackBox(watched)
    twice = np.concatenate([ROWS, ROWS[::-1]])
    np.testing.assert_allclose(box(twice).values, twice @ WEIGHTS)
    assert (watched.rows, box.asked, box.calls) == (6, 6, 1)
    np.testing.assert_allclose(box(ROWS[2:4]).values, ROWS[2:4] @ WEIGHTS)
    assert watched.rows == 6
    box(ROWS + 1)
    assert watched.rows == 12


def test_methods_share_answers() -> None:
    watched = Watched()
    box = pl.BlackBox(watched)
    first = pl.ExactShapley()(box, ROWS[:1])
    assert watched.rows == 16
    second = pl.KernelSHAP()(box, ROWS[:1])
    assert watched.rows == 16
    assert torch.equal(first.values, second.values)


def test_a_function_of_chance_is_asked_anew() -> None:
    random = np.random.default_rng(0)
    box = pl.BlackBox(lambda rows: random.normal(size=len(rows)), remember=0)
    values = box(np.ones((50, 2))).values
    assert len(values.unique()) == 50
    assert not torch.equal(box(np.ones((50, 2))).values, values)
    assert box.asked == 100


@given(st.integers(1, 40), st.sampled_from([1, 700, 10**6]))
def test_the_oldest_answers_go_first_and_none_is_wrong(many: int, most: int) -> None:
    watched = Watched()
    box = pl.BlackBox(watched, remember=most, batch=3)
    rows = np.arange(4.0 * many).reshape(many, 4)
    np.testing.assert_array_equal(box(rows).values, rows @ WEIGHTS)
    kept = min(many, most // (250 + 8))
    assert box.answers is not None
    assert len(box.answers) == kept
    before = watched.rows
    if kept:
        box(rows[many - kept :])
    assert watched.rows == before
    np.testing.assert_array_equal(box(rows).values, rows @ WEIGHTS)
    assert watched.rows >= before + many - kept


def test_keys_tell_apart_what_a_function_sees() -> None:
    def first(shown: Any) -> bytes:
        found = contents(shown)
        assert found
        return found[0]

    row = np.array([[1.0, 2.0]])
    frame = pd.DataFrame({"a": [1.0], "b": ["x"]})
    others = [
        row,
        row[:, ::-1],
        row[:, None],
        row.astype(np.float32),
        row.astype(int),
        frame,
        frame.assign(b="y"),
        frame.rename(columns={"a": "c"}),
        frame[["b", "a"]],
        ["1.0 2.0"],
    ]
    keys = [first(each) for each in others]
    assert len(set(keys)) == len(keys)
    assert keys == [first(each) for each in others]
    assert first(pd.DataFrame({"a": [7.0, 1.0], "b": ["z", "x"]})[1:]) == first(frame)
    assert contents([1, 2]) is None


def test_the_same_index_of_another_level_is_another_row(tmp_path: Path) -> None:
    """Levels are kept by name: a table whose levels are numbered otherwise does not get wrong answers."""

    def price(frame: pd.DataFrame) -> Any:
        return frame["kind"].map({"a": 1.0, "b": 2.0, "c": 3.0})

    for levels in (("a", "b"), ("a", "c"), ("a", "b", "c")):
        table = pl.Table(columns=("kind",), categories={"kind": levels}, frame=True)
        box = pl.BlackBox(price, inputs=table, cache=tmp_path / "answers.db")
        assert box({"kind": list(levels)}).values.tolist() == [{"a": 1, "b": 2, "c": 3}[each] for each in levels]
    assert box.asked == 0


def test_rows_keep_all_their_digits() -> None:
    exact, table = 123456789.125, pl.Table(columns=("a", "b"), background=[[16777217.0, 0.1], [16777219.0, 0.1]])
    watched = Watched(weights=np.ones(2))
    box = pl.BlackBox(watched, inputs=table)
    box([[exact, 0.1]])
    assert watched.calls[0].tolist() == [[exact, 0.1]]
    assert table.background == [[16777217.0, 0.1], [16777219.0, 0.1]]
    assert pl.Ablation()(box, [[exact, 0.1]]).values.tolist() == [[exact - 16777218.0, 0.0]]


# ---------------------------------------------------------------------------------------------------- a file


def linear(rows: Any) -> Any:
    return rows @ WEIGHTS


def other(rows: Any) -> Any:
    return rows @ WEIGHTS + 1


def test_a_file_keeps_answers_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    first = pl.BlackBox(linear, cache=path)
    values = pl.KernelSHAP()(first, ROWS).values
    second = pl.BlackBox(linear, cache=str(path))
    assert torch.equal(pl.KernelSHAP()(second, ROWS).values, values)
    assert (first.asked, second.asked) == (6 * 15 + 1, 0)
    assert second.answers is not None
    assert len(second.answers) == first.asked


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
def test_answers_of_any_shape_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    def outer(rows: Any) -> Any:
        return np.multiply.outer(rows[:, 0], np.arange(1.0, 1 + np.prod(shape)).reshape(shape))

    for path in (None, tmp_path / "answers.db", tmp_path / "answers.db"):
        box = pl.BlackBox(outer, task="regression", cache=path)
        for _ in range(2):
            leaves = box.read(ROWS)
            np.testing.assert_array_equal(box.answer(leaves, None, None).numpy(), outer(ROWS))
    assert box.asked == 0


def test_a_file_of_another_function_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    pl.BlackBox(linear, cache=path)(ROWS)
    with pytest.raises(LoadError, match="those of 'linear'"):
        pl.BlackBox(other, cache=path)

    from sklearn.linear_model import LinearRegression

    models = [LinearRegression().fit(ROWS, ROWS @ weights) for weights in (WEIGHTS, WEIGHTS, -WEIGHTS)]
    pl.BlackBox(models[0].predict, cache=tmp_path / "model.db")(ROWS)
    assert pl.BlackBox(models[1].predict, cache=tmp_path / "model.db")(ROWS) is not None
    with pytest.raises(LoadError, match=r"another 'LinearRegression\.predict'") as caught:
        pl.BlackBox(models[2].predict, cache=tmp_path / "model.db")
    assert "changed" in caught.value.do


def test_who_a_function_is() -> None:
    def build(number: float) -> Any:
        return lambda rows: rows[:, 0] if number in {"a", "b", "c"} else rows[:, 1]

    assert identity(linear) != identity(other)
    assert identity(build(1)) == identity(build(2))
    named: Any = Watched()
    named.fingerprint = "service v2"
    assert identity(named) == "service-v2"
    assert pl.BlackBox(named).fingerprint() == "service v2"
    assert identity(threading.Lock().acquire).strip() == "lock.acquire"  # what cannot be taken apart has its name


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database, but a text that is long enough to be one" * 40, "not a database"), (None, "another program")],
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "answers.db"
    if content is None:
        with sqlite3.connect(path) as file:
            file.execute("CREATE TABLE mine (x)")
        file.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(LoadError, match=words):
        pl.BlackBox(linear, cache=path)
    assert path.read_bytes() == content


def test_places_that_are_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "answers.db"):
        with pytest.raises(LoadError):
            pl.BlackBox(linear, cache=path)


@pytest.mark.parametrize("blob", [b"short", "text", b"\0" * 24])
def test_broken_answers_are_refused(tmp_path: Path, blob: object) -> None:
    path = tmp_path / "answers.db"
    pl.BlackBox(linear, cache=path)(ROWS)
    file = sqlite3.connect(path)
    with file:
        file.execute("UPDATE answers SET answer = ?", (blob,))
    file.close()
    with pytest.raises(LoadError, match="other shapes"):
        pl.BlackBox(linear, cache=path)(ROWS)


def test_two_boxes_write_one_file_from_two_threads(tmp_path: Path) -> None:
    boxes = [pl.BlackBox(linear, cache=tmp_path / "answers.db", batch=1) for _ in range(2)]
    threads = [threading.Thread(target=box, args=(ROWS,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(AnswersFile(tmp_path / "answers.db", identity(linear))) == len(ROWS)


KILLED = """
import sys, time
import numpy as np
import pellucid as pl

def slow(rows):
    with open("calls.txt", "a") as file:
        file.write(f"{len(rows)}\\n")
    if sys.argv[1] == "first" and sum(map(int, open("calls.txt").read().split())) > 20:
        open("ready", "w").close()
        time.sleep(60)
    return rows @ np.array([1.0, -2.0, 3.0, 0.5, 1.0, 1.0])

box = pl.BlackBox(slow, batch=4, cache="answers.db")
values = pl.ExactShapley()(box, np.ones((1, 6))).values
print(box.asked, *values[0].round(decimals=6).tolist())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_process_loses_one_call_at_most(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(KILLED))
    line = [sys.executable, "work.py"]
    with subprocess.Popen([*line, "first"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(1200):
            if (tmp_path / "ready").exists() or process.poll() is not None:
                break
            threading.Event().wait(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.communicate(timeout=60)[0] == ""
    before = [int(each) for each in (tmp_path / "calls.txt").read_text().split()]
    ran = subprocess.run([*line, "second"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    asked, *values = ran.stdout.split()
    assert int(asked) == 64 - sum(before[:-1])
    assert [float(each) for each in values] == [1, -2, 3, 0.5, 1, 1]


# ---------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("keep", ["memory", "file"])
def test_after_a_failure_only_the_rest_is_asked(tmp_path: Path, keep: str) -> None:
    cache = tmp_path / "answers.db" if keep == "file" else None
    watched = Watched(fail_at=5)
    box = pl.BlackBox(watched, batch=3, cache=cache)
    with pytest.raises(PredictError) as caught:
        pl.ExactShapley()(box, ROWS[:1])
    error = caught.value
    assert isinstance(error.__cause__, ConnectionError)
    assert "ConnectionError: the service is down in call 5" in error.got
    kept = watched.rows - len(watched.calls[-1])
    assert error.do.startswith(f"{kept} answers are kept" + (" in 'answers.db'" if cache else ""))
    assert "call again" in error.do
    assert isinstance(error, PellucidError | RuntimeError)
    watched.calls.clear()
    watched.fail_at = None
    values = pl.ExactShapley()(box, ROWS[:1]).values
    assert watched.rows == 16 - kept
    np.testing.assert_allclose(values, ROWS[:1] * WEIGHTS, atol=1e-12)


def test_a_failure_of_a_function_that_is_not_remembered() -> None:
    with pytest.raises(PredictError, match="No answers are kept"):
        pl.BlackBox(Watched(fail_at=1), remember=0)(ROWS)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), OptionError(expected="a", got="b", do="c")])
def test_these_pass_as_they_are(error: BaseException) -> None:
    def stopped(rows: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        pl.BlackBox(stopped)(ROWS)
    assert caught.value is error


def test_a_function_out_of_memory_is_asked_for_fewer_rows() -> None:
    seen = []

    def hungry(rows: Any) -> Any:
        if len(rows) > 3:
            raise MemoryError
        seen.append(len(rows))
        return linear(rows)

    values = pl.KernelSHAP()(pl.BlackBox(hungry), ROWS).values
    np.testing.assert_allclose(values, ROWS * WEIGHTS, atol=1e-12)
    assert max(seen) <= 3


def test_finite_rows_of_a_bad_call_are_kept() -> None:
    def moody(rows: Any) -> Any:
        return np.where(np.isclose(rows[:, 0], ROWS[2, 0]) & bad, np.nan, linear(rows))

    bad = True
    box = pl.BlackBox(moody)
    with pytest.raises(NonFiniteError, match="in 1 of 6 rows") as caught:
        box(ROWS)
    assert "5 answers are kept" in caught.value.do
    bad = False
    np.testing.assert_allclose(box(ROWS).values, linear(ROWS))
    assert box.asked == 7


def test_answers_keep_their_shape() -> None:
    width = 2
    box = pl.BlackBox(lambda rows: np.full((len(rows), width), 0.5))
    box(ROWS)
    width = 3
    with pytest.raises(OutputError, match=r"\(2,\) a row, as before; got \(3,\)"):
        box(ROWS + 1)
    with pytest.raises(OutputError, match="rows from predict"):
        pl.BlackBox(lambda rows: np.empty((len(rows), 0)))(ROWS)


def test_lists_of_lists_are_numbers() -> None:
    box = pl.BlackBox(lambda rows: [[0.25, 0.75] for _ in rows])
    assert box(ROWS).words() == "“class 1” 75.0\xa0%, then “class 0” 25.0\xa0% · entropy 0.81 bits"


# ---------------------------------------------------------------------------------------------------- pace


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now, self.naps = 100.0, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now, self.naps = self.now + seconds, self.naps + 1

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr("pellucid.core.blackbox.time", made)
    return made


def test_calls_keep_their_distance(clock: Clock) -> None:
    starts = []

    def slow(rows: Any) -> Any:
        starts.append(clock.now)
        clock.now += 0.1
        return linear(rows)

    box = pl.BlackBox(slow, batch=1, per_second=2)
    box(ROWS)
    assert np.diff(starts) == pytest.approx([0.5] * 5)
    clock.now += 10
    box(ROWS + 1)
    assert np.diff(starts[6:]) == pytest.approx([0.5] * 5)
    box(ROWS)
    assert len(starts) == 12


def test_waiting_ends_when_asked_to_stop(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, watched = threading.Event(), Watched()
    box = pl.BlackBox(watched, batch=1, per_second=0.01)
    nap = clock.sleep
    monkeypatch.setattr(clock, "sleep", lambda seconds: stop.set() if clock.naps == 3 else nap(seconds))
    with pl.settings(stop=stop), pytest.raises(Cancelled, match="1 answer is kept"):
        box(ROWS)
    assert len(watched.calls) == 1
    monkeypatch.setattr(clock, "sleep", nap)
    box(ROWS)
    assert watched.rows == len(ROWS)


def test_no_two_calls_at_once() -> None:
    inside, most, wait = 0, 0, threading.Event()

    def slow(rows: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        wait.wait(0.01)
        inside -= 1
        return linear(rows)

    box = pl.BlackBox(slow, remember=0)
    threads = [threading.Thread(target=box, args=(ROWS,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, box.calls) == (1, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"per_second": 0},
        {"per_second": -1},
        {"per_second": float("nan")},
        {"per_second": float("inf")},
        {"per_second": "2"},
        {"per_second": True},
        {"remember": -1},
        {"remember": "much"},
        {"remember": False},
        {"remember": 0, "cache": "answers.db"},
    ],
)
def test_options_that_are_refused(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError):
        pl.BlackBox(linear, **options)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------- probabilities


def shares(total: float) -> Any:
    return lambda rows: np.full((len(rows), 2), total / 2)


@pytest.mark.parametrize("total", [0.4, 0.98, 1.02, 1.6, 0.0])
def test_declared_probabilities_that_do_not_sum_to_one(total: float) -> None:
    with pytest.raises(OutputError, match=f"a sum of {total:.3g}") as caught:
        pl.BlackBox(shares(total), task="classification")(ROWS)
    assert "task='regression'" in caught.value.do


@pytest.mark.parametrize("total", [0.991, 1.0, 1.009])
def test_sums_that_are_nearly_one_are_probabilities(total: float) -> None:
    for task in ("classification", None):
        box = pl.BlackBox(shares(total), task=task)
        assert box.about(box(ROWS).values).kind == "probabilities"


def test_several_labels_are_scores_where_nothing_else_is_declared() -> None:
    def labels(rows: Any) -> Any:
        return 1 / (1 + np.exp(-rows[:, :3]))

    for task in (None, "regression"):
        box = pl.BlackBox(labels, classes=("a", "b", "c"), task=task)
        np.testing.assert_array_equal(box(ROWS).values, labels(ROWS))
        heat = pl.KernelSHAP()(box, ROWS[:1], target="b")
        assert heat.target_words() == "score of “b”"
        assert float(heat.score) == pytest.approx(labels(ROWS)[0, 1])
    with pytest.raises(OutputError, match=r"sums of 0\.\d+ … 1\.\d+"):
        pl.BlackBox(labels, task="classification")(ROWS)


def test_logits_may_be_declared() -> None:
    box = pl.BlackBox(lambda rows: rows[:, :2] * 10, task="classification")
    assert box.about(box(ROWS).values).kind == "logits"


# ---------------------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize("name", ["KernelSHAP", "LeverageSHAP", "PermutationSHAP"])
@pytest.mark.parametrize("budget", [100, 333])
def test_no_more_rows_than_the_budget(name: str, budget: int) -> None:
    weights = np.random.default_rng(1).normal(size=30)
    for remember in (0, "100 MB"):
        watched = Watched(weights=weights)
        rows = np.random.default_rng(2).normal(size=(1, 30))
        method = pl.catalogue.find(name)(budget=budget)
        heat = method(pl.BlackBox(watched, remember=remember), rows)
        assert watched.rows <= budget
        assert heat.receipt.rows_forward <= budget
    assert watched.rows > budget // 2


def test_exact_values_cost_every_coalition_once() -> None:
    watched = Watched(weights=np.ones(7))
    pl.ExactShapley()(pl.BlackBox(watched, remember=0), np.ones((1, 7)))
    assert watched.rows == 128


@pytest.mark.parametrize("name", ["KernelSHAP", "LeverageSHAP", "PermutationSHAP", "Ablation"])
def test_many_rows_are_few_calls(name: str) -> None:
    watched = Watched(weights=np.random.default_rng(1).normal(size=30))
    rows = np.random.default_rng(2).normal(size=(100, 30))
    small(name, {"budget": 100})(pl.BlackBox(watched), rows)
    assert watched.rows <= 100 * 100
    assert len(watched.calls) <= 30
    assert max(map(len, watched.calls)) <= 1024


# ---------------------------------------------------------------------------------------------------- odd tables


def test_one_feature_constant_features_and_a_background_of_one_row() -> None:
    table = pl.Table(columns=("a", "b", "same"), background=[[1.0, 2.0, 5.0]])
    box = pl.BlackBox(Watched(weights=np.array([1.0, -1.0, 4.0])), inputs=table)
    for method in (pl.KernelSHAP(), pl.ExactShapley(), pl.PermutationSHAP(), pl.Ablation()):
        np.testing.assert_allclose(method(box, [[3.0, 3.0, 5.0]]).values, [[2, -1, 0]], atol=1e-12)
    one = pl.BlackBox(lambda rows: rows[:, 0] * 2, inputs=pl.Table(columns=("a",), background=[[1.0], [3.0]]))
    for method in (pl.KernelSHAP(), pl.ExactShapley(), pl.PermutationSHAP()):
        np.testing.assert_allclose(method(one, [[5.0]]).values, [[6]], atol=1e-12)
    assert pl.explain(one, [[5.0]]).verdict == "not testable"
