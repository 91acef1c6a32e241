"""What users see: names, docstrings, errors."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import pellucid
from pellucid import catalogue, errors

ROOT = Path(__file__).parents[2]
METHODS = {row.name: row for row in catalogue.METHODS}
PUBLIC = [name for name in pellucid.__all__ if not name.startswith("__")]
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PellucidError)]
OTHERS = [name for name in PUBLIC if name not in METHODS and name != "errors"]


def heads(thing: Any) -> set[str]:
    """The sections of a docstring."""
    return set(re.findall(r"^([A-Z][a-z]+):", inspect.getdoc(thing) or "", flags=re.MULTILINE))


def test_every_method_is_a_public_name_and_is_listed_once() -> None:
    assert len(METHODS) == len(catalogue.METHODS)
    assert len(set(pellucid.__all__)) == len(pellucid.__all__)
    assert METHODS.keys() <= set(PUBLIC)


def test_every_public_name_stands_in_the_reference_or_the_catalogue() -> None:
    """A method is documented by being listed; any other name stands in the table of docs/names.md."""
    table = (ROOT / "docs" / "names.md").read_text("utf-8")
    cells = re.findall(r"^\| (`.+?) \|", table, flags=re.MULTILINE)
    names = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(PUBLIC) == names | METHODS.keys()


@pytest.mark.parametrize("name", pellucid.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(pellucid, name) is not None
    assert name in dir(pellucid)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = pellucid.no_such_thing


def test_no_public_name_is_also_a_file() -> None:
    """Importing a file sets its name on the package, and would hide the class or function of that name."""
    files = {found.name for found in pkgutil.iter_modules(pellucid.__path__)}
    assert not files & set(PUBLIC) - {"errors"}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_frozen_dataclass_that_needs_no_option(name: str) -> None:
    kind = catalogue.find(name)
    assert getattr(pellucid, name) is kind
    assert kind.__name__ == name
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert isinstance(kind(), kind)
    module, _, attribute = METHODS[name].place.partition(":")
    assert getattr(importlib.import_module(module), attribute) is kind
    assert METHODS[name].family
    assert METHODS[name].paper
    assert METHODS[name].modalities


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_does_where_it_is_from_and_shows_it(name: str) -> None:
    kind = catalogue.find(name)
    text = inspect.getdoc(kind) or ""
    first = text.split("\n\n")[0]
    assert kind.__doc__, "its own docstring, not one of a parent"
    assert first.endswith("."), "the first paragraph is a sentence"
    assert len(first) <= 300
    assert heads(kind) >= {"Shapes", "Units", "Cost", "Source"}
    assert ">>> " in text, "an example that runs"
    unsaid = [field.name for field in dataclasses.fields(kind) if field.init and not field.metadata.get("help")]
    assert not unsaid, "an option says what it does: option(…, help=…)"


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_public_name_is_explained_with_an_example(name: str) -> None:
    thing = getattr(pellucid, name)
    text = inspect.getdoc(thing) or ""
    if callable(thing):
        assert re.match(r"[^\n].*?\.(\s|$)", text, flags=re.DOTALL), "it begins with a sentence"
        assert ">>> " in text, "an example that runs"


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_says_what_was_expected_what_came_and_what_to_do(kind: type[errors.PellucidError]) -> None:
    error = kind(expected="a number", got="'cat'", do="Give a number.")
    assert (error.expected, error.got, error.do) == ("a number", "'cat'", "Give a number.")
    assert all(part in str(error) for part in ("a number", "'cat'", "Give a number."))
    assert inspect.getdoc(kind)
    again = pickle.loads(pickle.dumps(error))  # as it comes back from another process
    assert (type(again), again.expected, again.got, again.do) == (kind, error.expected, error.got, error.do)


def test_every_raise_is_one_of_ours() -> None:
    """What users can cause is raised as an error of the house; programming errors may be Python's own."""
    allowed = {kind.__name__ for kind in ERRORS} | {"NotImplementedError", "AttributeError", "StopIteration"}
    allowed |= {"KeyError", "TypeError", "SystemExit", "Exit", "Untestable"}  # the last is caught by `measure`
    found = {}
    for path in (ROOT / "src").rglob("*.py"):
        names = re.findall(r"^\s*raise (?:\w+\.)*([A-Z]\w*)\(", path.read_text("utf-8"), flags=re.MULTILINE)
        if strange := sorted(set(names) - allowed):
            found[path.relative_to(ROOT).as_posix()] = strange
    assert not found
