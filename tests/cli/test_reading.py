"""Inputs are read by what they are; whatever is wrong with a file has a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid.cli import reading
from pellucid.cli.reading import read
from pellucid.errors import EmptyError, InputError


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], str]:
    def written(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return written


Writer = Callable[[str, str | bytes], str]


def test_rows_of_a_table(file: Writer) -> None:
    path = file("r.csv", '\ufeffage,name\n1.5,"a, b"\n\n2,c\n')
    assert read(path, "table") == {"age": ["1.5"], "name": ["a, b"]}
    assert read(path, "table", "1") == {"age": ["2"], "name": ["c"]}
    assert read(path, "table", "all") == {"age": ["1.5", "2"], "name": ["a, b", "c"]}
    assert read(file("r.tsv", "a\tb\n1\t2\n"), "table") == {"a": ["1"], "b": ["2"]}
    assert read(file("s.csv", "a;b\n1;2\n"), "table") == {"a": ["1"], "b": ["2"]}
    assert torch.equal(read(file("n.csv", "a,b\n1,2\n"), "tensor"), torch.tensor([[1.0, 2.0]]))


@pytest.mark.parametrize(
    ("content", "row", "words"),
    [
        ("a,b\n1,2\n", "7", "The last row is 0"),
        ("a,b\n1,2\n", "-1", "a number, or all"),
        ("a,b\n1,2\n", "first", "a number, or all"),
        ("a,b\n", "0", "Add a row"),
        ("", "0", "no header"),
        ("a,a\n1,2\n", "0", "'a' twice"),
        ("a,b\n1,2,3\n", "0", "3 in line 2"),
        (b"a,b\n\xff\xfe,2\n", "0", "UTF-8"),
        ('a,b\n"' + "x" * 140000 + '",2\n', "0", "field larger"),
    ],
)
def test_a_table_that_is_wrong(file: Writer, content: str | bytes, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(file("r.csv", content), "table", row)


def test_a_table_without_rows(file: Writer) -> None:
    with pytest.raises(EmptyError):
        read(file("r.csv", "a,b\n"), "table", "all")
    with pytest.raises(InputError, match="numbers in every column"):
        read(file("w.csv", "a,b\nx,2\n"), "tensor")


def test_json(file: Writer) -> None:
    assert read(file("r.json", '{"a": 1, "b": "x"}'), "table") == {"a": 1, "b": "x"}
    many = file("m.json", '[{"a": 1, "b": 2}, {"a": 3, "b": 4}]')
    assert read(many, "table", "1") == {"a": [3], "b": [4]}
    assert read(many, "table", "all") == {"a": [1, 3], "b": [2, 4]}
    assert torch.equal(read(file("t.json", "[[1, 2]]"), "tensor"), torch.tensor([[1.0, 2.0]]))
    ids = read(file("i.json", '{"input_ids": [[2, 5]], "scale": [0.5]}'), "text")
    assert ids["input_ids"].dtype == torch.int64
    assert read(file("s.json", '["one film", "two films"]'), "text", "1") == ["two films"]
    assert read(file("one.json", '"a film"'), "text") == "a film"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "valid JSON"),
        ("[" * 100000, "valid JSON"),
        ("[[1, 2], [3]]", "equal length"),
        ('["a"]', "equal length"),
        ('[{"a": 1}, {"b": 2}]', "in every row"),
    ],
)
def test_json_that_is_wrong(file: Writer, content: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(file("r.json", content), "tensor", "all")


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 4, 3), np.uint8))
    assert isinstance(read(str(path), "image"), np.ndarray)
    np.save(path, np.ones((1, 3), ">f4"))
    assert torch.equal(read(str(path), "image"), torch.ones(1, 3))
    assert isinstance(read(str(path), "table"), np.ndarray)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (tmp_path / "ran",)

    np.save(tmp_path / "a.npy", np.array([Malice()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"no array")
    np.save(tmp_path / "c.npy", np.array(["text"]))
    for name in ("a.npy", "b.npy", "c.npy"):
        with pytest.raises(InputError, match="array of numbers"):
            read(str(tmp_path / name), "tensor")
    assert not (tmp_path / "ran").exists()


def test_texts(file: Writer) -> None:
    assert read("what a film. It", "text") == "what a film. It"
    assert read("x" * 5000, "text") == "x" * 5000
    assert read(file("t.txt", "a film\n"), "text") == "a film"
    assert read("nul\0byte", "text") == "nul\0byte"


def test_a_file_that_is_missing_or_of_another_kind(file: Writer, tmp_path: Path) -> None:
    file("cat.jpg", "")
    with pytest.raises(InputError, match=r"Near: 'cat\.jpg'"):
        read(str(tmp_path / "cta.jpg"), "image")
    with pytest.raises(InputError, match=r"no file 'cat2\.png'"):
        read("cat2.png", "text")
    with pytest.raises(InputError, match="an input file"):
        read("a sentence", "image")
    with pytest.raises(InputError, match="kind 'table'"):
        read(str(tmp_path / "cat.jpg"), "table")
    with pytest.raises(InputError, match="sentence itself"):
        read(str(tmp_path / "cat.jpg"), "text")


def test_a_file_that_is_too_large(file: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file("r.csv", "a,b\n1,2\n")
    monkeypatch.setattr(reading, "MOST_BYTES", 4)
    with pytest.raises(InputError, match="at most"):
        read(path, "table")


def test_columns_of_a_file(file: Writer) -> None:
    assert reading.column_names(Path(file("r.csv", "a,b\n1,2\n"))) == ("a", "b")
    assert reading.column_names(Path(file("r.json", json.dumps([{"a": 1, "b": 2}])))) == ("a", "b")
    assert reading.column_names(Path(file("t.json", "[[1, 2]]"))) is None
    assert reading.column_names(Path(file("t.npy", ""))) is None
