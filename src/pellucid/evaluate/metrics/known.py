"""Truth: agreement with coefficients that are known, where a model or its data was made so that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pellucid.core.method import option
from pellucid.errors import ShapeError
from pellucid.evaluate.metrics.agreement import MEASURES, SIGNED, TOP, compared, list_size
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case
from pellucid.evaluate.values import numbers


@dataclass(frozen=True, kw_only=True)
class Known(Metric):
    """Agreement with known coefficients, one for each part of the input."""

    known: Any = option(None, help="the true coefficients: (parts,), or (rows, parts)")

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "truth"
    paper: ClassVar[str] = "Krishna et al. 2022, arXiv:2202.01602"
    units: ClassVar[str] = "agreement"

    @property
    def most(self) -> float:
        """How many parts the lists of the most important have."""
        return TOP

    def measure(self, case: Case) -> float:
        if self.known is None:
            raise Untestable("no coefficients are known")
        name, truth = type(self).__name__, numbers(self.known)
        truth = truth[case.row] if truth.ndim == 2 and len(truth) > case.row else truth
        if truth.shape != case.parts.shape:
            do = "Give one coefficient for each part."
            raise ShapeError(expected=f"{tuple(case.parts.shape)} coefficients", got=str(tuple(truth.shape)), do=do)
        if name in SIGNED and case.by_size:
            raise Untestable("the map is one of sizes: its values have no sign")
        value = compared(case.parts, truth, list_size(self.most, len(truth)), signs=True)[list(MEASURES).index(name)]
        if not np.isfinite(value):
            raise Untestable("the map, or what is known, is the same everywhere")
        return value


@dataclass(frozen=True, kw_only=True)
class KnownTop(Known):
    """Agreement with known coefficients on those that matter most."""

    k: float = option(TOP, above=0, help="how many parts; below 1 a share of them")

    @property
    def most(self) -> float:
        return self.k


@dataclass(frozen=True, kw_only=True)
class FeatureAgreement(KnownTop):
    r"""The share of the parts that matter most to the truth that matter most to the map, too.

    .. math:: \tfrac1k |\operatorname{top}_k(|a|) \cap \operatorname{top}_k(|w|)|

    Shapes: one number in [0, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.FeatureAgreement(known=torch.tensor([3.0, -2.0, 1.0]), k=2)
        >>> against(torch.tensor([[1.0, 5.0, -3.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    units: ClassVar[str] = "share of k"


@dataclass(frozen=True, kw_only=True)
class RankAgreement(KnownTop):
    r"""The share of the parts that matter most that have the same place in the truth's list and the map's.

    .. math:: \tfrac1k \#\{ i \in \operatorname{top}_k(|a|) : \operatorname{rank}_a(i) = \operatorname{rank}_w(i) \}

    Shapes: one number in [0, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.RankAgreement(known=torch.tensor([3.0, -2.0, 1.0]), k=2)
        >>> against(torch.tensor([[3.0, 1.0, -2.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    units: ClassVar[str] = "share of k"


@dataclass(frozen=True, kw_only=True)
class SignAgreement(KnownTop):
    r"""The share of the parts that matter most to both, with the same sign in both.

    .. math:: \tfrac1k \#\{ i \in \operatorname{top}_k(|a|) \cap \operatorname{top}_k(|w|) :
        \operatorname{sign} a_i = \operatorname{sign} w_i \}

    Shapes: one number in [0, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.SignAgreement(known=torch.tensor([3.0, -2.0, 1.0]), k=2)
        >>> against(torch.tensor([[3.0, 2.0, 1.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    units: ClassVar[str] = "share of k"


@dataclass(frozen=True, kw_only=True)
class SignedRankAgreement(KnownTop):
    r"""The share of the parts that matter most that have the same place and the same sign in both lists.

    .. math:: \tfrac1k \#\{ i \in \operatorname{top}_k(|a|) : \operatorname{rank}_a(i) = \operatorname{rank}_w(i),\,
        \operatorname{sign} a_i = \operatorname{sign} w_i \}

    Shapes: one number in [0, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.SignedRankAgreement(known=torch.tensor([3.0, -2.0, 1.0]), k=2)
        >>> against(torch.tensor([[-3.0, -2.0, 1.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.5
    """

    units: ClassVar[str] = "share of k"


@dataclass(frozen=True, kw_only=True)
class RankCorrelation(Known):
    r"""Spearman's correlation of the sizes of the map's values and of the truth.

    .. math:: \operatorname{corr}(\operatorname{rank} |a|, \operatorname{rank} |w|)

    Shapes: one number in [−1, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.RankCorrelation(known=torch.tensor([3.0, -2.0, 1.0]))
        >>> against(torch.tensor([[1.0, 2.0, 3.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        -1.0
    """

    units: ClassVar[str] = "rank correlation"


@dataclass(frozen=True, kw_only=True)
class PairwiseRankAgreement(Known):
    r"""The share of pairs of parts that the map and the truth put in the same order of size.

    .. math:: \binom{n}{2}^{-1} \#\{ i < j : \operatorname{sign}(|a_i| - |a_j|) = \operatorname{sign}(|w_i| - |w_j|) \}

    Shapes: one number in [0, 1] a row; the map on columns, words or parts of a picture.
    Cost:   nothing beside the map.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; for known coefficients Agarwal et al. 2022,
            arXiv:2206.11104. ``pl.agreement`` compares explanations with each other.

    Example:
        >>> import torch, pellucid as pl
        >>> against = pl.metrics.PairwiseRankAgreement(known=torch.tensor([3.0, -2.0, 1.0]))
        >>> against(torch.tensor([[3.0, 1.0, 2.0]]), torch.nn.Linear(3, 1), torch.ones(1, 3)).value
        0.666...
    """

    units: ClassVar[str] = "share of pairs"
