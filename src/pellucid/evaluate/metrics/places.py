"""Places: a map as one value a place of the input (a pixel, a moment), or a part where inputs have no space."""

from __future__ import annotations

from torch import Tensor

from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.question import Case


def placed(case: Case) -> Tensor:
    """The map of a picture, volume or series on its places (*space), channels in one; of other inputs on (parts,)."""
    layout = case.question.layout
    return layout.spread(case.values, by_size=case.by_size) if layout.space else case.parts


def varied(values: Tensor) -> Tensor:
    """The values, unless they are all the same."""
    if float(values.max() - values.min()) <= 1e-9 * float(values.abs().max()):
        raise Untestable("the map is the same everywhere: it says nothing on what matters more")
    return values


def largest(values: Tensor, k: int) -> Tensor:
    """How much of each value (n,) is among the ``k`` largest: 1, 0, or an equal share where equal ones compete.

    >>> import torch
    >>> largest(torch.tensor([3.0, 1.0, 1.0, 0.0]), 2)
    tensor([1.0000, 0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    least = values.sort(descending=True).values[k - 1]
    above, equal = values > least, values == least
    return above.double() + equal.double() * (k - above.sum()) / equal.sum()


def counted(k: float, n: int) -> int:
    """A number of places from a number, or from a share of ``n`` below 1; Untestable where it is all of them.

    >>> counted(0.05, 784), counted(3, 10)
    (39, 3)
    """
    number = max(1, round(k * n)) if k < 1 else int(k)
    if number >= n:
        raise Untestable(f"there are only {n} places, so any {number} of them are all")
    return number
