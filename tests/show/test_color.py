"""Scales of color: even to the eye, zero neutral, both signs alike, safe for what is not a number."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.show import color
from pellucid.show.color import (
    STEPS,
    TO_RGB,
    WHITE,
    code,
    cover,
    index,
    level,
    level_color,
    levels,
    neutral,
    pigment,
    table,
)

SCALES = [(signed, dark) for signed in (True, False) for dark in (False, True)]
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


def linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """CIELAB of sRGB, written anew; ``seen`` is how someone sees linear light."""
    light = linear(rgb)
    if seen is not None:
        light = np.clip(light @ seen.T, 0, 1)
    xyz = light @ np.linalg.inv(TO_RGB).T / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


@pytest.mark.parametrize(("signed", "dark"), SCALES)
def test_equal_steps_look_equal(signed: bool, dark: bool) -> None:
    steps = np.linalg.norm(np.diff(lab(table(signed, dark)), axis=0), axis=1)
    assert steps.max() < 1.25 * steps.min(), "a color left the gamut, or the points are not even"


@pytest.mark.parametrize("dark", [False, True])
def test_zero_is_neutral_and_both_signs_are_alike(dark: bool) -> None:
    zero = table(True, dark)[STEPS]
    assert np.ptp(zero) < 0.005, "gray"
    assert np.allclose(table(False, dark)[0], zero, atol=1e-6)
    light = lab(table(True, dark))[:, 0]
    assert np.allclose(light, light[::-1], atol=1.0)
    arm = np.diff(light[STEPS:])
    assert (arm > 0).all() if dark else (arm < 0).all()


@pytest.mark.parametrize("seen", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
@pytest.mark.parametrize("dark", [False, True])
def test_signs_differ_for_the_color_blind(dark: bool, seen: np.ndarray) -> None:
    drawn = lab(table(True, dark), seen)
    for size in (STEPS // 2, STEPS):
        assert np.linalg.norm(drawn[STEPS + size] - drawn[STEPS - size]) > 25


@pytest.mark.parametrize(("signed", "dark"), SCALES)
def test_a_layer_on_neutral_ground_gives_the_scale(signed: bool, dark: bool) -> None:
    thick = cover(signed, dark)[:, None]
    assert np.allclose(neutral(dark) * (1 - thick) + pigment(signed, dark) * thick, table(signed, dark), atol=1e-9)
    assert thick[STEPS if signed else 0] == 0
    assert (thick >= 0).all()
    assert (thick <= 1).all()


def test_values_become_indexes() -> None:
    values = np.array([-3.0, -1.0, 0.0, 0.5, 1.0, np.nan, np.inf, -np.inf])
    assert index(values, 1.0, True).tolist() == [0, 0, 120, 180, 240, 120, 240, 0]
    assert index(values, 1.0, False).tolist() == [0, 0, 0, 120, 240, 0, 240, 0]


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_no_limit_breaks_a_scale(limit: float) -> None:
    assert index(np.array([-1.0, 0.0, 1.0]), limit, True)[1] == STEPS


def test_opposite_values_have_opposite_levels() -> None:
    for value in np.linspace(0, 1, 57):
        up, down = level(value, 1.0, True), level(-value, 1.0, True)
        assert (up == down == "z") or (up[0], down[0], up[1:]) == ("p", "n", down[1:])
    assert levels(True)[::-1] == [each.translate(str.maketrans("np", "pn")) for each in levels(True)]


@pytest.mark.parametrize("dark", [False, True])
def test_writing_can_be_read_on_every_level(dark: bool) -> None:
    for name in {*levels(True), *levels(False)}:
        ground = level_color(name, dark)
        ink = np.array([1.0, 1.0, 1.0]) if color.writing(ground) == "#ffffff" else np.zeros(3)
        high, low = sorted((color.luminance(ground), color.luminance(ink)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, code(ground))
