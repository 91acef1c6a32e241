"""Overview: what many explanations say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pellucid.attribution.clusters import Clusters, spaced
from pellucid.attribution.importance import Importance
from pellucid.core.drawing import Contributions, contributions
from pellucid.core.figure import Figure, Grid, Points
from pellucid.core.modality import Table, Text
from pellucid.core.result import Attribution
from pellucid.engines.swarm import swarm
from pellucid.errors import DtypeError, EmptyError, InputError, OptionError, UnknownName, nearest

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Overview:
    """What the explanations of many rows say together: one attribution of many rows, or a list of them.

    Parts are columns of a table, groups, elements of a tensor, or words; a word counts where it stands in at least two
    texts, with the mean of its values in a text. ``values`` is (rows, features), NaN where a row has no such word.

    Raises: InputError for one row where an interval is asked for, or results that do not belong together; UnknownName.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> rows = parts("breast-cancer").examples[:20]
        >>> seen = pl.Overview(pl.Ablation()(pl.load("demo:breast-cancer"), rows, target="malignant"))
        >>> seen.importance().top(1)[0][0] in seen.names
        True
    """

    results: Attribution | Sequence[Attribution]

    def __post_init__(self) -> None:
        given = [self.results] if isinstance(self.results, Attribution) else self.results
        if not isinstance(given, list | tuple) or not all(isinstance(each, Attribution) for each in given):
            got, do = type(self.results).__name__, "Pass what a method gave for many rows."
            raise DtypeError(expected="an attribution, or a list of them", got=got, do=do)
        if not given:
            raise EmptyError(expected="at least one attribution", got="none", do="Explain some rows.")
        kinds = sorted({(each.method.name, each.modality.kind, each.at or "the inputs") for each in given})
        if len(kinds) > 1:
            got, do = " and ".join(" ".join(each) for each in kinds[:3]), "Make an overview of each."
            raise InputError(expected="results of one method, on one kind of input, at one place", got=got, do=do)

    @cached_property
    def each(self) -> tuple[Attribution, ...]:
        """The results."""
        return (self.results,) if isinstance(self.results, Attribution) else tuple(self.results)

    @cached_property
    def rows(self) -> tuple[Contributions, ...]:
        """The parts of every row."""
        return tuple(contributions(result, row) for result in self.each for row in range(len(result)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features: columns, groups, elements, or words of at least two texts in the order of their frequency."""
        if isinstance(self.each[0].modality, Text):
            counts = Counter(word for row in self.rows for word in {spelled(name) for name in row.names})
            often = sorted((word for word in counts if counts[word] > 1), key=lambda word: (-counts[word], word))
            if not often:
                do = "Explain more texts: a single text's words are in its own figure."
                raise EmptyError(expected="a word that stands in two texts", got="none", do=do)
            return tuple(often)
        names = self.rows[0].names
        if any(row.names != names for row in self.rows):
            do = "Explain rows of the same features: columns, groups, or elements of one shape."
            raise InputError(expected="rows of the same features", got="others", do=do)
        return names

    @cached_property
    def values(self) -> Array:
        """(rows, features)"""
        places = {name: i for i, name in enumerate(self.names)}
        if not isinstance(self.each[0].modality, Text):
            return np.stack([row.values for row in self.rows])
        table = np.full((len(self.rows), len(places)), np.nan)
        for row, drawn in zip(table, self.rows, strict=True):
            found: dict[int, list[float]] = {}
            for name, value in zip(drawn.names, drawn.values.tolist(), strict=True):
                if spelled(name) in places:
                    found.setdefault(places[spelled(name)], []).append(value)
            for place, numbers in found.items():
                row[place] = np.mean(numbers)
        return table

    @cached_property
    def numbers(self) -> Array | None:
        """(rows, features) what the inputs say, in original units; None for words and groups."""
        given = [row.numbers for row in self.rows if row.numbers is not None]
        return np.stack(given) if len(given) == len(self.rows) else None

    @property
    def unit(self) -> str:
        """What one value means."""
        said = self.targets
        target = next(iter(said)) if len(said) == 1 else "explained number"
        units = self.each[0].method.units
        return f"contribution to the {target}" if units in ("target", "") else units.replace("the target", target)

    @cached_property
    def targets(self) -> Counter[str]:
        """How many rows explain which number."""
        return Counter(result.target_words(row) for result in self.each for row in range(len(result)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the rows."""
        if len(self.targets) == 1:
            return ()
        told = ", ".join(f"{name} ({count})" for name, count in self.targets.most_common(4))
        return (f"the rows explain different numbers: {told}; say target= for one",)

    def importance(self) -> Importance:
        """The mean size of each feature's values over rows, with 95 % intervals by Student's t over rows."""
        if len(self.rows) < 2:
            do = "Explain more rows: an interval is read off their spread. beeswarm() shows a single one."
            raise InputError(expected="at least two rows", got="1", do=do)
        from scipy.special import stdtrit

        sizes = np.abs(self.values)
        count = np.isfinite(sizes).sum(0)
        error = np.nanstd(sizes, 0, ddof=1) / np.sqrt(count)
        return Importance(
            title=f"{self.each[0].method.name} · mean |value|",
            names=self.names,
            values=np.nanmean(sizes, 0),
            standard_error=error,
            half_width=stdtrit(count - 1, 0.975) * error,
            unit=f"mean size of the {self.unit}",
            interval=f"{len(self.rows)} rows; 95 % intervals of the mean over rows by Student's t",
            count=count,
            notes=self.notes,
        )

    def figure(self, most: int = 12) -> Figure:
        """Importance as bars with intervals."""
        return self.importance().figure(most)

    def beeswarm(self, most: int = 12) -> Points:
        """A dot a row and feature: its value along, the most important features first, colored by what the input says.

        Colors run from the 5th to the 95th percentile of each feature.
        """
        order = np.argsort(-np.nanmean(np.abs(self.values), 0), kind="stable")[:most]
        rows = spaced(len(self.rows))
        x = self.values[rows][:, order]
        y = swarm(x) + np.arange(float(len(order)))
        shades = None if self.numbers is None else scaled(self.numbers[:, order])[rows]
        names = tuple(self.names[i] for i in order)
        left = len(self.names) - len(order)
        told = [
            dots_words(len(rows), len(self.rows)),
            *([f"{left} less important features are not shown"] if left else []),
        ]
        return Points(
            title=f"{self.each[0].method.name} · every row",
            x=x.T.ravel(),
            y=y.T.ravel(),
            shades=None if shades is None else shades.T.ravel(),
            shade_label="what the input says, within each feature",
            rows=names,
            x_label=self.unit,
            caption="; ".join([*told, *self.notes]) + ".",
            alt=f"{len(rows)} rows as dots for {len(names)} features, the first {', '.join(names[:3])}",
        )

    def dependence(self, feature: str, color: str | None = None) -> Points:
        """A dot a row: what the input says of a feature along, the feature's value up, colored by another feature."""
        at = self.place(feature)
        if self.numbers is None:
            do = "Use columns or elements as features; groups and words have no single number."
            raise InputError(expected="features with a number in the input", got="none", do=do)
        other = None if color is None else self.place(color)
        rows = spaced(len(self.rows))
        x, y = self.numbers[rows, at], self.values[rows, at]
        levels = self.levels(feature)
        if levels:
            x = x + swarm(np.where(np.rint(x)[:, None] == np.arange(len(levels)), y[:, None], np.nan)).sum(1)
        shown = None if other is None else self.numbers[:, other]
        return Points(
            title=f"{self.each[0].method.name} · {feature}",
            x=x,
            y=y,
            shades=None if shown is None else scaled(shown[:, None])[rows, 0],
            shade_label="" if color is None else self.with_unit(color),
            shade_ends=("", "") if shown is None else self.ends_of(color or "", shown),
            columns=levels,
            x_label=self.with_unit(feature),
            y_label=self.unit,
            caption="; ".join([dots_words(len(rows), len(self.rows)), *self.notes]) + ".",
            alt=f"{len(rows)} rows as dots: {feature} along, its contribution up",
        )

    def place(self, feature: str) -> int:
        """The number of a feature by its name."""
        if feature not in self.names:
            raise UnknownName(expected="the name of a feature", got=repr(feature), do=nearest(feature, self.names))
        return self.names.index(feature)

    def levels(self, feature: str) -> tuple[str, ...]:
        """The levels of a categorical column; nothing for numbers."""
        table = self.each[0].modality
        return tuple(map(str, table.categories.get(feature, ()))) if isinstance(table, Table) else ()

    def with_unit(self, feature: str) -> str:
        """A feature with its unit."""
        table = self.each[0].modality
        unit = table.units.get(feature, "") if isinstance(table, Table) else ""
        return f"{feature} ({unit})" if unit else feature

    def ends_of(self, feature: str, numbers: Array) -> tuple[str, str]:
        """What the ends of the color scale stand for."""
        low, high = np.nanpercentile(numbers, (5, 95))
        levels = self.levels(feature)
        return (levels[round(low)], levels[round(high)]) if levels else (f"{low:.3g}", f"{high:.3g}")

    def clusters(self, k: int = 3, by: Literal["ward", "k-means"] = "ward") -> Clusters:
        """Rows whose explanations are alike, by Ward's hierarchy or by k-means; cluster 0 is the largest."""
        if not isinstance(k, int) or not 1 <= k <= len(self.rows):
            raise OptionError(expected=f"1 … {len(self.rows)} clusters", got=repr(k), do="No more than there are rows.")
        table = np.nan_to_num(self.values)
        if by == "ward":
            from scipy.cluster.hierarchy import fcluster, linkage

            found = fcluster(linkage(table, "ward"), k, "maxclust") if k > 1 else np.ones(len(table), dtype=int)
        elif by == "k-means":
            from sklearn.cluster import KMeans

            found = KMeans(k, n_init=10, random_state=0).fit_predict(table)
        else:
            raise OptionError(expected="ward or k-means", got=repr(by), do="Choose how rows are put together.")
        sizes = Counter(found.tolist())
        order = sorted(sizes, key=lambda label: (-sizes[label], found.tolist().index(label)))
        labels = np.array([order.index(each) for each in found.tolist()])
        means = np.stack([table[labels == i].mean(0) for i in range(len(order))])
        name = self.each[0].method.name
        return Clusters(labels=labels, means=means, values=table, names=self.names, title=f"{name} · clusters by {by}")

    def to_frame(self) -> Any:
        """One row a feature: importance, interval, mean value, as a pandas frame."""
        frame = self.importance().to_frame()
        mean = dict(zip(self.names, np.nanmean(self.values, 0), strict=True))
        return frame.assign(mean=[mean[name] for name in frame["feature"]])

    def plot(self) -> Any:
        """Draw the beeswarm with matplotlib."""
        return self.beeswarm().plot()

    def _repr_html_(self) -> str:
        shown: tuple[Figure, ...] = (self.beeswarm(),)
        shown = (self.figure(), *shown) if len(self.rows) > 1 else shown
        return Grid(figures=shown, columns=1).html()

    def __repr__(self) -> str:
        return f"Overview of {len(self.rows)} rows and {len(self.names)} features by {self.each[0].method.name}"


def spelled(word: str) -> str:
    """A word as it is counted: without case and without space around."""
    return word.strip().lower()


def dots_words(shown: int, count: int) -> str:
    """How many rows are drawn."""
    return f"{count} rows" if shown == count else f"{shown} of {count} rows, evenly spaced"


def scaled(numbers: Array) -> Array:
    """Columns (rows, n) from 0 at their 5th percentile to 1 at their 95th; a column that never changes is 0.5."""
    low, high = np.nanpercentile(numbers, (5, 95), axis=0)
    width = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(width > 0, np.clip((numbers - low) / width, 0, 1), 0.5)
