"""How attention is drawn: all layers and heads at a glance, or one of them from token to token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Figure, Heat, Matrix, robust_limit
from pellucid.core.modality import Images, Text
from pellucid.errors import InputError

Array = NDArray[Any]
MOST_NAMED = 64


def attention_figure(result: Any, row: int, layer: int | None, head: int | None, title: str) -> Figure:
    """All layers (downwards) and heads (across) as small squares; one layer, or one head of it, with names.

    A square has a row for each token that looks, a column for each that is looked at. On a picture it is the map of
    what the class token looks at; of what all tokens look at on average, where none stands before those of the picture.
    Squares side by side are each on a scale of their own: heads that spread their attention would be lost otherwise.
    """
    values = result.array(row)
    if "grid" not in result.extra or values.ndim not in (3, 4):
        do = "Use a method that gives one value for every two tokens: AttentionWeights, AttentionNorms."
        raise InputError(expected="a result with attention", got=result.method.name, do=do)
    heads = values.ndim == 4
    values = values if heads else values[None]
    place = result.extra["grid"]
    if layer is None and head is None:
        return mosaic(np.stack([[square(each, place) for each in line] for line in values]), place, title, heads=heads)
    if not heads:
        values, layer, head = values.transpose(1, 0, 2, 3), -1 if layer is None else layer, None
    layer = -1 if layer is None else layer
    for name, n, wanted in (("layer", len(values), layer), ("head", values.shape[1], head)):
        if wanted is not None and not -n <= wanted < n:
            raise InputError(expected=f"a {name} 0 … {n - 1}", got=str(wanted), do=f"Ask for one of the {n}.")
    chosen = values[layer].mean(0) if head is None else values[layer, head]
    which = f"layer {layer % len(values)}" + (f", head {head % values.shape[1]}" if head is not None else "")
    return one(result, row, chosen, f"{title} · {which}")


def square(values: Array, place: Any) -> Array:
    """What is drawn of one head: from token to token, or a map of the picture."""
    if place is None:
        return values
    prefix, height, width = place
    looked = values[0] if prefix else values.mean(0)
    return looked[prefix:].reshape(height, width)


def mosaic(squares: Array, place: Any, title: str, *, heads: bool) -> Heat:
    """Squares (layers, heads, height, width) as one map, with lines between them."""
    down, across, height, width = squares.shape
    largest = squares.max((2, 3), keepdims=True)
    drawn = (squares / np.where(largest > 0, largest, 1)).transpose(0, 2, 1, 3).reshape(down * height, across * width)
    edges = np.arange(down * across).reshape(down, across).repeat(height, 0).repeat(width, 1)
    kind = f"{down} layers down, {across} heads across" if heads else f"{across} layers across"
    inside = "looks down, looked at across" if place is None else "what the picture gets"
    return Heat(
        title=title,
        values=drawn,
        limit=1.0,
        signed=False,
        edges=edges,
        caption=f"{kind}; in each square: {inside}, as a share of its largest value",
        alt=f"{title}: {kind}, the largest value {squares.max():.3g}",
    )


def one(result: Any, row: int, values: Array, title: str) -> Figure:
    """One head: over the picture, or from token to token with names."""
    inputs, modality = result.input_array(row), result.modality
    if result.extra["grid"] is not None:
        shown = square(values, result.extra["grid"])
        under = modality.pixels(inputs) if isinstance(modality, Images) else None
        alt = f"{title}: map of {shown.shape[0]} by {shown.shape[1]}"
        return Heat(title=title, values=shown, limit=robust_limit(shown), signed=False, under=under, alt=alt)
    looking, looked = values.shape
    if max(values.shape) > MOST_NAMED:
        alt = f"{title}: {looking} by {looked} tokens"
        return Heat(title=title, values=values, limit=robust_limit(values), signed=False, alt=alt)
    names = modality.tokens(inputs) if isinstance(modality, Text) else ()
    numbered = [tuple(f"token {i}" for i in range(n)) for n in values.shape]
    strongest = np.unravel_index(int(values.argmax()), values.shape)
    rows, columns = (names if len(names) == n else other for n, other in zip(values.shape, numbered, strict=True))
    return Matrix(
        title=title,
        values=values,
        row_names=rows,
        column_names=columns,
        limit=robust_limit(values, 1.0),
        signed=False,
        caption="looks down, looked at across",
        alt=f"{title}: {looking} by {looked} tokens, most from {rows[strongest[0]]} to {columns[strongest[1]]}",
    )
