"""Statistics that a canvas is written in: colors, means and the strengths of waves, from data or from a law.

All are those of numbers without bounds (inputs before the ground's sigmoid). Waves are orthonormal real Fourier
transforms over the last ``rank`` axes, so that sums of squares are kept (Parseval).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
LEAST = 0.1
SPREADS = (0.46, 0.13, 0.06)
"""Standard deviations of natural pictures along gray, blue-yellow and green-magenta, as Olah et al. 2017 use them."""


def space_of(rank: int) -> tuple[int, ...]:
    """The last ``rank`` axes."""
    return tuple(range(-rank, 0))


def amplitudes(values: Tensor, rank: int) -> Tensor:
    """The waves of (…, *space) values."""
    return torch.fft.rfftn(values, dim=space_of(rank), norm="ortho")


def frequencies(space: tuple[int, ...], like: Tensor) -> Tensor:
    """Cycles per place of every wave, never below one cycle over the longest side."""
    axes = [torch.fft.fftfreq(n, dtype=torch.float64) for n in space[:-1]]
    axes.append(torch.fft.rfftfreq(space[-1], dtype=torch.float64))
    squares = sum(each**2 for each in torch.meshgrid(*axes, indexing="ij"))
    return torch.as_tensor(squares).sqrt().clamp_min(1 / max(space)).to(like)


def doubled(space: tuple[int, ...], like: Tensor) -> Tensor:
    """How often each wave of a half spectrum stands in the whole one: twice, but for those of its edges."""
    counts = torch.full((space[-1] // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    counts[0] = 1
    if space[-1] % 2 == 0:
        counts[-1] = 1
    return counts.expand(*space[:-1], -1)


def parametric(ground: Any, decay: float) -> Tensor:
    """Strengths (1, *waves) that fall with frequency by a power law; the white picture they make has variance 1."""
    space = ground.shape[1:]
    scale = frequencies(space, ground.low) ** -decay
    power = (scale.square() * doubled(space, scale)).sum() / torch.Size(space).numel()
    return (scale / power.sqrt())[None]


def spectrum_of(ground: Any, colors: Tensor, mean: Tensor, power: int = 2) -> Tensor:
    """Strengths (channels, *waves) of a sample: root mean square, or with ``power`` 1 the mean magnitude."""
    white = unmixed(colors, (ground.open(ground.sample) - mean) / envelope_of(ground))
    found: Tensor = amplitudes(white, ground.rank).abs().pow(power).mean(0).pow(1 / power)
    return found.clamp_min(1e-2 * float(found.mean()))


def mean_of(ground: Any) -> Tensor:
    """The mean before the sigmoid: of each place of a sample as far as they differ for sure; else mid-range."""
    if ground.sample is None:
        return ground.low.new_zeros([1] * len(ground.shape))
    opened: Tensor = ground.open(ground.sample)
    over = (0, *[axis + opened.ndim for axis in space_of(ground.rank)])
    overall, here = opened.mean(over, keepdim=True)[0], opened.mean(0)
    if ground.rank == 0:
        return overall
    return overall + shrunk(here - overall, opened.var(0) / len(opened))


def envelope_of(ground: Any) -> Tensor:
    """How much a sample varies at each place (1, *space), relative to the mean over places; 1 without a sample."""
    if ground.sample is None or ground.rank == 0:
        return ground.low.new_ones([1] * len(ground.shape))
    opened: Tensor = ground.open(ground.sample)
    spread = opened.var(0).mean(0, keepdim=True).sqrt()
    spread = (spread / spread.square().mean().sqrt().clamp_min(1e-12)).clamp_min(LEAST)
    told = shrunk(spread.log(), torch.full_like(spread, 0.5 / len(opened)))
    return told.exp()


def shrunk(told: Tensor, noise: Tensor) -> Tensor:
    """Differences between places, drawn to zero as far as they may be sampling noise of this variance."""
    real = 1 - noise.mean() / told.square().mean().clamp_min(1e-12)
    return told * real.clamp_min(0)


def opponent(ground: Any) -> Tensor:
    """A root of the covariance of colors without data: opponent colors for three channels, none for other numbers."""
    n = ground.shape[0]
    if n != 3 or ground.rank != 2:
        return torch.eye(n, dtype=ground.low.dtype, device=ground.low.device)
    axes = torch.tensor(OPPONENT, dtype=torch.float64)
    axes = axes / axes.norm(dim=1, keepdim=True)
    spreads = torch.tensor(SPREADS, dtype=torch.float64)
    spreads = spreads * (3 / spreads.square().sum()).sqrt()  # as much variance a channel as without colors
    return (axes.T * spreads).to(ground.low)


def colors_of(ground: Any) -> Tensor:
    """The symmetric root of the covariance of a sample's channels over all places."""
    white = (ground.open(ground.sample) - mean_of(ground)) / envelope_of(ground)
    opened = white.movedim(1, 0).flatten(1).double()
    covariance = torch.cov(opened).reshape(len(opened), len(opened))
    values, vectors = torch.linalg.eigh(covariance)
    floor = 1e-4 * float(values.max()) or 1.0
    return (vectors * values.clamp_min(floor).sqrt() @ vectors.T).to(ground.low)


def mixed(colors: Tensor, white: Tensor) -> Tensor:
    """(rows, channels, *space) with correlated channels: covariance C Cᵀ where that of ``white`` is 1."""
    if len(colors) == 1:
        return white * colors[0, 0]
    return torch.matmul(colors, white.flatten(2)).reshape(white.shape)


def unmixed(colors: Tensor, painted: Tensor) -> Tensor:
    """The inverse of ``mixed``."""
    return torch.linalg.solve(colors, painted.flatten(2)).reshape(painted.shape)


def self_conjugate(ground: Any) -> Tensor:
    """Waves (*waves) that are their own mirror image, and so are real in the spectrum of real values."""
    *rest, last = ground.shape[1:]
    edge = torch.zeros(last // 2 + 1, dtype=torch.bool)
    edge[0] = True
    edge[-1] |= last % 2 == 0
    found = edge
    for n in reversed(rest):
        middle = torch.zeros(n, dtype=torch.bool)
        middle[0] = True
        if n % 2 == 0:
            middle[n // 2] = True
        found = middle.reshape(-1, *[1] * found.ndim) & found
    return found.to(ground.low.device)


def odd(phase: Tensor, ground: Any) -> Tensor:
    """Phases (…, *waves) of real values: where a wave and its mirror image are both stored, they are opposite."""
    last, rank = ground.shape[-1], ground.rank
    edges = [0, last // 2] if last % 2 == 0 and last > 1 else [0]
    parts = list(phase.split(1, dim=-1))
    for i in edges:
        mirrored = parts[i]
        for axis in range(-rank, -1):
            mirrored = mirrored.flip(axis).roll(1, axis)
        parts[i] = (parts[i] - mirrored) / 2
    return torch.cat(parts, -1)
