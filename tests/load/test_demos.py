"""The bundled models come with what they read, and are right about their own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.demo import NAMES, parts
from pellucid.errors import LoadError, OptionError

KINDS = {"digits": "image", "breast-cancer": "table", "diabetes": "table", "sentences": "text"}


def measured(answer: Any, truth: Any) -> float:
    """Accuracy; R² for values."""
    truth = np.asarray(truth)
    if hasattr(answer, "index"):
        return float((np.asarray(answer.index) == truth).mean())
    error = answer.values.numpy().ravel() - truth
    return 1 - float((error**2).mean() / truth.var())


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_knows_what_it_reads_and_reaches_its_score(name: str) -> None:
    demo, model = parts(name), pl.load(f"demo:{name}")
    assert model.modality.kind == KINDS[name]
    assert model.classes == demo.classes
    answer = model(demo.examples)
    assert len(answer) == len(demo.labels)
    assert measured(answer, demo.labels) == pytest.approx(demo.score, abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_is_the_same_twice_and_takes_no_options(name: str) -> None:
    assert pl.load(f"demo:{name}").fingerprint() == pl.load(f"demo:{name}").fingerprint()
    with pytest.raises(OptionError, match="depth"):
        pl.load(f"demo:{name}", depth=3)


def test_what_the_caller_says_goes_first() -> None:
    model = pl.load("demo:digits", classes=[f"digit {i}" for i in range(10)])
    assert model.classes is not None
    assert model.classes[3] == "digit 3"


def test_a_demo_that_is_none() -> None:
    with pytest.raises(LoadError, match="Near: 'digits'"):
        pl.load("demo:digit")
