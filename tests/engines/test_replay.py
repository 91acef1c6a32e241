"""Replay: the answers of full passes, without computing what comes before the layer; and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import pellucid as pl
from pellucid.core.method import question
from pellucid.core.probe import Probe
from pellucid.core.site import site_of
from pellucid.engines.replay import Single, Suffix, instead, replayed
from pellucid.errors import Cancelled, ShapeError
from tests.traces import differences, marks


class Block(nn.Module):
    """A residual block; one activation is used again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(self.act(self.one(x)))
        y += x
        return self.act(y)


class Net(nn.Module):
    """Blocks, some bare operations between them, and a head; ``join`` says how what came before the last block is met.

    "sized" reads the number of rows off its input; in "shared" both blocks have one activation.
    """

    def __init__(self, join: str = "add") -> None:
        super().__init__()
        self.join = join
        self.stem, self.first, self.last = nn.Conv2d(2, 3, 3), Block(), Block()
        if join == "shared":
            self.last.act = self.first.act
        self.head = nn.Linear(6 if join == "cat" else 3, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        early = self.first(torch.tanh(self.stem(x)) * 2)
        late = self.last(early)
        both = torch.cat([late, early], 1) if self.join == "cat" else late + early
        pooled = both.mean((2, 3))
        if self.join == "sized":
            pooled = pooled.reshape(len(x), -1)
        return {"logits": self.head(pooled)}


class Count(TorchFunctionMode):
    """Counts the rows that convolutions see."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d:
            self.rows += len(args[0])
        return func(*args, **(kwargs or {}))


def asked(net: nn.Module, layer: str) -> tuple[Probe, Probe, Callable[[Tensor], Tensor]]:
    """The usual question at a layer, the replayed one, and points around the layer's activation."""
    torch.manual_seed(3)
    ask = question(net, torch.rand(1, 2, 9, 7, dtype=torch.float64))
    _ = ask.score
    usual = ask.at(layer)
    noise = torch.randn(6, *usual.inputs.shape, dtype=torch.float64)
    return usual, replayed(ask, site_of(ask.model.module, layer), usual.inputs), lambda k: usual.inputs + noise[k]


def net(join: str = "add") -> Net:
    torch.manual_seed(1)
    return Net(join).double()


LAYERS = ("stem", "first", "first.act", "first.act@2", "last", "last.two", "last.one:input", "last.act@2", "head:input")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("join", ["add", "cat", "sized"])
def test_answers_are_those_of_full_passes(join: str, layer: str) -> None:
    """Scores and gradients, in any number of rows, twice over."""
    usual, replay, points = asked(net(join), layer)
    for _ in range(2):
        assert torch.allclose(replay.forward(points, 6), usual.forward(points, 6), atol=1e-12)
    one, other = (each.gradient(points, 6) for each in (replay, usual))
    assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(
    ("join", "layer", "way"),
    [("add", "last", "alone"), ("cat", "last", "widened"), ("sized", "last", "widened"), ("shared", "first.act@3", "")],
)
def test_the_cheapest_exact_way_is_taken(join: str, layer: str, way: str) -> None:
    """One row beside many; repeated rows where they are joined; full passes where calls cannot be told apart."""
    usual, replay, points = asked(net(join), layer)
    assert (replay.ways[-1].__name__ if replay.ways else "") == way
    assert isinstance(replay.leaves, Single) == (way == "alone")
    assert torch.allclose(replay.forward(points, 6), usual.forward(points, 6), atol=1e-12)


def test_what_comes_before_is_not_computed() -> None:
    usual, replay, points = asked(net(), "last.two")
    with Count() as count:
        replay.forward(points, 6)
    assert count.rows == 0
    with Count() as count:
        usual.forward(points, 6)
    assert count.rows == 6 * 5
    _, replay, points = asked(net(), "first")
    with Count() as count:
        replay.forward(points, 6)
    assert count.rows == 6 * 2


def test_it_leaves_no_trace_also_when_something_is_thrown() -> None:
    for copy in (True, False):
        own, given = net(), torch.rand(1, 2, 9, 7, dtype=torch.float64)
        before = marks(own, given)
        model = pl.Model(own, copy=copy)
        ask = question(model, given)
        _ = ask.score
        usual = ask.at("last")
        replay = replayed(ask, site_of(model.module, "last"), usual.inputs)

        def broken(k: Tensor, like: Tensor = usual.inputs) -> Tensor:
            return like.new_zeros(1, 1, 3, 2, 1, 1)

        with pytest.raises(pl.errors.PellucidError):
            replay.forward(broken, 1)
        assert not any("forward" in part.__dict__ for part in model.module.modules())
        assert not differences(before, marks(own, given))


def test_a_forward_of_its_own_is_put_back() -> None:
    part = nn.Linear(1, 1)
    part.forward = own = lambda x: x  # type: ignore[method-assign]
    with suppress(ZeroDivisionError), instead([(part, lambda x: x + 1)]):
        assert float(part(torch.zeros(1))) == 1
        _ = 1 / 0
    assert part.forward is own


def test_the_outermost_finished_modules_are_recorded() -> None:
    own = net()
    suffix = Suffix(site_of(own, "last.two"))
    with suffix.record(own), torch.no_grad():
        own(torch.rand(1, 2, 9, 7, dtype=torch.float64))
    assert {name: len(found) for name, found in suffix.records.items()} == {
        "stem": 1, "first": 1, "last.one": 1, "last.act": 1, "last.two": 1
    }  # fmt: skip


def test_one_example_at_a_time() -> None:
    ask = question(net(), torch.rand(2, 2, 9, 7, dtype=torch.float64))
    with pytest.raises(ShapeError):
        replayed(ask, site_of(ask.model.module, "last"), ask.at("last").inputs)


def test_it_can_be_stopped() -> None:
    import threading

    stop = threading.Event()
    with pl.settings(stop=stop):
        ask = question(net(), torch.rand(1, 2, 9, 7, dtype=torch.float64))
        _ = ask.score
        inside = ask.at("last")
        stop.set()
        with pytest.raises(Cancelled):
            replayed(ask, site_of(ask.model.module, "last"), inside.inputs)
