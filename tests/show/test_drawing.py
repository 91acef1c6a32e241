"""Which figure a result gets, and what other programs get of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.core.figure import Bars, Heat, MarkedText, Matrix
from pellucid.demo import parts
from pellucid.errors import InputError, LoadError, OptionError

SENTENCES = ["A good film with a bad end.", "Not bad."]


def rows(count: int = 3) -> np.ndarray:
    return np.asarray(parts("breast-cancer").examples[:count])


@pytest.fixture(scope="module")
def table() -> pl.Attribution:
    return pl.KernelSHAP(budget=300)(pl.load("demo:breast-cancer"), rows(), target="malignant")


def picture_net() -> pl.Model:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2))
    return pl.Model(net, inputs=pl.Images(), classes=("a", "b"))


def test_named_groups_are_bars_from_the_baseline() -> None:
    groups = pl.Groups({"radius": ["mean radius", "worst radius"], "texture": ["mean texture"]})
    result = pl.KernelSHAP(features=groups)(pl.load("demo:breast-cancer"), rows(), target="malignant")
    figure = result.figure(1)
    assert isinstance(figure, Bars)
    assert set(figure.labels) == {"radius", "texture"}
    assert figure.base is not None
    assert figure.base + figure.values.sum() == pytest.approx(figure.total, rel=1e-4)


def test_areas_of_a_picture_bear_their_whole_value_and_borders() -> None:
    result = pl.KernelSHAP(features=pl.Patches(2))(picture_net(), torch.rand(2, 3, 16, 16))
    figure = result.figure(1)
    assert isinstance(figure, Heat)
    assert figure.edges is not None
    players = result.extra["players"][1].numpy()
    for i in range(4):
        np.testing.assert_allclose(figure.values[figure.edges == i], players[i])
    assert figure.limit == pytest.approx(np.abs(players).max())
    assert sorted(result.parts_figure(1).values) == pytest.approx(sorted(players))
    single = pl.KernelSHAP(features=pl.Elements(), budget=2000)(
        pl.Model(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1)), inputs=pl.Images(mean=(0,), std=(1,))
        ),
        torch.rand(1, 1, 4, 4),
    )
    assert single.figure().edges is None, "single pixels need no borders"  # type: ignore[attr-defined]


def test_unnamed_areas_are_called_by_their_place() -> None:
    labels = torch.zeros(1, 16, 16, dtype=torch.long)
    labels[:, 8:, 8:] = 1
    result = pl.KernelSHAP(features=pl.Groups(labels))(picture_net(), torch.rand(1, 3, 16, 16))
    figure = result.figure()
    assert isinstance(figure, Heat)
    assert "lower right" in figure.alt or "top" in figure.alt or "upper left" in figure.alt or "center" in figure.alt


def test_words_keep_their_chips_and_get_bars_when_asked() -> None:
    result = pl.KernelSHAP(budget=400)(pl.load("demo:sentences"), SENTENCES, target="positive")
    assert isinstance(result.figure(1), MarkedText)
    for row in (0, 1):
        bars = result.parts_figure(row)
        assert isinstance(bars, Bars)
        assert bars.base is not None
        assert bars.base + bars.values.sum() == pytest.approx(bars.total, abs=1e-4)
    assert "bad" in result.parts_figure(1).labels  # type: ignore[attr-defined]
    tokens = pl.IntegratedGradients()(pl.load("demo:sentences"), SENTENCES[0], target="positive")
    shown = tokens.parts_figure(most=99)
    assert not {"[CLS]", "[SEP]"} & set(shown.labels)  # type: ignore[attr-defined]


def test_a_force_needs_values_that_add_up(table: pl.Attribution) -> None:
    force = table.force_figure(2)
    assert force.base + force.values.sum() == pytest.approx(force.total, rel=1e-4)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="add up"):
        pl.Saliency()(torch.nn.Linear(3, 1), torch.ones(1, 3)).force_figure()


def test_interactions_become_a_matrix() -> None:
    result = pl.KernelSHAP(features=pl.Groups({"left": [0, 1], "right": [2]}))(torch.nn.Linear(3, 1), torch.ones(2, 3))
    with pytest.raises(InputError, match="interactions"):
        result.interactions_figure()
    both = torch.tensor([[[1.0, -2.0], [-2.0, 0.5]], [[0.0, 3.0], [3.0, 0.0]]])
    figure = pl.Attribution(**{**vars(result), "extra": {**result.extra, "interactions": both}}).interactions_figure(1)
    assert isinstance(figure, Matrix)
    assert figure.row_names == ("left", "right")
    np.testing.assert_array_equal(figure.values, both[1])
    assert "+3 between left and right" in figure.alt


def test_a_row_that_is_not_there() -> None:
    result = pl.KernelSHAP()(torch.nn.Linear(3, 1), torch.ones(2, 3))
    for ask in (result.parts_figure, result.force_figure, result.interactions_figure):
        with pytest.raises(InputError, match="0 … 1"):
            ask(2)


def test_shap_is_named_where_it_is_missing(table: pl.Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(LoadError, match="pip install shap"):
        table.to_shap()


@pytest.mark.peer
def test_shap_reads_a_table_in_original_units(table: pl.Attribution) -> None:
    pytest.importorskip("shap", exc_type=ImportError)
    given = table.to_shap()
    assert given.shape == (3, 30)
    np.testing.assert_allclose(given.values, table.values, rtol=1e-6)
    np.testing.assert_allclose(given.data, rows(), rtol=1e-4)
    np.testing.assert_allclose(given.base_values + given.values.sum(1), table.score, rtol=1e-4)
    assert list(given.feature_names) == list(table.modality.columns)  # type: ignore[attr-defined]
    assert given[1].values.shape == (30,)


@pytest.mark.peer
def test_shap_reads_categories_words_and_pictures() -> None:
    pytest.importorskip("shap", exc_type=ImportError)
    kinds = pl.Table(columns=("age", "kind"), categories={"kind": ("x", "y")}, one_hot=("kind",))
    result = pl.KernelSHAP()(pl.Model(torch.nn.Linear(3, 1), inputs=kinds), [[3.0, "y"], [4.0, "x"]])
    given = result.to_shap()
    assert given.display_data.tolist() == [[3.0, "y"], [4.0, "x"]]
    assert given.values.shape == (2, 2)
    words = pl.KernelSHAP(budget=400)(pl.load("demo:sentences"), SENTENCES, target="positive").to_shap()
    assert [len(each) for each in words.values] == [8, 3]
    assert list(words.data[1]) == ["Not", "bad", "."] or list(words.data[1]) == ["not", "bad", "."]
    maps = pl.Saliency()(picture_net(), torch.rand(2, 3, 16, 16)).to_shap()
    assert maps.shape == (2, 3, 16, 16)
    assert maps.base_values is None


def test_a_map_is_shown_signed_or_as_the_papers_of_cams_do() -> None:
    """The display is chosen when it is drawn; the values stay signed."""
    net = pl.load("demo:digits")
    heat = pl.GradCAM(layer="block1")(net, parts("digits").examples[:1])
    signed, positive, size = (heat.figure(shown=each) for each in ("signed", "positive", "size"))
    assert float(heat.values.min()) < 0
    np.testing.assert_allclose(positive.values, np.clip(signed.values, 0, None))
    np.testing.assert_allclose(size.values, np.abs(signed.values))
    with pytest.raises(OptionError):
        heat.figure(shown="relu")
