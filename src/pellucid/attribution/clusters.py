"""Clusters: rows whose explanations are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Grid, Matrix, robust_limit

Array = NDArray[Any]
MOST_DRAWN = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Rows with like explanations: ``labels`` (rows,), cluster 0 the largest; ``means`` (clusters, features)."""

    labels: Array
    means: Array
    values: Array
    names: tuple[str, ...]
    title: str = ""

    def figure(self, most: int = 12) -> Matrix:
        """Every row's explanation as a line of color, by cluster; features by importance."""
        columns = self.columns(most)
        kept = spaced(len(self.labels))
        order = kept[np.argsort(self.labels[kept], kind="stable")]
        first = np.flatnonzero(np.diff(self.labels[order], prepend=-1))
        names = [""] * len(order)
        for i in first.tolist():
            names[i] = self.named(int(self.labels[order[i]]))
        return self.matrix(self.values[order][:, columns], tuple(names), columns, self.title, tuple(first[1:].tolist()))

    def means_figure(self, most: int = 12) -> Matrix:
        """The mean explanation of each cluster."""
        columns = self.columns(most)
        names = tuple(self.named(i) for i in range(len(self.means)))
        return self.matrix(self.means[:, columns], names, columns, f"{self.title}, their means")

    def named(self, cluster: int) -> str:
        """A cluster with its size."""
        size = int((self.labels == cluster).sum())
        return f"cluster {cluster} ({size} row{'s' * (size != 1)})"

    def columns(self, most: int) -> Array:
        """The numbers of the most important features."""
        return np.argsort(-np.abs(self.values).mean(0), kind="stable")[:most]

    def matrix(
        self, values: Array, rows: tuple[str, ...], columns: Array, title: str, breaks: tuple[int, ...] = ()
    ) -> Matrix:
        """Values as a figure."""
        return Matrix(
            title=title,
            values=values,
            row_names=rows,
            column_names=tuple(self.names[i] for i in columns),
            limit=robust_limit(values, 0.995 if breaks else 1.0),
            signed=bool((values < 0).any()),
            breaks=breaks,
            alt=f"{title}: {', '.join(self.named(i) for i in range(len(self.means)))}",
        )

    def _repr_html_(self) -> str:
        return Grid(figures=(self.figure(), self.means_figure()), columns=1).html()


def spaced(count: int) -> Array:
    """Evenly spaced row numbers, at most ``MOST_DRAWN``."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_DRAWN)).round().astype(int))
