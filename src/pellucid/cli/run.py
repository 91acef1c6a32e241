"""One run of the command line: errors become three lines on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from pellucid.cli.app import app
from pellucid.cli.console import COMMAND, emit, note, problem
from pellucid.errors import Cancelled, PellucidError

UsageError: Any = typer.BadParameter.__mro__[1]
STOPPED = 130


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code of a run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    token = COMMAND.set(tuple(given))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: note(str(message))
            code = outcome(given)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    finally:
        COMMAND.reset(token)
    return code


def outcome(given: list[str]) -> int:
    """Run the commands; say what went wrong."""
    try:
        code = app(args=given, prog_name="pellucid", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort, Cancelled):
        code = STOPPED
    except PellucidError as error:
        return failed(error, "--json" in given)
    except UsageError as error:
        return misused(error, "--json" in given)
    except SystemExit as left:  # typer leaves like this when the reader of stdout is gone
        if isinstance(left.__context__, BrokenPipeError):
            raise left.__context__ from None
        return left.code if isinstance(left.code, int) else 2
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last stop: whatever else goes wrong is shown in full on request
        return surprised(error, "--json" in given)
    if code == STOPPED:
        problem("Stopped; nothing was left behind.")
    return code if isinstance(code, int) else 0


def failed(error: PellucidError, as_json: bool) -> int:
    """An error of the house: what was expected, what came, what to do."""
    problem(f"expected: {error.expected}")
    problem(f"got:      {error.got}")
    problem(f"do:       {error.do}")
    if as_json:
        parts = {"expected": error.expected, "got": error.got, "do": error.do}
        emit({"error": {"kind": type(error).__name__, **parts}})
    return 2


def misused(error: Any, as_json: bool) -> int:
    """A command or option that is not known or lacks its value."""
    place = error.ctx.command_path if error.ctx is not None else "pellucid"
    message = error.format_message()
    problem(message)
    problem(f"do:       {place} --help")
    if as_json:
        emit({"error": {"kind": "UsageError", "expected": "", "got": message, "do": f"{place} --help"}})
    return 2


def surprised(error: Exception, as_json: bool) -> int:
    """Anything else: one line, and the whole story where PELLUCID_TRACEBACK is set."""
    got = f"{type(error).__name__}: {error}"
    problem("expected: no other error")
    problem(f"got:      {got}")
    do = "Set PELLUCID_TRACEBACK=1 to see where; a model of yours may have raised it, else please report it."
    problem(f"do:       {do}")
    if os.environ.get("PELLUCID_TRACEBACK"):
        for line in traceback.format_exception(error):
            problem(line)
    if as_json:
        emit({"error": {"kind": type(error).__name__, "expected": "no other error", "got": got, "do": do}})
    return 2
