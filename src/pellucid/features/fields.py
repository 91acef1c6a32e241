"""The receptive fields of all layers at once: how far each can see, read off two or three passes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.leaves import Leaves
from pellucid.core.model import Model
from pellucid.core.run import undisturbed
from pellucid.core.site import first_tensor
from pellucid.errors import PellucidError
from pellucid.features.reach import Boxes, Reach
from pellucid.features.receptive import GROWTH, MOST_CELLS
from pellucid.features.units import Place, places

Sizes = dict[str, tuple[int | None, ...]]
PATIENCE = 4.0


def sizes(model: Model, leaves: Leaves, patience: float = PATIENCE) -> Sizes:
    """How much a unit of each layer sees along each axis of the input; None where it sees all of it.

    Layers that see to the border of these inputs are asked again with longer ones, for at most ``patience`` seconds.
    Nothing for inputs without space.
    """
    spatial = len(leaves.explained) == 1 and not leaves.integer and leaves.values.ndim >= 3
    if not spatial:
        return {}
    known, one = places(model, leaves, None), leaves.take(torch.tensor([0]))
    found, ended, rank = measured(model, one, known), time.perf_counter() + patience, leaves.values.ndim - 2
    for times in GROWTH[1:]:
        for axis in range(rank):
            left = [each for each in known if found.get(each.name, (0,) * rank)[axis] is None]
            left = [each for each in left if len(each.space) == rank]
            shape = list(leaves.values[:1].shape)
            shape[2 + axis] *= times
            if not left or time.perf_counter() > ended or torch.Size(shape).numel() > MOST_CELLS:
                continue
            longer = one.with_values(leaves.values.new_zeros(shape))
            for name, each in measured(model, longer, tuple(left)).items():
                found[name] = (*found[name][:axis], each[axis], *found[name][axis + 1 :])
    return found


def measured(model: Model, sample: Leaves, known: tuple[Place, ...]) -> Sizes:
    """One pass; what was seen before a failing layer counts."""
    reach, found = Reach(), dict[str, tuple[int | None, ...]]()
    args, kwargs = sample.arguments(None, torch.tensor([0]), model.dtype)
    start = sample.values.shape
    args = tuple(reach.begin(each) if isinstance(each, Tensor) and each.shape == start else each for each in args)
    kwargs = {key: reach.begin(each) if key == sample.names[sample.explained[0]] else each
              for key, each in kwargs.items()}  # fmt: skip
    if not reach.space:
        return {}

    wanted = {each.name: each for each in known}
    calls: dict[str, int] = {}

    def look(layer: str) -> Any:
        def see(_part: nn.Module, _args: Any, output: Any) -> None:
            calls[layer] = calls.get(layer, 0) + 1
            name = layer if calls[layer] == 1 else f"{layer}@{calls[layer]}"
            place, value = wanted.get(name), first_tensor(output)
            if place is None or value is None or value.ndim != len(place.shape) + 1:
                return
            boxes = Boxes.of(reach.at(value), place, None, reach.space)
            found[name] = tuple(boxes.steps(axis)[0] for axis in range(len(reach.space)))

        return see

    with undisturbed(), torch.no_grad(), model.session(), ExitStack() as stack, reach:
        for layer, part in model.module.named_modules():
            stack.callback(part.register_forward_hook(look(layer)).remove)
        try:
            model.call(model.module, args, kwargs)
        except (RuntimeError, TypeError, ValueError, LookupError, PellucidError):
            return found
    return found
