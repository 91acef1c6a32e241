"""Localization: exact values on small maps, masks in all their forms, chance levels, and mosaics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.engines.points import generator
from pellucid.errors import OptionError, ShapeError
from pellucid.evaluate.metrics.mosaics import mosaics
from tests.evaluate.planted import smooth

M = pl.metrics
ALL = (M.PointingGame, M.RelevanceMass, M.RelevanceRank, M.TopKIntersection, M.LocalizationAUC)
ALL = (*ALL, M.AttributionLocalization)


class Sum(nn.Module):
    """Pictures of any size and channels: their mean, twice."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), -x.flatten(1).mean(1)], 1)


def pictures(rows: int = 1, channels: int = 1, size: int = 4) -> Tensor:
    return torch.rand(rows, channels, size, size, generator=generator(0, 0))


def corner(size: int = 4) -> Tensor:
    """A quarter of a picture."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[: size // 2, : size // 2] = True
    return mask


def value(metric: Any, values: Tensor, x: Tensor | None = None) -> Any:
    x = pictures(len(values), size=values.shape[-1]) if x is None else x
    return metric(values, pl.Model(Sum()), x, target=0).value


def exact() -> Tensor:
    """A map (1, 1, 4, 4) with 6 of its 8 positive units, 6 of 10 in size, and its peak in the corner."""
    values = torch.zeros(1, 1, 4, 4)
    values[0, 0, 0, 0], values[0, 0, 1, 1], values[0, 0, 3, 3], values[0, 0, 2, 3] = 4, 2, 2.0, -2
    return values


def test_exact_values_on_a_small_map() -> None:
    mask = corner()
    assert value(M.PointingGame(mask=mask), exact()) == 1
    assert value(M.AttributionLocalization(mask=mask), exact()) == pytest.approx(6 / 8)
    assert value(M.RelevanceMass(mask=mask), exact()) == pytest.approx(6 / 10)
    assert value(M.RelevanceMass(mask=mask, read="positive"), exact()) == pytest.approx(6 / 8)
    # four places: 4, and three of size 2 (one in the mask)
    assert value(M.RelevanceRank(mask=mask), exact()) == pytest.approx(2 / 4)
    # of the largest two, one place is shared by two equal ones, of which one is in the mask
    assert value(M.TopKIntersection(mask=mask, k=2), exact()) == pytest.approx((1 + 1 / 2) / 2)
    # of 4 × 12 pairs: 4 beats all 12; 2 beats 11 and ties one; two zeros tie 10, beat one, lose one, each
    assert value(M.LocalizationAUC(mask=mask), exact()) == pytest.approx((12 + 11.5 + 2 * (1 + 5)) / 48)


@pytest.mark.parametrize("kind", ALL)
def test_a_map_that_is_the_mask_is_perfect_and_what_is_outside_gets_nothing(kind: Any) -> None:
    mask, k = corner(), {"k": 4} if kind is M.TopKIntersection else {}
    inside = mask.float()[None, None] * torch.arange(1, 17).reshape(4, 4)
    outside = (~mask).float()[None, None] * torch.arange(1, 17).reshape(4, 4)
    for scale in ("paper", "above chance"):
        assert value(kind(mask=mask, scale=scale, **k), inside) == pytest.approx(1)
    assert value(kind(mask=mask, **k), outside) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ALL)
def test_maps_of_nothing_get_the_chance_level_whatever_the_size_of_the_mask(kind: Any) -> None:
    values = torch.rand(120, 1, 6, 6, generator=generator(1, 0)) + 1e-3
    x = pictures(120, size=6)
    for rows in (2, 5):
        mask = torch.zeros(6, 6, dtype=torch.bool)
        mask[:rows] = True
        chance = 0.5 if kind is M.LocalizationAUC else rows / 6
        metrics = [kind(mask=mask), kind(mask=mask, scale="above chance"), kind(mask=mask, scale="times chance")]
        plain, above, times = (each.value for each in pl.measure(values, Model, x, 0, metrics=metrics).measured[0])
        assert plain == pytest.approx(chance, abs=0.13)
        assert above == pytest.approx((plain - chance) / (1 - chance))
        assert times == pytest.approx(plain / chance)


Model = pl.Model(Sum())


def test_random_shuffled_and_negated_maps_do_worse_than_the_right_one() -> None:
    right = corner(8).float()[None, None] * 3 + 0.2 * torch.rand(1, 1, 8, 8, generator=generator(2, 0))
    shuffled = right.flatten()[torch.randperm(64, generator=generator(3, 0))].reshape(right.shape)
    x = pictures(size=8)
    for kind in (M.RelevanceMass, M.RelevanceRank, M.TopKIntersection, M.LocalizationAUC):
        found = [kind(mask=corner(8))(each, Model, x, 0).value for each in (right, shuffled)]
        assert found[0] > 0.8 > found[1]
    assert M.LocalizationAUC(mask=corner(8))(-right, Model, x, 0).value == pytest.approx(0, abs=1e-9)
    assert "no positive values" in M.AttributionLocalization(mask=corner(8))(-right, Model, x, 0).reasons[0]


def test_a_mask_may_be_a_box_or_boxes_or_one_a_row() -> None:
    values, x = torch.rand(2, 1, 4, 6, generator=generator(4, 0)), torch.rand(2, 1, 4, 6)
    first, second = torch.zeros(4, 6, dtype=torch.bool), torch.zeros(4, 6, dtype=torch.bool)
    first[0:2, 1:4], second[2:4, 0:5] = True, True

    def found(mask: Any) -> list[float]:
        return M.RelevanceMass(mask=mask)(values, Model, x, 0).values.tolist()

    want = [found(first)[0], found(second)[1]]
    assert found((1, 0, 4, 2)) == found(first) == found(np.asarray(first))
    forms = [[first, second], torch.stack([first, second]), [(1, 0, 4, 2), (0, 2, 5, 4)]]
    forms += [torch.tensor([[1.0, 0, 4, 2], [0, 2, 5, 4]]), [first, (0, 2, 5, 4)]]
    forms += [[[(1, 0, 3, 2), (2, 0, 4, 2)], [(0, 2, 5, 4)]]]
    for form in forms:
        assert found(form) == want


def test_the_tolerance_of_the_pointing_game_widens_the_mask_and_the_chance_level() -> None:
    mask, values = torch.zeros(5, 5, dtype=torch.bool), torch.zeros(1, 1, 5, 5)
    mask[2, 2], values[0, 0, 2, 4] = True, 1.0
    assert value(M.PointingGame(mask=mask, tolerance=1), values) == 0
    assert value(M.PointingGame(mask=mask, tolerance=2), values) == 1
    assert M.PointingGame(tolerance=1).chance(mask) == pytest.approx(5 / 25)


def test_what_cannot_be_measured_says_why_and_what_does_not_fit_is_refused() -> None:
    good = exact()
    for metric, values, words in (
        (M.PointingGame(), good, "no mask"),
        (M.PointingGame(mask=torch.zeros(4, 4, dtype=torch.bool)), good, "empty"),
        (M.PointingGame(mask=torch.ones(4, 4, dtype=torch.bool)), good, "whole"),
        (M.PointingGame(mask=corner()), torch.ones(1, 1, 4, 4), "same everywhere"),
        (M.RelevanceMass(mask=corner()), torch.zeros(1, 1, 4, 4), "zero everywhere"),
        (M.TopKIntersection(mask=corner(), k=16), good, "16 places"),
    ):
        found = metric(values, Model, pictures(), 0)
        assert found.value is None
        assert words in found.reasons[0]
    for mask in (corner(6), torch.ones(3, dtype=torch.bool), "cat", [], torch.rand(5, 5)):
        with pytest.raises(ShapeError):
            M.PointingGame(mask=mask)(good, Model, pictures(), 0)
    with pytest.raises(ShapeError, match="none for row 1"):
        M.PointingGame(mask=[corner()])(good.expand(2, 1, 4, 4), Model, pictures(2), 0)


def test_channels_are_one_map_coarse_maps_are_enlarged_and_columns_are_parts() -> None:
    x = pictures(1, 3, 8)
    values = torch.rand(1, 3, 8, 8, generator=generator(5, 0))
    metric = M.RelevanceMass(mask=corner(8))
    assert metric(values, Model, x, 0).value == pytest.approx(metric(values.sum(1, keepdim=True), Model, x, 0).value)
    coarse = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert 0.5 < metric(coarse, Model, x, 0).value < 1
    series = M.RelevanceMass(mask=torch.arange(10) < 5)
    conv = pl.Model(nn.Sequential(nn.Conv1d(2, 1, 3), nn.Flatten()), inputs=pl.Series())
    curve = torch.arange(1.0, 11.0)[None, None].expand(1, 2, 10)
    assert series(curve, conv, torch.rand(1, 2, 10), target=0).value == pytest.approx(15 / 55)


def test_the_same_number_alone_and_in_a_batch_and_under_any_budget() -> None:
    values, x, masks = torch.rand(3, 1, 6, 6), pictures(3, size=6), torch.rand(3, 6, 6) > 0.6
    whole = M.LocalizationAUC(mask=masks)(values, Model, x, 0).values
    with pl.settings(memory="1 MB"):
        for row in range(3):
            alone = M.LocalizationAUC(mask=masks[row])(values[row : row + 1], Model, x[row : row + 1], 0)
            assert alone.value == pytest.approx(whole[row], abs=1e-12)


def test_the_area_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    values = torch.randint(-3, 4, (5, 1, 6, 6), generator=generator(7, 0)).double()
    masks = torch.rand(5, 6, 6, generator=generator(8, 0)) > 0.7
    found = M.LocalizationAUC(mask=masks)(values, Model, pictures(5, size=6), 0).values
    want = [roc_auc_score(mask.flatten(), each.flatten()) for mask, each in zip(masks, values, strict=True)]
    assert found == pytest.approx(want)


# ------------------------------------------------------------------------------------------------------------- Focus


def test_mosaics_have_two_tiles_of_the_class_at_known_places() -> None:
    x, labels = torch.arange(6.0)[:, None, None, None].expand(6, 1, 4, 4), [0, 0, 0, 1, 1, 1]
    for shrink in (True, False):
        made = mosaics(x, labels, 10, shrink=shrink, seed=0)
        assert made.pictures.shape == ((10, 1, 4, 4) if shrink else (10, 1, 8, 8))
        assert made.own.sum(1).tolist() == [2] * 10
        assert set(made.targets) == {0, 1}
        assert len({tuple(each) for each in made.own.tolist()}) > 1
        for picture, mask, target in zip(made.pictures, made.mask, made.targets, strict=True):
            assert set((picture[0][mask] >= 3).tolist()) == {bool(target)}
            assert set((picture[0][~mask] >= 3).tolist()) == {not target}
            assert len(picture.unique()) == 4
    again = mosaics(x, labels, 10, shrink=True, seed=0)
    assert torch.equal(again.tiles, mosaics(x, labels, 10, shrink=False, seed=0).tiles)


class Bright(nn.Module):
    """Class 1 is what is above zero, class 0 what is below: every pixel is evidence for one of them."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([-x.flatten(1).mean(1), x.flatten(1).mean(1)], 1)


def test_focus_is_one_for_the_exact_method_one_half_for_nothing_and_lists_share_mosaics() -> None:
    noise = torch.stack([smooth(generator(6, k), 1.0, (8, 8)).float()[None] for k in range(8)])
    x = torch.where(torch.arange(8)[:, None, None, None] < 4, -1.0, 1.0) + 0.2 * noise
    focus = M.Focus(pictures=x, labels=[0] * 4 + [1] * 4, count=40)
    exact, edges = focus([pl.InputXGradient(), pl.Saliency()], Bright())
    assert exact.name == "Focus"
    assert exact.value == pytest.approx(1, abs=0.02)
    assert edges.value is None or edges.value == pytest.approx(0.5, abs=0.02)
    assert focus(pl.InputXGradient(), Bright()).values.tolist() == exact.values.tolist()


def test_focus_needs_pictures_of_two_classes() -> None:
    with pytest.raises(OptionError, match="two"):
        M.Focus(pictures=pictures(4), labels=[1, 1, 1, 1])(pl.Saliency(), Model)
    with pytest.raises(ShapeError):
        M.Focus(pictures=pictures(4), labels=[1, 1, 0])(pl.Saliency(), Model)
