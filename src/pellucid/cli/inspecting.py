"""``pellucid inspect``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.cli.console import command, emit, note, problem, say, sheet, working, writing
from pellucid.cli.explaining import writable
from pellucid.cli.gathering import colors, first_file, gathered, there
from pellucid.cli.opening import Wanted, opened, sides
from pellucid.errors import OptionError

UNFINISHED = 1


@dataclass(frozen=True, kw_only=True)
class Look:
    """What to look at, and where the page goes."""

    data: str | None = None
    rows: int = 1000
    layers: str = "4"
    units: int = 8
    examples: int = 6
    steps: int = 32
    out: Path | None = None


def inspected(wanted: Wanted, look: Look, *, seed: int, memory: str | None, as_json: bool) -> int:
    """Look at a model and write its page; the exit code, 1 if it was stopped before the end."""
    page = look.out or (None if as_json else Path(f"pellucid-inspect-{named(wanted.model)}.html"))
    writable(page)
    if look.data is not None:
        there(look.data)
    with working(seed, memory):
        from pellucid.inspection import inspect

        model = opened(wanted, first_file(look.data))
        count = colors(look.data) if model.modality.kind == "tensor" else 0
        if count:
            model.modality = images(count)
        data = own_examples(wanted.model) if look.data is None else gathered(look.data, model.modality.kind, look.rows)
        found = inspect(
            model,
            data,
            layers=int(look.layers) if look.layers.isdecimal() else [n.strip() for n in look.layers.split(",")],
            units=look.units,
            examples=look.examples,
            steps=look.steps,
            size=sides(wanted.size) if wanted.size is not None and data is None else None,
            name=str(wanted.model),
            command=command(),
        )
    with writing(page):
        if page is not None:
            found.save(page)
    if as_json:
        emit({**found.as_dict(), "report": page})
    else:
        show(found, page)
    if found.stopped:
        problem(f"Stopped at {found.stopped}" + ("; the page holds what was done until then." if page else "."))
    return UNFINISHED if found.stopped else 0


def named(model: str | None) -> str:
    """A model's name as a part of a file's name.

    >>> named("my.nets:build"), named("demo:digits")
    ('my.nets-build', 'digits')
    """
    if model is None:
        raise OptionError(expected="--model", got="none", do="Say --model NAME (try demo:digits).")
    short = Path(model.removeprefix("demo:")).name
    return "".join(each if each.isalnum() or each in "._-" else "-" for each in short).strip("-.")[:60] or "model"


def images(colors: int) -> Any:
    """Pictures of a model that does not say what it reads."""
    from pellucid.core.modality import Images

    note("the model does not say how pictures are normalized: pixels go in as 0 … 1 (see --mean, --std, --size)")
    return Images(mean=(0.0,) * colors, std=(1.0,) * colors)


def own_examples(model: str | None) -> Any:
    """The examples that a bundled model brings along."""
    if model is None or not model.startswith("demo:"):
        return None
    from pellucid.demo import parts

    return parts(model.removeprefix("demo:")).examples


def show(found: Any, page: Path | None) -> None:
    """An inspection for people."""
    for sentence in found.sentences:
        say(sentence)
    if found.findings:
        say()
        sheet(("", "finding", "numbers"), [(each.level, each.kind, each.words) for each in found.findings])
    for each in found.left_out:
        say(f"left out: {each}")
    if page is not None:
        say(f"report: {page}")
