"""CRP: the maps of all channels of a layer add up, masks of several layers, ranks, and the most relevant examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from pellucid import errors
from pellucid.demo import parts
from tests.nets import BY_NAME

PRESETS = ["zero", "epsilon", "epsilon-plus", "epsilon-alpha2-beta1", "epsilon-plus-flat"]


class Net(nn.Module):
    """Two stages with batch-norm, in-place ReLU after the first, a residual inside the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.low = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.high = nn.Conv2d(4, 5, 3, padding=1)
        self.again = nn.Conv2d(5, 5, 3, padding=1)
        self.out = nn.Identity()
        self.head = nn.Linear(5, 3)
        nn.init.uniform_(self.norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(self.norm.bias, -0.2, 0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.low(x)))
        x = functional.relu_(self.high(x))
        y = self.again(x)
        y += x
        return self.head(self.out(functional.relu(y)).mean((2, 3)))


X = torch.rand(3, 2, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def net() -> nn.Module:
    return Net().double()


@pytest.mark.parametrize("memory", ["400 MB", 1])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("layer", "channels"), [("norm", 4), ("act", 4), ("high", 5), ("out", 5), ("out:input", 5)])
def test_the_maps_of_all_channels_add_up(layer: str, channels: int, preset: str, memory: Any) -> None:
    """Row 17: every layer here cuts the network in two."""
    with pl.settings(memory=memory):
        whole = pl.LRP(preset)(net(), X, target=1).values
        one = [pl.CRP(preset, concepts={layer: c})(net(), X, target=1) for c in range(channels)]
    torch.testing.assert_close(torch.stack([each.values for each in one]).sum(0), whole, rtol=1e-9, atol=1e-12)
    together = pl.CRP(preset, concepts={layer: tuple(range(channels))})(net(), X, target=1)
    torch.testing.assert_close(together.values, whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(together.extra["channels"], one[0].extra["channels"], rtol=1e-12, atol=1e-14)
    nothing = pl.CRP(preset, concepts={layer: ()})(net(), X, target=1)
    assert not nothing.values.any()
    torch.testing.assert_close(nothing.extra["channels"], one[0].extra["channels"], rtol=1e-12, atol=1e-14)


def test_two_layers_at_once() -> None:
    """The maps of all pairs add up; a channel's share in the lower layer is that of its upper channel."""
    high = pl.CRP(concepts={"out": 2})(net(), X, target=0)
    pairs = [pl.CRP(concepts={"out": 2, "norm": c})(net(), X, target=0) for c in range(4)]
    torch.testing.assert_close(sum(each.values for each in pairs), high.values, rtol=1e-9, atol=1e-12)
    assert pairs[0].extra["layer"] == "norm"
    assert pairs[0].extra["channels"].shape == (3, 4)
    turned = pl.CRP(concepts={"norm": 0, "out": 2})(net(), X, target=0)
    torch.testing.assert_close(turned.values, pairs[0].values)
    assert turned.extra["channels"].shape == (3, 5)


def test_by_hand_on_dense_layers() -> None:
    """LRP-0 of one hidden unit: v_k (w_k · x) [z_k > 0] / z_k of its share, element by element."""
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    w, b, v = (np.asarray(each.detach()) for each in (dense[0].weight, dense[0].bias, dense[2].weight))
    for k in (0, 3):
        heat = pl.CRP("zero", concepts={"1": k})(dense, x, target=1)
        for row, point in zip(heat.values, x.numpy(), strict=True):
            z = w[k] @ point + b[k]
            np.testing.assert_allclose(row, point * w[k] * v[1, k] * (z > 0), rtol=1e-12, atol=1e-15)
        shares = np.maximum(x.numpy() @ w.T + b, 0) * v[1]
        np.testing.assert_allclose(heat.extra["channels"], shares, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("layer", ["act", "out", "again"])
def test_hidden_relevance_is_that_of_lrp_at_the_layer(layer: str) -> None:
    inside = pl.LRP()(net(), X, target=1, at=layer)
    heat = pl.CRP(concepts={layer: 0})(net(), X, target=1)
    torch.testing.assert_close(heat.extra["channels"], inside.values.sum((2, 3)), rtol=1e-9, atol=1e-12)


def test_without_concepts_the_most_relevant_channel_of_the_last_maps() -> None:
    heat = pl.CRP()(net(), X)
    assert heat.extra["layer"] == "out"
    best = heat.extra["channels"].argmax(1)
    for row in range(3):
        alone = pl.CRP(concepts={"out": int(best[row])})(net(), X[row : row + 1])
        torch.testing.assert_close(heat.values[row], alone.values[0])
    assert heat.notes[0] == "through the most relevant channel of out: " + ", ".join(map(str, best.tolist()))
    named = pl.CRP(concepts="norm")(net(), X)
    assert named.extra["layer"] == "norm"


@pytest.mark.parametrize(
    ("case", "layer"), [("mlp", "3"), ("attention", "attention"), ("linear", "0"), ("pair", "right")]
)
def test_the_last_hidden_layer_of_nets_without_maps(case: str, layer: str) -> None:
    heat = pl.CRP()(BY_NAME[case].model(), BY_NAME[case].given())
    assert heat.extra["layer"] == layer


def test_token_channels_are_the_last_axis() -> None:
    case = BY_NAME["ids"]
    whole = pl.LRP()(case.model(), case.given(), target=0).values["input_ids"]
    one = [pl.CRP(concepts={"attention": c})(case.model(), case.given(), target=0) for c in range(4)]
    torch.testing.assert_close(sum(each.values["input_ids"] for each in one), whole, rtol=1e-9, atol=1e-12)
    assert one[0].extra["channels"].shape == (3, 4)


@pytest.mark.parametrize("memory", ["400 MB", 1])
def test_many_channels_in_one_pass(memory: Any) -> None:
    with pl.settings(memory=memory):
        maps = pl.CRP().conditional(net(), X, 1, layer="act", channels=[3, 0])
        ranked = pl.CRP().conditional(net(), X, 1, layer="act", top=99)
    for result, channel in zip(maps.results, (3, 0), strict=True):
        torch.testing.assert_close(result.values, pl.CRP(concepts={"act": channel})(net(), X, 1).values)
        assert f"channel {channel} of act" in result.notes[0]
    assert sum(each.receipt.rows_forward for each in maps.results) == 3
    assert sum(each.receipt.rows_backward for each in maps.results) == 6
    assert len(ranked.results) == 4
    torch.testing.assert_close(sum(each.values for each in ranked.results), pl.LRP()(net(), X, 1).values)
    own = ranked.relevance.gather(1, ranked.channels)
    assert bool((own.diff(dim=1) <= 0).all())
    for turn, result in enumerate(ranked.results):
        row = pl.CRP(concepts={"act": int(ranked.channels[2, turn])})(net(), X[2:], 1)
        torch.testing.assert_close(result.values[2:], row.values)


def test_several_targets_at_once() -> None:
    for concepts in (None, {"out": (1, 2)}):
        method = pl.CRP(concepts=concepts)
        for target, mine in enumerate(method.each(net(), X, [0, 1, 2])):
            alone = method(net(), X, target)
            torch.testing.assert_close(mine.values, alone.values)
            torch.testing.assert_close(mine.extra["channels"], alone.extra["channels"])
            assert mine.notes == alone.notes
            assert mine.receipt.rows_forward == (3 if target == 0 else 0)


def test_single_precision_on_the_faster_twin() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 256, 3, padding=1),
        nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 64, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 36, 4),
    )  # fmt: skip
    wide(torch.randn(8, 3, 6, 6))
    x = torch.rand(2, 3, 6, 6)
    whole = pl.LRP()(wide, x, 1).values
    maps = pl.CRP().conditional(wide, x, 1, layer="4", channels=range(256))
    total = torch.stack([each.values for each in maps.results]).sum(0)
    torch.testing.assert_close(total, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_asked_behind_the_last_hidden_layer_there_is_nothing_to_choose() -> None:
    heat, whole = pl.CRP()(net(), X, at="out"), pl.LRP()(net(), X, at="out")
    torch.testing.assert_close(heat.values, whole.values)
    assert "whole map" in heat.notes[0]


def test_a_grid_of_maps() -> None:
    maps = pl.CRP().conditional(net(), X, 1, layer="act")
    figure = maps.figure(1)
    assert len(figure.figures) == 5
    assert figure.figures[1].title.startswith(f"channel {int(maps.channels[1, 0])}: ")
    assert "act" in figure.html()
    figure.plot()


def test_what_does_not_fit_is_named() -> None:
    for concepts in ({}, {"out": -1}, {"out": "1"}, {"out": (1.5,)}, 3):
        with pytest.raises(errors.OptionError):
            pl.CRP(concepts=concepts)
    with pytest.raises(errors.OptionError, match="5 channels of out"):
        pl.CRP(concepts={"out": 5})(net(), X)
    with pytest.raises(errors.LayerError):
        pl.CRP(concepts={"nowhere": 1})(net(), X)
    with pytest.raises(errors.LayerError, match="batch-norm"):
        pl.CRP(concepts={"low": 1})(net(), X)
    with pytest.raises(errors.LayerError):
        pl.CRP(concepts={"act": 1})(net(), X, at="out")
    with pytest.raises(errors.OptionError):
        pl.CRP().conditional(net(), X, top=0)


class Patches(nn.Module):
    """One channel sums bright places of the first color, the other of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(2, 2, 1, bias=False)
        self.head = nn.Linear(2, 1, bias=False)
        nn.init.dirac_(self.see.weight)
        nn.init.ones_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.see(x)).sum((2, 3)))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("by", ["max", "sum"])
def test_the_most_relevant_examples_are_those_with_the_planted_patch(by: str, streamed: bool) -> None:
    x = torch.rand(150, 2, 6, 6, generator=torch.Generator().manual_seed(1)) * 0.1
    x[17, 0, 2:4, 2:4], x[90, 0, 1:4, 1:4], x[140, 1, 0, 0], x[3, 1, 5, 5] = 3.0, 2.0, 5.0, 4.0
    data: Any = (x[i : i + 40] for i in range(0, 150, 40)) if streamed else x
    found = pl.relevant_examples(Patches(), data, "see", k=2, by=by)
    assert found.rows.tolist() == ([[17, 90], [140, 3]] if by == "max" else [[90, 17], [140, 3]])
    expected = x.flatten(2).amax(2) if by == "max" else x.flatten(2).sum(2)
    torch.testing.assert_close(found.relevance, expected.gather(0, found.rows.T).T, rtol=1e-4, atol=1e-4)


def test_few_examples_and_none() -> None:
    assert pl.relevant_examples(Patches(), torch.rand(2, 2, 4, 4), "see").rows.shape == (2, 2)
    for bad in ({"data": []}, {"by": "mean"}, {"k": 0}):
        with pytest.raises(errors.OptionError):
            pl.relevant_examples(Patches(), **({"data": torch.rand(1, 2, 4, 4), "layer": "see"} | bad))


def test_relevant_examples_of_a_loader_leave_the_labels_out() -> None:
    """A loader gives (pictures, labels); the same pictures at once give the same answer."""
    model, digits = pl.load("demo:digits"), parts("digits")
    rows = torch.stack([model.read(each[None]).values[0] for each in digits.examples[:24]])
    pairs = torch.utils.data.TensorDataset(rows, torch.as_tensor(digits.labels[:24]))
    found = pl.relevant_examples(model, torch.utils.data.DataLoader(pairs, batch_size=8), "block2", k=3)
    whole = pl.relevant_examples(model, digits.examples[:24], "block2", k=3)
    assert torch.equal(found.rows, whole.rows)
    torch.testing.assert_close(found.relevance, whole.relevance, rtol=1e-4, atol=1e-5)
