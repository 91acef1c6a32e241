"""The ledger of a run: which operations were met, and how far the answer backwards can be trusted for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["exact", "linear", "approximated"]
ORDER: tuple[Status, ...] = ("approximated", "exact", "linear")


@dataclass
class Ledger:
    """Operation, module path, status and rule of every call of the last pass, counted.

    Of a pass that serves several targets, ``apart`` has the calls that read each of them; ``calls`` is of the first.
    """

    calls: Counter[tuple[str, str, Status, str]] = field(default_factory=Counter)
    apart: dict[int, Counter[tuple[str, str, Status, str]]] = field(default_factory=dict)
    reads: int | None = None

    def note(self, operation: str, path: str, status: Status, rule: str = "") -> None:
        """Book one call."""
        if self.reads is not None:
            self.apart.setdefault(self.reads, Counter())[operation, path, status, rule] += 1
        if not self.reads:
            self.calls[operation, path, status, rule] += 1

    def clear(self) -> None:
        """A pass begins."""
        self.calls.clear()
        self.apart, self.reads = {}, None

    def take(self, first: Ledger, number: int) -> None:
        """The books of a pass that served several targets, for the one of that number."""
        self.calls.update(first.calls - first.apart.get(0, Counter()) + first.apart.get(number, Counter()))

    def rows(self) -> list[tuple[str, Status, str, int]]:
        """(operation, status, rule, calls), modules taken together, what is least sure first."""
        together: Counter[tuple[str, Status, str]] = Counter()
        for (operation, _, status, rule), count in self.calls.items():
            together[operation, status, rule] += count
        made = [(operation, status, rule, count) for (operation, status, rule), count in together.items()]
        return sorted(made, key=lambda row: (ORDER.index(row[1]), row[0], row[2]))


@dataclass(frozen=True, eq=False)
class Anew:
    """A way back that is made anew for each pass, ``make(ledger).on(module)``, with one ledger for all of them."""

    make: Callable[[Ledger], Any]
    ledger: Ledger

    def __call__(self, module: Any) -> Any:
        return self.make(self.ledger).on(module)

    def reading(self, number: int) -> None:
        """Which of several targets is read now."""
        self.ledger.reads = number

    def retell(self, first: Anew, number: int) -> None:
        """Take over what another one met on a pass that served both."""
        self.ledger.take(first.ledger, number)
