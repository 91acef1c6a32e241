"""Comparison: what comparing methods gives. Ranked by faithfulness; other columns stand beside, nothing is blended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.core.figure import Bars, Figure, Grid, Matrix, Sheet
from pellucid.core.method import Attributor
from pellucid.core.run import Receipt
from pellucid.evaluate.differences import Difference, Mean
from pellucid.evaluate.metrics.measure import Better

ASKED = {"faithfulness": "faithful", "weights": "uses weights", "stability": "stable"}
MOST_CHOSEN = 4
MOST_TOLD = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A metric of all methods: ``values`` (methods, inputs), NaN where not testable; means and paired differences."""

    name: str
    better: Better
    units: str
    values: np.ndarray
    means: tuple[Mean, ...]
    differences: tuple[Difference, ...]
    reasons: tuple[str, ...] = ()

    def order(self) -> list[int]:
        """Numbers of methods, the best mean first; those without one at the end."""
        sign = 1 if self.better == "lower" else -1
        keys = [sign * each.value if each.count else float("inf") for each in self.means]
        return sorted(range(len(keys)), key=lambda i: keys[i])

    def figure(self, names: tuple[str, ...], order: list[int], note: str = "") -> Bars:
        """The mean of each method with its 95 % interval."""
        shown = [self.means[i] for i in order]
        half = [(each.high - each.low) / 2 for each in shown]
        arrow = {"higher": "higher is better", "lower": "lower is better", "neither": "neither end is better"}
        return Bars(
            title=self.name,
            caption=note,
            alt=f"{self.name}: " + ", ".join(f"{names[i]} {self.means[i]}" for i in order),
            labels=tuple(names[i] for i in order),
            values=np.array([each.value for each in shown]),
            errors=np.nan_to_num(np.array(half)),
            signed=False,
            unit=f"{self.units}, {arrow[self.better]}",
        )


@dataclass(frozen=True)
class Passed:
    """The answers of a kind of check: ``answers`` (methods, inputs), None where it came to no judgment."""

    kind: str
    answers: tuple[tuple[bool | None, ...], ...]

    def rate(self, method: int) -> float:
        """The share of judged inputs that passed; NaN where none was judged."""
        known = [each for each in self.answers[method] if each is not None]
        return sum(known) / len(known) if known else float("nan")

    def words(self, method: int) -> str:
        """The same in words."""
        known = [each for each in self.answers[method] if each is not None]
        return f"{sum(known)} of {len(known)}" if known else "–"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Methods side by side on a model and data: ``scores`` (the first ranks), pass rates of checks, and cost.

    ``control`` (methods, inputs) is the agreement that wrong maps like a method's own reach in the mask bank, ``rows``
    and ``seconds`` what an explanation took, ``left_out`` the methods that could not be used and why.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> found = pl.compare(["Saliency", "ExactShapley"], net, torch.rand(3, 8))
        >>> len(found.ranking), len(found.scores[0].differences)
        (2, 1)
    """

    names: tuple[str, ...]
    methods: tuple[Attributor, ...]
    scores: tuple[Score, ...]
    passes: tuple[Passed, ...]
    control: np.ndarray
    rows: tuple[float, ...]
    seconds: tuple[float, ...]
    left_out: tuple[str, ...] = ()
    receipt: Receipt

    @property
    def ranking(self) -> tuple[str, ...]:
        """Names of methods, the most faithful first."""
        return tuple(self.names[i] for i in self.scores[0].order())

    @property
    def best(self) -> Attributor:
        """The most faithful method; see ``words`` for whether it can be told apart from the next."""
        return self.methods[self.scores[0].order()[0]]

    @property
    def equals(self) -> tuple[str, ...]:
        """Names of the methods that cannot be told apart from the best, itself included, in their order."""
        first = self.ranking[0]
        apart = {name for each in self.scores[0].differences if each.told_apart and first in (each.one, each.other)
                 for name in (each.one, each.other)}  # fmt: skip
        return tuple(name for name in self.ranking if name == first or name not in apart)

    def chosen(self, most: int = MOST_CHOSEN) -> tuple[Attributor, ...]:
        """The methods that cannot be told apart from the best, at most ``most``."""
        return tuple(self.methods[self.names.index(name)] for name in self.equals[:most])

    def difference(self, one: str, other: str, metric: str | None = None) -> Difference:
        """How much better ``one`` is than ``other`` by a metric, the ranking one without."""
        score = self.scores[0] if metric is None else next(each for each in self.scores if each.name == metric)
        found = next(each for each in score.differences if {each.one, each.other} == {one, other})
        return found if found.one == one else found.turned()

    def words(self) -> str:
        """Who is first, by how much, and who cannot be told apart from it."""
        score, first, inputs = self.scores[0], self.ranking[0], self.control.shape[1]
        best = score.means[self.names.index(first)]
        if not best.count:
            return f"nothing could be ranked by {score.name}: {score.reasons[0]}"
        text = f"{first} is first by {score.name}: {best} over {inputs} inputs"
        alike = self.equals[1:]
        if alike:
            more = f" and {len(alike) - MOST_TOLD} more" if len(alike) > MOST_TOLD else ""
            text += f"; it cannot be told apart from {', '.join(alike[:MOST_TOLD])}{more}"
        elif len(self.names) > 1:
            text += f"; better than {self.ranking[1]} by {self.lead()}"
        return text

    def lead(self) -> str:
        """How far the first is ahead of the second."""
        found = self.difference(*self.ranking[:2])
        return f"{found.mean}, p = {found.p_holm:.2g}"

    def figure(self) -> Grid:
        """A panel a metric, methods in the order of the ranking, and the share of inputs that passed each check."""
        order = self.scores[0].order()
        bars: list[Figure] = [self.scores[0].figure(self.names, order, self._note())]
        bars += [each.figure(self.names, order) for each in self.scores[1:]]
        passed = Matrix(
            title="Share of inputs that passed",
            values=np.array([[each.rate(i) for each in self.passes] for i in order]),
            row_names=tuple(self.names[i] for i in order),
            column_names=tuple(ASKED.get(each.kind, each.kind) for each in self.passes),
            limit=1.0,
            signed=False,
        )
        return Grid(title=self._headline(), figures=(*bars, passed), columns=2)

    def _headline(self) -> str:
        alike = self.equals[1:]
        text = f"{self.ranking[0]} is the most faithful of {len(self.names)} methods"
        return (
            f"{text}; {' and '.join(alike)} may be as good"
            if 0 < len(alike) <= 2
            else (f"{text}; {len(alike)} others may be as good" if alike else text)
        )

    def _note(self) -> str:
        known = self.control[np.isfinite(self.control)]
        wrong = f"Wrong maps get {known.mean():.1g}. " if len(known) and self.scores[0].name == "MuFidelity" else ""
        if not any(np.isfinite(each.low) for each in self.scores[0].means):
            return f"{wrong}Too few inputs for intervals."
        return f"{wrong}Whiskers: 95 % over {self.control.shape[1]} inputs."

    def table(self) -> Sheet:
        """One row a method, in the order of the ranking: means with intervals, checks passed, cost, who is equal."""
        arrows = {"higher": " ↑", "lower": " ↓", "neither": ""}
        header = ["method", *(each.name + arrows[each.better] for each in self.scores)]
        header += [*(ASKED.get(each.kind, each.kind) for each in self.passes), "rows an input", "told apart from first"]
        lines = []
        for i in self.scores[0].order():
            line = [self.names[i], *(str(each.means[i]) for each in self.scores)]
            line += [*(each.words(i) for each in self.passes), f"{self.rows[i]:.0f}"]
            first = self.names[i] == self.ranking[0]
            lines.append((*line, "first" if first else "no" if self.names[i] in self.equals else "yes"))
        silent = {f"{each.name}: {reason}" for each in self.scores for reason in each.reasons}
        notes = [self.words(), str(self.receipt), *sorted(silent), *(f"left out {each}" for each in self.left_out)]
        caption = ". ".join(notes)
        return Sheet(title="Methods compared", caption=caption, header=tuple(header), rows=tuple(lines))

    def to_frame(self) -> Any:
        """A pandas data frame: one row a method and input, one column a metric or check."""
        import pandas as pd

        return pd.DataFrame(
            {"method": name, "input": row}
            | {each.name: each.values[i, row] for each in self.scores}
            | {f"{each.kind} passed": each.answers[i][row] for each in self.passes}
            for i, name in enumerate(self.names)
            for row in range(self.control.shape[1])
        )

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def _repr_html_(self) -> str:
        return self.figure().html() + self.table().html()

    def __repr__(self) -> str:
        return f"{self.words()} · {self.receipt}"
