"""Every method of the catalogue carries evidence: checks with a verdict, or the reason why there can be none."""

from __future__ import annotations

from pathlib import Path

import pytest

import pellucid as pl
from pellucid import catalogue
from pellucid.demo import parts
from tests.small import small

ROOT = Path(__file__).parents[2]
VERDICTS = {"supported", "mixed", "not supported", "not testable"}
NO_MAPS = {"AttentionWeights", "AttentionNorms"}


@pytest.mark.parametrize("name", [row.name for row in catalogue.METHODS])
def test_a_method_of_the_catalogue_carries_evidence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import pictures

    demo = pictures.demo_of(catalogue.entry(name))
    model, example = pl.load(f"demo:{demo}"), parts(demo).examples[3:4]
    evidence = pl.check(small(name)(model, example, at=pictures.AT.get(name)), model)
    assert evidence.verdict in VERDICTS
    assert evidence.words
    if name in NO_MAPS:
        assert (evidence.verdict, evidence.checks) == ("not testable", ())
    else:
        assert len({check.kind for check in evidence.checks}) >= 2
        assert evidence.check("faithfulness").control is not None
