"""The inputs as a pytree: which leaves are explained, and how rows of them are put together for a call.

A tensor is one positional argument, a tuple several, a dict keyword arguments. Floating leaves are explained, several
of them as one flat vector; an integer leaf is explained at the embedding it reaches. The rest goes along, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from pellucid.errors import DtypeError, EmptyError, NonFiniteError, ShapeError

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class Leaves:
    """Inputs taken apart: ``tensors`` in pytree order, ``explained`` their indexes, ``names`` their paths.

    ``tied`` is another leaf that follows the explained one: its index, and points (rows, *shape) → what of it stays.
    """

    spec: Any
    tensors: tuple[Any, ...]
    names: tuple[str, ...]
    explained: tuple[int, ...]
    batch: int
    tied: tuple[int, Callable[[Tensor], Tensor]] | None = None

    @property
    def values(self) -> Tensor:
        """(batch, *shape): the explained leaf, or all of them flattened side by side."""
        parts = [self.tensors[i] for i in self.explained]
        return parts[0] if len(parts) == 1 else torch.cat([each.reshape(len(each), -1) for each in parts], 1)

    @property
    def integer(self) -> bool:
        """Whether the explained leaf holds ids."""
        return not self.tensors[self.explained[0]].is_floating_point()

    def split(self, values: Tensor) -> list[Tensor]:
        """Values of the joint shape, cut back to one tensor a leaf: (…, *leaf shape)."""
        if len(self.explained) == 1:
            return [values]
        shapes = [self.tensors[i].shape[1:] for i in self.explained]
        parts = values.split([shape.numel() for shape in shapes], dim=-1)
        return [
            part.unflatten(-1, shape) if shape else part.squeeze(-1) for part, shape in zip(parts, shapes, strict=True)
        ]

    def tree(self, values: Tensor) -> Any:
        """Values in the structure of the inputs: a tensor, or a dict / tuple with the explained leaves only."""
        parts = self.split(values)
        whole = pytree.tree_unflatten(list(range(len(self.tensors))), self.spec)
        if isinstance(whole, Mapping):
            return {self.names[i]: part for i, part in zip(self.explained, parts, strict=True)}
        return tuple(parts) if isinstance(whole, tuple) and len(parts) > 1 else parts[0]

    def arguments(
        self, points: Tensor | None, rows: Tensor, dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the given rows, with ``points`` (rows, *shape) as explained leaves."""
        whole = len(rows) == self.batch and bool((rows == torch.arange(self.batch)).all())
        leaves = [self._rows(leaf, rows, whole) for leaf in self.tensors]
        if points is not None:
            for i, part in zip(self.explained, self.split(points), strict=True):
                leaves[i] = part
            if self.tied is not None:
                i, stays = self.tied
                leaves[i] = leaves[i] * stays(points).to(leaves[i])
        leaves = [each.to(dtype) if isinstance(each, Tensor) and each.is_floating_point() else each for each in leaves]
        tree = pytree.tree_unflatten(leaves, self.spec)
        if isinstance(tree, Mapping):
            return (), dict(tree)
        return (tree if isinstance(tree, tuple) else (tree,)), {}

    def _rows(self, leaf: Any, rows: Tensor, whole: bool) -> Any:
        if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != self.batch:
            return leaf.clone() if isinstance(leaf, Tensor) else leaf
        return leaf.clone() if whole else leaf[rows.to(leaf.device)]

    def take(self, rows: Tensor) -> Leaves:
        """The same inputs, some rows only."""
        tensors = tuple(self._rows(each, rows, whole=False) for each in self.tensors)
        return replace(self, tensors=tensors, batch=len(rows))

    def with_values(self, values: Tensor) -> Leaves:
        """The same inputs with other explained values (batch, *shape)."""
        tensors = list(self.tensors)
        for i, part in zip(self.explained, self.split(values), strict=True):
            tensors[i] = part
        return replace(self, tensors=tuple(tensors), batch=len(values))


def leaves_of(tree: Any, device: torch.device, dtype: torch.dtype) -> Leaves:
    """Check the inputs and take them apart; everything goes to ``device``, floats to ``dtype`` (float32 for halves)."""
    if isinstance(tree, Mapping):
        tree = dict(tree)
    if isinstance(tree, list):
        tree = tuple(tree)
    paths, spec = pytree.tree_flatten_with_path(tree)
    names = tuple(path_name(path) for path, _ in paths)
    work = torch.float32 if dtype in HALVES else dtype
    tensors = tuple(leaf_of(value, name, device, work) for name, (_, value) in zip(names, paths, strict=True))
    real = [i for i, each in enumerate(tensors) if isinstance(each, Tensor) and each.ndim > 0]
    if not real:
        raise EmptyError(expected="at least one tensor to explain", got=repr(tree)[:60], do="Pass the model's inputs.")
    explained = tuple(i for i in real if tensors[i].is_floating_point())
    if "input_ids" in names or not explained:
        ids = [i for i in real if names[i] == "input_ids"] or [i for i in real if not tensors[i].is_floating_point()]
        explained = tuple(ids[:1])
    batch = len(tensors[explained[0]])
    check_rows(tensors, names, explained, batch)
    return Leaves(spec, tensors, names, explained, batch)


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by the names of their paths."""
    return {path_name(path): leaf for path, leaf in pytree.tree_flatten_with_path(tree)[0]}


def path_name(path: Any) -> str:
    """Where a leaf is found, as a name: ``encoder.0``."""
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)


def leaf_of(value: Any, name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """One leaf as a detached tensor on the device; NaN, infinity and odd types are refused."""
    where = f" (input {name!r})" if name else ""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "fiub":
            raise DtypeError(expected="numbers" + where, got=str(value.dtype), do="Encode texts and objects first.")
        value = torch.as_tensor(np.array(value))
    if not isinstance(value, Tensor):
        if isinstance(value, bool | int | float | type(None)):
            return value
        kind = type(value).__name__
        do = "Tell the model what it reads: pl.Model(module, inputs=pl.Images(…) | pl.Table(…) | pl.Text(…))."
        raise DtypeError(expected="tensors, or tuples / dicts of tensors" + where, got=kind, do=do)
    if value.is_complex():
        raise DtypeError(expected="real numbers" + where, got=str(value.dtype), do="Pass real and imaginary parts.")
    if value.layout != torch.strided:
        raise DtypeError(expected="dense tensors" + where, got=str(value.layout), do="Pass inputs.to_dense().")
    value = value.detach().to(device, copy=True)
    if value.is_floating_point():
        value = value.to(dtype)
        if not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise NonFiniteError(
                expected="finite inputs" + where, got=f"{bad} NaN or infinite values", do="Clean them."
            )
    return value


def check_rows(tensors: tuple[Any, ...], names: tuple[str, ...], explained: tuple[int, ...], batch: int) -> None:
    """Refuse empty batches, rows of nothing, and explained leaves of different lengths."""
    for i in explained:
        shape = tuple(tensors[i].shape)
        if len(shape) < 2 and len(explained) == 1:
            do = "Put the batch axis first: inputs[None] for one row, inputs[:, None] for rows of one number."
            raise ShapeError(expected="inputs (batch, …)", got=f"shape {shape}", do=do)
        if 0 in shape:
            raise EmptyError(expected="at least one row, none of it empty", got=f"shape {shape}", do="Pass some data.")
        if shape[0] != batch:
            raise ShapeError(
                expected=f"the same number of rows in every explained input ({batch})",
                got=f"{shape[0]} in {names[i] or 'an input'}",
                do="Give every input a batch dimension of equal length.",
            )
