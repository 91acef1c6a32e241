"""Plain tensors, and what every modality can do: read what users have, and show a map of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Bars, Figure, Heat, robust_limit

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Modality:
    """Plain tensors: taken as they are, shown as maps or bars.

    Example:
        >>> Modality().kind
        'tensor'
    """

    kind: ClassVar[str] = "tensor"

    def prepare(self, given: Any) -> Any:
        """Raw inputs as the pytree of tensors the module is called with, batch axis first."""
        return given

    def decode(self, rows: Array) -> Any:
        """Rows as a predict function wants them: the inverse of ``prepare`` for a BlackBox."""
        return rows

    def labels(self, inputs: Array) -> tuple[str, ...]:
        """One name for each element of one row."""
        return tuple(" ".join(map(str, index)) for index in np.ndindex(*inputs.shape))

    def input_figure(self, inputs: Array) -> Figure:
        """One row of inputs (*shape), drawn."""
        return self.map_figure(inputs, inputs, title="input")

    def map_figure(
        self,
        values: Array,
        inputs: Array,
        *,
        title: str = "",
        limit: float | None = None,
        base: float | None = None,
        total: float | None = None,
        unit: str = "",
        errors: Array | None = None,
    ) -> Figure:
        """Values of one row as a figure. ``limit`` fixes the color scale; ``base`` and ``total`` make a waterfall."""
        if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
            return heat(values, title=title, limit=limit)
        labels = self.labels(inputs) if inputs.shape == values.shape else Modality.labels(self, values)
        return bars(labels, values.ravel(), title=title, unit=unit)


def heat(values: Array, *, title: str, limit: float | None = None, under: Array | None = None) -> Heat:
    """A map (height, width), channels summed."""
    flat = values.sum(0) if values.ndim == 3 else values
    signed = bool((flat < 0).any())
    peak = np.unravel_index(int(np.abs(flat).argmax()), flat.shape)
    return Heat(
        title=title,
        values=np.asarray(flat, dtype=float),
        limit=limit or robust_limit(flat),
        signed=signed,
        under=under,
        alt=f"{title}: map of {flat.shape[0]} by {flat.shape[1]}, strongest at row {peak[0] + 1}, column {peak[1] + 1}",
    )


def bars(
    labels: tuple[str, ...],
    values: Array,
    *,
    title: str,
    most: int = 15,
    details: tuple[str, ...] = (),
    base: float | None = None,
    total: float | None = None,
    unit: str = "",
    errors: Array | None = None,
) -> Bars:
    """The largest values as bars, the rest added up in one."""
    order = np.argsort(-np.abs(values), kind="stable")
    top, rest = order[:most], order[most:]
    shown = [float(values[i]) for i in top]
    names = [labels[i] for i in top]
    notes = [details[i] for i in top] if details else []
    half = [float(errors[i]) for i in top] if errors is not None else None
    if len(rest):
        shown.append(float(values[rest].sum()))
        names.append(f"{len(rest)} others together")
        notes += [""] * bool(details)
        if half is not None and errors is not None:
            half.append(float(np.sqrt((errors[rest] ** 2).sum())))
    first = f"{names[0]} {shown[0]:+.3g}" if names else "nothing"
    return Bars(
        title=title,
        labels=tuple(names),
        values=np.asarray(shown),
        details=tuple(notes),
        errors=None if half is None else np.asarray(half),
        base=base,
        total=total,
        unit=unit,
        alt=f"{title}: {len(values)} contributions, the largest {first}",
    )
