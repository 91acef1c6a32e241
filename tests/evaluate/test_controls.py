"""Wrong maps: alike in everything but being right; and what that is worth, measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.evaluate.controls import dealt, moved, rephased, wrong_maps
from pellucid.evaluate.faithfulness import p_value
from pellucid.evaluate.layout import Layout
from tests.evaluate.planted import listed, played, smooth, spatial

PICTURE, SERIES = spatial((28, 28), (7, 7)), spatial((128,), (32,))


def test_moved_maps_hold_the_same_numbers() -> None:
    grid = torch.randn(6, 6, dtype=torch.float64)
    made = moved(grid, 50, 0)
    assert made.shape == (50, 6, 6)
    assert torch.isin(made, grid).all()
    assert len(torch.unique(made.flatten(1), dim=0)) > 40


def test_a_moved_map_has_no_seam() -> None:
    ramp = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None].expand(20, 20)
    steps = moved(ramp, 100, 0).diff(dim=1).abs().amax()
    assert float(steps) <= 1 / 19 + 1e-9


def test_rephased_maps_have_the_same_spectrum_and_mean() -> None:
    grid = smooth(generator(0, 0), 2.0, (28, 28)) + 3
    made = rephased(grid, 20, 0)
    wanted = torch.fft.fftn(grid).abs()
    assert torch.allclose(torch.fft.fftn(made, dim=(1, 2)).abs(), wanted.expand(20, -1, -1), atol=1e-8)
    assert torch.allclose(made.mean((1, 2)), grid.mean().expand(20))


def test_values_are_dealt_within_their_stratum() -> None:
    values, strata = torch.arange(9.0).double(), torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 2])
    made = dealt(values, strata, 200, 0)
    for stratum in range(3):
        members = values[strata == stratum]
        assert torch.equal(made[:, strata == stratum].sort(1).values, members.expand(200, -1))
    assert len(torch.unique(made, dim=0)) > 60


@pytest.mark.parametrize("layout", [PICTURE, SERIES, listed(10)])
def test_controls_follow_the_seed(layout: Layout) -> None:
    cells = torch.randn(len(layout.part), dtype=torch.float64)
    one, same, other = (wrong_maps(cells, layout, 60, seed) for seed in (0, 0, 1))
    assert one.shape == (60, len(layout.part))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def significant(layout: Layout, truth: Tensor, claim: Tensor, number: int) -> bool:
    """Whether a claim on cells is found better than 199 wrong maps, at 5 %."""
    bank = played(layout.parts(truth), generator(number, 1))
    others = bank.agreement(layout.parts(wrong_maps(claim, layout, 199, number)))
    return p_value(float(bank.agreement(layout.parts(claim))), others) <= 0.05


def rates(layout: Layout, reaches: list[tuple[float, float]], trials: int) -> tuple[float, float]:
    """How often unrelated and half-right maps are found significant."""
    false = right = 0
    for trial in range(trials):
        for number, (of_truth, of_map) in enumerate(reaches, trial * len(reaches)):
            random = generator(number, 0)
            if layout.space:
                truth, noise = (smooth(random, reach, layout.grid).reshape(-1) for reach in (of_truth, of_map))
            else:
                truth, noise = torch.randn(2, layout.n, generator=random, dtype=torch.float64)
            false += significant(layout, truth, noise, number)
            right += significant(layout, truth, truth + noise, number)
    return false / (trials * len(reaches)), right / (trials * len(reaches))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "reaches"),
    [(PICTURE, [(1.0, 1.0), (2.0, 2.0)]), (SERIES, [(0.7, 0.7), (2.0, 2.0)]), (listed(30), [(0, 0)] * 2)],
    ids=["pictures", "series", "columns"],
)
def test_unrelated_maps_pass_in_one_of_twenty_half_right_ones_nearly_always(
    layout: Layout, reaches: list[tuple[float, float]]
) -> None:
    """240 maps each; 5 % and twice the standard error of such a share."""
    false, right = rates(layout, reaches, 120)
    assert false <= 0.05 + 2 * (0.05 * 0.95 / 240) ** 0.5
    assert right >= 0.9


@pytest.mark.slow
def test_very_smooth_maps_pass_no_more_often() -> None:
    """Maps that vary over a third of the picture leave few independent places: the test gets weaker, not wrong."""
    false, _ = rates(PICTURE, [(8.0, 4.0)], 160)
    assert false <= 0.05 + 2 * (0.05 * 0.95 / 160) ** 0.5
