"""What parts do together: interactions of pairs and larger groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from pellucid.attribution.games import SampledAttributor
from pellucid.core.law import DUMMY, SENSITIVE, SYMMETRIC
from pellucid.core.method import option
from pellucid.engines.coalitions import every, paired
from pellucid.engines.game import Game
from pellucid.engines.interactions import Index, faith_regression, mobius, terms_up_to
from pellucid.engines.proxy import adjusted, mixed_mass, quadratic
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class ShapleyInteractions(SampledAttributor):
    r"""What pairs (or larger groups) of parts do together beyond what they do apart.

    .. math:: m(T) = \sum_{S \subseteq T} (-1)^{|T| - |S|} v(S), \qquad
        \text{SII}(T) = \sum_{S \supseteq T} \frac{m(S)}{|S| - |T| + 1}

    ``index`` chooses how the effects of larger groups are shared among the smaller: SII, the interaction index of
    Shapley; STII, Taylor's, whose terms up to ``order`` add up; FSII, the faithful one, the best sum of terms up to
    ``order`` under the Shapley kernel; or the Möbius coefficients m themselves. Exact where all coalitions fit the
    budget. Else SII and STII are those of a quadratic proxy put right by Monte Carlo, FSII a regression on drawn
    coalitions, and Möbius is refused.

    The values are the terms of single parts: Shapley values for SII (and for ``order=1``), else main effects, shared
    out among a part's elements. ``extra["interactions"]`` (batch, n, n) holds the pairs, ``extra["interaction_error"]``
    their standard errors where coalitions were drawn, ``extra["terms"]`` the terms of three parts and more,
    {(i, j, k): (batch,)}, and ``extra["term_error"]`` their errors.

    Shapes: inputs (batch, \*shape) → main effects (batch, \*shape); pairs (batch, n, n).
    Units:  those of the target.
    Cost:   at most ``budget`` forward passes per example, the empty and the full coalition included.
    Raises: OptionError for a budget too small, and for Möbius coefficients of more parts than can be asked in full.
    Source: Grabisch & Roubens 1999, doi:10.1007/s001820050125; Sundararajan, Dhamdhere & Agarwal 2020,
            arXiv:1902.05622; Tsai, Yeh & Ravikumar 2023, arXiv:2203.00870, theorem 19.

    Example:
        >>> import pellucid as pl
        >>> found = pl.ShapleyInteractions().play(lambda z: 3.0 * z[:, 0] * z[:, 1] + z[:, 2], 3)
        >>> found.values.tolist(), found.extra["interactions"][0, 0].tolist()
        ([[1.5, 1.5, 1.0]], [0.0, 3.0, 0.0])
    """

    paper: ClassVar[str] = "Grabisch & Roubens 1999; Tsai, Yeh & Ravikumar 2023, arXiv:2203.00870"
    units: ClassVar[str] = "target"
    laws: ClassVar = (DUMMY, SENSITIVE, SYMMETRIC)
    shared: ClassVar[bool] = True
    index: str = option(
        "SII", choices=("SII", "STII", "FSII", "Möbius"), help="how effects of larger groups are shared among smaller"
    )
    order: int = option(2, at_least=1, help="the largest groups whose interaction is asked for")

    def least(self, n: int) -> int:
        return min(2 * len(terms_up_to(n, self.order)) + 2 if self.index == "FSII" else 4 * n, 2**n)

    def exact(self, game: Game) -> Solved:
        scores = game(every(game.n))
        terms = terms_up_to(game.n, self.order)
        return Solved(Index(self.index, self.order).from_mobius(mobius(scores - scores[:1]), terms), base=scores[0])

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        if self.index == "Möbius":
            got, do = f"{allowed} for {game.n} parts", "Raise the budget, use fewer features, or another index."
            raise OptionError(expected=f"2^{game.n} coalitions for Möbius coefficients", got=got, do=do)
        terms = terms_up_to(game.n, self.order)
        drawn = None if self.index == "FSII" else mixed_mass
        design = paired(game.n, allowed - 2, game.ask.seed, drawn=drawn).share(share)
        asked = (game(design.coalitions), game.empty, game.full)
        if self.index == "FSII":
            values, error = faith_regression(design, terms, *asked)
        else:
            values, error = adjusted(design, *asked, Index(self.index, self.order), terms, quadratic)
        return Solved(values, error, game.empty)

    def solve(self, game: Game) -> Solved:
        found, n = super().solve(game), game.n
        extra = laid_out(found.values, n, "interactions", "terms", self.order)
        if found.error is not None:
            extra |= laid_out(found.error, n, "interaction_error", "term_error", self.order)
        error = None if found.error is None else found.error[:n]
        return replace(found, values=found.values[:n], error=error, extra=extra)


def laid_out(found: Tensor, n: int, pairs: str, larger: str, order: int) -> dict[str, Any]:
    """Terms (p, batch): those of pairs as (batch, n, n), larger ones by their players."""
    terms = terms_up_to(n, order)
    sizes = terms.sum(1)
    square = found.new_zeros(found.shape[1], n, n)
    i, j = terms[sizes == 2].nonzero()[:, 1].reshape(-1, 2).T
    square[:, i, j] = square[:, j, i] = found[sizes == 2].T
    extra: dict[str, Any] = {pairs: square}
    if order > 2:
        members = [tuple(each.nonzero().flatten().tolist()) for each in terms[sizes > 2]]
        extra[larger] = dict(zip(members, found[sizes > 2], strict=True))
    return extra
