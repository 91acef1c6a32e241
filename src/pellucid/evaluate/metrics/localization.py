"""Localization: is a map where a person would point? Plausibility, not faithfulness: a biased model looks elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.evaluate.metrics.masks import masked
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.metrics.places import counted, largest, placed, varied
from pellucid.evaluate.question import Case
from pellucid.evaluate.ranks import ranks

SCALES = ("paper", "above chance", "times chance")
READINGS = ("size", "positive")


@dataclass(frozen=True, kw_only=True)
class Localization(Metric):
    """What is shared: the mask, and how a number is set beside its chance level, what a map of nothing gets."""

    mask: Any = option(
        None, help="True where a person would point: bool like the places, a box (x0, y0, x1, y1), or one a row"
    )
    scale: str = option(
        "paper", choices=SCALES, help="the paper's number v; or, with c that of chance, (v − c) / (1 − c), or v / c"
    )

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "plausibility"

    def measure(self, case: Case) -> float:
        values = placed(case)
        inside = masked(self.mask, case.row, tuple(values.shape), case.question.layout.shape)
        value = self.located(values, inside)
        chance = self.chance(inside)
        if self.scale == "times chance":
            return value / chance
        return value if self.scale == "paper" else (value - chance) / (1 - chance)

    def located(self, values: Tensor, inside: Tensor) -> float:
        """The paper's number for values and a mask, both (*places)."""
        raise NotImplementedError

    def chance(self, inside: Tensor) -> float:
        """The chance level: what a map that knows nothing of the mask gets on average."""
        return float(inside.double().mean())


@dataclass(frozen=True, kw_only=True)
class PointingGame(Localization):
    r"""Whether the largest value is in the mask: 1 or 0; the mean over rows is the hit rate.

    .. math:: \mathbf{1}\bigl[\arg\max_i a_i \in M\bigr]

    Plausibility to a person, not faithfulness. Chance level: the mask's share of the picture. Equal largest values
    count by their share in the mask.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Zhang et al. 2018, arXiv:1608.00507, section 4.2 (with ``tolerance=15``).

    Example:
        >>> import torch, pellucid as pl
        >>> game = pl.metrics.PointingGame(mask=torch.tensor([False, True, True]))
        >>> game(torch.tensor([[1.0, 3.0, 2.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        1.0
    """

    tolerance: int = option(0, at_least=0, help="pixels around the mask that count as in it; pictures only")

    paper: ClassVar[str] = "Zhang et al. 2018, arXiv:1608.00507"
    units: ClassVar[str] = "hit rate"

    def located(self, values: Tensor, inside: Tensor) -> float:
        return float(self._near(inside)[varied(values) == values.max()].double().mean())

    def chance(self, inside: Tensor) -> float:
        return float(self._near(inside).double().mean())

    def _near(self, inside: Tensor) -> Tensor:
        """The mask and what is within the tolerance of it."""
        if not self.tolerance or inside.ndim != 2:
            return inside
        from scipy.ndimage import distance_transform_edt

        return torch.as_tensor(distance_transform_edt(~inside.numpy()) <= self.tolerance)


@dataclass(frozen=True, kw_only=True)
class RelevanceMass(Localization):
    r"""The share of the map that lies in the mask.

    .. math:: \frac{\sum_{i \in M} R_i}{\sum_i R_i}, \quad R_i = |a_i| \text{ or } \max(a_i, 0)

    Plausibility to a person, not faithfulness. Chance level: the mask's share of the picture.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Arras, Osman & Samek 2022, arXiv:2003.07258, eq. 1 (channels are summed up first).

    Example:
        >>> import torch, pellucid as pl
        >>> mass = pl.metrics.RelevanceMass(mask=torch.tensor([False, True, True]))
        >>> mass(torch.tensor([[-1.0, 3.0, 0.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.75
    """

    read: str = option("size", choices=READINGS, help="values by their size, or positive ones only")

    paper: ClassVar[str] = "Arras, Osman & Samek 2022, arXiv:2003.07258"
    units: ClassVar[str] = "share of the map"

    def located(self, values: Tensor, inside: Tensor) -> float:
        return mass(relevance(values, self.read), inside)


@dataclass(frozen=True, kw_only=True)
class RelevanceRank(Localization):
    r"""Of as many places as the mask has, those with the most relevance: the share that lies in the mask.

    .. math:: \frac{|\operatorname{top}_{|M|}(R) \cap M|}{|M|}, \quad R_i = |a_i| \text{ or } \max(a_i, 0)

    Plausibility to a person, not faithfulness. Chance level: the mask's share of the picture.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Arras, Osman & Samek 2022, arXiv:2003.07258, eq. 2.

    Example:
        >>> import torch, pellucid as pl
        >>> rank = pl.metrics.RelevanceRank(mask=torch.tensor([False, True, True]))
        >>> rank(torch.tensor([[-1.0, 3.0, 0.5]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    read: str = option("size", choices=READINGS, help="values by their size, or positive ones only")

    paper: ClassVar[str] = "Arras, Osman & Samek 2022, arXiv:2003.07258"
    units: ClassVar[str] = "share of the mask"

    def located(self, values: Tensor, inside: Tensor) -> float:
        return among_largest(relevance(values, self.read), inside)


@dataclass(frozen=True, kw_only=True)
class TopKIntersection(Localization):
    r"""The share of the k largest values that lies in the mask.

    .. math:: \frac{|\operatorname{top}_k(a) \cap M|}{k}

    Plausibility to a person, not faithfulness. Chance level: the mask's share of the picture; ``scale="times chance"``
    is the paper's concept influence.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Theiner, Müller-Budack & Ewerth 2022, arXiv:2104.14995.

    Example:
        >>> import torch, pellucid as pl
        >>> top = pl.metrics.TopKIntersection(mask=torch.tensor([False, True, True]), k=2)
        >>> top(torch.tensor([[1.0, 3.0, 0.5]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    k: float = option(0.05, above=0, help="how many places; below 1 a share of all places")

    paper: ClassVar[str] = "Theiner, Müller-Budack & Ewerth 2022, arXiv:2104.14995"
    units: ClassVar[str] = "share of the largest"

    def located(self, values: Tensor, inside: Tensor) -> float:
        k = counted(self.k, values.numel())
        return float(largest(varied(values).reshape(-1), k)[inside.reshape(-1)].sum() / k)


@dataclass(frozen=True, kw_only=True)
class LocalizationAUC(Localization):
    r"""How often a place in the mask has a larger value than one outside of it (ties count half): the area under ROC.

    .. math:: \Pr_{i \in M,\, j \notin M}(a_i > a_j) + \tfrac12 \Pr(a_i = a_j)

    Plausibility to a person, not faithfulness. Chance level: 1/2, whatever the size of the mask.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Fawcett 2006, doi:10.1016/j.patrec.2005.10.010.

    Example:
        >>> import torch, pellucid as pl
        >>> area = pl.metrics.LocalizationAUC(mask=torch.tensor([False, True, True, False]))
        >>> area(torch.tensor([[1.0, 3.0, 0.5, 0.0]]), torch.nn.Linear(4, 1), torch.ones(1, 4)).value
        0.75
    """

    paper: ClassVar[str] = "Fawcett 2006, doi:10.1016/j.patrec.2005.10.010"
    units: ClassVar[str] = "area under ROC"

    def located(self, values: Tensor, inside: Tensor) -> float:
        return area(values, inside)

    def chance(self, inside: Tensor) -> float:
        return 0.5


@dataclass(frozen=True, kw_only=True)
class AttributionLocalization(Localization):
    r"""The share of positive evidence that lies in the mask.

    .. math:: \mu = \frac{\sum_{i \in M} \max(a_i, 0)}{\sum_i \max(a_i, 0)}

    Plausibility to a person, not faithfulness. Chance level: the mask's share of the picture; ``scale="times chance"``
    is the paper's weighted :math:`\mu_w`.

    Shapes: one number in [0, 1] a row.
    Cost:   nothing beside the map.
    Source: Kohlbrenner et al. 2020, arXiv:1910.09840, eqs. 9 and 10.

    Example:
        >>> import torch, pellucid as pl
        >>> inside = pl.metrics.AttributionLocalization(mask=torch.tensor([False, True, True]))
        >>> inside(torch.tensor([[1.0, 3.0, -5.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.75
    """

    paper: ClassVar[str] = "Kohlbrenner et al. 2020, arXiv:1910.09840"
    units: ClassVar[str] = "share of positive evidence"

    def located(self, values: Tensor, inside: Tensor) -> float:
        return mass(relevance(values, "positive"), inside)


def relevance(values: Tensor, read: str) -> Tensor:
    """Sizes, or positive values."""
    found = values.abs() if read == "size" else values.clamp_min(0)
    if float(found.sum()) == 0:
        raise Untestable("the map is zero everywhere" if read == "size" else "the map has no positive values")
    return found


def mass(values: Tensor, inside: Tensor) -> float:
    """The share of values (not negative, not all the same) inside."""
    return float(varied(values)[inside].sum() / values.sum())


def among_largest(values: Tensor, inside: Tensor) -> float:
    """Of as many largest values as there are places inside, the share that is inside."""
    values, inside = varied(values).reshape(-1), inside.reshape(-1)
    size = int(inside.sum())
    return float(largest(values, size)[inside].sum() / size)


def area(values: Tensor, inside: Tensor) -> float:
    """The chance that a place inside has a larger value than one outside; ties count half."""
    values, inside = varied(values).reshape(-1), inside.reshape(-1)
    n = int(inside.sum())
    return float((ranks(values)[inside].sum() - n * (n - 1) / 2) / (n * (len(values) - n)))
