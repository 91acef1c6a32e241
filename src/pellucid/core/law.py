"""Laws: what a method promises. One object, three readers: the docs, the test suite and each run's evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

GapOf = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Law:
    """A promise: its name, its words, and how far a run is from keeping it, where that can be measured.

    ``gap(values, score, base_score)`` gives (batch,) relative violations.
    """

    name: str
    words: str
    gap: GapOf | None = None


def completeness_gap(values: Tensor, score: Tensor, base_score: Tensor) -> Tensor:
    """|Σ aᵢ − (f(x) − f(b))| / |f(x) − f(b)|, per example; 0/0 is 0."""
    claimed = score.double() - base_score.double()
    missed = (values.double().flatten(1).sum(1) - claimed).abs()
    scale = claimed.abs().clamp_min(1e-12 * (1 + score.double().abs()))
    return missed / scale


COMPLETE = Law("complete", "The values add up to f(x) − f(baseline).", completeness_gap)
DUMMY = Law("dummy", "A part the model never looks at gets exactly zero.")
LINEAR = Law("linear", "The explanation of a sum of targets is the sum of their explanations.")
SYMMETRIC = Law("symmetric", "Two parts that play the same role get the same value.")
SENSITIVE = Law("sensitive", "The values follow the target: scaling the target scales them.")
