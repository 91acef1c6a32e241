"""Two-dimensional maps of a layer: rows of data as dots, near each other where the layer takes them for alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.core.figure import Scatter
from pellucid.core.model import Model
from pellucid.core.run import CURRENT, Receipt, Run, undisturbed
from pellucid.engines.sweep import INPUTS, is_labels, peek, sweep
from pellucid.errors import InputError, OptionError, ShapeError
from pellucid.features.activations import checked
from pellucid.features.keeping import Faces, Vectors
from pellucid.features.saving import save_tensors
from pellucid.features.units import Visible, places, torch_model

Array = NDArray[Any]
How = Literal["pca", "tsne", "umap"]
Pool = Literal["mean", "none"]
METHODS = ("pca", "tsne", "umap")
NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
INSTALL = "pip install 'pellucid[maps]'"
PICTURES = 300
NEIGHBORS = 10
FIRST = 50
MOST_GROUPS = 29
WARNINGS = {
    "tsne": "t-SNE keeps neighbors: distances between clusters, their sizes and their places mean nothing",
    "umap": "UMAP keeps neighbors: distances between clusters and their sizes mean little",
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LayerMap:
    """Rows of data on a plane: ``points`` (rows, 2), and the ``rows`` of the data that they are.

    ``explained`` (2,) are the shares of variance of the two axes, ``components`` (2, features) what they are made of,
    about ``center``; for PCA only. ``neighbors`` is the share of each row's ten nearest that are so on the map.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU())
        >>> found = pl.layer_map(net, torch.randn(40, 3), "1", labels=[0, 1] * 20)
        >>> found.points.shape, found.explained.shape
        ((40, 2), (2,))
    """

    points: Array
    rows: Array
    layer: str
    method: How
    labels: Array | None
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    receipt: Receipt
    count: int
    neighbors: float
    explained: Array | None = None
    components: Array | None = None
    center: Array | None = None
    pictures: tuple[Any, ...] = ()
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    def figure(self) -> Scatter:
        """The map: a color and a mark for each class, or a scale for numbers; HTML shows pictures at the pointer."""
        name = NAMES[self.method]
        title = f"{self.layer} · {name}"
        labels: list[str] = [f"axis {i + 1}" for i in range(2)]
        if self.explained is not None:
            labels = [f"component {i + 1} ({100 * share:.1f} % of variance)" for i, share in enumerate(self.explained)]
        return Scatter(
            title=title,
            caption=f"{self.words()}.",
            alt=f"{title}: {len(self)} rows on a plane",
            x=self.points[:, 0],
            y=self.points[:, 1],
            x_label=labels[0],
            y_label=labels[1],
            notes=tuple(self.note(i) for i in range(len(self))),
            pictures=self.pictures,
            ticks=self.method == "pca",
            **self.colors(),
        )

    def colors(self) -> dict[str, Any]:
        """Groups, for labels that are classes; shades, for those that are numbers."""
        if self.labels is None:
            return {}
        if self.labels.dtype.kind == "f":
            low, high = float(np.nanmin(self.labels)), float(np.nanmax(self.labels))
            shades = (self.labels - low) / ((high - low) or 1.0)
            return {"shades": shades, "shade_label": "label", "shade_ends": (f"{low:.3g}", f"{high:.3g}")}
        names, groups, sizes = np.unique(self.labels, return_inverse=True, return_counts=True)
        kept = np.sort(np.argsort(-sizes, kind="stable")[:MOST_GROUPS])
        number = np.full(len(names), -1)
        number[kept] = np.arange(len(kept))
        return {"groups": number[groups], "group_names": tuple(self.named(names[i]) for i in kept)}

    def named(self, label: Any) -> str:
        """A label in words."""
        if self.classes is not None and isinstance(label, np.integer) and 0 <= label < len(self.classes):
            return self.classes[label]
        return str(label)

    def note(self, i: int) -> str:
        """What is said of a row."""
        text = f"row {self.rows[i]}"
        if self.labels is not None:
            text = f"{self.named(self.labels[i])} · {text}"
        return f"{text} · {self.texts[i]}" if self.texts else text

    def words(self) -> str:
        """How many rows, how much of the layer the map keeps, and what must not be read off it."""
        shown = f"{len(self)} rows" if len(self) == self.count else f"{len(self)} of {self.count} rows"
        parts = [shown]
        if self.explained is not None:
            parts.append(f"{100 * self.explained.sum():.0f} % of the variance")
        if np.isfinite(self.neighbors):
            parts.append(f"{100 * self.neighbors:.0f} % of nearest neighbors kept")
        parts += [WARNINGS[self.method]] if self.method in WARNINGS else []
        return "; ".join([*parts, *self.notes])

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def save(self, path: Any) -> None:
        """Write points and rows, and a JSON header, to one safetensors file."""
        arrays = {"points": self.points, "rows": self.rows}
        arrays |= {} if self.components is None else {"components": self.components}
        save_tensors(path, arrays, "layer map", {"layer": self.layer, "method": self.method})

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        return f"LayerMap of {self.layer!r} by {NAMES[self.method]}: {self.words()} · {self.receipt}"


def layer_map(
    model: Any,
    data: Any,
    layer: str,
    labels: Any = None,
    method: How = "pca",
    *,
    pool: Pool = "mean",
    most: int = 2000,
) -> LayerMap:
    """Draw rows of data on a plane so that those a layer takes for alike are near each other.

    ``labels`` (rows,) are classes (integers, names) or numbers (floats); a loader of (inputs, labels) brings its own.
    A row is described by the layer's units, each its mean over places (``pool="none"``: all places as they are). One
    pass; ``most`` rows, drawn at random, are kept and shown. PCA is of all rows, up to 2048 features; of those kept
    beyond. t-SNE is scikit-learn's, UMAP that of umap-learn (an extra, ``pellucid[maps]``); both of those kept. These
    two carry rounding far: at another batch size or memory budget a map may look another way.

    Raises: InputError for fewer than three rows or a constant layer, ShapeError for labels of another number,
    OptionError where umap-learn is missing.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> digits = parts("digits")
        >>> found = pl.layer_map(pl.load("demo:digits"), digits.examples[:100], "block2", digits.labels[:100])
        >>> found.points.shape, bool(found.explained[0] > found.explained[1])
        ((100, 2), True)
    """
    checked("method", method, METHODS)
    checked("pool", pool, ("mean", "none"))
    if isinstance(most, bool) or not isinstance(most, int) or most < 3:
        raise OptionError(expected="most ≥ 3 rows", got=repr(most), do="Use e.g. most=2000.")
    if method == "umap":
        umap_package()
    studied = torch_model(model)
    run, taken = Run(CURRENT.get(), studied.device), Labels()
    with undisturbed(), run.progress("layer map"):
        leaves, data = peek(studied, data)
        place = places(studied, leaves, layer)[0]
        visible = Visible(studied, leaves)
        vectors = Vectors(place, visible, run.seed, most, pool, wanted=method == "pca")
        faces = Faces(studied.modality, run.seed, most)
        if labels is None and not hasattr(data, "shape"):
            data = taken.beside(studied, data)
        count = sweep(studied, data, {INPUTS: [visible, faces], place.name: [vectors]}, run)
    rows, x = vectors.kept()
    check_rows(x, count, layer)
    values = as_labels(taken.all() if labels is None else labels, count)
    found = placed(x, vectors, method, run.seed)
    pictures, texts = faces.shown(PICTURES)
    return LayerMap(
        rows=rows,
        layer=place.name,
        method=method,
        labels=None if values is None else values[rows],
        classes=studied.classes,
        count=count,
        receipt=run.receipt(),
        pictures=pictures,
        texts=texts,
        neighbors=neighbors_kept(x, found["points"]),
        **found,
    )


def placed(x: Array, vectors: Vectors, method: How, seed: int) -> dict[str, Any]:
    """The map of rows (rows, features)."""
    notes: tuple[str, ...] = ()
    if method == "pca":
        if vectors.whole:
            center, directions, shares = vectors.principal()
        else:
            center, directions, shares = principal(x, seed)
            notes = (f"components of the {len(x)} rows shown: {x.shape[1]} features",) if len(x) < vectors.count else ()
        points = (x - center) @ directions.T
        rest = {"explained": shares, "components": directions, "center": center}
        return {"points": points, "notes": notes, **rest}
    if x.shape[1] > FIRST and len(x) > FIRST:
        center, directions, _ = principal(x, seed, FIRST)
        x, notes = (x - center) @ directions.T, (f"of the first {FIRST} principal components",)
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(x) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(x.astype(np.float32))
        return {"points": np.asarray(points, dtype=float), "notes": (f"perplexity {perplexity:.3g}", *notes)}
    nearest = min(15, len(x) - 1)
    mapper = umap_package().UMAP(n_neighbors=nearest, random_state=seed % 2**32, n_jobs=1)
    return {"points": np.asarray(mapper.fit_transform(x), dtype=float), "notes": (f"{nearest} neighbors", *notes)}


def umap_package() -> Any:
    """umap-learn, or what to do without."""
    from importlib import import_module

    try:
        return import_module("umap")
    except ImportError:
        do = f'Install it, {INSTALL}; or use method="pca" or "tsne".'
        raise OptionError(expected="umap-learn", got="no such package", do=do) from None


def principal(x: Array, seed: int, most: int = 2) -> tuple[Array, Array, Array]:
    """The mean, the first directions and their shares of variance, of rows (rows, features)."""
    from sklearn.decomposition import PCA

    fitted = PCA(min(most, *x.shape), random_state=seed % 2**32).fit(x)
    directions, shares = upright(fitted.components_), fitted.explained_variance_ratio_
    if most == 2 and len(shares) < 2:
        directions, shares = np.pad(directions, ((0, 1), (0, 0))), np.pad(shares, (0, 1))
    return fitted.mean_, directions, shares


def upright(directions: Array) -> Array:
    """Directions turned so that the largest of their numbers is positive."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return directions * np.where(largest < 0, -1.0, 1.0)


def neighbors_kept(x: Array, points: Array) -> float:
    """The share of each row's nearest neighbors in the layer that are so on the map; nan for few rows."""
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBORS, (len(x) - 1) // 3)
    if k < 1:
        return float("nan")
    inside, outside = (
        NearestNeighbors(n_neighbors=k).fit(each).kneighbors(return_distance=False) for each in (x, points)
    )
    same = [len(np.intersect1d(one, other)) for one, other in zip(inside, outside, strict=True)]
    return float(np.mean(same) / k)


def check_rows(x: Array, count: int, layer: str) -> None:
    """Refuse what has no map."""
    if count < 3:
        do = "Pass more data: a map is about how rows lie towards each other."
        raise InputError(expected="at least three rows", got=str(count), do=do)
    if not np.ptp(x, axis=0).any():
        do = "Choose another layer."
        raise InputError(expected=f"a layer that tells rows apart ({layer!r})", got="the same for all rows", do=do)


def as_labels(labels: Any, count: int) -> Array | None:
    """One label a row: integers, texts or floats."""
    if labels is None:
        return None
    array = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    if array.ndim != 1 or len(array) != count:
        raise ShapeError(expected=f"one label for each of {count} rows", got=f"shape {array.shape}", do="Pass as many.")
    if array.dtype.kind == "b":
        return array.astype(int)
    return array if array.dtype.kind in "iuf" else array.astype(str)


class Labels:
    """The labels that a loader of (inputs, labels) brings."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.every = True

    def beside(self, model: Model, data: Any) -> Any:
        """The same data; labels are noted on the way. Data that is no stream of batches stays as it is."""
        from pellucid.engines.sweep import rows_of

        return data if rows_of(model, data) is not None else self.noted(data)

    def noted(self, data: Any) -> Iterator[Any]:
        """Batches as they come."""
        for batch in data:
            pair = isinstance(batch, list | tuple) and len(batch) == 2 and is_labels(batch[1], batch[0])
            self.every = self.every and pair
            if pair:
                self.seen.append(np.asarray(batch[1]))
            yield batch

    def all(self) -> Array | None:
        """One for each row, or nothing."""
        return np.concatenate(self.seen) if self.seen and self.every else None
