"""Rules in force: every operation of a forward pass answers backwards as the rule of its place says.

Values are computed by the operation itself and are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from pellucid.engines.rules.activations import passing
from pellucid.engines.rules.composite import Composite
from pellucid.engines.rules.gates import KINDS
from pellucid.engines.rules.ledger import Ledger
from pellucid.engines.rules.lent import Lent, Loans
from pellucid.engines.rules.linear import LinearOp, Rule
from pellucid.engines.rules.meeting import Handler, Meeting
from pellucid.engines.rules.operations import HANDLERS


class Rules(Meeting):
    """While entered, operations obey the composite's rules."""

    handlers: ClassVar[Mapping[str, Handler]] = HANDLERS

    def __init__(self, choose: Composite, ledger: Ledger | None = None) -> None:
        super().__init__(ledger)
        self.choose = choose
        self.linear: dict[int, tuple[Tensor, LinearOp, Rule, Tensor, Any]] = {}
        self.loans = Loans()

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        with super().on(module), passing(self, module):
            yield

    def begin(self) -> None:
        super().begin()
        self.linear, self.loans = {}, Loans()

    def lend(self, lent: Lent) -> None:
        """A value of the model's will be read on the way back."""
        self.loans.add(lent)

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        self.loans.before(name, args, kwargs)
        kind = KINDS.get(name)
        gate = None if kind is None else self.choose.gate(self.place(name), kind)
        return super().answered(func, name, args, kwargs) if gate is None else gate(self, func, args, kwargs)
