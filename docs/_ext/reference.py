"""The reference, written at build time from the catalogue: a page a family, and one for everything else.

A method is documented by being listed, any other public name by standing in ``names.md``, whose headings group it.
The pages go to ``reference/``, which is not kept under version control.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from pictures import looked, shown
from prose import plain

import pellucid
from pellucid import catalogue

TITLES = {
    "gradient": "Gradients",
    "path": "Paths from a baseline",
    "smooth": "Smoothing",
    "propagation": "Propagating backwards",
    "attention": "Attention",
    "cam": "Class activation maps",
    "perturbation": "Hiding parts",
    "shapley": "Shapley values",
}
MODALITIES = {modality for row in catalogue.METHODS for modality in row.modalities}
MOST_PARAMETERS = 8
VIEWS = {row.name for row in catalogue.VIEWS}
FOLDER = Path(__file__).parents[1] / "reference"


def sentence(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return plain(" ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()))


def title(text: str, line: str = "=") -> list[str]:
    return [text, line * max(len(text), 3), ""]


def table(header: Iterable[str], rows: Iterable[Iterable[str]], widths: str) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [list(header), *[list(row) for row in rows]]:
        lines += [f"   {'* -' if not at else '  -'} {cell}".rstrip() for at, cell in enumerate(row)]
    return [*lines, ""]


def literal(value: Any) -> str:
    """A value as code; a value without a short way to write it is left out."""
    text = " ".join(repr(value).split())
    return f"``{text}``" if text and len(text) < 60 and " at 0x" not in text else "–"


def default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def options(kind: Any) -> list[str]:
    """The options of a method: name, default and what they do."""
    fields = [field for field in dataclasses.fields(kind) if field.init and not field.name.startswith("_")]
    if not fields or not dataclasses.is_dataclass(kind):
        return []
    rows = [[f"``{each.name}``", literal(default_of(each)), plain(each.metadata.get("help") or "–")] for each in fields]
    return table(("Option", "Default", "What it does"), rows, "18 22 60")


def method(row: Any) -> list[str]:
    kind = catalogue.find(row.name)
    picture = shown(row, FOLDER / "pictures")
    lines = [*title(row.name, "-"), *picture, f".. autoclass:: pellucid.{row.name}", "", *options(kind)]
    laws = [f"- *{law.name}*: {plain(law.words)}" for law in getattr(kind, "laws", ())]
    return [*lines, *(["Laws it is tested by, beside those of every method:", "", *laws, ""] if laws else [])]


def listing(rows: Iterable[Any]) -> list[str]:
    cells = (
        [
            f":class:`~pellucid.{row.name}`",
            sentence(catalogue.find(row.name)),
            "anything" if set(row.modalities) == MODALITIES else ", ".join(row.modalities),
            plain(row.paper),
        ]
        for row in rows
    )
    return table(("Method", "In one sentence", "Works on", "Paper"), cells, "22 42 12 24")


def family(name: str, rows: list[Any]) -> str:
    lines = [*title(TITLES.get(name, name.capitalize())), *listing(rows)]
    return "\n".join([*lines, *[line for row in rows for line in method(row)]])


def groups() -> dict[str, list[str]]:
    """Heading to names, as ``names.md`` has them."""
    parts = re.split(r"^## (.+)$", (Path(__file__).parents[1] / "names.md").read_text("utf-8"), flags=re.MULTILINE)
    cells = [re.findall(r"^\| (`.+?) \|", part, flags=re.MULTILINE) for part in parts[2::2]]
    return {head: re.findall(r"`(\w+)`", " ".join(names)) for head, names in zip(parts[1::2], cells, strict=True)}


def front() -> str:
    """Everything in ``pellucid`` that is no method."""
    lines = title("Models, inputs, targets, results")
    for head, names in groups().items():
        lines += title(head, "-")
        for name in names:
            thing = getattr(pellucid, name)
            picture = looked(name, FOLDER / "pictures") if name in VIEWS else []
            if inspect.isclass(thing):
                lines += [*title(name, "~"), *picture, f".. autoclass:: pellucid.{name}", "   :members:", ""]
            elif inspect.isroutine(thing):
                lines += [*title(name, "~"), *picture, f".. autofunction:: pellucid.{name}", ""]
    return "\n".join(lines)


def metrics() -> str:
    """Every metric of explanations."""
    lines = [*title("Metrics of explanations"), ".. currentmodule:: pellucid.metrics", ""]
    for name, thing in sorted(vars(pellucid.metrics).items()):
        if inspect.isclass(thing) and issubclass(thing, pellucid.metrics.Metric):
            lines += [*title(name, "-"), f".. autoclass:: pellucid.metrics.{name}", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name to text, for every page of the reference."""
    rows = sorted(catalogue.METHODS, key=lambda row: row.family)
    families = {name: list(group) for name, group in groupby(rows, key=lambda row: row.family)}
    files = {name: name.replace(" ", "-").replace("/", "-") for name in families}
    methods = {row.name for row in rows}
    out = {f"{files[name]}.rst": family(name, group) for name, group in families.items()}
    out["front.rst"] = front()
    out["metrics.rst"] = metrics()
    out["errors.rst"] = "\n".join([*title("Errors"), ".. automodule:: pellucid.errors", "   :members:", ""])
    tree = [
        ".. toctree::",
        "   :maxdepth: 1",
        "",
        "   front",
        *[f"   {files[name]}" for name in families],
        "   metrics",
        "   errors",
    ]
    count = f"{len(methods)} methods in {len(families)} families. ``pellucid methods`` lists them in a terminal."
    out["index.rst"] = "\n".join([*title("Reference"), count, "", *tree, "", *listing(catalogue.METHODS)])
    return out


def generate(app: Any) -> None:
    folder = FOLDER
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in folder.glob("*.rst"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def short_signature(app: Any, what: str, name: str, thing: Any, *rest: Any) -> tuple[str, None] | None:
    """Options without their types; nothing for errors and long results, which users read but do not make."""
    if what not in ("class", "exception"):
        return None
    made = inspect.signature(thing)
    if what == "exception" or len(made.parameters) > MOST_PARAMETERS:
        return "", None
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in made.parameters.values()]
    return str(made.replace(parameters=bare, return_annotation=inspect.Signature.empty)), None


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-signature", short_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
