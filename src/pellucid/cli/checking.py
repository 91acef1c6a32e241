"""``pellucid check``: evidence on the command line, with an exit code for builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pellucid.catalogue import entry
from pellucid.cli.backing import complete
from pellucid.cli.console import emit, say, sheet, working
from pellucid.cli.opening import Wanted, opened
from pellucid.cli.reading import expected, read
from pellucid.errors import OptionError, nearest

ENOUGH = {"supported": ("supported",), "mixed": ("supported", "mixed")}
MARKS = {True: "yes", False: "no", None: "–"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which explanations are put to the test, and what they must reach."""

    target: str | None = None
    methods: tuple[str, ...] = ()
    at: str | None = None
    row: str = "0"
    fail_under: str | None = None


@dataclass(frozen=True)
class Answer:
    """The evidence of one method for one row."""

    method: str
    row: int
    evidence: Any
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        from pellucid.core.store import plain

        return {"method": self.method, "row": self.row, "passed": self.passed, **plain(self.evidence)}


def checked(wanted: Wanted, given: str, asked: Question, *, seed: int, memory: str | None, as_json: bool) -> int:
    """0, or 1 if a verdict is below what was asked for."""
    valid(asked)
    expected(given)
    with working(seed, memory):
        answers = answered(wanted, given, asked)
    code = 0 if all(each.passed for each in answers) else 1
    if as_json:
        emit({"passed": code == 0, "fail_under": asked.fail_under, "evidence": [each.as_dict() for each in answers]})
    else:
        show(answers, asked.fail_under)
    return code


def valid(asked: Question) -> None:
    """Refuse what could not be answered, before anything is computed."""
    if not asked.methods:
        do = "Say --method IntegratedGradients; pellucid methods lists them."
        raise OptionError(expected="a method to check", got="none", do=do)
    for name in asked.methods:
        entry(name)
    if asked.fail_under is not None and asked.fail_under not in ENOUGH:
        near = nearest(asked.fail_under, ENOUGH)
        raise OptionError(expected="--fail-under supported or mixed", got=repr(asked.fail_under), do=near)


def answered(wanted: Wanted, given: str, asked: Question) -> list[Answer]:
    """Explain by each method, and check."""
    from pellucid.catalogue import find
    from pellucid.cli.explaining import as_target
    from pellucid.evaluate.check import check

    model = opened(wanted, given)
    inputs = complete(read(given, model.modality.kind, asked.row), model.modality)
    target = as_target(asked.target, model.classes)
    results = [find(name)()(model, inputs, target, at=asked.at) for name in asked.methods]
    enough = ENOUGH.get(asked.fail_under or "")
    return [
        Answer(result.method.name, row, each, enough is None or each.verdict in enough)
        for result, judged in zip(results, check(results, model), strict=True)
        for row, each in enumerate(judged if isinstance(judged, tuple | list) else (judged,))
    ]


def show(answers: list[Answer], fail_under: str | None) -> None:
    """Evidence for people."""
    for each in answers:
        row = f", row {each.row}" if max(answer.row for answer in answers) else ""
        say(f"{each.method}{row}: {each.evidence.verdict}")
        checks = [
            (one.name, MARKS[one.passed], value(one.value), value(one.p), one.reason) for one in each.evidence.checks
        ]
        sheet(("check", "passed", "value", "p", "in words"), checks, numbers=("value", "p"))
        if each.evidence.reproduce:
            say(f"again: {each.evidence.reproduce}")
    failed = [each for each in answers if not each.passed]
    if failed:
        say(f"failed: {len(failed)} of {len(answers)} below {fail_under!r}")


def value(number: float | None) -> str:
    """A number in a table."""
    return "–" if number is None else f"{number:.3g}"
