"""Complexity: over how many places a map is spread. Descriptions: a simple map can be wrong, a scattered one right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.metrics.places import placed
from pellucid.evaluate.question import Case


@dataclass(frozen=True, kw_only=True)
class Gini(Metric):
    r"""How unequal the sizes of a map's values are: 0 where all are equal, 1 − 1/n where one place has everything.

    .. math:: G = 1 - 2 \sum_{k=1}^{n} \frac{|a|_{(k)}}{\lVert a \rVert_1} \cdot \frac{n - k + 1/2}{n}

    with :math:`|a|_{(1)} \le \ldots \le |a|_{(n)}`, over pixels (channels summed up), moments, columns or words.

    Shapes: one number in [0, 1) a row.
    Cost:   nothing beside the map.
    Source: Chalasani et al. 2020, arXiv:1810.06583; Hurley & Rickard 2009, arXiv:0811.4706.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1)
        >>> pl.metrics.Gini()(torch.tensor([[0.0, 0.0, 2.0, 0.0]]), net, torch.ones(1, 4)).value
        0.75
    """

    better: ClassVar[Better] = "neither"
    kind: ClassVar[str] = "complexity"
    paper: ClassVar[str] = "Chalasani et al. 2020, arXiv:1810.06583"
    units: ClassVar[str] = "Gini index"

    def measure(self, case: Case) -> float:
        shares = shared(placed(case)).sort().values
        n = len(shares)
        return float(1 - 2 * (shares * (n - torch.arange(1, n + 1) + 0.5) / n).sum())


@dataclass(frozen=True, kw_only=True)
class Entropy(Metric):
    r"""The entropy of the shares that places have in a map: 0 where one has everything, ln n where all are equal.

    .. math:: C = -\sum_i p_i \ln p_i, \quad p_i = \frac{|a_i|}{\sum_j |a_j|}

    Shapes: one number in [0, ln n] a row; n pixels (channels summed up), moments, columns or words.
    Cost:   nothing beside the map.
    Source: Bhatt, Weller & Moura 2020, arXiv:2005.00631, definition 4 ("complexity").

    Example:
        >>> import torch, pellucid as pl
        >>> pl.metrics.Entropy()(torch.tensor([[1.0, -1.0, 0.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.693...
    """

    better: ClassVar[Better] = "neither"
    kind: ClassVar[str] = "complexity"
    paper: ClassVar[str] = "Bhatt, Weller & Moura 2020, arXiv:2005.00631"
    units: ClassVar[str] = "nats"

    def measure(self, case: Case) -> float:
        shares = shared(placed(case))
        return float(-torch.special.xlogy(shares, shares).sum())


@dataclass(frozen=True, kw_only=True)
class EffectiveSize(Metric):
    r"""The smallest number of parts that bear 80 % of a map.

    .. math:: \min \bigl\{ k : \sum_{i \le k} |a|_{[i]} \ge 0.8 \sum_i |a_i| \bigr\}

    with :math:`|a|_{[1]} \ge |a|_{[2]} \ge \ldots`, over the parts that checks hide: patches, windows, columns, words.

    Shapes: one whole number in 1 … n a row.
    Cost:   nothing beside the map.
    Source: in the spirit of the effective complexity of Nguyen & Martínez 2020, arXiv:2007.07584, without a threshold
            that depends on the scale of the map.

    Example:
        >>> import torch, pellucid as pl
        >>> values = torch.tensor([[5.0, -3.0, 1.0, 1.0]])
        >>> pl.metrics.EffectiveSize()(values, torch.nn.Linear(4, 1), torch.ones(1, 4)).value
        2.0
    """

    share: float = option(0.8, above=0, help="the share of the map that the parts bear together")

    better: ClassVar[Better] = "neither"
    kind: ClassVar[str] = "complexity"
    paper: ClassVar[str] = "Nguyen & Martínez 2020, arXiv:2007.07584"
    units: ClassVar[str] = "parts"

    def measure(self, case: Case) -> float:
        together = shared(case.parts).sort(descending=True).values.cumsum(0)
        return float(1 + (together < self.share - 1e-9).sum().clamp_max(len(together) - 1))


def shared(values: Tensor) -> Tensor:
    """Sizes of values as shares of their sum (n,)."""
    sizes = values.reshape(-1).abs()
    if len(sizes) < 2:
        raise Untestable("there is only one part, so nothing can be spread")
    if float(sizes.sum()) == 0:
        raise Untestable("the map is zero everywhere")
    return sizes / sizes.sum()
