"""Verdict: supported, mixed, not supported or not testable, from the checks alone; nothing is blended into a score.

Support needs the faithfulness check and a check of another kind, and none that failed. One honest failure of the
faithfulness check is enough to say *not supported*: the map does no better than maps known to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.core.evidence import Check, Verdict
from pellucid.evaluate.thresholds import KINDS

WORST_FIRST: tuple[Verdict, ...] = ("not supported", "not testable", "mixed", "supported")
"""The order in which a build or a test may ask for verdicts."""


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm 1979): the smallest times m, the next times m − 1, …

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, ps[i] * (len(ps) - rank)))
        corrected[i] = largest
    return corrected


def verdict(checks: Sequence[Check]) -> tuple[Verdict, str]:
    """The verdict and the reason for it, in words."""
    faithful = next((check for check in checks if check.kind == KINDS[0]), None)
    failed = [check for check in checks if check.passed is False]
    if faithful is not None and faithful.passed is False:
        return "not supported", sentence(faithful.reason)
    if faithful is None or faithful.passed is None:
        return without_faithfulness(faithful, failed)
    if failed:
        return "mixed", sentence(faithful.reason) + " But " + "; ".join(check.reason for check in failed) + "."
    others = [check for check in checks if check.passed and check.kind in KINDS[1:]]
    if not others:
        reasons = "; ".join(f"{check.name}: {check.reason}" for check in checks if check.kind in KINDS[1:])
        return "not testable", sentence(faithful.reason) + f" But one kind of check is not enough ({reasons})."
    return "supported", sentence(faithful.reason) + " " + " ".join(sentence(check.reason) for check in others)


def without_faithfulness(faithful: Check | None, failed: Sequence[Check]) -> tuple[Verdict, str]:
    """Nothing can be supported; what failed still speaks against it."""
    if failed:
        return "not supported", sentence("; ".join(check.reason for check in failed))
    return "not testable", sentence("no check was made" if faithful is None else faithful.reason)


def sentence(words: str) -> str:
    """Words with a capital and a full stop."""
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
