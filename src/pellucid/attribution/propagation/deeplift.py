"""DeepLIFT and DeepSHAP: differences from a baseline, handed back operation by operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid._typing import Points
from pellucid.attribution.path import usual_baselines
from pellucid.core.law import COMPLETE, DUMMY, LINEAR, completeness_gap
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.core.reduce import Moments
from pellucid.engines.fills import Marginal, as_fill, baseline
from pellucid.engines.points import only
from pellucid.engines.rules import Anew, Canceling, Contrast, Ledger

RULES: dict[str, type[Contrast]] = {"rescale": Contrast, "reveal-cancel": Canceling}
LEAKING, TINY, CANCELING = 1e-3, 1e-5, 1e4
LEAK = "the values do not add up: some of the change went where no slope leads (detach, a comparison, an index)"
CANCEL = "huge values cancel each other: a norm has no spread at the baseline; choose one that is not constant"


@dataclass(frozen=True, kw_only=True)
class Differences(Attributor):
    """What DeepLIFT and DeepSHAP share: multipliers against references, and what is known of their sum."""

    units: ClassVar[str] = "target"
    rule: str = option(
        "rescale",
        choices=tuple(RULES),
        help="how a non-linearity answers: by its whole change, or for rising and falling parts apart",
    )

    def compared(self, ask: Probe, bases: Points, draws: int) -> Found:
        """Multipliers times differences from ``draws`` bases: their mean, and a note where they do not add up."""
        ledger, kind, into = Ledger(), RULES[self.rule], Compared(ask.inputs, bases)
        points = None if draws == 1 else only(ask.inputs)
        ask.along(Anew(kind, ledger)).gradient(points, draws, into=into, against=bases)
        values, base_score = into.moments.mean, into.total / draws
        gap, change = completeness_gap(values, ask.score, base_score), (ask.score - base_score).abs()
        size = values.flatten(1).abs().sum(1)
        leaks = bool(((gap > LEAKING) & (gap * change > TINY * (1 + size))).any())
        cancels = bool((size > CANCELING * (1 + change)).any())
        return Found(
            values,
            standard_error=into.moments.standard_error if draws > 1 else None,
            base_score=base_score,
            notes=(LEAK,) * leaks + (CANCEL,) * cancels,
            extra={"ledger": tuple(ledger.rows())},
        )


class Compared:
    """Moments of multipliers × differences from the bases, and the sum of the scores of these."""

    def __init__(self, inputs: Tensor, bases: Points) -> None:
        self.inputs, self.bases, self.moments = inputs, bases, Moments()
        self.total: Tensor = torch.zeros(())

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        self.moments.update(draws, values * (self.inputs[None] - self.bases(draws)), scores[..., 0])
        self.total = self.total.to(scores) + scores[..., 1].sum(0)

    def result(self) -> Moments:
        return self.moments


@dataclass(frozen=True, kw_only=True)
class DeepLIFT(Differences):
    r"""The change of the score from a baseline, handed back operation by operation: Δ out over Δ in, not a slope.

    .. math:: a_i = (x_i - b_i)\, m_i, \qquad m = \text{the product of } \frac{\Delta y}{\Delta x}
        \text{ along all ways}

    Elementwise operations hand back their whole change (``rescale``), or, with ``reveal-cancel``, what rises and what
    falls in the sum before them apart. Products hand back each factor's change times the other's mean; max-pooling, to
    the element that was or is the largest; softmax, norms and attention are made of these. The values add up to
    f(x) − f(b), whatever the operations and the target. Operations are met, not modules, so functional, in-place and
    reused layers obey, too; ``extra["ledger"]`` lists what was met. Where a normalization has no spread at the
    baseline (a constant picture under layer norm), huge values cancel each other; the result then says so.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape); token ids → (batch, tokens).
    Units:  those of the target.
    Cost:   one pass at the baseline, one forward and one backward; one more forward where the target is still open.
    Raises: GradientError for an operation without a rule, and for a model that takes another way for the baseline.
    Source: Shrikumar, Greenside & Kundaje 2017, arXiv:1704.02685, sections 3.5.1 and 3.5.2.

    Example:
        >>> import torch, pellucid as pl
        >>> product = lambda outputs: outputs.prod(1)
        >>> pl.DeepLIFT(baseline=1.0)(torch.nn.Identity(), torch.tensor([[2.0, 3.0]]), target=product).values
        tensor([[2., 3.]])
    """

    paper: ClassVar[str] = "Shrikumar, Greenside & Kundaje 2017, arXiv:1704.02685"
    laws: ClassVar = (COMPLETE, DUMMY, LINEAR)
    baseline: Any = option(None, help="what is compared with: a fill, a number or a tensor; zeros (padding) without")

    def attribute(self, ask: Probe) -> Found:
        return self.compared(ask, only(baseline(self.baseline, ask)), 1)


@dataclass(frozen=True, kw_only=True)
class DeepSHAP(Differences):
    r"""DeepLIFT, averaged over the rows of a background: an approximation of Shapley values.

    .. math:: a_i = \mathbb{E}_{b \sim D}\left[(x_i - b_i)\, m_i(x, b)\right]

    The values add up to f(x) less the mean score of the background.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error of the same shape.
    Units:  those of the target.
    Cost:   DeepLIFT, for each row of the background (at most 100).
    Raises: what DeepLIFT raises; ShapeError for a background that does not fit the inputs.
    Source: Lundberg & Lee 2017, arXiv:1705.07874, section 4.2; Chen, Lundberg & Lee 2021, arXiv:1911.11888.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.DeepSHAP(baseline=torch.tensor([[0.0], [1.0]]))(torch.nn.Flatten(), torch.tensor([[3.0]])).values
        tensor([[2.5000]])
    """

    paper: ClassVar[str] = "Lundberg & Lee 2017, arXiv:1705.07874"
    laws: ClassVar = (COMPLETE, DUMMY, LINEAR)
    baseline: Any = option(None, help="rows or a fill to compare with; the table's background, or noise, without")

    def attribute(self, ask: Probe) -> Found:
        given = self.baseline if self.baseline is not None else usual_baselines(ask)
        rows = getattr(given, "ndim", None) == ask.leaves.values.ndim
        base = (Marginal(given) if rows else as_fill(given))(ask)
        return self.compared(ask, lambda k: base[k], len(base))
