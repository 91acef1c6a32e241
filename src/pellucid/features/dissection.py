"""What a dissection gives: how well regions of units agree with masks of concepts, and how well by accident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Bars, Figure, Sheet, Tiles
from pellucid.core.modality import Images, Modality
from pellucid.core.run import Receipt
from pellucid.errors import LayerError, TargetError, nearest
from pellucid.features.saving import save_tensors

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
DRAWN = 112
LIGHT, DARK, DIM = np.array([255, 221, 0]), np.array([20, 20, 20]), 0.45


@dataclass(frozen=True)
class Detection:
    """A unit beside the concept it agrees with best, and what the agreement is by accident."""

    layer: str
    unit: int
    concept: str
    iou: float
    control: float
    p: float
    detected: bool

    def words(self) -> str:
        """One line."""
        control = "no control" if np.isnan(self.control) else f"{self.control:.3f} with masks of other rows"
        told = "" if np.isnan(self.p) else f", corrected p = {self.p:.2g}"
        verb = "detects" if self.detected else "is not shown to detect"
        return f"unit {self.unit} of {self.layer!r} {verb} {self.concept!r}: IoU {self.iou:.3f} ({control}{told})"


@dataclass(frozen=True, eq=False)
class Example:
    """A row where a unit is high: the inputs, its region and the concept's mask there, and how high it is."""

    row: int
    inputs: Array
    region: NDArray[np.bool_]
    mask: NDArray[np.bool_] | None
    height: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerDissection:
    """One layer: ``level`` and ``area`` (units,); the rest (units, concepts).

    ``control`` and ``control_high`` are the mean and the 95 % quantile of the IoU with masks of other rows, ``p`` is of
    one pair, ``p_family`` corrected over all pairs.
    """

    layer: str
    shape: tuple[int, ...]
    level: Array
    area: Array
    iou: Array
    control: Array
    control_high: Array
    p: Array
    p_family: Array
    detects: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.iou)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dissection(Mapping[str, LayerDissection]):
    """Which units agree with which concepts; a mapping by layer.

    Example:
        >>> import numpy as np, torch, pellucid as pl
        >>> maps = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> found = pl.dissect(net, maps, maps > 0.995, "0", ["bright"])
        >>> print(found.detections()[0].words().split(": IoU")[0])
        unit 0 of '0' detects 'bright'
    """

    layers: Mapping[str, LayerDissection]
    concepts: tuple[str, ...]
    rows: int
    share: float
    threshold: float
    permutations: int
    receipt: Receipt
    modality: Modality
    notes: tuple[str, ...] = ()
    examples: Mapping[str, Mapping[int, tuple[Example, ...]]] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> LayerDissection:
        if layer not in self.layers:
            do = nearest(layer, self.layers)
            raise LayerError(expected="a layer that was dissected", got=repr(layer), do=do)
        return self.layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def best(self, layer: str) -> list[Detection]:
        """Each unit with its best concept: those that detect one first, by IoU."""
        each = self[layer]
        found = []
        for unit in range(len(each)):
            score = np.where(each.detects[unit], 1 + each.iou[unit], each.iou[unit])
            found.append(self.pair(layer, unit, int(np.argmax(score))))
        return sorted(found, key=lambda one: (-one.detected, -one.iou))

    def pair(self, layer: str, unit: int, concept: int) -> Detection:
        """One unit and one concept."""
        each = self[layer]
        at = unit, concept
        return Detection(
            layer,
            unit,
            self.concepts[concept],
            float(each.iou[at]),
            float(each.control[at]),
            float(each.p_family[at]),
            bool(each.detects[at]),
        )

    def detections(self, layer: str | None = None) -> list[Detection]:
        """Units that detect a concept, each with its best one, the highest IoU first."""
        found = [one for name in ([layer] if layer else self.layers) for one in self.best(name) if one.detected]
        return sorted(found, key=lambda one: -one.iou)

    # --------------------------------------------------------------------------------------------------------- figures

    def figure(self, layer: str | None = None, unit: int | None = None) -> Figure:
        """The best units of a layer with examples (the layer with most detections unless named); or one unit's IoUs."""
        if layer is None:
            layer = max(self.layers, key=lambda name: len(self.detections(name)))
        return self.tiles(layer) if unit is None else self.unit_figure(layer, unit)

    def counts(self) -> Bars:
        """A bar a layer: how many of its units detect a concept."""
        found = {name: self.detections(name) for name in self.layers}
        labels = tuple(
            f"{name}: {len(each)} of {len(self[name])} units, {len({one.concept for one in each})} concepts"
            for name, each in found.items()
        )
        return Bars(
            title="Units that detect a concept",
            labels=labels,
            values=np.array([len(each) for each in found.values()], dtype=float),
            signed=False,
            unit="units",
            caption=f"{self.words()}.",
            alt=f"units that detect a concept in {len(found)} layers: {', '.join(labels)}",
        )

    def tiles(self, layer: str, most: int = 8) -> Figure:
        """The best units of a layer: the rows in which each is highest, what is outside of its region dimmed."""
        best, examples = self.best(layer)[:most], self.examples.get(layer, {})
        shown = [each for each in best if each.unit in examples]
        title = f"{layer} · {len(self.detections(layer))} of {len(self[layer])} units detect a concept"
        if not shown:
            return self.table(layer)
        names = tuple(f"{one.unit} {one.concept}" if one.detected else f"{one.unit} ({one.concept})" for one in shown)
        rows = tuple(tuple(outlined(each, self.modality) for each in examples[one.unit]) for one in shown)
        labels = tuple(tuple(f"row {each.row}" for each in examples[one.unit]) for one in shown)
        scores = ", ".join(f"{one.iou:.2f}" for one in shown)
        told = (
            f"The rows in which each unit is highest, with its best concept (in brackets: not detected); IoU {scores}. "
        )
        told += "Yellow: the region of the unit; black on white: the concept"
        return Tiles(title=title, rows=rows, labels=labels, row_names=names, caption=f"{told}. {self.words()}.",
                     alt=f"{title}; {shown[0].words()}")  # fmt: skip

    def unit_figure(self, layer: str, unit: int, most: int = 12) -> Bars:
        """One unit: its IoU with all concepts, beside what it is by accident."""
        each = self[layer]
        if isinstance(unit, bool) or not isinstance(unit, int) or not -len(each) <= unit < len(each):
            do = "Ask for another."
            raise TargetError(expected=f"a unit of {layer!r}, 0 … {len(each) - 1}", got=str(unit), do=do)
        unit = unit % len(each)
        order = np.argsort(-each.iou[unit], kind="stable")[:most]
        pairs = [self.pair(layer, unit, int(c)) for c in order]
        labels = [f"{one.concept} (by accident {one.control:.3f}, p = {one.p:.2g})" for one in pairs]
        return Bars(
            title=f"{layer} · unit {unit}",
            labels=tuple(labels) if self.permutations else tuple(one.concept for one in pairs),
            values=each.iou[unit, order],
            signed=False,
            unit="IoU",
            caption=f"{pairs[0].words()}. {self.words()}.",
            alt=f"IoU of unit {unit} with {len(order)} concepts, the first {pairs[0].concept}",
        )

    def table(self, layer: str | None = None, most: int = 40) -> Sheet:
        """A line a unit with its best concept."""
        found = [one for name in ([layer] if layer else self.layers) for one in self.best(name)]
        found = sorted(found, key=lambda one: (-one.detected, -one.iou))[:most]
        rows = tuple(
            (one.layer, one.unit, one.concept, round(one.iou, 3), round(one.control, 3), f"{one.p:.2g}",
             "yes" if one.detected else "no")
            for one in found
        )  # fmt: skip
        header = ("layer", "unit", "concept", "IoU", "by accident", "corrected p", "detects")
        return Sheet(title="Units and concepts", header=header, rows=rows, caption=f"{self.words()}.",
                     alt=f"{len(rows)} units with their best concepts")  # fmt: skip

    def words(self) -> str:
        """How it was measured."""
        control = f"above the control ({self.permutations} permutations of the masks between rows)"
        rule = f"detected: IoU over {self.threshold:g}" + (f" and {control}" if self.permutations else ", no control")
        return "; ".join([f"{self.rows} rows, {len(self.concepts)} concepts", rule, str(self.receipt), *self.notes])

    def plot(self, layer: str | None = None, unit: int | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(layer, unit).plot()

    def to_frame(self) -> Any:
        """One line a unit and concept, as a pandas frame."""
        import pandas

        keys = ("iou", "control", "control_high", "p", "p_family", "detects")
        frames = [
            pandas.DataFrame(
                {
                    "layer": name,
                    "unit": np.repeat(np.arange(len(each)), len(self.concepts)),
                    "concept": np.tile(np.array(self.concepts, dtype=object), len(each)),
                    **{key: getattr(each, key).ravel() for key in keys},
                }
            )
            for name, each in self.layers.items()
        ]
        return pandas.concat(frames, ignore_index=True)

    def save(self, path: Any) -> None:
        """Write all arrays and a JSON header to one safetensors file."""
        keys = ("level", "area", "iou", "control", "control_high", "p", "p_family", "detects")
        arrays = {f"{name}/{key}": getattr(each, key) for name, each in self.layers.items() for key in keys}
        header = {"concepts": self.concepts, "rows": self.rows, "share": self.share, "threshold": self.threshold}
        save_tensors(path, arrays, "dissection", header)

    def _repr_html_(self) -> str:
        return self.counts().html() + self.figure().html() + self.table().html()

    def __repr__(self) -> str:
        found = self.detections()
        first = [one.words() for one in found[:3]]
        return "\n".join([f"Dissection: {len(found)} units detect a concept · {self.words()}", *first])


def outlined(example: Example, modality: Modality) -> Pixels:
    """A row with its region: the rest dimmed, its border yellow; the border of the concept's mask black on white."""
    pictures = modality if isinstance(modality, Images) else Images(mean=(0.0, 0.0), std=(1.0, 1.0))
    small = pictures.pixels(example.inputs)
    times = max(1, -(-DRAWN // max(small.shape[:2])))
    pixels = small.repeat(times, 0).repeat(times, 1).astype(float)
    inside = grown(example.region, pixels.shape[:2])
    pixels[~inside] = DIM * pixels[~inside] + (1 - DIM) * 128
    if example.mask is not None:
        there = grown(example.mask, pixels.shape[:2])
        pixels[border(there, 2)] = 255
        pixels[border(there, 1)] = DARK
    pixels[border(inside, 2)] = LIGHT
    return pixels.round().astype(np.uint8)


def grown(mask: NDArray[np.bool_], space: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask at another resolution, its cells repeated."""
    high, wide = mask.shape
    return np.asarray(mask[np.arange(space[0]) * high // space[0]][:, np.arange(space[1]) * wide // space[1]])


def border(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The places of a mask that are less than ``width`` from its outside."""
    left = np.pad(mask, width, mode="edge")
    for _ in range(width):
        core = left[1:-1, 1:-1] & left[:-2, 1:-1] & left[2:, 1:-1] & left[1:-1, :-2] & left[1:-1, 2:]
        left = core
    return np.asarray(mask & ~left)
