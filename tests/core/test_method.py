"""Methods as descriptions: options with bounds, notes, and what a question binds."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pellucid as pl
from pellucid import catalogue
from pellucid.core.law import COMPLETE, completeness_gap
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.errors import DtypeError, MethodError, NonFiniteError, OptionError
from tests.nets import BY_NAME
from tests.small import NAMES

# Options that only make sense beside another one.
BESIDE = {(name, option): {"composite": "gamma"} for name in ("LRP", "CRP") for option in ("gamma",)}


@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked_when_they_are_given(name: str) -> None:
    kind = catalogue.find(name)
    for each in fields(kind):
        above, least, choices = (each.metadata.get(key) for key in ("above", "at_least", "choices"))
        wrong: list[Any] = []
        if above is not None:
            wrong += [above, above - 1, "many", True, float("nan")]
        if least is not None:
            wrong += [least - 1, "many", True]
            wrong += [] if "float" in str(each.type) else [least + 0.5]
        if choices:
            wrong += ["something else", None]
        for value in wrong:
            with pytest.raises(OptionError) as caught:
                kind(**{each.name: value})
            assert each.name in caught.value.expected
            assert caught.value.do
        if least is not None:
            kind(**BESIDE.get((name, each.name), {}), **{each.name: np.int64(least + 1)})


@pytest.mark.parametrize("name", NAMES)
def test_methods_cannot_be_changed_and_refuse_unknown_options(name: str) -> None:
    method = catalogue.find(name)()
    with pytest.raises(FrozenInstanceError):
        method.anything = 1
    with pytest.raises(TypeError):
        catalogue.find(name)(stepz=3)


def test_unknown_methods_are_answered_with_near_names() -> None:
    with pytest.raises(MethodError, match="'KernelSHAP'"):
        catalogue.entry("KernalShap")
    assert catalogue.entry("kernelshap").name == "KernelSHAP"
    with pytest.raises(AttributeError, match="'Saliency'"):
        _ = pl.Salency


@dataclass(frozen=True, kw_only=True)
class Halves(Attributor):
    """A method of a test's own."""

    share: float = option(0.5, above=0, help="what is given")

    def attribute(self, ask: Probe) -> Found:
        return Found(ask.inputs * self.share, base_score=torch.zeros_like(ask.score), notes=("half",), extra={"a": 1})


def test_a_method_of_your_own_is_a_few_lines() -> None:
    given = torch.rand(2, 5, dtype=torch.float64)
    result = Halves()(BY_NAME["mlp"].net(), given)
    assert torch.equal(result.values, given / 2)
    assert result.notes == ("half",)
    assert result.extra == {"a": 1}
    assert result.gap is None  # completeness was not promised
    inside = Halves()(BY_NAME["mlp"].net(), given, at="1")
    assert inside.values.shape == (2, 6)


def test_values_that_are_not_finite_are_an_error() -> None:
    class Root(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt().sum(1, keepdim=True)

    with pytest.raises(NonFiniteError, match="sqrt"):
        pl.Saliency()(Root(), torch.zeros(1, 3))


def test_what_is_no_model() -> None:
    for wrong in (None, 3, "resnet", lambda x: x, torch.rand(2)):
        with pytest.raises(DtypeError) as caught:
            pl.Saliency()(wrong, torch.rand(1, 3))
        assert "BlackBox" in caught.value.do


def test_the_gap_is_relative_and_nothing_over_nothing_is_nothing() -> None:
    values = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    gap = completeness_gap(values, torch.tensor([3.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(gap, torch.tensor([1 / 3, 0.0, 0.0], dtype=torch.float64))
    assert COMPLETE.name == "complete"
