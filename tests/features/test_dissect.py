"""Dissection and naming: exact answers, a slow reference, error rates of the controls, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import (
    EmptyError,
    InputError,
    LayerError,
    NonFiniteError,
    OptionError,
    ShapeError,
    TargetError,
    UnknownName,
)
from pellucid.features.concepts import ConceptMasks
from pellucid.features.levels import Levels
from pellucid.features.naming import aucs, interval
from pellucid.features.units import Place


class Same(nn.Module):
    """Its inputs are the maps of layer "maps"."""

    def __init__(self, pool: int = 1) -> None:
        super().__init__()
        self.maps = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.maps(x)).mean((2, 3))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# --------------------------------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize("share", [0.5, 0.1, 0.003])
def test_a_planted_channel_is_its_mask(share: float) -> None:
    masks = noise(40, 3, 8, 8) < share
    found = pl.dissect(Same(), masks[:, [2, 0]].float(), masks.numpy(), "act", permutations=39)["act"]
    np.testing.assert_allclose(found.iou[0, 2], 1)
    np.testing.assert_allclose(found.iou[1, 0], 1)
    assert found.detects[0, 2]
    assert found.detects[1, 0]
    assert found.detects.sum() == 2


def test_independent_regions_reach_the_limit() -> None:
    p, q = 0.05, 0.3
    masks = noise(300, 1, 16, 16, seed=1) < q
    found = pl.dissect(Same(), noise(300, 1, 16, 16), masks, "act", share=p, permutations=19)["act"]
    limit = p * q / (p + q - p * q)
    np.testing.assert_allclose(found.iou[0, 0], limit, rtol=0.04)
    np.testing.assert_allclose(found.control[0, 0], limit, rtol=0.04)
    assert not found.detects.any()


def slow(maps: np.ndarray[Any, Any], masks: np.ndarray[Any, Any], share: float) -> np.ndarray[Any, Any]:
    """The paper's sentences in loops."""
    rows, units = maps.shape[:2]
    table = np.zeros((units, masks.shape[1]))
    for k in range(units):
        values = np.sort(maps[:, k].ravel())[::-1]
        level = values[int(share * len(values))]
        up = F.interpolate(torch.tensor(maps[:, k : k + 1]), masks.shape[2:], mode="bilinear", align_corners=False)
        inside = (up > level if level == values[-1] else up >= level)[:, 0].numpy()
        for c in range(masks.shape[1]):
            both = sum((inside[i] & masks[i, c]).sum() for i in range(rows))
            either = sum((inside[i] | masks[i, c]).sum() for i in range(rows))
            table[k, c] = both / either
    return table


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from([1, 2]))
def test_it_is_the_reference(seed: int, share: float, pool: int) -> None:
    inputs, masks = noise(30, 3, 8, 8, seed=seed) - 0.5, (noise(30, 2, 8, 8, seed=seed + 1) < 0.2).numpy()
    maps = F.avg_pool2d(inputs, pool).relu()
    found = pl.dissect(Same(pool), inputs, masks, "act", share=share, permutations=0)["act"]
    np.testing.assert_allclose(found.iou, slow(maps.numpy(), masks, share), atol=1e-12)
    assert np.isnan(found.p).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.sampled_from([0.02, 0.3, 0.9]))
def test_levels_do_not_depend_on_batches(seed: int, batch: int, share: float) -> None:
    values = noise(20, 2, 3, 3, seed=seed).round(decimals=1)
    reader = Levels(Place("x", "ReLU", (2, 3, 3), 0), 20, share, 3, 10**6, 0)
    for start in range(0, 20, batch):
        rows = torch.arange(start, min(start + batch, 20))
        reader.read(values[rows], rows)
    flat = values.movedim(1, 0).reshape(2, -1).sort(1, descending=True).values
    assert torch.equal(reader.level(), flat[:, int(share * 180)])
    assert torch.equal(torch.as_tensor(reader.peaks), values.amax((2, 3)).sort(0, descending=True).values[:3])


def test_levels_of_a_sample_come_near() -> None:
    values = noise(400, 1, 16, 16)
    reader = Levels(Place("x", "ReLU", (1, 16, 16), 0), 400, 0.05, 1, 2000, 0)
    for rows in torch.arange(400).split(50):
        reader.read(values[rows], rows)
    assert reader.drawn < 256
    assert torch.as_tensor(reader.high).numel() <= 2001
    np.testing.assert_allclose(float((values > reader.level()).float().mean()), 0.05, rtol=0.1)


def test_masks_may_be_an_array_a_list_or_a_function() -> None:
    inputs, masks = noise(30, 2, 8, 8), (noise(30, 11, 8, 8, seed=1) < 0.2).numpy()
    kinds = [masks, torch.tensor(masks), list(masks), masks.__getitem__, masks.astype(float)]
    found = [pl.dissect(Same(), inputs, each, "act", share=0.05, permutations=19)["act"] for each in kinds]
    for each in found[1:]:
        np.testing.assert_array_equal(each.iou, found[0].iou)
        np.testing.assert_array_equal(each.p_family, found[0].p_family)


def test_rows_without_labels_are_left_out() -> None:
    inputs, masks = noise(30, 2, 8, 8), (noise(30, 2, 8, 8, seed=1) < 0.2).numpy()
    some = pl.dissect(Same(), inputs, [*masks[:20], *[None] * 10], "act", share=0.05, permutations=19)
    assert "10 rows without labels are left out" in some.notes
    level = np.sort(inputs.numpy()[:, 0].ravel())[::-1][int(0.05 * 30 * 64)]
    inside = inputs.numpy()[:20, 0] >= level
    np.testing.assert_allclose(some["act"].iou[0, 1], (inside & masks[:20, 1]).sum() / (inside | masks[:20, 1]).sum())


def test_answers_do_not_depend_on_memory_or_on_batches() -> None:
    model, pictures = pl.load("demo:digits"), parts("digits").examples[:40]
    ink = (pictures > 128)[:, None]
    with pl.settings(memory="1 MB"):
        one = pl.dissect(model, pictures, ink, ["stem", "block2"], permutations=19)
    inputs = model.read(pictures).values
    other = pl.dissect(model, [inputs[:7], inputs[7:]], ink, ["stem", "block2"], permutations=19)
    for layer in one:
        np.testing.assert_allclose(one[layer].level, other[layer].level, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one[layer].iou, other[layer].iou, atol=1e-3)


# ------------------------------------------------------------------------------------------------------------ controls


def test_the_control_has_its_error_rate() -> None:
    """Random networks, smooth random concepts that have nothing to do with them: at most 5 % of families speak."""
    said = pairs = 0
    for seed in range(40):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        smooth = F.interpolate(noise(25, 3, 3, 3, seed=seed), (8, 8), mode="bilinear") > 0.6
        inputs = F.interpolate(noise(25, 1, 4, 4, seed=seed + 999), (8, 8), mode="bilinear")
        with pl.settings(seed=seed):
            found = pl.dissect(net, inputs, smooth, "1", share=0.05, threshold=0.0, permutations=39)["1"]
        said += int(found.detects.any())
        pairs += (found.p <= 0.05).mean() / 40
    assert said <= 6  # P(more) = 0.014 for 40 families at 0.05
    assert pairs <= 0.09


def test_a_place_that_is_always_the_same_is_no_detection() -> None:
    """A unit that fires in the middle and a concept that lies in the middle of all rows agree by accident."""
    masks = torch.zeros(30, 1, 8, 8, dtype=torch.bool)
    masks[..., 3:5, 3:5] = True
    found = pl.dissect(Same(), masks.float() + 0.01 * noise(30, 1, 8, 8), masks, "act", share=0.05, permutations=39)
    assert found["act"].iou[0, 0] > 0.7
    assert not found.detections()
    assert "is not shown to detect" in found.best("act")[0].words()


# ------------------------------------------------------------------------------------------------------------- results


def test_the_result_can_be_drawn_and_kept(tmp_path: Any) -> None:
    model, pictures = pl.load("demo:digits"), parts("digits").examples[:60]
    ink = np.stack([pictures > 128, pictures < 1], 1)
    found = pl.dissect(model, pictures, ink, ["stem", "block2"], ["ink", "paper"], permutations=19)
    for figure in (found.figure(), found.figure("stem"), found.figure("stem", 3), found.counts(), found.table()):
        assert figure.html()
        assert figure.text()
        assert figure.plot() is not None
    assert len(found.to_frame()) == (24 + 48) * 2
    assert [len(each) for each in found.examples["stem"].values()] == [6] * 12
    found.save(tmp_path / "d.safetensors")
    assert "ink" in repr(found) or "paper" in repr(found) or "0 units" in repr(found)
    with pytest.raises(TargetError, match="0 … 23"):
        found.figure("stem", 24)
    with pytest.raises(LayerError, match="stem"):
        found.best("stm")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_any_channels_are_drawn(channels: int) -> None:
    masks = noise(30, channels, 8, 8) < 0.1
    found = pl.dissect(Same(), masks * 5.0 - 2, masks, permutations=19)
    assert list(found) == ["act"]  # the others only pass on what they are given
    assert len(found.detections()) == channels
    assert found.figure().html()


# ----------------------------------------------------------------------------------------------------------- bad input


def test_bad_input_is_named() -> None:
    inputs, masks = noise(30, 1, 8, 8), noise(30, 2, 8, 8) < 0.3
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ShapeError, "30 rows", {"masks": masks[:20]}),
        (ShapeError, "rows, concepts, height, width", {"masks": masks[:, 0]}),
        (EmptyError, "at least one place", {"masks": masks & False}),
        (EmptyError, "at least one concept", {"masks": masks[:, :0]}),
        (InputError, "0 and 1", {"masks": masks * 0.3}),
        (InputError, "0 and 1", {"masks": np.full((30, 2, 8, 8), np.nan)}),
        (ShapeError, "one shape", {"masks": [*masks[:29], masks[29, :1]]}),
        (EmptyError, "at least one row", {"masks": lambda row: None}),
        (InputError, "2 names", {"names": ["a"]}),
        (LayerError, "act", {"layers": "nope"}),
        (OptionError, "share", {"share": 0}),
        (OptionError, "19", {"permutations": 5}),
        (EmptyError, "places", {"share": 1e-6}),
        (NonFiniteError, "finite", {"data": torch.full((30, 1, 8, 8), torch.nan)}),
        (InputError, "twice", {"data": iter([inputs])}),
    ]
    for kind, words, change in cases:
        given = {"data": inputs, "masks": masks, "layers": "act", "permutations": 19} | change
        with pytest.raises(kind, match=words):
            pl.dissect(Same(), **given)


def test_a_layer_without_maps_names_those_that_have() -> None:
    with pytest.raises(LayerError, match="block2"):
        pl.dissect(pl.load("demo:digits"), parts("digits").examples[:9], np.ones((9, 1, 8, 8), bool), "head")
    with pytest.raises(UnknownName):
        pl.dissect(nn.Linear(3, 2), torch.rand(9, 3), np.ones((9, 1, 8, 8), bool))


def test_activations_that_are_not_finite_are_refused() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    net[0].weight.data.fill_(3e38)
    with pytest.raises(NonFiniteError):
        pl.dissect(net, 9 + noise(30, 1, 8, 8), noise(30, 1, 8, 8) < 0.5, "1")


def test_a_loader_that_shuffles_is_refused() -> None:
    data = torch.utils.data.DataLoader(noise(30, 1, 8, 8), batch_size=10, shuffle=True)
    with pytest.raises(InputError, match="same order"):
        pl.dissect(Same(), data, noise(30, 1, 8, 8) < 0.5, "act", permutations=19)


def test_bits_are_what_was_given() -> None:
    masks = (noise(5, 11, 3, 4) < 0.4).numpy()
    held, read = ConceptMasks(masks.__getitem__, 5, None), ConceptMasks(masks, 5, None)
    rows, places = np.array([4, 0, 4]), np.array([0, 5, 11])
    np.testing.assert_array_equal(held.at(rows, places), read.at(rows, places))
    np.testing.assert_array_equal(held.row(3, 10), masks[3, 10])
    np.testing.assert_array_equal(held.area, read.area)


# -------------------------------------------------------------------------------------------------------------- naming


def auc_of(values: np.ndarray[Any, Any], here: np.ndarray[Any, Any]) -> float:
    one, other = values[here][:, None], values[~here][None]
    return float(((one > other) + 0.5 * (one == other)).mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_auc_is_counted_pairs(seed: int) -> None:
    source = np.random.default_rng(seed)
    values, which = source.normal(size=(30, 3)).round(1), source.permutation(np.arange(30) % 4)
    auc, p, best = aucs(values, which, 4, 19, 0)
    slow_auc = [[auc_of(values[:, k], which == c) for c in range(4)] for k in range(3)]
    np.testing.assert_allclose(auc, slow_auc, atol=1e-12)
    assert ((p > 0) & (p <= 1)).all()
    for k, c in enumerate(best):
        low, high = interval(values[:, k], which == c)
        assert 0 <= low <= auc[k, c] <= high <= 1


def test_units_are_named_by_their_labels_only() -> None:
    labels = np.arange(60) % 3
    inputs = 0.3 * noise(60, 4) + F.one_hot(torch.tensor(labels), 4)
    found = pl.name_units(nn.Sequential(nn.Identity(), nn.ReLU()), inputs, labels, "1", names=["a", "b", "c"])
    assert found.names == ("a", "b", "c", None)
    assert found.auc[0, 0] == 1
    assert "not nameable" in found.line(3)
    words = pl.name_units(nn.Sequential(nn.Identity(), nn.ReLU()), inputs, [f"is {i}" for i in labels], "1")
    assert words.names[1] == "is 1"


def test_labels_without_meaning_name_nothing_too_often() -> None:
    said = 0
    for seed in range(40):
        source = np.random.default_rng(seed)
        values, which = source.normal(size=(40, 5)) ** 3, source.permutation(np.arange(40) % 4)
        said += int((aucs(values, which, 4, 39, seed)[1] <= 0.05).any())
    assert said <= 6


def test_a_dead_unit_has_no_name() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    net[0].bias.data.fill_(-99.0)
    found = pl.name_units(net, noise(20, 3), np.arange(20) % 2, "1")
    assert found.names == (None, None)
    np.testing.assert_allclose(found.auc, 0.5)


def test_names_can_be_drawn_and_kept(tmp_path: Any) -> None:
    digits = parts("digits")
    found = pl.name_units(pl.load("demo:digits"), digits.examples[:150], digits.labels[:150], "block2")
    assert sum(each is not None for each in found.names) > 24
    for figure in (found.figure(), found.matrix()):
        assert figure.html()
        assert figure.plot() is not None
    assert len(found.to_frame()) == 48
    found.save(tmp_path / "n.safetensors")
    with pytest.raises(TargetError):
        found.line(48)


def test_labels_that_do_not_fit_are_named() -> None:
    net, rows = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), noise(20, 3)
    for kind, labels in [
        (ShapeError, np.arange(19)),
        (EmptyError, np.zeros(20)),
        (InputError, noise(20).numpy()),
        (ShapeError, np.zeros((20, 2))),
    ]:
        with pytest.raises(kind):
            pl.name_units(net, rows, labels, "1")
    with pytest.raises(OptionError):
        pl.name_units(net, rows, np.arange(20) % 2, "1", pool="sum")  # type: ignore[arg-type]
