"""What is known about an explanation: checks, each with its control, and a verdict.

A verdict needs two independent kinds of check. Nothing is blended into a score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pellucid.core.figure import Sheet

Verdict = Literal["supported", "mixed", "not supported", "not testable"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """What the value was compared with: ``n`` values of the same statistic for explanations known to be wrong.

    Example:
        >>> Control(kind="the same map moved elsewhere", n=999, median=0.02, q95=0.31).n
        999
    """

    kind: str
    n: int
    median: float
    q95: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question put to an explanation and its answer.

    ``passed`` is None when the check describes but does not judge, or could not be made (``reason`` says why).
    ``kind`` groups checks that fail for the same reason; a verdict needs two kinds.

    Example:
        >>> check = Check(name="c", kind="k", question="Is it?", value=0.1, better="lower", passed=True, reason="it is")
        >>> check.testable
        True
    """

    name: str
    kind: str
    question: str
    value: float | None
    better: Literal["higher", "lower", "neither"]
    passed: bool | None
    reason: str
    interval: tuple[float, float] | None = None
    control: Control | None = None
    p: float | None = None
    p_holm: float | None = None
    rows: int = 0
    hidden_by: str = ""
    cannot_show: str = ""
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def testable(self) -> bool:
        """Whether the check came to a judgment."""
        return self.passed is not None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The checks of one explanation, the verdict they give, and the line that reproduces them.

    Example:
        >>> print(Evidence(verdict="not testable", words="the map is constant", checks=()))
        not testable: the map is constant
    """

    verdict: Verdict
    words: str
    checks: tuple[Check, ...]
    reproduce: str = ""
    seed: int = 0
    model_hash: str = ""
    input_hash: str = ""
    version: str = ""

    @property
    def rows(self) -> int:
        """Rows that went through the model for this evidence; what is shared is counted where it was first needed."""
        return sum(each.rows for each in self.checks)

    def check(self, name: str) -> Check:
        """The check of that name."""
        return next(each for each in self.checks if each.name == name)

    def figure(self) -> Sheet:
        """One row a check: question, value, control, p, answer."""
        rows = tuple(
            (
                each.question,
                "–" if each.value is None else f"{each.value:.3g}",
                "–" if each.control is None else f"{each.control.median:.3g} (95 % below {each.control.q95:.3g})",
                "–" if each.p is None else f"{each.p:.3g}",
                {True: "yes", False: "no", None: "–"}[each.passed],
                each.reason,
            )
            for each in self.checks
        )
        header = ("question", "value", "control", "p", "passed", "in words")
        return Sheet(title=f"Evidence: {self.verdict}", caption=self.words, header=header, rows=rows)

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.words}"]
        marks = {True: "+", False: "-", None: " "}
        return "\n".join(lines + [f"  {marks[each.passed]} {each.name}: {each.reason}" for each in self.checks])
