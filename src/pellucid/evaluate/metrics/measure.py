"""What metrics share: a case in, one number out, or the reason why there is none; what several need is asked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np

from pellucid.core.figure import Sheet
from pellucid.core.method import as_studied, check_option
from pellucid.core.run import undisturbed
from pellucid.errors import EmptyError
from pellucid.evaluate.check import cases_of
from pellucid.evaluate.intake import Given, several, taken
from pellucid.evaluate.question import Case

NO_MAP = "its values are not one for each part of the input"
Better = Literal["higher", "lower", "neither"]


class Untestable(Exception):
    """Nothing can be measured here; ``reason`` says why, in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Frozen options and one verb, ``measure``: a number for one explanation of one row, or ``Untestable``.

    What several explanations or metrics can share (the mask bank, predictions along a curve, scrambled models) is made
    with ``case.question.once(name, make)``, and what belongs to the model with ``case.question.common``.
    """

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    units: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            check_option(type(self).__name__, each, getattr(self, each.name))

    def measure(self, case: Case) -> float:
        """The number for one explanation of one row."""
        raise NotImplementedError

    def __call__(self, explanation: Any, model: Any, inputs: Any = None, target: Any = None) -> Any:
        """Measure one explanation, or a list of explanations of the same inputs."""
        table = measure(explanation, model, inputs, target, metrics=[self])
        return [each[0] for each in table.measured] if isinstance(explanation, list) else table.measured[0][0]


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of one explanation: ``values`` (rows,), NaN where it cannot be measured; ``reasons`` say why."""

    name: str
    values: np.ndarray
    reasons: tuple[str, ...]
    better: Better
    units: str = ""

    @property
    def value(self) -> float | None:
        """The mean over the rows that could be measured; None where there is none."""
        known = self.values[np.isfinite(self.values)]
        return float(known.mean()) if len(known) else None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name}: not testable, {self.reasons[0]}"
        return f"{self.name}: {self.value:.3g}" + ("" if self.better == "neither" else f" ({self.better} is better)")


@dataclass(frozen=True, eq=False)
class Measurements:
    """Metrics (columns) of explanations (rows): ``measured[explanation][metric]``; what was asked in all: ``rows``."""

    names: tuple[str, ...]
    measured: tuple[tuple[Measured, ...], ...]
    rows: int

    def figure(self) -> Sheet:
        """One row an explanation, one column a metric."""
        arrows = {"higher": " ↑", "lower": " ↓", "neither": ""}
        header = ("explanation", *(each.name + arrows[each.better] for each in self.measured[0]))
        lines = [
            (name, *("–" if each.value is None else f"{each.value:.3g}" for each in row))
            for name, row in zip(self.names, self.measured, strict=True)
        ]
        silent = {f"{each.name}: {each.reasons[0]}" for row in self.measured for each in row if each.value is None}
        return Sheet(title="Metrics", caption="; ".join(sorted(silent)), header=header, rows=tuple(lines))

    def to_frame(self) -> Any:
        """A pandas data frame: one row an explanation and input row, one column a metric."""
        import pandas as pd

        lines = [
            {"explanation": name, "row": i} | {each.name: each.values[i] for each in row}
            for name, row in zip(self.names, self.measured, strict=True)
            for i in range(len(row[0].values))
        ]
        return pd.DataFrame(lines)

    def _repr_html_(self) -> str:
        return self.figure().html()


def measure(
    explanation: Any,
    model: Any,
    inputs: Any = None,
    target: Any = None,
    *,
    metrics: Sequence[Metric],
    fill: Any = None,
) -> Measurements:
    """Measure one explanation, or a list of them, by several metrics.

    ``explanation`` is a method's result or a list of results; or values from elsewhere, then with ``inputs`` and
    ``target``. ``fill`` hides parts in another way than usual. Metrics of the same row share what they ask of the
    model: one bank of masks, one set of curves, one pair of scrambled models.

    Raises: ShapeError, NonFiniteError, DtypeError for values that cannot be a map of these inputs; EmptyError.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(8, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2, 4.0, -0.7])
        >>> heat = pl.InputXGradient()(net, torch.ones(1, 8))
        >>> print(pl.measure(heat, net, metrics=[pl.metrics.MuFidelity()]).measured[0][0])
        MuFidelity: 1 (higher is better)
    """
    studied = as_studied(model)
    listed = list(explanation) if several(explanation) else [explanation]
    if not listed or not metrics:
        raise EmptyError(expected="an explanation and a metric", got="none", do="Pass some of each.")
    with undisturbed():
        given = [taken(each, studied, inputs, target) for each in listed]
        common: dict[str, Any] = {"model hash": studied.fingerprint()}
        columns = [[Column(metric) for metric in metrics] for _ in given]
        rows = 0
        for row in range(max(each.leaves.batch for each in given)):
            here = [i for i, each in enumerate(given) if row < each.leaves.batch]
            cases = cases_of([given[i] for i in here], row, studied, "quick", fill, common)
            for i, case in zip(here, cases, strict=True):
                for column in columns[i]:
                    column.add(case)
            rows += sum({id(case.question): case.question.asked for case in cases if case is not None}.values())
    measured = tuple(tuple(column.done() for column in row) for row in columns)
    return Measurements(tuple(name_of(each, i) for i, each in enumerate(given)), measured, rows)


class Column:
    """One metric of one explanation, row by row."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.values: list[float] = []
        self.reasons: list[str] = []

    def add(self, case: Case | None) -> None:
        """Measure one more row."""
        try:
            if case is None:
                raise Untestable(NO_MAP)
            value = float(self.metric.measure(case))
            if not np.isfinite(value):
                raise Untestable("the number is not finite")
            self.values.append(value)
        except Untestable as error:
            self.values.append(float("nan"))
            self.reasons.append(error.reason)

    def done(self) -> Measured:
        """All rows."""
        name, better = type(self.metric).__name__, self.metric.better
        return Measured(name, np.asarray(self.values), tuple(dict.fromkeys(self.reasons)), better, self.metric.units)


def name_of(given: Given, number: int) -> str:
    """What an explanation is called in a table."""
    return given.note.name if given.note is not None else f"explanation {number + 1}"
