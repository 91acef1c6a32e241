"""pellucid inspect: data of every kind, what it prints and writes, what it refuses, how it stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid.cli.gathering import gathered, thinned

Pellucid = Callable[..., Any]
QUICK = ("--units", "2", "--layers", "2", "--steps", "2", "--examples", "2")
PICTURES = ("inspect", "--model", "own_cli_nets:pictures", *QUICK)
ROWS = ("inspect", "--model", "own_cli_nets:rows", *QUICK)


@pytest.fixture
def album(folder: Path) -> Path:
    """A folder of pictures, one of them in a folder below, and something else."""
    (folder / "album" / "more").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in ("b.png", "a.PNG", "more/c.jpg"):
        Image.fromarray(draw.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / "album" / name)
    (folder / "album" / "notes.txt").write_text("not a picture")
    return folder / "album"


def test_a_demo_brings_its_own_examples(pellucid: Pellucid, folder: Path) -> None:
    ran = pellucid("inspect", "--model", "demo:diabetes", *QUICK)
    assert ran.code == 0
    assert "This TableNet reads table rows of 10 columns" in ran.out
    assert "rows of data" in ran.out
    assert ran.out.splitlines()[-1] == "report: pellucid-inspect-diabetes.html"
    assert (folder / "pellucid-inspect-diabetes.html").read_text("utf-8").startswith("<!doctype html>")
    assert not list(folder.glob("*.part"))


def test_json_is_the_tree_and_the_findings(pellucid: Pellucid, folder: Path) -> None:
    found = pellucid(*ROWS, "--data", "rows.csv", "--json").json
    assert [(each["name"], each["parameters"], each["multiply_adds"]) for each in found["tree"]] == [
        ("", 50, 40),
        ("0", 32, 24),
        ("1", 0, 0),
        ("2", 18, 16),
    ]
    assert found["rows"] == 2
    assert found["report"] is None
    assert {"kind", "level", "words", "layers", "evidence"} == set(found["findings"][0])
    assert not list(folder.glob("*.html"))
    told = pellucid(*ROWS, "--data", "rows.csv", "--json", "--out", "model.html").json
    assert told["report"] == "model.html"
    assert (folder / "model.html").is_file()


def test_pictures_come_from_a_folder_a_file_or_an_archive(pellucid: Pellucid, album: Path, folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), np.uint8)
    np.savez(folder / "many.npz", images=pixels, labels=np.zeros(5))
    np.save(folder / "many.npy", pixels)
    for given, rows in (("album", 3), ("cat.png", 1), ("many.npz", 5), ("many.npy", 5)):
        ran = pellucid(*PICTURES, "--data", given, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["rows"] == rows
    assert (
        "'images' of shape (5, 16, 16, 3) are taken"
        in pellucid(*PICTURES, "--data", "many.npz", "--mean", "0.5,0.5,0.5", "--json").err
    )
    assert "2 of 5 rows" in pellucid(*PICTURES, "--data", "many.npz", "--rows", "2", "--size", "16", "--json").err


def test_texts_are_lines_or_files(pellucid: Pellucid, folder: Path) -> None:
    (folder / "texts.txt").write_text("A wonderful film.\n\nThe rooms were small.\n")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("A dull book.")
    for given, rows in (("texts.txt", 2), ("texts", 1)):
        ran = pellucid("inspect", "--model", "demo:sentences", *QUICK, "--data", given, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["rows"] == rows


def test_without_data_the_size_is_enough(pellucid: Pellucid, folder: Path) -> None:
    ran = pellucid(*PICTURES, "--size", "16", "--out", "model.html")
    assert ran.code == 0, ran.err
    assert "No data went through it" in ran.out
    assert "synthesized" in (folder / "model.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inspect",), "--model"),
        (("inspect", "--model", "demo:digitz"), "digits"),
        (("inspect", "--model", "own_cli_nets:rosw"), "'rows'"),
        ((*PICTURES, "--data", "albun"), "'album'"),
        ((*PICTURES, "--data", "empty"), "a folder with pictures"),
        (("inspect", "--model", "demo:digits", "--data", "rows.csv"), "kind 'image'"),
        ((*ROWS, "--data", "album", "--columns", "age,size,dose"), "the folder 'album'"),
        ((*ROWS, "--data", "broken.npz"), "arrays of numbers"),
        ((*ROWS, "--data", "words.npz"), "an array of numbers"),
        ((*ROWS, "--data", "wide.npy"), "shape"),
        ((*ROWS, "--data", "nothing.csv"), "at least one row"),
        ((*ROWS, "--data", "rows.csv", "--layers", "0,nine"), "'nine'"),
        ((*ROWS, "--data", "rows.csv", "--out", "nowhere/model.html"), "a folder that is there"),
        ((*ROWS, "--data", "rows.csv", "--units", "0"), "units"),
    ],
)
def test_what_cannot_be_is_said(
    pellucid: Pellucid, album: Path, folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 not an archive")
    np.savez(folder / "words.npz", words=np.array(["a", "b"]))
    np.save(folder / "wide.npy", np.ones((3, 7), np.float32))
    (folder / "nothing.csv").write_text("age,size,dose\n")
    ran = pellucid(*arguments)
    assert ran.code == 2, ran.out
    assert words in ran.err
    assert not list(folder.glob("*.html"))


def test_hostile_names_do_not_speak_to_the_terminal(pellucid: Pellucid, folder: Path) -> None:
    ran = pellucid("inspect", "--model", "own_cli_nets:hostile", *QUICK, "--data", "rows.csv")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out + ran.err
    assert "\u202e" not in ran.out + ran.err


def test_an_interrupt_leaves_a_page_of_what_is_there(
    pellucid: Pellucid, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pellucid.inspection.top_examples", interrupted)
    ran = pellucid(*ROWS, "--data", "rows.csv", "--out", "model.html")
    assert ran.code == 1
    assert "the page holds what was done until then" in ran.err
    assert "nothing was left behind" not in ran.err
    page = (folder / "model.html").read_text("utf-8")
    assert "Stopped at examples of" in page
    assert "The parts" in page


def test_rows_are_thinned_evenly() -> None:
    assert thinned(list(range(10)), 5) == [0, 2, 4, 6, 8]
    assert thinned({"a": list(range(6))}, 3) == {"a": [0, 2, 4]}
    assert thinned(np.arange(7), 9).tolist() == list(range(7))


def test_pictures_of_a_folder_are_in_the_order_of_their_names(album: Path) -> None:
    assert [each.name for each in gathered(str(album), "image", 99)] == ["a.PNG", "b.png", "c.jpg"]
