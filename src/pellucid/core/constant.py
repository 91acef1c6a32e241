"""Gradients that cannot be had: answers that are constant, or hide how they came about; failures on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from pellucid.core.site import Followed
from pellucid.errors import GradientError, NonFiniteError


def refuse_unless_constant(score_at: Callable[[Tensor], Tensor], points: Tensor, score: Tensor) -> None:
    """Raise where the score was computed from the points, or changes with them."""
    with Followed(points) as followed:
        met = followed.reached(score_at(points))
    for other in (-points, points * 0, points * 10):
        with suppress(NonFiniteError):
            met = met or not torch.equal(score_at(other), score)
    if met:
        got = "an answer that changes with the input but carries no gradient"
        do = "Look for argmax, round, .detach(), .item() or NumPy in forward; or use KernelSHAP."
        raise GradientError(expected="a differentiable target", got=got, do=do)


@contextmanager
def named_failures() -> Iterator[None]:
    """What cannot be answered backwards, as a named error."""
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        do = "Use checkpoint(…, use_reentrant=False) in the model."
        raise GradientError(
            expected="parts that can be asked backwards", got="a reentrant checkpoint", do=do
        ) from error
