"""Masks of concepts: where in each row of a data set each concept is, whatever they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.errors import EmptyError, InputError, ShapeError

Bools = NDArray[np.bool_]


class ConceptMasks:
    """Masks (rows, concepts, height, width), checked; ``area`` (concepts,) places each concept covers in all.

    An array is read where it lies. Of a list or a function of the row number one bit is kept a place and concept; a row
    for which it gives None has no labels, and is left out (``labeled`` (rows,)).
    """

    def __init__(self, masks: Any, rows: int, names: Sequence[str] | None) -> None:
        if hasattr(masks, "ndim") and hasattr(masks, "shape"):
            self.array: NDArray[Any] | None = self.whole(masks, rows)
            self.space = (int(self.array.shape[2]), int(self.array.shape[3]))
            self.concepts = int(self.array.shape[1])
            self.labeled = np.ones(rows, bool)
            self.area = self.areas(self.array)
        else:
            self.array = None
            self.gather(masks, rows)
        if not self.area.any():
            do = "Look for masks that were read in another order, or scaled to nothing."
            raise EmptyError(expected="masks with at least one place", got="nothing but False", do=do)
        given = [f"concept {i}" for i in range(self.concepts)] if names is None else [str(each) for each in names]
        if len(given) != self.concepts:
            do = "Name every concept."
            raise InputError(expected=f"{self.concepts} names of concepts", got=str(len(given)), do=do)
        self.names = tuple(given)

    def whole(self, masks: Any, rows: int) -> NDArray[Any]:
        """An array of all masks."""
        array = np.asarray(masks.detach().cpu() if isinstance(masks, Tensor) else masks)
        if array.ndim != 4:
            do = "Put one axis of concepts behind the rows: masks[:, None] for a single concept."
            raise ShapeError(expected="masks (rows, concepts, height, width)", got=str(array.shape), do=do)
        if 0 in array.shape:
            raise EmptyError(expected="masks of at least one concept", got=str(array.shape), do="Pass some masks.")
        if len(array) != rows:
            raise ShapeError(expected=f"masks of {rows} rows, as the data", got=str(len(array)), do="Pass them all.")
        return array

    def areas(self, array: NDArray[Any]) -> NDArray[np.int64]:
        """How many places each concept covers, counted a few rows at a time."""
        total = np.zeros(array.shape[1], np.int64)
        for start in range(0, len(array), 64):
            total += yes_or_no(array[start : start + 64]).sum((0, 2, 3))
        return total

    def gather(self, masks: Any, rows: int) -> None:
        """Masks row by row, from a list or a function, kept as bits."""
        if not callable(masks) and (not hasattr(masks, "__getitem__") or len(masks) != rows):
            got = f"{len(masks)} rows" if hasattr(masks, "__len__") else type(masks).__name__
            do = "Pass an array, a list with one array or None a row, or a function of the row number."
            raise ShapeError(expected=f"masks of {rows} rows", got=got, do=do)
        one: Callable[[int], Any] = masks if callable(masks) else masks.__getitem__
        self.labeled, self.bits = np.zeros(rows, bool), dict[int, NDArray[np.uint8]]()
        shape: tuple[int, ...] | None = None
        for row in range(rows):
            given = one(row)
            if given is None:
                continue
            array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
            if array.ndim != 3 or 0 in array.shape or (shape is not None and array.shape != shape):
                expected = "masks (concepts, height, width)" if shape is None else f"masks of shape {shape}"
                raise ShapeError(expected=expected, got=f"{array.shape} in row {row}", do="Give all rows one shape.")
            if shape is None:
                shape = array.shape
                self.area = np.zeros(shape[0], np.int64)
            here = yes_or_no(array).reshape(shape[0], -1)
            self.area += here.sum(1)
            self.bits[row], self.labeled[row] = np.packbits(here, axis=0), True
        if shape is None:
            raise EmptyError(expected="masks of at least one row", got="none", do="Pass some masks.")
        self.concepts, self.space = shape[0], (shape[1], shape[2])

    def at(self, rows: NDArray[np.intp], places: NDArray[np.intp]) -> Bools:
        """(rows, concepts, places) which concepts are at some places of some rows; places count through a mask."""
        if self.array is not None:
            flat = self.array.reshape(len(self.array), self.concepts, -1)
            return yes_or_no(flat[rows[:, None], :, places[None]]).transpose(0, 2, 1)
        bits = np.stack([self.bits[int(row)][:, places] for row in rows])
        return np.unpackbits(bits, axis=1, count=self.concepts).astype(bool)

    def row(self, row: int, concept: int) -> Bools:
        """One mask (height, width)."""
        every = np.arange(self.space[0] * self.space[1])
        return self.at(np.array([row]), every)[0, concept].reshape(self.space)


def yes_or_no(masks: NDArray[Any]) -> Bools:
    """Masks as bools; numbers other than 0 and 1 are refused."""
    if masks.dtype == bool:
        return masks
    found = masks == 1
    if not bool((found | (masks == 0)).all()):
        do = "Say from where on a place belongs to it, e.g. masks > 0.5."
        raise InputError(expected="masks of 0 and 1", got="other numbers, or NaN", do=do)
    return np.asarray(found)
