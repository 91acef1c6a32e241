"""The size and the names of files and functions, read from the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pellucid"
FILES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "misc", "base"}

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_TEST_FILE = 600


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each function with its number of lines, the docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            yield node.name, (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_there_is_something_to_read() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_source_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a file begins with a sentence that says what it is"
    assert path.stem not in FORBIDDEN, "name a file after what is in it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_short(path: Path) -> None:
    long = {
        each: lines for each, lines in functions(ast.parse(path.read_text("utf-8"))) if lines > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def test_folders_bear_names() -> None:
    assert not FORBIDDEN & {folder.name for folder in SOURCE.rglob("*") if folder.is_dir()}


def test_test_files_are_readable() -> None:
    long = {name(path): path.read_text("utf-8").count("\n") for path in (ROOT / "tests").rglob("*.py")}
    assert not {path: lines for path, lines in long.items() if lines > MOST_LINES_OF_A_TEST_FILE}


def test_nothing_points_to_this_machine() -> None:
    """Texts of the repository name no place that exists only where they were written."""
    places = re.compile(r"(?<![\w.:])/(?:work|root|home|tmp|Users)/\w+")
    kept = [ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "constraints.txt", *ROOT.glob("*.md")]
    kept += [path for folder in ("src", "docs", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.*")]
    texts = (".py", ".md", ".toml", ".txt", ".rst", ".html", ".js", ".css", ".json")
    found = {
        name(path): places.findall(path.read_text("utf-8"))
        for path in kept
        if path.is_file() and path.suffix in texts and "_build" not in path.parts
    }
    assert not {path: hits for path, hits in found.items() if hits}
