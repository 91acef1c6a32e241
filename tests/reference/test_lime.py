"""LIME against exact answers, loops over neighbors in NumPy, and the lime package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.coalitions import bernoulli
from pellucid.engines.points import generator
from pellucid.errors import OptionError
from tests.reference.plain import Array, Tanh3, close, rows

NET = Tanh3()
X = rows()
TORCH = torch.from_numpy(X)
CLASSES = [NET.predicted(x) for x in X]
WIDE = Tanh3(inputs=12, seed=3)
WIDE_X = rows(3, width=12, seed=4)
WIDE_CLASSES = [WIDE.predicted(x) for x in WIDE_X]


def kernel(z: Array, distance: str, width: float | None = None) -> Array:
    """exp(−d² / 2 width²), one neighbor at a time."""
    n, weights = z.shape[1], []
    for one in z:
        if distance == "cosine":
            cosine = one.sum() / (np.linalg.norm(one) * np.sqrt(n)) if one.any() else 0.0
            d, usual = 1 - cosine, 0.25
        else:
            d, usual = np.linalg.norm(one - 1), 0.75 * np.sqrt(n)
        weights.append(np.exp(-((d / (width or usual)) ** 2) / 2))
    return np.array(weights)


def solved(z: Array, y: Array, w: Array, ridge: float) -> tuple[Array, float, float]:
    """Slopes, intercept and R² by the normal equations; the intercept is not penalized."""
    x = np.column_stack([np.ones(len(y)), z])
    penalty = ridge * np.diag([0.0] + [1.0] * z.shape[1])
    beta = np.linalg.solve(x.T @ (w[:, None] * x) + penalty, x.T @ (w * y))
    spread = (w * (y - np.average(y, weights=w)) ** 2).sum()
    return beta[1:], beta[0], 1 - (w * (y - x @ beta) ** 2).sum() / spread


def neighbors(n: int, budget: int, seed: int = 0) -> Array:
    return np.concatenate([np.ones((1, n)), bernoulli(budget - 1, n, 0.5, seed).numpy()]).astype(float)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("width", [None, 0.2, 3.0])
@pytest.mark.parametrize("budget", [100, 4096])
def test_a_linear_score_gets_its_own_slopes_whatever_the_kernel(
    distance: str, width: float | None, budget: int
) -> None:
    if (distance, width) == ("euclidean", 0.2):
        width = 0.8
    random = np.random.default_rng(0)
    slopes = random.normal(size=12)
    lime = pl.LIME(budget=budget, ridge=0, distance=distance, width=width)
    result = lime.play(lambda z: z @ slopes + 3.0, 12)
    close(result.values[0], slopes, 1e-8)
    close(result.extra["intercept"], [3.0], 1e-8)
    close(result.extra["r2"], [1.0], 1e-8)
    assert not result.notes
    assert result.receipt.rows_forward <= budget
    assert (result.standard_error is None) == (budget == 4096)
    if result.standard_error is not None:
        assert float(result.standard_error.max()) < 1e-8


@pytest.mark.parametrize("ridge", [0.0, 1.0, 20.0])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", [0, 5])
def test_against_a_loop_over_neighbors(ridge: float, distance: str, seed: int) -> None:
    """With repeated draws, which are asked once and count as often as they came."""
    z = neighbors(12, 80, seed)
    with pl.settings(seed=seed):
        result = pl.LIME(budget=80, ridge=ridge, distance=distance)(WIDE.module(), torch.from_numpy(WIDE_X))
    for row, (x, c) in enumerate(zip(WIDE_X, WIDE_CLASSES, strict=True)):
        y = np.array([WIDE.score(one * x, c) for one in z])
        slopes, intercept, r2 = solved(z, y, kernel(z, distance), ridge)
        close(result.values[row], slopes, 1e-9)
        close(result.extra["intercept"][row], intercept, 1e-9)
        close(result.extra["r2"][row], r2, 1e-9)
    assert result.receipt.rows_forward == 3 * len(np.unique(z, axis=0))


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_all_coalitions_weigh_as_much_as_the_budget(ridge: float) -> None:
    z = np.array(list(np.ndindex(*[2] * 5)), dtype=float)
    result = pl.LIME(budget=400, ridge=ridge)(NET.module(), TORCH)
    for row, (x, c) in enumerate(zip(X, CLASSES, strict=True)):
        y = np.array([NET.score(one * x, c) for one in z])
        close(result.values[row], solved(z, y, kernel(z, "euclidean") * 400 / 32, ridge)[0], 1e-9)
    assert result.standard_error is None
    assert result.receipt.rows_forward == 3 * 32


@pytest.mark.parametrize("selection", ["forward", "highest", "lasso", "auto"])
@pytest.mark.parametrize("count", [2, 8])
def test_parts_that_are_not_selected_get_nothing(selection: str, count: int) -> None:
    lime = pl.LIME(budget=80, select=count, selection=selection)
    result = lime(WIDE.module(), torch.from_numpy(WIDE_X))
    z = neighbors(12, 80)
    for row, (x, c) in enumerate(zip(WIDE_X, WIDE_CLASSES, strict=True)):
        kept = result.values[row].numpy() != 0
        assert kept.sum() <= count
        assert kept.sum() == count or selection == "lasso"
        y = np.array([WIDE.score(one * x, c) for one in z])
        close(result.values[row][torch.from_numpy(kept)], solved(z[:, kept], y, kernel(z, "euclidean"), 1.0)[0], 1e-9)
        assert float(result.standard_error[row][torch.from_numpy(~kept)].max()) == 0
        alone = lime(WIDE.module(), torch.from_numpy(x[None]))
        torch.testing.assert_close(alone.values[0], result.values[row])
    if selection == "auto":
        same = pl.LIME(budget=80, select=count, selection="forward" if count == 2 else "highest")
        assert torch.equal(same(WIDE.module(), torch.from_numpy(WIDE_X)).values, result.values)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("selection", "theirs"),
    [(None, "none"), ("forward", "forward_selection"), ("highest", "highest_weights"), ("lasso", "lasso_path")],
)
def test_the_lime_package_on_the_same_neighbors(selection: str | None, theirs: str) -> None:
    """The same samples, the same weights, the same slopes."""
    base = pytest.importorskip("lime.lime_base")
    z = neighbors(12, 100)
    x, c = WIDE_X[0], WIDE_CLASSES[0]
    y = np.array([WIDE.score(one * x, c) for one in z])
    distances = np.array([1 - np.sqrt(one.mean()) for one in z])
    explainer = base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    intercept, slopes, r2, _ = explainer.explain_instance_with_data(z, y[:, None], distances, 0, 3, theirs)
    expected = np.zeros(12)
    for i, slope in slopes:
        expected[i] = slope
    chosen = {} if selection is None else {"select": 3, "selection": selection}
    lime = pl.LIME(budget=100, distance="cosine", width=0.25, **chosen)
    result = lime(WIDE.module(), torch.from_numpy(x[None]))
    close(result.values[0], expected, 1e-9)
    close(result.extra["intercept"], [intercept], 1e-9)
    close(result.extra["r2"], [r2], 1e-9)


def test_intervals_cover_the_slopes_of_all_coalitions() -> None:
    random = np.random.default_rng(2)
    inside, outside = random.normal(size=(8, 6)), random.normal(size=6)

    def score(z: Array) -> Array:
        return np.tanh(z @ inside) @ outside + 0.5 * z[:, 0] * z[:, 1]

    z = np.array(list(np.ndindex(*[2] * 8)), dtype=float)
    weights = kernel(z, "euclidean") * 60 / 256
    expected = solved(z, score(z), weights, 1.0)[0]
    hits = []
    for seed in range(60):
        with pl.settings(seed=seed):
            result = pl.LIME(budget=60).play(score, 8)
        hits.append(np.abs(result.array() - expected) < 1.96 * result.standard_error[0].numpy())
    assert np.mean(hits) >= 0.9
    assert np.mean(hits) <= 0.995  # nor are they as wide as a barn door


# ---------------------------------------------------------------------------- tables with background rows

COLUMNS = ("age", "income", "color", "size", "always")
LEVELS = {"color": ("red", "green", "blue"), "size": ("s", "l")}


def people(count: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(count, 2)) * [10, 3] + [50, 20]
    levels = np.stack([random.integers(0, 3, count), random.integers(0, 2, count)], 1)
    return np.column_stack([numbers, levels, np.full(count, 7.0)])


def table(background: Any) -> pl.Table:
    return pl.Table(
        columns=COLUMNS,
        categories=LEVELS,
        one_hot=("color",),
        mean=(50.0, 20.0, 0.0, 0.0, 0.0),
        std=(10.0, 3.0, 1.0, 1.0, 1.0),
        background=background,
    )


def household() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize(("bins", "ridge"), [(4, 1.0), (2, 0.0), (7, 3.0)])
def test_a_table_with_background_rows(bins: int, ridge: float) -> None:
    """Each column of a neighbor is a background row's; z says whether it shares the explained row's bin or level."""
    known, asked, net, budget = people(60, 0), people(3, 1), household(), 120
    asked[0, :2] = known[3, :2]
    model = pl.Model(net, inputs=table(known))
    with pl.settings(seed=6):
        result = pl.LIME(budget=budget, bins=bins, ridge=ridge)(model, asked)
    random = generator(6, 5, 3)
    drawn = torch.randint(60, (256, 5), generator=random).numpy()[: budget - 1]
    encode = table(None).prepare
    for row, x in enumerate(asked):
        c = int(net(encode(x[None]).double()).argmax())
        z, points = [np.ones(5)], [x]
        for numbers in drawn:
            point = np.array([known[r, i] for i, r in enumerate(numbers)])
            points.append(point)
            alike = [point[i] == x[i] for i in range(5)]
            for i in (0, 1):
                cuts = [np.percentile(known[:, i], 100 * k / bins) for k in range(1, bins)]
                alike[i] = sum(x[i] > cut for cut in cuts) == sum(point[i] > cut for cut in cuts)
            z.append(np.array(alike, dtype=float))
        design = np.array(z)
        y = net(encode(np.array(points)).double())[:, c].detach().numpy()
        used = design.std(0) > 0
        slopes, intercept, r2 = solved(design[:, used], y, kernel(design, "euclidean"), ridge)
        found = table(None).by_column(result.array(row)) / [1, 1, 3, 1, 1]
        close(found[used], slopes, 1e-6)
        assert np.abs(found[~used]).max() < 1e-12
        close(result.extra["r2"][row], r2, 1e-6)
        if ridge:
            close(result.extra["intercept"][row], intercept, 1e-6)
        with pl.settings(seed=6):
            alone = pl.LIME(budget=budget, bins=bins, ridge=ridge)(model, asked[row : row + 1])
        torch.testing.assert_close(alone.values[0], result.values[row])
    assert result.receipt.rows_forward == 3 * budget
    assert result.extra["hidden_by"] == "values of background rows"
    assert result.standard_error.shape == result.values.shape


def test_a_fill_or_other_features_hide_columns_of_a_table_instead() -> None:
    known, asked = people(30, 0), people(2, 1)
    model, plain = pl.Model(household(), inputs=table(known)), pl.Model(household(), inputs=table(None))
    mean = torch.as_tensor(pl.Mean()(question(model, asked))[0])
    torch.testing.assert_close(
        pl.LIME(fill=pl.Mean())(model, asked).values, pl.LIME(fill=mean[:1])(plain, asked).values
    )
    pairs = pl.Groups({"who": ["age", "color"], "what": ["income", "size", "always"]})
    assert pl.LIME(features=pairs)(model, asked).extra["players"].shape == (2, 2)
    assert pl.LIME(features=pl.Columns())(model, asked).extra["hidden_by"] == "values of background rows"


def test_targets_add_up_for_a_table_with_background_rows() -> None:
    model, asked = pl.Model(household(), inputs=table(people(30, 0))), people(2, 1)
    one, two, both = (
        pl.LIME(budget=60)(model, asked, target=each).values
        for each in (pl.Class(0), pl.Class(1), 2.0 * pl.Class(0) - pl.Class(1))
    )
    torch.testing.assert_close(both, 2 * one - two)


def test_a_step_of_one_column_is_the_slope_of_its_bin() -> None:
    """Half of the rows lie below 0: the score 1[x₁ ≤ 0] is linear in z, and no other column matters."""
    known = np.random.default_rng(0).normal(size=(200, 3))
    known[:, 1] -= np.median(known[:, 1])
    box = pl.BlackBox(lambda x: 5.0 * (x[:, 1] <= 0), inputs=pl.Table(columns=("a", "b", "c"), background=known))
    result = pl.LIME(budget=200, bins=2, ridge=0)(box, np.array([[0.3, -0.5, 0.1], [0.3, 0.5, 0.1]]))
    close(result.values, [[0, 5, 0], [0, -5, 0]], 1e-6)
    close(result.extra["r2"], [1.0, 1.0], 1e-6)


# ---------------------------------------------------------------------------- notes, sampling, resuming, bad input


def test_a_note_tells_where_the_linear_model_explains_little() -> None:
    def parity(z: Array) -> Array:
        return np.prod(1 - 2 * z, 1)

    result = pl.LIME(budget=200).play(parity, 9)
    (note,) = result.notes
    share = 100 * float(result.extra["r2"])
    assert share < 50
    assert note == f"the linear model explains only {share:.0f} % of how the score varies"
    assert note in result.words()
    rows_of_two = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    box = pl.BlackBox(lambda x: np.prod(2 * x - 1, 1), inputs=pl.Table(columns=("a", "b", "c")))
    notes = pl.LIME()(box, rows_of_two).notes
    assert len(notes) == 1
    assert "(row 0)" in notes[0]
    many = pl.LIME()(box, rows_of_two[[0] * 6]).notes[0]
    assert many.count("(row") == 3
    assert "3 more rows" in many


def test_a_text_is_explained_by_words_and_sentences_of_any_length_together() -> None:
    model = pl.load("demo:sentences")
    texts = ["A good film.", "It was a dull story and the actors were bad."]
    both = pl.LIME(budget=40)(model, texts)
    assert both.extra["r2"].shape == (2,)
    for row, text in enumerate(texts):
        alone = pl.LIME(budget=40)(model, text)
        torch.testing.assert_close(alone.extra["players"][0], both.extra["players"][row][0], rtol=1e-5, atol=1e-6)


def test_pictures_and_texts_use_the_cosine() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    parts = pl.Patches(2)
    usual = pl.LIME(features=parts)(net, x).values
    torch.testing.assert_close(usual, pl.LIME(features=parts, distance="cosine", width=0.25)(net, x).values)
    assert not torch.allclose(usual, pl.LIME(features=parts, distance="euclidean")(net, x).values)


def test_a_picture_has_superpixels_of_its_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    x = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), 24)
    result = pl.LIME(budget=80)(net, x)
    assert result.values.shape == x.shape
    assert result.extra["r2"].shape == result.extra["intercept"].shape == (2,)
    for row in range(2):
        assert len(result.values[row].unique()) > 10
        alone = pl.LIME(budget=80)(net, x[row : row + 1])
        torch.testing.assert_close(alone.values[0], result.values[row])
        torch.testing.assert_close(alone.extra["r2"], result.extra["r2"][row : row + 1])


def test_a_tolerance_stops_early_and_a_larger_budget_asks_nothing_twice(tmp_path: Path) -> None:
    net, x = WIDE.module(), torch.from_numpy(WIDE_X)
    loose = pl.LIME(budget=1600, tolerance=0.5)(net, x)
    full = pl.LIME(budget=1600)(net, x)
    assert loose.receipt.rows_forward < full.receipt.rows_forward
    error = loose.standard_error
    assert bool((1.96 * error.amax(1) <= 0.5 * loose.values.abs().amax(1)).all())
    assert float((loose.values - full.values).abs().max()) < 5 * float(error.max())
    loose.save(tmp_path / "loose.safetensors")
    resumed = pl.LIME(budget=1600, resume=tmp_path / "loose.safetensors")(net, x)
    torch.testing.assert_close(resumed.values, full.values)
    # The clean score is asked again.
    assert resumed.receipt.rows_forward == full.receipt.rows_forward - loose.receipt.rows_forward + 3


def test_a_table_is_resumed_with_the_same_background_rows_only() -> None:
    known, asked = people(30, 0), people(2, 1)
    model = pl.Model(household(), inputs=table(known))
    first = pl.LIME(budget=50)(model, asked)
    again = pl.LIME(budget=80, bins=2, resume=first)(model, asked)
    assert again.receipt.rows_forward == 2 * (80 - 50 + 1)
    torch.testing.assert_close(again.values, pl.LIME(budget=80, bins=2)(model, asked).values)
    other = pl.Model(household(), inputs=table(people(30, 9)))
    fresh = pl.LIME(budget=50, resume=first)(other, asked)
    torch.testing.assert_close(fresh.values, pl.LIME(budget=50)(other, asked).values)


@pytest.mark.parametrize(
    "options",
    [
        {"ridge": -1.0},
        {"ridge": float("nan")},
        {"distance": "manhattan"},
        {"selection": "best"},
        {"select": 0},
        {"width": 0},
        {"bins": 1},
        {"budget": 3},
    ],
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        pl.LIME(**options)
    assert caught.value.do


def test_questions_that_are_refused() -> None:
    net, x = WIDE.module(), torch.from_numpy(WIDE_X)
    with pytest.raises(OptionError, match="at least 15"):
        pl.LIME(budget=14)(net, x)
    assert pl.LIME(budget=15)(net, x).receipt.rows_forward <= 45
    with pytest.raises(OptionError, match="weigh nothing"):
        pl.LIME(width=1e-3)(net, x)
    one = pl.Model(household(), inputs=table(people(1, 0)))
    with pytest.raises(OptionError, match="two background rows"):
        pl.LIME()(one, people(2, 1))


def test_one_part_and_parts_that_never_change() -> None:
    one = pl.LIME(ridge=0)(nn.Linear(1, 1, bias=False), torch.tensor([[2.0]]))
    torch.testing.assert_close(one.values, one.score[:, None])
    hidden_by_itself = torch.zeros(1, 4)
    still = pl.LIME()(nn.Linear(4, 2), hidden_by_itself)
    assert float(still.values.abs().max()) == 0
    assert still.extra["r2"].tolist() == [1.0]
    assert not still.notes
