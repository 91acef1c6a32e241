"""The scene of a visualization: the shape, bounds and statistics of what is painted, from what the user gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.leaves import Leaves
from pellucid.core.method import rank_of
from pellucid.core.modality import Images, Series, Table
from pellucid.core.model import Model
from pellucid.core.run import Run
from pellucid.engines.canvas import Ground
from pellucid.engines.sweep import cut, inputs_of, rows_of
from pellucid.errors import DtypeError, EmptyError, OptionError, ShapeError

SAMPLE = 256
WIDE = 3.0
"""How far inputs without bounds and without data may go on either side of zero."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is painted on, and the inputs it takes the place of."""

    leaves: Leaves
    ground: Ground
    notes: tuple[str, ...] = ()


def scene_of(model: Model, size: Any, start: Any, data: Any, run: Run) -> Scene:
    """The scene for a model: the starting input, else data, else ``size`` and what the model says of its inputs."""
    sample = None if data is None else sample_of(model, data)
    begun = None if start is None else model.read(start)
    for each in (begun, sample):
        if each is not None and each.integer:
            do = "Visualization paints numbers; explain texts with an attribution."
            raise DtypeError(expected="floating inputs", got="ids", do=do)
    shape = shape_of(model, size, begun, sample)
    leaves = begun or sample
    if leaves is None or tuple(leaves.values.shape[1:]) != shape:
        leaves = model.read(torch.zeros(1, *shape, dtype=torch.float32))
    rank = rank_for(model, leaves.values)
    values = None if sample is None else resized(sample.values, shape, rank)
    if values is None and isinstance(model.modality, Table):
        background = model.modality.background_rows()
        values = None if background is None else background.to(leaves.values)
    low, high, notes = bounds(model, leaves.values, values, rank)
    ground = Ground(
        shape,
        low.to(leaves.values),
        high.to(leaves.values),
        rank,
        run.seed,
        None if begun is None else resized(begun.values, shape, rank),
        None if values is None or len(values) < 2 else values,
    )
    return Scene(leaves.take(torch.tensor([0])), ground, notes)


def rank_for(model: Model, values: Tensor) -> int:
    """How many spatial axes inputs have: 2 for pictures, 1 for series, else none."""
    if isinstance(model.modality, Table) or values.ndim < 3:
        return 0
    if isinstance(model.modality, Series):
        return 1
    return min(rank_of(model, values), 2) if values.ndim in (3, 4) else 0


def sample_of(model: Model, data: Any) -> Leaves:
    """At most 256 rows of data: evenly spaced, or the first of an iterable."""
    if iter_of(data) is data:
        do = "Pass a tensor, an array, a list or a DataLoader."
        raise OptionError(expected="data that can be gone through twice", got="an iterator", do=do)
    count = rows_of(model, data)
    if count is None:
        first = next(iter(data), None)
        if first is None:
            raise EmptyError(expected="at least one batch of data", got="none", do="Pass natural inputs.")
        leaves = model.read(inputs_of(model, first))
        return leaves.take(torch.arange(min(leaves.batch, SAMPLE)))
    if count == 0:
        raise EmptyError(expected="at least one row of data", got="none", do="Pass natural inputs.")
    step = max(1, count // SAMPLE)
    if isinstance(data, Tensor | np.ndarray | list):
        return model.read(data[::step][:SAMPLE])
    return model.read(cut(data, 0, min(count, SAMPLE), count))


def iter_of(data: Any) -> Any:
    """The iterator of data, if it has one."""
    return iter(data) if hasattr(data, "__next__") else None


def shape_of(model: Model, size: Any, begun: Leaves | None, sample: Leaves | None) -> tuple[int, ...]:
    """(channels, height, width), (channels, time) or (numbers,): as given, else as the model was used."""
    known = next((tuple(each.values.shape[1:]) for each in (begun, sample) if each is not None), None)
    if known is None and model._sample is not None and not model._sample.integer:
        known = tuple(model._sample.values.shape[1:])
    if size is None and isinstance(model.modality, Images) and model.modality.size is not None and known is None:
        size = model.modality.size
    if size is None and known is None and isinstance(model.modality, Table):
        background = model.modality.background_rows()
        known = None if background is None else tuple(background.shape[1:])
    if size is None and known is not None:
        return known
    if size is None:
        do = "Say size=, or give start= or data=."
        raise OptionError(expected="the size of the inputs", got="a model that was not used yet", do=do)
    given = (size,) if isinstance(size, int) else tuple(size)
    if not given or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in given):
        raise OptionError(expected="a size of at least 1", got=repr(size), do="Use e.g. size=224 or size=(64, 96).")
    if isinstance(model.modality, Images) or (first_kind(model) is nn.Conv2d and len(given) < 3):
        space = given * 2 if len(given) == 1 else given
        if len(space) > 2:
            return space
        channels = known[0] if known is not None else first_width(model) or channels_of(model)
        return (channels, *space)
    if len(given) == 1 and (isinstance(model.modality, Series) or first_kind(model) is nn.Conv1d):
        return (known[0] if known is not None else first_width(model) or 1, *given)
    return given


def first_part(model: Model) -> Any:
    """The first convolution or linear layer."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return next((part for part in model.module.modules() if isinstance(part, kinds)), None)


def first_kind(model: Model) -> Any:
    """Its kind."""
    part = first_part(model)
    return next((kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear) if isinstance(part, kind)), None)


def first_width(model: Model) -> int | None:
    """How many channels it takes."""
    part = first_part(model)
    return getattr(part, "in_channels", None)


def channels_of(model: Model) -> int:
    """How many channels the modality has."""
    return len(getattr(model.modality, "mean", (0.0,)))


def bounds(model: Model, like: Tensor, sample: Tensor | None, rank: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The lowest and highest inputs: black and white for pictures, the range of the data, or ± 3."""
    modality = model.modality
    if isinstance(modality, Images) and like.ndim == 4 and like.shape[1] == len(modality.mean):
        mean, std = (
            torch.tensor(each, dtype=torch.float64).reshape(-1, 1, 1) for each in (modality.mean, modality.std)
        )
        return -mean / std, (1 - mean) / std, ()
    if sample is not None:
        over = (0, *range(sample.ndim - rank, sample.ndim))
        low, high = sample.amin(over, keepdim=True)[0].double(), sample.amax(over, keepdim=True)[0].double()
        wide = torch.where(high > low, high - low, 1e-6 + low.abs() * 1e-3)
        return low, low + wide, ("inputs stay within the range of the data",)
    edge = like.new_full([1] * (like.ndim - 1), WIDE, dtype=torch.float64)
    return -edge, edge, (f"inputs stay within ± {WIDE:g}, as no data were given",)


def resized(values: Tensor, shape: tuple[int, ...], rank: int) -> Tensor:
    """Inputs at another size."""
    if tuple(values.shape[1:]) == shape:
        return values
    if rank == 0 or values.shape[1] != shape[0] or values.ndim != len(shape) + 1:
        got = f"{tuple(values.shape[1:])}"
        raise ShapeError(expected=f"inputs of shape {shape}", got=got, do="Leave size= out, or let it fit.")
    mode = "bilinear" if rank == 2 else "linear"
    return F.interpolate(values, shape[1:], mode=mode, align_corners=False, antialias=rank == 2)
