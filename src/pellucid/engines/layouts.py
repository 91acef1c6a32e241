"""Where the axis of keys is: attention weights that are moved about, and products that weigh values with them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

Lay = Callable[[Tensor], Tensor]

PRODUCTS = frozenset({"matmul", "__matmul__", "bmm", "baddbmm", "einsum"})
SWAPPING = frozenset({"transpose", "transpose_", "swapaxes", "swapdims"})
TURNED = (Tensor.mT.__get__, Tensor.T.__get__)  # type: ignore[attr-defined]
MOVING = (
    frozenset(
        """
    view reshape flatten unflatten squeeze unsqueeze expand contiguous view_as reshape_as clone to type type_as float
    double half bfloat16 dropout dropout_ detach requires_grad_ __getitem__ permute
    """.split()  # noqa: SIM905 - names read better as words
    )
    | SWAPPING
)


def operands(name: str, args: Any, kwargs: Any) -> tuple[tuple[Tensor, Tensor], str | None] | None:
    """The two factors of a product, and the equation of an einsum; None for other operations."""
    if name not in PRODUCTS:
        return None
    given = [*args, *(kwargs[key] for key in ("other", "mat2") if key in kwargs)]
    equation = given.pop(0) if name == "einsum" else None
    if name == "einsum" and len(given) == 1 and isinstance(given[0], list | tuple):
        given = list(given[0])
    given = given[1:] if name == "baddbmm" else given
    if len(given) != 2 or not all(isinstance(each, Tensor) for each in given):
        return None
    if name == "einsum" and not isinstance(equation, str):
        return None
    return (given[0], given[1]), equation


def axis_after(
    func: Any, name: str, args: Any, kwargs: Any, before: tuple[int, ...], axis: int | None, after: tuple[int, ...]
) -> tuple[bool, int | None]:
    """Whether an operation only moves numbers about; and where an axis (counted from the last) is then, if anywhere."""
    if func in TURNED:
        name, args, kwargs = "transpose", (None, -1, -2), {}
    if name not in MOVING:
        return False, None
    if axis is None:
        return True, None
    n = len(before)
    if name in SWAPPING:
        one, other = [*args[1:], *kwargs.values(), 0, 0][:2]
        one, other = one % n - n, other % n - n
        return True, {one: other, other: one}.get(axis, axis)
    if name == "permute":
        dims = args[1] if len(args) == 2 else args[1:] or kwargs["dims"]
        return True, [each % n for each in dims].index(axis + n) - n
    if len(after) == n and name == "__getitem__":
        return True, axis
    size, behind = before[axis], prod(before[axis + n + 1 :])
    fits = [i for i in range(len(after)) if after[i] == size and prod(after[i + 1 :]) == behind]
    return True, fits[-1] - len(after) if fits else None


def weighing(weights: Tensor, values: Tensor, axis: int, side: int, equation: str | None) -> tuple[Lay, Tensor] | None:
    """How to put weights in the order (…, queries, keys), and the values as (…, keys, dim), if a product weighs them.

    ``side`` is 0 where the weights are the left factor; the sum must run along their ``axis`` of keys.
    """
    if equation is not None:
        return by_letters(weights, values, axis, side, equation)
    if axis != (-1, -2)[side]:
        return None
    if side == 0:
        return (lambda tensor: tensor), values
    return (lambda tensor: tensor.transpose(-2, -1)), values.transpose(-2, -1)


def by_letters(weights: Tensor, values: Tensor, axis: int, side: int, equation: str) -> tuple[Lay, Tensor] | None:
    """The same for an einsum, from its letters."""
    given, arrow, out = equation.replace(" ", "").partition("->")
    inputs = given.split(",")
    if len(inputs) != 2 or not arrow or "." in equation:
        return None
    mine, others = inputs[side], inputs[1 - side]
    keys = mine[axis]
    shared = [each for each in mine if each in others and each != keys]
    queries = [each for each in mine if each not in others]
    dims = [each for each in others if each not in mine]
    if keys in out or keys not in others or not shared or not set(queries + dims + shared) <= set(out):
        return None

    def lay(tensor: Tensor) -> Tensor:
        ordered = tensor.permute([mine.index(each) for each in [*shared, *queries, keys]])
        return ordered.reshape(*ordered.shape[: len(shared)], -1, ordered.shape[-1])

    laid = values.permute([others.index(each) for each in [*shared, keys, *dims]])
    return lay, laid.reshape(*laid.shape[: len(shared) + 1], -1)
