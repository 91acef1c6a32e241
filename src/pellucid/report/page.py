"""The report as one file: no network, every text escaped, whole without scripts, its policy in its head."""

from __future__ import annotations

import hashlib
import math
import re
from base64 import b64encode
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pellucid.core.figure import Curve, Figure, Grid, Heat, MarkedText
from pellucid.report.content import Content
from pellucid.report.strip import strip
from pellucid.show.color import levels, rules
from pellucid.show.html import fragment, sheet
from pellucid.show.layers import filters, pictures
from pellucid.show.words import clean, number

ICONS = {"supported": "check", "mixed": "half", "not supported": "cross", "not testable": "question"}
KINDS = ("image", "text", "table", "series")
MOST_ACROSS = 5


def page(content: Content) -> str:
    """The report as HTML."""
    paper, stored = pictures(content.figures)
    css, js = style(), script()
    maps = [each for view in content.methods for each in parts(view.figure) if isinstance(each, Heat)]
    template = environment().get_template("page.html")
    return template.render(
        content=content,
        kind=content.modality if content.modality in KINDS else "tensor",
        paper=paper,
        stored=stored,
        filters=filters(),
        css=css,
        js=js,
        policy=policy(css, js),
        across=across(len(content.methods)),
        mixes=any(each.under is not None for each in maps),
        thins=bool(maps) or any(isinstance(each.figure, MarkedText) for each in content.methods),
        within=shows_input(content),
        **checks_of(content),
    )


def checks_of(content: Content) -> dict[str, Any]:
    """The methods that were checked, their numbers, and the names of all checks in the order of their making."""
    checked = [(i, each) for i, each in enumerate(content.methods, 1) if each.evidence]
    names = {check.name: None for _, view in checked if view.evidence for check in view.evidence.checks}
    return {"checked": [view for _, view in checked], "numbers": [i for i, _ in checked], "names": list(names)}


@cache
def environment() -> Environment:
    """Templates that escape whatever is put into them."""
    made = Environment(
        autoescape=True,
        loader=FunctionLoader(own),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=harmless,
    )
    made.globals.update(fragment=fragment, strip=strip, icons=ICONS, newline=Markup("\n"))
    made.filters.update(number=number, soft=soft, untitled=lambda figure: replace(figure, title=""))
    return made


def across(methods: int) -> int:
    """How many methods stand in a row: at most five, in rows of about equal length.

    >>> [across(n) for n in (1, 4, 5, 6, 7, 12)]
    [2, 4, 5, 3, 4, 4]
    """
    return max(2, math.ceil(methods / math.ceil(methods / MOST_ACROSS))) if methods else 2


def soft(name: str) -> Markup:
    """A name that may be broken where a new word begins in it."""
    return Markup("<wbr>").join(re.sub(r"(?<=[a-z])(?=[A-Z])", "\n", clean(name)).split("\n"))


def harmless(value: Any) -> Any:
    """What goes into the page: our own markup as it is, everything else without control characters."""
    return value if isinstance(value, Markup) else clean(value)


def own(name: str) -> str:
    """A file of this package."""
    return (files("pellucid.report") / name).read_text("utf-8").replace("\r\n", "\n")


@cache
def style(*more: str) -> Markup:
    """The one block of style: figures, page, more files, and the colors of levels on light and on dark ground."""
    names = sorted({*levels(True), *levels(False)})
    dark = "@media screen and (prefers-color-scheme:dark){" + rules(names, dark=True) + "}"
    return Markup("\n".join([sheet(), own("page.css"), *map(own, more), rules(names), dark]))  # noqa: S704 - our own files and numbers


@cache
def script() -> Markup:
    """The one block of script."""
    return Markup(own("page.js"))  # noqa: S704 - our own file


def policy(css: str, js: str) -> str:
    """What the page may do: show its own pictures, use its own style and script, and nothing else."""
    rest = "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    return f"default-src 'none'; img-src data:; style-src '{seal(css)}'; script-src '{seal(js)}'; {rest}"


def seal(text: str) -> str:
    """The hash by which a policy knows a block."""
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()


def parts(figure: Figure) -> tuple[Figure, ...]:
    """A figure, or the figures of a grid."""
    return figure.figures if isinstance(figure, Grid) else (figure,)


def shows_input(content: Content) -> bool:
    """Whether the picture put forward shows the input, too, as that of a series does."""
    view = content.put_forward
    curves = [each for each in parts(view.figure) if isinstance(each, Curve)] if view else []
    return isinstance(content.input, Curve) and bool(curves)
