"""What is printed: harmless text and JSON on stdout, notes and problems on stderr."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

COMMAND: ContextVar[tuple[str, ...]] = ContextVar("pellucid_command", default=())
PIPE_WIDTH = 160


def clean(text: Any) -> str:
    """Text without anything a terminal would obey; line breaks stay."""
    from pellucid.show.words import clean as harmless

    return "\n".join(harmless(line).rstrip() for line in str(text).split("\n"))


def say(text: Any = "") -> None:
    """A line on stdout."""
    sys.stdout.write(clean(text) + "\n")


def note(text: Any) -> None:
    """A remark on stderr."""
    problem(f"note:     {text}")


def problem(text: Any) -> None:
    """A line on stderr."""
    sys.stderr.write(clean(text) + "\n")


def emit(value: Any) -> None:
    """One JSON value on stdout: ASCII only, so that nothing in it can speak to a terminal."""
    sys.stdout.write(json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n")


def jsonable(value: Any) -> Any:
    """A value as JSON can hold it; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def sheet(header: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[str] = ()) -> None:
    """A table on stdout; the columns named in ``numbers`` stand to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in header:
        table.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(each)) for each in row))
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(file=sys.stdout, markup=False, highlight=False, width=width).print(table)


def drawn(figure: Any) -> None:
    """A figure as text."""
    from pellucid.show.text import paint

    say(paint(figure))


def command() -> str:
    """The line that does this again; of places on this machine only the last name is told."""
    return shlex.join(["pellucid", *(told(each) for each in COMMAND.get())])


def told(argument: str) -> str:
    """An argument with an absolute path reduced to its name."""
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    absolute = value.startswith("~") or (os.sep in value and Path(value).is_absolute())
    return option + equals + (Path(value).name if absolute else value)


@contextmanager
def working(seed: int, memory: str | None) -> Iterator[None]:
    """Settings for a computation, with a bar where stderr is a terminal."""
    from pellucid.core.run import settings

    changes: dict[str, Any] = {"seed": seed, "progress": sys.stderr.isatty()}
    with settings(**changes, **({} if memory is None else {"memory": memory})):
        yield


@contextmanager
def writing(*paths: Path | None) -> Iterator[None]:
    """Nothing half-written stays when writing is stopped."""
    try:
        yield
    except BaseException:
        for path in paths:
            if path is not None:
                path.with_name(path.name + ".part").unlink(missing_ok=True)
        raise
