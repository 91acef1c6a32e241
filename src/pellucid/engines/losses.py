"""Losses as games: what hiding parts does to the loss of mean predictions, row by row and on average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.outputs import Outputs, by_class, class_index, main_output
from pellucid.core.probe import Probe
from pellucid.core.target import Target
from pellucid.engines.features import Features
from pellucid.engines.game import Asked, Coalitions, Game
from pellucid.errors import OptionError, ShapeError, TargetError

BLOCK = 2**24


@dataclass(frozen=True, eq=False)
class Predictions(Target):
    """All of the model's answer: probabilities (rows, classes), or values (rows, outputs); ``truth`` is kept beside."""

    truth: Any
    kind: str = "logits"

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer = by_class(main_output(outputs))
        if answer.ndim > 2:
            do = "Wrap the model so that it answers (rows, classes) or (rows,)."
            raise ShapeError(expected="one answer a row", got=f"shape {tuple(answer.shape)}", do=do)
        return replace(self, kind=about.kind)

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = by_class(main_output(outputs))
        answer = answer[:, None] if answer.ndim == 1 else answer
        if self.kind == "values":
            return answer
        if answer.shape[1] == 1:
            p = answer.sigmoid() if self.kind == "logits" else answer
            return torch.cat([1 - p, p], 1)
        return answer.softmax(1) if self.kind == "logits" else answer

    def words(self, about: Outputs, row: int = 0) -> str:
        return "loss against the true answers"


@dataclass(frozen=True, eq=False)
class RowLoss:
    """A loss of mean predictions (…, rows, outputs) against true answers: (…, rows)."""

    words: str
    unit: str
    of: Callable[[Tensor], Tensor]

    def __call__(self, answers: Tensor) -> Tensor:
        return self.of(answers.double())


def losses(ask: Probe, name: str | None) -> RowLoss:
    """The loss by its name, with the true answers checked."""
    answers, target = ask.score, ask.target
    given = target.truth if isinstance(target, Predictions) else None
    classes = isinstance(target, Predictions) and target.kind != "values"
    name = name or ("log" if classes else "squared")
    if not classes:
        if name != "squared":
            do = "Use loss='squared', or pl.Model(…, task='classification')."
            raise OptionError(expected="a loss for numbers", got=repr(name), do=do)
        numbers = numbers_of(given, answers)
        return RowLoss("squared error", "squared error", lambda mean: (mean - numbers).square().mean(-1))
    index = classes_of(given, answers, ask.bound.about)
    if name == "log":
        at = index.to(answers.device)

        def log_loss(mean: Tensor) -> Tensor:
            chosen = mean.gather(-1, at.expand(mean.shape[:-1])[..., None])[..., 0]
            return -chosen.clamp_min(torch.finfo(answers.dtype).eps).log()

        return RowLoss("log loss", "nats", log_loss)
    hot = nn.functional.one_hot(index, answers.shape[1]).to(answers.device).double()
    if name == "squared":
        return RowLoss("squared error of probabilities", "squared error", lambda mean: (mean - hot).square().sum(-1))

    def wrong(mean: Tensor) -> Tensor:
        return 1 - hot.expand_as(mean).gather(-1, mean.argmax(-1, keepdim=True))[..., 0]

    return RowLoss("share of wrong classes", "share of rows", wrong)


def numbers_of(given: Any, answers: Tensor) -> Tensor:
    """True numbers (rows, outputs)."""
    truth = torch.as_tensor(np.asarray(given)).to(answers.device).double()
    if truth.numel() != answers.numel() or len(truth) != len(answers):
        got = f"shape {tuple(truth.shape)} for answers {tuple(answers.shape)}"
        raise ShapeError(expected="one true value for every value of the answer", got=got, do="Give one a row.")
    return truth.reshape(answers.shape)


def classes_of(given: Any, answers: Tensor, about: Outputs) -> Tensor:
    """True classes (rows,) by index, given by index or name."""
    listed = given.tolist() if hasattr(given, "tolist") else given
    listed = listed if isinstance(listed, list | tuple) else [listed]
    if len(listed) != len(answers):
        raise ShapeError(expected=f"{len(answers)} true answers", got=str(len(listed)), do="Give one a row.")
    for each in listed:
        if not isinstance(each, str) and (isinstance(each, bool) or each != int(each)):
            do = "Pass class indexes or names; for a regression say pl.Model(…, task='regression')."
            raise TargetError(expected="the true class of every row", got=repr(each), do=do)
    names = [each if isinstance(each, str) else int(each) for each in listed]
    return torch.tensor([class_index(each, answers.shape[1], about.classes) for each in names])


class LossGame(Game):
    """A game whose scores are minus the loss of mean predictions: (k, rows + 1), the last column their mean."""

    def __init__(self, ask: Probe, features: Features, fill: Any, loss: RowLoss) -> None:
        super().__init__(ask, features, fill)
        self.loss, self.asked = loss, Asked()
        self.asked.add(self._keys(torch.ones(1, self.n, dtype=torch.bool)), self.full[None])

    def lazily(self, coalitions: Coalitions, count: int) -> Tensor:
        at_once = max(1, BLOCK // (self.cost * self.ask.score.numel()))
        parts = []
        for start in range(0, count, at_once):
            size = min(at_once, count - start)
            means = super().lazily(lambda k, start=start: coalitions(k + start), size)  # type: ignore[misc]
            parts.append(self.scored(means))
        return torch.cat(parts)

    def scored(self, means: Tensor) -> Tensor:
        """Minus the loss (…, rows + 1) of mean predictions (…, rows, outputs)."""
        rows = -self.loss(means)
        return torch.cat([rows, rows.mean(-1, keepdim=True)], -1)

    @property
    def full(self) -> Tensor:
        return self.scored(self.ask.score)
