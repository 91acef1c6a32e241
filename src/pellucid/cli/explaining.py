"""``pellucid explain`` and ``pellucid demo``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pellucid.catalogue import entry
from pellucid.cli.backing import complete
from pellucid.cli.console import command, drawn, emit, say, sheet, working, writing
from pellucid.cli.opening import Wanted, opened
from pellucid.cli.reading import as_file, expected, read
from pellucid.errors import InputError, OptionError


@dataclass(frozen=True, kw_only=True)
class Report:
    """What to explain and where the answers go."""

    target: str | None = None
    methods: tuple[str, ...] = ()
    at: str | None = None
    row: str = "0"
    out: Path | None = None
    save: Path | None = None


def explained(wanted: Wanted, given: str, report: Report, *, seed: int, memory: str | None, as_json: bool) -> None:
    """Explain the input, or each row of it; write what was asked for."""
    for name in report.methods:
        entry(name)
    for path in (report.out, report.save):
        writable(path)
    expected(given)
    with working(seed, memory):
        model = opened(wanted, given)
        inputs = complete(read(given, model.modality.kind, report.row), model.modality)
        path = as_file(given)
        place = f", row {report.row}" if model.modality.kind == "table" and report.row not in ("0", "all") else ""
        made = explanations(model, inputs, report, path.name + place if path else "a sentence")
    finish(made, report, as_json)


def explanations(model: Any, inputs: Any, report: Report, source: str) -> list[Any]:
    """One explanation, or one a row."""
    from pellucid.explanation import explain

    rows = range(model.read(inputs).batch) if report.row == "all" else range(1)
    options: dict[str, Any] = {"methods": chosen(report), "command": command()}
    target = as_target(report.target, model.classes)
    return [
        explain(model, inputs, target, row=row, source=f"{source}, row {row}" if len(rows) > 1 else source, **options)
        for row in rows
    ]


def chosen(report: Report) -> list[Any] | None:
    """The named methods, bound to the layer they are to ask about; None where the model decides."""
    from pellucid.catalogue import find

    if not report.methods:
        if report.at is not None:
            do = "Say which: --method IntegratedGradients --at LAYER."
            raise OptionError(expected="--method with --at", got="--at alone", do=do)
        return None
    made = [find(name)() for name in report.methods]
    return made if report.at is None else [partial(each, at=report.at) for each in made]


def as_target(text: str | None, classes: tuple[str, ...] | None) -> Any:
    """A class by its name, else by its number."""
    if text is None or text in (classes or ()):
        return text
    return int(text) if text.lstrip("-").isdecimal() else text


def writable(path: Path | None) -> None:
    """Refuse a file that could not be written, before anything is computed."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(expected="a file to write", got=f"the folder {str(path)!r}", do="Add a file name.")
    if not path.parent.is_dir():
        raise InputError(expected="a folder that is there", got=repr(str(path.parent)), do="Make it first.")


def finish(made: list[Any], report: Report, as_json: bool) -> None:
    """Write reports and values, then say what was found."""
    pages = [numbered(report.out, i, len(made)) for i in range(len(made))]
    saved: list[list[Path]] = []
    for i, (each, page) in enumerate(zip(made, pages, strict=True)):
        with writing(page, report.save):
            saved.append(save_values(each, numbered(report.save, i, len(made))))
            if page is not None:
                each.save(page)
    if as_json:
        found = [told(*each) for each in zip(made, pages, saved, strict=True)]
        emit(found[0] if len(found) == 1 and report.row != "all" else {"rows": found})
        return
    for each, page, files in zip(made, pages, saved, strict=True):
        show(each, figure=page is None)
        for file in files:
            say(f"values: {file}")
        if page is not None:
            say(f"report: {page}")


def numbered(path: Path | None, i: int, many: int) -> Path | None:
    """A file's name with the number of its row, where there are several."""
    return path if path is None or many == 1 else path.with_name(f"{path.stem}-{i}{path.suffix}")


def save_values(explanation: Any, path: Path | None) -> list[Path]:
    """Write the values of every method: to the path itself if there is one method, else one file a method."""
    if path is None:
        return []
    results, one = explanation.results, len(explanation.results) == 1
    files = [path if one else path.with_name(f"{path.stem}-{each.method.name}{path.suffix}") for each in results]
    for result, file in zip(results, files, strict=True):
        result.save(file)
    return files


def told(explanation: Any, page: Path | None, saved: list[Path]) -> dict[str, Any]:
    """An explanation for programs."""
    return {**explanation.as_dict(), "report": page, "saved": saved}


def show(explanation: Any, *, figure: bool) -> None:
    """An explanation for people."""
    for sentence in explanation.sentences:
        say(sentence)
    say()
    places = explanation.best.modality.kind == "image"
    header = ("method", "verdict", *(() if places else ("strongest",)), "cost")
    rows = [
        (each.method.name, each.evidence[0].verdict, *(() if places else (tops(each),)), each.receipt)
        for each in explanation.results
    ]
    sheet(header, rows)
    for each in explanation.left_out:
        say(f"left out: {each}")
    if figure:
        drawn(explanation.best.figure())


def tops(result: Any) -> str:
    """The three strongest parts in words; pieces of words stand together."""
    from pellucid.core.figure import MarkedText

    figure = result.figure()
    strongest = result.top(3)
    if isinstance(figure, MarkedText):
        pairs = zip(figure.tokens, map(float, figure.values), strict=True)
        strongest = sorted(pairs, key=lambda pair: -abs(pair[1]))[:3]
    return ", ".join(f"{name} {value:+.3g}" for name, value in strongest)


def demo_report(name: str, *, out: Path | None, example: int, seed: int, memory: str | None, as_json: bool) -> None:
    """Explain an example of a bundled model and write the report."""
    name = name.removeprefix("demo:")
    page = Path(f"pellucid-{Path(name).name}.html") if out is None else out
    writable(page)
    with working(seed, memory):
        from pellucid.explanation import explain
        from pellucid.loading import load

        model = load(f"demo:{name}")
        from pellucid.demo import parts

        examples = parts(name).examples
        if example >= len(examples):
            raise OptionError(expected=f"an example 0 … {len(examples) - 1}", got=str(example), do="Choose one.")
        made = explain(model, examples[example : example + 1], source=f"example {example} of {name}", command=command())
    finish([made], Report(out=page), as_json)
