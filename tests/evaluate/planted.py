"""Models whose truth is known, maps that are wrong on purpose, and games without a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import Attributor
from pellucid.core.probe import Probe
from pellucid.engines.points import generator
from pellucid.evaluate.bank import Bank, hidings
from pellucid.evaluate.layout import Layout
from pellucid.evaluate.ranks import within


def smooth(random: torch.Generator, reach: float, grid: tuple[int, ...]) -> Tensor:
    """Smooth noise on a grid that does not wrap around: white noise of a larger grid, blurred and cut."""
    large = [3 * size for size in grid]
    waves = torch.fft.fftn(torch.randn(*large, generator=random, dtype=torch.float64))
    for axis, size in enumerate(large):
        shape = [size if i == axis else 1 for i in range(len(large))]
        waves = waves * torch.exp(-2 * (math.pi * reach * torch.fft.fftfreq(size).double()) ** 2).reshape(shape)
    cut = torch.fft.ifftn(waves).real[tuple(slice(size) for size in grid)]
    return (cut - cut.mean()) / cut.std()


def spatial(grid: tuple[int, ...], parts: tuple[int, ...]) -> Layout:
    """A layout of cells on a grid, without a model."""
    part = torch.zeros((), dtype=torch.long)
    for cells, count in zip(grid, parts, strict=True):
        part = part[..., None] * count + torch.arange(cells) * count // cells
    n, words = math.prod(parts), {1: "series", 2: "picture"}[len(grid)]
    everything = torch.arange(math.prod(grid))
    return Layout((1, *grid), grid, grid, everything, part.reshape(-1), n, torch.zeros(n, dtype=torch.long), words)


def listed(n: int, words: str = "columns") -> Layout:
    """A layout of parts without space."""
    return Layout((n,), (n,), (), torch.arange(n), torch.arange(n), n, torch.zeros(n, dtype=torch.long), words)


def played(worth: Tensor, random: torch.Generator, *, mixed: float = 0.7, count: int = 128) -> Bank:
    """A bank of a game: what parts are worth (n,) adds up, beside interactions ``mixed`` times as strong."""
    n = len(worth)
    hidden = hidings(n, count, int(torch.randint(10**6, (), generator=random)))
    h, pairs = hidden.double(), torch.randn(n, n, generator=random, dtype=torch.float64)
    added, joint = (within(each, hidden.sum(1)) for each in (h @ worth, ((h @ pairs) * h).sum(1)))
    return Bank(hidden, added / added.std() + mixed * joint / joint.std(), 1.0, 0.0, 1e-9, 0, "nothing")


@dataclass(frozen=True, kw_only=True)
class Edges(Attributor):
    """Where the input changes from place to place: the model is never asked."""

    def attribute(self, ask: Probe) -> Tensor:
        x = ask.inputs
        return (x - x.roll(1, -1)).abs() + (x - x.roll(1, -2)).abs()


@dataclass(frozen=True, kw_only=True)
class Restless(Attributor):
    """The slope, hidden behind noise that is another one for every input."""

    def attribute(self, ask: Probe) -> Tensor:
        seeds = (ask.inputs.flatten(1).double().sum(1) * 1e6).abs().long().tolist()
        noise = [torch.randn(ask.inputs.shape[1:], generator=generator(seed, 0)) for seed in seeds]
        return torch.stack(noise).to(ask.inputs) * ask.gradient().abs().mean()


@dataclass(frozen=True, kw_only=True)
class Wrong(Attributor):
    """A smooth map of nothing, another one for every ``number``."""

    number: int = 0

    def attribute(self, ask: Probe) -> Tensor:
        grid = tuple(ask.inputs.shape[2:])
        return smooth(generator(self.number, 7), 1.0, grid).to(ask.inputs).expand(ask.inputs.shape).clone()


class Patches(nn.Module):
    """Pictures (batch, 1, 14, 14): two classes, told apart by bright spots at planted places."""

    def __init__(self) -> None:
        super().__init__()
        random = generator(3, 0)
        self.look = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.place = nn.Parameter(torch.zeros(2, 6, 14, 14))
        with torch.no_grad():
            self.look.weight.copy_(torch.randn(self.look.weight.shape, generator=random) / 3)
            self.norm.running_var.uniform_(0.5, 2.0, generator=random)
            where = smooth(random, 1.0, (14, 14)).float()
            self.place.copy_(torch.randn(2, 6, 1, 1, generator=random) * where / 30)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", torch.relu(self.norm(self.look(x))), self.place)


@lru_cache
def spots() -> tuple[pl.Model, Tensor]:
    """The planted picture model and 24 smooth pictures."""
    pictures = torch.stack([smooth(generator(5, k), 0.8, (14, 14)).float()[None] for k in range(24)])
    return pl.Model(Patches(), inputs=pl.Images(mean=(0.0,), std=(1.0,))), pictures


def linear(n: int = 12) -> tuple[nn.Linear, Tensor, Tensor]:
    """A linear model, one row, and the exact values of its columns."""
    net = nn.Linear(n, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(1, n, generator=generator(1, 0), dtype=torch.float64))
        net.weight[0, 0] += 3
    x = 1 + torch.rand(1, n, generator=generator(2, 0), dtype=torch.float64)
    return net, x, net.weight.detach() * x
