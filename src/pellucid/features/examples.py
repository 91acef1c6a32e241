"""The inputs of a data set that units answer to most, and the part of each that the unit can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Curve, Figure, Grid, MarkedText, Sheet, Tiles
from pellucid.core.modality import Images, Modality, Table, Text
from pellucid.core.places import Neuron
from pellucid.core.run import CURRENT, Receipt, Run
from pellucid.engines.sweep import INPUTS, peek, sweep
from pellucid.errors import InputError, NonFiniteError, OptionError, TargetError, nearest
from pellucid.features.reach import Boxes
from pellucid.features.receptive import boxes_of
from pellucid.features.saving import save_tensors
from pellucid.features.units import Place, Visible, places, torch_model

Array = NDArray[Any]
Which = Literal["most", "least"]
WHICH = ("most", "least")
AROUND = 4
ROWS = 8


class Kept:
    """The inputs of the rows that are among the best of any unit, and of no others."""

    def __init__(self) -> None:
        self.inputs: dict[int, Tensor] = {}
        self.now: Tensor | None = None
        self.first = 0

    def read(self, values: Tensor, rows: Tensor) -> None:
        self.now, self.first = values, int(rows[0])

    def hold(self, wanted: Tensor) -> None:
        """Keep the inputs of these rows, and let go of others."""
        keep = set(wanted.unique().tolist())
        self.inputs = {row: each for row, each in self.inputs.items() if row in keep}
        for row in keep - self.inputs.keys():
            if self.now is not None and 0 <= row - self.first < len(self.now):
                self.inputs[row] = self.now[row - self.first].detach().clone().cpu()


@dataclass(eq=False)
class Best:
    """Reads a layer and keeps the k best rows of each unit: one place a row, where it is strongest."""

    place: Place
    units: Tensor
    k: int
    sign: float
    visible: Visible
    kept: Kept
    values: Tensor | None = None
    rows: Tensor | None = None
    spots: Tensor | None = None

    def read(self, values: Tensor, rows: Tensor) -> None:
        maps = self.place.maps(values)
        maps = maps[:, self.units.to(maps.device)].flatten(2) if maps.ndim > 2 else maps[:, self.units][..., None]
        maps = self.sign * maps
        mask = self.visible.of(rows, self.place, values)
        if mask is not None:
            maps = maps.masked_fill(~mask[:, None], -torch.inf)
        if bool(torch.isnan(maps).any()):
            do = "Check the weights and the scale of the inputs."
            raise NonFiniteError(expected=f"finite activations of {self.place.name!r}", got="NaN", do=do)
        best, spot = (each.cpu() for each in maps.max(2))
        numbers = rows[:, None].expand(best.shape)
        if self.values is not None and self.rows is not None and self.spots is not None:
            best, spot = torch.cat([self.values, best]), torch.cat([self.spots, spot])
            numbers = torch.cat([self.rows, numbers])
        order = torch.argsort(best, dim=0, descending=True, stable=True)[: self.k]
        self.values, self.spots = best.gather(0, order), spot.gather(0, order)
        self.rows = numbers.gather(0, order)
        self.kept.hold(self.rows)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TopExamples:
    """The rows of a data set that units of a layer answer to most: ``values``, ``rows`` (units, k).

    ``positions`` (units, k, axes) are places in the units' maps, ``boxes`` what each place sees.
    ``inputs`` has the inputs of these rows by their number, and of no others.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 2, bias=False)
        >>> _ = net.weight.data.copy_(torch.eye(2))
        >>> data = torch.nn.Sequential(net)
        >>> found = pl.top_examples(data, torch.tensor([[0.0, 3.0], [2.0, 0.0], [1.0, 1.0]]), "0", k=2)
        >>> found.rows.tolist()
        [[1, 2], [0, 2]]
    """

    layer: str
    place: Place
    units: tuple[int, ...]
    values: Array
    rows: Array
    positions: Array
    inputs: Mapping[int, Tensor]
    boxes: Boxes | None
    modality: Modality
    which: str
    seen: int
    receipt: Receipt
    notes: tuple[str, ...] = field(default=())

    def place_of(self, unit: int) -> int:
        """The line of a unit."""
        if unit not in self.units:
            got, do = str(unit), nearest(str(unit), map(str, self.units))
            raise TargetError(expected=f"a unit of {self.layer!r} that was looked at", got=got, do=do)
        return self.units.index(unit)

    def box(self, unit: int, i: int = 0) -> tuple[tuple[int, int], ...] | None:
        """(first, end) of each axis of the input that the unit sees in its i-th example; None for dense inputs."""
        at = self.place_of(unit)
        if self.boxes is None:
            return None
        return self.boxes.at(tuple(self.positions[at, i].tolist()))

    def crop(self, unit: int, i: int = 0) -> Tensor:
        """The part of the i-th example that the unit sees, borders cut off: (channels, \\*box); all if it is dense."""
        example, box = self.inputs[int(self.rows[self.place_of(unit), i])], self.box(unit, i)
        if box is None:
            return example
        lead = example.ndim - len(box)
        return example[(slice(None),) * lead + tuple(slice(*each) for each in box)]

    def explained(self, method: Any, model: Any, unit: int) -> tuple[Any, ...]:
        """Ask a method, such as ``pl.Saliency()``, what the unit answers to in each of its examples, at its place."""
        at, found = self.place_of(unit), []
        for i, row in enumerate(self.rows[at].tolist()):
            where = tuple(self.positions[at, i].tolist()) or None
            target = Neuron(
                self.layer, channel=unit, position=where, axis=self.place.axis if self.place.shape else None
            )
            found.append(method(model, self.inputs[row][None], target=target))
        return tuple(found)

    def figure(self, units: Sequence[int] | None = None, page: int = 1, *, whole: bool = False) -> Figure:
        """A line a unit, eight units a page: crops of pictures, stretches of series, words in context, rows of tables.

        With ``whole`` the whole inputs are shown.
        """
        chosen = list(self.units if units is None else units)
        for unit in chosen:
            self.place_of(unit)
        last = -(-len(chosen) // ROWS)
        if not 1 <= page <= last:
            raise InputError(expected=f"a page 1 … {last}", got=str(page), do=f"There are {len(chosen)} units.")
        chosen = chosen[(page - 1) * ROWS : page * ROWS]
        title = f"{self.layer} · {self.which} activating" + (f" · page {page} of {last}" if last > 1 else "")
        if isinstance(self.modality, Images):
            return self.tiles(chosen, title, whole)
        if isinstance(self.modality, Text):
            return Grid(title=title, figures=tuple(self.sentences(unit) for unit in chosen), columns=1)
        first = next(iter(self.inputs.values()))
        if first.ndim == 2 and not isinstance(self.modality, Table):
            return Grid(title=title, figures=tuple(self.curves(unit, whole) for unit in chosen), columns=2)
        return self.table(chosen, title)

    def tiles(self, chosen: list[int], title: str, whole: bool) -> Tiles:
        """Crops of pictures with their activations."""
        rows = tuple(tuple(self.pixels(unit, i, whole) for i in range(self.values.shape[1])) for unit in chosen)
        labels = tuple(tuple(f"{each:.3g}" for each in self.values[self.place_of(unit)]) for unit in chosen)
        names = tuple(f"unit {unit}" for unit in chosen)
        return Tiles(title=title, caption=f"{self.words()}.", rows=rows, labels=labels, row_names=names,
                     alt=f"{title}: {self.values.shape[1]} pictures for each of {len(chosen)} units")  # fmt: skip

    def pixels(self, unit: int, i: int, whole: bool) -> NDArray[np.uint8]:
        """A crop as a picture; what lies outside of the picture is gray, so that crops of one layer have one size."""
        example, box = self.inputs[int(self.rows[self.place_of(unit), i])], self.box(unit, i)
        drawn: NDArray[np.uint8] = self.modality.pixels(example.numpy())  # type: ignore[attr-defined]
        if box is None or whole or len(box) != 2:
            return drawn
        size = [max(b - a for a, b in each) for each in zip(*self.all_boxes(), strict=True)]
        cut = drawn[tuple(slice(*each) for each in box)]
        sides = []
        for (a, b), want, have in zip(box, size, drawn.shape, strict=False):
            before = (want - (b - a)) if a == 0 and b < have else (want - (b - a)) // 2 if a == 0 else 0
            sides.append((before, want - (b - a) - before))
        return np.pad(cut, (*sides, (0, 0)), constant_values=225)

    def all_boxes(self) -> list[tuple[tuple[int, int], ...]]:
        """What is seen in every example."""
        pairs = [(unit, i) for unit in self.units for i in range(self.values.shape[1])]
        return [box for unit, i in pairs if (box := self.box(unit, i)) is not None]

    def sentences(self, unit: int) -> Sheet:
        """The texts around the tokens that a unit answers to, the tokens marked."""
        at, rows = self.place_of(unit), []
        for i, row in enumerate(self.rows[at].tolist()):
            tokens = self.modality.tokens(self.inputs[row].numpy())  # type: ignore[attr-defined]
            pad = self.modality.pad_id  # type: ignore[attr-defined]
            last = int((self.inputs[row] != pad).sum())
            if not len(self.positions[at, i]):
                rows.append((row, float(f"{self.values[at, i]:.3g}"), " ".join(tokens[1 : last - 1])))
                continue
            spot = int(self.positions[at, i, 0])
            low, high = max(0, spot - AROUND), min(last, spot + AROUND + 1)
            words = [*tokens[low:spot], f"»{tokens[spot]}«", *tokens[spot + 1 : high]]
            text = ("… " if low else "") + " ".join(words) + (" …" if high < last else "")
            rows.append((row, float(f"{self.values[at, i]:.3g}"), text))
        return Sheet(title=f"unit {unit}", header=("row", "activation", "token in its context"), rows=tuple(rows),
                     alt=f"unit {unit}: {len(rows)} texts")  # fmt: skip

    def marked(self, unit: int, i: int = 0) -> MarkedText:
        """One text with the token that the unit answers to."""
        at = self.place_of(unit)
        tokens = self.modality.tokens(self.inputs[int(self.rows[at, i])].numpy())  # type: ignore[attr-defined]
        values = np.zeros(len(tokens))
        values[tuple(self.positions[at, i])] = self.values[at, i]
        return MarkedText(tokens=tuple(tokens), values=values, limit=max(float(np.abs(values).max()), 1e-12))

    def curves(self, unit: int, whole: bool) -> Curve:
        """Stretches of series, one over the other, each from where the unit begins to see."""
        at, lines = self.place_of(unit), {}
        for i, row in enumerate(self.rows[at].tolist()):
            part = (self.inputs[row] if whole else self.crop(unit, i)).numpy()
            lines[f"row {row}: {self.values[at, i]:.3g}"] = part.mean(0)
        longest = max(len(each) for each in lines.values())
        lines = {name: np.pad(each, (0, longest - len(each)), constant_values=np.nan) for name, each in lines.items()}
        return Curve(title=f"unit {unit}", x=np.arange(longest, dtype=float), lines=lines,
                     x_label="step in what is seen", y_label="input", alt=f"unit {unit}: series")  # fmt: skip

    def table(self, chosen: list[int], title: str) -> Sheet:
        """Rows of a table, the columns in original units."""
        table, lines = self.modality, []
        names = tuple(table.columns[:8]) if isinstance(table, Table) else ()
        for unit in chosen:
            for i, row in enumerate(self.rows[self.place_of(unit)].tolist()):
                example = self.inputs[row].numpy()
                numbers = table.original(example[None])[0] if isinstance(table, Table) else example.ravel()[:8]
                cells = tuple(float(f"{each:.3g}") for each in numbers[:8])
                lines.append((f"unit {unit}", float(f"{self.values[self.place_of(unit), i]:.3g}"), row, *cells))
        names = names or tuple(str(i) for i in range(len(lines[0]) - 3))
        return Sheet(title=title, header=("unit", "activation", "row", *names), rows=tuple(lines),
                     caption=f"{self.words()}.", alt=f"{title}: {len(lines)} rows")  # fmt: skip

    def words(self) -> str:
        """Out of how many rows."""
        return "; ".join([f"the {self.values.shape[1]} {self.which} activating of {self.seen} rows", *self.notes])

    def plot(self, units: Sequence[int] | None = None, page: int = 1, *, whole: bool = False) -> Any:
        """Draw with matplotlib."""
        return self.figure(units, page, whole=whole).plot()

    def to_frame(self) -> Any:
        """One line an example, as a pandas frame."""
        import pandas

        lines = [
            {"unit": unit, "place": i, "row": int(self.rows[at, i]), "activation": float(self.values[at, i]),
             "position": tuple(self.positions[at, i].tolist())}
            for at, unit in enumerate(self.units) for i in range(self.values.shape[1])
        ]  # fmt: skip
        return pandas.DataFrame(lines)

    def save(self, path: Any) -> None:
        """Write all arrays and a JSON header to one safetensors file."""
        arrays = {"values": self.values, "rows": self.rows, "positions": self.positions, "units": np.array(self.units)}
        pictures = {f"input {row}": each for row, each in self.inputs.items()}
        save_tensors(path, {**arrays, **pictures}, "top examples", {"layer": self.layer, "which": self.which})

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        return f"TopExamples({self.layer}): {len(self.units)} units · {self.words()} · {self.receipt}"


def top_examples(
    model: Any, data: Any, layer: str, units: Sequence[int] | int | None = None, k: int = 9, which: Which = "most"
) -> TopExamples:
    """Find the rows of a data set that each unit of a layer answers to most (or "least"), with the part it can see.

    One pass; only the inputs of the best rows are kept, so memory does not grow with the data. A row counts once for a
    unit, at its strongest place. Without ``units``, as many of the layer's as a quarter of the memory setting holds.

    Raises: TargetError for a unit out of range, LayerError, EmptyError, NonFiniteError, OptionError.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.top_examples(pl.load("demo:digits"), parts("digits").examples, "down", units=[3, 7], k=4)
        >>> found.values.shape, found.crop(3).shape[0], len(found.inputs) <= 8
        ((2, 4), 1, True)
    """
    if which not in WHICH:
        raise OptionError(expected=f"which one of {WHICH}", got=repr(which), do=nearest(str(which), WHICH))
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise OptionError(expected="k a whole number at least 1", got=repr(k), do="Ask for some examples: k=9.")
    studied = torch_model(model)
    run = Run(CURRENT.get(), studied.device)
    leaves, data = peek(studied, data)
    place = places(studied, leaves, layer)[0]
    fit = max(1, run.memory // 4 // max(k * leaves.values[0].nbytes, 1))
    wanted = range(min(place.units, fit)) if units is None else [units] if isinstance(units, int) else units
    chosen = tuple(dict.fromkeys(place.unit(each) for each in wanted))
    if not chosen:
        raise TargetError(expected="at least one unit", got="none", do="Leave units out for all of them.")
    notes = [f"the first {len(chosen)} of {place.units} units"] if units is None and fit < place.units else []
    kept, visible = Kept(), Visible(studied, leaves)
    best = Best(place, torch.tensor(chosen), k, 1.0 if which == "most" else -1.0, visible, kept)
    with run.progress("top examples"):
        seen = sweep(studied, data, {INPUTS: [kept, visible], layer: [best]}, run)
    if best.values is None or best.rows is None or best.spots is None:
        raise InputError(expected="rows that reach the layer", got="none", do="Check the data.")
    spatial = len(leaves.explained) == 1 and leaves.values.ndim >= 3
    boxes = boxes_of(studied, leaves, place)[0] if spatial and place.space else None
    if boxes is not None and boxes.first.ndim - 1 != len(place.space):
        boxes = None
    if seen < k:
        notes.append(f"there are only {seen} rows")
    return TopExamples(
        layer=layer,
        place=place,
        units=chosen,
        values=best.sign * best.values.T.double().numpy(),
        rows=best.rows.T.numpy(),
        positions=positions_of(best.spots.T.numpy(), place),
        inputs=dict(kept.inputs),
        boxes=boxes,
        modality=studied.modality,
        which=which,
        seen=seen,
        receipt=run.receipt(),
        notes=tuple(notes),
    )


def positions_of(spots: Array, place: Place) -> Array:
    """Numbers of places in maps as positions (units, k, axes); texts may be longer than the first one."""
    if len(place.space) == 1:
        return spots[..., None]
    return np.stack(np.unravel_index(spots, place.space), -1) if place.space else np.zeros((*spots.shape, 0), dtype=int)
