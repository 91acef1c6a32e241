"""Docstrings as the house writes them, turned into reStructuredText.

A docstring is plain text for whoever reads it in an editor: ``Shapes:``, ``Units:``, ``Cost:``, ``Raises:``,
``Source:`` and ``Example:`` begin a line, their text follows on that line or indented below it, and signs such as
``*shape`` or ``|a|`` mean themselves. Directives, ``literals``, roles and doctests stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

SECTION = re.compile(r"([A-Z][a-z]+):(?:\s+(.*))?$")
SECTIONS = ("Shapes", "Units", "Cost", "Raises", "Source", "Example", "Gives", "Returns", "Laws", "Limits", "Notice")
KEPT = re.compile(r"(``.+?``|:[a-z:]+:`[^`]+`|`[^`]+`_{0,2})")
EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=[^\s*])([^*]*[^\s*])\1(?![\w*])")


def plain(line: str) -> str:
    """The line with the signs escaped that reStructuredText would read as markup.

    >>> plain("inputs (batch, *shape), the sum of |a|, ``x*`` and *this*")
    'inputs (batch, \\\\*shape), the sum of \\\\|a\\\\|, ``x*`` and *this*'
    """
    return "".join(part if at % 2 else _escape(part) for at, part in enumerate(KEPT.split(line)))


def _escape(text: str) -> str:
    text = re.sub(r"\\([*|_])", r"\1", text)  # some are escaped already
    text = re.sub(r"(\w)_(?!\w)", r"\1\\_", text.replace("|", r"\|"))
    pieces, end = [], 0
    for found in EMPHASIS.finditer(text):
        pieces += [text[end : found.start()].replace("*", r"\*"), found.group()]
        end = found.end()
    return "".join([*pieces, text[end:].replace("*", r"\*")])


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line with whether it is prose, not part of a directive, a literal block or a doctest."""
    block: int | None = None  # the indent a verbatim block stands under
    doctest = False
    for line in lines:
        if block is not None and line.strip() and indent_of(line) <= block:
            block = None
        doctest = line.lstrip().startswith(">>>") or (doctest and bool(line.strip()))
        yield block is None and not doctest and not line.lstrip().startswith(".. "), line
        if block is None and not doctest and (line.lstrip().startswith(".. ") or line.rstrip().endswith("::")):
            block = indent_of(line)


def to_rst(lines: list[str]) -> list[str]:
    """The docstring with its sections as a field list; their text, however far it was aligned, stands below."""
    out: list[str] = []
    shift: int | None = None  # the indent of the text below a section's head; 0 while unknown, None outside sections
    for prose, line in marked(lines):
        text = plain(line) if prose else line
        found = SECTION.match(text) if prose else None
        if found and found[1] in SECTIONS:
            out += [*([""] if shift is None and out and out[-1] else []), f":{found[1]}: {found[2] or ''}".rstrip()]
            out += [] if found[2] else [""]
            shift = 0
        elif shift is not None and line.strip() and indent_of(line):
            shift = shift or indent_of(line)
            out.append("    " + text[min(shift, indent_of(line)) :])
        elif shift is not None and line.strip():
            out += ["", text]
            shift = None
        else:
            out.append(text)
    return [*out, ""]


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
