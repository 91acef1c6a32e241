"""From checks to a verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.evidence import Check
from pellucid.evaluate.verdict import holm, verdict


def made(kind: str, passed: bool | None) -> Check:
    words: dict[str, Any] = {"question": "?", "value": 0.5, "better": "higher", "reason": f"reason of {kind}"}
    return Check(name=kind, kind=kind, passed=passed, **words)


@pytest.mark.parametrize(
    ("faithful", "weights", "stability", "complete", "wanted"),
    [
        (True, True, True, True, "supported"),
        (True, True, None, None, "supported"),
        (True, None, True, None, "supported"),
        (True, None, None, True, "not testable"),  # adding up does not count as a second kind
        (True, False, True, True, "mixed"),
        (True, True, False, True, "mixed"),
        (True, True, True, False, "mixed"),
        (False, True, True, True, "not supported"),
        (False, None, None, None, "not supported"),
        (None, True, True, True, "not testable"),
        (None, None, None, None, "not testable"),
        (None, False, True, None, "not supported"),
    ],
)
def test_every_case(
    faithful: bool | None, weights: bool | None, stability: bool | None, complete: bool | None, wanted: str
) -> None:
    answers = {"completeness": complete, "faithfulness": faithful, "weights": weights, "stability": stability}
    found, words = verdict([made(kind, passed) for kind, passed in answers.items()])
    assert found == wanted
    assert words.endswith(".")
    if wanted in ("not supported", "mixed"):
        failed = [kind for kind, passed in answers.items() if passed is False]
        assert any(kind in words for kind in failed), "the reason is said"


def test_no_checks_are_no_verdict() -> None:
    assert verdict([])[0] == "not testable"


def step_down(ps: list[float]) -> list[float]:
    """Holm, from the definition: reject the k smallest while p_(j) ≤ α / (m − j + 1) for all j ≤ k."""
    ordered = sorted(ps)
    return [max(min(1, (len(ps) - j) * each) for j, each in enumerate(ordered) if each <= p) for p in ps]


@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.03, 0.2, 0.7, 1.0]), min_size=1, max_size=8))
def test_holm(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(step_down(ps))


def test_one_p_stays_as_it_is() -> None:
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
