"""Canvases: how a picture is written while it climbs. Each paints numbers u without bounds; the ground bounds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from pellucid.core.twin import twin_of
from pellucid.engines.points import generator
from pellucid.engines.spectrum import (
    amplitudes,
    colors_of,
    doubled,
    envelope_of,
    mean_of,
    mixed,
    odd,
    opponent,
    parametric,
    self_conjugate,
    space_of,
    spectrum_of,
    unmixed,
)
from pellucid.errors import InputError, OptionError, ShapeError

EDGE = 0.01
"""How near to its bounds a starting picture may come, as a share of the range: the sigmoid needs room."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is painted on: inputs of ``shape`` between ``low`` and ``high`` (both broadcast to it).

    ``rank`` is the number of spatial axes, ``start`` inputs (rows or 1, *shape) to begin from, ``sample`` inputs
    (n, *shape) whose statistics a canvas may take.
    """

    shape: tuple[int, ...]
    low: Tensor
    high: Tensor
    rank: int = 2
    seed: int = 0
    start: Tensor | None = None
    sample: Tensor | None = None

    def unit(self, inputs: Tensor) -> Tensor:
        """Inputs as shares of their range: [0, 1]."""
        return (inputs - self.low) / (self.high - self.low)

    def close(self, u: Tensor) -> Tensor:
        """Numbers without bounds as inputs, by a sigmoid."""
        return torch.addcmul(self.low, u.sigmoid(), self.high - self.low)

    def open(self, inputs: Tensor) -> Tensor:
        """Inputs as numbers without bounds; what lies at a bound is moved inside a little."""
        return self.unit(inputs).clamp(EDGE, 1 - EDGE).logit()

    def begun(self, numbers: Tensor) -> Tensor | None:
        """(rows, *shape) the starting inputs of some rows, opened."""
        if self.start is None:
            return None
        start = self.open(self.start)
        return start.expand(len(numbers), *self.shape) if len(start) == 1 else start[numbers.to(start.device)]

    def noise(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Normal numbers (rows, *shape) by (seed, row number)."""
        drawn = {
            int(k): torch.randn(shape, generator=generator(self.seed, int(k)), dtype=torch.float64)
            for k in numbers.unique()
        }
        return torch.stack([drawn[int(k)] for k in numbers]).to(self.low)


class Painter(Protocol):
    """A canvas on a ground: what ``Climb`` asks for."""

    def start(self, numbers: Tensor) -> list[Tensor]: ...

    def paint(self, parameters: list[Tensor]) -> Tensor: ...


class Surface(Protocol):
    """A canvas as the user writes it: how fast it climbs, and itself on a ground."""

    @property
    def rate(self) -> float: ...

    def on(self, ground: Ground) -> Painter: ...


def leaf(values: Tensor) -> Tensor:
    """Values as a parameter."""
    return values.detach().clone().requires_grad_()


# ------------------------------------------------------------------------------------------------------------- pixels


@dataclass(frozen=True, kw_only=True)
class Pixels:
    r"""Every number by itself, inside its bounds by a sigmoid; with ``norm``, on a ball of that radius instead.

    .. math:: x = l + (h - l)\,\sigma(u), \qquad\text{or}\qquad x = r\,u / \lVert u \rVert

    ``spread`` is the width of the noise it starts from, ``rate`` how fast it climbs.

    Example:
        >>> import torch, pellucid as pl
        >>> linear = torch.nn.Linear(4, 1, bias=False)
        >>> found = pl.visualize(linear, pl.Output(0), size=4, steps=300, canvas=pl.Pixels(norm=1.0))
        >>> bool(torch.cosine_similarity(found.inputs, linear.weight) > 1 - 1e-4)
        True
    """

    norm: float | None = None
    spread: float = 0.01
    rate: float = 0.1
    transparent: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.norm is not None and not self.norm > 0:
            raise OptionError(expected="Pixels(norm=…) above 0", got=repr(self.norm), do="Give a radius, or None.")

    def on(self, ground: Ground) -> Painter:
        """Itself on a ground."""
        return PixelPainter(self, ground)


@dataclass(frozen=True, eq=False)
class PixelPainter:
    """Pixels on a ground."""

    canvas: Pixels
    ground: Ground

    def start(self, numbers: Tensor) -> list[Tensor]:
        """The starting inputs, or noise around the mean."""
        if self.canvas.norm is not None and self.ground.start is not None:
            start = self.ground.start
            return [leaf(start.expand(len(numbers), *self.ground.shape) if len(start) == 1 else start[numbers])]
        begun = self.ground.begun(numbers)
        if begun is None:
            begun = self.canvas.spread * self.ground.noise(numbers, self.ground.shape)
            begun = begun + (0 if self.canvas.norm is not None else mean_of(self.ground))
        return [leaf(begun)]

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs."""
        (u,) = parameters
        if self.canvas.norm is None:
            return self.ground.close(u)
        return u * (self.canvas.norm / u.flatten(1).norm(dim=1).reshape(-1, *[1] * (u.ndim - 1)))


# ------------------------------------------------------------------------------------------------------------ Fourier


@dataclass(frozen=True, kw_only=True)
class Fourier:
    r"""Waves, the long ones easier to move than the short ones, as in natural pictures; colors decorrelated.

    .. math:: x = l + (h - l)\,\sigma(C\,F^{-1}(s \odot z) + m), \qquad s_f \propto f^{-\text{decay}}

    With data, C is the root of the covariance of their colors, s their mean spectrum and m their mean, place by place
    (in the spread, too) as far as places differ for sure, all before the sigmoid. ``contrast`` limits the root mean
    square of what is painted, in units of natural inputs. Without data, three channels have opponent colors with the
    spreads of natural pictures. Series have waves in time; inputs without space (table rows) are written number by
    number.

    Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill (preconditioning, decorrelation).

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, canvas=pl.Fourier(decay=1.5)).pictures.shape
        torch.Size([1, 1, 8, 8])
    """

    decay: float = 1.0
    contrast: float | None = None
    spread: float = 0.05
    rate: float = 0.05
    transparent: ClassVar[bool] = False

    def on(self, ground: Ground) -> Painter:
        """Itself on a ground."""
        if ground.rank == 0:
            return PixelPainter(Pixels(spread=self.spread, rate=self.rate), ground)
        colors = opponent(ground) if ground.sample is None else colors_of(ground)
        mean = mean_of(ground)
        scale = parametric(ground, self.decay) if ground.sample is None else spectrum_of(ground, colors, mean)
        return FourierPainter(self, ground, colors, mean, scale, envelope_of(ground))


@dataclass(frozen=True, eq=False)
class FourierPainter:
    """Waves on a ground: ``colors`` (channels, channels), ``mean`` (channels, 1, …), ``scale`` of each wave."""

    canvas: Fourier
    ground: Ground
    colors: Tensor
    mean: Tensor
    scale: Tensor
    envelope: Tensor

    def start(self, numbers: Tensor) -> list[Tensor]:
        """The waves of the starting inputs, or noise of the spectrum's form."""
        begun = self.ground.begun(numbers)
        if begun is None:
            waves = self.scale.shape[-self.ground.rank :]
            noise = self.ground.noise(numbers, (self.ground.shape[0], *waves, 2))
            stored = doubled(self.ground.shape[1:], self.ground.low)[..., None]  # half of a wave stored twice is lost
            return [leaf(self.canvas.spread * noise / stored.sqrt())]
        white = unmixed(self.colors, (begun - self.mean) / self.envelope)
        return [leaf(torch.view_as_real(amplitudes(white, self.ground.rank) / self.scale))]

    def white(self, parameters: list[Tensor]) -> Tensor:
        """The picture before colors and bounds."""
        waves = torch.view_as_complex(parameters[0]) * self.scale
        axes = space_of(self.ground.rank)
        white = torch.fft.irfftn(waves, s=self.ground.shape[1:], dim=axes, norm="ortho")
        if self.canvas.contrast is None:
            return white
        size = white.flatten(1).square().mean(1).sqrt() / self.canvas.contrast
        return white / size.clamp_min(1).reshape(-1, *[1] * (white.ndim - 1))

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs."""
        return self.ground.close(mixed(self.colors, self.white(parameters)) * self.envelope + self.mean)


# --------------------------------------------------------------------------------------------------------------- MACO


@dataclass(frozen=True, kw_only=True)
class MACO:
    r"""Waves of fixed magnitude, that of natural pictures: only their phases climb.

    .. math:: x = l + (h - l)\,\sigma(C\,F^{-1}(r\,e^{i\varphi}) + m)

    r is the mean magnitude over the data (of the starting picture, where there is one and no data), before the sigmoid;
    without either, :math:`f^{-\text{decay}}`. The picture is drawn on paper with the strength of its slopes as alpha:
    what the score never depended on stays blank.

    Source: Fel et al. 2023, arXiv:2306.06805.

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, canvas=pl.MACO()).transparency.shape
        torch.Size([1, 8, 8])
    """

    decay: float = 1.0
    rate: float = 0.15
    transparent: ClassVar[bool] = True

    def on(self, ground: Ground) -> Painter:
        """Itself on a ground."""
        if ground.rank == 0:
            do = "Use pl.Pixels()."
            raise ShapeError(expected="inputs with space or time, which have waves", got=str(ground.shape), do=do)
        colors = opponent(ground) if ground.sample is None else colors_of(ground)
        mean = mean_of(ground)
        if ground.sample is not None:
            scale = spectrum_of(ground, colors, mean, power=1)
        elif ground.start is None:
            scale = parametric(ground, self.decay)
        else:
            return MACOPainter(self, ground, colors, mean, None, envelope_of(ground))
        scale = scale.clone()
        scale.flatten(1)[:, 0] = 0  # the mean color is m
        return MACOPainter(self, ground, colors, mean, scale, envelope_of(ground))


@dataclass(frozen=True, eq=False)
class MACOPainter:
    """Phases on a ground; ``magnitude`` None is that of each row's starting picture."""

    canvas: MACO
    ground: Ground
    colors: Tensor
    mean: Tensor
    magnitude: Tensor | None
    envelope: Tensor

    def begun(self, numbers: Tensor) -> Tensor | None:
        """The waves of the starting inputs."""
        begun = self.ground.begun(numbers)
        return (
            None
            if begun is None
            else amplitudes(unmixed(self.colors, (begun - self.mean) / self.envelope), self.ground.rank)
        )

    def start(self, numbers: Tensor) -> list[Tensor]:
        """Phases, those of the starting inputs or any; and magnitudes, which need no gradient and stay.

        A magnitude is negative for a wave that must be real and was negative at the start.
        """
        waves = self.begun(numbers)
        if waves is None or self.magnitude is None:
            size = self.magnitude if waves is None else waves.abs()
        else:
            size = self.magnitude.expand_as(waves.real)
        if waves is None:
            size = torch.as_tensor(size).expand(self.ground.shape[0], *torch.as_tensor(size).shape[1:])
            phase = 3 * self.ground.noise(numbers, tuple(size.shape))
            return [leaf(phase), size.expand(len(numbers), *size.shape).clone()]
        flip = self_conjugate(self.ground) & (waves.real < 0)
        return [leaf(waves.angle()), torch.as_tensor(size) * torch.where(flip, -1.0, 1.0).to(self.ground.low)]

    def white(self, parameters: list[Tensor]) -> Tensor:
        """The picture before colors and bounds: its magnitudes are the fixed ones at every step."""
        phase, size = parameters
        turned = odd(phase, self.ground)
        waves = torch.complex(size * turned.cos(), size * turned.sin())
        axes = space_of(self.ground.rank)
        return torch.fft.irfftn(waves, s=self.ground.shape[1:], dim=axes, norm="ortho")

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs."""
        return self.ground.close(mixed(self.colors, self.white(parameters)) * self.envelope + self.mean)


# -------------------------------------------------------------------------------------------------------------- prior


@dataclass(frozen=True, eq=False, kw_only=True)
class Prior:
    """What a generator paints: ``module`` takes codes (rows, *code), standard normal, to inputs the model takes.

    Source: Nguyen et al. 2016, arXiv:1605.09304 (a learned prior for activation maximization).

    Example:
        >>> import torch, pellucid as pl
        >>> generator = torch.nn.Sequential(torch.nn.Linear(5, 64), torch.nn.Unflatten(1, (1, 8, 8)))
        >>> prior = pl.Prior(module=generator, code=(5,))
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, canvas=prior).inputs.shape
        torch.Size([1, 1, 8, 8])
    """

    module: nn.Module
    code: tuple[int, ...]
    rate: float = 0.05
    transparent: ClassVar[bool] = False

    def on(self, ground: Ground) -> Painter:
        """Itself on a ground."""
        if ground.start is not None:
            do = "Use pl.Fourier() or pl.Pixels(), or leave start= out."
            raise InputError(expected="a canvas that can begin from a picture", got="a learned prior", do=do)
        painter = PriorPainter(self, ground, twin_of(self.module))
        with torch.no_grad():
            painted = painter.paint(painter.start(torch.tensor([0])))
        if tuple(painted.shape[1:]) != ground.shape:
            do = "Let it give what the model takes."
            raise ShapeError(expected=f"a prior that paints {ground.shape}", got=str(tuple(painted.shape[1:])), do=do)
        return painter


@dataclass(frozen=True, eq=False)
class PriorPainter:
    """A generator over a ground."""

    canvas: Prior
    ground: Ground
    module: nn.Module

    def start(self, numbers: Tensor) -> list[Tensor]:
        """Codes."""
        return [leaf(self.ground.noise(numbers, self.canvas.code))]

    def paint(self, parameters: list[Tensor]) -> Tensor:
        """Inputs."""
        painted: Any = self.module(parameters[0])
        return painted
