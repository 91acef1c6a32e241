"""Network dissection: which units of a network mark the places of which concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.model import Model
from pellucid.core.run import CURRENT, Run, undisturbed
from pellucid.engines.points import generator
from pellucid.engines.sweep import INPUTS, peek, rows_of, sweep
from pellucid.errors import EmptyError, InputError, LayerError, OptionError
from pellucid.features.activations import Keep
from pellucid.features.concepts import ConceptMasks
from pellucid.features.dissection import Detection, Dissection, Example, LayerDissection
from pellucid.features.levels import ROOM, Fingerprint, Levels, Overlap, regions
from pellucid.features.units import Place, places, torch_model

Array = NDArray[Any]
BEST, SHOWN = 6, 12
ALPHA = 0.05


def dissect(
    model: Any,
    data: Any,
    masks: Any,
    layers: str | Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    *,
    share: float = 0.005,
    threshold: float = 0.04,
    permutations: int = 199,
) -> Dissection:
    r"""Which units are active exactly where a concept is, and above what masks of other rows would give.

    .. math:: \mathrm{IoU}_{k,c} = \frac{\sum_x |M_k(x) \cap L_c(x)|}{\sum_x |M_k(x) \cup L_c(x)|},
        \qquad M_k(x) = [\,a_k(x) \ge T_k\,], \quad P(a_k > T_k) = 0.005

    ``masks`` are (rows, concepts, height, width) of bool, a list of (concepts, height, width), or a function of the row
    number that gives such; None for a row without labels. ``layers`` are all with maps unless named; maps are enlarged
    bilinearly to the masks. A level at the unit's lowest value (zero behind a ReLU) must be passed, not only reached.

    A unit detects a concept if the IoU is above ``threshold`` and above its control: the same with the masks of other
    rows, ``permutations`` times. ``p`` counts control values as high as the IoU, plus one. Over all units and concepts
    the same permutations give the distribution of the largest excess over the control's mean in units of its spread
    (plus the median spread, so that rare concepts do not rule), and with it ``p_family``, which must be at most 0.05.

    Shapes: (units, concepts) numbers a layer.
    Cost:   two passes over the data (a third over the inputs alone for examples; one more to count an iterable); memory
        does not grow with the data but for the highest ``share`` of values, at most 2²⁴ numbers: beyond, levels are of
        a random sample of places.
    Raises: ShapeError, EmptyError, InputError for masks that do not fit or data that change from pass to pass;
        LayerError for a layer without maps (naming those that have); NonFiniteError.
    Source: Bau, Zhou, Khosla, Oliva & Torralba 2017, arXiv:1704.05796; the correction after Westfall & Young 1993,
        "Resampling-Based Multiple Testing".

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> pictures = parts("digits").examples[:60]
        >>> ink = (pictures > 128)[:, None]
        >>> found = pl.dissect(pl.load("demo:digits"), pictures, ink, "stem", ["ink"], permutations=19)
        >>> found["stem"].iou.shape, found.best("stem")[0].concept
        ((24, 1), 'ink')
    """
    options(share, threshold, permutations)
    studied = torch_model(model)
    run = Run(CURRENT.get(), studied.device)
    with undisturbed(), run.progress("dissect"):
        leaves, data = peek(studied, data)
        known = with_maps(studied, leaves, layers)
        first = counted(studied, data, run)
        checked = ConceptMasks(masks, first.rows, names)
        room = ROOM // sum(each.units for each in known)
        job = Dissecting(studied, data, checked, known, first, run)
        job.measure(share, room)
        job.overlap(permutations)
        return job.result(share, threshold)


def options(share: float, threshold: float, permutations: int) -> None:
    """Refuse options outside of their bounds."""
    if not 0 < share < 1 or not 0 <= threshold < 1:
        got = f"share={share}, threshold={threshold}"
        raise OptionError(expected="a share in (0, 1) and a threshold in [0, 1)", got=got, do="0.005 and 0.04.")
    if (
        isinstance(permutations, bool)
        or not isinstance(permutations, int)
        or not (permutations == 0 or permutations > 18)
    ):
        do = "Use 0 for no control; fewer than 19 can show nothing at 0.05."
        raise OptionError(expected="permutations of at least 19, or 0", got=repr(permutations), do=do)


def with_maps(model: Model, leaves: Any, layers: str | Sequence[str] | None) -> tuple[Place, ...]:
    """The layers as they are met; those that have no maps are refused."""
    found = places(model, leaves, layers)
    flat = [each for each in found if len(each.space) != 2 or each.axis != 0]
    if layers is None:
        found = tuple(each for each in found if each not in flat)
    elif flat:
        fit = [each.name for each in places(model, leaves, None) if len(each.space) == 2 and each.axis == 0]
        do = f"Layers that fit: {', '.join(fit[-6:])}." if fit else "This model has none."
        got = f"{flat[0].name!r} gives {flat[0].shape}"
        raise LayerError(expected="maps (channels, height, width)", got=got, do=do)
    if not found:
        raise LayerError(expected="a model with a layer of maps", got="none", do="Dissection needs convolutions.")
    return found


def counted(model: Model, data: Any, run: Run) -> Fingerprint:
    """How many rows there are, and their fingerprint; the model is not run."""
    if rows_of(model, data) is None and hasattr(data, "__next__"):
        do = "Pass a tensor, an array, a list or a DataLoader."
        raise InputError(expected="data that can be gone through twice", got="an iterator", do=do)
    found = Fingerprint()
    sweep(model, data, {INPUTS: [found]}, run)
    return found


@dataclass(eq=False)
class Dissecting:
    """A dissection under way."""

    model: Model
    data: Any
    masks: ConceptMasks
    known: tuple[Place, ...]
    first: Fingerprint
    run: Run
    levels: dict[str, Levels] = field(default_factory=dict)
    laid: dict[str, Overlap] = field(default_factory=dict)

    def measure(self, share: float, room: int) -> None:
        """First pass: the level of each unit."""
        for each in self.known:
            reader = Levels(each, self.first.rows, share, BEST, room * each.units, self.run.seed)
            if reader.above < 1:
                got = f"{self.first.rows * reader.area} places in {each.name!r}"
                do = "Pass more rows, or a larger share."
                raise EmptyError(expected=f"at least {int(np.ceil(1 / share))} places in all rows", got=got, do=do)
            self.levels[each.name] = reader
        self.sweep(self.levels)

    def overlap(self, permutations: int) -> None:
        """Second pass: what regions share with masks, in the rows' own order and in others."""
        orders = orders_of(self.masks.labeled, permutations, self.run.seed)
        for each in self.known:
            level = self.levels[each.name].level()
            strict = level == torch.as_tensor(self.levels[each.name].low)
            self.laid[each.name] = Overlap(each, level, strict, self.masks, orders)
        self.sweep(self.laid)

    def sweep(self, readers: dict[str, Any]) -> None:
        """One pass; the data must be the same as at first."""
        again = Fingerprint()
        sweep(self.model, self.data, {INPUTS: [again], **{name: [each] for name, each in readers.items()}}, self.run)
        if not self.first.same(again):
            do = "Switch shuffling and random changes of a loader off: masks belong to rows by their number."
            raise InputError(expected="the same rows in the same order at each pass", got="others", do=do)

    def result(self, share: float, threshold: float) -> Dissection:
        """Numbers, detections and examples."""
        measured = judged({name: ious(each) for name, each in self.laid.items()})
        layers = {}
        for place in self.known:
            laid, numbers = self.laid[place.name], measured[place.name]
            layers[place.name] = LayerDissection(
                layer=place.name,
                shape=place.shape,
                level=laid.level.double().cpu().numpy(),
                area=laid.area,
                **numbers,
                detects=(numbers["iou"] > threshold)
                & ((numbers["p_family"] <= ALPHA) if len(laid.orders) > 1 else np.bool_(True)),
            )
        notes = []
        if sum(self.masks.labeled) < self.first.rows:
            notes.append(f"{self.first.rows - int(self.masks.labeled.sum())} rows without labels are left out")
        if any(each.drawn < each.area for each in self.levels.values()):
            notes.append("levels are of a random sample of places")
        missing = [name for name, area in zip(self.masks.names, self.masks.area, strict=True) if not area]
        if missing:
            notes.append(f"nowhere in the masks: {', '.join(missing[:5])}")
        found = Dissection(
            layers=layers,
            concepts=self.masks.names,
            rows=self.first.rows,
            share=share,
            threshold=threshold,
            permutations=len(next(iter(self.laid.values())).orders) - 1,
            receipt=self.run.receipt(),
            modality=self.model.modality,
            notes=tuple(notes),
        )
        return replace(found, examples=self.examples(found), receipt=self.run.receipt())

    def examples(self, found: Dissection) -> dict[str, dict[int, tuple[Example, ...]]]:
        """The rows in which the best units of each layer are highest, with their regions; one pass over the inputs."""
        pixels = max(1, self.first.width * len(found) * BEST)
        best = {name: found.best(name)[: max(1, min(SHOWN, ROOM // pixels))] for name in found}
        who = {name: torch.as_tensor(self.levels[name].who).cpu() for name in found}
        wanted = {name: sorted({int(row) for one in best[name] for row in who[name][:, one.unit]}) for name in found}
        kept = Rows({row for rows in wanted.values() for row in rows})
        sweep(self.model, self.data, {INPUTS: [kept]}, self.run)
        if next(iter(kept.found.values())).ndim != 3:
            return {}
        made = {}
        for name, rows in wanted.items():
            inputs = torch.stack([kept.found[row] for row in rows])
            maps = Keep()
            sweep(self.model, [inputs], {name: [maps]}, self.run)
            values = dict(zip(rows, self.laid[name].place.maps(torch.cat(maps.pieces)), strict=True))
            made[name] = {
                one.unit: tuple(
                    self.example(one, row, kept.found[row], values[row]) for row in who[name][:, one.unit].tolist()
                )
                for one in best[name]
            }
        return made

    def example(self, one: Detection, row: int, inputs: Tensor, maps: Tensor) -> Example:
        """A unit's region in one row, beside the concept's mask."""
        laid, unit = self.laid[one.layer], slice(one.unit, one.unit + 1)
        space = (int(inputs.shape[1]), int(inputs.shape[2]))
        inside = regions(maps[unit], laid.level[unit], laid.strict[unit], space)[0].cpu().numpy()
        mask = self.masks.row(row, self.masks.names.index(one.concept)) if self.masks.labeled[row] else None
        return Example(row, inputs.cpu().numpy(), inside, mask, float(maps[one.unit].max()))


@dataclass(eq=False)
class Rows:
    """Reads the inputs and keeps some rows."""

    wanted: set[int]
    found: dict[int, Tensor] = field(default_factory=dict)

    def read(self, values: Tensor, rows: Tensor) -> None:
        for value, row in zip(values, rows.tolist(), strict=True):
            if row in self.wanted:
                self.found[row] = value.clone()


def orders_of(labeled: NDArray[np.bool_], permutations: int, seed: int) -> NDArray[np.intp]:
    """(1 + permutations, rows) whose masks go to each row: its own, then any other labeled row's."""
    who = np.flatnonzero(labeled)
    orders = np.tile(np.arange(len(labeled)), (permutations + 1, 1))
    for k in range(permutations):
        orders[k + 1, who] = who[torch.randperm(len(who), generator=generator(seed, 7919, k)).numpy()]
    return orders


def ious(laid: Overlap) -> Array:
    """(1 + permutations, units, concepts)"""
    union = laid.area[None, :, None] + laid.masks.area[None, None] - laid.shared
    return laid.shared / np.maximum(union, 1)


def judged(given: dict[str, Array]) -> dict[str, dict[str, Array]]:
    """The IoU, the mean and the 95 % of its control, p, and p over the whole family, a layer."""
    spread = {name: each.std(0) for name, each in given.items()}
    usual = float(np.median(np.concatenate([each.ravel() for each in spread.values()])))
    excess = {name: (each - each.mean(0)) / np.maximum(spread[name] + usual, 1e-12) for name, each in given.items()}
    largest = np.max([each.max((1, 2)) for each in excess.values()], 0)
    found = {}
    for name, each in given.items():
        own, others = each[0], each[1:]
        none = np.full(own.shape, np.nan)
        family = (largest[1:, None, None] >= excess[name][0] - 1e-12).sum(0)
        found[name] = {
            "iou": own,
            "control": others.mean(0) if len(others) else none,
            "control_high": np.quantile(others, 0.95, axis=0) if len(others) else none,
            "p": (1 + (others >= own).sum(0)) / len(each) if len(others) else none,
            "p_family": (1 + family) / len(each) if len(others) else none,
        }
    return found
