"""Meter: bytes and seconds of one call, the bytes counted once per model and shape."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.core.run import Pace


class Meter:
    """Times a call; with ``measure`` also adds up the bytes of new tensors (``total``) and finds the ``largest``."""

    def __init__(self, *, measure: bool) -> None:
        self.total = self.largest = 0
        self.seconds = 0.0
        self._mode = Allocations(self) if measure else None

    def pace(self, rows: int, *, grad: bool, comfortable: int) -> Pace:
        """What was measured on ``rows`` rows, as the pace of all later calls.

        A gradient needs all that forward made and, as backward frees while it goes, a little more; plain predictions
        need a few of the largest. The first guess keeps the largest tensor below ``comfortable`` bytes, half that for
        predictions: on a CPU, blocks over 30 MB cost page faults.
        """
        largest = max(self.largest // rows, 1)
        needed = self.total // rows + 2 * largest if grad else 3 * largest
        block = comfortable if grad else comfortable // 2
        return Pace(max(1, needed), largest, max(1, block // largest), {})

    def __enter__(self) -> Meter:
        if self._mode is not None:
            self._mode.__enter__()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error: Any) -> None:
        self.seconds = time.perf_counter() - self._start
        if self._mode is not None:
            self._mode.__exit__(*error)


class Allocations(TorchFunctionMode):
    """Sees every operation's outputs; those that are not views of its inputs are new memory."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {pointer(each) for each in pytree.tree_leaves((args, kwargs))}
        for each in pytree.tree_leaves(out):
            here = pointer(each)
            if here and here not in known:
                known.add(here)
                size = each.untyped_storage().nbytes()
                self.meter.total += size
                self.meter.largest = max(self.meter.largest, size)
        return out


def pointer(value: Any) -> int:
    """Where a tensor's memory lies; 0 for anything else."""
    try:
        return value.untyped_storage().data_ptr() if isinstance(value, Tensor) else 0
    except (RuntimeError, NotImplementedError):
        return 0
