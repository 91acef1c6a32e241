"""Maps of a layer: PCA against scikit-learn, which rows are shown, labels, hostile names, and what has no map."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import InputError, NonFiniteError, OptionError, ShapeError
from tests.show.samples import PAYLOADS


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3))


def test_pca_is_scikit_learns() -> None:
    module, x = layers(), torch.randn(700, 5) + 40
    found = pl.layer_map(module, x, "1")
    hidden = module[:2](x).detach().double().numpy()
    fitted = PCA(2, svd_solver="full").fit(hidden)
    np.testing.assert_allclose(found.explained, fitted.explained_variance_ratio_, rtol=1e-5)
    turned = np.sign((found.components * fitted.components_).sum(1))
    np.testing.assert_allclose(found.components * turned[:, None], fitted.components_, atol=1e-4)
    np.testing.assert_allclose(found.points * turned, fitted.transform(hidden), atol=1e-3)
    assert found.rows.tolist() == list(range(700))
    assert "of variance" in found.figure().x_label


def test_pca_is_of_all_rows_and_a_random_part_is_shown() -> None:
    module, x = layers(), torch.randn(600, 5)
    whole, part = pl.layer_map(module, x, "1"), pl.layer_map(module, list(x.split(77)), "1", most=50)
    np.testing.assert_allclose(part.components, whole.components, atol=1e-5)
    np.testing.assert_allclose(part.points, whole.points[part.rows], atol=1e-4)
    assert len(part) == 50
    assert part.count == 600
    assert "50 of 600 rows" in part.words()
    with pl.settings(seed=1):
        other = pl.layer_map(module, x, "1", most=50)
    assert set(other.rows.tolist()) != set(part.rows.tolist())
    assert pl.layer_map(module, x, "1", most=50).rows.tolist() == part.rows.tolist()


def test_places_are_averaged_unless_asked_otherwise() -> None:
    module, x = nn.Conv2d(1, 4, 3), torch.randn(30, 1, 6, 6)
    model = pl.Model(nn.Sequential(module))
    maps = module(x).detach().double()
    for pool, rows in (("mean", maps.mean((2, 3))), ("none", maps.flatten(1))):
        found = pl.layer_map(model, x, "0", pool=pool)
        fitted = PCA(2, svd_solver="full").fit(rows.numpy())
        np.testing.assert_allclose(found.explained, fitted.explained_variance_ratio_, rtol=1e-4)


def test_wide_layers_are_reduced_by_the_rows_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = layers(), torch.randn(60, 5)
    exact = pl.layer_map(module, x, "1")
    monkeypatch.setattr("pellucid.features.keeping.HELD", 4)
    found = pl.layer_map(module, x, "1")
    np.testing.assert_allclose(found.points, exact.points, atol=1e-4)
    assert any("of the 40 rows shown" in each for each in pl.layer_map(module, x, "1", most=40).notes)


def test_classes_stand_apart_on_the_map_of_a_trained_layer() -> None:
    model, digits = pl.load("demo:digits"), parts("digits")
    for method in ("pca", "tsne"):
        found = pl.layer_map(model, digits.examples[:150], "block2", digits.labels[:150], method)
        middles = np.stack([found.points[found.labels == i].mean(0) for i in range(10)])
        inside = np.mean([found.points[found.labels == i].std(0).mean() for i in range(10)])
        assert middles.std(0).mean() > inside
        assert found.neighbors > 0.2
        drawn = found.figure()
        assert drawn.group_names == tuple(map(str, range(10)))
        assert len(drawn.pictures) == 150
        assert drawn.pictures[0].shape == (8, 8, 3)
        assert "mean nothing" in drawn.caption or method == "pca"
        again = pl.layer_map(model, digits.examples[:150], "block2", digits.labels[:150], method)
        if method == "pca":  # t-SNE carries rounding further than that
            np.testing.assert_allclose(found.points, again.points, atol=1e-5)


def test_labels_are_classes_numbers_or_texts() -> None:
    module, x = layers(), torch.randn(40, 5)
    assert pl.layer_map(module, x, "1").figure().groups is None
    named = pl.layer_map(pl.Model(module, classes=("cat", "dog", "ant")), x, "1", [0, 2] * 20).figure()
    assert named.group_names == ("cat", "ant")
    texts = pl.layer_map(module, x, "1", ["b", "a"] * 20).figure()
    assert texts.group_names == ("a", "b")
    assert texts.groups.tolist() == [1, 0] * 20
    numbers = pl.layer_map(module, x, "1", torch.linspace(2, 4, 40)).figure()
    assert numbers.shade_ends == ("2", "4")
    assert numbers.shades[0] == 0
    assert numbers.html()
    many = pl.layer_map(module, x, "1", list(range(40))).figure()
    assert (many.groups == -1).any()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(40) % 2), batch_size=16)
    assert pl.layer_map(module, loader, "1").labels.tolist() == [0, 1] * 20
    with pytest.raises(ShapeError, match="one label for each of 40 rows"):
        pl.layer_map(module, x, "1", [0, 1])


def test_texts_bear_their_words() -> None:
    model, sentences = pl.load("demo:sentences"), parts("sentences")
    layer = pl.activations(model, list(sentences.examples[:2])).values
    found = pl.layer_map(model, list(sentences.examples[:20]), next(reversed(layer)), sentences.labels[:20])
    assert len(found.texts) == 20
    assert found.texts[0].split()[0].lower() in str(sentences.examples[0]).lower()


def test_a_map_of_an_unknown_layer_or_of_nothing() -> None:
    module, x = layers(), torch.randn(12, 5)
    for n in (1, 2):
        for method in ("pca", "tsne"):
            with pytest.raises(InputError, match=f"at least three rows; got {n}"):
                pl.layer_map(module, x[:n], "1", method=method)
    with pytest.raises(OptionError, match="'pca', 'tsne', 'umap'"):
        pl.layer_map(module, x, "1", method="mds")
    with pytest.raises(OptionError, match="most"):
        pl.layer_map(module, x, "1", most=1)
    module[0].weight.data[:], module[0].bias.data[:] = 0, 1
    with pytest.raises(InputError, match="tells rows apart"):
        pl.layer_map(module, x, "1")
    module[0].weight.data[:] = torch.nan
    with pytest.raises(NonFiniteError):
        pl.layer_map(module, x, "1")


def test_without_umap_it_is_said_what_to_install() -> None:
    try:
        import umap  # noqa: F401
    except ImportError:
        with pytest.raises(OptionError, match=r"pellucid\[maps\]"):
            pl.layer_map(layers(), torch.randn(12, 5), "1", method="umap")
        return
    assert pl.layer_map(layers(), torch.randn(40, 5), "1", method="umap").points.shape == (40, 2)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_names_stay_words(payload: str) -> None:
    model = pl.Model(layers(), classes=(payload, "dog", payload + "2"))
    found = pl.layer_map(model, torch.randn(12, 5), "1", [0, 1, 2] * 4)
    html = found.figure().html()
    assert not re.search(r"<(script|img|iframe|body|base|a)\b", html)
    assert not re.search(r"<[^>]*\s(on\w+|style)=", html)
    found.plot().canvas.draw()
    assert found.figure().text()


def test_pictures_are_shown_where_the_pointer_is() -> None:
    model, digits = pl.load("demo:digits"), parts("digits")
    batches = [digits.examples[start : start + 70] for start in range(0, 280, 70)]
    part = pl.layer_map(model, (model.modality.prepare(each) for each in batches), "block2", most=25)
    for row, pixels in zip(part.rows, part.pictures, strict=True):
        assert np.array_equal(pixels[..., 0], digits.examples[row])
    html = pl.layer_map(model, digits.examples[:30], "block2", digits.labels[:30]).figure().html()
    assert html.count('class="pl-spot"') == 30
    assert html.count("data:image/png") == 30
    assert "pl-spot:hover .pl-peek" in html
    assert "<script" not in html
