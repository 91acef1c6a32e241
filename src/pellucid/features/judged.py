"""The evidence of a synthesized picture: its report of honesty as checks, with a verdict."""

from __future__ import annotations

import numpy as np

from pellucid.core.evidence import Check, Control, Evidence, Verdict
from pellucid.features.honesty import Honesty, Path

NATURAL = 0.5
"""The share of layers at which a picture must be closer to the best natural inputs than any natural inputs are."""

DATA = "no natural inputs were given (data=…), so there is nothing to hold it against"


def evidence_of(honesty: Honesty, row: int) -> Evidence:
    """Checks of one picture: what it reaches, and the way it takes there."""
    checks = (reaching(honesty, row), passing(honesty.path, row))
    verdict = verdict_of(checks)
    reasons = [check.reason for check in checks]
    words = "; ".join(dict.fromkeys(reasons))
    return Evidence(verdict=verdict, words=words[:1].upper() + words[1:] + ".", checks=checks)


def verdict_of(checks: tuple[Check, Check]) -> Verdict:
    """Support needs both; a picture that does not excite its unit more than others shows nothing."""
    reached, natural = (check.passed for check in checks)
    if reached is None:
        return "not testable"
    if not reached:
        return "not supported"
    return "supported" if natural else "mixed"


def reaching(honesty: Honesty, row: int) -> Check:
    """Whether the picture excites its unit more than natural inputs, and than a picture made for another unit."""
    value, passed, reason, control = float(honesty.reached[row]), None, DATA, None
    if honesty.highest is not None:
        top = float(honesty.highest[row])
        passed, reason = value > top, f"it reaches {value:.3g}, the highest of {honesty.count} natural inputs {top:.3g}"
        if honesty.control is not None and np.isfinite(honesty.control[row]):
            other = float(honesty.control[row])
            passed, control = (
                passed and value > other,
                Control(kind=honesty.controls[row], n=1, median=other, q95=other),
            )
            reason += f", a picture made for {honesty.controls[row]} {other:.3g}"
    return Check(
        name="activation",
        kind="activation",
        question="Does it excite the unit more than natural inputs do, and than a picture made for another one?",
        value=value,
        better="higher",
        passed=passed,
        reason=reason,
        control=control,
        cannot_show="that the unit stands for what a person sees in the picture",
        source="Olah, Mordvintsev & Schubert 2017",
    )


def passing(path: Path | None, row: int) -> Check:
    """Whether the picture goes through the layers as natural inputs do."""
    value, passed, reason = None, None, DATA
    if path is not None:
        like = path.own[row] >= path.others[row]
        value = float(np.mean(like))
        passed = value >= NATURAL
        reason = f"at {int(like.sum())} of {len(like)} layers it is as close to the best natural inputs as any are"
    return Check(
        name="path",
        kind="path",
        question="Does it take a natural way through the layers?",
        value=value,
        better="higher",
        passed=passed,
        reason=reason,
        source="Geirhos et al. 2023, arXiv:2306.04719",
    )
