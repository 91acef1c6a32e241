"""No trace: model, inputs and the world are as they were, also when something goes wrong at any operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import pellucid as pl
from tests.nets import BY_NAME, Case
from tests.small import EVERY, NAMES, at_of, case_of, pairs, small
from tests.traces import differences, marks


class Boom(Exception):
    """Thrown in the middle of a computation."""


class Bomb(TorchFunctionMode):
    """Throws at one operation, counted over all of torch's."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.requires_grad_:  # putting things back is not where it goes wrong
            self.left -= 1
            if self.left == 0:
                raise Boom
        return func(*args, **(kwargs or {}))


def used(case: Case) -> tuple[nn.Module, Any]:
    """A network in the middle of its training: gradients there, modes mixed, one weight frozen."""
    net, given = case.net(), case.given()
    net.train()
    for i, part in enumerate(net.modules()):
        part.training = i % 3 != 1
    for i, weight in enumerate(net.parameters()):
        weight.grad = torch.full_like(weight, 0.1) if i % 2 else None
    next(net.parameters()).requires_grad_(False)
    leaves = torch.utils._pytree.tree_leaves(given)
    if leaves[0].is_floating_point():
        leaves[0].requires_grad_(True)
    return net, given


@contextmanager
def untouched(net: nn.Module, given: Any) -> Iterator[None]:
    before = marks(net, given)
    yield
    assert not differences(before, marks(net, given))


@pytest.mark.parametrize(("name", "case"), pairs())
def test_a_run_leaves_no_trace(name: str, case: str) -> None:
    net, given = used(BY_NAME[case])
    with untouched(net, given):
        small(name)(pl.Model(net, inputs=BY_NAME[case].modality()), given, at=at_of(name, BY_NAME[case]))


@pytest.mark.parametrize("name", EVERY)
def test_a_module_that_is_not_copied_is_given_back_as_it_was(name: str) -> None:
    case = case_of(name)
    net, given = used(case)
    with untouched(net, given):
        model = pl.Model(net, inputs=case.modality(), copy=False)
        small(name)(model, given, at=at_of(name, case))
        model(given)
        model.layers(given)


def fuses() -> Iterator[int]:
    """1, 2, 3, 5, 8 …: the operations at which it goes wrong."""
    here, after = 1, 2
    while True:
        yield here
        here, after = after, here + after


@pytest.mark.parametrize("copy", [True, False], ids=["twin", "borrowed"])
@pytest.mark.parametrize("name", EVERY)
def test_an_exception_at_any_operation_leaves_no_trace(name: str, copy: bool) -> None:
    """And the same bound model answers afterwards as if nothing had happened."""
    case = case_of(name)
    net, given = used(case)
    method, at = small(name), at_of(name, case)
    model = pl.Model(net, inputs=case.modality(), copy=copy)
    thrown = 0
    with untouched(net, given):
        for fuse in fuses():
            try:
                with Bomb(fuse):
                    method(model, given, at=at)
                break
            except Boom:
                thrown += 1
        again = method(model, given, at=at)
    assert thrown >= 8
    fresh = method(pl.Model(net, inputs=case.modality(), copy=copy), given, at=at)
    torch.testing.assert_close(again.values, fresh.values, rtol=1e-9, atol=1e-12)


class Rude(nn.Module):
    """Writes into its input, its buffers and its attributes, keeps activations, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.scratch = torch.zeros(4)
        self.kept: list[Tensor] = []
        self.seen: dict[str, Tensor] = {}
        self.count = 0

    def forward(self, x: Tensor, factor: Tensor) -> Tensor:
        self.calls += 1
        self.scratch.mul_(0.5).add_(1)
        self.count += 1
        torch.rand(3)
        x.mul_(factor.clone())
        factor.add_(1)
        y = self.body(x)
        self.kept.append(y)
        self.seen["y"] = y
        self.last = y
        return torch.tanh(y)


@pytest.mark.parametrize("name", [name for name in NAMES if "tensor" in pl.catalogue.entry(name).modalities])
def test_a_module_that_writes_everywhere_writes_nothing_of_yours(name: str) -> None:
    net, given = Rude(), (torch.rand(2, 4), torch.tensor(2.0))
    net(given[0].clone(), given[1].clone())  # after a training step its attributes hold a graph
    kept = list(net.kept)
    with untouched(net, given):
        small(name)(net, given, at="body" if name == "Conductance" else None)
    assert [id(each) for each in net.kept] == [id(each) for each in kept]
    assert list(net.seen) == ["y"]


def test_weights_of_the_twin_are_the_weights_of_the_module() -> None:
    net = BY_NAME["cnn"].net()
    model = pl.Model(net)
    mine, twin = dict(net.named_parameters()), dict(model.module.named_parameters())
    assert mine.keys() == twin.keys()
    assert all(mine[name].data_ptr() == twin[name].data_ptr() for name in mine)
    assert not any(each.requires_grad for each in twin.values())
    assert not any(part.training for part in model.module.modules())


def test_a_result_keeps_its_own_copy_of_the_inputs() -> None:
    given = torch.rand(2, 5, dtype=torch.float64)
    result = pl.Saliency()(BY_NAME["mlp"].net(), given)
    before = result.inputs.clone()
    given.zero_()
    assert torch.equal(result.inputs, before)
