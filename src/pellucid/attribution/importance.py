"""Importance: one number a feature for many rows, with how far it is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Bars
from pellucid.core.run import Receipt

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Importance:
    """How much each feature matters over many rows: ``values`` (features,) with their ``standard_error``.

    ``half_width`` reaches to the ends of the 95 % intervals. ``base`` and ``score`` are the loss without and with all
    features, for methods that share out a loss; ``count`` (features,) says how many rows spoke of each feature.

    Example:
        >>> import torch, pellucid as pl
        >>> rows = torch.tensor([[1.0, 0.0], [-3.0, 1.0]])
        >>> found = pl.Overview(pl.InputXGradient()(torch.nn.Linear(2, 1), rows)).importance()
        >>> found.names, found.count.tolist()
        (('0', '1'), [2, 2])
    """

    title: str
    names: tuple[str, ...]
    values: Array
    standard_error: Array
    half_width: Array
    unit: str = ""
    sense: str = ""
    interval: str = ""
    count: Array
    base: float | None = None
    score: float | None = None
    receipt: Receipt | None = None
    notes: tuple[str, ...] = ()

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most important features."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:k]
        return [(self.names[i], float(self.values[i])) for i in order]

    def figure(self, most: int = 15) -> Bars:
        """A bar a feature with its 95 % interval, the most important first."""
        order = np.argsort(-np.abs(self.values), kind="stable")[:most]
        left = len(self.values) - len(order)
        first = f"{self.names[order[0]]} {self.values[order[0]]:.3g}" if len(order) else "nothing"
        told = [self.words(), f"{left} less important features are not shown"] if left else [self.words()]
        return Bars(
            title=self.title,
            labels=tuple(self.names[i] for i in order),
            values=self.values[order],
            errors=self.half_width[order],
            signed=bool(self.sense),
            sense=self.sense,
            unit=self.unit,
            caption=". ".join(told) + ".",
            alt=f"{self.title}: {len(self.values)} features, the first {first}",
        )

    def words(self) -> str:
        """What was measured, and how."""
        parts = [self.interval] if self.interval else []
        if self.base is not None and self.score is not None:
            parts.append(f"loss {self.base:.3g} without any feature, {self.score:.3g} with all")
        if self.receipt is not None:
            parts.append(str(self.receipt))
        return "; ".join([*parts, *self.notes])

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def to_frame(self) -> Any:
        """One row a feature, the most important first, as a pandas frame."""
        import pandas

        frame = pandas.DataFrame(
            {
                "feature": list(self.names),
                "importance": self.values,
                "standard_error": self.standard_error,
                "low": self.values - self.half_width,
                "high": self.values + self.half_width,
                "rows": self.count,
            }
        )
        order = np.argsort(-np.abs(self.values), kind="stable")
        return frame.iloc[order].reset_index(drop=True)

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        first = ", ".join(f"{name} {value:.3g}" for name, value in self.top(3))
        return f"{self.title}: {first} · {self.words()}"
