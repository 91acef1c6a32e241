"""Receptive fields: which part of the input a unit can see, and which part it does look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Figure, Heat, Maps, robust_limit
from pellucid.core.leaves import Leaves
from pellucid.core.method import question
from pellucid.core.modality import Images
from pellucid.core.model import Model
from pellucid.core.places import Neuron
from pellucid.core.run import CURRENT, Run, undisturbed
from pellucid.core.site import Stop, meet, site_of, uncalled
from pellucid.errors import PellucidError, ShapeError, TargetError
from pellucid.features.reach import Boxes, Reach
from pellucid.features.units import Place, places, torch_model

Array = NDArray[Any]
GROWTH = (2, 4, 8)
MOST_CELLS = 600_000
SHARE = 1 - 0.9545


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReceptiveField:
    """What a unit of a layer can see of the input: ``size``, ``stride`` and ``start`` for each axis of space.

    The unit at position p sees the places ``start + p * stride`` … ``+ size - 1``, as far as they are inside; ``size``
    is None where it sees all of an input of any length, ``stride`` None where positions do not step evenly. ``boxes``
    has what each position sees of these inputs. ``influence`` (\\*space) is what one unit does look at: the magnitude
    of its gradient, averaged over the inputs, and ``effective`` the side of the area where it is over 4.55 % of its
    maximum.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv1d(2, 1, 3))
        >>> field = pl.receptive_field(net, "2", torch.rand(4, 1, 32))
        >>> field.size, field.stride, field.start, field.box((1,))
        ((7,), (2.0,), (0.0,), ((2, 9),))
    """

    layer: str
    size: tuple[int | None, ...]
    stride: tuple[float | None, ...]
    start: tuple[float, ...]
    boxes: Boxes
    channel: int | None
    position: tuple[int, ...]
    influence: Array
    modality: Any
    background: Array
    unknown: tuple[str, ...] = ()

    def box(self, position: tuple[int, ...] | None = None) -> tuple[tuple[int, int], ...]:
        """(first, end) of each axis: what the units at a position can see; nothing is (0, 0)."""
        return self.boxes.at(self.position if position is None else position)

    @property
    def support(self) -> tuple[tuple[int, int], ...]:
        """(first, end) of each axis: where the gradient of the unit at ``position`` is not zero."""
        return support_of(self.influence)

    @property
    def effective(self) -> float:
        """The side of a square (cube, stretch) as large as the area that matters."""
        inside = int((self.influence > SHARE * self.influence.max(initial=0)).sum())
        return float(inside ** (1 / max(self.influence.ndim, 1)))

    def figure(self) -> Figure:
        """The gradient's mean magnitude, with the border of what can be seen."""
        edges = np.zeros(self.influence.shape, int)
        edges[tuple(slice(*each) for each in self.box())] = 1
        title = f"{self.layer} · receptive field" + ("" if self.channel is None else f" · unit {self.channel}")
        if self.influence.ndim == 1:
            return Maps(title=title, caption=self.words(), alt=self.words(), values=self.influence[None],
                        names=(f"position {self.position[0]}",), limit=robust_limit(self.influence), signed=False,
                        columns=1)  # fmt: skip
        middle = tuple(s // 2 for s in self.influence.shape[:-2])
        background = self.modality.pixels(self.background) if isinstance(self.modality, Images) else None
        return Heat(
            title=title,
            caption=self.words(),
            alt=f"{title}: {self.words()}",
            values=self.influence[middle],
            limit=robust_limit(self.influence[middle], 1.0),
            signed=False,
            under=background,
            edges=edges[middle],
        )

    def words(self) -> str:
        """Sizes in words."""
        sizes = " × ".join("all" if each is None else str(each) for each in self.size)
        steps = " × ".join("?" if each is None else f"{each:g}" for each in self.stride)
        told = f"sees {sizes}, steps of {steps}; looks at about {self.effective:.3g} (effective)"
        if self.unknown:
            told += f"; taken to see everything: {', '.join(self.unknown)}"
        return told

    def plot(self) -> Any:
        """Draw with matplotlib."""
        return self.figure().plot()

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        return f"ReceptiveField({self.layer}): {self.words()}"


def receptive_field(
    model: Any, layer: str, inputs: Any, channel: int | None = None, position: int | tuple[int, ...] | None = None
) -> ReceptiveField:
    """Measure which part of the input a unit can see (by following each operation), and which it does look at.

    Without ``channel`` all units of the layer together, without ``position`` the middle one. What can be seen follows
    from the operations met on the way: convolutions, pooling, padding, slicing, sums and concatenations of branches;
    an operation that is not known counts as seeing everything, and is named. What is looked at is the gradient's
    magnitude averaged over ``inputs`` (Luo et al. 2016, arXiv:1701.04128).

    Raises: LayerError, ShapeError for a layer or inputs without space, TargetError for no such unit.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> field = pl.receptive_field(pl.load("demo:digits"), "down", parts("digits").examples[:8])
        >>> field.size, field.stride, field.support == field.box()
        ((9, 9), (2.0, 2.0), True)
    """
    studied = torch_model(model)
    with undisturbed():
        leaves = studied.read(inputs)
        place = places(studied, leaves, layer)[0]
        boxes, reach = boxes_of(studied, leaves, place, channel)
        at = middle(place, position)
        size, stride, start = steps(studied, leaves, place, boxes)
        target = Neuron(layer, channel=channel, position=at or None, axis=place.axis if place.shape else None)
        slope = question(studied, inputs, target).gradient().detach().abs().double().mean(0)
        space = len(boxes.space)
        influence = slope.sum(-1) if leaves.integer else slope.flatten(0, slope.ndim - space - 1).sum(0)
    return ReceptiveField(
        layer=layer,
        size=size,
        stride=stride,
        start=start,
        boxes=boxes,
        channel=channel,
        position=at,
        influence=np.asarray(influence.cpu()),
        modality=studied.modality,
        background=np.asarray(leaves.values[0].cpu()),
        unknown=tuple(sorted(reach.unknown)),
    )


def boxes_of(model: Model, leaves: Leaves, place: Place, channel: int | None = None) -> tuple[Boxes, Reach]:
    """What each position of a layer can see of an input of this size."""
    sample = leaves.take(torch.tensor([0]))
    if not sample.integer and (len(sample.explained) > 1 or sample.values.ndim < 3):
        do = "Receptive fields are for pictures, series, volumes and tokens."
        raise ShapeError(expected="inputs (batch, channels, *space)", got=str(tuple(sample.values.shape)), do=do)
    unit = None if channel is None else place.unit(channel)
    reach, found, site = Reach(), [], site_of(model.module, place.name)

    def look(value: Tensor) -> None:
        found.append(reach.at(value))
        raise Stop

    run = Run(CURRENT.get(), model.device)
    args, kwargs = sample.arguments(None, torch.tensor([0]), model.dtype)
    start = sample.tensors[sample.explained[0]]
    args = tuple(reach.begin(each) if each.shape == start.shape else each for each in args)
    kwargs = {key: reach.begin(each) if key == sample.names[sample.explained[0]] else each
              for key, each in kwargs.items()}  # fmt: skip
    run.check_stop()
    with torch.no_grad(), model.session(), meet(model.module, site, look), reach:
        try:
            model.call(model.module, args, kwargs)
        except Stop:
            return Boxes.of(found[0], place, unit, reach.space), reach
    raise uncalled(site)


def middle(place: Place, position: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """A position as a tuple; the middle one without."""
    if position is None:
        return tuple(each // 2 for each in place.space)
    at = position if isinstance(position, tuple) else (position,)
    inside = len(at) == len(place.space) and all(0 <= i < n for i, n in zip(at, place.space, strict=True))
    if not inside:
        do = f"Its maps are {place.shape}."
        raise TargetError(expected=f"a position in {place.space}", got=str(position), do=do)
    return at


def steps(
    model: Model, leaves: Leaves, place: Place, boxes: Boxes
) -> tuple[tuple[int | None, ...], tuple[float | None, ...], tuple[float, ...]]:
    """Size, stride and start of each axis, read off positions that see no border; longer inputs are tried for them."""
    found, spatial = [], len(place.space) == len(boxes.space)
    for axis in range(len(boxes.space)):
        known = boxes.steps(axis)
        for times in () if known[1] is not None or leaves.integer or not spatial else GROWTH:
            values = leaves.values[:1]
            shape = list(values.shape)
            shape[2 + axis] *= times
            if torch.Size(shape).numel() > MOST_CELLS:
                break
            try:
                longer = leaves.take(torch.tensor([0])).with_values(values.new_zeros(shape))
                met = places(model, longer, place.name)[0]
                known = boxes_of(model, longer, met)[0].steps(axis)
            except PellucidError:
                break
            if known[1] is not None:
                break
        found.append(known)
    size, stride, start = zip(*found, strict=True) if found else ((), (), ())
    return tuple(size), tuple(stride), tuple(start)


def support_of(influence: Array) -> tuple[tuple[int, int], ...]:
    """(first, end) of each axis where an array is not zero."""
    there = np.argwhere(influence > 0)
    if not len(there):
        return ((0, 0),) * influence.ndim
    return tuple((int(a), int(b) + 1) for a, b in zip(there.min(0), there.max(0), strict=True))
