"""Prediction gaps: how far noise on the most important columns, or on the others, moves the answer."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.engines.points import noise
from pellucid.evaluate.metrics.hiding import Board, board, falling
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case
from pellucid.evaluate.stability import noise_width
from pellucid.evaluate.thresholds import ROUNDING


@dataclass(frozen=True, kw_only=True)
class Gap(Metric):
    """What the two share: how many columns are the most important ones, and how much noise there is."""

    share: float = option(0.25, above=0.0, help="the share of the columns that count as important, below 1")
    noise: float = option(0.1, above=0.0, help="width of the noise: a share of a column's spread, or else of its size")
    draws: int = option(100, at_least=1, help="how many times noise is drawn")

    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Agarwal et al. 2022, arXiv:2206.11104"
    units: ClassVar[str] = "mean move of the answer"

    def gap(self, case: Case, *, important: bool) -> float:
        """The mean |f(x) − f(x + noise on these columns)|."""
        question = case.question
        if question.leaves.integer:
            raise Untestable("token ids cannot be changed a little")
        there = board(question)
        order = falling(there.worth(case), question.seed)
        count = min(max(1, ceil(self.share * there.n - 1e-9)), there.n - 1)
        chosen = torch.zeros(1, there.n, dtype=torch.bool)
        chosen[0, order[:count] if important else order[count:]] = True
        if self.moved(case, there, torch.ones(1, there.n, dtype=torch.bool)) == 0:
            raise Untestable("noise on the whole input does not change the answer")
        return self.moved(case, there, chosen)

    def moved(self, case: Case, there: Board, chosen: Tensor) -> float:
        """The mean move of the answer by noise on the parts chosen (1, n); made once for each set of parts."""
        name = f"gap {self.noise} {self.draws} {chosen.flatten().tolist()}"
        return case.question.once(name, lambda: self.asked(case, there, chosen))

    def asked(self, case: Case, there: Board, chosen: Tensor) -> float:
        """The same, asked of the model."""
        ask = case.question.ask()
        x = ask.inputs
        width, share = noise_width(ask)
        reach = width * (self.noise / share) * there.game.players.shown(chosen)[0].to(x.device)
        if not float(reach.max()) > 0:
            raise Untestable("none of these parts has a number that could be changed a little")

        def points(draws: Tensor) -> Tensor:
            return x[None] + reach[None] * noise(draws, x.shape[1:], ask.seed).to(x)[:, None]

        full = float(ask.score[0])
        moves = (ask.forward(points, self.draws)[:, 0].cpu().double() - full).abs()
        least = ROUNDING * torch.finfo(ask.score.dtype).eps * max(abs(full), float(moves.max()), 1e-30)
        return float(torch.where(moves > least, moves, 0.0).mean())


@dataclass(frozen=True, kw_only=True)
class PGI(Gap):
    r"""Prediction gap on important columns: how far noise on the most important quarter of them moves the answer.

    .. math:: \mathbb{E}_{x' \sim x + \varepsilon \text{ on top } k} \; |f(x) - f(x')|

    Columns of a table with a background have noise in proportion to their spread, others to their size; categories
    stay. The paper measures probabilities: explain ``pl.Probability()`` for its numbers.

    Shapes: one number a row, in the units of the answer.
    Cost:   200 forward passes a row (``draws`` for these columns, and once for all), shared by equal choices.
    Source: Agarwal et al. 2022 (OpenXAI), arXiv:2206.11104, section 2.3.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Linear(8, 1).requires_grad_(False)
        >>> x, heat = torch.ones(1, 8), net.weight.abs()
        >>> pl.metrics.PGI()(heat, net, x).value > pl.metrics.PGI()(-heat, net, x).value
        True
    """

    better: ClassVar[Better] = "higher"

    def measure(self, case: Case) -> float:
        return self.gap(case, important=True)


@dataclass(frozen=True, kw_only=True)
class PGU(Gap):
    r"""Prediction gap on unimportant columns: how far noise on all but the most important quarter moves the answer.

    .. math:: \mathbb{E}_{x' \sim x + \varepsilon \text{ on all but top } k} \; |f(x) - f(x')|

    Columns of a table with a background have noise in proportion to their spread, others to their size; categories
    stay. The paper measures probabilities: explain ``pl.Probability()`` for its numbers.

    Shapes: one number a row, in the units of the answer.
    Cost:   200 forward passes a row (``draws`` for these columns, and once for all), shared by equal choices.
    Source: Agarwal et al. 2022 (OpenXAI), arXiv:2206.11104, section 2.3.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Linear(8, 1).requires_grad_(False)
        >>> x, heat = torch.ones(1, 8), net.weight.abs()
        >>> pl.metrics.PGU()(heat, net, x).value < pl.metrics.PGU()(-heat, net, x).value
        True
    """

    better: ClassVar[Better] = "lower"

    def measure(self, case: Case) -> float:
        return self.gap(case, important=False)
