"""``pellucid check``: evidence on the command line, with an exit code for builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pellucid.catalogue import entry
from pellucid.cli.backing import complete
from pellucid.cli.console import emit, say, sheet, working
from pellucid.cli.limits import Limit, limits
from pellucid.cli.opening import Wanted, opened
from pellucid.cli.reading import expected, read
from pellucid.errors import InputError, OptionError

MARKS = {True: "yes", False: "no", None: "–"}
MAPS = (".npy", ".npz")
SAVED = ".safetensors"
MOST_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which explanations are put to the test, and what they must reach."""

    target: str | None = None
    methods: tuple[str, ...] = ()
    explanations: tuple[Path, ...] = ()
    at: str | None = None
    row: str = "0"
    fail_under: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The evidence of one explanation for one row, the metrics that were asked for, and the limits it misses."""

    method: str
    row: int
    evidence: Any
    metrics: dict[str, float | None] = field(default_factory=dict)
    missed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it reaches all that was asked."""
        return not self.missed

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        from pellucid.core.store import plain

        told = {"method": self.method, "row": self.row, "passed": self.passed, "missed": list(self.missed)}
        return {**told, "metrics": self.metrics, **plain(self.evidence)}


def checked(wanted: Wanted, given: str | None, asked: Question, *, seed: int, memory: str | None, as_json: bool) -> int:
    """0, or 1 if something is below what was asked for."""
    must = valid(given, asked)
    if given is not None:
        expected(given)
    with working(seed, memory):
        answers = answered(wanted, given, asked, must)
    code = 0 if all(each.passed for each in answers) else 1
    if as_json:
        fail_under = [each.words for each in must]
        emit({"passed": code == 0, "fail_under": fail_under, "evidence": [each.as_dict() for each in answers]})
    else:
        show(answers)
    return code


def valid(given: str | None, asked: Question) -> tuple[Limit, ...]:
    """Refuse what could not be answered, before anything is computed."""
    if not asked.methods and not asked.explanations:
        do = "Say --method IntegratedGradients (pellucid methods lists them), or --explanation FILE."
        raise OptionError(expected="a method to check, or a saved explanation", got="none", do=do)
    for name in asked.methods:
        entry(name)
    for path in asked.explanations:
        if not path.is_file():
            raise InputError(expected="a saved explanation", got=f"no file {str(path)!r}", do="Check the path.")
        if path.suffix.lower() not in (*MAPS, SAVED):
            do = "Save it with result.save(path), or its values with numpy.save(path, values)."
            raise InputError(expected=f"a file {', '.join((SAVED, *MAPS))}", got=repr(path.name), do=do)
    if given is None and (asked.methods or any(path.suffix.lower() in MAPS for path in asked.explanations)):
        raise OptionError(expected="what was explained", got="no input", do="Say --input FILE.")
    if asked.at is not None and asked.explanations:
        do = "A saved explanation knows its layer; an array is one of the inputs."
        raise OptionError(expected="--at with --method", got="--at with --explanation", do=do)
    return limits(asked.fail_under)


def answered(wanted: Wanted, given: str | None, asked: Question, must: tuple[Limit, ...]) -> list[Answer]:
    """Explain by each method, read what was saved, and check."""
    from pellucid.catalogue import find
    from pellucid.cli.explaining import as_target

    model = opened(wanted, given)
    inputs = None
    if given is not None:
        inputs = complete(read(given, model.modality.kind, asked.row), model.modality)
    target = as_target(asked.target, model.classes)
    made = [find(name)()(model, inputs, target, at=asked.at) for name in asked.methods]
    answers = judged(model, [result.method.name for result in made], made, (None, None), must)
    for path in asked.explanations:
        saved, about = reopened(path, model, inputs, target)
        answers += judged(model, [path.name] * len(saved), saved, about, must)
    return answers


def judged(
    model: Any, names: list[str], explanations: list[Any], about: tuple[Any, Any], must: tuple[Limit, ...]
) -> list[Answer]:
    """The answers to explanations of the same inputs."""
    from pellucid.evaluate.check import check
    from pellucid.evaluate.metrics.measure import measure

    if not explanations:
        return []
    wanted = [each.metric() for each in must if each.metric is not None]
    table = measure(explanations, model, *about, metrics=wanted).measured if wanted else [()] * len(explanations)
    answers = []
    for name, found, measured in zip(names, check(explanations, model, *about), table, strict=True):
        for row, each in enumerate(found if isinstance(found, tuple | list) else (found,)):
            numbers = {one.name: known(float(one.values[row])) for one in measured}
            missed = tuple(limit.words for limit in must if not limit.reached(each.verdict, numbers))
            answers.append(Answer(name, row, each, numbers, missed))
    return answers


def known(number: float) -> float | None:
    """A number, or None for what could not be measured."""
    return None if number != number else number


def reopened(path: Path, model: Any, inputs: Any, target: Any) -> tuple[list[Any], tuple[Any, Any]]:
    """A saved explanation, and the inputs and target it is checked with."""
    from dataclasses import replace

    from pellucid.core.store import read_result

    if path.suffix.lower() == SAVED:
        result = read_result(path)
        if target is None:
            target = target_of(result)
        return [replace(result, maker=None)], (inputs if inputs is not None else result.inputs, target)
    return [values_of(path)], (inputs, target)


def target_of(result: Any) -> list[int]:
    """The class of each row that a saved explanation names; OptionError where its target was something else."""
    from pellucid.core.target import Class

    many = len(result.about.classes) if result.about.classes else MOST_CLASSES
    named = {Class(index=(i,)).words(result.about): i for i in range(many)}
    words = [result.target_words(row) for row in range(len(result))]
    unknown = next((each for each in words if each not in named), None)
    if unknown is not None:
        raise OptionError(expected="the class that was explained", got=unknown, do="Say --target CLASS.")
    return [named[each] for each in words]


def values_of(path: Path) -> Any:
    """Values of an array file; pickled objects in it are refused."""
    import numpy as np

    from pellucid.cli.reading import MOST_BYTES, array, capped

    if path.suffix.lower() == ".npy":
        return array(path, "tensor")
    capped(path, 10 * MOST_BYTES)
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            found = file[names[0]] if len(names) == 1 else file["values"]
    except (ValueError, OSError, EOFError, KeyError, SyntaxError, IndexError) as error:
        got = f"{path.name!r}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        do = "Save it with numpy.savez(path, values=values)."
        raise InputError(expected="one array, or one named 'values'", got=got, do=do) from None
    return found


def show(answers: list[Answer]) -> None:
    """Evidence for people."""
    for each in answers:
        row = f", row {each.row}" if max(answer.row for answer in answers) else ""
        say(f"{each.method}{row}: {each.evidence.verdict}")
        checks = [
            (one.name, MARKS[one.passed], value(one.value), value(one.p), one.reason) for one in each.evidence.checks
        ]
        checks += [(name, MARKS[None], value(number), value(None), "a metric") for name, number in each.metrics.items()]
        sheet(("check", "passed", "value", "p", "in words"), checks, numbers=("value", "p"))
        if each.evidence.reproduce:
            say(f"again: {each.evidence.reproduce}")
    failed = [each for each in answers if not each.passed]
    if failed:
        say(f"failed: {len(failed)} of {len(answers)}")
    for each in failed:
        say(f"{each.method}, row {each.row}: below {', '.join(each.missed)}")


def value(number: float | None) -> str:
    """A number in a table."""
    return "–" if number is None else f"{number:.3g}"
