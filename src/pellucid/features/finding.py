"""What is odd about a network: one sentence with its numbers, and the table they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pellucid.core.figure import Sheet

Level = Literal["problem", "warning", "note"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note")
MOST_ROWS = 24
MOST_NAMES = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """Something odd: its ``kind``, how grave it is, ``words`` with the numbers, the ``layers``, and the evidence.

    A "problem" makes answers wrong or weights useless, a "warning" is worth a look, a "note" is good to know.

    Example:
        >>> Finding(kind="dead units", level="warning", words="3 of 64 units are never active.").as_dict()["level"]
        'warning'
    """

    kind: str
    level: Level
    words: str
    layers: tuple[str, ...] = ()
    evidence: Sheet | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        rows = [] if self.evidence is None else [dict(zip(self.evidence.header, row, strict=True))
                                                 for row in self.evidence.rows]  # fmt: skip
        return {"kind": self.kind, "level": self.level, "words": self.words, "layers": list(self.layers),
                "evidence": rows}  # fmt: skip

    def __str__(self) -> str:
        return f"{self.level}: {self.words}"


def ordered(found: Iterable[Finding | None]) -> tuple[Finding, ...]:
    """The gravest first."""
    return tuple(sorted((each for each in found if each is not None), key=lambda each: LEVELS.index(each.level)))


def finding(kind: str, level: Level, words: str, header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Finding:
    """A finding with a line for each layer, whose name comes first."""
    layers = tuple(dict.fromkeys(str(row[0]) for row in rows))
    return Finding(kind=kind, level=level, words=words, layers=layers, evidence=table(kind, header, rows))


def table(title: str, header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Sheet:
    """The evidence; of many lines the first."""
    left = len(rows) - MOST_ROWS
    caption = f"The first {MOST_ROWS} of {len(rows)} lines." if left > 0 else ""
    return Sheet(header=tuple(header), rows=tuple(rows[:MOST_ROWS]), caption=caption, alt=f"{title}: {len(rows)} lines")


def listed(names: Sequence[Any]) -> str:
    """Some names, and how many more.

    >>> listed("abcdef")
    'a, b, c, d and 2 more'
    """
    shown = ", ".join(map(str, names[:MOST_NAMES]))
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def quoted(names: Sequence[str]) -> str:
    """Some names of layers, and how many more.

    >>> quoted(["conv1", "0"])
    '“conv1”, “0”'
    """
    return listed([f"“{name}”" for name in names])


def counted(n: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "unit"), counted(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def three(value: float) -> float:
    """Three digits."""
    return float(f"{value:.3g}")
