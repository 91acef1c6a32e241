"""A picture, a row and a sentence to a report, with the bundled models and with one's own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pellucid as pl
from pellucid.demo import parts

Pellucid = Callable[..., Any]
VERDICTS = ("supported", "mixed", "not supported", "not testable")


@pytest.fixture
def digit(folder: Path) -> Path:
    """A digit of the demo as a picture file."""
    pixels = pl.load("demo:digits").modality.pixels(model_input("digits"))  # type: ignore[attr-defined]
    Image.fromarray(pixels).save(folder / "digit.png")
    return folder / "digit.png"


def model_input(name: str) -> Any:
    """The first example of a demo as its model takes it."""
    return pl.load(f"demo:{name}").read(parts(name).examples[:1]).values[0].numpy()


@pytest.fixture
def patients(folder: Path) -> Path:
    """Rows of a demo as CSV, with a column more than the model takes."""
    demo: Any = parts("breast-cancer")
    with (folder / "patients.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", *demo.columns])
        lines.writerows([i, *row] for i, row in enumerate(np.asarray(demo.examples)[:3]))
    return folder / "patients.csv"


def test_a_demo_writes_its_report_and_names_it_last(pellucid: Pellucid, folder: Path) -> None:
    ran = pellucid("demo", "diabetes")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "report: pellucid-diabetes.html"
    page = (folder / "pellucid-diabetes.html").read_text("utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not list(folder.glob("*.part"))
    told = pellucid("demo", "diabetes", "--example", "1", "--out", "other.html", "--json").json
    assert told["report"] == "other.html"
    assert (folder / "other.html").is_file()
    assert "an example 0 …" in pellucid("demo", "diabetes", "--example", "100000").err


def test_a_picture_to_a_report(pellucid: Pellucid, digit: Path, folder: Path) -> None:
    arguments = ("explain", "--model", "demo:digits", "--input", digit.name, "--method", "IntegratedGradients")
    ran = pellucid(*arguments, "--out", "why.html", "--save", "values.safetensors")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "report: why.html"
    assert "<script" in (folder / "why.html").read_text("utf-8")
    saved = pl.read_result(folder / "values.safetensors")
    assert saved.method.name == "IntegratedGradients"
    told = pellucid(*arguments, "--target", "3", "--json").json
    assert told["verdict"] in VERDICTS
    assert told["report"] is None
    assert "3" in told["methods"][0]["target"]


def test_rows_of_a_table(pellucid: Pellucid, patients: Path, folder: Path) -> None:
    arguments = ("explain", "--model", "demo:breast-cancer", "--input", patients.name, "--method", "Ablation")
    told = pellucid(*arguments, "--row", "1", "--json").json
    assert told["best"] == "Ablation"
    every = pellucid(*arguments, "--row", "all", "--out", "why.html", "--save", "v.safetensors", "--json").json["rows"]
    assert [each["report"] for each in every] == ["why-0.html", "why-1.html", "why-2.html"]
    assert every[1]["methods"][0]["top"] == told["methods"][0]["top"]
    assert all((folder / f"v-{i}.safetensors").is_file() for i in range(3))


def test_a_sentence(pellucid: Pellucid, folder: Path) -> None:
    arguments = ("explain", "--model", "demo:sentences", "--method", "Ablation", "--input")
    sentence = "What a wonderful film!"
    ran = pellucid(*arguments, sentence, "--out", "s.html")
    assert ran.code == 0, ran.err
    assert "wonderful" in (folder / "s.html").read_text("utf-8")
    (folder / "s.txt").write_text(sentence + "\n")
    said, read = (pellucid(*arguments, given, "--json").json for given in (sentence, "s.txt"))
    assert said["methods"][0]["top"] == read["methods"][0]["top"]


def test_ones_own_network_and_function(pellucid: Pellucid) -> None:
    own = ("explain", "--model", "own_cli_nets:rows", "--method", "Saliency", "--input")
    ran = pellucid(*own, "row.json", "--classes", "no,yes")
    assert ran.code == 0, ran.err
    assert "age" in ran.out
    assert "“no”" in ran.out or "“yes”" in ran.out
    assert pellucid(*own, "array.npy", "--at", "0").code == 0
    ran = pellucid("explain", "--predict", "own_cli_nets:total", "--input", "rows.csv", "--row", "1")
    assert ran.code == 0, ran.err
    assert "15" in ran.out
    ran = pellucid("explain", "--predict", "own_cli_nets:length", "--input", "a good film", "--method", "Ablation")
    assert ran.code == 0, ran.err
    assert "film" in ran.out


def test_a_picture_without_normalization_is_noted(pellucid: Pellucid) -> None:
    arguments = ("explain", "--model", "own_cli_nets:pictures", "--input", "cat.png", "--method", "Saliency")
    ran = pellucid(*arguments)
    assert ran.code == 0, ran.err
    assert "note:" in ran.err
    ran = pellucid(*arguments, "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2", "--size", "12", "--json")
    assert ran.err == ""
    assert ran.json["verdict"] in VERDICTS


def test_check_fails_a_build_below_the_wanted_verdict(pellucid: Pellucid, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.cli import limits

    arguments = ("check", "--model", "own_cli_nets:rows", "--input", "rows.csv", "--method", "InputXGradient")
    told = pellucid(*arguments, "--row", "all", "--json").json
    verdicts = [each["verdict"] for each in told["evidence"]]
    assert len(verdicts) == 2
    assert set(verdicts) <= set(VERDICTS)
    assert told["passed"] is True
    for level in ("supported", "mixed"):
        ran = pellucid(*arguments, "--row", "all", "--fail-under", level)
        below = [each for each in verdicts if limits.ORDER.index(each) < limits.ORDER.index(level)]
        assert ran.code == (1 if below else 0)
        assert (f"failed: {len(below)} of 2" in ran.out) == bool(below)
    monkeypatch.setattr(limits, "ORDER", tuple(reversed(limits.ORDER)))
    ran = pellucid(*arguments, "--fail-under", "not supported", "--json")
    assert ran.code == 1
    assert ran.json["passed"] is False
