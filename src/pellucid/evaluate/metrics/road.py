"""ROAD: hide single pixels of a picture so that their places tell nothing, and see what the answer does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.engines.fills import Inpaint
from pellucid.evaluate.metrics.hiding import board, check_shares, falling
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Imputed(Metric):
    """What the three share: which shares of the pixels are hidden, and how noisy what replaces them is."""

    shares: tuple[float, ...] = option(SHARES, help="the shares of the pixels that are hidden, between 0 and 1")
    noise: float = option(0.01, at_least=0.0, help="noise of what is put in, in standard deviations of the channel")

    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Rong et al. 2022, arXiv:2202.00449"
    units: ClassVar[str] = "mean answer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(type(self).__name__, self.shares)

    def answers(self, case: Case, *ways: int) -> list[Tensor]:
        """The answers at all shares; way 1 hides the most important pixels, −1 the least."""
        if not case.question.layout.space:
            raise Untestable("only pictures, series and volumes have neighbors that hidden places can be made of")
        there = board(case.question, "places", Inpaint(noise=self.noise))
        order = falling(there.worth(case), case.question.seed)
        counts = torch.tensor([round(share * there.n) for share in self.shares]).clamp(1, there.n - 1)
        found = there.along(*((order if way > 0 else order.flip(0), counts) for way in ways))
        there.moving(torch.cat(found))
        return found


@dataclass(frozen=True, kw_only=True)
class ROAD(Imputed):
    r"""Remove and debias, both orders: half of what hiding the least important pixels leaves over hiding the most.

    .. math:: \frac1{2|P|} \sum_{p \in P} f\bigl(x_\text{LeRF}(p)\bigr) - f\bigl(x_\text{MoRF}(p)\bigr)

    Hidden pixels are noisy means of their neighbors (``pl.Inpaint``: the linear system of the paper, solved for all
    shares and channels at once on the device), so that a model can hardly read the shape of the mask. The answer of
    one picture stands where the paper counts, over many, how often the class stays.

    Shapes: one number a row, in the units of the answer; a map and its opposite have opposite numbers.
    Cost:   18 forward passes a row, all in one batch, shared with ``ROADMoRF`` and ``ROADLeRF``.
    Source: Rong et al. 2022, arXiv:2202.00449; both orders in one number: the mean of the two that it reports.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1).requires_grad_(False))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> values = pl.InputXGradient()(net, x).values
        >>> pl.metrics.ROAD()(values, net, x).value > 0 > pl.metrics.ROAD()(-values, net, x).value
        True
    """

    better: ClassVar[Better] = "higher"
    units: ClassVar[str] = "half the difference of the mean answers"

    def measure(self, case: Case) -> float:
        least, most = self.answers(case, -1, 1)
        return float((least - most).mean()) / 2


@dataclass(frozen=True, kw_only=True)
class ROADMoRF(Imputed):
    r"""Remove and debias: the mean answer with the most important pixels replaced by means of their neighbors.

    .. math:: \frac1{|P|} \sum_{p \in P} f\bigl(x_\text{MoRF}(p)\bigr)

    Shapes: one number a row, in the units of the answer.
    Cost:   9 forward passes a row, all in one batch, shared with ``ROAD``.
    Source: Rong et al. 2022, arXiv:2202.00449.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1).requires_grad_(False))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> values = pl.InputXGradient()(net, x).values
        >>> pl.metrics.ROADMoRF()(values, net, x).value == pl.metrics.ROADLeRF()(-values, net, x).value
        True
    """

    better: ClassVar[Better] = "lower"

    def measure(self, case: Case) -> float:
        return float(self.answers(case, 1)[0].mean())


@dataclass(frozen=True, kw_only=True)
class ROADLeRF(Imputed):
    r"""Remove and debias: the mean answer with the least important pixels replaced by means of their neighbors.

    .. math:: \frac1{|P|} \sum_{p \in P} f\bigl(x_\text{LeRF}(p)\bigr)

    Shapes: one number a row, in the units of the answer.
    Cost:   9 forward passes a row, all in one batch, shared with ``ROAD``.
    Source: Rong et al. 2022, arXiv:2202.00449.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1).requires_grad_(False))
        >>> x = torch.rand(1, 1, 8, 8)
        >>> values = pl.InputXGradient()(net, x).values
        >>> pl.metrics.ROADMoRF()(values, net, x).value < pl.metrics.ROADLeRF()(values, net, x).value
        True
    """

    better: ClassVar[Better] = "higher"

    def measure(self, case: Case) -> float:
        return float(self.answers(case, -1)[0].mean())
