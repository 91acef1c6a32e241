"""Quadratures, paths and shared random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.engines.points import (
    gauss_legendre,
    generator,
    lifted,
    noise,
    noisy,
    per_example,
    sine_squared,
    spread,
    straight,
    uniforms,
)


@given(n=st.integers(1, 40), degree=st.integers(0, 80))
def test_gauss_legendre_is_exact_up_to_its_degree(n: int, degree: int) -> None:
    nodes, weights = gauss_legendre(n)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    assert bool(((nodes > 0) & (nodes < 1)).all())
    if degree <= 2 * n - 1:
        assert float((weights * nodes**degree).sum()) == pytest.approx(1 / (degree + 1), abs=1e-12)


@pytest.mark.parametrize("n", [4, 8, 16, 64])
def test_nested_nodes_hold_those_of_half_as_many(n: int) -> None:
    nodes, weights = sine_squared(n)
    fewer, heavier = sine_squared(n // 2)
    torch.testing.assert_close(nodes[1::2], fewer)
    torch.testing.assert_close(weights[1::2], heavier / 2)
    torch.testing.assert_close(nodes + nodes.flip(0), torch.ones_like(nodes))
    assert float(weights.sum()) == pytest.approx(1, abs=1e-9)
    assert abs(float((weights * nodes.exp()).sum()) - (np.e - 1)) < 2 / n**3


def test_a_straight_line() -> None:
    base, x = torch.zeros(2, 3), torch.ones(2, 3)
    nodes = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    points = straight(base, x, nodes)(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(points, torch.stack([base, x * 0.25, x]))


def test_noise_belongs_to_seed_and_draw() -> None:
    a = noise(torch.arange(4), (3, 2), seed=5)
    assert a.shape == (4, 3, 2)
    assert torch.equal(a[2:], noise(torch.tensor([2, 3]), (3, 2), seed=5))
    assert not torch.equal(a, noise(torch.arange(4), (3, 2), seed=6))
    many = noise(torch.arange(500), (40,), seed=1)
    assert abs(float(many.mean())) < 0.03
    assert float(many.std()) == pytest.approx(1, abs=0.03)
    correlation = np.corrcoef(many[:60].numpy())
    assert np.abs(correlation - np.eye(60)).max() < 0.75
    flat = uniforms(torch.arange(300), 30, seed=2)
    assert 0 <= float(flat.min()) < 0.01
    assert 0.99 < float(flat.max()) < 1


def test_neighboring_seeds_share_no_draws() -> None:
    seen = {tuple(noise(torch.tensor([draw]), (3,), seed)[0].tolist()) for seed in range(20) for draw in range(20)}
    assert len(seen) == 400
    for seed in (0, 2**31, 2**64 + 1, 2**100):
        assert generator(seed, 3).initial_seed() == generator(seed, 3).initial_seed()


def test_noise_is_as_wide_as_each_example() -> None:
    x = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    torch.testing.assert_close(spread(x), torch.tensor([[2.0], [0.0]]))
    points = noisy(x, 0.1 * spread(x), 3)(torch.arange(5))
    assert points.shape == (5, 2, 3)
    assert torch.equal(points[:, 1], x[1].expand(5, 3))
    torch.testing.assert_close(points[:, 0] - x[0], 0.2 * noise(torch.arange(5), (3,), 3))


def test_shapes() -> None:
    like = torch.rand(2, 3, 4, dtype=torch.float64)
    assert lifted(torch.tensor([1, 2]), like).shape == (2, 1, 1, 1)
    assert lifted(torch.tensor([1, 2]), like).dtype == torch.float64
    assert per_example(torch.tensor([1.0, 2.0]), like).shape == (2, 1, 1)
