"""Metrics of the mask bank: what hiding random sets of parts did, against what the map says it should do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case


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
