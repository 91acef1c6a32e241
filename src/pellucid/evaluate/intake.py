"""What may be put to the test: results of methods, and maps from anywhere with their inputs and target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.core.bound import Studied
from pellucid.core.leaves import Leaves
from pellucid.core.method import Attributor, question
from pellucid.core.outputs import Outputs
from pellucid.core.result import Attribution, MethodNote
from pellucid.core.store import SavedTarget
from pellucid.core.target import Class, Target
from pellucid.errors import InputError, TargetError
from pellucid.evaluate.values import numbers


@dataclass(frozen=True, eq=False)
class Given:
    """One explanation of a batch: its map, and the question it answers."""

    values: Tensor
    leaves: Leaves
    target: Target
    about: Outputs
    at: str | None = None
    note: MethodNote | None = None
    maker: Attributor | None = None
    base_score: Tensor | None = None
    rows: int = 0


def several(explanation: Any) -> bool:
    """Whether a list of explanations was given, and not one."""
    kinds = Attribution | Tensor | np.ndarray | Mapping
    if isinstance(explanation, list):
        return not explanation or isinstance(explanation[0], kinds | tuple)
    return isinstance(explanation, tuple) and bool(explanation) and isinstance(explanation[0], Attribution)


def taken(explanation: Any, model: Studied, inputs: Any, target: Any) -> Given:
    """One explanation, read and checked."""
    if isinstance(explanation, Attribution):
        return of_result(explanation, model, inputs, target)
    values = numbers(explanation)
    if inputs is None:
        do = "Call pl.check(values, model, inputs, target)."
        raise InputError(expected="the inputs that the values explain", got="none", do=do)
    ask = question(model, inputs, target, discrete=True)
    return Given(values, ask.leaves, settled(ask.target), ask.bound.about)


def of_result(result: Attribution, model: Studied, inputs: Any, target: Any) -> Given:
    """A method's result: it knows its inputs and its target, unless others are given."""
    values = numbers(result.values)
    if isinstance(result.target, SavedTarget) and target is None:
        do = "Pass target=…, the one that was explained."
        raise TargetError(expected="a target that can be asked", got="the words of a saved one", do=do)
    given = result.inputs if inputs is None else inputs
    if inputs is None and target is None:
        leaves, wanted, about = model.read(given), result.target, result.about
    else:
        ask = question(model, given, result.target if target is None else target, discrete=True)
        leaves, wanted, about = ask.leaves, ask.target, ask.bound.about
    return Given(
        values,
        leaves,
        settled(wanted),
        about,
        at=result.at,
        note=result.method,
        maker=result.maker if isinstance(result.maker, Attributor) else None,
        base_score=result.base_score,
        rows=-(-result.receipt.rows_forward // max(len(result), 1)),
    )


def settled(target: Target) -> Target:
    """A bound class in one form, however it was asked for, so that equal questions are seen to be equal."""
    return replace(target, which=None) if isinstance(target, Class) and target.index else target
