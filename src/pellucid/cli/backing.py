"""The table that rows from files make for a predict function: columns, levels of texts, and rows for hidden columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.console import note
from pellucid.cli.reading import columns_of
from pellucid.errors import EmptyError, InputError, nearest

if TYPE_CHECKING:
    from pellucid.cli.predicting import Predictor
    from pellucid.core.modality import Table

ENOUGH_ROWS = 10
MOST_ROWS = 1000
ABSENT = ("", "na", "n/a", "nan", "null", "none", "#n/a")
Rows = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Sheet:
    """The rows of a file, by column."""

    name: str
    rows: Rows

    @property
    def count(self) -> int:
        """How many rows."""
        return len(next(iter(self.rows.values()), ()))

    def has(self, columns: Sequence[str]) -> None:
        """Refuse a file that lacks columns."""
        lacking = [each for each in columns if each not in self.rows]
        if lacking:
            what = ", ".join(map(repr, lacking[:6])) + (f" and {len(lacking) - 6} more" if len(lacking) > 6 else "")
            got = f"no {what} in {self.name!r}"
            raise InputError(
                expected=f"the {len(columns)} columns that are asked about", got=got, do=nearest(lacking[0], self.rows)
            )

    def complete(self, names: Sequence[str], texts: Mapping[str, Any]) -> list[int]:
        """The numbers of the rows without an empty cell."""
        return [i for i in range(self.count) if not any(absent(self.rows[n][i], text=n in texts) for n in names)]

    def whole(self, names: Sequence[str], texts: Mapping[str, Any]) -> Rows:
        """The complete rows, thinned out where there are many."""
        rows = self.complete(names, texts)
        if not rows:
            got = f"an empty cell in each of {self.count}"
            raise EmptyError(expected=f"complete rows in {self.name!r}", got=got, do="Fill in what is missing.")
        if len(rows) < self.count:
            note(f"{self.count - len(rows)} rows of {self.name} have empty cells and stand for nothing")
        if len(rows) > MOST_ROWS:
            note(f"of its {len(rows)} rows, {MOST_ROWS} are taken, evenly spaced")
            rows = [rows[i * len(rows) // MOST_ROWS] for i in range(MOST_ROWS)]
        return {name: [self.rows[name][i] for i in rows] for name in names}


def sheet(path: Path, names: Sequence[str] | None) -> Sheet | None:
    """A table file; None for a file that is no table."""
    rows = columns_of(path, names)
    return None if rows is None else Sheet(path.name, rows)


def table_of(asked: Predictor, given: Sheet, background: Sheet | None, columns: Sequence[str] | None) -> Table:
    """The table a predict function is asked about; texts have the levels of all rows known."""
    from pellucid.core.modality import Table

    names = tuple(columns or asked.columns or given.rows)
    for each in (given, background):
        if each is not None:
            each.has(names)
    if asked.width not in (None, len(names)):
        do = "Say which it takes, in its order: --columns a,b,c."
        raise InputError(expected=f"{asked.width} columns", got=f"{len(names)} in {given.name!r}", do=do)
    unused = [name for name in given.rows if name not in names]
    if unused:
        note(f"columns that are not used: {', '.join(unused[:8])}" + (", …" if len(unused) > 8 else ""))
    known = [each for each in (given, background) if each is not None]
    levels = {name: levels_of([cell for each in known for cell in each.rows[name]]) for name in names}
    categories = {name: each for name, each in levels.items() if each is not None}
    return Table(
        columns=names,
        categories=categories,
        background=backing(given, background, names, categories),
        frame=asked.frames or bool(categories),
    )


def backing(given: Sheet, background: Sheet | None, names: Sequence[str], categories: Mapping[str, Any]) -> Rows | None:
    """Complete rows that say what stands for a hidden column: those that are explained where there are enough."""
    if background is not None:
        return background.whole(names, categories)
    many = len(given.complete(names, categories))
    if many < ENOUGH_ROWS:
        first = ", and the first level of a text" if categories else ""
        note(f"no background: a hidden column becomes 0{first}; name typical rows with --background")
        return None
    note(f"the {many} rows of {given.name} stand for what is hidden; name others with --background")
    return given.whole(names, categories)


def complete(inputs: Any, modality: Any) -> Any:
    """The explained rows; those with an empty cell in a column that is asked about are refused."""
    if modality.kind == "table" and isinstance(inputs, Mapping):
        for name in modality.columns:
            cells = inputs.get(name, ())
            cells = cells if isinstance(cells, list) else [cells]
            if any(absent(cell, text=name in modality.categories) for cell in cells):
                do = "Fill it in, or explain another row: --row."
                raise InputError(expected=f"a value in column {name!r}", got="an empty cell in an explained row", do=do)
    return inputs


def truths(table: Table) -> tuple[str, ...]:
    """The columns whose texts are true and false."""
    return tuple(
        name for name, levels in table.categories.items() if {each.casefold() for each in levels} <= {"true", "false"}
    )


def levels_of(cells: Sequence[Any]) -> tuple[str, ...] | None:
    """The levels of a column that holds texts, sorted; None for a column of numbers."""
    if all(is_number(cell) or absent(cell, text=False) for cell in cells):
        return None
    return tuple(sorted({str(cell) for cell in cells if not absent(cell, text=True)}))


def absent(cell: Any, *, text: bool) -> bool:
    """Whether a cell is empty; among numbers, "NA" and the like are empty, too."""
    said = "" if cell is None else str(cell).strip().casefold()
    return said == "" if text else said in ABSENT


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number."""
    if isinstance(cell, bool) or "_" in str(cell):
        return False
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
