"""Shapley values: how to share out f(x) − f(nothing) fairly among parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pellucid.attribution.perturbation import GameAttributor
from pellucid.core.law import COMPLETE, DUMMY, LINEAR, SYMMETRIC
from pellucid.core.method import option
from pellucid.engines.coalitions import every, paired_kernel
from pellucid.engines.game import Game
from pellucid.engines.solve import shapley_exact, shapley_regression
from pellucid.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(GameAttributor):
    r"""Shapley values by weighted regression over coalitions of parts; exact where all coalitions fit the budget.

    .. math:: \min_\varphi \sum_S \frac{n-1}{\binom ns s (n-s)}
        \Bigl(v(S) - v(\emptyset) - \sum_{i \in S} \varphi_i\Bigr)^2
        \quad \text{with} \quad \sum_i \varphi_i = v(N) - v(\emptyset)

    Coalitions are drawn without replacement, each with its complement, stratified by size. A part's value is shared
    out among its elements, so that the values add up to f(x) − f(all hidden).

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error where coalitions were drawn.
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example, the empty and the full coalition included.
    Raises: OptionError for a budget too small for the number of parts.
    Source: Lundberg & Lee 2017, arXiv:1705.07874, theorem 2; paired: Covert & Lee 2021, arXiv:2012.01536.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1)
        >>> bool(torch.allclose(pl.KernelSHAP()(net, torch.ones(1, 3)).values, net.weight, atol=1e-6))
        True
    """

    paper: ClassVar[str] = "Lundberg & Lee 2017, arXiv:1705.07874"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY, LINEAR, SYMMETRIC)
    shared: ClassVar[bool] = True
    budget: int = option(2048, at_least=4, help="predictions allowed per example, the empty and the full one included")

    def solve(self, game: Game) -> tuple[Tensor, Tensor | None, Tensor | None]:
        allowed, n = self.budget // game.cost, game.n
        if 2**n <= allowed or n == 1:
            scores = game(every(n))
            return shapley_exact(scores, n), None, scores[0]
        if allowed < n + 3:
            do = "Raise the budget, use fewer features, or a fill of fewer variants."
            got = f"{self.budget} for {n} parts and {game.cost} predictions a coalition"
            raise OptionError(expected=f"a budget of at least {(n + 3) * game.cost}", got=got, do=do)
        design = paired_kernel(n, allowed - 2, game.ask.seed)
        empty = game.empty
        values, error = shapley_regression(design, game(design.coalitions), empty, game.full)
        return values, error, empty
