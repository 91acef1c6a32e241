"""ONNX files as predict functions, through onnxruntime: rows in, probabilities or values out; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import InputError, LoadError, nearest
from pellucid.loading.weights import existing, first_line

Array = NDArray[Any]
SUFFIX = ".onnx"
QUIET = 3
NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)")
TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class Onnx:
    """A predict function from an ONNX file with one input for all columns, or with one named input a column.

    It takes rows, or a pandas frame, and gives the probabilities where the file has them, else its first numbers.
    ``columns`` are the names it takes (None where one input takes all), ``width`` how many numbers (None: any).

    Raises: LoadError without onnxruntime, and for a file that it cannot open or that gives no numbers.
    """

    def __init__(self, path: Any) -> None:
        source = existing(Path(path).expanduser(), "an ONNX file")
        self.session = opened(source)
        self.fingerprint = f"{source.name} {sha256(source.read_bytes()).hexdigest()[:16]}"
        self.inputs = self.session.get_inputs()
        for each in self.inputs:
            if each.type not in TYPES or len(each.shape) == 0:
                got = f"{each.name!r} of {each.type} {each.shape}"
                raise LoadError(expected="inputs that are rows of numbers or texts", got=got, do="Wrap it yourself.")
        self.outputs = chosen(source.name, self.session.get_outputs())
        self.columns = None if len(self.inputs) == 1 else self._names(source.name)
        width = (*self.inputs[0].shape, 1)[1]
        self.width = width if self.columns is None and isinstance(width, int) else None

    def __call__(self, rows: Any) -> Array:
        feed = self._feed(rows)
        many, fixed = len(rows), self.inputs[0].shape[0]
        if not isinstance(fixed, int):
            return self._run(feed)
        parts = [self._run(piece(feed, start, fixed)) for start in range(0, many, fixed)]
        return np.concatenate(parts)[:many]

    def classes(self, rows: Any) -> tuple[str, ...] | None:
        """The names of the classes, where the file gives its probabilities by name."""
        if len(self.outputs) > 1:
            return tuple(each.name for each in self.outputs)
        if self.outputs[0].type in NUMBERS:
            return None
        fixed = self.inputs[0].shape[0]
        (answer,) = self.session.run(
            [self.outputs[0].name], piece(self._feed(rows), 0, fixed if isinstance(fixed, int) else 1)
        )
        return tuple(str(name) for name in answer[0])

    def _names(self, file: str) -> tuple[str, ...]:
        wide = [each for each in self.inputs if len(each.shape) > 2 or (len(each.shape) == 2 and each.shape[1] != 1)]
        if wide:
            got = f"{wide[0].name!r} of shape {wide[0].shape} among {len(self.inputs)} inputs of {file!r}"
            raise LoadError(expected="one input, or one a column", got=got, do="Wrap it: --predict module:function.")
        return tuple(each.name for each in self.inputs)

    def _feed(self, rows: Any) -> dict[str, Array]:
        """What each input is given."""
        if self.columns is None:
            (only,) = self.inputs
            cells = typed(np.asarray(rows), only)
            return {only.name: cells.reshape(-1) if len(only.shape) == 1 else cells}
        if not hasattr(rows, "columns"):
            cells = np.asarray(rows)
            if cells.ndim != 2 or cells.shape[1] != len(self.columns):
                got, want = f"shape {cells.shape}", f"rows of {len(self.columns)} columns: {', '.join(self.columns)}"
                raise InputError(expected=want, got=got, do="Give the columns that the file names, in this order.")
            rows = dict(zip(self.columns, cells.T, strict=True))
        feed = {}
        for each in self.inputs:
            if each.name not in rows:
                raise InputError(expected=f"the column {each.name!r}", got="none", do=nearest(each.name, list(rows)))
            column = typed(np.asarray(rows[each.name]), each)
            feed[each.name] = column[:, None] if len(each.shape) == 2 else column
        return feed

    def _run(self, feed: dict[str, Array]) -> Array:
        answers = self.session.run([each.name for each in self.outputs], feed)
        if len(answers) > 1:
            return np.stack(answers, 1)
        (answer,) = answers
        if not isinstance(answer, list):
            return np.asarray(answer)
        names = list(answer[0])
        return np.array([[row[name] for name in names] for row in answer])


def opened(source: Path) -> Any:
    """A session of onnxruntime on the CPU."""
    try:
        import onnxruntime
    except ImportError:
        do = "Install it: pip install 'pellucid[onnx]'."
        raise LoadError(expected="onnxruntime, to open ONNX files", got="none", do=do) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    try:
        return onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        got = f"{source.name!r}: {first_line(error)}"
        raise LoadError(expected="an ONNX file that onnxruntime can open", got=got, do="Export it again.") from error


def chosen(file: str, outputs: list[Any]) -> list[Any]:
    """What is explained: probabilities, in one output or one a class, else the first numbers; never class labels."""
    given = [each for each in outputs if each.type in NUMBERS or each.type.startswith("seq(map(")]
    if not given:
        got = f"{', '.join(f'{each.name!r} of {each.type}' for each in outputs)} from {file!r}"
        do = "Export it with its probabilities or values."
        raise LoadError(expected="an output of numbers", got=got, do=do)
    if all(each.type in NUMBERS and len(each.shape) == 1 for each in given):
        return given
    probable = [each for each in given if "prob" in each.name.lower() or each.type not in NUMBERS]
    return (probable or given)[:1]


def typed(cells: Array, wanted: Any) -> Array:
    """Cells in the type that an input takes."""
    kind = TYPES[wanted.type]
    if kind is np.object_:
        return cells.astype(str).astype(object)
    try:
        return np.ascontiguousarray(cells.astype(kind))
    except (TypeError, ValueError) as error:
        got = f"texts for the input {wanted.name!r}: {first_line(error)}"
        do = "Give numbers where the file takes numbers, or export it with one input a column."
        raise InputError(expected=f"numbers, as {wanted.type} wants", got=got, do=do) from None


def piece(feed: Mapping[str, Array], start: int, rows: int) -> dict[str, Array]:
    """Some rows of what the inputs are given; the last row again where there are fewer than ``rows``."""
    return {name: cells[np.minimum(np.arange(start, start + rows), len(cells) - 1)] for name, cells in feed.items()}
