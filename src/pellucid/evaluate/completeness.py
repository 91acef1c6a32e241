"""Completeness: values that claim to add up are added up."""

from __future__ import annotations

import torch

from pellucid.core.evidence import Check
from pellucid.core.law import COMPLETE, completeness_gap
from pellucid.evaluate.question import Case, untested
from pellucid.evaluate.thresholds import COMPLETE_WITHIN

NAME = KIND = "completeness"
ASKED = "Do the values add up to the difference they claim to divide?"
CANNOT = "A wrong explanation can add up, too: it says nothing on where the values lie."
SOURCE = "Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3"


def completeness(case: Case) -> Check:
    """|Σ aᵢ − (f(x) − f(b))| / |f(x) − f(b)|, where the method claims completeness; it can only speak against."""
    rest = {"better": "lower", "cannot_show": CANNOT, "source": SOURCE}
    if case.note is None or COMPLETE.name not in case.note.laws or case.base_score is None:
        return untested(NAME, KIND, ASKED, "not claimed for this explanation", **rest)
    score = case.question.bank.full
    base = torch.tensor([case.base_score], dtype=torch.float64)
    gap = float(completeness_gap(case.values[None], torch.tensor([score], dtype=torch.float64), base)[0])
    difference = score - case.base_score
    if abs(difference) <= case.question.bank.noise:
        reason = f"there is no difference to divide: {score:.4g} here, {case.base_score:.4g} at the baseline"
        return untested(NAME, KIND, ASKED, reason, **rest)
    passed = gap <= COMPLETE_WITHIN
    total = float(case.values.sum())
    words = "add" if passed else "do not add"
    return Check(
        name=NAME,
        kind=KIND,
        question=ASKED,
        value=gap,
        better="lower",
        passed=passed,
        reason=f"the values {words} up: {total:.4g} of {difference:.4g} ({100 * gap:.2g} % missed)",
        cannot_show=CANNOT,
        source=SOURCE,
        options={"allowed": COMPLETE_WITHIN},
    )
