"""Coalitions: which subsets of players to ask. Rows are coalitions (k, n) bool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from pellucid.engines.points import generator


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


@dataclass(frozen=True, eq=False)
class Design:
    """Coalitions with regression weights; rows 2i and 2i + 1 are complements. ``open`` is 1 minus the sampled share."""

    coalitions: Tensor
    weights: Tensor
    open: Tensor


def paired_kernel(n: int, budget: int, seed: int) -> Design:
    """At most ``budget`` coalitions for the Shapley kernel: distinct, paired with complements, stratified by size.

    Sizes get pairs in proportion to their kernel mass (n − 1) / (s (n − s)); a size whose subsets all fit is taken
    whole, the largest masses first. Within a size subsets are drawn uniformly without replacement, and each stands for
    its size's mass divided by how many were drawn.
    """
    halves = range(1, n // 2 + 1)
    mass = {s: (n - 1) / (s * (n - s)) * (1 if 2 * s == n else 2) for s in halves}
    there = {s: comb(n, s) // (2 if 2 * s == n else 1) for s in halves}
    pairs = shared_out(mass, there, budget // 2)
    random = generator(seed, n)
    rows, weights, left = [], [], []
    for s, m in pairs.items():
        some = subsets(n, s, m, random, whole=m == there[s], once=2 * s == n)
        both = torch.stack([some, ~some], 1).reshape(-1, n)
        rows.append(both)
        weights.append(torch.full((len(both),), mass[s] / len(both), dtype=torch.float64))
        left.append(torch.full((len(both),), 1 - m / there[s], dtype=torch.float64))
    return Design(torch.cat(rows), torch.cat(weights), torch.cat(left))


def shared_out(mass: dict[int, float], there: dict[int, int], pairs: int) -> dict[int, int]:
    """How many pairs each size gets: in proportion to mass, never more than there are, at least one where possible."""
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
        import itertools

        members = [each for each in itertools.combinations(range(n), size) if not once or each[0] == 0]
        return torch.zeros(len(members), n, dtype=torch.bool).scatter(1, torch.tensor(members), True)
    found: dict[bytes, Tensor] = {}
    while len(found) < count:
        order = torch.rand(count, n, generator=random).argsort(1)[:, :size]
        drawn = torch.zeros(count, n, dtype=torch.bool).scatter(1, order, True)
        if once:
            drawn = torch.where(drawn[:, :1], drawn, ~drawn)
        for row in drawn:
            if len(found) < count:
                found.setdefault(row.numpy().tobytes(), row)
    return torch.stack(list(found.values()))
