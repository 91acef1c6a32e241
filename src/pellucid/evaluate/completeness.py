"""Completeness: values that claim to add up are added up."""

from __future__ import annotations

import torch

from pellucid.core.evidence import Check
from pellucid.core.law import COMPLETE, completeness_gap
from pellucid.evaluate.asked import Asked
from pellucid.evaluate.question import Case
from pellucid.evaluate.thresholds import COMPLETE_WITHIN

COMPLETENESS = Asked(
    name="completeness",
    kind="completeness",
    question="Do the values add up to the difference they claim to divide?",
    better="lower",
    cannot_show="Where the values lie: a wrong explanation can add up, too.",
    source="Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3",
)


def completeness(case: Case) -> Check:
    """|Σ aᵢ − (f(x) − f(b))| / |f(x) − f(b)|, where the method claims completeness; it can only speak against."""
    if case.note is None or COMPLETE.name not in case.note.laws or case.base_score is None:
        return COMPLETENESS.untested("not claimed for this explanation")
    score, base = case.question.bank.full, case.base_score
    if abs(score - base) <= case.question.bank.noise:
        return COMPLETENESS.untested(f"there is no difference to divide: {score:.4g} here and at the baseline")
    one, other = (torch.tensor([each], dtype=torch.float64) for each in (score, base))
    gap = float(completeness_gap(case.values[None], one, other)[0])
    words = "its values add up" if gap <= COMPLETE_WITHIN else "its values do not add up as they claim to"
    return COMPLETENESS.answered(
        value=gap,
        passed=gap <= COMPLETE_WITHIN,
        reason=f"{words}: {float(case.values.sum()):.4g} of {score - base:.4g}, {100 * gap:.2g} % missed",
        options={"allowed": COMPLETE_WITHIN},
    )
