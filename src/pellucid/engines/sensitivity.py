"""Sensitivity: how much of a score's variation random masks explain, part by part, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.errors import OptionError

NUMBERS = 2**21


@dataclass(frozen=True, eq=False)
class Swapped:
    """Design of Sobol' indices: a row is A, B, and A with each column in turn from B; n + 2 masks in [0, 1]ⁿ a row."""

    a: Tensor
    b: Tensor

    def __call__(self, numbers: Tensor) -> Tensor:
        """Masks (k, n) by number, row by row."""
        n = self.a.shape[1]
        row, column = numbers // (n + 2), numbers % (n + 2) - 2
        masks = torch.where((column == -1)[:, None], self.b[row], self.a[row])
        swap = (column >= 0).nonzero()[:, 0]
        masks[swap, column[swap]] = self.b[row[swap], column[swap]]
        return masks


def swapped(n: int, rows: int, seed: int) -> Swapped:
    """``rows`` rows, A and B each a scrambled Sobol' sequence in n dimensions; a longer design begins with a shorter.

    The rows of B are shuffled between powers of two: some dimensions of one long sequence go together so badly that
    indices are wrong by half with no sign of it, while shuffled ones have errors as small, and honest.
    """
    import numpy as np
    from scipy.stats import qmc

    if n > qmc.Sobol.MAXDIM:
        raise OptionError(expected=f"at most {qmc.Sobol.MAXDIM} parts", got=str(n), do="Use fewer features.")
    random, power = np.random.default_rng(seed), (max(rows, 2) - 1).bit_length()
    a, b = (qmc.Sobol(n, scramble=True, seed=random) for _ in range(2))
    shuffled = [np.arange(1), *(2**k + random.permutation(2**k) for k in range(power))]
    first, second = a.random_base2(power), b.random_base2(power)[np.concatenate(shuffled)]
    return Swapped(torch.from_numpy(first[:rows]), torch.from_numpy(second[:rows]))


def total_indices(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Jansen's total indices (n, batch) from the scores (rows, n + 2, batch) of a design, and standard errors.

    Errors are those of a ratio of means over independent rows (delta method).
    """
    still, scores = unmoved(scores[:, :2].flatten(0, 1)), scores.cpu().double()
    a, b = scores[:, 0], scores[:, 1]
    steps = (a[:, None] - scores[:, 2:]).square() / 2
    middle = (a + b).mean(0) / 2
    spread = ((a - middle).square() + (b - middle).square()) / 2
    rows, variance = len(a), spread.mean(0)
    inverse = torch.where(still, 0, 1 / variance)
    ratio = steps.mean(0) * inverse
    error = ((steps - spread[:, None] * ratio) * inverse).std(0) / rows**0.5
    return ratio * (1 - 0.5 / rows), error


def exact_total_indices(scores: Tensor, n: int) -> Tensor:
    """Total indices (n, batch) of yes/no parts from the scores of all 2ⁿ coalitions in counting order."""
    still, scores = unmoved(scores), scores.cpu().double()
    numbers = torch.arange(len(scores))
    steps = torch.stack([(scores - scores[numbers ^ (1 << i)]).square().mean(0) for i in range(n)]) / 4
    return steps * torch.where(still, 0, 1 / scores.var(0, correction=0))


def dependence(coalitions: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalized HSIC (n, batch) of parts (k, n) and scores (k, batch), standard errors, and what chance gives.

    V-statistics with the kernel δ(m, m′) of parts and a Gaussian kernel of scores, as wide as their median difference.
    """
    still, scores = unmoved(scores).tolist(), scores.cpu().double()
    z = coalitions.double() - coalitions.double().mean(0)
    none = torch.zeros(z.shape[1], dtype=torch.float64)
    found = [(none, none, none[:1].sum()) if flat else hsic(z, y) for flat, y in zip(still, scores.T, strict=True)]
    values, errors, chance = (torch.stack(each, -1) for each in zip(*found, strict=True))
    return values, errors, chance


def hsic(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """R = zᵀLz / (zᵀz ‖L‖) of centered parts z (k, n) and one example's y (k,), L its doubly centered kernel.

    The error is the spread of the influence of single draws, and that of chance (√2 / k), where the former vanishes.
    """
    count, width = len(y), bandwidth(y)
    parts = torch.arange(count).split(max(1, NUMBERS // count))

    def kernel(rows: Tensor) -> Tensor:
        return torch.exp(-(y[rows, None] - y).square() / (2 * width**2))

    means = torch.cat([kernel(rows).mean(1) for rows in parts])
    mine, square, trace = [], [], torch.zeros((), dtype=torch.float64)
    for rows in parts:
        centered = kernel(rows) - means[rows, None] - means + means.mean()
        mine.append(z[rows] * (centered @ z) / count)
        square.append(centered.square().mean(1))
        trace = trace + centered[torch.arange(len(rows)), rows].sum()
    influence, own = torch.cat(mine), torch.cat(square)
    spread, size = z.square().mean(0), own.mean()
    inverse = torch.where(spread > 0, 1 / (spread * size.sqrt()), 0)
    ratio = influence.mean(0) * inverse
    each = 2 * influence * inverse - ratio * (z.square() / spread.clamp_min(1e-300) + (own / size)[:, None])
    error = (each.var(0) / count + 2 / count**2).sqrt()
    return ratio, error, trace / (count - 1) / (count * size.sqrt())


def bandwidth(y: Tensor) -> Tensor:
    """The median difference of unequal scores (k,), of at most 2,048 of them."""
    some = y[torch.randperm(len(y), generator=generator(0))[:2048], None]
    apart = torch.pdist(some)
    apart = apart[apart > 1e-12 * y.abs().max()]
    return apart.median() if len(apart) else y.max() - y.min()


def unmoved(scores: Tensor) -> Tensor:
    """(batch,) whether scores (k, batch) differ by rounding only."""
    moved = scores.amax(0) - scores.amin(0)
    return (moved <= 64 * torch.finfo(scores.dtype).eps * scores.abs().amax(0)).cpu()
