"""Metrics of the mask bank, and of parts hidden or shown one by one, against what the map says this should do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.evaluate.metrics.curves import FILL_HELP
from pellucid.evaluate.metrics.hiding import Board, board, falling
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case
from pellucid.evaluate.ranks import correlation, rank_correlation, tidy


def bank(case: Case) -> None:
    """Refuse a case in which hiding shows nothing, or whose map says nothing."""
    if reason := case.bank.silent or case.flat:
        raise Untestable(reason)


@dataclass(frozen=True, kw_only=True)
class MuFidelity(Metric):
    r"""The rank correlation of what hidden sets of parts are worth to the map and what hiding them does.

    .. math:: \mu = \operatorname{corr}_S\Bigl(\sum_{i \in S} a_i,\; f(x) - f(x_{\setminus S})\Bigr)

    Sets of parts (patches, words, columns) of several sizes are hidden, and compared with sets of the same size.

    Shapes: one number in [−1, 1] a row.
    Cost:   128 forward passes a row, shared by all explanations and metrics of the bank.
    Source: Bhatt, Weller & Moura 2020, arXiv:2005.00631, definition 3; in this form Fel et al. 2021, arXiv:2111.04138.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2])
        >>> pl.metrics.MuFidelity()(-pl.InputXGradient()(net, torch.ones(1, 6)).values, net, torch.ones(1, 6)).value
        -1.0
    """

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Bhatt, Weller & Moura 2020, arXiv:2005.00631"
    units: ClassVar[str] = "rank correlation"

    def measure(self, case: Case) -> float:
        bank(case)
        return float(case.bank.agreement(case.parts))


@dataclass(frozen=True, kw_only=True)
class SensitivityN(Metric):
    r"""The correlation of what n hidden parts are worth to the map and what hiding them does, mean over several n.

    .. math:: \rho_n = \operatorname{corr}_{|S| = n}\Bigl(\sum_{i \in S} a_i,\; f(x) - f(x_{\setminus S})\Bigr)

    The sizes n are those of the bank: an eighth to a half of the parts, all where parts are few. Sizes at which the
    answer, or the sum, is the same for all sets say nothing and are left out.

    Shapes: one number in [−1, 1] a row.
    Cost:   128 forward passes a row, shared by all explanations and metrics of the bank.
    Source: Ancona et al. 2018, arXiv:1711.06104, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2])
        >>> round(pl.metrics.SensitivityN()(pl.InputXGradient()(net, torch.ones(1, 6)), net).value, 5)
        1.0
    """

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Ancona et al. 2018, arXiv:1711.06104"
    units: ClassVar[str] = "correlation"

    def measure(self, case: Case) -> float:
        bank(case)
        there = case.bank
        claims, drops = tidy(there.hidden.double() @ case.parts), (there.drops / there.noise).round()
        found = []
        for size in there.sizes.unique():
            of = there.sizes == size
            if float(claims[of].std(correction=0)) > 1e-9 and float(drops[of].std(correction=0)) > 0:
                found.append(float(correlation(claims[of], drops[of])))
        if not found:
            raise Untestable("hiding as many parts always does the same")
        return sum(found) / len(found)


@dataclass(frozen=True, kw_only=True)
class Infidelity(Metric):
    r"""The mean squared error of what the map says hidden parts do, at the scale that suits the map best.

    .. math:: \min_{\beta \ge 0} \; \mathbb{E}_S \Bigl(\beta \sum_{i \in S} a_i - \bigl(f(x) - f(x_{\setminus S})\bigr)
        \Bigr)^2

    Maps of different methods have different scales, and without β the scale decides. β is not negative: a map that
    says the opposite is no better than none. ``scale="none"`` takes the map as it is, β = 1.

    Shapes: one number a row, the square of the answer's units; 0 for a map that foretells every drop.
    Cost:   128 forward passes a row, shared by all explanations and metrics of the bank.
    Source: Yeh et al. 2019, arXiv:1901.09392, definition 2.1, with I = x − x without S (square removal).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2])
        >>> values, x = 10 * net.weight, torch.ones(1, 6)
        >>> [round(pl.metrics.Infidelity(scale=scale)(values, net, x).value, 3) for scale in ("best", "none")]
        [0.0, 440.588]
    """

    scale: str = option("best", choices=("best", "none"), help="whether the map is scaled to suit the drops best")

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392"
    units: ClassVar[str] = "squared answer"

    def measure(self, case: Case) -> float:
        bank(case)
        claims, drops = case.bank.hidden.double() @ case.parts, case.bank.drops
        if self.scale == "best":
            claims = claims / claims.abs().max()
            claims = claims * ((claims @ drops) / (claims @ claims)).clamp_min(0)
        return float((claims - drops).square().mean())


@dataclass(frozen=True, kw_only=True)
class FaithfulnessEstimate(Metric):
    r"""The correlation of each part's value and what hiding this part alone does.

    .. math:: \operatorname{corr}_i\bigl(a_i,\; f(x) - f(x_{\setminus i})\bigr)

    A single small part of a picture may do nothing when it is hidden alone; ``MuFidelity`` hides several.

    Shapes: one number in [−1, 1] a row.
    Cost:   one forward pass for each part of a row, all in one batch, shared by explanations.
    Source: Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2])
        >>> round(pl.metrics.FaithfulnessEstimate()(pl.InputXGradient()(net, torch.ones(1, 6)), net).value, 5)
        1.0
    """

    fill: Any = option(None, help=FILL_HELP)

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538"
    units: ClassVar[str] = "correlation"

    def measure(self, case: Case) -> float:
        there = board(case.question, fill=self.fill)
        worth, scores = there.worth(case), alone(there)
        full, _, noise = there.ends(scores)
        drops = apart((full - scores).abs() if case.by_size else full - scores, noise)
        return float(correlation(worth / worth.abs().max(), drops))


@dataclass(frozen=True, kw_only=True)
class Monotonicity(Metric):
    r"""Whether the answer never falls while parts are added, the least important first: 1 if so, else 0.

    .. math:: f(b) \le f(x_{\{1\}}) \le f(x_{\{1, 2\}}) \le \ldots \le f(x), \qquad a_1 \le a_2 \le \ldots

    Parts of the input are put onto the baseline, on which everything is hidden. For a model that adds up, the order
    does not matter: all maps get 1 where no part speaks against the answer, and all get 0 where one does. So this
    number says as much of the model as of the map; ``MonotonicityCorrelation`` compares with the map itself.

    Shapes: 0 or 1 a row; the mean is the share of rows.
    Cost:   one forward pass for each part of a row, all in one batch.
    Source: Arya et al. 2019, arXiv:1909.03012.

    Example:
        >>> import torch, pellucid as pl
        >>> model = pl.BlackBox(lambda x: x[:, 0] - x[:, 1] + 3 * x[:, 0] * x[:, 1])
        >>> x = torch.ones(1, 2)
        >>> [pl.metrics.Monotonicity()(torch.tensor([values]), model, x).value for values in ([1.0, 2.0], [2.0, 1.0])]
        [1.0, 0.0]
    """

    fill: Any = option(None, help=FILL_HELP)

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Arya et al. 2019, arXiv:1909.03012"
    units: ClassVar[str] = "share of rows"

    def measure(self, case: Case) -> float:
        there = board(case.question, fill=self.fill)
        order = falling(there.worth(case), case.question.seed)
        (curve,) = there.along((order, torch.arange(there.n, -1, -1)))
        return float((curve.diff() >= -there.ends(curve).noise).all())


@dataclass(frozen=True, kw_only=True)
class MonotonicityCorrelation(Metric):
    r"""The rank correlation of the size of each part's value and how far the answer moves when the part is replaced.

    .. math:: \operatorname{rank\,corr}_i\bigl(|a_i|,\; \mathbb{E}\,(f(x) - f(x_{\setminus i}))^2\bigr)

    The expectation is over the variants of the fill: one for zeros, many for ``pl.Marginal(data)``.

    Shapes: one number in [−1, 1] a row; a map and its opposite get the same.
    Cost:   one forward pass for each part of a row and variant of the fill, all in one batch.
    Source: Nguyen & Martínez 2020, arXiv:2007.07584, section 3 (the factor 1 / f(x)² changes no rank).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2])
        >>> round(pl.metrics.MonotonicityCorrelation()(-net.weight, net, torch.ones(1, 6)).value, 5)
        1.0
    """

    fill: Any = option(None, help=FILL_HELP)

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Nguyen & Martínez 2020, arXiv:2007.07584"
    units: ClassVar[str] = "rank correlation"

    def measure(self, case: Case) -> float:
        there = board(case.question, fill=self.fill)
        worth = there.worth(case).abs()
        if float(tidy(worth).max() - tidy(worth).min()) <= 1e-9:
            raise Untestable("the map gives every part a value of the same size")
        scores = each_variant(there)
        full, _, noise = there.ends(scores.flatten())
        moved = (scores - full).square().mean(1).sqrt()
        return float(rank_correlation(tidy(worth), apart(moved, noise)))


def alone(there: Board) -> Tensor:
    """(n,) scores with each part hidden by itself."""
    return there.scores(~torch.eye(there.n, dtype=torch.bool))


def each_variant(there: Board) -> Tensor:
    """(n, variants): scores with each part hidden by itself, for every variant of the fill."""
    game, variants = there.game, there.game.cost
    if variants == 1:
        return alone(there)[:, None]
    hide = ~torch.eye(there.n, dtype=torch.bool)

    def points(numbers: Tensor) -> Tensor:
        shown = game.players.shown(hide[numbers // variants]).to(game.ask.inputs.device)
        return torch.where(shown, game.ask.inputs[None], game.around(shown, numbers % variants))

    return game.ask.forward(points, there.n * variants)[:, 0].cpu().double().reshape(-1, variants)


def apart(drops: Tensor, noise: float) -> Tensor:
    """Drops in steps of the noise, so that rounding makes no ranks; Untestable where all are the same."""
    steps = (drops / noise).round()
    if float(steps.max() - steps.min()) == 0:
        raise Untestable("it makes no difference which part is hidden")
    return steps
