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
from pellucid.core.target import Class, Function, Output, Probability, Sum, Target
from pellucid.evaluate.question import Question


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


def line(together: Sequence[tuple[MethodNote | None, Question]], place: int, row: int | None) -> str:
    """One line of Python for the explanations checked together; ``place`` is that of the one in question."""
    question = together[place][1]
    inputs = "inputs" if row is None else f"inputs[{row}:{row + 1}]"
    made = [made_by(note, each, inputs) for note, each in together]
    rest = "" if any(note for note, _ in together) else f", {inputs}, target={target_code(question.target)}"
    rest += "" if question.tier == "quick" else f", tier={question.tier!r}"
    rest += "" if question.fill is None else f", fill={code(question.fill)}"
    what, index = (made[0], "") if len(made) == 1 else (f"[{', '.join(made)}]", f"[{place}]")
    return f"with pl.settings(seed={question.seed}): evidence = pl.check({what}, model{rest}){index}"


def made_by(note: MethodNote | None, question: Question, inputs: str) -> str:
    """An explanation as it is written."""
    if note is None:
        return "values" + inputs.removeprefix("inputs")
    where = "" if question.at is None else f", at={question.at!r}"
    return f"{method_code(note)}(model, {inputs}, target={target_code(question.target)}{where})"


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
