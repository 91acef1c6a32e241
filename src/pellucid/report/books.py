"""The books of a method that goes back by rules, as small tables: what was met, and where relevance was lost."""

from __future__ import annotations

from typing import Any

from pellucid.core.figure import Sheet
from pellucid.core.result import Attribution

MOST_ROWS = 8
WORDS = {"exact": "by a rule", "linear": "in proportion", "approximated": "approximated"}


def met(result: Attribution) -> tuple[Sheet, ...]:
    """The tables of a result that keeps books; none for others."""
    found = [each(rows) for name, each in (("ledger", ledger), ("audit", audit)) if (rows := result.extra.get(name))]
    return tuple(found)


def ledger(rows: Any) -> Sheet:
    """Which operations were met, how each hands back what arrives, by which rule, and how often."""
    shown = tuple((plain(name), WORDS.get(status, status), rule or "–", calls) for name, status, rule, calls in rows)
    doubtful = sum(status == "approximated" for _, status, _, _ in rows)
    most = f"{doubtful} of {len(rows)} kinds approximated" if doubtful else "nothing approximated"
    return Sheet(
        caption=f"Operations of the model, and how each hands back what it gets: {most}.",
        header=("operation", "handed back", "rule", "calls"),
        rows=shown,
        alt=f"{len(rows)} kinds of operations, {most}",
    )


def audit(rows: Any) -> Sheet:
    """Where most is lost or gained, of what arrived at each operation."""
    shown = [row for row in rows if abs(row[4]) >= 5e-4][:MOST_ROWS]
    table = [(plain(name), path or "–", arrived, handed, percent(lost)) for name, path, arrived, handed, lost in shown]
    words = "Where relevance stays or comes from nowhere" if table else "No relevance stays anywhere on the way"
    return Sheet(
        caption=f"{words}; shares of the explained number.",
        header=("operation", "module", "arrives", "goes on", "stays"),
        rows=tuple(table) or (("all", "–", "–", "–", percent(0.0)),),
        alt=words,
    )


def plain(name: str) -> str:
    """An operation without the underscores of Python and of torch's in-place forms.

    >>> plain("__iadd__"), plain("relu_")
    ('iadd', 'relu')
    """
    return name.strip("_") or name


def percent(share: float) -> str:
    """A share with one digit, the minus as it is printed."""
    return f"{100 * share:.1f}\u00a0%".replace("-", "−")
