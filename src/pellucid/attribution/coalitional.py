"""More ways to share out a score among parts: Banzhaf, Owen, and Monte Carlo adjusted by a regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.attribution.games import GameAttributor, SampledAttributor
from pellucid.attribution.shapley import SampledShapley
from pellucid.core.law import COMPLETE, DUMMY, LINEAR, SENSITIVE, SYMMETRIC
from pellucid.core.method import Found, option
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import Design, Stratum, count_mass, every, paired
from pellucid.engines.features import Features, as_features
from pellucid.engines.features.hierarchy import OneByOne, Tree, given_tree, usual_tree
from pellucid.engines.game import Game
from pellucid.engines.interactions import SHAPLEY
from pellucid.engines.owen import asks, owen_values
from pellucid.engines.proxy import PROXIES, adjusted, root_mass
from pellucid.engines.solve import Solved, banzhaf_weight, exact_values, sandwich


@dataclass(frozen=True, kw_only=True)
class Banzhaf(SampledAttributor):
    r"""Banzhaf values: what a part adds on average to a coalition of the others, every coalition alike.

    .. math:: \beta_i = \frac{1}{2^{n-1}} \sum_{S \not\ni i} \bigl(v(S \cup i) - v(S)\bigr)

    Exact where all coalitions fit the budget; else the slopes of an unweighted regression with intercept on coalitions
    drawn uniformly, each with its complement. The values need not add up to f(x) − f(all hidden), but their order is
    steadier under noise than that of Shapley values. A part's value is shared out among its elements.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error where coalitions were drawn.
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example, the empty and the full coalition included.
    Raises: OptionError for a budget too small for the number of parts.
    Source: Banzhaf 1965, "Weighted voting doesn't work"; Liu et al. 2024, arXiv:2410.08336 (Kernel Banzhaf).

    Example:
        >>> import pellucid as pl
        >>> pl.Banzhaf().play(lambda z: z.all(1) * 4.0, 3).values.tolist()
        [[1.0, 1.0, 1.0]]
    """

    paper: ClassVar[str] = "Banzhaf 1965; Liu et al. 2024, arXiv:2410.08336"
    units: ClassVar[str] = "target"
    laws: ClassVar = (DUMMY, LINEAR, SYMMETRIC)
    shared: ClassVar[bool] = True

    def least(self, n: int) -> int:
        return min(2 * n + 4, 2**n)

    def exact(self, game: Game) -> Solved:
        scores = game(every(game.n))
        return Solved(exact_values(scores, game.n, banzhaf_weight), base=scores[0])

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        design = paired(game.n, allowed - 2, game.ask.seed, mass=count_mass)
        ends = Stratum(torch.tensor([[False] * game.n, [True] * game.n]), 2.0 ** (1 - game.n), 1)
        design = Design((ends, *design.strata)).share(share)
        scores = game(design.coalitions).double().cpu() - game.empty.double().cpu()
        values, error = banzhaf_regression(design, scores)
        return Solved(values, error, game.empty)


def banzhaf_regression(design: Design, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes (n, batch) of the regression with intercept; complements tell them apart from the intercept."""
    x, w = design.coalitions.double() - 0.5, design.weights[:, None]
    inverse = torch.linalg.pinv(x.T @ (w * x), hermitian=True)
    values = inverse @ (x.T @ (w * scores))
    return values, sandwich(design, inverse, x, w * (scores - x @ values), x.shape[1])


@dataclass(frozen=True, kw_only=True)
class Owen(GameAttributor):
    r"""Owen values: Shapley values for parts that come in groups, and groups of groups.

    .. math:: \varphi_i = \mathbb E_{\pi \text{ keeps every group together}}
        \bigl[v(\text{before}_\pi(i) \cup i) - v(\text{before}_\pi(i))\bigr]

    The groups' own values are the Shapley values of the groups. Without ``hierarchy`` several inputs are a group each;
    a picture falls into halves, across its longer side; a text into its sentences and their halves; the columns of a
    table into those that go together in its background (average linkage of 1 − \|correlation\|), or, without one,
    into halves in their order.

    Where the whole hierarchy does not fit the budget, it is refined from its top: the part that moves the score most is
    split first, and the answer is exact for the hierarchy so far. A part that is not split shares its value equally
    among its players, and a note says how many such parts there are. Nothing is drawn at random.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example: about 2/3 n² for a balanced binary hierarchy of n parts.
    Raises: OptionError where the top of the hierarchy has too many parts for the budget, or a part stands in it twice.
    Source: Owen 1977, "Values of games with a priori unions"; Winter 1989, "A value for cooperative games with levels
            structure of cooperation".

    Example:
        >>> import pellucid as pl
        >>> owen = pl.Owen(hierarchy={"body": ["height", "weight"], "blood": ["sugar"]})
        >>> owen.play(lambda z: 8.0 * z[:, 0] * z[:, 2], ["height", "weight", "sugar"]).values.tolist()
        [[4.0, 0.0, 4.0]]
    """

    paper: ClassVar[str] = "Owen 1977; Winter 1989"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY, SENSITIVE)
    shared: ClassVar[bool] = True
    budget: int = option(2048, at_least=4, help="predictions allowed per example, the empty and the full one included")
    hierarchy: Any = option(
        None, help="nested lists or dicts of parts, by number or name; chosen from the inputs without"
    )

    def attribute(self, ask: Probe) -> Found:
        found = super().attribute(ask)
        unsplit = found.extra["unsplit"]
        most = max(unsplit) if isinstance(unsplit, list) else unsplit
        note = (f"{most} parts not split further",) if most else ()
        return replace(found, notes=(*found.notes, *note))

    def parts(self, ask: Probe) -> Features | None:
        """Examples are asked together only where the hierarchy is the same for all: where nothing is cut."""
        if ask.batch == 1:
            return self.features
        features = as_features(self.features, ask)
        if features.alike(ask):
            game = Game(ask, features, self.fill)
            if asks(self.tree(game)) * game.cost <= self.budget:
                return features
        return OneByOne(features)

    def tree(self, game: Game) -> Tree:
        """The hierarchy of the game's players."""
        if self.hierarchy is None:
            return usual_tree(game.ask, game.players)
        return given_tree(self.hierarchy, game.players)

    def solve(self, game: Game) -> Solved:
        return owen_values(game, self.tree(game), self.budget // game.cost)


@dataclass(frozen=True, kw_only=True)
class RegressionMSR(SampledShapley):
    r"""Shapley values of a quick proxy of the model, put right by Monte Carlo on what the proxy missed.

    .. math:: \varphi_i = \varphi_i(f) + \sum_{S} \frac{(v - f)(S)}{\pi_S}
        \bigl(p_{s-1} [i \in S] - p_s [i \notin S]\bigr), \qquad p_s = \frac{s!\,(n - s - 1)!}{n!}

    The proxy f is a line, a quadratic form, or a line and boosted trees, with Shapley values in closed form. It is
    fitted on four fifths of the coalitions S and judged on the rest, in turn, so that the values are unbiased.
    :math:`\pi_S` is the share of size s that was drawn, without replacement, each coalition with its complement. The
    values add up to f(x) − f(all hidden). A part's value is shared out among its elements.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error where coalitions were drawn.
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example, and five fits of the proxy for each example.
    Raises: OptionError for a budget below four times the number of parts.
    Source: Witter, Liu & Musco 2025, arXiv:2506.11849.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(20, 1)
        >>> heat = pl.RegressionMSR(budget=100, proxy="linear")(net, torch.ones(1, 20))
        >>> bool(torch.allclose(heat.values, net.weight, atol=1e-4)), heat.receipt.rows_forward
        (True, 100)
    """

    paper: ClassVar[str] = "Witter, Liu & Musco 2025, arXiv:2506.11849"
    laws: ClassVar = (COMPLETE, DUMMY, SYMMETRIC)
    proxy: str = option(
        "tree", choices=tuple(PROXIES), help="the quick model: boosted trees on a line, a line, or a quadratic form"
    )

    def least(self, n: int) -> int:
        return min(4 * n, 2**n)

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        design = paired(game.n, allowed - 2, game.ask.seed, drawn=root_mass).share(share)
        scores, players = game(design.coalitions), torch.eye(game.n, dtype=torch.bool)
        values, error = adjusted(design, scores, game.empty, game.full, SHAPLEY, players, PROXIES[self.proxy])
        return Solved(values, error, game.empty)
