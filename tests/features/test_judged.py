"""The evidence of synthesized pictures: planted reports get the verdict they deserve."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid as pl
from pellucid.demo import parts
from pellucid.features.honesty import Honesty, Path
from pellucid.features.judged import evidence_of


def report(reached: float, highest: float | None, control: float, own: float) -> Honesty:
    ones = np.ones((1, 4))
    path = None if highest is None else Path(layers=("a", "b", "c", "d"), own=own * ones, best=ones, others=0.3 * ones)
    known = {} if highest is None else {"highest": np.array([highest]), "where": (0,), "count": 9, "path": path}
    return Honesty(reached=np.array([reached]), control=np.array([control]), controls=("unit 2",), **known)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (report(5.0, 3.0, 1.0, 0.8), "supported"),
        (report(5.0, 3.0, 1.0, 0.1), "mixed"),
        (report(2.0, 3.0, 1.0, 0.8), "not supported"),
        (report(5.0, 3.0, 6.0, 0.8), "not supported"),
        (report(5.0, None, 1.0, 0.8), "not testable"),
    ],
)
def test_a_planted_report_gets_its_verdict(given: Honesty, verdict: str) -> None:
    evidence = evidence_of(given, 0)
    assert evidence.verdict == verdict
    assert len(evidence.checks) == 2
    assert evidence.words
    assert evidence.figure().rows


def test_check_takes_pictures_that_units_like() -> None:
    model, data = pl.load("demo:digits"), parts("digits").examples[:40]
    found = pl.visualize(model, [pl.Class(3), pl.Neuron("block1", channel=1)], steps=32, data=data)
    first, second = pl.check(found, model)
    assert first.check("activation").value == pytest.approx(float(found.score[0]))
    assert {first.verdict, second.verdict} <= {"supported", "mixed", "not supported"}
    assert pl.check(pl.visualize(model, 3, steps=2), model).verdict == "not testable"
