"""Agreement of explanations with each other, or with known coefficients: which parts matter most, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.core.figure import Matrix
from pellucid.core.result import Attribution
from pellucid.errors import EmptyError, OptionError, ShapeError, nearest
from pellucid.evaluate.ranks import rank_correlation
from pellucid.evaluate.values import numbers

TOP = 0.25


def top(values: Tensor, k: int) -> Tensor:
    """The k parts that matter most (k,): by size, the first of equal ones."""
    return values.abs().argsort(descending=True, stable=True)[:k]


def feature_agreement(one: Tensor, other: Tensor, k: int) -> float:
    """The share of parts that are among the k most important of both."""
    return len(set(top(one, k).tolist()) & set(top(other, k).tolist())) / k


def rank_agreement(one: Tensor, other: Tensor, k: int) -> float:
    """The share that have the same place in both lists, too."""
    return float((top(one, k) == top(other, k)).double().mean())


def sign_agreement(one: Tensor, other: Tensor, k: int) -> float:
    """The share that are in both lists, in any place, with the same sign."""
    both = sorted(set(top(one, k).tolist()) & set(top(other, k).tolist()))
    return float((one[both].sign() == other[both].sign()).sum()) / k


def signed_rank_agreement(one: Tensor, other: Tensor, k: int) -> float:
    """The share that have the same place in both lists and the same sign."""
    first, second = top(one, k), top(other, k)
    return float(((first == second) & (one[first].sign() == other[first].sign())).double().mean())


def ranked(one: Tensor, other: Tensor, k: int) -> float:
    """Spearman's correlation of all sizes."""
    return float(rank_correlation(one.abs(), other.abs()))


def pairwise(one: Tensor, other: Tensor, k: int) -> float:
    """The share of pairs of parts that both put in the same order (or both call equal), from Kendall's τ-b."""
    from scipy.stats import kendalltau

    first, second = (torch.unique(each.abs(), return_inverse=True)[1] for each in (one, other))
    n = len(first)
    both = torch.unique(first * (n + 1) + second, return_counts=True)[1]
    ties = [float((count * (count - 1) // 2).sum()) for count in (first.bincount(), second.bincount(), both)]
    pairs = n * (n - 1) / 2
    apart = ((pairs - ties[0]) * (pairs - ties[1])) ** 0.5
    difference = float(kendalltau(first.numpy(), second.numpy()).statistic) * apart if apart else 0.0
    same = (pairs - ties[0] - ties[1] + ties[2] + difference) / 2
    return round(same + ties[2]) / pairs


MEASURES: dict[str, Callable[[Tensor, Tensor, int], float]] = {
    "FeatureAgreement": feature_agreement,
    "RankAgreement": rank_agreement,
    "SignAgreement": sign_agreement,
    "SignedRankAgreement": signed_rank_agreement,
    "RankCorrelation": ranked,
    "PairwiseRankAgreement": pairwise,
}
SIGNED = ("SignAgreement", "SignedRankAgreement")
WITHOUT_K = ("RankCorrelation", "PairwiseRankAgreement")


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """How far explanations of the same rows agree: ``values`` (measures, explanations, explanations, rows), or NaN.

    NaN stands where nothing can be compared: a map that is the same everywhere, or signs of a map of sizes. ``k`` is
    the number of parts in lists of the most important.

    Example:
        >>> import torch, pellucid as pl
        >>> found = pl.agreement([torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[3.0, -1.0, 2.0]])], k=2)
        >>> found.mean("SignAgreement").tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """

    names: tuple[str, ...]
    measures: tuple[str, ...]
    values: np.ndarray
    k: int

    def of(self, measure: str) -> np.ndarray:
        """(explanations, explanations, rows) of one measure."""
        if measure not in self.measures:
            do = nearest(measure, self.measures)
            raise OptionError(expected="a measure of agreement", got=repr(measure), do=do)
        return np.asarray(self.values[self.measures.index(measure)])

    def mean(self, measure: str = "RankCorrelation") -> np.ndarray:
        """(explanations, explanations) the mean over the rows where it is known."""
        values = self.of(measure)
        known = np.isfinite(values)
        total = np.where(known, values, 0).sum(-1)
        return np.where(known.any(-1), total / np.maximum(known.sum(-1), 1), np.nan)

    def figure(self, measure: str = "RankCorrelation") -> Matrix:
        """One measure of each two explanations, the mean over rows."""
        about = "" if measure in WITHOUT_K else f" among the {self.k} most important parts"
        rows = self.values.shape[-1]
        return Matrix(
            title=f"{spoken(measure)}{about}",
            caption=f"Mean over {rows} row{'s' * (rows != 1)}. Agreement is not truth.",
            values=self.mean(measure),
            row_names=self.names,
            column_names=self.names,
            limit=1.0,
            signed=measure == "RankCorrelation",
            sense="− opposite, + the same order",
        )

    def to_frame(self) -> Any:
        """One row a measure and pair of explanations, as a pandas frame."""
        import pandas

        return pandas.DataFrame(
            [
                {"measure": measure, "one": self.names[i], "other": self.names[j], "mean": self.mean(measure)[i, j]}
                for measure in self.measures
                for i in range(len(self.names))
                for j in range(i + 1, len(self.names))
            ]
        )

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        return f"Agreement of {', '.join(self.names)}: {self.words()}"

    def words(self) -> str:
        """The mean over all pairs, measure by measure, in one line."""
        pairs = np.triu_indices(len(self.names), 1)
        means = {measure: self.mean(measure)[pairs] for measure in self.measures}
        told = {measure: each[np.isfinite(each)] for measure, each in means.items()}
        return ", ".join(f"{spoken(name).lower()} {each.mean():.2f}" for name, each in told.items() if len(each))


def agreement(explanations: Sequence[Any], *, k: float = TOP, known: Any = None) -> Agreement:
    r"""How far two or more explanations of the same rows agree, by the six measures of Krishna et al.

    .. math:: \text{FA} = \tfrac1k |\operatorname{top}_k(|a|) \cap \operatorname{top}_k(|b|)|, \quad
        \text{RC} = \operatorname{corr}(\operatorname{rank}|a|, \operatorname{rank}|b|)

    RankAgreement asks for the same place in the list as well, SignAgreement for the same sign, SignedRankAgreement for
    both; PairwiseRankAgreement is the share of pairs that stand in the same order. ``k`` is a number of parts, or below
    1 a share of them. ``known`` coefficients (parts,) or (rows, parts) stand beside the explanations as one more.

    Shapes: results, or values (batch, …); channels of pictures are summed up, coarse maps of pictures are enlarged.
    Cost:   no model is asked.
    Raises: EmptyError for fewer than two; ShapeError for values of other rows or parts.
    Source: Krishna et al. 2022, arXiv:2202.01602, section 3; importance is size, as there.

    Example:
        >>> import torch, pellucid as pl
        >>> net, x = torch.nn.Linear(8, 1), torch.rand(5, 8)
        >>> found = pl.agreement([pl.IntegratedGradients()(net, x), pl.InputXGradient()(net, x)])
        >>> round(float(found.mean("RankCorrelation")[0, 1]), 3)
        1.0
    """
    read = [Read(each) for each in explanations]
    if known is not None:
        read.append(Read(known, "known coefficients"))
    if len(read) < 2:
        raise EmptyError(expected="two explanations or more", got=str(len(read)), do="Pass a list of results.")
    maps = together(read)
    names = tuple(each.name or f"explanation {i + 1}" for i, each in enumerate(read))
    count, rows, n = len(maps), len(maps[0]), maps[0].shape[1]
    size = list_size(k, n)
    values = np.full((len(MEASURES), count, count, rows), np.nan)
    for i in range(count):
        for j in range(i, count):
            blind = read[i].by_size or read[j].by_size
            for row in range(rows):
                found = compared(maps[i][row], maps[j][row], size, signs=not blind)
                values[:, i, j, row] = values[:, j, i, row] = found
    return Agreement(names=names, measures=tuple(MEASURES), values=values, k=size)


def list_size(k: float, n: int) -> int:
    """How many of ``n`` parts a list of the most important has.

    >>> list_size(0.25, 12), list_size(5, 3)
    (3, 3)
    """
    return max(1, min(n, round(k * n) if k < 1 else int(k)))


def compared(one: Tensor, other: Tensor, k: int, *, signs: bool) -> list[float]:
    """All measures of two maps (n,); NaN where there is nothing to compare."""
    if any(float(each.max() - each.min()) <= 1e-9 * float(each.abs().max()) for each in (one, other)):
        return [float("nan")] * len(MEASURES)
    asked = [(measure, signs or name not in SIGNED) for name, measure in MEASURES.items()]
    return [measure(one, other, k) if known else float("nan") for measure, known in asked]


class Read:
    """An explanation as values (batch, …): channels of a picture or series in one, and how it is to be read."""

    def __init__(self, given: Any, name: str = "") -> None:
        result = isinstance(given, Attribution)
        self.name = given.method.name if result else name
        self.by_size = result and given.method.folding == "norm"
        values = numbers(given.values if result else given)
        rank = given.about.rank if result else max(values.ndim - 2, 0) if values.ndim > 3 else 0
        if rank and values.ndim == rank + 2:
            values = values.norm(dim=1) if self.by_size else values.sum(1)
        self.space = bool(rank)
        self.values = values[None] if values.ndim == 1 else values


def together(read: list[Read]) -> list[Tensor]:
    """Maps (rows, n) on the same parts; maps of pictures and series are enlarged to the largest."""
    rows, shapes = max(len(each.values) for each in read), [each.values.shape[1:] for each in read]
    want = max(shapes, key=lambda shape: shape.numel())
    maps = []
    for each in read:
        values = each.values
        if each.space and values.shape[1:] != want and values.ndim == len(want) + 1:
            mode = ("linear", "bilinear", "trilinear")[len(want) - 1]
            values = interpolate(values[:, None], size=want, mode=mode)[:, 0]
        values = values.flatten(1)
        if values.shape[1] != want.numel() or len(values) not in (1, rows):
            got = f"{each.name or 'one'} with {tuple(each.values.shape)}"
            do = "Compare explanations of the same inputs at the same layer."
            raise ShapeError(expected=f"values for {rows} rows of {tuple(want)}", got=got, do=do)
        maps.append(values.expand(rows, -1))
    return maps


def spoken(measure: str) -> str:
    """A class name as words.

    >>> spoken("SignedRankAgreement")
    'Signed rank agreement'
    """
    words = "".join(f" {each.lower()}" if each.isupper() else each for each in measure)
    return words.strip().capitalize()
