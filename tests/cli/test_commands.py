"""The commands on the user's own code and data: what they print, what they refuse, how they leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import pellucid as pl
from pellucid.catalogue import METHODS
from pellucid.cli.app import app
from pellucid.cli.opening import Wanted, declared, names_in
from pellucid.errors import OptionError

Pellucid = Callable[..., Any]
ROWS = ("--model", "own_cli_nets:rows", "--input", "rows.csv")


def test_help_and_version() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, [])
    assert listed.exit_code == 0
    for command in ("demo", "explain", "check", "methods", "layers"):
        assert command in listed.output
        told = runner.invoke(app, [command, "--help"])
        assert told.exit_code == 0
        assert "--json" in told.output
    assert runner.invoke(app, ["--version"]).output == f"pellucid {pl.__version__}\n"


def test_methods_are_the_catalogue(pellucid: Pellucid) -> None:
    found = pellucid("methods", "--json").json
    assert [each["name"] for each in found] == [each.name for each in METHODS]
    assert all(set(each) == {"name", "family", "modalities", "paper"} for each in found)
    shapley = pellucid("methods", "--family", "shapley", "--json").json
    assert {each["family"] for each in shapley} == {"shapley"}
    assert "FullGrad" not in pellucid("methods", "--modality", "table").out
    assert "IntegratedGradients" in pellucid("methods").out


def test_layers(pellucid: Pellucid) -> None:
    found = pellucid("layers", *ROWS, "--json").json
    assert [(each["name"], each["kind"], each["shape"], each["weights"]) for each in found] == [
        ("0", "Linear", [8], 32),
        ("1", "ReLU", [8], 0),
        ("2", "Linear", [2], 18),
    ]
    assert "Pass --input" in pellucid("layers", "--model", "own_cli_nets:rows").out
    told = pellucid("layers", "--model", "own_cli_nets:pictures", "--size", "16").out
    assert "4 × 14 × 14" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain",), "Missing option '--input'"),
        (("explian",), "No such command 'explian'"),
        (("explain", "--input", "rows.csv", "--colour"), "No such option"),
        (("explain", "--input", "rows.csv"), "one of --model and --predict"),
        (("explain", *ROWS, "--predict", "a:b"), "both"),
        (("explain", *ROWS, "--method", "Salency"), "'Saliency'"),
        (("explain", *ROWS, "--at", "0"), "--method with --at"),
        (("explain", *ROWS, "--row", "9"), "The last row is 1"),
        (("explain", *ROWS, "--out", "nowhere/why.html"), "a folder that is there"),
        (("explain", *ROWS, "--out", "."), "a file to write"),
        (("explain", *ROWS, "--memory", "lots"), "2 GB"),
        (("explain", *ROWS, "--mean", "0.5"), "kind 'image'"),
        (("explain", *ROWS, "--mean", "0.5", "--columns", "a"), "pictures and of tables"),
        (("explain", *ROWS, "--mean", "half"), "numbers for --mean"),
        (("explain", *ROWS, "--size", "0"), "--size in pixels"),
        (("explain", *ROWS, "--columns", "age,weight,dose", "--method", "Saliency"), "'weight'"),
        (("explain", *ROWS, "--weights", "w.pt"), "no file 'w.pt'"),
        (("explain", *ROWS, "--classes", "names.txt"), "no file 'names.txt'"),
        (("explain", "--input", "cta.png", "--model", "own_cli_nets:pictures"), "'cat.png'"),
        (("explain", "--input", "rows.csv", "--model", "own_cli_nets:rosw"), "'rows'"),
        (
            ("explain", "--input", "rows.csv", "--predict", "own_cli_nets:total", "--weights", "w.pt"),
            "--weights beside",
        ),
        (("check", *ROWS), "a method to check"),
        (("check", *ROWS, "--method", "Saliency", "--fail-under", "suported"), "'supported'"),
        (("methods", "--family", "pth"), "'path'"),
        (("methods", "--modality", "sound"), "a modality"),
        (("layers",), "one of --model"),
        (("demo", "digts"), "'digits'"),
    ],
)
def test_what_is_wrong_is_said_in_words(pellucid: Pellucid, arguments: tuple[str, ...], words: str) -> None:
    ran = pellucid(*arguments)
    assert ran.code == 2
    assert words in ran.err
    assert "do:" in ran.err
    assert "Traceback" not in ran.err
    assert not ran.out
    told = pellucid(*arguments, "--json")
    assert told.code == 2
    assert told.json["error"]["do"]


def test_a_surprise_is_no_traceback_unless_asked(pellucid: Pellucid, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("explain", "--input", "rows.csv", "--predict", "own_cli_nets:surprising", "--method", "Ablation")
    ran = pellucid(*arguments)
    assert ran.code == 2
    assert "the service is down" in ran.err
    assert "Traceback" not in ran.err
    monkeypatch.setenv("PELLUCID_TRACEBACK", "1")
    assert "Traceback" in pellucid(*arguments).err


def test_ctrl_c(pellucid: Pellucid) -> None:
    ran = pellucid("layers", "--model", "own_cli_nets:interrupted")
    assert ran.code == 130
    assert "nothing was left behind" in ran.err


def test_hostile_class_names_do_not_reach_the_terminal(pellucid: Pellucid) -> None:
    ran = pellucid(
        "explain",
        "--model",
        "own_cli_nets:hostile",
        "--input",
        "rows.csv",
        "--target",
        "purple",
        "--method",
        "Saliency",
    )
    assert ran.code == 2
    assert "red" in ran.err
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.err)


def test_names_from_files_and_lists(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("cat\ndog\n\n")
    (tmp_path / "n.json").write_text('{"1": "dog", "0": "cat", "10": "owl"}')
    (tmp_path / "l.json").write_text('["cat"]')
    (tmp_path / "w.json").write_text("3")
    assert names_in("cat, dog,", "--classes") == ["cat", "dog"]
    assert names_in(str(tmp_path / "n.txt"), "--classes") == ["cat", "dog"]
    assert names_in(str(tmp_path / "n.json"), "--classes") == ["cat", "dog", "owl"]
    assert names_in(str(tmp_path / "l.json"), "--classes") == ["cat"]
    with pytest.raises(OptionError):
        names_in(str(tmp_path / "w.json"), "--classes")


def test_what_the_options_say_of_pictures() -> None:
    images: Any = declared(Wanted(mean="0.5,0.4,0.3", size="224x320"))
    assert (images.mean, images.std, images.size) == ((0.5, 0.4, 0.3), (1.0, 1.0, 1.0), (224, 320))
    gray: Any = declared(Wanted(std="0.3"))
    assert (gray.mean, gray.std, gray.size) == ((0.0,), (0.3,), None)
    assert declared(Wanted()) is None
