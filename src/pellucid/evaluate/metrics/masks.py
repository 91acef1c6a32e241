"""Masks: where a person would point, in the forms data sets come in: bool maps, boxes, one for all or one a row."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import ShapeError
from pellucid.evaluate.metrics.measure import Untestable

DO = "Give the mask in pixels of the picture as the model sees it, or a bool for each part; or a list, one a row."


def masked(mask: Any, row: int, shape: tuple[int, ...], given: tuple[int, ...]) -> Tensor:
    """The mask of one row, on places of ``shape``; ``given`` is the shape of one input.

    Raises ShapeError for one that does not fit; Untestable where it holds nothing or everything, or there is none.
    """
    if mask is None:
        raise Untestable("no mask was given: it is not known where a person would point")
    inside = of_row(mask, row, shape, given)
    if not bool(inside.any()) or bool(inside.all()):
        raise Untestable("the mask is empty" if not bool(inside.any()) else "the mask is the whole input")
    return inside


def of_row(mask: Any, row: int, shape: tuple[int, ...], given: tuple[int, ...]) -> Tensor:
    """One row's mask out of one for all, or one a row."""
    one = single(mask, shape, given)
    if one is not None:
        return one
    if isinstance(mask, Tensor | np.ndarray | list | tuple) and len(mask) > row:
        found = single(mask[row], shape, given)
        found = boxed(numbers(mask[row]), shape) if found is None else found
        if found is not None:
            return found
    got = f"{len(mask)} masks, none for row {row}" if isinstance(mask, list) and len(mask) <= row else described(mask)
    raise ShapeError(expected=f"a mask {shape} or a box (x0, y0, x1, y1)", got=got, do=DO)


def single(mask: Any, shape: tuple[int, ...], given: tuple[int, ...]) -> Tensor | None:
    """A bool map, or a box; None for anything else."""
    array = numbers(mask)
    if array is None:
        return None
    if array.dtype == torch.bool:
        whole = isinstance(mask, Tensor | np.ndarray)
        if tuple(array.shape) == shape or (whole and tuple(array.shape) == (1, *shape)):
            return array.reshape(shape)
        flat = len(shape) == 1 and prod(given) == shape[0]
        return array.reshape(shape) if flat and tuple(array.shape) == given else None
    return boxed(array[None], shape) if tuple(array.shape) == (4,) else None


def boxed(boxes: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """Boxes (n, 4) of a picture as one mask; x1 and y1 are the first pixels outside."""
    if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4 or len(shape) != 2 or boxes.dtype == torch.bool:
        return None
    inside = torch.zeros(shape, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes.round().long().clamp_min(0).tolist():
        inside[y0:y1, x0:x1] = True
    return inside


def numbers(mask: Any) -> Tensor | None:
    """An array on the CPU; None for a list of unequal things."""
    try:
        return mask.detach().cpu() if isinstance(mask, Tensor) else torch.as_tensor(np.asarray(mask))
    except (TypeError, ValueError):
        return None


def described(mask: Any) -> str:
    """What was given, in words."""
    array = numbers(mask)
    return type(mask).__name__ if array is None else f"{tuple(array.shape)}, {str(array.dtype).partition('.')[2]}"
