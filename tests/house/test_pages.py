"""The examples on the pages run, and docstrings become pages."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pellucid as pl
from pellucid.catalogue import METHODS, VIEWS

ROOT = Path(__file__).parents[2]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.exists()]
FENCE = re.compile(r"(<!-- not run: [^>]+ -->\s*\n)?^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(page: Path) -> Iterator[tuple[int, str]]:
    """Each Python example of a page with the number of its first line; those marked ``not run`` are left out."""
    text = page.read_text("utf-8")
    for found in FENCE.finditer(text):
        if not found[1]:
            yield text.count("\n", 0, found.start(2)) + 1, found[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__page__"}
    for line, code in examples(page):
        if ">>> " in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
            outcome = doctest.DocTestRunner(optionflags=FLAGS).run(test, clear_globs=False)
            names = test.globs
            assert not outcome.failed, f"{page.name}, line {line}"
        else:
            exec(compile("\n" * (line - 1) + code, str(page), "exec"), names)  # noqa: S102


def test_the_sections_of_a_docstring_become_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import prose

    text = ["One |a|.", "", "Cost:   two", "        lines.", "Example:", "    >>> 1 * 2", "    2"]
    assert prose.to_rst(text) == [
        r"One \|a\|.", "", ":Cost: two", "    lines.", ":Example:", "", "    >>> 1 * 2", "    2", "",
    ]  # fmt: skip


def budgets(name: str) -> dict[str, int]:
    """Small ones, for methods that have them."""
    from dataclasses import fields

    from pellucid import catalogue

    return {each.name: 300 for each in fields(catalogue.find(name)) if each.name == "budget" and each.default}


@pytest.mark.parametrize("name", [row.name for row in METHODS])
def test_a_method_has_a_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import pictures

    from pellucid import catalogue

    pictures.draw(catalogue.entry(name), tmp_path / "pictures", **budgets(name))
    lines = pictures.shown(catalogue.entry(name), tmp_path / "pictures")
    assert lines[0] == f".. figure:: pictures/{name}.png"
    assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", [row.name for row in VIEWS])
def test_a_look_inside_has_a_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import pictures

    assert callable(getattr(pl, name))
    lines = pictures.looked(name, tmp_path / "pictures")
    assert lines[0] == f".. figure:: pictures/{name}.png"
    assert (tmp_path / "pictures" / f"{name}.png").stat().st_size > 5000


FORMULA = re.compile(r"^( *)\.\. math:: *((?:.*\n)(?:\1 +.*\n|\n)*)", flags=re.MULTILINE)


PUBLIC = {name: getattr(pl, name) for name in dir(pl)} | {f"metrics.{n}": each for n, each in vars(pl.metrics).items()}


@pytest.mark.parametrize("name", [name for name, each in PUBLIC.items() if ".. math::" in (each.__doc__ or "")])
def test_a_formula_can_be_shown(name: str) -> None:
    mathml = pytest.importorskip("docutils.utils.math.latex2mathml")
    for found in FORMULA.finditer(PUBLIC[name].__doc__ or ""):
        mathml.tex2mathml(" ".join(found[2].split()), as_block=True)
