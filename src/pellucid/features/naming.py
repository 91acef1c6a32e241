"""Names of units from labeled examples: the label whose examples a unit tells from all others best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Bars, Matrix
from pellucid.core.run import CURRENT, Receipt, Run, undisturbed
from pellucid.engines.points import generator
from pellucid.engines.sweep import INPUTS, peek, sweep
from pellucid.errors import EmptyError, InputError, NonFiniteError, OptionError, ShapeError, TargetError
from pellucid.features.saving import save_tensors
from pellucid.features.units import Place, Visible, places, torch_model

Array = NDArray[Any]
ALPHA, WIDE = 0.05, 1.959964


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UnitNames:
    """The label that each unit of a layer tells from the others best: ``best`` (units,) its number.

    ``auc`` (units, labels) is the chance that a row of the label excites a unit more than a row of another; ``low`` and
    ``high`` (units,) end the 95 % interval of the best one, ``p`` (units,) is corrected over all units and labels.
    ``names`` has the label, or None where it is not above the control: the unit cannot be named by these labels.

    Example:
        >>> import torch, pellucid as pl
        >>> labels = torch.arange(40) % 2
        >>> rows = torch.stack([labels + 0.1 * torch.rand(40), torch.rand(40)], 1)
        >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU())
        >>> pl.name_units(net, rows, labels, "1").names[0]
        '1'
    """

    layer: str
    labels: tuple[str, ...]
    names: tuple[str | None, ...]
    best: Array
    auc: Array
    low: Array
    high: Array
    p: Array
    rows: int
    permutations: int
    pool: str
    receipt: Receipt

    def __len__(self) -> int:
        return len(self.names)

    def line(self, unit: int) -> str:
        """What is known of one unit."""
        if isinstance(unit, bool) or not isinstance(unit, int) or not -len(self) <= unit < len(self):
            got, do = str(unit), "Ask for another."
            raise TargetError(expected=f"a unit of {self.layer!r}, 0 … {len(self) - 1}", got=got, do=do)
        unit = unit % len(self)
        label, auc = self.labels[int(self.best[unit])], self.auc[unit, self.best[unit]]
        told = f"AUC {auc:.2f}, 95 % {self.low[unit]:.2f} … {self.high[unit]:.2f}, corrected p = {self.p[unit]:.2g}"
        if self.names[unit] is None:
            return f"unit {unit}: not nameable by these labels (nearest {label!r}: {told})"
        return f"unit {unit}: {label!r} ({told})"

    def order(self) -> Array:
        """Units that have a name first, by AUC."""
        named = np.array([each is not None for each in self.names])
        return np.lexsort((-self.auc[np.arange(len(self)), self.best], ~named))

    def figure(self, most: int = 20) -> Bars:
        """A bar a unit: the AUC of its label over chance, with 95 % intervals."""
        order = self.order()[:most]
        labels = tuple(
            f"unit {u}: {self.labels[int(self.best[u])] if self.names[u] is not None else 'not nameable'}"
            for u in order
        )
        value = self.auc[order, self.best[order]]
        count = sum(each is not None for each in self.names)
        title = f"{self.layer} · {count} of {len(self)} units have a name"
        return Bars(
            title=title,
            labels=labels,
            values=value - 0.5,
            errors=np.maximum(value - self.low[order], self.high[order] - value),
            signed=False,
            unit="AUC over 0.5",
            caption=f"{self.words()}.",
            alt=f"{title}, the first {self.line(int(order[0]))}",
        )

    def matrix(self, most: int = 24) -> Matrix:
        """Units by labels: AUC over chance."""
        order = self.order()[:most]
        return Matrix(
            title=f"{self.layer} · AUC − 0.5",
            values=self.auc[order] - 0.5,
            row_names=tuple(f"unit {u}" for u in order),
            column_names=self.labels,
            limit=0.5,
            sense="AUC over 0.5",
            caption=f"{self.words()}.",
            alt=f"{len(order)} units by {len(self.labels)} labels",
        )

    def words(self) -> str:
        """How it was measured."""
        return (
            f"{self.rows} rows, {self.pool} over places; named: above the largest of all units and labels in 95 % of "
            f"{self.permutations} permutations of the labels; {self.receipt}"
        )

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def to_frame(self) -> Any:
        """One line a unit, as a pandas frame."""
        import pandas

        units = np.arange(len(self))
        columns = {
            "unit": units,
            "name": list(self.names),
            "best": [self.labels[int(each)] for each in self.best],
            "auc": self.auc[units, self.best],
            "low": self.low,
            "high": self.high,
            "p": self.p,
        }
        return pandas.DataFrame(columns)

    def save(self, path: Any) -> None:
        """Write all arrays and a JSON header to one safetensors file."""
        arrays = {key: getattr(self, key) for key in ("best", "auc", "low", "high", "p")}
        save_tensors(path, arrays, "unit names", {"layer": self.layer, "labels": self.labels, "names": self.names})

    def _repr_html_(self) -> str:
        return self.figure().html() + self.matrix().html()

    def __repr__(self) -> str:
        lines = [self.line(int(unit)) for unit in self.order()[:5]]
        return "\n".join([f"UnitNames of {self.layer!r} · {self.words()}", *lines])


@dataclass(eq=False)
class Pooled:
    """Reads a layer: one number a row and unit, the maximum or the mean over places that count."""

    place: Place
    visible: Visible
    pool: str
    found: list[Tensor] = field(default_factory=list)

    def read(self, values: Tensor, rows: Tensor) -> None:
        maps, mask = self.place.maps(values), self.visible.of(rows, self.place, values)
        if maps.ndim > 2:
            flat = maps.flatten(2)
            there = torch.ones_like(flat[:, :1]) if mask is None else mask[:, None].to(flat)
            lowest = flat.masked_fill(there == 0, -torch.inf).amax(2)
            maps = lowest if self.pool == "max" else (flat * there).sum(2) / there.sum(2).clamp_min(1)
        self.found.append(maps.float().cpu().clone())


def name_units(
    model: Any,
    data: Any,
    labels: Any,
    layer: str,
    *,
    names: Sequence[str] | None = None,
    pool: Literal["max", "mean"] = "max",
    permutations: int = 199,
) -> UnitNames:
    r"""Name each unit of a layer by the label whose rows excite it most, where that is above what permuted labels give.

    .. math:: \mathrm{AUC}_{k,c} = P(a_k(x) > a_k(y)) + \tfrac12 P(a_k(x) = a_k(y)),
        \qquad x \text{ of label } c,\; y \text{ of another}

    ``labels`` is one a row, numbers or texts; ``names`` are those of the numbers (the model's classes without). A row's
    activation is the maximum over places, or the mean. Over all units and labels, the largest standardized AUC of each
    permutation gives ``p``. The interval is DeLong's, on the logit scale, of the best label's AUC by itself: it does
    not know that the best one was chosen.

    Cost:   one pass over the data up to the layer; one number a row and unit is kept.
    Raises: ShapeError for another number of labels than rows; EmptyError for fewer than two labels; LayerError.
    Source: DeLong, DeLong & Clarke-Pearson 1988, "Comparing the Areas under Two or More Correlated ROC Curves";
        Westfall & Young 1993, "Resampling-Based Multiple Testing".

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> digits = parts("digits")
        >>> found = pl.name_units(pl.load("demo:digits"), digits.examples[:100], digits.labels[:100], "block2")
        >>> found.auc.shape, found.labels[:3]
        ((48, 10), ('0', '1', '2'))
    """
    if pool not in ("max", "mean"):
        raise OptionError(expected="pool 'max' or 'mean'", got=repr(pool), do="Choose one.")
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 19:
        do = "With fewer nothing can be shown at 0.05."
        raise OptionError(expected="permutations of at least 19", got=repr(permutations), do=do)
    studied = torch_model(model)
    run = Run(CURRENT.get(), studied.device)
    with undisturbed(), run.progress("name units"):
        leaves, data = peek(studied, data)
        (place,) = places(studied, leaves, [layer])
        visible = Visible(studied, leaves)
        pooled = Pooled(place, visible, pool)
        rows = sweep(studied, data, {INPUTS: [visible], layer: [pooled]}, run)
    values = torch.cat(pooled.found).double().numpy()
    if not np.isfinite(values).all():
        do = "Check the weights and the scale of the inputs."
        raise NonFiniteError(expected=f"finite activations of {layer!r}", got="NaN or infinity", do=do)
    which, words = labels_of(labels, rows, names if names is not None else studied.classes)
    auc, p, best = aucs(values, which, len(words), permutations, run.seed)
    ends = [interval(values[:, k], which == c) for k, c in enumerate(best)]
    return UnitNames(
        layer=layer,
        labels=words,
        names=tuple(words[c] if p[k] <= ALPHA else None for k, c in enumerate(best)),
        best=best,
        auc=auc,
        low=np.array([low for low, _ in ends]),
        high=np.array([high for _, high in ends]),
        p=p,
        rows=rows,
        permutations=permutations,
        pool="maximum" if pool == "max" else "mean",
        receipt=run.receipt(),
    )


def labels_of(labels: Any, rows: int, names: Sequence[str] | None) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Labels by number (those that occur), and their names."""
    given = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if given.ndim != 1 or len(given) != rows:
        raise ShapeError(expected=f"{rows} labels, one a row", got=str(given.shape), do="Pass one label a row.")
    if given.dtype.kind == "f" and not bool((given == np.rint(given)).all()):
        do = "Labels are classes, not amounts."
        raise InputError(expected="whole numbers or texts", got="fractions or NaN", do=do)
    kinds, which = np.unique(given.astype(int) if given.dtype.kind in "fb" else given, return_inverse=True)
    if len(kinds) < 2:
        raise EmptyError(expected="rows of at least two labels", got=str(len(kinds)), do="Pass rows of others, too.")
    numbers = kinds.dtype.kind in "iu"
    fit = names is not None and numbers and kinds.min() >= 0 and kinds.max() < len(names)
    words = tuple(str(names[int(each)]) if fit and names is not None else str(each) for each in kinds)
    return which.reshape(-1), words


def aucs(
    values: Array, which: NDArray[np.intp], kinds: int, permutations: int, seed: int
) -> tuple[Array, Array, NDArray[np.intp]]:
    """AUC (units, labels), p (units,) over all of them, and the best label (units,)."""
    from scipy.stats import rankdata

    n, ranks = len(values), rankdata(values, axis=0)
    counts = np.bincount(which, minlength=kinds).astype(float)
    # the variance of a sum of n1 of these ranks, ties included, drawn without replacement
    spread = ranks.var(0, ddof=1)[:, None] * (counts * (n - counts) / n)[None]
    spread = np.sqrt(np.where(spread > 0, spread, np.inf))

    def standard(order: NDArray[np.intp]) -> tuple[Array, Array]:
        sums = np.stack([ranks[order[which == c]].sum(0) for c in range(kinds)], 1)
        return sums, (sums - counts * (n + 1) / 2) / spread

    sums, own = standard(np.arange(n))
    largest = np.array(
        [
            standard(torch.randperm(n, generator=generator(seed, 104723, k)).numpy())[1].max()
            for k in range(permutations)
        ]
    )
    best = own.argmax(1)
    top = own[np.arange(len(own)), best]
    p = (1 + (largest[None] >= top[:, None] - 1e-9).sum(1)) / (permutations + 1)
    return (sums - counts * (counts + 1) / 2) / (counts * (n - counts)), p, best


def interval(values: Array, here: NDArray[np.bool_]) -> tuple[float, float]:
    """The 95 % interval of an AUC: DeLong's on the logit scale; exact for the smaller group where nothing overlaps."""
    from scipy.stats import rankdata

    one, other = values[here], values[~here]
    all_ranks = rankdata(np.concatenate([one, other]))
    above = (all_ranks[: len(one)] - rankdata(one)) / len(other)
    below = 1 - (all_ranks[len(one) :] - rankdata(other)) / len(one)
    auc = float(above.mean())
    few = min(len(one), len(other))
    if auc in (0.0, 1.0):
        edge = 0.025 ** (1 / few)
        return (edge, 1.0) if auc else (0.0, 1 - edge)
    if few < 2:
        return 0.0, 1.0
    error = np.sqrt(above.var(ddof=1) / len(one) + below.var(ddof=1) / len(other)) / (auc * (1 - auc))
    middle = np.log(auc / (1 - auc))
    low, high = (1 / (1 + np.exp(-(middle + sign * WIDE * error))) for sign in (-1, 1))
    return float(low), float(high)
