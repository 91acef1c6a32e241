"""Random masks: which places the score follows (RISE), is moved by (Sobol), and depends on (HSIC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pellucid.attribution.games import SampledAttributor
from pellucid.core.law import DUMMY, LINEAR
from pellucid.core.method import option
from pellucid.core.modality import Series
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import bernoulli, every
from pellucid.engines.features import Features, Parts, Patches
from pellucid.engines.game import Game
from pellucid.engines.masks import Clouds, SoftGrid, drawn_clouds, drawn_parts, slopes, weighted_mean
from pellucid.engines.sensitivity import dependence, exact_total_indices, swapped, total_indices
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError

FEWEST = 9


@dataclass(frozen=True, kw_only=True)
class RISE(SampledAttributor):
    r"""How much the score rises with the mask at a place, over random soft masks of the picture.

    .. math:: S(\lambda) = \frac{\operatorname{Cov}(f(x \odot M),\, M_\lambda)}{\operatorname{Var}(M_\lambda)}

    A mask is a grid of cells, each there with probability ``keep``, enlarged bilinearly and shifted at random. The
    paper's weighted mean :math:`\sum f M_\lambda / (N\, \mathbb E M_\lambda)` is ``estimator="plain"``. The slope
    is free of the score's level and far less noisy: a regression on the masks' coarse sums is its control variate.
    Pictures and series are masked softly, other inputs and any given ``features`` by hiding whole parts.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error where masks were drawn.
    Units:  those of the target, for a place fully shown less fully hidden.
    Cost:   at most ``budget`` forward passes per example, the clean one included.
    Raises: OptionError for more cells than places, or ``keep`` not between 0 and 1.
    Source: Petsiuk, Das & Saenko 2018, arXiv:1806.07421, equation 6 and section 3.2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> heat = pl.RISE(budget=101, cells=4)(net, torch.rand(1, 1, 8, 8))
        >>> heat.standard_error.shape, heat.receipt.rows_forward
        (torch.Size([1, 1, 8, 8]), 101)
    """

    paper: ClassVar[str] = "Petsiuk, Das & Saenko 2018, arXiv:1806.07421"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)
    budget: int = option(4000, at_least=FEWEST, help="predictions allowed per example, the clean one included")
    cells: int = option(7, at_least=1, help="cells a side of the random grids")
    keep: float = option(0.5, above=0, help="the probability that a cell or part is shown, below 1")
    estimator: str = option(
        "slope", choices=("slope", "plain"), help="a regression slope, or the paper's weighted mean of masks"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.keep < 1:
            raise OptionError(expected="RISE(keep=…) below 1", got=repr(self.keep), do="Use e.g. keep=0.5.")

    def parts(self, ask: Probe) -> Features | None:
        return SoftGrid(self.cells) if self.features is None and spatial(ask) else self.features

    def countable(self, game: Game, allowed: int) -> bool:
        return not isinstance(game.players, Clouds) and super().countable(game, allowed)

    def least(self, n: int) -> int:
        return FEWEST

    def exact(self, game: Game) -> Solved:
        z = every(game.n).double()
        chance = (z * self.keep + (1 - z) * (1 - self.keep)).prod(1)
        scores = game(z.bool()).cpu().double()
        if self.estimator == "plain":
            return Solved((chance[:, None] * z).T @ scores / self.keep)
        centered = scores - chance @ scores
        return Solved((chance[:, None] * (z - self.keep)).T @ centered / (self.keep * (1 - self.keep)))

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        players, count = game.players, max(FEWEST - 1, int(share * (allowed - 1)))
        cells = players.count if isinstance(players, Clouds) else game.n
        coalitions = bernoulli(count, cells, self.keep, game.ask.seed, coins=game.n - cells)
        scores = game(coalitions).cpu().double()
        if isinstance(players, Clouds):
            drawn = drawn_clouds(players, coalitions, self.keep)
        else:
            drawn = drawn_parts(coalitions, self.keep)
        if self.estimator == "slope":
            return Solved(*slopes(drawn, scores, self.keep))
        values, error = weighted_mean(drawn.masks, scores, 0.0)
        return Solved(values / self.keep, error / self.keep)


@dataclass(frozen=True, kw_only=True)
class Sobol(SampledAttributor):
    r"""The share of the score's variance that a part has a hand in, alone or with others, when parts fade at random.

    .. math:: S_i = \frac{\mathbb E\bigl[(f(A) - f(A_B^{(i)}))^2\bigr]}{2 \operatorname{Var} f}

    A and B are random masks in [0, 1]ⁿ from scrambled Sobol' sequences, :math:`A_B^{(i)}` is A with part i from B; a
    mask mixes the input and the fill. What cannot be mixed (words, levels of a table, windows) is there or not, each
    with probability ½. Values are unsigned: they say that a part matters, not which way. Standard errors take the rows
    of the design as independent.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), each element with its part's value.
    Units:  share of variance, 0 or more; with interactions they add up to more than 1.
    Cost:   n + 2 forward passes for a row of the design over n parts, at most ``budget`` per example in all.
    Raises: OptionError for a budget below two rows.
    Source: Fel et al. 2021, arXiv:2111.04138, section 3; Jansen 1999, doi:10.1016/S0010-4655(98)00154-4.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 1)
        >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 2.0]]))
        >>> pl.Sobol()(net, torch.ones(1, 2)).values.round(decimals=1)
        tensor([[0.2000, 0.8000]])
    """

    paper: ClassVar[str] = "Fel et al. 2021, arXiv:2111.04138"
    units: ClassVar[str] = "share of variance, unsigned"
    laws: ClassVar = (DUMMY,)
    budget: int = option(4225, at_least=4, help="predictions allowed per example; 64 rows of the design for 64 parts")

    def parts(self, ask: Probe) -> Features | None:
        if self.features is not None or not spatial(ask) or ask.inputs.ndim < 4:
            return self.features
        return Patches(min(8, max(2, min(ask.inputs.shape[2:]) // 2)))

    def countable(self, game: Game, allowed: int) -> bool:
        return not mixes(game) and super().countable(game, allowed)

    def least(self, n: int) -> int:
        return 2 * (n + 2) + 1

    def exact(self, game: Game) -> Solved:
        return Solved(exact_total_indices(game(every(game.n)), game.n))

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        most = (allowed - 1) // (game.n + 2)
        rows = max(2, int(share * most))
        design = swapped(game.n, rows, game.ask.seed)
        count = rows * (game.n + 2)
        scores = game.drawn(design, count) if mixes(game) else game(design(torch.arange(count)) > 0.5)
        return Solved(*total_indices(scores.unflatten(0, (rows, -1))))


@dataclass(frozen=True, kw_only=True)
class HSIC(SampledAttributor):
    r"""How strongly the score depends on whether a part is there, in any form, when parts are hidden at random.

    .. math:: R_i = \frac{\operatorname{HSIC}(M_i, f)}{\sqrt{\operatorname{HSIC}(M_i, M_i) \operatorname{HSIC}(f, f)}},
        \quad \operatorname{HSIC}(M_i, f) = \tfrac1{N^2} \operatorname{tr} K_i H L H

    Each part is there with probability ½. :math:`K_i` is 1 where two masks agree on part i, L a Gaussian kernel of the
    scores as wide as their median difference. These are V-statistics: never negative, and above zero by chance;
    ``extra["chance"]`` says what a part without any influence gets on average. Values are unsigned.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), each element with its part's value.
    Units:  dependence: 0 none, 1 the score is decided by this part alone.
    Cost:   at most ``budget`` forward passes per example, and N² kernel values.
    Raises: OptionError for a budget below nine.
    Source: Novello, Fel & Vigouroux 2022, arXiv:2206.06219, section 3; normalized: Da Veiga 2015, arXiv:1311.2483.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 1)
        >>> _ = net.weight.data.copy_(torch.tensor([[0.0, 2.0]]))
        >>> pl.HSIC()(net, torch.ones(1, 2)).values
        tensor([[0., 1.]])
    """

    paper: ClassVar[str] = "Novello, Fel & Vigouroux 2022, arXiv:2206.06219"
    units: ClassVar[str] = "dependence, unsigned"
    budget: int = option(1500, at_least=FEWEST, help="predictions allowed per example, the clean one included")

    def least(self, n: int) -> int:
        return FEWEST

    def exact(self, game: Game) -> Solved:
        values, _, chance = dependence(every(game.n), game(every(game.n)))
        return Solved(values, extra={"chance": torch.zeros_like(chance)})

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        drawn = bernoulli(max(FEWEST - 1, int(share * (allowed - 1))), game.n, 0.5, game.ask.seed)
        values, error, chance = dependence(drawn, game(drawn))
        return Solved(values, error, extra={"chance": chance})


def spatial(ask: Probe) -> bool:
    """Whether the inputs themselves are pictures or series."""
    known = ask.bound.about.rank > 0 or isinstance(ask.model.modality, Series)
    return ask.site is None and not ask.leaves.integer and ask.inputs.ndim > 2 and known


def mixes(game: Game) -> bool:
    """Whether a part may be there by half: numbers that do not overlap, and no levels of a table."""
    levels = getattr(game.ask.model.modality, "categories", ())
    return game.ask.inputs.is_floating_point() and isinstance(game.players, Parts) and not levels
