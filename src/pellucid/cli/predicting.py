"""What ``--predict`` names: a function, an object with predict_proba or predict, or an ONNX file."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.cli.console import problem
from pellucid.errors import LoadError

ONNX = ".onnx"
WAYS = ("predict_proba", "decision_function", "predict")
WANTED = "a function, an object with predict_proba or predict, or an ONNX file"


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A predict function from the command line, and what is known of it.

    ``columns`` are those it names itself, ``width`` is how many it takes where it names none. It gets arrays of
    numbers; where columns hold texts, or with ``frames``, pandas frames; with ``objects`` arrays of objects instead.
    ``truths`` are columns of true and false. ``named`` gives the names of classes that only an answer tells.
    """

    fingerprint: str
    ask: Callable[[Any], Any]
    columns: tuple[str, ...] | None = None
    width: int | None = None
    classes: tuple[str, ...] | None = None
    named: Callable[[Any], tuple[str, ...] | None] | None = None
    task: str | None = None
    frames: bool = False
    objects: bool = False
    truths: tuple[str, ...] = ()

    def __call__(self, rows: Any) -> Any:
        """Its answer. What it prints goes to stderr; where it fails is told if PELLUCID_TRACEBACK is set."""
        try:
            with redirect_stdout(sys.stderr):
                return self.ask(self.shown(rows))
        except Exception:
            if os.environ.get("PELLUCID_TRACEBACK"):
                problem(traceback.format_exc())
            raise

    def shown(self, rows: Any) -> Any:
        """Rows as it takes them; in a frame, truth values are what pandas reads them as."""
        for name in self.truths:
            rows[name] = [str(cell).casefold() == "true" for cell in rows[name]]
        return rows.to_numpy(dtype=object) if self.objects and hasattr(rows, "columns") else rows


def predictor(name: str) -> Predictor:
    """What a name stands for."""
    if is_onnx(name):
        return from_onnx(Path(name))
    from pellucid.loading.factory import attribute

    thing = attribute(name)
    if isinstance(thing, type):
        do = "Name an object of it that is trained: module:object."
        raise LoadError(expected=WANTED, got=f"the class {thing.__name__}", do=do)
    refuse_networks(name, thing)
    owner, way = getattr(thing, "__self__", None), getattr(thing, "__name__", "")
    if owner is not None and way in WAYS:
        return from_object(name, owner, way)
    way = answering(name, thing)
    if way:
        return from_object(f"{name}.{way}", thing, way)
    if not callable(thing):
        raise LoadError(expected=WANTED, got=f"{name} of type {type(thing).__name__}", do="Name one of them.")
    return Predictor(fingerprint=name, ask=thing)


def is_onnx(name: str | None) -> bool:
    """Whether a name is that of an ONNX file."""
    return name is not None and Path(name).suffix.lower() == ONNX


def from_onnx(path: Path) -> Predictor:
    """An ONNX file, run by onnxruntime."""
    from pellucid.loading.onnx import Onnx

    net = Onnx(path)
    frames = net.columns is not None
    return Predictor(
        fingerprint=net.fingerprint,
        ask=net,
        columns=net.columns,
        width=net.width,
        named=net.classes,
        frames=frames,
        objects=not frames,
    )


def from_object(name: str, thing: Any, way: str) -> Predictor:
    """A method of an object of the scikit-learn kind, with the columns and classes that it was trained on."""
    columns, classes = getattr(thing, "feature_names_in_", None), getattr(thing, "classes_", None)
    by_class = way != "predict" and getattr(classes, "ndim", 0) == 1
    return Predictor(
        fingerprint=name,
        ask=getattr(thing, way),
        columns=None if columns is None else tuple(map(str, columns)),
        width=None if columns is not None else getattr(thing, "n_features_in_", None),
        classes=tuple(map(str, classes)) if by_class and classes is not None else None,
        task=None if way == "predict_proba" else "regression",
        frames=columns is not None,
        objects=columns is None,
    )


def answering(name: str, thing: Any) -> str | None:
    """The method that answers with numbers; a classifier's labels are none."""
    classifies = hasattr(thing, "classes_")
    found = next((way for way in WAYS if hasattr(thing, way) and (classifies or way != "decision_function")), None)
    if found == "predict" and classifies:
        do = "Wrap it in a function that gives a number for each class."
        raise LoadError(expected=f"{name} to have predict_proba", got="class labels from predict alone", do=do)
    return found


def refuse_networks(name: str, thing: Any) -> None:
    """A torch module has gradients and belongs elsewhere."""
    from torch import nn

    from pellucid.core.model import Model

    if isinstance(thing, nn.Module | Model):
        do = f"Say --model {name}: it has gradients, too."
        raise LoadError(expected=WANTED, got=f"{name}, which is a network", do=do)
