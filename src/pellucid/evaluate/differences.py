"""Differences between methods over inputs: means with intervals, paired differences with p-values.

Inputs that belong together (one patient, one film) are drawn together: a cluster is the unit of all resampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from pellucid.engines.points import generator
from pellucid.evaluate.thresholds import ALPHA
from pellucid.evaluate.verdict import holm

RESAMPLES = 2000
FLIPS = 9999
FEWEST = 5
"""Clusters that an interval needs: the bootstrap cannot reach beyond the most extreme of them."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over inputs with its 95 % interval, from ``count`` inputs; NaN where there is none."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if not self.count:
            return "–"
        ends = "" if not np.isfinite(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{ends}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better ``one`` is than ``other`` in a metric, over the inputs where both are known.

    ``mean`` and its interval are in the metric's units, positive where ``one`` is better; ``wins`` is the share of
    inputs where it is (ties count half), ``p`` the p-value of no difference, ``p_holm`` corrected for all pairs.
    """

    one: str
    other: str
    metric: str
    mean: Mean
    wins: float
    p: float
    p_holm: float

    @property
    def told_apart(self) -> bool:
        """Whether the two differ by more than chance."""
        return self.p_holm <= ALPHA

    def __str__(self) -> str:
        if not self.mean.count:
            return f"{self.one} and {self.other} cannot be compared by {self.metric}"
        first = self if self.mean.value >= 0 else self.turned()
        numbers = f"{first.mean} in {self.metric}, on {100 * first.wins:.0f} % of inputs, p = {self.p_holm:.2g}"
        if not self.told_apart:
            return f"{self.one} and {self.other} cannot be told apart ({first.one} is better by {numbers})"
        return f"{first.one} is better than {first.other} (by {numbers})"

    def turned(self) -> Difference:
        """The same difference, seen from the other method."""
        mean = replace(self.mean, value=-self.mean.value, low=-self.mean.high, high=-self.mean.low)
        return replace(self, one=self.other, other=self.one, mean=mean, wins=1 - self.wins)


def mean_of(values: np.ndarray, clusters: np.ndarray, seed: int) -> Mean:
    """The mean of values (inputs,), NaN left out, with a bootstrap interval over clusters (inputs,) of numbers.

    The percentiles are widened for few clusters as Student's t is wider than the normal (Hesterberg 2015,
    arXiv:1411.5279: the expanded percentile interval); fewer than five have no interval.
    """
    from scipy.stats import norm, t

    sums, counts = summed(values, clusters)
    if not len(counts):
        return Mean(value=float("nan"), low=float("nan"), high=float("nan"), count=0)
    n, total = len(counts), int(counts.sum())
    value = float(sums.sum() / total)
    if n < FEWEST:
        return Mean(value=value, low=float("nan"), high=float("nan"), count=total)
    drawn = torch.randint(n, (RESAMPLES, n), generator=generator(seed, n)).numpy()
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    tail = norm.cdf(t.ppf(ALPHA / 2, n - 1) * (n / (n - 1)) ** 0.5)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Mean(value=value, low=float(low), high=float(high), count=total)


def p_of(differences: np.ndarray, clusters: np.ndarray, seed: int) -> float:
    """The p-value of no difference: signs of whole clusters flipped, all ways or at random (two-sided).

    Exact where one method's number is as likely to be above the other's as below it by the same amount.
    """
    sums, _ = summed(differences, clusters)
    n = len(sums)
    if not n or not np.any(sums):
        return 1.0
    if 2**n <= FLIPS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        extra = 0
    else:
        signs = 2 * torch.randint(2, (FLIPS, n), generator=generator(seed, n)).numpy() - 1
        extra = 1
    found = np.abs(signs @ sums) >= abs(sums.sum()) * (1 - 1e-9)
    return float((found.sum() + extra) / (len(signs) + extra))


def summed(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of known values by cluster, clusters without any left out."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(0), np.zeros(0)
    index = np.unique(clusters[known], return_inverse=True)[1].reshape(-1)
    return np.bincount(index, weights=values[known]), np.bincount(index).astype(float)


def paired(
    values: np.ndarray, names: tuple[str, ...], metric: str, sign: int, clusters: np.ndarray, seed: int
) -> tuple[Difference, ...]:
    """All pairs of methods: ``values`` (methods, inputs), better where higher times ``sign``; Holm over the pairs."""
    made = []
    for i, j in combinations(range(len(names)), 2):
        difference = sign * (values[i] - values[j])
        known = difference[np.isfinite(difference)]
        wins = float((known > 0).mean() + (known == 0).mean() / 2) if len(known) else float("nan")
        made.append((i, j, mean_of(difference, clusters, seed), wins, p_of(difference, clusters, seed)))
    corrected = holm([each[-1] for each in made])
    return tuple(
        Difference(one=names[i], other=names[j], metric=metric, mean=mean, wins=wins, p=p, p_holm=p_holm)
        for (i, j, mean, wins, p), p_holm in zip(made, corrected, strict=True)
    )
