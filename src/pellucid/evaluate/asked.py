"""What a check asks, in words; its answer, and what is said where it could not be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pellucid.core.evidence import Check


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The fixed part of a check: name, kind, question, which way is better, what it cannot show, paper."""

    name: str
    kind: str
    question: str
    better: Literal["higher", "lower", "neither"]
    cannot_show: str
    source: str

    def answered(self, *, value: float, passed: bool | None, reason: str, **rest: Any) -> Check:
        """The check with its answer."""
        return Check(value=value, passed=passed, reason=reason, **self._words() | rest)

    def untested(self, reason: str, **rest: Any) -> Check:
        """The check that could not be made, and why."""
        return Check(value=None, passed=None, reason=reason, **self._words() | rest)

    def _words(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "question": self.question,
            "better": self.better,
            "cannot_show": self.cannot_show,
            "source": self.source,
        }
