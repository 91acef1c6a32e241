"""What is printed cannot speak to the terminal."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pellucid.cli import console


def test_lines_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a\x1b[31mb\x07\x9bc\u202e\nsecond")
    console.problem("\x1b]0;title\x07x")
    console.sheet(("one", "two"), [("[bold]x[/bold]", "\x1b[2Jy")])
    out, err = capsys.readouterr()
    assert out.startswith("abc\nsecond\n")
    assert "[bold]x[/bold]" in out
    assert "\x1b" not in out + err
    assert err == "x\n"


def test_json_is_ascii_and_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit(
        {"a": math.nan, "b": np.float32(0.5), "c": (1, True, None), "d": Path("x"), "é\u202e": "\x1b", "f": {1}}
    )
    out = capsys.readouterr().out
    assert out.isascii()
    found = json.loads(out)
    assert (found["a"], found["b"], found["c"], found["d"]) == (None, 0.5, [1, True, None], "x")


def test_the_command_tells_no_place_of_this_machine() -> None:
    token = console.COMMAND.set(("explain", "--input", "/data/someone/my cat.png", "--out=/data/why.html", "a/b.csv"))
    try:
        assert console.command() == "pellucid explain --input 'my cat.png' --out=why.html a/b.csv"
    finally:
        console.COMMAND.reset(token)


def test_what_was_half_written_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "why.html.part").touch()
    with pytest.raises(KeyboardInterrupt), console.writing(tmp_path / "why.html", None):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
