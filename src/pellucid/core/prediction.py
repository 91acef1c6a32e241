"""Predictions: the model's answer in the form that fits its task. They draw themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Bars, Figure, Grid, Heat, Sheet, robust_limit
from pellucid.core.outputs import Outputs, class_name


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Prediction:
    """The answer to ``inputs``: ``raw`` is what the model returned, ``values`` its main tensor (batch, …).

    Example:
        >>> import torch, pellucid as pl
        >>> answer = pl.Model(torch.nn.Flatten(), classes=("cat", "dog"))(torch.tensor([[2.0, 0.0]]))
        >>> answer.classes, round(float(answer.margin[0]), 2)
        (['cat'], 0.76)
    """

    raw: Any
    values: Tensor
    about: Outputs

    def __len__(self) -> int:
        return len(self.values)

    def array(self, row: int) -> NDArray[Any]:
        """The answer for one row."""
        return np.asarray(self.values[row].detach().cpu().double())

    def words(self, row: int = 0) -> str:
        """The answer in a few words."""
        return f"an answer of shape {tuple(self.values.shape[1:])}"

    def figure(self, row: int = 0) -> Figure:
        """The answer, drawn."""
        flat = self.array(row).ravel()[:20]
        labels = tuple(str(i) for i in range(len(flat)))
        return Bars(title="answer", labels=labels, values=flat, alt=self.words(row))

    def plot(self, row: int = 0) -> Any:
        """Draw with matplotlib."""
        return self.figure(row).plot()

    def _repr_html_(self) -> str:
        figures = tuple(self.figure(row) for row in range(min(len(self), 4)))
        return (figures[0] if len(figures) == 1 else Grid(figures=figures)).html()

    def __repr__(self) -> str:
        rest = f" … and {len(self) - 1} more" if len(self) > 1 else ""
        return self.words(0) + rest


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassPrediction(Prediction):
    """Class probabilities (batch, classes) with the predicted class, top-k, entropy (bits) and margin."""

    probabilities: Tensor

    @property
    def classes(self) -> list[str]:
        """The predicted class of each row."""
        return [class_name(int(i), self.about.classes) for i in self.index]

    @property
    def index(self) -> Tensor:
        """(batch,) index of the predicted class."""
        return self.probabilities.argmax(1)

    @property
    def entropy(self) -> Tensor:
        """(batch,) entropy in bits: 0 is certain, log2(classes) is no idea."""
        p = self.probabilities.clamp_min(1e-12)
        return -(p * p.log2()).sum(1)

    @property
    def margin(self) -> Tensor:
        """(batch,) probability of the first class minus that of the second."""
        best = self.probabilities.topk(min(2, self.probabilities.shape[1]), 1).values
        return best[:, 0] - best[:, -1]

    def top(self, k: int = 3, row: int = 0) -> list[tuple[str, float]]:
        """The k most probable classes of a row."""
        best = self.probabilities[row].topk(min(k, self.probabilities.shape[1]))
        return [(class_name(int(i), self.about.classes), float(p)) for p, i in zip(*best, strict=True)]

    def words(self, row: int = 0) -> str:
        (name, p), *others = self.top(2, row)
        runner = f", then “{others[0][0]}” {percent(others[0][1])}" if others else ""
        return f"“{name}” {percent(p)}{runner} · entropy {float(self.entropy[row]):.2f} bits"

    def figure(self, row: int = 0) -> Figure:
        best = self.top(6, row)
        return Bars(
            title="prediction",
            labels=tuple(name for name, _ in best),
            values=np.array([p for _, p in best]),
            signed=False,
            unit="probability",
            alt=self.words(row),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ValuePrediction(Prediction):
    """Predicted values (batch,) or (batch, outputs)."""

    def words(self, row: int = 0) -> str:
        return ", ".join(f"{each:.4g}" for each in self.array(row).ravel()[:6])

    def figure(self, row: int = 0) -> Figure:
        flat = self.array(row).ravel()
        rows = tuple(
            (class_name(i, self.about.classes) if len(flat) > 1 else "value", f"{v:.4g}") for i, v in enumerate(flat)
        )
        return Sheet(title="prediction", header=("output", "value"), rows=rows, alt=self.words(row))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImagePrediction(Prediction):
    """Image-shaped answers (batch, channels, height, width): the class of every place, or a picture."""

    @property
    def labels(self) -> Tensor:
        """(batch, height, width) index of the strongest channel at every place."""
        return self.values.argmax(1)

    def shares(self, row: int = 0) -> list[tuple[str, float]]:
        """How much of the picture each class takes, largest first."""
        counts = torch.bincount(self.labels[row].flatten(), minlength=self.values.shape[1]) / self.labels[row].numel()
        order = counts.argsort(descending=True)
        return [(class_name(int(i), self.about.classes), float(counts[i])) for i in order if counts[i] > 0]

    def words(self, row: int = 0) -> str:
        if self.about.kind == "values":
            return f"a picture of {tuple(self.values.shape[1:])}"
        return ", ".join(f"“{name}” {percent(share)}" for name, share in self.shares(row)[:3])

    def figure(self, row: int = 0) -> Figure:
        if self.about.kind == "values":
            values = self.array(row).mean(0)
        else:
            values = np.asarray(self.labels[row].cpu(), dtype=float)
        return Heat(title="answer", values=values, limit=robust_limit(values, 1.0), signed=False, alt=self.words(row))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TokenPrediction(Prediction):
    """Scores over a vocabulary at every position (batch, tokens, vocabulary)."""

    @property
    def ids(self) -> Tensor:
        """(batch, tokens) the highest scoring id at every position."""
        return self.values.argmax(-1)

    def words(self, row: int = 0) -> str:
        return f"next token id {int(self.ids[row, -1])} ({percent(float(self.values[row, -1].softmax(-1).max()))})"

    def figure(self, row: int = 0) -> Figure:
        scores = self.values[row, -1].softmax(-1)
        best = scores.topk(min(6, len(scores)))
        labels = tuple(class_name(int(i), self.about.classes) for i in best.indices)
        values = np.asarray(best.values.detach().cpu().double())
        return Bars(
            title="next token", labels=labels, values=values, signed=False, unit="probability", alt=self.words(row)
        )


def percent(share: float) -> str:
    """A share in percent, with a space that does not break; never 0 or 100 where it is not.

    >>> percent(0.871), percent(0.99999), percent(0.0)
    ('87.1\xa0%', '>\xa099.9\xa0%', '0.0\xa0%')
    """
    space = "\N{NO-BREAK SPACE}"
    if 0 < share < 0.0005:
        return f"<{space}0.1{space}%"
    if 0.9995 <= share < 1:
        return f">{space}99.9{space}%"
    return f"{100 * share:.1f}{space}%"


TASKS = ("classification", "regression", "image", "tokens")


def predicted(raw: Any, values: Tensor, about: Outputs, task: str) -> Prediction:
    """The prediction that fits the task."""
    if task == "classification":
        if values.ndim == 1 or values.shape[1] == 1:
            p = values.reshape(-1).sigmoid() if about.kind == "logits" else values.reshape(-1)
            probabilities = torch.stack([1 - p, p], 1)
        else:
            probabilities = values.softmax(1) if about.kind == "logits" else values
        return ClassPrediction(raw=raw, values=values, about=about, probabilities=probabilities)
    kinds = {"regression": ValuePrediction, "image": ImagePrediction, "tokens": TokenPrediction}
    return kinds.get(task, Prediction)(raw=raw, values=values, about=about)
