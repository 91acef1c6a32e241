"""The bundled models come with what they read, and are right about their own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import LoadError, OptionError
from pellucid.load.demos import NAMES

KINDS = {"digits": "image", "breast-cancer": "table", "diabetes": "table", "sentences": "text"}


def some(examples: Any, most: int = 40) -> Any:
    return examples[:most]


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_knows_what_it_reads(name: str) -> None:
    demo, model = parts(name), pl.load(f"demo:{name}")
    assert model.modality.kind == KINDS[name]
    assert model.classes == (None if demo.classes is None else tuple(demo.classes))
    answer = model(some(demo.examples))
    truth = np.asarray(demo.labels)[: len(answer)]
    if demo.classes is None:
        assert np.corrcoef(answer.values.numpy().ravel(), truth)[0, 1] > 0.5
    else:
        assert (np.asarray(answer.index) == truth).mean() >= 0.9


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
