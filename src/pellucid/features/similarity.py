"""Centered kernel alignment: how alike the representations of two layers are, on the same data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.bound import full
from pellucid.core.figure import Matrix
from pellucid.core.leaves import Leaves
from pellucid.core.method import Method, option
from pellucid.core.modality import Text
from pellucid.core.model import Model
from pellucid.core.run import CURRENT, Receipt, Run, undisturbed
from pellucid.engines.sweep import batches, one_row, peek, rows_of, sweep
from pellucid.errors import InputError, NonFiniteError, ShapeError
from pellucid.features.activations import Keep, whole
from pellucid.features.saving import save_tensors
from pellucid.features.units import places, torch_model

Array = NDArray[Any]
LEAST = 4
MOST_ROWS = 4096
ESTIMATORS = ("unbiased", "biased")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RepresentationSimilarity:
    """How alike layers are: ``values`` (layers, other layers), 1 the same up to rotation and scale; nan for constants.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> found = pl.CKA()(net, torch.rand(20, 3))
        >>> found.layers, found.values.shape, round(found.between("0", "0"), 6)
        (('0', '1', '2'), (3, 3), 1.0)
    """

    values: Array
    layers: tuple[str, ...]
    others: tuple[str, ...]
    rows: int
    batches: int
    estimator: str
    receipt: Receipt
    notes: tuple[str, ...] = ()
    own: bool = True

    def between(self, layer: str, other: str) -> float:
        """The similarity of two layers by name."""
        for name, known in ((layer, self.layers), (other, self.others)):
            if name not in known:
                do = f"Compared were {', '.join(known[:8])}."
                raise InputError(expected="a layer that was compared", got=repr(name), do=do)
        return float(self.values[self.layers.index(layer), self.others.index(other)])

    def figure(self) -> Matrix:
        """The similarities as a matrix: layers down, others across."""
        title = "CKA between layers" if self.own else "CKA between two models"
        apart = np.nan_to_num(self.values, nan=-1)
        apart = apart - 3 * np.eye(*apart.shape) if self.own else apart
        down, across = np.unravel_index(int(apart.argmax()), apart.shape)
        closest = f"; closest: {self.layers[down]} and {self.others[across]}" if apart.size > 1 else ""
        return Matrix(
            title=title,
            caption=f"{self.words()}.",
            alt=f"{title}: {len(self.layers)} by {len(self.others)}{closest}",
            values=self.values,
            row_names=self.layers,
            column_names=self.others,
            limit=1.0,
            signed=bool((self.values < -0.05).any()),
            sense="1 the same up to rotation and scale, 0 unrelated",
        )

    def words(self) -> str:
        """On what it was measured."""
        how = f"{self.batches} batches" if self.batches > 1 else "all at once"
        return "; ".join([f"linear, {self.estimator}, {self.rows} rows, {how}", str(self.receipt), *self.notes])

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def to_frame(self) -> Any:
        """The matrix as a pandas frame."""
        import pandas

        return pandas.DataFrame(self.values, index=self.layers, columns=self.others)

    def save(self, path: Any) -> None:
        """Write the matrix and a JSON header to one safetensors file."""
        header = {"layers": self.layers, "others": self.others, "rows": self.rows, "estimator": self.estimator}
        save_tensors(path, {"cka": self.values}, "cka", header)

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        return f"RepresentationSimilarity: {len(self.layers)} × {len(self.others)} layers · {self.words()}"


@dataclass(frozen=True, kw_only=True)
class CKA(Method):
    r"""Linear centered kernel alignment between layers of one model, or of two (or checkpoints), on the same data.

    .. math:: \mathrm{CKA}(K, L) = \frac{\sum_b \mathrm{HSIC}_1(K_b, L_b)}
        {\sqrt{\sum_b \mathrm{HSIC}_1(K_b, K_b)}\,\sqrt{\sum_b \mathrm{HSIC}_1(L_b, L_b)}}, \qquad K_b = X_b X_b^\top

    It is 1 for representations that differ by a rotation and a scale only. The estimator "unbiased" is a sum over
    minibatches and near 0 for independent ones; its rows should come in random order (arrays and tensors are shuffled).
    The "biased" one of all rows at once is above 0 even then where features are many. A layer is compared as a whole,
    with all its places; of texts, the mean over tokens.

    Shapes: data (rows, \*shape), layers by name → a matrix (layers, other layers).
    Units:  none: 1 is the same, 0 unrelated.
    Cost:   one pass over the data; one more for each part of the layers where a minibatch of all needs more memory.
    Raises: InputError for fewer than four rows, NonFiniteError, LayerError for a layer that is not called.
    Source: Kornblith et al. 2019, arXiv:1905.00414 (linear CKA); Nguyen, Raghu & Kornblith 2021, arXiv:2010.15327,
            section 3 (minibatches, with the unbiased HSIC of Song et al. 2012).

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.CKA()(pl.load("demo:digits"), parts("digits").examples[:64], ["stem", "block1", "block2"])
        >>> found.between("block1", "block2") > found.between("stem", "block2")
        True
    """

    paper: ClassVar[str] = "Nguyen, Raghu & Kornblith 2021, arXiv:2010.15327"
    units: ClassVar[str] = "similarity"

    estimator: str = option(
        "unbiased", choices=ESTIMATORS, help="unbiased, from minibatches; or biased, of all rows at once"
    )
    batch: int = option(256, at_least=LEAST, help="rows of a minibatch, of the unbiased estimator")

    def __call__(
        self,
        model: Any,
        data: Any,
        layers: str | Sequence[str] | None = None,
        other: Any = None,
        other_layers: str | Sequence[str] | None = None,
    ) -> RepresentationSimilarity:
        """Compare layers of ``model`` with each other; with ``other``, those of one model with those of the other."""
        first = Side(torch_model(model), layers)
        sides = [first] if other is None else [first, Side(torch_model(other), other_layers or layers)]
        run, size = Run(CURRENT.get(), first.model.device), self.batch if self.estimator == "unbiased" else MOST_ROWS
        center = u_centered if self.estimator == "unbiased" else doubly_centered
        rows, count, left, total = 0, 0, 0, Sums()
        with undisturbed(), run.progress("CKA"):
            for step in minibatches([each.model for each in sides], data, size, run):
                n = step[0].batch
                if n < LEAST:
                    left += n
                    continue
                if count and self.estimator == "biased":
                    do = 'Use estimator="unbiased", which goes through the data in minibatches.'
                    raise InputError(expected=f"at most {MOST_ROWS} rows at once", got="more", do=do)
                grams = [each.grams(leaves, center, run) for each, leaves in zip(sides, step, strict=True)]
                total.add(grams[0], grams[-1], n)
                rows, count = rows + n, count + 1
        if not count:
            do = "Pass more data: similarity is about how rows lie towards each other."
            raise InputError(expected=f"at least {LEAST} rows", got=str(rows + left), do=do)
        values, notes = total.cka(), [f"{left} rows left out" if left > 1 else "1 row left out"] * bool(left)
        flat = [name for side, each in zip(sides, (total.own, total.others), strict=False)
                for name, size in zip(side.names, each, strict=True) if not size > 0]  # fmt: skip
        notes += [f"constant over the data: {', '.join(flat[:4])}"] * bool(flat)
        return RepresentationSimilarity(
            values=values,
            layers=first.names,
            others=sides[-1].names,
            rows=rows,
            batches=count,
            estimator=self.estimator,
            receipt=run.receipt(),
            notes=tuple(notes),
            own=other is None,
        )


@dataclass
class Side:
    """One of the models, and the layers of it that are compared."""

    model: Model
    layers: str | Sequence[str] | None
    names: tuple[str, ...] = ()

    def grams(self, leaves: Leaves, center: Any, run: Run) -> Tensor:
        """Centered Gram matrices (layers, n · n) of a minibatch; as many layers at a time as fit in memory."""
        met = places(self.model, leaves, self.layers)
        self.names = tuple(each.name for each in met)
        sizes = {each.name: 4 * leaves.batch * max(1, int(np.prod(each.shape))) for each in met}
        found: dict[str, Tensor] = {}
        texts = {each.name for each in met if each.tokens}
        for part in parted(sizes, run.memory):
            kept = {name: Keep() for name in part}
            sweep(self.model, [whole(leaves)], {name: [each] for name, each in kept.items()}, run)
            for name, each in kept.items():
                x = rows_as_vectors(self.model, leaves, full(torch.cat(each.pieces)), tokens=name in texts)
                each.pieces.clear()
                if not bool(torch.isfinite(x).all()):
                    do = "Check the weights and the scale of the inputs."
                    raise NonFiniteError(expected=f"finite activations of {name!r}", got="NaN or infinity", do=do)
                found[name] = center(gram(x)).flatten()
        return torch.stack([found[name] for name in self.names])


@dataclass
class Sums:
    """Sums over minibatches of HSIC(K, L), HSIC(K, K) and HSIC(L, L)."""

    both: Any = 0.0
    own: Any = 0.0
    others: Any = 0.0

    def add(self, k: Tensor, other: Tensor, n: int) -> None:
        """A minibatch with as much weight as it has rows. Centered Gram matrices (layers, n · n)."""
        weight = n / max(n * (n - 3), 1)
        self.both = self.both + np.asarray(weight * (k @ other.to(k).T).cpu())
        self.own = self.own + np.asarray(weight * k.square().sum(1).cpu())
        self.others = self.others + np.asarray(weight * other.square().sum(1).cpu())

    def cka(self) -> Array:
        """The quotient; nan where a representation is constant."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(self.own)[:, None] * np.sqrt(self.others)[None]
            return np.where(scale > 0, np.clip(self.both / scale, -1, 1), np.nan)


def rows_as_vectors(model: Model, leaves: Leaves, values: Tensor, *, tokens: bool) -> Tensor:
    """Activations (rows, features): all places side by side; of texts, the mean of the tokens that are there."""
    if not (tokens and isinstance(model.modality, Text) and leaves.integer):
        return values.flatten(1)
    there = (leaves.values != model.modality.pad_id)[..., None].to(values)
    if values.shape[1] != there.shape[1]:
        return values.flatten(1)
    return (values * there).sum(1) / there.sum(1).clamp_min(1)


def gram(x: Tensor) -> Tensor:
    """Inner products (n, n) of rows about their mean; zero where all rows are the same."""
    about = x - x.mean(0)
    if constant(x, about):
        return torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    return (about @ about.T).double()


def constant(x: Tensor, about: Tensor) -> bool:
    """Whether rows differ by rounding only."""
    return float(about.abs().max()) <= 1e-6 * float(x.abs().max())


def u_centered(k: Tensor) -> Tensor:
    r"""The centering with which inner products are unbiased: Σ_{i≠j} A_ij B_ij = n (n − 3) HSIC₁ (Song et al. 2012).

    >>> bool(u_centered(torch.eye(5, dtype=torch.float64) * 2).abs().max() < 1e-12)
    True
    """
    n = len(k)
    k = k - torch.diag(torch.diagonal(k))
    rows = k.sum(1) / (n - 2)
    k = k - rows[:, None] - rows[None] + k.sum() / ((n - 1) * (n - 2))
    return k - torch.diag(torch.diagonal(k))


def doubly_centered(k: Tensor) -> Tensor:
    """H K H: the rows' mean is the origin."""
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def parted(sizes: dict[str, int], most: int) -> list[list[str]]:
    """Names in parts, each of at most so many bytes, or alone.

    >>> parted({"a": 3, "b": 4, "c": 9, "d": 1}, 8)
    [['a', 'b'], ['c'], ['d']]
    """
    parts: list[list[str]] = []
    filled = 0
    for name, size in sizes.items():
        if not parts or filled + size > most:
            parts.append([])
            filled = 0
        parts[-1].append(name)
        filled += size
    return parts


def minibatches(models: list[Model], data: Any, size: int, run: Run) -> Iterator[tuple[Leaves, ...]]:
    """Rows of data in minibatches of ``size``, prepared for each of the models; arrays in a random order."""
    _, data = peek(models[0], data)
    count = rows_of(models[0], data)
    if isinstance(data, Tensor | np.ndarray) and count and not one_row(models[0], data, count):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(run.seed))
        data = Shuffled(data, order, size)
    streams = [data] * len(models) if count is not None else list(tee(data, len(models)))
    if isinstance(data, Shuffled):
        streams = [iter(data) for _ in models]
    parts = [portions(batches(model, each, None), size) for model, each in zip(models, streams, strict=True)]
    for step in zip(*parts, strict=True):
        if len({each.batch for each in step}) > 1:
            got = " and ".join(str(each.batch) for each in step)
            raise ShapeError(expected="the same rows in both models", got=got, do="Pass data that both can read.")
        yield step


@dataclass(frozen=True, eq=False)
class Shuffled:
    """An array's rows in another order, some at a time."""

    data: Any
    order: Tensor
    size: int

    def __iter__(self) -> Iterator[Any]:
        for rows in self.order.split(self.size):
            yield self.data[rows.to(self.data.device) if isinstance(self.data, Tensor) else rows.numpy()]


def portions(given: Iterator[Leaves], size: int) -> Iterator[Leaves]:
    """Prepared inputs cut and joined to ``size`` rows; rows of another shape start anew."""
    held: Leaves | None = None
    for each in given:
        if held is not None and shapes(held) != shapes(each):
            yield held
            held = None
        held = each if held is None else joined(held, each)
        while held is not None and held.batch >= size:
            yield held.take(torch.arange(size))
            held = held.take(torch.arange(size, held.batch)) if held.batch > size else None
    if held is not None:
        yield held


def shapes(leaves: Leaves) -> list[tuple[int, ...]]:
    """The shapes of a row of all parts."""
    return [tuple(each.shape[1:]) for each in leaves.tensors if isinstance(each, Tensor)]


def joined(one: Leaves, other: Leaves) -> Leaves:
    """The rows of both."""
    tensors = tuple(
        torch.cat([a, b]) if isinstance(a, Tensor) and a.ndim and len(a) == one.batch else a
        for a, b in zip(one.tensors, other.tensors, strict=True)
    )
    return replace(one, tensors=tensors, batch=one.batch + other.batch)
