"""Where dots stand in a row so that they do not lie on each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ACROSS = 90
HIGH = 7.0
ROOM = 0.42


def swarm(values: NDArray[Any]) -> NDArray[Any]:
    """Offsets (rows, n) in ±0.42 for dots at ``values`` (rows, n), each column a row of dots on one common axis.

    A dot is 1/90 of the axis wide, a seventh of a row high. Dots are placed from the left, each as near to the middle
    of its row as it can be without touching another. A row that gets too high is pressed together; NaN gets 0.

    >>> swarm(np.array([[0.0], [0.0], [1.0]])).round(2).tolist()
    [[0.0], [0.14], [0.0]]
    """
    real = values[np.isfinite(values)]
    width = max(float(np.ptp(np.append(real, 0.0))), 1e-300) / ACROSS if real.size else 1.0
    offsets = np.zeros(values.shape)
    for column in range(values.shape[1]):
        placed = stacked(values[:, column] / width)
        highest = float(np.abs(placed).max(initial=0)) / HIGH
        offsets[:, column] = placed / HIGH * min(1.0, ROOM / highest if highest else 1.0)
    return offsets


def stacked(x: NDArray[Any]) -> NDArray[Any]:
    """Offsets for dots of width 1 at x, none touching another."""
    y = np.zeros(len(x))
    done: list[int] = []
    for i in np.argsort(x, kind="stable").tolist():
        if not np.isfinite(x[i]):
            continue
        near = [j for j in done[-400:] if x[i] - x[j] < 1]
        taken = [(y[j], np.sqrt(max(0.0, 1 - (x[i] - x[j]) ** 2))) for j in near]
        free = [0.0, *(each for at, gap in taken for each in (at + gap, at - gap))]
        y[i] = min(
            (each for each in free if all(abs(each - at) >= gap - 1e-9 for at, gap in taken)),
            key=lambda each: (abs(each), -each),
        )
        done.append(i)
    return y
