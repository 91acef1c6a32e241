"""The laws a method declares hold. A law that is declared and not tested here is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid import catalogue
from pellucid.core.law import completeness_gap
from tests.laws.test_runs import same
from tests.nets import BY_NAME, Case, FirstOnly
from tests.small import EVERY, FINE, NEED_AT, SMALL, at_of, case_of, fits, small

# GuidedIG always moves where the slope is small: on networks of flat pieces it slides along their edges, and its gap
# does not shrink with the steps. It is a property of the path, told by ``gap``; smooth networks are complete.
SMOOTH_ONLY = {"GuidedIG"}


def field_of(name: str, case_names: tuple[str, ...]) -> Case:
    """The first of some cases that the method reads."""
    return next(BY_NAME[each] for each in case_names if fits(name, BY_NAME[each]))


def fixed(name: str, **sizes: int) -> Any:
    """With every number of steps fixed: nodes that stop at a tolerance depend on the target."""
    kind = catalogue.find(name)
    options = {each.name: 16 for each in fields(kind) if each.name == "steps" and each.default is None}
    return small(name, SMALL | sizes, **options)


def complete(name: str) -> None:
    """The sum is the score less that of the baseline; the gap that a result claims is that of its values."""
    for case in (BY_NAME["cnn"], BY_NAME["series"], BY_NAME["mlp"], BY_NAME["attention"], BY_NAME["ids"]):
        if not fits(name, case) or (name in SMOOTH_ONLY and case.name in ("cnn", "series")):
            continue
        result = small(name, FINE)(case.model(), case.given(), at=at_of(name, case))
        assert result.gap is not None
        assert result.base_score is not None
        values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
        same(result.gap, completeness_gap(values, result.score, result.base_score))
        missed = values.flatten(1).sum(1) - (result.score - result.base_score)
        assert float(missed.abs().max()) < 0.02 * float(values.abs().flatten(1).sum(1).max()), case.name


def dummy(name: str) -> None:
    """A part that is never looked at gets exactly nothing."""
    torch.manual_seed(3)
    net, given = FirstOnly().double(), torch.rand(3, 6, dtype=torch.float64) + 0.5
    values = small(name)(net, given).values
    assert float(values[:, 3:].abs().max()) < 1e-12
    assert float(values[:, :3].abs().max()) > 1e-6


def dummy_when_flat(name: str) -> None:
    """Also where the function is flat for a while: the part that is looked at gets the whole of it."""
    late = pl.Function(lambda x: torch.relu(x[:, 0] - 0.5) + torch.relu(x[:, 0] - 0.9))
    net = torch.nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(3))
    values = small(name)(net, torch.tensor([[1.3, 2.0, -1.0]], dtype=torch.float64), target=late).values
    assert float(values[:, 1:].abs().max()) < 1e-12


def linear(name: str) -> None:
    """The explanation of a sum of targets is the sum of their explanations."""
    for case in (BY_NAME["cnn"], BY_NAME["mlp"], BY_NAME["ids"]):
        if fits(name, case) and not (name == "Saliency" and case.name == "ids"):  # norms of tokens do not add
            method, at = fixed(name), at_of(name, case)
            if getattr(method, "folding", "sum") == "norm" and case.name == "ids":
                continue
            one, two, both = (
                method(case.model(), case.given(), target=target, at=at).values
                for target in (pl.Class(0), pl.Class(2), 2.0 * pl.Class(0) - 0.5 * pl.Class(2))
            )
            total = torch.utils._pytree.tree_map(lambda a, b: 2.0 * a - 0.5 * b, one, two)
            same(both, total, 1e-7)


def symmetric(name: str) -> None:
    """Two parts that play the same role get the same value."""
    torch.manual_seed(5)
    net = BY_NAME["mlp"].net()
    with torch.no_grad():
        net[0].weight[:, 1] = net[0].weight[:, 3]
    given = torch.rand(3, 5, dtype=torch.float64)
    given[:, 1] = given[:, 3]
    values = small(name)(net, given).values
    same(values[:, 1], values[:, 3], 1e-9)
    assert float((values[:, 0] - values[:, 1]).abs().min()) > 1e-6


def sensitive(name: str) -> None:
    """Values follow the size of the target."""
    case = field_of(name, ("mlp", "cnn"))
    one, three = (
        fixed(name)(case.model(), case.given(), target=target, at=at_of(name, case)).values
        for target in (pl.Class(1), 3.0 * pl.Class(1))
    )
    same(three, 3 * one, 1e-7)


LAWS: dict[str, tuple[Callable[[str], None], ...]] = {
    "complete": (complete,),
    "dummy": (dummy, dummy_when_flat),
    "linear": (linear, sensitive),
    "symmetric": (symmetric,),
    "sensitive": (sensitive,),
}

PROMISES = [(name, law.name) for name in EVERY for law in catalogue.find(name).laws]


@pytest.mark.parametrize(("name", "law"), PROMISES)
def test_a_declared_law_holds(name: str, law: str) -> None:
    assert law in LAWS, f"write a test for the law {law!r}"
    for check in LAWS[law]:
        if name in NEED_AT and check is not complete:
            check_inside(name, check)
        else:
            check(name)


def check_inside(name: str, check: Callable[[str], None]) -> None:
    """For a method that must be asked at a layer, the laws about inputs are skipped, that about targets is not."""
    if check in (linear, sensitive):
        check(name)


@pytest.mark.parametrize("name", EVERY)
def test_a_result_names_the_laws_and_says_its_gap_where_completeness_is_claimed(name: str) -> None:
    case = case_of(name)
    result = small(name)(case.model(), case.given(), at=at_of(name, case))
    laws = tuple(law.name for law in catalogue.find(name).laws)
    assert result.method.laws == laws
    assert (result.gap is not None) == ("complete" in laws)
    assert result.method.name == name
    assert result.method.paper == catalogue.entry(name).paper
