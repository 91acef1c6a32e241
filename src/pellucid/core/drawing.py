"""How a result is drawn and handed on: the parts of one row, and the figure that fits them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from pellucid.core.figure import Bars, Figure, Force, Heat, Matrix, robust_limit
from pellucid.core.looking import attention_figure
from pellucid.core.modality import Images, Modality, Table, Text
from pellucid.core.modality.plain import bars
from pellucid.errors import InputError, OptionError, nearest

Array = NDArray[Any]
NUMBERED = re.compile(r"(\w+ )?\d+(, \d+)*")
PLACES = (("upper left", "top", "upper right"), ("left", "center", "right"), ("lower left", "bottom", "lower right"))


@dataclass(frozen=True, eq=False)
class Contributions:
    """The parts of one row: names, values (n,), what the input says in original units (n,) and in words."""

    names: tuple[str, ...]
    values: Array
    numbers: Array | None = None
    details: tuple[str, ...] = ()
    errors: Array | None = None


def contributions(result: Any, row: int) -> Contributions:
    """The parts of one row: those that a method hid, else columns, words or elements."""
    values, inputs = result.array(row), result.input_array(row)
    modality = result.modality if result.at is None else Modality()
    hidden = players(result, row)
    if isinstance(modality, Table) and values.ndim == 1 and (hidden is None or hidden.names == modality.columns):
        return by_column(modality, values, inputs, errors_of(result, row))
    if hidden is not None and hidden.names:
        return hidden
    if hidden is not None:
        return Contributions(names_of(modality, inputs, len(hidden.values), labels_of(result, row)), hidden.values)
    if isinstance(modality, Text) and values.shape == inputs.shape[:1]:
        return by_word(modality, values, inputs)
    same = values.shape == inputs.shape
    names = modality.labels(inputs) if same else Modality().labels(values)
    numbers = inputs.ravel().astype(float) if same else None
    return Contributions(names, values.ravel(), numbers, errors=errors_of(result, row))


def players(result: Any, row: int) -> Contributions | None:
    """The parts that a method hid, or None for one that hid nothing."""
    given = result.extra.get("players")
    if given is None or result.at is not None:
        return None
    values = given[row][0] if isinstance(given, list) else given[row]
    return Contributions(tuple(names_in(result, row)), np.asarray(values.detach().cpu().double()))


def names_in(result: Any, row: int) -> Any:
    """What the parts are called, or nothing."""
    names = result.extra.get("names") or ()
    return names[row] if isinstance(names, list) else names


def labels_of(result: Any, row: int) -> Array | None:
    """The part that each place (height, width) of a picture belongs to, where parts are areas."""
    given = result.extra.get("labels")
    labels = given[row] if isinstance(given, list) else given
    if labels is None or result.at is not None:
        return None
    flat = np.asarray(labels[0])
    areas = flat.ndim == 3 and bool((flat == flat[:1]).all()) and 4 * len(np.unique(flat)) <= flat[0].size
    return flat[0] if areas else None


def by_column(table: Table, values: Array, inputs: Array, errors: Array | None) -> Contributions:
    """Columns in their original units."""
    narrow = len(values) == len(table.columns)
    summed = values if narrow else table.by_column(values)
    numbers = table.original(inputs[None])[0]
    return Contributions(table.columns, summed, numbers, table.details(inputs), errors if narrow else None)


def by_word(text: Text, values: Array, inputs: Array) -> Contributions:
    """Words, their tokens added up; special tokens are left out."""
    words, index = text.words(text.tokens(inputs))
    merged = np.zeros(len(words))
    np.add.at(merged, list(index), values)
    kept = content(text, inputs, index)
    return Contributions(tuple(words[i] for i in kept), merged[kept])


def content(text: Text, inputs: Array, index: tuple[int, ...]) -> list[int]:
    """The numbers of the words that are not special tokens, in their order."""
    special = np.asarray(text.special(torch.as_tensor(inputs)))
    return list(dict.fromkeys(word for word, hidden in zip(index, special, strict=True) if not hidden))


def names_of(modality: Modality, inputs: Array, n: int, labels: Array | None) -> tuple[str, ...]:
    """Names for ``n`` parts that have none: words, tokens, elements, or where they lie."""
    if isinstance(modality, Text):
        tokens = modality.tokens(inputs)
        words, index = modality.words(tokens)
        kept = content(modality, inputs, index)
        if len(kept) == n:
            return tuple(words[i] for i in kept)
        special = np.asarray(modality.special(torch.as_tensor(inputs)))
        shown = tuple(token for token, hidden in zip(tokens, special, strict=True) if not hidden)
        if len(shown) == n:
            return shown
    if labels is not None:
        return tuple(f"part {i}, {where(labels == i)}" for i in range(n))
    return modality.labels(inputs) if inputs.size == n else tuple(f"part {i}" for i in range(n))


def where(area: Array) -> str:
    """Which ninth of a picture the middle of an area lies in.

    >>> where(np.arange(36).reshape(6, 6) < 2)
    'upper left'
    """
    places = np.argwhere(area)
    if not len(places):
        return "nowhere"
    rows, columns = (int(min(2, 3 * (mid + 0.5) // size)) for mid, size in zip(places.mean(0), area.shape, strict=True))
    return PLACES[rows][columns]


def errors_of(result: Any, row: int) -> Array | None:
    """Standard errors of the values of one row, flat, where they are known."""
    error = result.standard_error
    if isinstance(error, Mapping):
        error = next(iter(error.values()))
    error = error[0] if isinstance(error, tuple) else error
    return None if error is None else np.asarray(error[row].detach().cpu().double()).ravel()


def ends(result: Any, row: int) -> dict[str, Any]:
    """Where a waterfall starts and ends, if values add up from a baseline."""
    if result.base_score is None:
        return {}
    return {"base": float(result.base_score[row]), "total": float(result.score[row])}


def title_of(result: Any, row: int) -> str:
    """The method and the explained number."""
    return f"{result.method.name} · {result.target_words(row)}" + (f" · at {result.at}" if result.at else "")


SHOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda values: values,
    "positive": lambda values: values.clamp(min=0),
    "size": lambda values: values.abs(),
}


def displayed(result: Any, shown: str) -> Any:
    """The result with its values as they are to be shown."""
    if shown not in SHOWN:
        raise OptionError(expected=f"one of {tuple(SHOWN)}", got=repr(shown), do=nearest(shown, list(SHOWN)))
    return result if shown == "signed" else replace(result, values=pytree.tree_map(SHOWN[shown], result.values))


def figure_of(result: Any, row: int, limit: float | None) -> Figure:
    """Values the way their input is read: areas of a picture with their borders, other named parts as bars."""
    values, inputs = result.array(row), result.input_array(row)
    if "grid" in result.extra:
        return attention_figure(result, row, None, None, title_of(result, row))
    hidden = players(result, row)
    labels = labels_of(result, row)
    if hidden is not None and labels is not None:
        return areas(result, row, hidden.values, labels, limit)
    if hidden is not None and by_name(hidden.names, result.modality):
        return parts_figure(result, row)
    rest = ends(result, row)
    error = errors_of(result, row)
    if error is not None:
        rest["errors"] = 1.96 * error.reshape(values.shape)
    return result.modality.map_figure(values, inputs, title=title_of(result, row), limit=limit, **rest)


def by_name(names: tuple[str, ...], modality: Modality) -> bool:
    """Whether parts bear names that a user gave them."""
    if isinstance(modality, Text) or all(NUMBERED.fullmatch(each) for each in names):
        return False
    return not (isinstance(modality, Table) and names == modality.columns)


def areas(result: Any, row: int, values: Array, labels: Array, limit: float | None) -> Heat:
    """A picture whose areas bear the color of their whole value, with their borders."""
    strongest = int(np.abs(values).argmax())
    drawn = np.where(labels >= 0, values[labels.clip(0)], 0.0)
    title = title_of(result, row)
    return Heat(
        title=title,
        values=drawn,
        limit=limit or robust_limit(values, 1.0),
        signed=bool((values < 0).any()),
        under=result.modality.pixels(result.input_array(row)) if isinstance(result.modality, Images) else None,
        edges=labels,
        alt=f"{title}: {len(values)} areas, the strongest {values[strongest]:+.3g}, {where(labels == strongest)}",
    )


def parts_figure(result: Any, row: int, most: int = 12) -> Bars:
    """A bar for each part, from the baseline to the score where values add up."""
    parts = contributions(result, row)
    errors = None if parts.errors is None else 1.96 * parts.errors
    rest = ends(result, row)
    return bars(parts.names, parts.values, title=title_of(result, row), most=most, details=parts.details, errors=errors,
                **rest)  # fmt: skip


def force_figure(result: Any, row: int) -> Force:
    """One bar: what pushes up from the baseline, then what pushes down to the score."""
    if result.base_score is None:
        do = "Use a method whose values add up, such as KernelSHAP or IntegratedGradients; or parts_figure(row)."
        raise InputError(expected="values that add up from a baseline", got=result.method.name, do=do)
    parts, title = contributions(result, row), title_of(result, row)
    up, down = float(parts.values.clip(min=0).sum()), float(parts.values.clip(max=0).sum())
    base, total = ends(result, row).values()
    return Force(
        title=title,
        labels=parts.names,
        values=parts.values,
        details=parts.details,
        base=base,
        total=total,
        alt=f"{title}: from {base:.3g}, {up:+.3g} up and {down:+.3g} down, to {total:.3g}",
    )


def interactions_figure(result: Any, row: int) -> Matrix:
    """How much two parts do together, as a matrix."""
    result.array(row)
    given = result.extra.get("interactions")
    if given is None:
        do = "Use a method that gives interactions: ShapleyInteractions."
        raise InputError(expected="a result with interactions", got=result.method.name, do=do)
    own = given[row][0] if isinstance(given, list) and given[row].ndim == 3 else given[row]
    values = np.asarray(torch.as_tensor(own).detach().cpu().double())
    names, title = contributions(result, row).names, title_of(result, row)
    if len(names) != len(values):
        names = tuple(f"part {i}" for i in range(len(values)))
    apart = np.triu(np.abs(values), 1)
    one, two = np.unravel_index(int(apart.argmax()), values.shape)
    return Matrix(
        title=title,
        values=values,
        row_names=names,
        column_names=names,
        limit=robust_limit(values, 1.0),
        signed=bool((values < 0).any()),
        sense="+ more together than apart, − less",
        alt=f"{title}: interactions of {len(values)} parts, the strongest {values[one, two]:+.3g} between "
        f"{names[one]} and {names[two]}",
    )


def as_array(tensor: Tensor | None) -> Array | None:
    """A tensor as float64 NumPy."""
    return None if tensor is None else np.asarray(tensor.detach().cpu().double())
