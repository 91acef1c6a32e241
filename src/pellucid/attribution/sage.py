"""SAGE: how much each feature lowers the loss of a model, over many rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from pellucid.attribution.importance import Importance
from pellucid.attribution.shapley import KernelSHAP
from pellucid.core.bound import Studied
from pellucid.core.method import Method, as_studied, option, question
from pellucid.core.modality import Table
from pellucid.core.probe import Probe
from pellucid.core.run import undisturbed
from pellucid.engines.features import Features, as_features
from pellucid.engines.fills import Marginal
from pellucid.engines.losses import LossGame, Predictions, losses
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError

LOSSES = (None, "log", "squared", "zero-one")
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
            ask = question(studied, inputs, Predictions(target), discrete=True)
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


def background(ask: Probe, inputs: Any) -> Marginal:
    """The background rows of a table, or the rows themselves; evenly spaced, at most 64."""
    table = ask.model.modality
    own = isinstance(table, Table) and table.background is not None
    return Marginal(None if own else inputs, most=FILLS)
