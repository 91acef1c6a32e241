"""Statistics of units over a data set, in one pass: means, spreads, sparsity; units that are dead or saturated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.core.figure import Bars, Curve, Figure, Grid, Sheet
from pellucid.core.run import CURRENT, Receipt, Run
from pellucid.engines.sweep import INPUTS, peek, sweep
from pellucid.errors import LayerError, NonFiniteError, nearest
from pellucid.features.saving import save_tensors
from pellucid.features.tally import Lots, Scratch, Tally
from pellucid.features.units import Visible, places, torch_model

Array = NDArray[Any]

RECTIFIERS = frozenset(
    ("ReLU", "ReLU6", "GELU", "SiLU", "Mish", "ELU", "CELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "Hardswish")
)
BOUNDED = {
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
}
SATURATED = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStatistics:
    """One layer: a number for each of its units, over all rows and places.

    ``mean``, ``std``, ``low``, ``high`` (units,); ``sparsity`` is the share of values not above the threshold; ``dead``
    and ``saturated`` (units,) are bool. ``sample`` (rows, units) holds one random place of each of some random rows.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    count: int
    mean: Array
    std: Array
    low: Array
    high: Array
    sparsity: Array
    dead: Array
    saturated: Array
    sample: Array

    def __len__(self) -> int:
        return len(self.mean)

    def histogram(self, unit: int | None = None, bins: int = 20) -> tuple[Array, Array]:
        """Shares and edges of a histogram, of one unit or of all of them; from the sample."""
        values = self.sample if unit is None else self.sample[:, unit]
        low, high = float(values.min()), float(values.max())
        counts, edges = np.histogram(values, bins, (low, high if high > low else low + 1))
        return counts / counts.sum(), edges


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UnitStatistics(Mapping[str, LayerStatistics]):
    """What every unit of some layers does over a data set: ``statistics["layer"].mean`` and so on; a mapping by layer.

    A unit is dead if it is never above the threshold (of a rectifier), or always the same. It is saturated if a bounded
    activation is near an end in 95 % of all values, or a ReLU is never zero, so that it is nothing but linear.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
        >>> _ = net[0].bias.data.copy_(torch.tensor([0.0, -99.0, 99.0]))
        >>> found = pl.unit_statistics(net, torch.rand(50, 2))
        >>> found["1"].dead.tolist(), found["1"].saturated.tolist()[1:]
        ([False, True, False], [False, True])
    """

    layers: Mapping[str, LayerStatistics]
    rows: int
    threshold: float
    receipt: Receipt
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, layer: str) -> LayerStatistics:
        if layer not in self.layers:
            do = nearest(layer, self.layers)
            raise LayerError(expected="a layer that was looked at", got=repr(layer), do=do)
        return self.layers[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def figure(self, layer: str | None = None) -> Figure:
        """All layers as a table; or one layer: its units in the order of their means, and the values they take."""
        return self.table() if layer is None else layer_figure(self[layer], self.words())

    def table(self) -> Sheet:
        """A line a layer."""
        header = ("layer", "kind", "units", "mean", "std", "min", "max", "not above 0", "dead", "saturated")
        if self.threshold:
            header = (*header[:7], f"not above {self.threshold:g}", *header[8:])
        rows = tuple(
            (name, each.kind, len(each), rounded(each.mean.mean()), rounded(each.std.mean()), rounded(each.low.min()),
             rounded(each.high.max()), f"{100 * each.sparsity.mean():.0f} %", int(each.dead.sum()),
             int(each.saturated.sum()))
            for name, each in self.layers.items()
        )  # fmt: skip
        dead = sum(int(each.dead.sum()) for each in self.layers.values())
        alt = f"statistics of {len(rows)} layers over {self.rows} rows, {dead} dead units"
        return Sheet(title="Units over the data", header=header, rows=rows, caption=self.words(), alt=alt)

    def odd(self) -> Sheet:
        """Dead and saturated units, a line each."""
        rows = tuple(
            (name, unit, what, rounded(each.mean[unit]), rounded(each.low[unit]), rounded(each.high[unit]))
            for name, each in self.layers.items()
            for what, units in (("dead", each.dead), ("saturated", each.saturated))
            for unit in np.flatnonzero(units).tolist()
        )
        header = ("layer", "unit", "is", "mean", "min", "max")
        caption = self.words() if rows else f"No unit is dead or saturated. {self.words()}"
        alt = f"{len(rows)} dead or saturated units"
        return Sheet(title="Dead and saturated units", header=header, rows=rows, caption=caption, alt=alt)

    def shares(self) -> Bars:
        """A bar a layer: the share of its units that are dead."""
        names, each = tuple(self.layers), list(self.layers.values())
        dead = np.array([one.dead.mean() for one in each])
        details = tuple(f"{int(one.dead.sum())} of {len(one)}" for one in each)
        alt = f"share of dead units in {len(names)} layers, at most {dead.max():.0%}"
        return Bars(title="Dead units", labels=names, values=100 * dead, details=details, signed=False,
                    unit="% of units", caption=self.words(), alt=alt)  # fmt: skip

    def words(self) -> str:
        """Over what it was measured."""
        rows = f"{self.rows} rows" if self.rows > 1 else "1 row"
        return "; ".join([rows, str(self.receipt), *self.notes])

    def plot(self, layer: str | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(layer).plot()

    def to_frame(self) -> Any:
        """One line a unit, as a pandas frame."""
        import pandas

        names = ("mean", "std", "low", "high", "sparsity", "dead", "saturated")
        frames = [
            pandas.DataFrame({"layer": name, "unit": range(len(each)), **{key: getattr(each, key) for key in names}})
            for name, each in self.layers.items()
        ]
        return pandas.concat(frames, ignore_index=True)

    def save(self, path: Any) -> None:
        """Write all arrays and a JSON header to one safetensors file."""
        names = ("mean", "std", "low", "high", "sparsity", "dead", "saturated", "sample")
        arrays = {f"{name}/{key}": getattr(each, key) for name, each in self.layers.items() for key in names}
        header = {"rows": self.rows, "threshold": self.threshold, "kinds": {k: v.kind for k, v in self.layers.items()}}
        save_tensors(path, arrays, "unit statistics", header)

    def _repr_html_(self) -> str:
        odd = self.odd()
        return self.table().html() + (odd.html() if odd.rows else "")

    def __repr__(self) -> str:
        dead = sum(int(each.dead.sum()) for each in self.layers.values())
        units = sum(len(each) for each in self.layers.values())
        return f"UnitStatistics: {len(self)} layers, {units} units, {dead} dead · {self.words()}"


def unit_statistics(
    model: Any, data: Any, layers: str | Sequence[str] | None = None, threshold: float = 0.0
) -> UnitStatistics:
    """Measure what each unit of some layers does over a data set, in one pass that ends at the last layer needed.

    ``data`` is what the model takes (arrays, tensors, dicts, frames, lists of texts or paths), or an iterable of
    batches such as a DataLoader. Nothing is held that grows with it. Without ``layers``, all that compute something.
    A value is active above ``threshold``. Padding tokens do not count. One random place of each of 256 random rows is
    kept for histograms.

    Raises: EmptyError, LayerError for a layer that is not called, NonFiniteError for data or activations with NaN.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.unit_statistics(pl.load("demo:digits"), parts("digits").examples[:100], ["stem", "block2"])
        >>> len(found["block2"].mean), bool((found["block2"].low >= 0).all())
        (48, True)
    """
    studied = torch_model(model)
    run = Run(CURRENT.get(), studied.device)
    with run.progress("unit statistics"):
        leaves, data = peek(studied, data)
        visible, scratch, lots = Visible(studied, leaves), Scratch(), Lots(run.seed)
        tallies = {
            each.name: Tally(each, visible, scratch, lots, threshold, BOUNDED.get(each.kind))
            for each in places(studied, leaves, layers)
        }
        rows = sweep(studied, data, {INPUTS: [visible], **{name: [each] for name, each in tallies.items()}}, run)
    found = {name: settled(each) for name, each in tallies.items()}
    notes = ("deviations are over places of one row",) if rows == 1 else ()
    if any(each.count == 1 for each in found.values()):
        notes = ("one value a unit in dense layers: they have no standard deviation (nan)",)
    return UnitStatistics(layers=found, rows=rows, threshold=threshold, receipt=run.receipt(), notes=notes)


def settled(tally: Tally) -> LayerStatistics:
    """The numbers of a layer."""
    place, n = tally.place, tally.count
    sums = {name: each.numpy() for name, each in tally.sums().items()}
    mean, low, high = sums["sum"] / n, sums["low"], sums["high"]
    if not (np.isfinite(low) & np.isfinite(high)).all():
        do = "Check the weights and the scale of the inputs."
        raise NonFiniteError(expected=f"finite activations of {place.name!r}", got="NaN or infinity", do=do)
    about = mean - (tally.shift.numpy() if tally.shift is not None else 0.0)
    spread = np.maximum(sums["square"] - n * about**2, 0)
    std = np.where(low == high, 0.0, np.sqrt(spread / (n - 1))) if n > 1 else np.full_like(mean, np.nan)
    rectifier = place.kind in RECTIFIERS or bool((low >= 0).all())
    never = high <= tally.threshold if rectifier else np.zeros(len(mean), bool)
    ends = [sums[name] / n >= SATURATED for name in ("near low", "near high") if name in sums]
    linear = (low > 0) if place.kind in ("ReLU", "ReLU6") else np.zeros(len(mean), bool)
    return LayerStatistics(
        layer=place.name,
        kind=place.kind,
        shape=place.shape,
        count=n,
        mean=mean,
        std=std,
        low=low,
        high=high,
        sparsity=1 - sums["above"] / n,
        dead=never | ((low == high) & (n > 1)),
        saturated=np.logical_or.reduce([*ends, linear]),
        sample=(tally.sample if tally.sample is not None else torch.zeros(0, len(mean))).float().numpy(),
    )


def layer_figure(each: LayerStatistics, words: str) -> Grid:
    """Units in the order of their means, with two bands: the spread and the range; and the histogram of all values."""
    order, x = np.argsort(-each.mean, kind="stable"), np.arange(len(each), dtype=float)
    mean, std = each.mean[order], np.nan_to_num(each.std[order])
    low, high, title = each.low[order], each.high[order], f"{each.layer} · {len(each)} units"
    units = Curve(
        title=title,
        x=x,
        lines={"mean ± standard deviation": mean, "maximum": high, "minimum": low},
        bands={"mean ± standard deviation": (np.maximum(mean - std, low), np.minimum(mean + std, high))},
        x_label="units, in the order of their means",
        y_label="activation",
        alt=f"{title}: means from {mean.min():.3g} to {mean.max():.3g}",
    )
    share, edges = each.histogram(bins=40)
    values = Curve(
        title=f"{each.layer} · values",
        x=np.repeat(edges, 2)[1:-1],
        lines={"share of values": np.repeat(share, 2)},
        x_label="activation",
        y_label="share",
        caption=f"{len(each.sample)} random rows, one place of each; {100 * each.sparsity.mean():.0f} % not above 0. "
        f"{words}.",
        alt=f"histogram of the activations of {each.layer}",
    )
    return Grid(figures=(units, values), columns=1)


def rounded(value: float) -> float:
    """Three digits."""
    return float(f"{value:.3g}")
