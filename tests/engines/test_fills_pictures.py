"""Inpainting and shuffling; one row of background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.fills.inpaint import inpainted
from pellucid.errors import OptionError, PellucidError, ShapeError


class Sum(nn.Module):
    """One number a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def ask(x: torch.Tensor, net: nn.Module | None = None) -> Any:
    return question(pl.Model(net or Sum()), x)


def filled(x: torch.Tensor, shown: torch.Tensor, **options: Any) -> torch.Tensor:
    """(k, batch, *shape): what Inpaint puts there."""
    fill, probe = pl.Inpaint(**options), ask(x)
    return fill.around(probe, fill(probe))(shown, torch.zeros(len(shown), dtype=torch.long))


def reference(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """One channel, from the paper: a sparse system of the hidden pixels, 1/6 beside and 1/12 across."""
    height, width = x.shape
    system, right = lil_matrix((x.size, x.size)), np.zeros(x.size)
    for i in range(height):
        for j in range(width):
            here = i * width + j
            if known[i, j]:
                system[here, here], right[here] = 1, x[i, j]
                continue
            for a in range(max(0, i - 1), min(height, i + 2)):
                for b in range(max(0, j - 1), min(width, j + 2)):
                    if (a, b) != (i, j):
                        weight = 1 / 6 if a == i or b == j else 1 / 12
                        system[here, here] += weight
                        system[here, a * width + b] -= weight
    return spsolve(system.tocsr(), right).reshape(x.shape)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(2, 20), width=st.integers(2, 20), share=st.floats(0.02, 0.9), seed=st.integers(0, 99))
def test_inpainting_solves_the_system_of_the_paper(height: int, width: int, share: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 1, height, width, generator=random, dtype=torch.float64)
    known = torch.rand(height, width, generator=random) < share
    known[0, int(seed) % width] = True
    found = filled(x, known[None, None, None], noise=0)[0, 0, 0]
    np.testing.assert_allclose(found.numpy(), reference(x[0, 0].numpy(), known.numpy()), atol=2e-3)


def test_a_large_hole_is_solved_too() -> None:
    axis = torch.linspace(-1, 1, 65, dtype=torch.float64)
    ramp = 3 * axis[:, None] - 2 * axis[None] + 0.5
    known = torch.zeros(65, 65, dtype=torch.bool)
    known[0], known[-1], known[:, 0], known[:, -1] = True, True, True, True
    found = filled(ramp.expand(1, 2, 65, 65), known[None, None, None], noise=0)
    torch.testing.assert_close(found[0, 0, 1].double(), ramp, atol=5e-3, rtol=0)


@pytest.mark.parametrize("space", [(33,), (17, 20), (7, 8, 9)])
def test_constants_and_ramps_in_one_two_and_three_dimensions(space: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    grid = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) for size in space], indexing="ij")
    ramp = sum((i + 1) * axis for i, axis in enumerate(grid)) / 10
    known = torch.rand(3, 1, 1, *space, generator=random) < 0.5
    constant = filled(torch.full((2, 3, *space), 1.7), known)
    torch.testing.assert_close(constant, torch.full_like(constant, 1.7))  # no spread, no noise
    edges: Any = (..., *[slice(1, -1)] * len(space))
    known |= True
    known[edges] = torch.rand(3, 1, 1, *space, generator=random)[edges] < 0.5
    found = filled(ramp.expand(2, 3, *space), known, noise=0)
    torch.testing.assert_close(found.double(), ramp.expand(found.shape), atol=1e-3, rtol=0)


def test_masks_channels_and_examples_are_filled_by_themselves() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, 10, generator=random)
    known = torch.rand(4, 2, 3, 9, 10, generator=random) < 0.5
    known[1, 1, 2] = False
    found = inpainted(x.expand(known.shape), known)
    alone = torch.stack(
        [
            torch.stack(
                [
                    torch.stack(
                        [
                            inpainted(x[b : b + 1, c : c + 1][None], known[k : k + 1, b : b + 1, c : c + 1])[0, 0, 0]
                            for c in range(3)
                        ]
                    )
                    for b in range(2)
                ]
            )
            for k in range(4)
        ]
    )
    torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[known], x.expand(known.shape)[known])
    torch.testing.assert_close(found[1, 1, 2], x[1, 2].mean().expand(9, 10))


def test_noise_is_small_repeatable_and_at_hidden_places_of_every_variant() -> None:
    x = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    half = torch.arange(12) < 6
    smooth, noisy = filled(x, half[None, None, None, None], noise=0), filled(x, half[None, None, None, None], noise=0.1)
    away = (noisy - smooth)[..., 6:]
    assert 0.05 < float(away.std() / x.std()) < 0.2
    assert torch.equal(noisy, filled(x, half[None, None, None, None], noise=0.1))
    several = pl.Inpaint(noise=0.1, variants=3)
    around = several.around(ask(x), several(ask(x)))
    found = around(half[None, None, None, None].expand(3, 1, 1, 12, 12), torch.arange(3))
    assert float((found[0] - found[1]).abs().max()) > 0.01
    assert pl.Ablation(fill=several, features=pl.Patches(2))(Sum(), x).receipt.rows_forward == 1 + 3 * 4


def test_a_game_hides_by_what_surrounds() -> None:
    """Half of a picture hidden, once by a mask of yes and no, once by the values themselves."""
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = pl.Ablation(fill=pl.Inpaint(noise=0), features=pl.Patches(2))(Sum(), x)
    for i, value in enumerate(found.extra["players"][0]):
        known = torch.ones(8, 8, dtype=torch.bool)
        known[4 * (i // 2) : 4 * (i // 2) + 4, 4 * (i % 2) : 4 * (i % 2) + 4] = False
        exact = x.sum() - reference(x[0, 0].double().numpy(), known.numpy()).sum()
        torch.testing.assert_close(value, exact.float(), atol=2e-2, rtol=0)
    whole = pl.KernelSHAP(fill=pl.Inpaint(), features=pl.Patches(2))(Sum(), x.expand(2, -1, -1, -1))
    torch.testing.assert_close(whole.values.flatten(1).sum(1), whole.score - whole.base_score, atol=1e-4, rtol=1e-4)
    with pl.settings(memory=1):
        tiny = pl.KernelSHAP(fill=pl.Inpaint(), features=pl.Patches(2))(Sum(), x.expand(2, -1, -1, -1))
    torch.testing.assert_close(tiny.values, whole.values, atol=1e-4, rtol=1e-4)
    windows = pl.Occlusion(fill=pl.Inpaint(), window=3, stride=2)(Sum(), torch.ones(1, 2, 8, 8))
    assert float(windows.values.abs().max()) < 1e-4


def test_marginal_is_the_mean_over_rows() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    data, x = torch.randn(7, 3).double(), torch.randn(2, 3).double()
    found = pl.Ablation(fill=pl.Marginal(data))(net, x).values
    for i in range(3):
        hidden = x[:, None].repeat(1, 7, 1)
        hidden[:, :, i] = data[:, i]
        torch.testing.assert_close(found[:, i], (net(x) - net(hidden).mean(1))[:, 0].detach())


def test_shuffle_draws_each_column_by_itself() -> None:
    data = torch.arange(12.0).reshape(4, 3)
    probe = ask(torch.zeros(2, 3))
    found = pl.Shuffle(200, data)(probe)
    assert found.shape == (200, 2, 3)
    assert torch.equal(found[:, 0], found[:, 1])
    for column in range(3):
        assert set(found[:, 0, column].tolist()) == set(data[:, column].tolist())
    assert len(found[:, 0].unique(dim=0)) > 30  # of 64 combinations; the data have 4
    assert torch.equal(found, pl.Shuffle(200, data)(probe))
    assert torch.equal(found[:5], pl.Shuffle(5, data)(probe))
    with pl.settings(seed=1):
        assert not torch.equal(found, pl.Shuffle(200, data)(ask(torch.zeros(2, 3))))


def test_shuffle_keeps_one_hot_columns_whole() -> None:
    table = pl.Table(
        columns=("a", "b"),
        categories={"b": ("x", "y", "z")},
        one_hot=("b",),
        background=[[1.0, "x"], [2.0, "y"], [3.0, "z"]],
    )
    probe = question(pl.Model(nn.Linear(4, 1), inputs=table), [[0.0, "x"]])
    found = pl.Shuffle(50)(probe)[:, 0]
    assert torch.equal(found[:, 1:].sum(1), torch.ones(50))
    assert len(found.unique(dim=0)) == 9


@pytest.mark.parametrize("space", [(9,), (4, 5), (2, 3, 4)])
def test_shuffle_of_a_picture_moves_its_own_places(space: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *space)
    found = pl.Shuffle(4)(ask(x))
    assert found.shape == (4, 2, 3, *space)
    assert not torch.equal(found[0, 0], x[0])
    place = found[1].flatten(2)[..., 0]
    assert bool((x.flatten(2) == place[..., None]).all(1).any(1).all())  # all channels from one place
    assert torch.equal(found.flatten(3).sort().values, x.flatten(2).sort().values.expand(4, -1, -1, -1))


@pytest.mark.parametrize(
    ("fill", "x", "kind"),
    [
        (pl.Inpaint(), torch.rand(1, 4), ShapeError),
        (pl.Inpaint(noise=-1), torch.rand(1, 1, 4, 4), OptionError),
        (pl.Inpaint(noise=float("nan")), torch.rand(1, 1, 4, 4), OptionError),
        (pl.Inpaint(variants=0), torch.rand(1, 1, 4, 4), OptionError),
        (pl.Shuffle(0), torch.rand(1, 1, 4, 4), OptionError),
        (pl.Shuffle(2.0), torch.rand(1, 1, 4, 4), OptionError),
        (pl.Shuffle(), torch.rand(1, 4), OptionError),
        (pl.Shuffle(2, torch.rand(2, 5)), torch.rand(1, 4), PellucidError),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_does_not_fit(fill: Any, x: torch.Tensor, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        pl.Ablation(fill=fill)(Sum(), x)
    error: Any = caught.value
    assert error.do


def test_text_and_hidden_layers_are_refused() -> None:
    text = pl.load("demo:sentences")
    for fill in (pl.Inpaint(), pl.Shuffle(), pl.Conditional(torch.zeros(2, 6).long())):
        with pytest.raises(PellucidError):
            pl.Ablation(fill=fill)(text, "A good film.")
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 1))
    with pytest.raises(ShapeError):
        pl.Ablation(fill=pl.Inpaint())(net, torch.rand(1, 1, 8, 8), at="0")


@pytest.mark.parametrize("fill", [pl.Inpaint(), pl.Conditional(torch.zeros(3, 2)), pl.Shuffle()])
def test_every_fill_says_what_it_assumes(fill: Any) -> None:
    assert fill.assumes
    assert repr(fill)
