"""Colors of maps: perceptually even scales with zero pinned to the neutral color.

Each arm of a scale runs from the neutral color along a curve in CIELAB: lightness and chroma follow a quadratic
curve, hue turns evenly, and points are spaced by their distance in CIELAB, so that equal steps in value are equal steps
to the eye. The arms of a signed scale mirror each other in lightness: warm pushes towards, cool pushes away. A scale on
light ground ends dark, one on dark ground ends light.

Values become an index 0 … 240: signed ones have their zero at 120, unsigned ones at 0. A map is one gray picture of
indexes; painters or the filters of a page look the colors up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

STEPS = 120
LEVELS = 16
WHITE = np.array([0.95047, 1.0, 1.08883])
TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
)


@dataclass(frozen=True)
class Arm:
    """A curve in lightness and chroma from the neutral color over a middle point to the end, and the hues it passes."""

    neutral: float
    middle: tuple[float, float]
    end: tuple[float, float]
    hues: tuple[float, float]

    def colors(self, steps: int) -> NDArray[np.floating]:
        """sRGB (steps + 1, 3) in 0 … 1, evenly spaced in CIELAB."""
        t = np.linspace(0, 1, 2001)[:, None]
        curve = (1 - t) ** 2 * (self.neutral, 0.0) + 2 * t * (1 - t) * self.middle + t**2 * self.end
        hue = np.deg2rad(self.hues[0] + (self.hues[1] - self.hues[0]) * t[:, 0])
        lab = np.stack([curve[:, 0], curve[:, 1] * np.cos(hue), curve[:, 1] * np.sin(hue)], 1)
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))]
        even = np.linspace(0, length[-1], steps + 1)
        return srgb(np.stack([np.interp(even, length, lab[:, i]) for i in range(3)], 1))


# Keys: ground is dark, sign. A sign of 0 is the unsigned scale.
ARMS = {
    (False, -1): Arm(97, (74, 42), (28, 38), (250, 284)),
    (False, 1): Arm(97, (74, 42), (28, 38), (72, 34)),
    (False, 0): Arm(97, (72, 36), (25, 34), (120, 300)),
    (True, -1): Arm(10, (44, 44), (84, 26), (288, 248)),
    (True, 1): Arm(10, (44, 44), (84, 26), (34, 74)),
    (True, 0): Arm(10, (46, 36), (92, 40), (300, 110)),
}


def srgb(lab: NDArray[np.floating]) -> NDArray[np.floating]:
    """CIELAB (…, 3) under D65 as sRGB in 0 … 1."""
    level = (lab[..., 0] + 16) / 116
    f = np.stack([level + lab[..., 1] / 500, level, level - lab[..., 2] / 200], -1)
    light = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * WHITE @ TO_RGB.T
    return np.clip(np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055), 0, 1)


@cache
def table(signed: bool, dark: bool = False) -> NDArray[np.floating]:
    """The color of every index: sRGB (241, 3) in 0 … 1."""
    if not signed:
        return ARMS[dark, 0].colors(2 * STEPS)
    away, towards = ARMS[dark, -1].colors(STEPS), ARMS[dark, 1].colors(STEPS)
    return np.concatenate([away[:0:-1], towards])


def neutral(dark: bool = False) -> NDArray[np.floating]:
    """The color of zero, (3,)."""
    return table(True, dark)[STEPS]


@cache
def cover(signed: bool, dark: bool = False) -> NDArray[np.floating]:
    """How much of the ground each index hides, (241,): nothing at zero, nearly all at the end."""
    zero = neutral(dark)
    away = table(signed, dark) - zero
    least = np.abs(away) / np.where(away > 0, 1 - zero, zero)
    size = np.abs(np.linspace(-1 if signed else 0, 1, 2 * STEPS + 1))
    return np.clip(np.maximum(least.max(1), size**0.7), 0, 1)


@cache
def pigment(signed: bool, dark: bool = False) -> NDArray[np.floating]:
    """The colors (241, 3) that, laid over the neutral color as thickly as ``cover`` says, give those of the table."""
    zero, thick = neutral(dark), cover(signed, dark)[:, None]
    return np.clip(zero + (table(signed, dark) - zero) / np.where(thick > 0, thick, 1), 0, 1)


def share(values: NDArray[np.floating], limit: float, signed: bool) -> NDArray[np.floating]:
    """Values as a share of the limit, −1 … 1 or 0 … 1; what is not a number becomes zero."""
    limit = float(limit) if np.isfinite(limit) and limit > 0 else 1.0
    values = np.nan_to_num(np.asarray(values, dtype=float), nan=0.0, posinf=limit, neginf=-limit)
    return np.clip(values / limit, -1.0 if signed else 0.0, 1.0)


def index(values: NDArray[np.floating], limit: float, signed: bool) -> NDArray[np.uint8]:
    """Values as indexes into the table.

    >>> index(np.array([-2.0, 0.0, 1.0, np.nan]), 2.0, True)
    array([  0, 120, 180, 120], dtype=uint8)
    """
    part = share(values, limit, signed)
    return np.rint(STEPS + STEPS * part if signed else 2 * STEPS * part).astype(np.uint8)


def level(value: float, limit: float, signed: bool) -> str:
    """A value as the name of one of few colors: p1 … p16 towards, n1 … n16 away, u1 … u16 unsigned, z zero.

    >>> level(0.5, 1.0, True), level(-1.0, 1.0, True), level(0.0, 1.0, True), level(9.0, 1.0, False)
    ('p8', 'n16', 'z', 'u16')
    """
    part = round(LEVELS * float(share(np.array(value), limit, signed)))
    if part == 0:
        return "z"
    return ("p" if part > 0 else "n") + str(abs(part)) if signed else f"u{part}"


def level_color(name: str, dark: bool = False) -> NDArray[np.floating]:
    """The color of a level, (3,)."""
    if name == "z":
        return neutral(dark)
    part, signed = int(name[1:]) / LEVELS, name[0] != "u"
    at = STEPS + STEPS * part * (1 if name[0] == "p" else -1) if signed else 2 * STEPS * part
    return table(signed, dark)[round(at)]


def levels(signed: bool) -> list[str]:
    """The names of all levels, from the lowest to the highest."""
    if not signed:
        return ["z", *(f"u{i}" for i in range(1, LEVELS + 1))]
    return [*(f"n{i}" for i in range(LEVELS, 0, -1)), "z", *(f"p{i}" for i in range(1, LEVELS + 1))]


def luminance(color: NDArray[np.floating]) -> float:
    """Relative luminance as WCAG defines it."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def writing(color: NDArray[np.floating]) -> str:
    """Black or white, whichever is read better on a color."""
    return "#000000" if luminance(color) > 0.179 else "#ffffff"


def code(color: NDArray[np.floating]) -> str:
    """A color as CSS writes it.

    >>> code(np.array([1.0, 0.5, 0.0]))
    '#ff8000'
    """
    return "#" + "".join(f"{round(float(each) * 255):02x}" for each in color)


def rules(names: list[str], dark: bool = False) -> str:
    """The style of levels: ground and writing as HTML, fill as SVG."""
    lines = []
    for name in names:
        color = level_color(name, dark)
        lines.append(f".pl-{name}{{background-color:{code(color)};color:{writing(color)};fill:{code(color)}}}")
    return "\n".join(lines)
