"""Coalitions: which subsets of players to ask. Rows are coalitions (k, n) bool.

Designs are drawn whole and read in shares: what a share asks is asked by every larger share, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, comb

import numpy as np
import torch
from torch import Tensor

from pellucid.engines.points import generator

BLOCK = 256


def every(n: int) -> Tensor:
    """All 2ⁿ coalitions in counting order; player 0 is the lowest bit.

    >>> every(2).int().tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    return (torch.arange(2**n)[:, None] >> torch.arange(n)) & 1 == 1


def one_out(n: int) -> Callable[[Tensor], Tensor]:
    """Everyone but one player, made when needed: numbers (k,) → (k, n)."""

    def make(numbers: Tensor) -> Tensor:
        return torch.ones(len(numbers), n, dtype=torch.bool).scatter(1, numbers[:, None], False)

    return make


def bernoulli(count: int, n: int, keep: float, seed: int, coins: int = 0) -> Tensor:
    """Random coalitions (count, n + coins): players stay with probability ``keep``, coins are fair.

    A larger count draws what a smaller one drew, and more.

    >>> torch.equal(bernoulli(300, 6, 0.5, seed=0)[:10], bernoulli(10, 6, 0.5, seed=0))
    True
    """
    random = generator(seed, n, 3)
    blocks = [torch.rand(BLOCK, n + coins, generator=random, dtype=torch.float64) for _ in range(ceil(count / BLOCK))]
    return torch.cat(blocks)[:count] < torch.tensor([keep] * n + [0.5] * coins)


def orders(n: int, count: int, seed: int) -> Tensor:
    """``count`` random orders of the players (count, n): row r lists players, first comer first.

    >>> orders(4, 3, 0).sort(1).values.tolist()
    [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
    """
    random = generator(seed, n, 1)
    blocks = [torch.rand(BLOCK, n, generator=random).argsort(1) for _ in range(ceil(count / BLOCK))]
    return torch.cat(blocks)[:count]


def comers(order: Tensor) -> Tensor:
    """Who is there after 1, 2, … n − 1 arrivals: orders (k, n) → coalitions (k, n − 1, n).

    >>> comers(torch.tensor([[2, 0, 1]])).int().tolist()
    [[[0, 0, 1], [1, 0, 1]]]
    """
    n = order.shape[1]
    return order.argsort(1)[:, None, :] < torch.arange(1, n)[None, :, None]


@dataclass(frozen=True, eq=False)
class Stratum:
    """Coalitions of one size, and of its complement: rows 2i and 2i + 1 are complements.

    ``mass`` is what all coalitions of the stratum weigh together, ``there`` how many pairs exist.
    """

    pairs: Tensor
    mass: float
    there: int

    def share(self, of: float) -> Stratum:
        """The first share of the pairs, at least one."""
        return Stratum(self.pairs[: 2 * ceil(of * len(self.pairs) / 2)], self.mass, self.there)


@dataclass(frozen=True, eq=False)
class Design:
    """Coalitions by size with regression weights, in complementary pairs."""

    strata: tuple[Stratum, ...]

    @property
    def coalitions(self) -> Tensor:
        """(k, n), rows 2i and 2i + 1 complements."""
        return torch.cat([each.pairs for each in self.strata])

    @property
    def weights(self) -> Tensor:
        """(k,): each coalition stands for its size's mass divided by how many were drawn."""
        counts = [(each.mass / len(each.pairs), len(each.pairs)) for each in self.strata]
        return torch.cat([torch.full((k,), weight, dtype=torch.float64) for weight, k in counts])

    @property
    def open(self) -> Tensor:
        """(pairs,): 1 minus the sampled share of each pair's stratum."""
        halves = [(each, len(each.pairs) // 2) for each in self.strata]
        return torch.cat([torch.full((m,), 1 - m / each.there, dtype=torch.float64) for each, m in halves])

    def share(self, of: float) -> Design:
        """The same design with the first share of each size."""
        return Design(tuple(each.share(of) for each in self.strata))


Masses = Callable[[int, int], float]


def shapley_mass(n: int, s: int) -> float:
    """What all coalitions of size s weigh in the regression whose solution is the Shapley values."""
    return (n - 1) / (s * (n - s))


def even_mass(n: int, s: int) -> float:
    """Every size alike: the leverage scores of the Shapley regression."""
    return 1.0


def count_mass(n: int, s: int) -> float:
    """As many as there are: every coalition alike, the regression whose solution is the Banzhaf values."""
    return comb(n, s) / 2**n


def paired(n: int, budget: int, seed: int, mass: Masses = shapley_mass, drawn: Masses | None = None) -> Design:
    """At most ``budget`` distinct coalitions, each with its complement, stratified by size.

    Sizes get pairs in proportion to ``drawn`` (``mass`` without); a size whose subsets all fit is taken whole. Within a
    size subsets are drawn uniformly without replacement, so a larger budget asks what a smaller one asked, and more.

    >>> paired(4, 8, seed=0).coalitions.sum(1).tolist()
    [1, 3, 1, 3, 1, 3, 2, 2]
    """
    halves = range(1, n // 2 + 1)
    once = {s: 2 * s == n for s in halves}
    there = {s: comb(n, s) // (1 + once[s]) for s in halves}
    wanted = {s: (drawn or mass)(n, s) * (2 - once[s]) for s in halves}
    strata = []
    for s, m in shared_out(wanted, there, budget // 2).items():
        some = subsets(n, s, m, generator(seed, n, s), whole=m == there[s], once=once[s])
        pairs = torch.stack([some, ~some], 1).reshape(-1, n)
        strata.append(Stratum(pairs, mass(n, s) * (2 - once[s]), there[s]))
    return Design(tuple(strata))


def shared_out(mass: dict[int, float], there: dict[int, int], pairs: int) -> dict[int, int]:
    """How many pairs each size gets: in proportion to mass, never more than there are."""
    given, left, open_sizes = dict.fromkeys(mass, 0), pairs, dict(mass)
    while left > 0 and open_sizes:
        total = sum(open_sizes.values())
        full = [s for s in open_sizes if left * open_sizes[s] / total >= there[s] - given[s]]
        if not full:
            break
        for s in full:
            left -= there[s] - given[s]
            given[s] = there[s]
            del open_sizes[s]
    total = sum(open_sizes.values()) or 1.0
    shares = {s: left * each / total for s, each in open_sizes.items()}
    for s, share in shares.items():
        given[s] = int(share)
    rest = left - sum(given[s] for s in shares)
    for s in sorted(shares, key=lambda s: shares[s] - int(shares[s]), reverse=True)[: max(rest, 0)]:
        given[s] += 1
    return {s: m for s, m in given.items() if m > 0}


def subsets(n: int, size: int, count: int, random: torch.Generator, *, whole: bool, once: bool) -> Tensor:
    """``count`` distinct subsets of a size (count, n); ``once`` keeps one of each complementary pair."""
    if whole:
        members = [each for each in itertools.combinations(range(n), size) if not once or each[0] == 0]
        return torch.zeros(len(members), n, dtype=torch.bool).scatter(1, torch.tensor(members), True)
    found: dict[bytes, Tensor] = {}
    while len(found) < count:
        order = torch.rand(BLOCK, n, generator=random).argsort(1)[:, :size]
        drawn = torch.zeros(BLOCK, n, dtype=torch.bool).scatter(1, order, True)
        if once:
            drawn = torch.where(drawn[:, :1], drawn, ~drawn)
        for key, row in zip(keys_of(drawn), drawn, strict=True):
            found.setdefault(key, row)
    return torch.stack(list(itertools.islice(found.values(), count)))


def keys_of(coalitions: Tensor) -> list[bytes]:
    """One short key a coalition (k, n)."""
    packed = np.packbits(coalitions.cpu().numpy(), axis=1)
    return [row.tobytes() for row in packed]
