"""What ``--fail-under`` asks for: a verdict, a number for the faithfulness check, or a number for a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.errors import OptionError, nearest
from pellucid.evaluate.verdict import WORST_FIRST as ORDER


@dataclass(frozen=True)
class Limit:
    """A verdict that must be reached, or a number that a metric must not be worse than."""

    words: str
    verdict: str | None = None
    metric: Any = None
    number: float = 0.0

    def reached(self, verdict: str, numbers: Mapping[str, float | None]) -> bool:
        """Whether evidence is good enough; a metric that could not be measured is not."""
        if self.verdict is not None:
            return ORDER.index(verdict) >= ORDER.index(self.verdict)
        value = numbers[self.metric.__name__]
        if value is None:
            return False
        return value <= self.number if self.metric.better == "lower" else value >= self.number


def limits(given: tuple[str, ...]) -> tuple[Limit, ...]:
    """What was asked for, each in its words.

    >>> [each.verdict for each in limits(("supported", "not-testable"))]
    ['supported', 'not testable']
    """
    return tuple(limit(each) for each in given)


def limit(text: str) -> Limit:
    """One verdict, number (of MuFidelity) or NAME=NUMBER; OptionError for anything else."""
    verdict = text.strip().lower().replace("-", " ")
    if verdict in ORDER:
        return Limit(text, verdict=verdict)
    name, equals, number = text.partition("=") if "=" in text else ("MuFidelity", "=", text)
    try:
        least = float(number)
    except ValueError:
        least = float("nan")
    if not (equals and least == least):
        got, near = repr(text), nearest(text, [each.replace(" ", "-") for each in ORDER])
        raise OptionError(expected="--fail-under with a verdict, or METRIC=NUMBER", got=got, do=near)
    return Limit(text, metric=metric(name.strip()), number=least)


def metric(name: str) -> Any:
    """The class of a metric that has a direction."""
    from pellucid.evaluate import metrics
    from pellucid.evaluate.metrics.measure import Metric

    found = {key: each for key, each in vars(metrics).items() if isinstance(each, type) and issubclass(each, Metric)}
    names = [key for key, each in found.items() if each is not Metric and each.better != "neither"]
    if name not in names:
        raise OptionError(expected="the name of a metric", got=repr(name), do=nearest(name, names))
    return found[name]
