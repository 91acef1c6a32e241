"""The line that gives the same evidence again, and the hashes that say of what."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.places import Neuron, Token
from pellucid.core.result import MethodNote
from pellucid.core.run import Options
from pellucid.core.target import Class, Function, Output, Probability, Sum, Target


def version() -> str:
    """The version of pellucid."""
    return str(getattr(sys.modules[__name__.partition(".")[0]], "__version__", ""))


def input_hash(leaves: Leaves) -> str:
    """A short hash of all inputs of one row."""
    digest = hashlib.sha256()
    for name, leaf in zip(leaves.names, leaves.tensors, strict=True):
        if isinstance(leaf, Tensor):
            digest.update(f"{name}{tuple(leaf.shape)}{leaf.dtype}".encode())
            digest.update(np.ascontiguousarray(leaf.detach().cpu().double().numpy()).tobytes())
        else:
            digest.update(f"{name}{leaf!r}".encode())
    return digest.hexdigest()[:12]


def line(
    notes: Sequence[MethodNote | None],
    place: int,
    *,
    target: Target,
    at: str | None,
    row: int | None,
    tier: str,
    fill: Any,
    options: Options,
) -> str:
    """One line of Python; ``place`` is this explanation's among those checked together."""
    inputs = "inputs" if row is None else f"inputs[{row}:{row + 1}]"
    wanted = target_code(target)
    where = "" if at is None else f", at={at!r}"
    made = [
        "values" if note is None else f"{method_code(note)}(model, {inputs}, target={wanted}{where})" for note in notes
    ]
    rest = "" if tier == "quick" else f", tier={tier!r}"
    rest += "" if fill is None else f", fill={code(fill)}"
    if all(note is None for note in notes):
        rest = f", {inputs}, target={wanted}" + rest
    what = made[0] if len(made) == 1 else f"[{', '.join(made)}]"
    index = "" if len(made) == 1 else f"[{place}]"
    return f"with pl.settings(seed={options.seed}): pl.check({what}, model{rest}){index}"


def method_code(note: MethodNote) -> str:
    """A method as it is written."""
    inside = ", ".join(f"{name}={code(value)}" for name, value in note.options.items())
    return f"pl.{note.name}({inside})"


def target_code(target: Target) -> str:
    """A bound target of one row as it is written."""
    if isinstance(target, Probability):
        return f"pl.Probability({target.index[0] if target.index else ''})"
    if isinstance(target, Class):
        return str(target.index[0]) if target.index else "None"
    if isinstance(target, Output):
        return f"pl.Output({target.index!r})"
    if isinstance(target, Sum):
        return " + ".join(f"{weight:g} * {target_code(term)}" for weight, term in target.terms)
    if isinstance(target, Function):
        return getattr(target.function, "__name__", "function")
    if isinstance(target, Neuron | Token):
        return code(target)
    return type(target).__name__.lower()


def code(value: Any) -> str:
    """A value as it is written in Python, with only those fields that are not the default."""
    if isinstance(value, Tensor | np.ndarray):
        return "tensor"
    if is_dataclass(value) and not isinstance(value, type):
        parts = [f"{each.name}={code(getattr(value, each.name))}" for each in fields(value) if told(value, each)]
        return f"pl.{type(value).__name__}({', '.join(parts)})"
    return repr(value).replace("\n", " ")


def told(value: Any, each: Any) -> bool:
    """Whether a field differs from its default."""
    now = getattr(value, each.name)
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return isinstance(now, Tensor | np.ndarray) or type(now) is not type(default) or bool(now != default)
