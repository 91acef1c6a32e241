"""Filters, weights, likeness of filters and differences of checkpoints: against NumPy, and on planted cases."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.core.figure import Maps, Matrix, Tiles
from pellucid.errors import DtypeError, InputError, LayerError, ModelError, NonFiniteError, OptionError
from pellucid.features.kernels import kernels, singular_values


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.LazyLinear(2)
    )


def net() -> nn.Sequential:
    module = small()
    module(torch.rand(2, 3, 8, 8))
    return module.eval()


# ------------------------------------------------------------------------------------------------------------ filters


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12])
def test_filters_of_any_number_of_channels_are_drawn(channels: int) -> None:
    found = pl.filters(nn.Conv2d(channels, 7, 5))
    assert tuple(found.values.shape) == (7, channels, 5, 5)
    assert found.pictures().shape == (7, 5, 5, 3)
    for scale in ("each", "together"):
        drawn = found.figure(scale)
        assert isinstance(drawn, Tiles)
        assert sum(len(each) for each in drawn.rows) == (7 if channels in (1, 3, 12) else 7 * channels)
        assert drawn.html()
        assert drawn.text()
    gray = channels == 1
    assert gray == bool((found.pictures()[..., 0] == found.pictures()[..., 1]).all())


def test_zero_is_gray_and_the_limit_is_white_or_black() -> None:
    layer = nn.Conv2d(1, 2, 2, bias=False)
    layer.weight.data = torch.tensor([[[[0.0, 1.0], [-1.0, 0.5]]], [[[0.0, 0.1], [0.0, 0.0]]]])
    found = pl.filters(layer)
    assert found.pictures("each")[0, ..., 0].tolist() == [[128, 255], [0, 191]]
    assert found.pictures("each")[1, 0, 1, 0] == 255
    assert found.pictures("together")[1, 0, 1, 0] == 140
    assert found.limits("each").tolist() == pytest.approx([1.0, 0.1])
    assert found.limits("together").tolist() == [1.0, 1.0]


def test_the_first_convolution_is_the_one_that_is_met_first() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.later, self.sooner = nn.Conv2d(4, 2, 3), nn.Conv2d(1, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.later(self.sooner(x)).mean((2, 3))

    model = pl.Model(Turned())
    assert pl.filters(model).layer == "later"
    model(torch.rand(1, 1, 8, 8))
    assert pl.filters(model).layer == "sooner"
    assert pl.filters(model, "later").layer == "later"


def test_pages_hold_every_filter_once() -> None:
    found = pl.filters(nn.Conv2d(3, 70, 3))
    assert found.pages(per_page=32) == 3
    seen = [name for page in (1, 2, 3) for row in found.figure(page=page, per_page=32).labels for name in row]
    assert seen == [str(i) for i in range(70)]
    with pytest.raises(InputError, match="page 1 … 3"):
        found.figure(page=4, per_page=32)


def test_one_and_three_axes_of_space() -> None:
    curves = pl.filters(nn.Conv1d(1, 5, 9)).figure()
    assert isinstance(curves, Maps)
    assert curves.values.shape == (5, 9)
    maps = pl.filters(nn.Conv1d(4, 5, 9)).figure("together")
    assert isinstance(maps, Maps)
    assert maps.values.shape == (5, 4, 9)
    assert not maps.own
    for channels in (1, 2, 3, 6):
        volumes = pl.filters(nn.Conv3d(channels, 4, (5, 3, 3))).figure()
        assert isinstance(volumes, Tiles)
        assert [len(row) for row in volumes.rows] == [5] * 4
    single = pl.filters(nn.Conv2d(4, 5, 1)).figure()
    assert isinstance(single, Matrix)
    assert single.values.shape == (5, 4)


def test_a_patch_embedding_is_a_convolution() -> None:
    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.projection, self.head = nn.Conv2d(3, 16, 4, stride=4), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.projection(x).flatten(2).mean(2))

    assert pl.filters(Embedding()).layer == "projection"


def test_dense_filters_over_pixels_are_pictures() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 5))
    found = pl.filters(pl.Model(module, inputs=pl.Images(mean=(0.5,) * 3, std=(0.5,) * 3)))
    assert torch.equal(found.values, module[1].weight.detach().reshape(5, 3, 6, 6))
    gray = pl.Model(nn.Sequential(nn.Flatten(), nn.Linear(24, 5)), inputs=pl.Images(mean=(0.5,), std=(0.5,)))
    gray(torch.rand(2, 1, 4, 6))
    assert tuple(pl.filters(gray).values.shape) == (5, 1, 4, 6)


def test_a_model_without_filters_says_what_it_has() -> None:
    module = nn.Sequential(nn.Linear(7, 3), nn.ReLU(), nn.Linear(3, 3))
    with pytest.raises(LayerError, match="2 × Linear, 1 × ReLU"):
        pl.filters(module)
    with pytest.raises(LayerError, match="no pixels"):
        pl.filters(module, "0")
    with pytest.raises(LayerError, match="a ReLU"):
        pl.filters(module, "1")
    with pytest.raises(LayerError, match="Near"):
        pl.filters(net(), "00")


def test_transposed_convolutions_give_a_filter_for_each_output() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    found = pl.filters(layer)
    assert tuple(found.values.shape) == (6, 2, 3, 3)
    assert torch.equal(found.values[4, 1], layer.weight.detach()[3, 1])


# ------------------------------------------------------------------------------------------------------------ weights


def test_spectra_and_histograms_are_numpys() -> None:
    module = net()
    report = pl.weights(module)
    weight = module[0].weight.detach().double().numpy()
    expected = np.linalg.svd(weight.reshape(8, -1), compute_uv=False)
    np.testing.assert_allclose(report["0"].singular, expected, rtol=1e-10)
    for found, values in ((report["0"].histogram, weight), (report["0"].bias_histogram, module[0].bias)):
        array = values if isinstance(values, np.ndarray) else values.detach().double().numpy()
        counts, edges = np.histogram(array.ravel(), 50)
        assert found is not None
        assert found[0].tolist() == counts.tolist()
        np.testing.assert_allclose(found[1], edges)
    assert report["0"].norm == pytest.approx(np.linalg.norm(weight))
    assert report["0"].spectral_norm == pytest.approx(expected[0])
    assert report["0"].stable_rank == pytest.approx((expected**2).sum() / expected[0] ** 2)
    np.testing.assert_allclose(report["0"].unit_norms, np.linalg.norm(weight.reshape(8, -1), axis=1))
    assert report["1"].singular is None
    assert list(report) == ["0", "1", "3", "5"]


@given(st.integers(1, 12), st.integers(1, 12))
def test_the_stable_rank_is_between_one_and_the_rank(units: int, inputs: int) -> None:
    layer = pl.weights(nn.Linear(inputs, units))["Linear"]
    assert layer.stable_rank is not None
    assert 1 - 1e-9 <= layer.stable_rank <= min(units, inputs) + 1e-9


def test_large_matrices_have_the_same_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(60, 90, dtype=torch.float64)
    exact = singular_values(matrix)
    monkeypatch.setattr("pellucid.features.kernels.MOST_EXACT", 10)
    torch.testing.assert_close(singular_values(matrix), exact)
    torch.testing.assert_close(singular_values(matrix.T), exact)


def test_a_dead_filter_and_zeros_are_found() -> None:
    module = net()
    module[0].weight.data[5] = 0
    module[3].weight.data[2] *= 1e-4
    assert pl.filters(module).figure().labels[0][4:7] == ("4", "5 · dead", "6")
    report = pl.weights(module)
    assert np.flatnonzero(report["0"].dead).tolist() == [5]
    assert np.flatnonzero(report["3"].dead).tolist() == [2]
    assert report["0"].zeros == pytest.approx(1 / 8)
    assert report.dead == 2
    assert "2 dead units" in repr(report)
    assert len(report.table().rows) == 4
    assert report.figure("0").html()
    assert report._repr_html_()


def test_weights_of_every_kind_are_listed_once() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.attention = nn.MultiheadAttention(4, 2)
            self.recurrent = nn.LSTM(4, 3)
            self.head = nn.Linear(4, 5, bias=False)
            self.head.weight = self.table.weight
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
            self.token = nn.Parameter(torch.zeros(1, 1, 4))

    names = {each.name: each for each in kernels(Odd())}
    assert set(names) == {
        "table", "attention.in_proj_weight", "attention.out_proj", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0",
        "normed", "token",
    }  # fmt: skip
    assert names["attention.in_proj_weight"].bias is not None
    assert names["recurrent.weight_ih_l0"].bias is not None
    assert names["normed"].weight.shape == (3, 4)
    assert names["token"].matrix is None
    assert len(pl.weights(Odd())) == 7


def test_a_dense_layer_that_stands_on_its_side() -> None:
    class Conv1D(nn.Module):  # as in GPT-2: weights (in, out)
        def __init__(self) -> None:
            super().__init__()
            self.nf, self.weight, self.bias = 5, nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.zeros(5))

    module = Conv1D()
    report = pl.weights(nn.Sequential(module))
    np.testing.assert_allclose(report["0"].unit_norms, module.weight.detach().norm(dim=0).numpy(), rtol=1e-6)


def test_bad_weights_are_refused_by_name() -> None:
    broken = net()
    broken[3].weight.data[0, 0, 0, 0] = torch.nan
    for ask in (pl.weights, lambda module: pl.compare_weights(net(), module), lambda m: pl.filters(m, "3")):
        with pytest.raises(NonFiniteError, match="3"):
            ask(broken)
    with pytest.raises(ModelError, match="without any"):
        pl.weights(nn.Sequential(nn.ReLU()))
    with pytest.raises(ModelError, match="without any"):
        pl.compare_weights(nn.ReLU(), nn.ReLU())
    with pytest.raises(LayerError, match="Near"):
        pl.weights(net())["33"]


def test_looking_leaves_no_trace() -> None:
    module = net().train()
    before = copy.deepcopy(module.state_dict())
    pl.weights(module), pl.filters(module), pl.filter_similarity(module)
    assert all(torch.equal(each, module.state_dict()[name]) for name, each in before.items())
    assert module.training
    assert all(each.requires_grad for each in module.parameters())


# ----------------------------------------------------------------------------------------------------- likeness, change


def test_planted_twins_are_found() -> None:
    module = net()
    weight = module[3].weight.data
    weight[4] = 3 * weight[1]
    weight[5] = -weight[0]
    weight[2] = 0
    found = pl.filter_similarity(module, "3")
    assert {each[:2] for each in found.pairs} == {(1, 4), (0, 5)}
    assert {each[:2]: round(each[2], 6) for each in found.pairs} == {(1, 4): 1.0, (0, 5): -1.0}
    assert np.isnan(found.cosine[2]).all()
    rows = weight.double().flatten(1).numpy()
    expected = rows[0] @ rows[1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1])
    assert found.cosine[0, 1] == pytest.approx(expected)
    order = found.order().tolist()
    assert abs(order.index(1) - order.index(4)) == 1
    assert found.by_chance < 1e-6
    assert "1 dead" not in found.words() or "left out" in found.words()
    assert found.figure().html()


def test_short_filters_are_alike_by_chance() -> None:
    found = pl.filter_similarity(nn.Conv2d(1, 200, (1, 2), bias=False), threshold=0.9)
    assert 0.5 * found.by_chance < len(found.pairs) < 2 * found.by_chance
    with pytest.raises(OptionError):
        pl.filter_similarity(net(), threshold=2)
    with pytest.raises(LayerError, match="BatchNorm2d"):
        pl.filter_similarity(net(), "1")


def test_one_changed_layer_is_found() -> None:
    before = net()
    after = copy.deepcopy(before)
    after[3].weight.data[4] += 0.5
    found = pl.compare_weights(before, after)
    assert found.changed() == ("3.weight",)
    one = found["3.weight"]
    w, v = (each[3].weight.detach().double().numpy().ravel() for each in (before, after))
    assert one.relative == pytest.approx(np.linalg.norm(v - w) / np.linalg.norm(w))
    assert one.cosine == pytest.approx(w @ v / np.linalg.norm(w) / np.linalg.norm(v))
    assert [unit for unit, _ in one.largest()] == [4]
    assert one.histogram[0].sum() == len(w)
    assert found["0.weight"].relative == 0
    assert found["0.weight"].cosine == pytest.approx(1)
    assert found.figure().html()
    assert found.figure("3.weight").html()
    assert found.table().rows[0][0] == "3.weight"
    same = pl.compare_weights(before, before.state_dict())
    assert same.changed() == ()
    assert same._repr_html_()


def test_layers_that_do_not_match_are_named() -> None:
    before = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    after = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(4, 1))
    found = pl.compare_weights(before, {f"module.{name}": each for name, each in after.state_dict().items()})
    assert set(found) == {"0.weight", "0.bias"}
    assert found.missing == ()
    assert found.added == ("2.weight", "2.bias")
    assert found.reshaped[0] == ("1.weight", (2, 3), (4, 3))
    assert "of another shape" in repr(found)
    with pytest.raises(ModelError, match="no tensor"):
        pl.compare_weights(before, nn.Sequential(nn.Sequential(nn.Linear(9, 9))))
    with pytest.raises(DtypeError, match="state dict"):
        pl.compare_weights(before, {"epoch": 3})


def test_weights_that_were_zero_have_no_relative_change() -> None:
    found = pl.compare_weights({"w": torch.zeros(3)}, {"w": torch.tensor([0.0, 1.0, 0.0])})
    assert np.isnan(found["w"].relative)
    assert found.changed() == ("w",)
    assert found["w"].largest()[0][0] == 1
