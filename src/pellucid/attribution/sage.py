"""SAGE: how much each feature lowers the loss of a model, over many rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.attribution.importance import Importance
from pellucid.attribution.shapley import KernelSHAP
from pellucid.core.method import Method, as_studied, option, question
from pellucid.core.modality import Table
from pellucid.core.outputs import Outputs, by_class, class_index, main_output
from pellucid.core.probe import Probe, Studied
from pellucid.core.run import undisturbed
from pellucid.core.target import Target
from pellucid.engines.features import Features, as_features
from pellucid.engines.fills import Marginal
from pellucid.engines.game import Asked, Coalitions, Game
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError, ShapeError, TargetError

LOSSES = (None, "log", "squared", "zero-one")
BLOCK = 2**24
FILLS = 64


@dataclass(frozen=True, kw_only=True)
class MeanLoss(KernelSHAP):
    """KernelSHAP of a LossGame: values (n, rows + 1), settled when those of the last column, the mean loss, are."""

    def settled(self, found: Solved) -> Tensor:
        return super().settled(found)[-1:].expand(found.values.shape[1])


@dataclass(frozen=True, kw_only=True)
class SAGE(Method):
    r"""Shapley values of the model's own loss: how much each feature lowers it, averaged over rows.

    .. math:: v(S) = -\mathbb E\bigl[\ell\bigl(\mathbb E[f(X) \mid X_S],\, Y\bigr)\bigr], \qquad
        \sum_i \varphi_i = v(N) - v(\emptyset)

    Predictions are averaged over the variants of the fill before the loss. Features that are hidden are independent of
    those shown, as rows of the background are put in. The standard error has two parts: that over the rows, and that of
    the coalitions drawn; the rows of the background are taken as they are.

    Shapes: inputs (rows, \*shape), ``target`` the true answers (rows,) → an Importance of n features.
    Units:  those of the loss: nats for "log", squared units for "squared", a share of rows for "zero-one".
    Cost:   ``budget`` predictions per row at most: coalitions times the rows of the background.
    Raises: OptionError for a budget too small, for true answers left out, and for features that differ between rows.
    Source: Covert, Lundberg & Lee 2020, arXiv:2004.00668, eq. 4 and section 3; solved by the paired regression of
            Covert & Lee 2021, arXiv:2012.01536.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[2.0, 1.0, 0.0]]))
        >>> rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> found = pl.SAGE()(net, rows, target=rows @ torch.tensor([2.0, 1.0, 0.0]))
        >>> [name for name, _ in found.top(2)], bool(abs(found.values[2]) < 1e-6)
        (['0', '1'], True)
    """

    paper: ClassVar[str] = "Covert, Lundberg & Lee 2020, arXiv:2004.00668"
    units: ClassVar[str] = "loss"

    loss: str | None = option(
        None, choices=LOSSES, help="log, squared or zero-one; log for classes, squared for numbers without"
    )
    budget: int = option(16384, at_least=4, help="predictions allowed per row, those for every background row included")
    features: Features | None = option(None, help="what counts as one feature: columns, groups, elements, patches")
    fill: Any = option(
        None, help="what hidden features are replaced by; the background, or the rows themselves, without"
    )
    tolerance: float | None = option(
        None, above=0, help="stop when the 95 % intervals over coalitions are narrower than this share of the largest"
    )

    def __call__(self, model: Studied | nn.Module, inputs: Any, target: Any = None) -> Importance:
        """Share out the loss of ``model`` on ``inputs`` against the true answers ``target``."""
        if target is None:
            raise OptionError(expected="the true answers", got="none", do="Pass target=labels, one a row.")
        studied = as_studied(model)
        with undisturbed():
            ask = question(studied, inputs, Answers(target), discrete=True)
            features = as_features(self.features, ask)
            if not features.alike(ask):
                do = "Use columns, groups, elements or patches; words differ from text to text."
                raise OptionError(expected="features that are the same in every row", got=repr(features)[:60], do=do)
            with ask.model.session(), ask.run.progress(type(self).__name__):
                fill = background(ask, inputs) if self.fill is None else self.fill
                game = LossGame(ask, features, fill, losses(ask, self.loss))
                solver = MeanLoss(budget=self.budget, tolerance=self.tolerance)
                return self.result(ask, game, solver.solve(game))

    def result(self, ask: Probe, game: LossGame, solved: Solved) -> Importance:
        """Means over rows, and how sure they are."""
        each, values = solved.values[:, :-1].numpy(), solved.values[:, -1].numpy()
        rows = each.shape[1]
        square = each.var(1, ddof=1) / rows if rows > 1 else np.zeros(len(values))
        if solved.error is not None:
            square = square + solved.error[:, -1].numpy() ** 2
        error = np.sqrt(square)
        names = game.players.names or ask.model.modality.labels(ask.inputs[0].detach().cpu().numpy())
        if len(names) != game.n:
            names = tuple(f"part {i}" for i in range(game.n))
        over = "rows and coalitions" if solved.error is not None else "rows"
        return Importance(
            title=f"SAGE · {game.loss.words}",
            names=tuple(names),
            values=values,
            standard_error=error,
            half_width=1.96 * error,
            unit=game.loss.unit,
            sense="+ lowers the loss, − raises it",
            interval=f"{rows} rows; 95 % intervals over {over}",
            count=np.full(game.n, rows),
            base=-float(game.empty[-1]),
            score=-float(game.full[-1]),
            receipt=ask.run.receipt(),
        )


@dataclass(frozen=True, eq=False)
class Answers(Target):
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
    given = target.truth if isinstance(target, Answers) else None
    classes = isinstance(target, Answers) and target.kind != "values"
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
    return RowLoss("share of wrong classes", "share of rows", lambda mean: 1 - hot.expand_as(mean).gather(
        -1, mean.argmax(-1, keepdim=True))[..., 0])  # fmt: skip


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


def background(ask: Probe, inputs: Any) -> Marginal:
    """The background rows of a table, or the rows themselves; evenly spaced, at most 64."""
    table = ask.model.modality
    own = isinstance(table, Table) and table.background is not None
    return Marginal(None if own else inputs, most=FILLS)


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
