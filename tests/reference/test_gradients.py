"""Gradient, path and noise methods against loops in NumPy that follow their papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.engines.points import noise, uniforms
from tests.reference.plain import Array, Tanh3, close, differences, rows

NET = Tanh3()
X = rows()
TORCH = torch.from_numpy(X)
CLASSES = [NET.predicted(x) for x in X]
BASE = np.array([0.3, -0.2, 0.1, 0.5, -0.4])


def test_the_hand_written_gradient_is_right() -> None:
    for x, c in zip(X, CLASSES, strict=True):
        close(NET.gradient(x, c), differences(lambda z, c=c: NET.score(z, c), x), 1e-7)


def test_saliency_is_the_gradient_of_the_predicted_class() -> None:
    result = pl.Saliency()(NET.module(), TORCH)
    close(result.values, [NET.gradient(x, c) for x, c in zip(X, CLASSES, strict=True)])
    close(result.score, [NET.score(x, c) for x, c in zip(X, CLASSES, strict=True)])


def test_input_times_gradient() -> None:
    result = pl.InputXGradient()(NET.module(), TORCH, target=1)
    close(result.values, [x * NET.gradient(x, 1) for x in X])


def integral(x: Array, base: Array, c: int, steps: int) -> Array:
    """Equation 3 of Sundararajan et al., in the middle of each step."""
    total = np.zeros_like(x)
    for k in range(steps):
        total += NET.gradient(base + (k + 0.5) / steps * (x - base), c)
    return (x - base) * total / steps


@pytest.mark.parametrize("base", [None, 0.25, BASE, X[::-1].copy()], ids=["zeros", "number", "row", "row each"])
def test_integrated_gradients(base: float | Array | None) -> None:
    method = pl.IntegratedGradients(baseline=base if np.ndim(base) == 0 else torch.from_numpy(base), tolerance=1e-6)
    result = method(NET.module(), TORCH)
    bases = np.broadcast_to(0.0 if base is None else base, X.shape)
    expected = [integral(x, b, c, 4000) for x, b, c in zip(X, bases, CLASSES, strict=True)]
    close(result.values, expected, 1e-5)
    assert float(result.gap.max()) <= 1e-6
    fixed = pl.IntegratedGradients(baseline=method.baseline, steps=20)(NET.module(), TORCH)
    close(fixed.values, expected, 1e-5)


def test_integrated_gradients_with_steps_is_gauss_legendre() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(5)
    expected = []
    for x, c in zip(X, CLASSES, strict=True):
        slopes = [w / 2 * NET.gradient((t + 1) / 2 * x, c) for t, w in zip(nodes, weights, strict=True)]
        expected.append(x * np.sum(slopes, 0))
    close(pl.IntegratedGradients(steps=5)(NET.module(), TORCH).values, expected)


def test_integrated_gradients_stops_within_its_budget_and_says_so() -> None:
    result = pl.IntegratedGradients(tolerance=1e-12, budget=15)(NET.module(), 30 * TORCH)
    assert result.extra["gradients"] == 15
    assert "3 of 3" in result.notes[0]
    easy = pl.IntegratedGradients(tolerance=0.5)(NET.module(), 0.01 * TORCH)
    assert easy.extra["gradients"] == 7
    assert not easy.notes


def test_expected_gradients_with_its_own_draws() -> None:
    """Equation 3 of Erion et al.: times stratified over draws, each baseline used equally often."""
    data, draws, seed = rows(4, seed=9), 12, 5
    with pl.settings(seed=seed):
        result = pl.ExpectedGradients(baseline=torch.from_numpy(data), draws=draws)(NET.module(), TORCH)
    random = uniforms(torch.arange(draws), 2, seed).numpy()
    which = random[:, 1].argsort().argsort() % len(data)
    samples = np.zeros((draws, *X.shape))
    for k in range(draws):
        for i, (x, c) in enumerate(zip(X, CLASSES, strict=True)):
            t, b = (k + random[k, 0]) / draws, data[which[k]]
            samples[k, i] = (x - b) * NET.gradient(b + t * (x - b), c)
    close(result.values, samples.mean(0))
    close(result.standard_error, samples.std(0, ddof=1) / np.sqrt(draws))
    close(result.base_score, [np.mean([NET.score(b, c) for b in data]) for c in CLASSES])


def test_expected_gradients_is_the_mean_of_integrated_gradients_over_baselines() -> None:
    data = rows(4, seed=9)
    result = pl.ExpectedGradients(baseline=pl.Marginal(torch.from_numpy(data)), draws=2000)(NET.module(), TORCH[:1])
    expected = np.mean([integral(X[0], b, CLASSES[0], 500) for b in data], 0)
    assert (np.abs(result.values[0].numpy() - expected) <= 4 * result.standard_error[0].numpy() + 1e-9).all()


def test_conductance() -> None:
    """Equation 2 of Dhamdhere et al. at the first hidden layer: the slope halfway through a step times the change."""
    steps, expected = 10, []
    for x, c in zip(X, CLASSES, strict=True):
        total = np.zeros(6)
        for k in range(steps):
            before, middle, after = (NET.forward((k + at) / steps * x)[0] for at in (0, 0.5, 1))
            total += NET.hidden_gradient((k + 0.5) / steps * x, c) * (after - before)
            assert middle.shape == (6,)
        expected.append(total)
    close(pl.Conductance(steps=steps)(NET.module(), TORCH, at="1").values, expected)


def test_idgi() -> None:
    """Algorithm 1 of Yang et al."""
    steps, expected = 9, []
    for x, c in zip(X, CLASSES, strict=True):
        total = np.zeros_like(x)
        for j in range(steps):
            here, there = (BASE + k / steps * (x - BASE) for k in (j, j + 1))
            g = NET.gradient(here, c)
            total += g**2 / (g @ g) * (NET.score(there, c) - NET.score(here, c))
        expected.append(total)
    close(pl.IDGI(steps=steps, baseline=torch.from_numpy(BASE))(NET.module(), TORCH).values, expected)


def guided(x: Array, c: int, steps: int, fraction: float) -> Array:
    """Algorithm 1 of Kapishnikov et al. from zeros, without anchors."""
    here, total = np.zeros_like(x), np.zeros_like(x)
    whole = np.abs(x).sum()
    for step in range(1, steps + 1):
        slope = NET.gradient(here, c)
        wanted = whole * (1 - step / steps)
        while np.abs(x - here).sum() - wanted > 1e-9:
            size = np.abs(slope)
            size[here == x] = np.inf
            threshold = np.quantile(size, fraction, method="lower")
            chosen = (size <= threshold) & np.isfinite(size)
            if not chosen.any():
                chosen = np.isfinite(size)
            room = np.abs(x - here)[chosen].sum()
            share = min(1.0, (np.abs(x - here).sum() - wanted) / room)
            after = here.copy()
            after[chosen] = x[chosen] if share == 1 else here[chosen] + share * (x - here)[chosen]
            total += slope * (after - here)
            here = after
    close(here, x)
    return total


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.7, 1.0])
@pytest.mark.parametrize("steps", [2, 5, 30])
def test_guided_integrated_gradients(steps: int, fraction: float) -> None:
    result = pl.GuidedIG(steps=steps, fraction=fraction)(NET.module(), TORCH)
    close(result.values, [guided(x, c, steps, fraction) for x, c in zip(X, CLASSES, strict=True)], 1e-9)


def test_guided_integrated_gradients_that_may_not_stray_is_a_straight_line() -> None:
    straight = pl.GuidedIG(steps=400, stray=0.0)(NET.module(), TORCH).values
    expected = [integral(x, 0 * x, c, 2000) for x, c in zip(X, CLASSES, strict=True)]
    close(straight, expected, 0.02)


def test_smoothed_gradients_with_their_own_noise() -> None:
    """Sections 2.2 of Smilkov et al. and 2 of Adebayo et al.; the noise is as wide as 15 % of each example's range."""
    draws, seed = 7, 2
    random = noise(torch.arange(draws), (5,), seed).numpy().astype(np.float32)
    slopes = np.zeros((draws, *X.shape))
    for k in range(draws):
        for i, (x, c) in enumerate(zip(X, CLASSES, strict=True)):
            slopes[k, i] = NET.gradient(x + 0.15 * (x.max() - x.min()) * random[k], c)
    with pl.settings(seed=seed):
        smooth = pl.SmoothGrad(draws=draws)(NET.module(), TORCH)
        square = pl.Smooth(draws=draws, of="square")(NET.module(), TORCH)
        spread = pl.VarGrad(draws=draws)(NET.module(), TORCH)
        product = pl.Smooth(pl.InputXGradient(), draws=draws)(NET.module(), TORCH)
    close(smooth.values, slopes.mean(0))
    close(smooth.standard_error, slopes.std(0, ddof=1) / np.sqrt(draws))
    close(square.values, (slopes**2).mean(0))
    close(spread.values, slopes.var(0, ddof=1))
    width = 0.15 * (X.max(1) - X.min(1))[None, :, None]
    close(product.values, ((X[None] + width * random[:, None]) * slopes).mean(0))


def blurred(x: Array, sigma: float) -> Array:
    """(height, width) convolved with a Gaussian of three widths, mirrored at the edges, one axis after the other."""
    for axis in (0, 1):
        n = x.shape[axis]
        radius = min(int(np.ceil(3 * sigma)), n - 1)
        if sigma <= 0 or radius < 1:
            continue
        weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
        weights /= weights.sum()
        out = np.zeros_like(x)
        for i in range(n):
            for k, weight in zip(range(-radius, radius + 1), weights, strict=True):
                j = abs(i + k)
                j = 2 * (n - 1) - j if j > n - 1 else j
                out[(slice(None),) * axis + (i,)] += weight * x[(slice(None),) * axis + (j,)]
        x = out
    return x


def test_blur_integrated_gradients() -> None:
    """Equation 7 of Xu et al., with a schedule that spends its steps where the picture is nearly sharp."""
    net, steps = Tanh3(inputs=24, seed=4), 6
    picture = np.random.default_rng(8).normal(size=(4, 6))
    c = net.predicted(picture.ravel())

    def path(t: float) -> Array:
        return blurred(picture, 2.0 * (1 - t) ** 2)

    total = np.zeros_like(picture)
    for k in range(steps):
        slope = net.gradient(path((k + 0.5) / steps).ravel(), c).reshape(4, 6)
        total += slope * (path((k + 1) / steps) - path(k / steps))
    module = torch.nn.Sequential(torch.nn.Flatten(), net.module())
    result = pl.BlurIG(steps=steps)(module, torch.from_numpy(picture)[None, None])
    close(result.values[0, 0], total)
    close(result.base_score, [net.score(path(0).ravel(), c)])
