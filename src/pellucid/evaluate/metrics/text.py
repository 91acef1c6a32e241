"""Rationales: how much of the answer the most important words take with them, and how much they keep alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.evaluate.metrics.curves import FILL_HELP
from pellucid.evaluate.metrics.hiding import board, check_shares, falling
from pellucid.evaluate.metrics.measure import Better, Metric
from pellucid.evaluate.question import Case

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, kw_only=True)
class Rationale(Metric):
    """What the two share: which shares of the words are a rationale, and what hides words."""

    shares: tuple[float, ...] = option(SHARES, help="the shares of the words that are taken, between 0 and 1")
    fill: Any = option(None, help=FILL_HELP + "; pl.DeleteToken() leaves words out, pl.MaskToken() masks them")

    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429"
    units: ClassVar[str] = "mean drop of the answer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(type(self).__name__, self.shares)

    def drops(self, case: Case, *, hidden: bool) -> Tensor:
        """(shares,) f(x) − f(x with the most important words hidden), or with all others hidden."""
        there = board(case.question, fill=self.fill)
        order = falling(there.worth(case), case.question.seed)
        counts = torch.tensor([min(there.n, max(1, ceil(share * there.n - 1e-9))) for share in self.shares])
        way = (order, counts) if hidden else (order.flip(0), there.n - counts)
        (scores,) = there.along(way)
        return there.ends(scores).full - scores


@dataclass(frozen=True, kw_only=True)
class Comprehensiveness(Rationale):
    r"""The mean drop of the answer when the most important words are hidden, over several shares of the words.

    .. math:: \frac1{|B|} \sum_{k \in B} f(x) - f(x_{\setminus \text{top } k}), \qquad B = \{1, 5, 10, 20, 50\,\%\}

    At least one word is hidden. How words are hidden matters: compare ``fill=pl.DeleteToken()`` and ``pl.MaskToken()``.
    The paper measures probabilities: explain ``pl.Probability()`` for its numbers.

    Shapes: one number a row, in the units of the answer. Parts other than words are hidden in the same way.
    Cost:   one forward pass for each share and row, shared with equal coalitions of other metrics.
    Source: DeYoung et al. 2020, arXiv:1911.03429, section 4.2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.Comprehensiveness()(net.weight, net, torch.ones(1, 4)).value, 3)
        4.6
    """

    better: ClassVar[Better] = "higher"

    def measure(self, case: Case) -> float:
        return float(self.drops(case, hidden=True).mean())


@dataclass(frozen=True, kw_only=True)
class Sufficiency(Rationale):
    r"""The mean drop of the answer when only the most important words are left, over several shares of the words.

    .. math:: \frac1{|B|} \sum_{k \in B} f(x) - f(\text{top } k \text{ of } x), \qquad B = \{1, 5, 10, 20, 50\,\%\}

    At least one word is left. How words are hidden matters: compare ``fill=pl.DeleteToken()`` and ``pl.MaskToken()``.
    The paper measures probabilities: explain ``pl.Probability()`` for its numbers.

    Shapes: one number a row, in the units of the answer. Parts other than words are hidden in the same way.
    Cost:   one forward pass for each share and row, shared with equal coalitions of other metrics.
    Source: DeYoung et al. 2020, arXiv:1911.03429, section 4.2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.Sufficiency()(net.weight, net, torch.ones(1, 4)).value, 3)
        5.4
    """

    better: ClassVar[Better] = "lower"

    def measure(self, case: Case) -> float:
        return float(self.drops(case, hidden=False).mean())
