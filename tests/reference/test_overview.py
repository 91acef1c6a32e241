"""Overview: many explanations together, against numbers worked out by hand."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy import stats

import pellucid as pl
from pellucid.errors import DtypeError, EmptyError, InputError, OptionError, UnknownName

COLUMNS = ("age", "height", "color")


def explained(count: int = 12, target: int | None = 0) -> pl.Attribution:
    """A linear model on a table with units and a categorical column: values are weight × standardized number."""
    net = torch.nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 0.0]]))
    table = pl.Table(
        columns=COLUMNS,
        categories={"color": ("red", "green", "blue")},
        mean=(50.0, 170.0, 0.0),
        std=(10.0, 5.0, 1.0),
        units={"age": "years"},
    )
    random = np.random.default_rng(0)
    rows = np.stack([random.normal(50, 10, count), random.normal(170, 5, count), random.integers(0, 3, count)], 1)
    return pl.InputXGradient()(pl.Model(net, inputs=table, classes=("a", "b")), rows, target=target)


def test_importance_is_the_mean_size_with_students_intervals() -> None:
    result = explained()
    found = pl.Overview(result).importance()
    sizes = np.abs(np.asarray(result.values.double()))
    np.testing.assert_allclose(found.values, sizes.mean(0), rtol=1e-6)
    for j in range(3):
        low, high = stats.t.interval(0.95, 11, sizes[:, j].mean(), stats.sem(sizes[:, j]))
        assert (found.values[j] - found.half_width[j], found.values[j] + found.half_width[j]) == pytest.approx(
            (low, high)
        )
    assert found.names == COLUMNS
    assert "Student" in found.words()
    drawn = found.figure(2)
    assert drawn.labels == tuple(name for name, _ in found.top(2))
    assert "1 less important features" in drawn.caption
    assert "logit of “a”" in drawn.unit


def test_intervals_cover_as_often_as_they_say() -> None:
    random, hits = np.random.default_rng(1), 0
    base = explained(8)
    for _ in range(200):
        values = torch.from_numpy(random.normal(size=(8, 3)))
        found = pl.Overview(pl.Attribution(**{**vars(base), "values": values})).importance()
        hits += int(abs(found.values[0] - np.sqrt(2 / np.pi)) < found.half_width[0])
    assert hits > 175, "of 200 at 95 %"


def test_a_list_of_single_rows_is_the_same() -> None:
    net, x = torch.nn.Linear(3, 1), torch.randn(5, 3)
    whole = pl.Overview(pl.InputXGradient()(net, x))
    parts = pl.Overview([pl.InputXGradient()(net, row[None]) for row in x])
    np.testing.assert_allclose(whole.values, parts.values)
    assert parts.names == ("0", "1", "2")
    assert repr(parts) == "Overview of 5 rows and 3 features by InputXGradient"


def test_frame_and_notebook() -> None:
    seen = pl.Overview(explained())
    frame = seen.to_frame()
    assert frame["feature"][0] == seen.importance().top(1)[0][0]
    assert dict(zip(frame["feature"], frame["mean"], strict=True)) == pytest.approx(
        dict(zip(seen.names, seen.values.mean(0), strict=True))
    )
    page = seen._repr_html_()
    HTMLParser().feed(page)
    assert "<script" not in page
    assert seen.plot().axes


def test_dots_stand_in_rows_by_importance_with_colors_by_what_the_input_says() -> None:
    result = explained(40)
    figure = pl.Overview(result).beeswarm(most=2)
    assert figure.rows == tuple(name for name, _ in pl.Overview(result).importance().top(2))
    at = COLUMNS.index(figure.rows[0])
    mine = np.rint(figure.y) == 0
    np.testing.assert_allclose(figure.x[mine], result.values[:, at])
    assert (np.abs(figure.y - np.rint(figure.y)) <= 0.42 + 1e-9).all()
    assert figure.shades is not None
    order = np.argsort(np.asarray(result.inputs[:, at]), kind="stable")
    assert (np.diff(figure.shades[mine][order]) >= 0).all()
    assert figure.shades.min() == 0
    assert figure.shades.max() == 1


def test_dependence_is_in_original_units() -> None:
    result = explained(30)
    seen = pl.Overview(result)
    figure = seen.dependence("age", color="color")
    np.testing.assert_allclose(figure.x, np.asarray(result.inputs[:, 0]) * 10 + 50, rtol=1e-5)
    np.testing.assert_allclose(figure.y, result.values[:, 0])
    assert figure.x_label == "age (years)"
    assert figure.shade_ends == ("red", "blue")
    levels = seen.dependence("color")
    assert levels.columns == ("red", "green", "blue")
    np.testing.assert_array_equal(np.rint(levels.x), np.asarray(result.inputs[:, 2]))
    assert levels.shades is None
    with pytest.raises(UnknownName, match="'age'"):
        seen.dependence("agee")
    with pytest.raises(UnknownName):
        seen.dependence("age", color="size")


@pytest.mark.parametrize("by", ["ward", "k-means"])
def test_clusters_find_planted_groups(by: str) -> None:
    random, base = np.random.default_rng(2), explained(30)
    planted = random.permutation(np.repeat([0, 1, 2], [16, 10, 4]))
    centers = np.array([[5.0, 0, 0], [0, 5, 0], [0, 0, -5]])
    values = torch.from_numpy(centers[planted] + 0.3 * random.normal(size=(30, 3)))
    seen = pl.Overview(pl.Attribution(**{**vars(base), "values": values}))
    found = seen.clusters(3, by=by)
    np.testing.assert_array_equal(found.labels, planted)
    np.testing.assert_allclose(found.means, [values.numpy()[planted == i].mean(0) for i in range(3)])
    figure = found.figure()
    assert figure.breaks == (16, 26)
    assert [name for name in figure.row_names if name] == [
        "cluster 0 (16 rows)",
        "cluster 1 (10 rows)",
        "cluster 2 (4 rows)",
    ]
    assert found.means_figure().values.shape == (3, 3)
    assert "cluster 2" in found._repr_html_()
    assert set(seen.clusters(1, by=by).labels) == {0}


def test_words_are_counted_across_texts() -> None:
    model = pl.load("demo:sentences")
    texts = ["A good film.", "The good, good food.", "A slow bad film."]
    result = pl.KernelSHAP(budget=300)(model, texts, target="positive")
    seen = pl.Overview(result)
    assert set(seen.names) == {"a", "good", "film", "."}
    at = seen.names.index("good")
    second = dict_of(result, 1)
    assert seen.values[1, at] == pytest.approx(np.mean(second["good"]))
    assert np.isnan(seen.values[2, at])
    found = seen.importance()
    assert found.count[at] == 2
    assert found.values[at] == pytest.approx(np.mean(np.abs(seen.values[:2, at])))
    assert seen.beeswarm().html()
    assert seen.clusters(2).labels.shape == (3,)
    with pytest.raises(InputError, match="number in the input"):
        seen.dependence("good")
    with pytest.raises(EmptyError, match="two texts"):
        _ = pl.Overview(pl.KernelSHAP(budget=300)(model, "A good film.")).names


def dict_of(result: pl.Attribution, row: int) -> dict[str, list[float]]:
    """Word to its values, read off the bars of all parts."""
    bars = result.parts_figure(row, most=99)
    found: dict[str, list[float]] = {}
    for name, value in zip(bars.labels, bars.values, strict=True):
        found.setdefault(name.lower(), []).append(float(value))
    return found


def test_rows_that_explain_different_numbers_are_told() -> None:
    seen = pl.Overview(explained(20, target=None))
    assert len(seen.targets) == 2
    assert "different numbers" in seen.beeswarm().caption
    assert seen.unit == "contribution to the explained number"
    assert not pl.Overview(explained(20)).notes


def test_what_does_not_belong_together_is_refused() -> None:
    one = explained(1)
    with pytest.raises(InputError, match="two rows"):
        pl.Overview(one).importance()
    assert pl.Overview(one).beeswarm().text()
    assert pl.Overview(one)._repr_html_()
    with pytest.raises(DtypeError):
        pl.Overview(one.values)  # type: ignore[arg-type]
    with pytest.raises(EmptyError):
        pl.Overview([])
    other = pl.Saliency()(torch.nn.Linear(3, 1), torch.ones(1, 3))
    with pytest.raises(InputError, match="one method"):
        pl.Overview([one, other])
    wide = pl.Saliency()(torch.nn.Linear(4, 1), torch.ones(1, 4))
    with pytest.raises(InputError, match="same features"):
        _ = pl.Overview([other, wide]).names
    for k in (0, 13, 1.5):
        with pytest.raises(OptionError):
            pl.Overview(explained()).clusters(k)  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        pl.Overview(explained()).clusters(2, by="color")  # type: ignore[arg-type]


def test_many_rows_are_thinned_and_said() -> None:
    base = explained(3)
    values, inputs = torch.randn(1500, 3), torch.rand(1500, 3)
    score = torch.zeros(1500)
    seen = pl.Overview(
        pl.Attribution(**{**vars(base), "values": values, "inputs": inputs, "score": score, "target": pl.Class(0)})
    )
    figure = seen.beeswarm()
    assert len(figure.x) == 1200
    assert "400 of 1500 rows" in figure.caption
    assert len(figure.html()) < 400_000
    assert seen.clusters(3).figure().values.shape == (400, 3)
