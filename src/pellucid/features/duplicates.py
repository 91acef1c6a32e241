"""Filters of a layer that are alike: the cosine of any two, and the pairs that are nearly the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.core.figure import Figure, Grid, Matrix, Sheet
from pellucid.core.run import undisturbed
from pellucid.errors import LayerError, OptionError, nearest
from pellucid.features.kernels import chosen, kernels
from pellucid.features.saving import save_tensors
from pellucid.features.spectra import DEAD
from pellucid.features.units import torch_model

Array = NDArray[Any]
MOST_DRAWN = 96
MOST_UNITS = 8192


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FilterSimilarity:
    """How alike the filters of a layer are: ``cosine`` (units, units); nan where one of the two is dead.

    ``pairs`` are (unit, unit, cosine) with a magnitude of at least ``threshold``, the closest first. Filters of few
    numbers are alike by chance: ``by_chance`` pairs are expected of as many random directions of ``numbers`` numbers.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 3)
        >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))
        >>> pl.filter_similarity(net).pairs
        ((0, 1, 1.0),)
    """

    layer: str
    cosine: Array
    pairs: tuple[tuple[int, int, float], ...]
    threshold: float
    numbers: int
    by_chance: float

    def __len__(self) -> int:
        return len(self.cosine)

    def order(self) -> Array:
        """The units so that those that are alike stand together (average linkage)."""
        from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
        from scipy.spatial.distance import squareform

        if len(self) < 3:
            return np.arange(len(self))
        apart = 1 - np.abs(np.nan_to_num(self.cosine))
        np.fill_diagonal(apart, 0)
        flat = squareform(np.clip((apart + apart.T) / 2, 0, None), checks=False)
        tree = linkage(flat, "average")
        return np.asarray(leaves_list(optimal_leaf_ordering(tree, flat) if len(self) <= 512 else tree))

    def figure(self) -> Matrix:
        """The cosines as a matrix, filters that are alike beside each other; of many, those with the closest twin."""
        order = self.order()
        if len(order) > MOST_DRAWN:
            others = np.abs(np.nan_to_num(self.cosine)) - np.eye(len(self))
            kept = set(np.argsort(-others.max(1), kind="stable")[:MOST_DRAWN].tolist())
            order = np.array([unit for unit in order.tolist() if unit in kept])
        names = tuple(map(str, order.tolist()))
        title = f"{self.layer} · likeness of filters"
        shown = "" if len(order) == len(self) else f"The {len(order)} of {len(self)} filters with the closest twin. "
        return Matrix(
            title=title,
            caption=f"{shown}{self.words()}.",
            alt=f"{title}: cosines of {len(order)} filters, {len(self.pairs)} pairs nearly the same",
            values=self.cosine[np.ix_(order, order)],
            row_names=names,
            column_names=names,
            limit=1.0,
            signed=True,
            sense="cosine: + the same direction, − opposite",
        )

    def table(self) -> Sheet:
        """The pairs that are nearly the same."""
        rows = tuple((one, other, float(f"{cosine:.4g}")) for one, other, cosine in self.pairs)
        title = f"{self.layer} · filters that are nearly the same"
        return Sheet(title=title, header=("unit", "unit", "cosine"), rows=rows, caption=f"{self.words()}.", alt=title)

    def words(self) -> str:
        """How many pairs are nearly the same, and how many would be by chance."""
        dead = int(np.isnan(np.diag(self.cosine)).sum())
        rest = f"; {dead} dead filters left out" if dead else ""
        chance = "none" if self.by_chance < 0.05 else f"about {self.by_chance:.2g}"
        found = "1 pair" if len(self.pairs) == 1 else f"{len(self.pairs)} pairs"
        return f"{found} with a cosine of ±{self.threshold:g} or more, by chance {chance}{rest}"

    def plot(self) -> Any:
        """Draw the matrix with matplotlib."""
        return self.figure().plot()

    def save(self, path: Any) -> None:
        """Write the cosines and a JSON header to one safetensors file."""
        save_tensors(path, {"cosine": self.cosine}, "filter similarity", {"layer": self.layer})

    def _repr_html_(self) -> str:
        figures: tuple[Figure, ...] = (self.figure(), self.table()) if self.pairs else (self.figure(),)
        return Grid(figures=figures, columns=1).html()

    def __repr__(self) -> str:
        return f"FilterSimilarity of {self.layer!r}, {len(self)} filters: {self.words()}"


def filter_similarity(model: Any, layer: str | None = None, threshold: float = 0.95) -> FilterSimilarity:
    """Compare the filters of a layer with each other, and name those that are nearly the same or nearly opposite.

    Without ``layer``, the first with a matrix of weights. Biases do not count.

    Raises: LayerError for a layer without filters, OptionError for a threshold outside 0 … 1.

    Example:
        >>> import pellucid as pl
        >>> found = pl.filter_similarity(pl.load("demo:digits"), "block2.conv1")
        >>> len(found), found.numbers
        (48, 432)
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise OptionError(expected="a threshold above 0, at most 1", got=repr(threshold), do="Use e.g. 0.95.")
    studied = torch_model(model)
    with undisturbed(), studied.session():
        found = kernels(studied.module)
        matrices = [each.name for each in found if each.matrix is not None]
        if layer is None and not matrices:
            do = "Name a layer with a matrix of weights."
            raise LayerError(expected="a convolution or a dense layer", got="none in this model", do=do)
        kernel = chosen(found, matrices[0] if layer is None else layer)
        rows = kernel.units().double().cpu()
    if len(rows) > MOST_UNITS:
        do = nearest(kernel.name, matrices)
        raise LayerError(expected=f"a layer of at most {MOST_UNITS} filters", got=f"{len(rows)} in {layer!r}", do=do)
    norms = rows.norm(dim=1)
    alive = norms > DEAD * norms.max()
    unit = torch.where(alive[:, None], rows / norms[:, None].clamp_min(1e-300), torch.nan)
    cosine = np.asarray((unit @ unit.T).clamp(-1, 1))
    one, other = np.nonzero(np.triu(np.abs(np.nan_to_num(cosine)) >= threshold - 1e-12, 1))
    order = np.argsort(-np.abs(cosine[one, other]), kind="stable")
    pairs = tuple((int(one[i]), int(other[i]), round(float(cosine[one[i], other[i]]), 12)) for i in order)
    n, numbers = int(alive.sum()), rows.shape[1]
    return FilterSimilarity(
        layer=kernel.name,
        cosine=cosine,
        pairs=pairs,
        threshold=float(threshold),
        numbers=numbers,
        by_chance=n * (n - 1) / 2 * chance(float(threshold), numbers),
    )


def chance(cosine: float, numbers: int) -> float:
    """How often two random directions of so many numbers have a cosine of at least that magnitude.

    >>> round(chance(0.5, 3), 3), chance(0.5, 1)
    (0.5, 1.0)
    """
    from scipy.special import betainc

    return 1.0 if numbers == 1 else float(1 - betainc(0.5, (numbers - 1) / 2, cosine**2))
