"""Dreams and caricatures: exact steps, a slow reference, what they must reach, and what may go wrong."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.outputs import Outputs
from pellucid.demo import parts
from pellucid.engines.canvas import Ground
from pellucid.errors import LayerError, OptionError, PellucidError, ShapeError, TargetError
from pellucid.features.caricatures import Alike, compared
from pellucid.features.dream import Guided, even, spaces, unit_mean

DIGITS = parts("digits").examples[:3]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def gray(net: nn.Module) -> pl.Model:
    return pl.Model(net, inputs=pl.Images(mean=(0.0,), std=(1.0,)))


# --------------------------------------------------------------------------------------------------------------- exact


def test_a_linear_layer_is_climbed_along_its_filter() -> None:
    """One octave, no jitter, nothing smoothed: every step is the filter over its mean magnitude."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    start = 0.4 + 0.2 * noise(1, 1, 6, 6)
    found = pl.dream(gray(net), start, pl.Neuron("1", 1), octaves=1, steps=3, rate=0.01, jitter=0, smooth=0)
    w = net[1].weight[1].detach().reshape(1, 1, 6, 6)
    expected = (start + 3 * 0.01 * w / w.abs().mean()).clamp(0, 1)
    torch.testing.assert_close(found.inputs, expected)
    torch.testing.assert_close(found.score, net(expected)[:, 1].detach())
    torch.testing.assert_close(found.path[0], found.before)


def test_the_octaves_are_the_reference() -> None:
    """The published loop: details are enlarged and put on the next size of the picture."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    start = noise(1, 1, 12, 12)
    found = pl.dream(gray(net), start, "1", octaves=2, scale=1.5, steps=2, rate=0.01, jitter=0, smooth=0)

    def sized(x: Tensor, side: int) -> Tensor:
        same = x.shape[-1] == side
        return x if same else F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)

    detail = torch.zeros(1, 1, 8, 8)
    for side in (8, 12):
        base = sized(start, side)
        x = (base + sized(detail, side)).clamp(0, 1)
        for _ in range(2):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(net[:2](x).square().mean(), x)
            x = (x + 0.01 * slope / slope.abs().mean()).clamp(0, 1).detach()
        detail = x - base
    torch.testing.assert_close(found.inputs, x, rtol=1e-4, atol=1e-5)
    assert [tuple(each.shape[2:]) for each in found.octaves] == [(8, 8), (12, 12)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(0, 3), st.integers(4, 17))
def test_a_slope_is_made_even(seed: int, smooth: int, side: int) -> None:
    slope = noise(2, 3, side, side + 1, seed=seed) - 0.5
    made = even(slope, smooth)
    assert made.shape == slope.shape
    torch.testing.assert_close(made.abs().flatten(1).mean(1), torch.ones(2))
    torch.testing.assert_close(even(7 * slope, smooth), made)
    assert not even(torch.zeros_like(slope), smooth).any()
    assert torch.equal(even(slope, 0), unit_mean(unit_mean(slope)))


@given(st.integers(4, 300), st.integers(4, 300), st.integers(1, 6), st.floats(1.01, 4))
def test_octaves_grow_to_the_whole(high: int, wide: int, octaves: int, scale: float) -> None:
    ground = Ground((1, high, wide), torch.tensor(0.0), torch.tensor(1.0), 2)
    sizes = spaces(ground, octaves, scale)
    assert sizes[-1] == (high, wide)
    assert 1 <= len(sizes) <= octaves
    assert all(min(each) >= 4 for each in sizes)
    assert sizes == sorted(sizes)


def test_a_guide_is_matched_by_the_largest_dot_product() -> None:
    maps, features = noise(2, 4, 3, 3) - 0.5, noise(4, 5, seed=1) - 0.5
    score = Guided("x", features).score(maps, torch.arange(2))
    for row in range(2):
        dots = [max(float(maps[row, :, i, j] @ features[:, n]) for n in range(5)) for i in range(3) for j in range(3)]
        np.testing.assert_allclose(float(score[row]), np.mean(dots), rtol=1e-5)
    assert "guide" in Guided("x", features).words(Outputs())


def test_a_caricature_is_itself_at_one() -> None:
    other = noise(4, 3, 3) - 0.5
    strength, cosine = compared(torch.stack([other, 3 * other, -other]), other)
    torch.testing.assert_close(strength, torch.tensor([1.0, 3.0, -1.0]))
    torch.testing.assert_close(cosine, torch.tensor([1.0, 1.0, -1.0]))
    score = Alike("x", other, 2.0).score(torch.stack([other, 3 * other]), torch.arange(2))
    torch.testing.assert_close(score, torch.tensor([1.0, 3.0]))


# ------------------------------------------------------------------------------------------------------------- reaches


def test_a_dream_rises_and_stays_in_bounds() -> None:
    model = pl.load("demo:digits")
    before = model.fingerprint()
    found = pl.dream(model, DIGITS, "block2", steps=6)
    assert bool((found.score > found.before).all())
    assert float(found.pictures.min()) >= 0
    assert float(found.pictures.max()) <= 1
    low, high = -0.3053 / 0.3758, (1 - 0.3053) / 0.3758
    assert low - 1e-3 <= float(found.inputs.min())
    assert float(found.inputs.max()) <= high + 1e-3
    assert model.fingerprint() == before
    assert all(each.grad is None for each in model.module.parameters())
    assert found.receipt.rows_backward == found.path.numel()


def test_a_dream_is_the_same_again_and_alone() -> None:
    model = pl.load("demo:digits")
    one, again = (pl.dream(model, DIGITS, "block1", steps=3) for _ in range(2))
    assert torch.equal(one.inputs, again.inputs)
    alone = pl.dream(model, DIGITS[1], "block1", steps=3)
    torch.testing.assert_close(alone.inputs[0], one.inputs[1], rtol=1e-3, atol=1e-3)


def test_a_dream_may_be_larger_than_its_picture() -> None:
    found = pl.dream(pl.load("demo:digits"), DIGITS[0], pl.Neuron("block2", 5), size=24, octaves=3, steps=3)
    assert found.pictures.shape == (1, 1, 24, 24)
    assert float(found.score[0]) > float(found.before[0])
    assert len(found.octaves) == 3


def test_a_guided_dream_comes_nearer_to_its_guide() -> None:
    found = pl.dream(pl.load("demo:digits"), DIGITS[0], "block2", guide=DIGITS[1], steps=6)
    assert float(found.score[0]) > float(found.before[0])
    other = pl.dream(pl.load("demo:digits"), DIGITS[0], "block2", guide=DIGITS[2], steps=6)
    assert not torch.allclose(found.inputs, other.inputs)


def test_a_model_of_one_size_is_shown_enlarged_octaves() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 2))
    found = pl.dream(gray(net), noise(1, 1, 12, 12), 1, octaves=2, steps=4)
    assert any("one size only" in each for each in found.notes)
    assert float(found.score[0]) > float(found.before[0])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_and_series(channels: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    series = 10 * noise(2, channels, 30)
    found = pl.dream(pl.Model(net, inputs=pl.Series()), series, "1", octaves=2, steps=3)
    assert found.inputs.shape == series.shape
    assert float(found.inputs.max()) <= float(series.max()) + 1e-4
    assert found.figure().html()
    flat = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made = pl.dream(flat, noise(1, channels, 10, 14), "1", octaves=2, steps=3)
    assert bool((made.score > made.before).all())


def test_a_caricature_resembles_its_own_picture_most() -> None:
    model = pl.load("demo:digits")
    found = pl.caricature(model, DIGITS, "block2", steps=160)
    assert bool((found.cosine > found.control).all())
    assert bool((found.strength > 0.8).all())
    own = pl.activations(model, DIGITS, "block2").values["block2"].flatten(1)
    made = pl.activations(model, found.inputs, "block2").values["block2"].flatten(1)
    table = F.cosine_similarity(made[:, None], own[None], dim=2)
    torch.testing.assert_close(table.diagonal(), found.cosine, rtol=1e-3, atol=1e-3)
    assert table.argmax(1).tolist() == [0, 1, 2]


# ------------------------------------------------------------------------------------------------- stops, errors, files


def test_a_stop_gives_the_best_so_far() -> None:
    torch.manual_seed(0)
    stop, calls = threading.Event(), list[int]()
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.nn.init.constant_(net[0].bias, 1.0)
    model = gray(net)

    def watch(_part: Any, _args: Any, output: Tensor) -> None:
        calls.append(1)
        if len(calls) == 12:
            stop.set()

    model.module[0].register_forward_hook(watch)
    with pl.settings(stop=stop):
        found = pl.dream(model, noise(1, 1, 16, 16), "1", octaves=3, steps=40)
    assert any("stopped after" in each for each in found.notes)
    assert found.inputs.shape == (1, 1, 16, 16)
    assert 0 < len(found.path) < 40
    assert float(found.score[0]) > float(found.before[0])


def test_control_c_gives_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.features.dream import Dreaming

    whole, steps = Dreaming.stepped, []

    def interrupted(self: Any, *given: Any) -> Tensor:
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return whole(self, *given)

    monkeypatch.setattr(Dreaming, "stepped", interrupted)
    found = pl.dream(pl.load("demo:digits"), DIGITS[0], "block2", steps=6)
    assert "stopped after 3 of 18 steps: the best so far" in found.notes


class Breaks(nn.Module):
    """Its slope becomes NaN above a brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act((0.9 - x).sqrt().neg()).mean((2, 3))


def test_a_slope_that_breaks_keeps_the_last_good_picture() -> None:
    start = torch.full((2, 1, 8, 8), 0.5)
    start[1] = 0.85
    found = pl.dream(gray(Breaks()), start, pl.Neuron("act"), octaves=1, steps=10, rate=0.01, jitter=0)
    assert bool(torch.isfinite(found.inputs).all())
    assert any("row 1: the slope was not finite" in each for each in found.notes)
    assert not any("row 0" in each for each in found.notes)
    assert float(found.inputs[0].mean()) > 0.55


def test_a_dead_layer_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.nn.init.constant_(net[0].bias, -99.0)
    start = noise(1, 1, 9, 9)
    found = pl.dream(gray(net), start, "1", steps=2)
    assert any("nothing to climb" in each for each in found.notes)
    torch.testing.assert_close(found.inputs, start)
    with pytest.raises(ShapeError, match="answers to the picture"):
        pl.caricature(gray(net), start, "1", steps=2)


def test_bad_input_is_named() -> None:
    model, picture = pl.load("demo:digits"), DIGITS[0]
    cases: list[tuple[type[PellucidError], Any, dict[str, Any]]] = [
        (LayerError, "block9", {}),
        (TargetError, pl.Neuron("block2", 48), {}),
        (LayerError, 3, {"guide": DIGITS[1]}),
        (OptionError, "block2", {"octaves": 0}),
        (OptionError, "block2", {"steps": 1.5}),
        (OptionError, "block2", {"scale": 1.0}),
        (OptionError, "block2", {"rate": float("nan")}),
        (OptionError, "block2", {"jitter": -1}),
    ]
    for kind, target, change in cases:
        with pytest.raises(kind):
            pl.dream(model, picture, target, **change)
    with pytest.raises(ShapeError, match="space or time"):
        pl.dream(nn.Sequential(nn.Linear(5, 3)), noise(2, 5), "0")
    with pytest.raises(LayerError):
        pl.caricature(model, picture, "block9")
    with pytest.raises(OptionError):
        pl.caricature(model, picture, "block2", power=-1)


def test_results_can_be_drawn_and_kept(tmp_path: Any) -> None:
    model = pl.load("demo:digits")
    one, other = pl.dream(model, DIGITS, "stem", steps=2), pl.caricature(model, DIGITS, "stem", steps=2)
    for found in (one, other):
        for name in ("a.png", "a.html", "a.safetensors"):
            found.save(tmp_path / name)
        assert found.figure(1).text()
        assert len(found.words().splitlines()) == 3
        assert "forward" in repr(found)
        with pytest.raises(PellucidError):
            found.figure(3)
        with pytest.raises(OptionError):
            found.save(tmp_path / "a.doc")
    assert one.steps(2).plot() is not None
