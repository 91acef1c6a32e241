"""Table rows: numeric and categorical columns, in their original units; pandas accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.figure import Figure, Sheet
from pellucid.core.modality.plain import Array, Modality, bars
from pellucid.errors import DtypeError, EmptyError, NonFiniteError, OptionError, ShapeError, UnknownName, nearest


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Modality):
    """Rows of named columns. Numeric columns are standardized by ``mean`` and ``std`` where given; a categorical column
    (``categories``: column → levels) becomes the index of its level, or one number a level where named in ``one_hot``.

    Arrays, lists, dicts, pandas rows and frames are in original units; a torch tensor is taken as it is: already what
    the module takes. ``background`` holds rows in original units (training data) for fills and sampling. With
    ``frame`` a BlackBox's function gets a pandas frame.

    Example:
        >>> table = Table(columns=("age", "sex"), categories={"sex": ("f", "m")}, mean=(50.0, 0.0), std=(10.0, 1.0))
        >>> table.prepare({"age": 60, "sex": "m"})
        tensor([[1., 1.]])
    """

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    one_hot: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    background: Any = None
    units: Mapping[str, str] = field(default_factory=dict)
    frame: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(str(each) for each in self.columns))
        for name in [*self.categories, *self.one_hot, *self.units]:
            if name not in self.columns:
                raise OptionError(expected="the name of a column", got=repr(name), do=nearest(name, self.columns))
        for numbers, what in ((self.mean, "mean"), (self.std, "std")):
            if numbers is not None and len(numbers) != len(self.columns):
                got, want = f"{len(numbers)} in {what}", f"{len(self.columns)} numbers, one a column"
                raise OptionError(expected=want, got=got, do="Use mean 0 and std 1 for columns left as they are.")
        if self.std is not None and not min(self.std, default=1) > 0:
            do = "Use std 1 for a column that never changes."
            raise OptionError(expected="standard deviations above 0", got=str(min(self.std)), do=do)
        if len(set(self.columns)) < len(self.columns):
            raise OptionError(expected="columns of different names", got=str(self.columns), do="Rename some.")
        if missing := [name for name in self.one_hot if name not in self.categories]:
            do = f"Name them: categories={{{missing[0]!r}: (…)}}."
            raise OptionError(expected="the levels of every one-hot column", got=f"none of {missing[0]!r}", do=do)

    @classmethod
    def of(cls, frame: Any, **options: Any) -> Table:
        """Read columns, categories and background from a pandas frame; predict functions then get frames."""
        texts = [name for name in frame.columns if not np.issubdtype(np.asarray(frame[name]).dtype, np.number)]
        levels = {str(name): tuple(sorted({str(each) for each in frame[name]})) for name in texts}
        return cls(columns=tuple(frame.columns), categories=levels, background=frame, frame=True, **options)

    @cached_property
    def slots(self) -> tuple[slice, ...]:
        """Where each column's numbers stand in an encoded row."""
        widths = [len(self.categories[name]) if name in self.one_hot else 1 for name in self.columns]
        ends = np.cumsum(widths)
        return tuple(slice(int(end - width), int(end)) for end, width in zip(ends, widths, strict=True))

    def prepare(self, given: Any) -> Any:
        if isinstance(given, Tensor) and given.is_floating_point():
            return given[None] if given.ndim == 1 else given
        return torch.from_numpy(self.encode(self.rows(given)).astype(np.float32))

    def rows(self, given: Any) -> Array:
        """Rows (batch, columns) of floats in original units, categories as level indexes."""
        table = self._cells(given)
        if table.ndim != 2 or table.shape[1] != len(self.columns):
            want = f"rows of {len(self.columns)} columns ({', '.join(self.columns[:4])}, …)"
            raise ShapeError(expected=want, got=f"shape {table.shape}", do="Pass one value a column.")
        if len(table) == 0:
            raise EmptyError(expected="at least one row", got="none", do="Pass a row.")
        return np.stack([self._column(name, table[:, i]) for i, name in enumerate(self.columns)], 1)

    def _cells(self, given: Any) -> Array:
        if isinstance(given, Mapping):
            given = {name: np.atleast_1d(np.asarray(value, dtype=object)) for name, value in given.items()}
            if len({len(value) for value in given.values()}) > 1:
                got = ", ".join(f"{name}: {len(value)}" for name, value in given.items())
                raise ShapeError(expected="columns of one length", got=got, do="Give every column every row.")
            return np.stack([self._named(given, name) for name in self.columns], 1)
        if hasattr(given, "columns") and hasattr(given, "iloc"):
            return np.stack([np.asarray(self._named(given, name), dtype=object) for name in self.columns], 1)
        if hasattr(given, "index") and hasattr(given, "iloc"):
            return np.asarray([[self._named(given, name) for name in self.columns]], dtype=object)
        cells = given.cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
        if cells.dtype.kind in "US":
            cells = cells.astype(object)
        return cells[None] if cells.ndim == 1 else cells

    def _named(self, given: Any, name: str) -> Any:
        for key in given.keys():  # noqa: SIM118 - a frame's keys are its columns
            if str(key) == name:
                return given[key]
        raise UnknownName(expected=f"a value for column {name!r}", got="none", do=nearest(name, given.keys()))

    def _column(self, name: str, cells: Array) -> Array:
        if name in self.categories:
            return np.array([self._level(name, cell) for cell in cells])
        try:
            numbers = np.asarray(cells, dtype=float)
        except (TypeError, ValueError):
            do = f"Name its levels: pl.Table(categories={{{name!r}: (…)}})."
            raise DtypeError(expected=f"numbers in column {name!r}", got=repr(cells[0]), do=do) from None
        if not np.isfinite(numbers).all():
            raise NonFiniteError(
                expected=f"finite numbers in column {name!r}", got="NaN or infinity", do="Impute them."
            )
        return numbers

    def _level(self, name: str, cell: Any) -> float:
        """The index of a level given by name, or by index where no level bears that name."""
        levels = [str(level) for level in self.categories[name]]
        said = level_text(cell, dict.fromkeys(levels, 0.0))
        if said in levels:
            return float(levels.index(said))
        if isinstance(cell, int | float | np.number) and cell in range(len(levels)):
            return float(cell)
        raise UnknownName(expected=f"a level of {name!r}", got=repr(cell), do=nearest(said, levels))

    def encode(self, rows: Array) -> Array:
        """Rows in original units (batch, columns) as the numbers the model takes (batch, width)."""
        scaled = rows if self.mean is None else rows - np.asarray(self.mean)
        scaled = scaled if self.std is None else scaled / np.asarray(self.std)
        parts = []
        for i, name in enumerate(self.columns):
            if name in self.one_hot:
                parts.append(np.eye(len(self.categories[name]))[rows[:, i].astype(int)])
            else:
                parts.append(scaled[:, i : i + 1])
        return np.concatenate(parts, 1)

    def original(self, encoded: Array) -> Array:
        """Encoded rows (batch, width) back in original units (batch, columns), categories as level indexes."""
        mean = np.zeros(len(self.columns)) if self.mean is None else np.asarray(self.mean)
        std = np.ones(len(self.columns)) if self.std is None else np.asarray(self.std)
        parts = []
        for i, (name, slot) in enumerate(zip(self.columns, self.slots, strict=True)):
            part = encoded[:, slot]
            parts.append(part.argmax(1) if name in self.one_hot else part[:, 0] * std[i] + mean[i])
        return np.stack(parts, 1)

    def decode(self, rows: Array) -> Any:
        plain = self.original(np.asarray(rows, dtype=float))
        if not self.frame:
            return plain
        import pandas

        cells = {name: self._cells_of(name, plain[:, i]) for i, name in enumerate(self.columns)}
        return pandas.DataFrame(cells)

    def _cells_of(self, name: str, numbers: Array) -> Any:
        levels = self.categories.get(name)
        return numbers if levels is None else [levels[round(each)] for each in numbers]

    def background_rows(self) -> Tensor | None:
        """The background, encoded (rows, width), or None."""
        return None if self.background is None else self.prepare(self.background)

    def details(self, inputs: Array) -> tuple[str, ...]:
        """Each column's value in words, for one encoded row."""
        numbers = self.original(inputs[None])[0]
        texts = []
        for name, number in zip(self.columns, numbers, strict=True):
            levels, unit = self.categories.get(name), self.units.get(name, "")
            texts.append(levels[round(number)] if levels else f"{number:.4g} {unit}".strip())
        return tuple(texts)

    def labels(self, inputs: Array) -> tuple[str, ...]:
        return self.columns

    def by_column(self, values: Array) -> Array:
        """Values of an encoded row (width,), summed over each column's numbers: (columns,)."""
        return np.array([values[slot].sum() for slot in self.slots])

    def input_figure(self, inputs: Array) -> Figure:
        rows = tuple(zip(self.columns, self.details(inputs), strict=True))
        return Sheet(title="input", header=("column", "value"), rows=rows, alt="the row's values")

    def map_figure(
        self, values: Array, inputs: Array, *, title: str = "", limit: float | None = None, **rest: Any
    ) -> Figure:
        if values.ndim != 1 or len(values) not in (len(self.columns), self.slots[-1].stop):
            return super().map_figure(values, inputs, title=title, limit=limit, **rest)
        values = values if len(values) == len(self.columns) else self.by_column(values)
        return bars(self.columns, values, title=title, details=self.details(inputs), most=12, **rest)


def level_text(cell: Any, levels: Mapping[str, float]) -> str:
    """A cell as its level is written; 1.0 is 1 where no level is called 1.0."""
    text = str(cell)
    whole = text not in levels and isinstance(cell, float | np.floating) and float(cell).is_integer()
    return str(int(cell)) if whole else text
