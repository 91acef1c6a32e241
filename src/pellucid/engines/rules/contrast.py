"""A pass held against another: operations answer backwards with differences over differences, not with slopes.

The first pass of a context, at the reference, is put on a tape. In the second each operation that is not linear meets
what it met at the reference, and hands back the multipliers of DeepLIFT.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from pellucid.engines.rules.cancel import CANCELING, Canceled, Sum
from pellucid.engines.rules.differences import HANDLERS, LINEAR
from pellucid.engines.rules.ledger import Ledger
from pellucid.engines.rules.lent import Lent, Loans, written
from pellucid.engines.rules.meeting import Handler, Meeting, moves_numbers
from pellucid.engines.rules.multipliers import Elementwise, Multiplier, Rescale
from pellucid.errors import GradientError

COPYING = frozenset(["clone", "to", "contiguous", "detach"])


class Contrast(Meeting):
    """While entered, the first pass is the reference, and the second is explained against it (Rescale).

    Where there is no second pass the operations have their plain gradient.
    """

    handlers: ClassVar[Mapping[str, Handler]] = HANDLERS
    plain: ClassVar[frozenset[str]] = LINEAR
    outside: ClassVar[bool] = True

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__(ledger)
        self.way: list[tuple[str, str]] = []
        self.tape: list[tuple[Lent, ...]] = []
        self.loans = Loans()
        self.passes = self.steps = self.read = 0
        self.changing: int | None = None

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        with super().on(module):
            yield
            if self.passes == 2 and self.steps < len(self.way):
                raise self.parted(f"{len(self.way)} operations for the baseline, {self.steps} for the inputs")
        self.way, self.tape, self.loans = [], [], Loans()

    def begin(self) -> None:
        super().begin()
        self.passes += 1
        self.steps = self.read = 0

    @property
    def playing(self) -> bool:
        """Whether this is the pass that is explained."""
        return self.passes > 1

    def against(self, *values: Tensor) -> tuple[Tensor, ...] | None:
        """The same values at the reference; None while it is being recorded."""
        if not self.playing:
            self.tape.append(tuple(self.keep(value) for value in values))
            return None
        there = tuple(lent.tensor for lent in self.tape[self.read])
        self.read += 1
        if [each.shape for each in there] != [each.shape for each in values]:
            shapes = (str([tuple(each.shape) for each in side]) for side in (there, values))
            raise self.parted("values of shapes {} for the baseline, {} for the inputs".format(*shapes))
        return there

    def keep(self, value: Tensor) -> Lent:
        """A value as it is now, whatever overwrites it later."""
        lent = Lent(value.detach())
        if place(value) == self.changing:
            lent.keep()
        else:
            self.loans.add(lent)
        return lent

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.loans.before(name, args, kwargs or {})
        self.changing = next((place(each) for each in written(name, args, kwargs or {})), None)
        return super().__torch_function__(func, types, args, kwargs)

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if self.stack and moves_numbers(name) and name not in COPYING:
            step = (name, self.at[0])
            if not self.playing:
                self.way.append(step)
            elif self.steps >= len(self.way) or self.way[self.steps] != step:
                before = self.way[self.steps][0] if self.steps < len(self.way) else "nothing more"
                raise self.parted(f"{before} for the baseline, {name} for the inputs")
            self.steps += 1
        return super().answered(func, name, args, kwargs)

    def parted(self, how: str) -> GradientError:
        """The error for a model that takes another way for the baseline than for the inputs."""
        path = self.at[0]
        got = f"another way for the baseline in {path or 'the model itself'}: {how}"
        do = "Its control flow depends on the data: choose a nearer baseline, or use IntegratedGradients."
        return GradientError(expected="the same operations for the baseline and the inputs", got=got, do=do)

    def rescale(self, x: Tensor, there: Tensor, compute: Elementwise, function: Elementwise, by: Multiplier) -> Tensor:
        """An elementwise operation: ``compute`` does it, ``function`` is it without a change in place."""
        return Rescale.apply(x, compute, by, self.keep(x), there)


class Canceling(Contrast):
    """RevealCancel: what pushed a sum up and what pushed it down go through the next operation apart."""

    handlers: ClassVar[Mapping[str, Handler]] = {**HANDLERS, **CANCELING}

    def __init__(self, ledger: Ledger | None = None) -> None:
        super().__init__(ledger)
        self.sums: dict[int, Sum] = {}

    def begin(self) -> None:
        super().begin()
        self.sums = {}

    def rescale(self, x: Tensor, there: Tensor, compute: Elementwise, function: Elementwise, by: Multiplier) -> Tensor:
        made = self.sums.pop(id(x), None)
        if made is None or made.z is not x or not made.untouched:
            return super().rescale(x, there, compute, function, by)
        y = Canceled.apply(made.x, made, there, function, by)
        return y if self.changing is None else x.copy_(y)


def place(value: Tensor) -> int:
    """Where in memory a value lies."""
    return value.untyped_storage().data_ptr()
