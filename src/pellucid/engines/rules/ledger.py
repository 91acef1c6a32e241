"""The ledger of a run: which operations were met, and how far the answer backwards can be trusted for each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["exact", "linear", "approximated"]
ORDER: tuple[Status, ...] = ("approximated", "exact", "linear")


@dataclass
class Ledger:
    """Operation, module path, status and rule of every call of the last pass, counted."""

    calls: Counter[tuple[str, str, Status, str]] = field(default_factory=Counter)

    def note(self, operation: str, path: str, status: Status, rule: str = "") -> None:
        """Book one call."""
        self.calls[operation, path, status, rule] += 1

    def rows(self) -> list[tuple[str, Status, str, int]]:
        """(operation, status, rule, calls), modules taken together, what is least sure first."""
        together: Counter[tuple[str, Status, str]] = Counter()
        for (operation, _, status, rule), count in self.calls.items():
            together[operation, status, rule] += count
        made = [(operation, status, rule, count) for (operation, status, rule), count in together.items()]
        return sorted(made, key=lambda row: (ORDER.index(row[1]), row[0], row[2]))
