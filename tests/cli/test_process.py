"""The command line as a process of its own: what it imports, how it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = "from pellucid.cli import main; main()"
HEAVY = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "transformers", "PIL", "jinja2"}
SLEEPER = """
import pathlib, time

def build():
    pathlib.Path("ready").touch()
    time.sleep(60)
"""


def started(*arguments: str, code: str = START, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, timeout=120, check=False)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("explain", "--help"), ("--version",), ("methods", "--json"), ("explain",)]
)
def test_help_and_lists_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = f"""
import sys
from pellucid.cli import main
try:
    main({list(arguments)!r})
finally:
    print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""
    ran = started(code=code)
    loaded = set(ran.stderr.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_importtime_tells_no_torch() -> None:
    line = [sys.executable, "-X", "importtime", "-c", START, "--help"]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    assert "pellucid.cli.app" in ran.stderr
    assert "torch" not in ran.stderr
    assert "explain" in ran.stdout


def test_json_alone_stands_on_stdout() -> None:
    ran = started("methods", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)[0]["name"] == "Saliency"


def test_an_error_is_three_lines_and_a_code(tmp_path: Path) -> None:
    ran = started("explain", "--model", "demo:digits", "--input", "no.png", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert [line.split(":")[0] for line in ran.stderr.splitlines()] == ["expected", "got", "do"]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_with_130(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a parent may ignore it
    line = [sys.executable, "-c", heard + START, "layers", "--model", "sleeper:build"]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(1000):
            if (tmp_path / "ready").exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "nothing was left behind" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_reader_that_goes_away_is_no_error() -> None:
    line = [sys.executable, "-c", START, "methods", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
