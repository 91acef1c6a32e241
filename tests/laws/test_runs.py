"""Laws of a run: budget-free, companion-free, repeatable, cancellable; they hold for every method of the catalogue."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import pellucid as pl
from pellucid.errors import Cancelled
from tests.nets import BY_NAME, Case
from tests.small import EVERY, NAMES, at_of, case_of, has, pairs, small
from tests.traces import differences, marks


def same(one: Any, other: Any, rtol: float = 1e-8) -> None:
    """Equal trees of tensors, to ``rtol`` of the largest value."""
    mine, yours = pytree.tree_leaves(one), pytree.tree_leaves(other)
    assert len(mine) == len(yours)
    for a, b in zip(mine, yours, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * float(b.abs().max()) + 1e-14)


def rows_of(tree: Any, rows: list[int]) -> Any:
    return pytree.tree_map(lambda x: x[rows], tree)


def run(name: str, case: Case, given: Any = None, **settings: Any) -> pl.Attribution:
    """A method on a freshly bound case."""
    with pl.settings(**settings):
        return small(name)(case.model(), case.given() if given is None else given, at=at_of(name, case))


@pytest.mark.parametrize(("name", "case"), pairs())
def test_values_do_not_depend_on_the_memory_budget(name: str, case: str) -> None:
    tiny, large = run(name, BY_NAME[case], memory=1), run(name, BY_NAME[case], memory="4 GB")
    same(tiny.values, large.values, 1e-6)
    same(tiny.score, large.score, 1e-9)
    assert tiny.receipt.rows_forward == large.receipt.rows_forward
    assert tiny.receipt.rows_backward == large.receipt.rows_backward


@pytest.mark.parametrize(("name", "case"), pairs())
def test_a_row_alone_gets_what_it_gets_in_a_batch(name: str, case: str) -> None:
    together = run(name, BY_NAME[case])
    for row in range(3):
        alone = run(name, BY_NAME[case], rows_of(BY_NAME[case].given(), [row]))
        same(alone.values, rows_of(together.values, [row]), 1e-7)
        same(alone.score, together.score[row : row + 1], 1e-9)
        for extra in ("base_score", "standard_error"):
            if getattr(together, extra) is not None:
                same(getattr(alone, extra), rows_of(getattr(together, extra), [row]), 1e-6)


@pytest.mark.parametrize(("name", "case"), pairs("cnn", "mlp", "ids", "pair"))
def test_rows_may_come_in_any_order(name: str, case: str) -> None:
    together = run(name, BY_NAME[case])
    turned = run(name, BY_NAME[case], rows_of(BY_NAME[case].given(), [2, 0, 1]))
    same(turned.values, rows_of(together.values, [2, 0, 1]), 1e-7)


def sampled(name: str, result: pl.Attribution) -> bool:
    return has(name, "draws") or result.standard_error is not None


@pytest.mark.parametrize(("name", "case"), pairs("cnn", "attention", "ids"))
def test_the_same_seed_gives_the_same_answer_and_another_seed_another_draw(name: str, case: str) -> None:
    first = run(name, BY_NAME[case], seed=3)
    torch.manual_seed(99)
    again = run(name, BY_NAME[case], seed=3)
    same(first.values, again.values, 1e-9)
    assert first.receipt.seed == again.receipt.seed == 3
    other = run(name, BY_NAME[case], seed=4)
    moved = max(
        float((a - b).abs().max()) for a, b in zip(*map(pytree.tree_leaves, (first.values, other.values)), strict=True)
    )
    if not sampled(name, first):
        assert moved < 1e-9
    elif not (name == "ExpectedGradients" and case == "ids"):  # one baseline, strata of time: other draws all the same
        assert moved > 0


def test_a_draw_does_not_depend_on_how_many_there_are() -> None:
    """The first five of ten are the five of five, and the seventh alone is the seventh of ten."""
    from pellucid.engines.points import noise, uniforms

    for draw in (lambda k: noise(k, (5,), 3), lambda k: uniforms(k, 5, 3)):
        assert torch.equal(draw(torch.arange(10))[:5], draw(torch.arange(5)))
        assert torch.equal(draw(torch.tensor([7]))[0], draw(torch.arange(10))[7])
        assert not torch.equal(draw(torch.arange(2))[0], draw(torch.arange(2))[1])


class Signal:
    """A switch that a network flips after some calls; copies of it are itself."""

    def __init__(self) -> None:
        self.event, self.left = threading.Event(), 10**9

    def __deepcopy__(self, memo: Any) -> Signal:
        return self

    def tick(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.event.set()


class Ticking(nn.Module):
    """Counts its calls."""

    def __init__(self, inner: nn.Module, signal: Signal) -> None:
        super().__init__()
        self.inner, self.signal = inner, signal

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.signal.tick()
        return self.inner(*args, **kwargs)


@pytest.mark.parametrize("name", EVERY)
def test_a_run_stops_when_asked_and_leaves_nothing_behind(name: str) -> None:
    case = case_of(name)
    signal = Signal()
    net = Ticking(case.net(), signal)
    given = torch.cat([case.given()] * 6)
    model, at = pl.Model(net, inputs=case.modality()), at_of(name, case)
    at = None if at is None else f"inner.{at}"
    model.read(given)
    before = marks(net, given)
    with pl.settings(stop=signal.event, memory=1):
        signal.left = 1
        with pytest.raises(Cancelled) as caught:
            small(name)(model, given, at=at)
    assert caught.value.expected
    assert caught.value.do
    assert signal.left > -20  # it stopped soon: one call saw the switch, at most a few more were under way
    assert not differences(before, marks(net, given))
    signal.left = 10**9
    fresh = small(name)(pl.Model(case.net(), inputs=case.modality()), given, at=at_of(name, case))
    same(small(name)(model, given, at=at).values, fresh.values)


@pytest.mark.parametrize("name", EVERY)
def test_a_run_that_is_stopped_before_it_starts_asks_for_nothing(name: str) -> None:
    case = case_of(name)
    stop = threading.Event()
    stop.set()
    with pl.settings(stop=stop), pytest.raises(Cancelled):
        small(name)(case.model(), case.given(), at=at_of(name, case))


@drawn(rows=st.integers(1, 9), kilobytes=st.integers(1, 60), seed=st.integers(0, 3))
def test_any_batch_in_any_memory(rows: int, kilobytes: int, seed: int) -> None:
    """Batch sizes that do not divide, budgets that hold a few rows."""
    case = BY_NAME["mlp"]
    given = torch.rand(rows, 5, dtype=torch.float64)
    for name in ("SmoothGrad", "IntegratedGradients", "KernelSHAP"):
        same(
            run(name, case, given, memory=kilobytes * 1000, seed=seed).values, run(name, case, given, seed=seed).values
        )


def test_a_bound_model_answers_the_same_again_after_many_other_questions() -> None:
    case = BY_NAME["cnn"]
    model, given = case.model(), case.given()
    first: dict[str, Tensor] = {}
    for _ in range(2):
        for name in NAMES:
            values = small(name)(model, given, at=at_of(name, case)).values
            same(values, first.setdefault(name, values))
