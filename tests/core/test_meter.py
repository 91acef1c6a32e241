"""What is measured of one call: bytes of new tensors, the largest, seconds; and what follows for later calls."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.meter import Meter, pointer


def test_new_memory_is_counted_and_views_are_not() -> None:
    x = torch.rand(4, 100)
    with Meter(measure=True) as meter:
        y = x * 2
        y.view(2, 200)
        y.t()
        y[1:]
        z = torch.cat([y, y])
        z += 1
        torch.split(z, 2)
    assert meter.total == 3 * 4 * 100 * 4
    assert meter.largest == 2 * 4 * 100 * 4
    assert meter.seconds > 0


def test_nothing_is_counted_when_nothing_is_asked() -> None:
    with Meter(measure=False) as meter:
        torch.rand(100) * 2
    assert meter.total == 0


def test_an_exception_passes_and_nothing_stays_open() -> None:
    before = torch._C._len_torch_function_stack()
    with pytest.raises(ZeroDivisionError), Meter(measure=True):
        _ = torch.rand(3) / (1 // 0)
    assert torch._C._len_torch_function_stack() == before


def test_a_gradient_needs_more_than_a_prediction() -> None:
    with Meter(measure=True) as meter:
        x = torch.rand(2, 1000)
        for _ in range(10):
            x = x * 2
    back = meter.pace(2, grad=True, comfortable=10**6)
    forth = meter.pace(2, grad=False, comfortable=10**6)
    assert back.bytes_per_row > forth.bytes_per_row >= 3 * 4000
    assert back.bytes_per_row >= 10 * 4000
    assert back.size >= forth.size >= 1


def test_pointers() -> None:
    x = torch.rand(3)
    assert pointer(x) == pointer(x[1:]) != 0
    assert pointer("x") == pointer(None) == 0
    assert pointer(torch.rand(2, 2).to_sparse()) == 0
