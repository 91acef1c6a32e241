"""Parts of pictures and series: patches and windows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from pellucid.core.probe import Probe
from pellucid.engines.features.players import Boxes, Features, Parts, Players
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True)
class Patches(Features):
    """A grid of ``n`` patches a side over the spatial axes, all channels together; ``n`` parts for a series.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Ablation(features=pl.Patches(2))(net, torch.rand(1, 1, 8, 8)).extra["players"].shape
        torch.Size([1, 4])
    """

    n: int = 7

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        if not isinstance(self.n, int) or self.n < 1:
            raise OptionError(expected="a whole number of patches a side", got=repr(self.n), do="Use Patches(7).")
        if len(shape) < 2:
            raise ShapeError(expected="inputs (batch, channels, *space)", got=str(shape), do="Use Elements or Columns.")
        label, counts = torch.zeros(1, dtype=torch.long), []
        for size in shape[1:]:
            counts.append(min(self.n, size))
            along = (torch.arange(size) * counts[-1]).div(size, rounding_mode="floor")
            label = label[..., None] * counts[-1] + along
        places = itertools.product(*(range(count) for count in counts))
        return Parts(label[None], prod(counts), shape, tuple(f"patch {', '.join(map(str, each))}" for each in places))


@dataclass(frozen=True)
class Windows(Features):
    """Windows of ``size`` every ``stride`` places (half of the size without) over the spatial axes; they may overlap.

    The last window of an axis is cut at the border, so that every place is covered.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Ablation(features=pl.Windows(4, stride=2))(net, torch.rand(1, 1, 8, 8)).extra["players"].shape
        torch.Size([1, 9])
    """

    size: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        space = shape[1:] if len(shape) > 1 else shape
        size = as_axes(self.size, space, [max(1, round(each / 8)) for each in space])
        stride = as_axes(self.stride, space, [max(1, each // 2) for each in size])
        if any(step > width for step, width in zip(stride, size, strict=True)):
            got = f"stride {stride}, window {size}"
            raise OptionError(expected="a stride no larger than the window", got=got, do="Else places are skipped.")
        axes = []
        for length, width, step in zip(space, size, stride, strict=True):
            count = max(0, -(-(length - width) // step)) + 1
            axes.append([slice(i * step, min(i * step + width, length)) for i in range(count)])
        boxes = tuple(itertools.product(*axes))
        return Boxes(boxes, shape, tuple(f"window {', '.join(str(side.start) for side in box)}" for box in boxes))


def as_axes(given: Any, space: tuple[int, ...], usual: list[int]) -> tuple[int, ...]:
    """One positive number an axis, from one number, several, or none."""
    several = given if isinstance(given, list | tuple) else (given,) * len(space)
    numbers = tuple(usual) if given is None else tuple(several)
    if len(numbers) > len(space):
        numbers = numbers[-len(space) :]
    if len(numbers) != len(space) or not all(isinstance(each, int) and each >= 1 for each in numbers):
        got = f"{given} for space {space}"
        raise OptionError(expected=f"{len(space)} positive numbers", got=got, do="Give one number, or one an axis.")
    return tuple(min(number, length) for number, length in zip(numbers, space, strict=True))
