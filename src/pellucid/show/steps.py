"""Bars as steps on an axis: where each starts and ends, how far the axis reaches, and round numbers along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pellucid.core.figure import Bars

UNACCOUNTED = 0.005


@dataclass(frozen=True, kw_only=True)
class Step:
    """A row of a chart of bars: from ``start`` to ``end``; a level (``moves`` false) is a point."""

    label: str
    value: float
    start: float
    end: float
    color: str
    detail: str = ""
    error: float = 0.0
    moves: bool = True
    before: bool = False
    after: bool = False


def steps_of(figure: Bars) -> list[Step]:
    """The rows of a figure, those of base and total included."""
    values = np.nan_to_num(np.asarray(figure.values, dtype=float), posinf=0.0, neginf=0.0)
    falls = figure.base is not None and figure.total is not None
    rows = [(label, float(value)) for label, value in zip(figure.labels, values, strict=True)]
    reached = (figure.base or 0.0) + float(values.sum())
    size = max(float(np.abs(values).max(initial=0)), abs((figure.total or 0) - (figure.base or 0)), 1e-300)
    if falls and abs((figure.total or 0.0) - reached) > UNACCOUNTED * size:
        rows.append(("not accounted for", (figure.total or 0.0) - reached))
    steps = []
    at = figure.base if falls and figure.base is not None else 0.0
    for i, (label, value) in enumerate(rows):
        known = i < len(figure.labels)
        steps.append(
            Step(
                label=label,
                value=float(figure.values[i]) if known else value,
                start=at,
                end=at + value,
                color=shade(value, figure.signed) if known else "rest",
                detail=figure.details[i] if known and figure.details else "",
                error=half_width(figure, i) if known else 0.0,
                before=falls,
                after=falls,
            )
        )
        at = at + value if falls else 0.0
    return [level("baseline", figure.base, after=True), *steps, level("this input", figure.total)] if falls else steps


def level(label: str, value: float | None, after: bool = False) -> Step:
    """A row that is a point: where a waterfall starts or ends."""
    at = float(value or 0.0)
    return Step(label=label, value=at, start=at, end=at, color="rest", moves=False, before=not after, after=after)


def shade(value: float, signs: bool) -> str:
    """The color of a bar, by its sign."""
    if not signs:
        return "plain"
    return "p11" if value >= 0 else "n11"


def half_width(figure: Bars, i: int) -> float:
    """The 95 % half-width of a bar, 0 where it is not known."""
    error = 0.0 if figure.errors is None else float(figure.errors[i])
    return error if np.isfinite(error) else 0.0


def extent(figure: Bars, steps: list[Step]) -> tuple[float, float]:
    """The ends of the axis: zero is on it unless the bars are a waterfall; a probability has the whole of it."""
    places = [place for each in steps for place in (each.start, each.end - each.error, each.end + each.error)]
    low, high = min(places, default=0.0), max(places, default=1.0)
    if figure.base is None or figure.total is None:
        low, high = min(low, 0.0), max(high, 0.0)
    if figure.unit == "probability" and low >= 0:
        low, high = 0.0, max(1.0, high)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high.

    >>> ticks(0.0, 187.0, 5)
    [0.0, 50.0, 100.0, 150.0]
    >>> ticks(-0.04, 0.91, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    raw = (high - low) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= raw * 0.8)
    start, stop = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(round(i * step, 12)) + 0.0 for i in range(start, stop + 1)]
