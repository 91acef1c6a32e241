"""BlackBox: any predict function where no gradient is needed. It takes and gives NumPy rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.answers import Answers, AnswersFile, Array, contents, cut, digests, identity, name_of
from pellucid.core.leaves import Leaves, leaves_of
from pellucid.core.modality import Modality, Table
from pellucid.core.outputs import Outputs
from pellucid.core.prediction import TASKS, Prediction, predicted
from pellucid.core.run import Pace, bytes_of, current_settings, out_of_memory
from pellucid.errors import (
    Cancelled,
    DtypeError,
    NonFiniteError,
    OptionError,
    OutputError,
    PellucidError,
    PredictError,
    ShapeError,
)

OFF_BY = 1e-2
NAP = 0.05


class BlackBox:
    """A predict function under study: rows in, numbers out, no gradients.

    ``predict`` gets NumPy rows (or what ``inputs`` decodes to: a pandas frame, texts) and returns (rows,) or
    (rows, outputs) numbers. It is called by one thread at a time, with at most ``batch`` rows and at most
    ``per_second`` times a second.

    Equal rows are asked once: answers are found by the content of what ``predict`` was shown. They stay in up to
    ``remember`` of memory, the oldest go first; 0 is for functions that answer at random: every row is asked anew.
    ``cache`` names a file that keeps the answers instead, written after every call, so that another process goes on
    where this one was stopped. A file belongs to one function, known by its name and a digest of its code, or of the
    object it is a method of; a function that has an attribute ``fingerprint`` is known by that.

    ``task="classification"`` says that answers in [0, 1] are the probabilities of classes that exclude each other.
    Without it, answers that do not sum to one are scores, each by itself.

    Raises: PredictError where ``predict`` fails, with its own error as the cause; what it answered before is kept, and
        calling again goes on from there. OutputError for lists of the wrong length, non-numbers and probabilities that
        do not sum to one, NonFiniteError for NaN, LoadError for a file of another function's answers.

    Example:
        >>> import numpy as np, pellucid as pl
        >>> box = pl.BlackBox(lambda rows: rows.sum(1))
        >>> box(np.ones((1, 3))).words()
        '3'
        >>> box(np.ones((2, 3))), box.asked
        (3 … and 1 more, 1)
    """

    differentiable = False

    def __init__(
        self,
        predict: Callable[[Any], Any],
        *,
        inputs: Modality | None = None,
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch: int = 1024,
        per_second: float | None = None,
        remember: int | str = "100 MB",
        cache: str | Path | None = None,
    ) -> None:
        if not callable(predict):
            raise DtypeError(
                expected="a predict function", got=type(predict).__name__, do="Pass e.g. model.predict_proba."
            )
        if task is not None and task not in TASKS:
            raise OptionError(expected=f"a task of {TASKS}", got=repr(task), do="Leave it out to have it read off.")
        if batch < 1:
            raise OptionError(expected="batch ≥ 1", got=str(batch), do="Say how many rows one call may have.")
        self.predict, self.modality, self.task, self.batch = predict, precise(inputs or Modality()), task, batch
        self.classes = tuple(str(each) for each in classes) if classes is not None else None
        self.pause = pause_of(per_second)
        self.answers = answers_of(predict, remember, cache)
        self.shape = None if self.answers is None else self.answers.shape
        self.calls = self.asked = 0
        self.device, self.dtype = torch.device("cpu"), torch.float64
        self.lock = RLock()
        self.paces: dict[Any, Pace] = {}
        self._next_call = 0.0

    def __call__(self, given: Any) -> Prediction:
        """The prediction for raw inputs."""
        values = self.answer(self.read(given), None, None)
        return predicted(values.numpy(), values, self.about(values), self.task_of(values))

    def read(self, given: Any) -> Leaves:
        """Prepare and check rows."""
        given = encoded(self.modality, given)
        if isinstance(given, np.ndarray) and given.ndim == 1:
            given = given[None]
        return leaves_of(given, self.device, self.dtype)

    def answer(self, leaves: Leaves, points: Tensor | None, rows: Tensor | None, **_: Any) -> Tensor:
        """The answers to ``points`` (rows, *shape): those that are not known are asked, ``batch`` at a time."""
        points = leaves.values if points is None else points
        with self.lock:
            values = torch.from_numpy(self._answers(points))
        if self.task == "classification" and not_normalized(values):
            low, high = (float(each) for each in values.sum(1).aminmax())
            do = "Divide each row by its sum, or say task='regression' for scores that stand by themselves."
            got = f"sums of {low:.3g} … {high:.3g}" if low < high else f"a sum of {low:.3g}"
            raise OutputError(expected="probabilities that sum to one in every row", got=got, do=do)
        return values

    def _answers(self, points: Tensor) -> Array:
        if self.answers is None:
            return np.concatenate([self._ask(part, None) for part in points.split(self.batch)])
        shown = points.detach().numpy()
        keys = contents(self.modality.decode(shown)) or digests(shown)
        known = self.answers.known(keys)
        fresh = {key: i for i, key in enumerate(keys) if key not in known}
        for asked in batched(list(fresh), self.batch):
            found = self._ask(points[[fresh[key] for key in asked]], asked)
            known.update(zip(asked, cut(found), strict=True))
        flat = np.frombuffer(b"".join([known[key] for key in keys]), dtype=np.float64)
        return flat.reshape(len(keys), *(self.shape or ())).copy()

    def _ask(self, points: Tensor, keys: list[bytes] | None) -> Array:
        """One call. Its finite answers are kept, also where others are not finite."""
        answers = numbers_of(self._called(points), len(points))
        if self.shape is not None and answers.shape[1:] != self.shape:
            do = "Return as many numbers for every row, in every call."
            raise OutputError(expected=f"answers {self.shape} a row, as before", got=str(answers.shape[1:]), do=do)
        fine = np.asarray(np.isfinite(answers).reshape(len(answers), -1).all(1))
        if fine.any():
            self.shape = answers.shape[1:]
            if self.answers is not None and keys is not None:
                self.answers.add([key for key, good in zip(keys, fine.tolist(), strict=True) if good], answers[fine])
        if not fine.all():
            do = f"Make predict answer every row with finite numbers. {self._kept()}"
            got = f"NaN or infinity in {int((~fine).sum())} of {len(answers)} rows"
            raise NonFiniteError(expected="finite answers", got=got, do=do)
        return answers

    def _called(self, points: Tensor) -> Any:
        """What predict returns for some rows, shown as copies."""
        self._wait()
        rows = self.modality.decode(points.detach().numpy().copy())
        self.calls, self.asked = self.calls + 1, self.asked + len(points)
        try:
            return self.predict(rows)
        except PellucidError:
            raise
        except Exception as error:
            if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
                raise  # whoever asks comes back with fewer rows
            said = str(error).strip().partition("\n")[0][:300]
            got = f"{type(error).__name__}{': ' if said else ''}{said} in call {self.calls:,}, of {len(points):,} rows"
            raise PredictError(expected="answers from predict", got=got, do=self._kept()) from error

    def _kept(self) -> str:
        """What an interrupted computation can go on from."""
        if self.answers is None:
            return "No answers are kept with remember=0: calling again asks every row anew."
        many = len(self.answers)
        kept = f"{many:,} answers are" if many != 1 else "1 answer is"
        return f"{kept} kept{self.answers.where}: call again, and only the rest is asked."

    def _wait(self) -> None:
        """Until the next call is allowed; a request to stop is heard before every call."""
        while True:
            stop = current_settings().stop
            if stop is not None and stop.is_set():
                raise Cancelled(expected="to go on", got="a request to stop", do=self._kept())
            left = self._next_call - time.monotonic()
            if left <= 0:
                self._next_call = time.monotonic() + self.pause
                return
            time.sleep(min(left, NAP))

    def main(self, raw: Tensor) -> Tensor:
        """The answers themselves."""
        return raw

    def task_of(self, values: Tensor) -> str:
        """The task: as said, or read off the answers."""
        if self.task is not None:
            return self.task
        several = values.ndim == 2 and values.shape[1] > 1
        if several and not_normalized(values):
            return "regression"
        return "classification" if several or self.classes is not None else "regression"

    def about(self, values: Tensor) -> Outputs:
        """Class names, and whether the answers are probabilities or values."""
        if self.classes is not None and values.ndim >= 2 and values.shape[1] not in (1, len(self.classes)):
            got = f"{len(self.classes)} class names"
            raise ShapeError(expected=f"{values.shape[1]} class names", got=got, do="Name every output.")
        if self.task_of(values) == "regression":
            return Outputs(self.classes, "values")
        return Outputs(self.classes, "probabilities" if within_one(values) and not not_normalized(values) else "logits")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the box for one computation."""
        with self.lock:
            yield

    def fingerprint(self) -> str:
        """The function's name: its inside is not known."""
        return name_of(self.predict)


def batched(keys: list[bytes], most: int) -> list[list[bytes]]:
    """Keys in lists of at most ``most``."""
    return [keys[i : i + most] for i in range(0, len(keys), most)]


def answers_of(predict: Callable[[Any], Any], remember: int | str, cache: str | Path | None) -> Answers | None:
    """Where answers are kept; None for nowhere."""
    if remember == 0 and not isinstance(remember, bool):
        if cache is not None:
            do = "Leave one of them out: a file is of use only to a function that answers a row always the same."
            raise OptionError(expected="cache or remember=0", got="both", do=do)
        return None
    most = bytes_of(remember)
    return Answers(most) if cache is None else AnswersFile(cache, identity(predict))


def pause_of(per_second: float | None) -> float:
    """Seconds between the beginnings of two calls."""
    if per_second is None:
        return 0.0
    if isinstance(per_second, bool) or not isinstance(per_second, Real) or not 0 < per_second < float("inf"):
        raise OptionError(expected="per_second above 0", got=repr(per_second)[:60], do="Use e.g. per_second=2.")
    return 1.0 / float(per_second)


def encoded(modality: Modality, given: Any) -> Any:
    """Raw inputs as the modality takes them; a table's with all their digits."""
    if not isinstance(modality, Table) or (isinstance(given, Tensor) and given.is_floating_point()):
        return modality.prepare(given)
    return torch.from_numpy(modality.encode(modality.rows(given)))


def precise(modality: Modality) -> Modality:
    """The modality with its background encoded once, with all its digits."""
    if not isinstance(modality, Table) or modality.background is None:
        return modality
    return replace(modality, background=encoded(modality, modality.background).double())


def numbers_of(raw: Any, rows: int) -> Array:
    """What predict returned as (rows,) or (rows, …) doubles."""
    do = "Return an array of numbers, one row per input row."
    try:
        answers = np.asarray(raw)
        if answers.dtype.kind in "cSUMm":
            raise OutputError(expected="real numbers from predict", got=str(answers.dtype), do=do)
        answers = np.ascontiguousarray(answers, dtype=float) if answers.ndim else answers
    except (TypeError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(expected="numbers from predict", got=type(raw).__name__, do=do) from None
    if answers.ndim == 0 or len(answers) != rows or answers.size == 0:
        got = f"shape {answers.shape}"
        raise OutputError(expected=f"{rows} rows from predict", got=got, do="Return one row per input row.")
    return answers


def within_one(values: Tensor) -> bool:
    """Whether all answers lie in [0, 1]."""
    return bool(((values >= 0) & (values <= 1)).all())


def not_normalized(values: Tensor) -> bool:
    """Whether answers in [0, 1] to several classes do not sum to one."""
    if values.ndim != 2 or values.shape[1] < 2 or not within_one(values):
        return False
    return bool(((values.sum(1) - 1).abs() > OFF_BY).any())
