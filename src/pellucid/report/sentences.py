"""Three plain sentences built from the numbers: what the model says, why, and whether to believe the why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.core.modality.plain import Array
from pellucid.core.prediction import ClassPrediction, Prediction, ValuePrediction, percent
from pellucid.core.result import Attribution

DOWN = ("upper", "middle", "lower")
ACROSS = ("left", "center", "right")


def answer_sentence(prediction: Prediction) -> str:
    """What the model says."""
    if isinstance(prediction, ClassPrediction):
        (name, p), *others = prediction.top(2)
        sure = "is nearly certain" if p > 0.99 else "is fairly sure" if p > 0.8 else "leans" if p > 0.5 else "is unsure"
        verb = "says" if sure != "leans" else "leans towards"
        runner = f"; next comes “{others[0][0]}” with {percent(others[0][1])}" if others else ""
        extra = "" if sure == "leans" else f" and {sure}"
        return f"The model {verb} “{name}”{extra}: {percent(p)}{runner}."
    if isinstance(prediction, ValuePrediction):
        return f"The model predicts {prediction.words()}."
    return f"The model answers: {prediction.words()}."


def reason_sentence(result: Attribution) -> str:
    """Where the answer comes from, by the best explanation."""
    values = result.array()
    if result.modality.kind == "image" and values.ndim >= 2:
        return picture_sentence(result, values)
    if result.modality.kind == "series" and values.ndim == 2:
        return series_sentence(result, values)
    figure = result.figure()
    labels, numbers = getattr(figure, "labels", None) or getattr(figure, "tokens", ()), getattr(figure, "values", None)
    if numbers is None or not labels:
        return f"{result.method.name} gives {values.size} contributions."
    details = getattr(figure, "details", ()) or ("",) * len(labels)
    named = [f"“{label}”" + (f" = {detail}" if detail else "") for label, detail in zip(labels, details, strict=True)]
    order = np.argsort(-np.abs(numbers), kind="stable")
    most = 0.05 * float(np.abs(numbers).max()) if len(numbers) else 0.0
    towards = [f"{named[i]} ({signed(numbers[i])})" for i in order if numbers[i] > most][:3]
    away = [f"{named[i]} ({signed(numbers[i])})" for i in order if numbers[i] < -most][:2]
    parts = []
    if towards:
        verb = "pushes" if len(towards) == 1 else "push"
        parts.append(f"{listed(towards)} {verb} the {result.target_words()} up most")
    if away:
        parts.append(f"{listed(away)} {'holds' if len(away) == 1 else 'hold'} it down")
    if not parts:
        return f"By {result.method.name}, nothing in the input moves the {result.target_words()}."
    return f"By {result.method.name}, " + "; ".join(parts) + "."


def picture_sentence(result: Attribution, values: Array) -> str:
    """Where in the picture the positive contributions lie, and how concentrated they are."""
    flat = values.sum(0) if values.ndim == 3 else values
    positive = flat.clip(min=0)
    if positive.sum() == 0:
        return f"By {result.method.name}, no part of the picture speaks for the {result.target_words()}."
    ranked = np.sort(positive.ravel())[::-1]
    tenth = ranked[: max(1, len(ranked) // 10)].sum() / ranked.sum()
    where = place(positive)
    return (
        f"By {result.method.name}, the {result.target_words()} rests mostly on the {where} of the picture: "
        f"a tenth of the area carries {percent(tenth)} of all that speaks for it."
    )


def series_sentence(result: Attribution, values: Array) -> str:
    """When in the series the contributions lie."""
    along = np.abs(values).sum(0)
    peak = int(along.argmax())
    return f"By {result.method.name}, the {result.target_words()} depends most on step {peak} of {len(along)}."


def place(positive: Array) -> str:
    """The ninth of the picture that holds most, in words."""
    rows = np.array_split(positive, 3, 0)
    grid = np.array([[part.sum() for part in np.array_split(row, 3, 1)] for row in rows])
    down, across = divmod(int(grid.argmax()), 3)
    return "center" if down == across == 1 else f"{DOWN[down]} {ACROSS[across]}"


def belief_sentence(best: Attribution, results: Sequence[Attribution]) -> str:
    """Whether to believe it, and how the others fared."""
    verdicts = [result.evidence[0].verdict for result in results]
    held = verdicts.count("supported")
    verb = "is" if held == 1 else "are"
    others = f" Of {len(results)} methods, {held} {verb} supported by the checks." if len(results) > 1 else ""
    judged = best.evidence[0]
    made = [check for check in judged.checks if check.passed is not None]
    passed = sum(bool(check.passed) for check in made)
    failed = "; ".join(check.reason for check in made if not check.passed)
    said = {
        "supported": f"The checks support it: {passed} of {len(made)} tests against honest controls were passed.",
        "mixed": f"The checks disagree about it; against it speaks that {failed or judged.words}.",
        "not supported": f"Do not believe it: {failed or judged.words}.",
        "not testable": f"It could not be tested: {judged.words.rstrip('.')}.",
    }
    return said[judged.verdict] + others


def signed(number: float) -> str:
    """A number with its sign, the minus as it is printed.

    >>> signed(-0.364)
    '−0.36'
    """
    return f"{number:+.2g}".replace("-", "−")


def listed(items: Sequence[str]) -> str:
    """One, two and three."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
