"""Evidence, laws and figures as data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pellucid.core import law
from pellucid.core.evidence import Check, Control, Evidence
from pellucid.core.figure import robust_limit

CHECK = Check(
    name="completeness",
    kind="exactness",
    question="Do the values add up?",
    value=0.01,
    better="lower",
    passed=True,
    reason="to 1 %",
    control=Control(kind="shifted", n=19, median=0.3, q95=0.6),
    p=0.05,
)


def test_checks_are_found_by_name_and_shown_as_rows() -> None:
    other = replace(CHECK, name="stability", passed=None, value=None, control=None, p=None, reason="not asked")
    evidence = Evidence(verdict="mixed", words="one of two", checks=(CHECK, other))
    assert evidence.check("stability") is other
    assert CHECK.testable
    assert not other.testable
    with pytest.raises((StopIteration, LookupError)):
        evidence.check("nothing")
    figure = evidence.figure()
    assert len(figure.rows) == 2
    assert all(len(row) == len(figure.header) for row in figure.rows)
    assert str(evidence).splitlines()[0] == "mixed: one of two"
    assert "completeness: to 1 %" in str(evidence)
    assert "<" in evidence._repr_html_()


def test_laws_have_different_names_and_say_what_they_promise() -> None:
    laws = [each for each in vars(law).values() if isinstance(each, law.Law)]
    assert len({each.name for each in laws}) == len(laws) >= 5
    assert all(each.words.endswith(".") for each in laws)


def test_the_limit_of_a_color_scale() -> None:
    assert robust_limit(np.zeros(5)) == 1.0
    assert robust_limit(np.array([])) == 1.0
    assert robust_limit(np.array([np.nan, np.inf, -2.0]), 1.0) == 2.0
    assert robust_limit(np.array([0.0] * 1000 + [3.0])) == 3.0
    assert 0 < robust_limit(np.array([1e-300])) <= 1e-300
    many = np.concatenate([np.ones(1000), [1e6]])
    assert robust_limit(many) < 10
