"""Shapley values: how to share out f(x) − f(nothing) fairly among parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.attribution.games import GameAttributor, SampledAttributor
from pellucid.core.law import COMPLETE, DUMMY, LINEAR, SYMMETRIC, Law
from pellucid.core.method import option
from pellucid.engines.coalitions import comers, even_mass, every, orders, paired, shapley_mass
from pellucid.engines.game import Game
from pellucid.engines.solve import Solved, exact_values, shapley_regression
from pellucid.errors import OptionError


def all_coalitions(game: Game) -> Solved:
    """Shapley values from all 2ⁿ coalitions."""
    scores = game(every(game.n))
    return Solved(exact_values(scores, game.n), base=scores[0])


@dataclass(frozen=True, kw_only=True)
class ExactShapley(GameAttributor):
    r"""Shapley values from all 2ⁿ coalitions of parts, each asked once.

    .. math:: \varphi_i = \sum_{S \not\ni i} \frac{s!\,(n - s - 1)!}{n!} \bigl(v(S \cup i) - v(S)\bigr)

    A part's value is shared out among its elements, so that the values add up to f(x) − f(all hidden).

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   2ⁿ forward passes for n parts (times the variants of the fill); at most ``most`` parts.
    Raises: OptionError for more parts than ``most``.
    Source: Shapley 1953, "A value for n-person games", section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> heat = pl.ExactShapley()(torch.nn.Linear(3, 1), torch.ones(1, 3))
        >>> heat.receipt.rows_forward
        8
    """

    paper: ClassVar[str] = "Shapley 1953, A value for n-person games"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY, LINEAR, SYMMETRIC)
    shared: ClassVar[bool] = True
    most: int = option(16, at_least=1, help="refuse more parts than this: every one more doubles the cost")

    def solve(self, game: Game) -> Solved:
        if game.n > self.most:
            do = "Use fewer features, raise most=, or sample: KernelSHAP, PermutationSHAP."
            raise OptionError(expected=f"at most {self.most} parts", got=str(game.n), do=do)
        return all_coalitions(game)


@dataclass(frozen=True, kw_only=True)
class SampledShapley(SampledAttributor):
    """Shapley values from drawn coalitions; from all of them where they fit."""

    units: ClassVar[str] = "target"
    laws: ClassVar[tuple[Law, ...]] = (COMPLETE, DUMMY, LINEAR, SYMMETRIC)
    shared: ClassVar[bool] = True

    def exact(self, game: Game) -> Solved:
        return all_coalitions(game)


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(SampledShapley):
    r"""Shapley values by weighted regression over coalitions of parts; exact where all coalitions fit the budget.

    .. math:: \min_\varphi \sum_S \frac{n-1}{\binom ns s (n-s)}
        \Bigl(v(S) - v(\emptyset) - \sum_{i \in S} \varphi_i\Bigr)^2
        \quad \text{with} \quad \sum_i \varphi_i = v(N) - v(\emptyset)

    Coalitions are drawn without replacement, each with its complement, stratified by size in proportion to the kernel.
    A part's value is shared out among its elements, so that the values add up to f(x) − f(all hidden).

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

    def drawn(self, n: int, s: int) -> float:
        """How often coalitions of size s are drawn, in proportion."""
        return shapley_mass(n, s)

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        design = paired(game.n, allowed - 2, game.ask.seed, drawn=self.drawn).share(share)
        values, error = shapley_regression(design, game(design.coalitions), game.empty, game.full)
        return Solved(values, error, game.empty)


@dataclass(frozen=True, kw_only=True)
class LeverageSHAP(KernelSHAP):
    r"""KernelSHAP whose coalitions are drawn by their leverage in the regression: every size equally often.

    .. math:: q_S \propto \binom{n}{s}^{-1}, \qquad w_S \propto \frac{1}{\binom ns s (n-s)\, \pi_S}

    The regression and its weights are those of KernelSHAP, :math:`\pi_S` the share of size s that was drawn; large
    coalitions of middle size get more draws.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error where coalitions were drawn.
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example, the empty and the full coalition included.
    Raises: OptionError for a budget too small for the number of parts.
    Source: Musco & Witter 2025, arXiv:2410.01917, algorithm 1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(20, 1)
        >>> heat = pl.LeverageSHAP(budget=100)(net, torch.ones(1, 20))
        >>> bool(torch.allclose(heat.values, net.weight, atol=1e-5)), heat.receipt.rows_forward
        (True, 100)
    """

    paper: ClassVar[str] = "Musco & Witter 2025, arXiv:2410.01917"

    def drawn(self, n: int, s: int) -> float:
        return even_mass(n, s)


@dataclass(frozen=True, kw_only=True)
class PermutationSHAP(SampledShapley):
    r"""Shapley values as mean steps along random orders of the parts, each order also walked backwards.

    .. math:: \varphi_i = \mathbb E_\pi \bigl[v(\text{before}_\pi(i) \cup i) - v(\text{before}_\pi(i))\bigr]

    Unbiased at every budget, and complete. A part's value is shared out among its elements.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error over pairs of orders.
    Units:  those of the target.
    Cost:   2 (n − 1) forward passes for a pair of orders, at most ``budget`` per example in all.
    Raises: OptionError for a budget below one pair.
    Source: Castro, Gómez & Tejada 2009, doi:10.1016/j.cor.2008.04.004; antithetic: Mitchell et al. 2022,
            arXiv:2104.12199, section 4.1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(20, 1)
        >>> heat = pl.PermutationSHAP(budget=100)(net, torch.ones(1, 20))
        >>> bool(torch.allclose(heat.values, net.weight, atol=1e-5)), heat.receipt.rows_forward
        (True, 78)
    """

    paper: ClassVar[str] = "Castro, Gómez & Tejada 2009; Mitchell et al. 2022, arXiv:2104.12199"

    def least(self, n: int) -> int:
        return 2 * n

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        pairs = (allowed - 2) // (2 * (game.n - 1))
        return walked_pairs(game, orders(game.n, pairs, game.ask.seed)[: max(1, int(share * pairs))])


def walked_pairs(game: Game, order: Tensor) -> Solved:
    """Mean steps along orders (k, n) and their reverses, with the standard error over pairs."""
    both = torch.stack([order, order.flip(1)], 1).flatten(0, 1)
    between = game(comers(both).flatten(0, 1)).unflatten(0, (len(both), -1))
    start, end = (each.to(between)[None, None].expand(len(both), 1, -1) for each in (game.empty, game.full))
    steps = torch.cat([start, between, end], 1).double().cpu().diff(dim=1)
    steps = steps.gather(1, both.argsort(1)[:, :, None].expand_as(steps))
    pairs = steps.unflatten(0, (-1, 2))
    means = pairs.mean(1)
    spread = means.std(0) if len(means) > 1 else (pairs[0, 0] - pairs[0, 1]).abs() / 2
    return Solved(means.mean(0), spread / len(means) ** 0.5, game.empty)
