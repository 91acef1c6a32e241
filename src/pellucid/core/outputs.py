"""Outputs: what a model's answer means — its main tensor, its classes, its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor

from pellucid.errors import OutputError, TargetError, nearest

MAIN_NAMES = ("logits", "out", "prediction", "predictions", "last_hidden_state")


def main_output(outputs: Any) -> Tensor:
    """The tensor an answer is about: itself, ``logits`` of a dict or dataclass, else the first floating one."""
    if isinstance(outputs, Tensor):
        return floating(outputs)
    if is_dataclass(outputs) and not isinstance(outputs, type):
        outputs = {each.name: getattr(outputs, each.name) for each in fields(outputs)}
    if isinstance(outputs, Mapping):
        for name in MAIN_NAMES:
            if isinstance(outputs.get(name), Tensor):
                return floating(outputs[name])
        outputs = list(outputs.values())
    if isinstance(outputs, Sequence):
        for each in outputs:
            if isinstance(each, Tensor) and each.is_floating_point():
                return each
    do = "Say which number is explained with a function: target=lambda outputs: …, or pl.Model(…, output=…)."
    raise OutputError(expected="a floating tensor among the model's outputs", got=type(outputs).__name__, do=do)


def floating(answer: Tensor) -> Tensor:
    """An answer in floating numbers; complex ones are refused."""
    if answer.is_complex():
        raise OutputError(expected="real answers", got=str(answer.dtype), do="Explain .real, .imag or .abs() of them.")
    return answer if answer.is_floating_point() else answer.float()


def by_class(answer: Tensor) -> Tensor:
    """(rows, classes, …): the classes of (rows, tokens, classes) answers moved to the second axis."""
    return answer.movedim(-1, 1) if answer.ndim == 3 else answer


@dataclass(frozen=True)
class Outputs:
    """What a target needs to know of the answer: class names, and whether it is logits, probabilities or values.

    ``rank`` is the number of spatial axes of the inputs.
    """

    classes: tuple[str, ...] | None = None
    kind: str = "logits"
    rank: int = 0


def class_index(which: int | str, n: int, classes: tuple[str, ...] | None) -> int:
    """The index of a class given by index or name."""
    if isinstance(which, str):
        if classes and classes.count(which) > 1:
            got = f"{which!r}, which classes {[i for i, each in enumerate(classes) if each == which]} bear"
            raise TargetError(expected="the name of one class", got=got, do="Give the index of the class you mean.")
        if classes and which in classes:
            return classes.index(which)
        raise TargetError(expected="the name of a class", got=repr(which), do=nearest(which, classes or ()))
    if not -n <= which < n:
        raise TargetError(expected=f"a class 0 … {n - 1}", got=str(which), do=f"The model answers {n} numbers a row.")
    return which % n


def class_name(index: int, classes: tuple[str, ...] | None) -> str:
    """The name of a class, or "class 3"."""
    return classes[index] if classes and index < len(classes) else f"class {index}"


def check_index(index: tuple[int, ...], shape: tuple[int, ...], what: str) -> None:
    """Refuse an index outside of a shape."""
    if len(index) > len(shape) or any(not -size <= each < size for each, size in zip(index, shape, strict=False)):
        raise TargetError(expected=f"{what} within {shape}", got=str(index), do="Choose one the model has.")
