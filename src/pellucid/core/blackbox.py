"""BlackBox: any predict function where no gradient is needed. It takes and gives NumPy rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.leaves import Leaves, leaves_of
from pellucid.core.modality import Modality
from pellucid.core.model import like_probabilities
from pellucid.core.outputs import Outputs
from pellucid.core.prediction import TASKS, Prediction, predicted
from pellucid.core.run import Pace
from pellucid.errors import DtypeError, NonFiniteError, OptionError, OutputError, ShapeError


class BlackBox:
    """A predict function under study: rows in, numbers out, no gradients.

    ``predict`` gets NumPy rows (or what ``inputs`` decodes to: a pandas frame, texts) and returns (rows,) or
    (rows, outputs) numbers. ``batch`` limits the rows of one call.

    Raises: OutputError for lists of the wrong length or non-numbers, NonFiniteError for NaN.

    Example:
        >>> import numpy as np, pellucid as pl
        >>> box = pl.BlackBox(lambda rows: rows.sum(1))
        >>> box(np.ones((1, 3))).words()
        '3'
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        *,
        inputs: Modality | None = None,
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch: int = 1024,
    ) -> None:
        if not callable(predict):
            raise DtypeError(
                expected="a predict function", got=type(predict).__name__, do="Pass e.g. model.predict_proba."
            )
        if task is not None and task not in TASKS:
            raise OptionError(expected=f"a task of {TASKS}", got=repr(task), do="Leave it out to have it read off.")
        if batch < 1:
            raise OptionError(expected="batch ≥ 1", got=str(batch), do="Say how many rows one call may have.")
        self.predict, self.modality, self.task, self.batch = predict, inputs or Modality(), task, batch
        self.classes = tuple(str(each) for each in classes) if classes is not None else None
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self.lock = RLock()
        self.paces: dict[Any, Pace] = {}

    differentiable = False

    def __call__(self, given: Any) -> Prediction:
        """The prediction for raw inputs."""
        values = self.answer(self.read(given), None, None)
        return predicted(values.numpy(), values, self.about(values), self.task_of(values))

    def read(self, given: Any) -> Leaves:
        """Prepare and check rows."""
        given = self.modality.prepare(given)
        if isinstance(given, np.ndarray) and given.ndim == 1:
            given = given[None]
        return leaves_of(given, self.device, self.dtype)

    def answer(self, leaves: Leaves, points: Tensor | None, rows: Tensor | None, **_: Any) -> Tensor:
        """Ask for ``points`` (rows, *shape), at most ``batch`` at a time."""
        points = leaves.values if points is None else points
        parts = [self._ask(part) for part in points.split(self.batch)]
        return torch.cat(parts)

    def _ask(self, points: Tensor) -> Tensor:
        raw = self.predict(self.modality.decode(points.numpy().copy()))
        do = "Return an array of numbers, one row per input row."
        try:
            answers = np.asarray(raw)
            if answers.dtype.kind in "cSUMm":
                raise OutputError(expected="real numbers from predict", got=str(answers.dtype), do=do)
            answers = answers.astype(float)
        except (TypeError, ValueError) as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(expected="numbers from predict", got=type(raw).__name__, do=do) from None
        if answers.ndim == 0 or len(answers) != len(points):
            got = f"shape {answers.shape}"
            raise OutputError(expected=f"{len(points)} rows from predict", got=got, do="Return one row per input row.")
        if not np.isfinite(answers).all():
            bad = int((~np.isfinite(answers)).reshape(len(answers), -1).any(1).sum())
            do = "Make predict answer every row with finite numbers."
            raise NonFiniteError(
                expected="finite answers", got=f"NaN or infinity in {bad} of {len(answers)} rows", do=do
            )
        return torch.from_numpy(answers)

    def main(self, raw: Tensor) -> Tensor:
        """The answers themselves."""
        return raw

    def task_of(self, values: Tensor) -> str:
        """The task: as said, or read off the shape of the answer."""
        if self.task is not None:
            return self.task
        several = values.ndim == 2 and values.shape[1] > 1
        return "classification" if several or self.classes is not None else "regression"

    def about(self, values: Tensor) -> Outputs:
        """Class names, and whether the answers are probabilities or values."""
        if self.classes is not None and values.ndim >= 2 and values.shape[1] not in (1, len(self.classes)):
            got = f"{len(self.classes)} class names"
            raise ShapeError(expected=f"{values.shape[1]} class names", got=got, do="Name every output.")
        if self.task_of(values) == "regression":
            return Outputs(self.classes, "values")
        return Outputs(self.classes, "probabilities" if like_probabilities(values) else "logits")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the box for one computation."""
        with self.lock:
            yield

    def fingerprint(self) -> str:
        """The function's name: its inside is not known."""
        return getattr(self.predict, "__qualname__", type(self.predict).__name__)
