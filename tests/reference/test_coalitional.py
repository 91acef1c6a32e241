"""Values of games given as tables: axioms, sums over orders that respect a hierarchy, and how well intervals cover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pellucid as pl
from pellucid.errors import EmptyError, OptionError, UnknownName
from tests.reference.plain import Array, Tanh3, close

Play = Callable[[Any], Any]
NESTED = Any

SHAPLEY = {
    "ExactShapley": pl.ExactShapley(),
    "KernelSHAP": pl.KernelSHAP(),
    "LeverageSHAP": pl.LeverageSHAP(),
    "PermutationSHAP": pl.PermutationSHAP(),
    "RegressionMSR": pl.RegressionMSR(),
}
EVERY = SHAPLEY | {"Owen": pl.Owen(hierarchy=[0, 1, 2, 3]), "Banzhaf": pl.Banzhaf()}


def number(z: Any) -> Any:
    """The place of coalitions (k, n) in a table of all of them; player 0 is the lowest bit."""
    return (np.asarray(z) @ 2 ** np.arange(np.shape(z)[1])).astype(int)


def looked_up(table: Array) -> Play:
    return lambda z: table[number(z)]


def random_table(n: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=2**n)


def values(method: Any, table: Array, n: int) -> Array:
    return np.asarray(method.play(looked_up(table), n).values[0])


@pytest.mark.parametrize("name", EVERY)
@given(seed=st.integers(0, 10**6))
def test_axioms(name: str, seed: int) -> None:
    """Linear; a player that adds nothing gets nothing, one that adds a constant gets it; equals get the same."""
    method, n = EVERY[name], 4
    one, two = random_table(n, seed), random_table(n, seed + 1)
    both = values(method, 2 * one - 0.5 * two, n)
    close(both, 2 * values(method, one, n) - 0.5 * values(method, two, n), 1e-9)
    codes = np.arange(2**n)
    ignored = one[codes & ~4]
    assert abs(values(method, ignored, n)[2]) < 1e-12
    assert abs(values(method, ignored + 1.5 * (codes & 4 > 0), n)[2] - 1.5) < 1e-9
    swapped = (codes & ~3) | ((codes & 1) << 1) | ((codes & 2) >> 1)
    alike = values(method, one + one[swapped], n)
    assert abs(alike[0] - alike[1]) < 1e-9
    if name != "Banzhaf":
        assert abs(values(method, one, n).sum() - (one[-1] - one[0])) < 1e-9
        assert float(method.play(looked_up(one), n).gap) < 1e-9


@pytest.mark.parametrize("name", SHAPLEY)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 5))
def test_where_all_coalitions_fit_every_estimator_is_the_mean_over_orders(name: str, seed: int, n: int) -> None:
    table = random_table(n, seed)
    close(values(SHAPLEY[name], table, n), over_orders(table, n, permutations(range(n))), 1e-9)


@given(n=st.integers(2, 6), data=st.data())
def test_unanimity_games(n: int, data: Any) -> None:
    """1 where all of T are there, else 0: 1/|T| for each of them, and 2^(1 − |T|) of Banzhaf."""
    members = data.draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    game = lambda z: np.asarray(z)[:, members].all(1) * 1.0  # noqa: E731
    inside = np.isin(np.arange(n), members)
    close(pl.ExactShapley().play(game, n).values[0], inside / len(members))
    close(pl.Banzhaf().play(game, n).values[0], inside / 2 ** (len(members) - 1))
    halves = pl.Owen(hierarchy=[list(range(n))[: n // 2], list(range(n))[n // 2 :]]).play(game, n).values[0]
    sides = [[i for i in members if i < n // 2], [i for i in members if i >= n // 2]]
    active = [side for side in sides if side]
    expected = [sum(1 / len(active) / len(side) for side in active if i in side) for i in range(n)]
    close(halves, expected)


def over_orders(table: Array, n: int, orders: Any) -> Array:
    """The mean over orders of what a player adds when it comes."""
    total, count = np.zeros(n), 0
    for order in orders:
        before = 0
        for player in order:
            total[player] += table[before | 1 << player] - table[before]
            before |= 1 << player
        count += 1
    return total / count


@pytest.mark.parametrize("seed", range(3))
def test_banzhaf_is_the_mean_step_into_all_coalitions(seed: int) -> None:
    n, table = 5, random_table(5, seed)
    expected = [np.mean([table[s | 1 << i] - table[s] for s in range(2**n) if not s >> i & 1]) for i in range(n)]
    close(pl.Banzhaf().play(looked_up(table), n).values[0], expected)


@pytest.mark.parametrize("name", [*SHAPLEY, "Banzhaf"])
def test_drawn_coalitions_are_enough_for_pairs(name: str) -> None:
    """A game of single players and pairs is solved exactly by complements; there is nothing left to be unsure of."""
    if name == "ExactShapley":
        return
    random = np.random.default_rng(3)
    n, single, pair = 14, random.normal(size=14), np.triu(random.normal(size=(14, 14)), 1)
    game = lambda z: z @ single + np.einsum("ki,ij,kj->k", z, pair, z)  # noqa: E731
    expected = single + (pair + pair.T).sum(1) / 2
    options = {"proxy": "linear"} if name == "RegressionMSR" else {}
    result = type(EVERY[name])(budget=120, **options).play(lambda z: game(np.asarray(z, dtype=float)), n)
    assert result.receipt.rows_forward <= 120
    if name == "RegressionMSR":  # the ridge shrinks a little, which the sampled rest puts right up to its error
        assert bool(((result.values - torch.from_numpy(expected)).abs() <= 4 * result.standard_error + 1e-9).all())
        assert float(result.standard_error.max()) < 1e-2
    else:
        close(result.values[0], expected, 1e-8)
        assert float(result.standard_error.max()) < 1e-8


# ---------------------------------------------------------------------------------------------------- Owen


def orders_of(tree: NESTED) -> Iterator[tuple[int, ...]]:
    """All orders that keep every group together."""
    if isinstance(tree, int):
        yield (tree,)
        return
    for children in permutations(tree):
        parts: list[tuple[int, ...]] = [()]
        for child in children:
            parts = [done + more for done in parts for more in orders_of(child)]
        yield from parts


def random_hierarchy(players: list[int], random: np.random.Generator) -> NESTED:
    """Groups of one to three, nested at random."""
    if len(players) == 1:
        return players[0]
    parts = min(len(players), int(random.integers(2, 4)))
    cuts = sorted(random.choice(np.arange(1, len(players)), parts - 1, replace=False).tolist())
    return [
        random_hierarchy(players[a:b], random) for a, b in zip([0, *cuts], [*cuts, len(players)], strict=True) if b > a
    ]


@given(n=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_owen_is_the_mean_over_orders_that_keep_groups_together(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    hierarchy, table = random_hierarchy(random.permutation(n).tolist(), random), random_table(n, seed)
    expected = over_orders(table, n, orders_of(hierarchy))
    result = pl.Owen(hierarchy=hierarchy).play(looked_up(table), n)
    close(result.values[0], expected, 1e-10)
    assert result.notes == ()


@given(seed=st.integers(0, 10**6))
def test_row_6_singletons_or_one_group_are_shapley_and_groups_add_up_to_the_quotient(seed: int) -> None:
    n, table = 6, random_table(6, seed)
    exact = values(pl.ExactShapley(), table, n)
    close(values(pl.Owen(hierarchy=list(range(n))), table, n), exact)
    close(values(pl.Owen(hierarchy=[list(range(n))]), table, n), exact)
    groups = [[0, 3], [1, 2, 5], [4]]
    found = values(pl.Owen(hierarchy=groups), table, n)

    def quotient(z: Any) -> Any:
        codes = sum(np.asarray(z)[:, k].astype(int) * sum(1 << i for i in group) for k, group in enumerate(groups))
        return table[codes]

    sums = [found[group].sum() for group in groups]
    close(sums, np.asarray(pl.ExactShapley().play(quotient, 3).values[0]))


def test_a_group_of_features_plays_the_quotient_game() -> None:
    """Groups as features: Shapley values of the groups, with any estimator; their sums are Owen's."""
    net, x = Tanh3(seed=9), torch.randn(2, 5, dtype=torch.float64)
    groups = {"left": [0, 3], "middle": [1], "right": [2, 4]}
    by_group = pl.KernelSHAP(features=pl.Groups(groups))(net.module(), x)
    owen = pl.Owen(hierarchy=list(groups.values()))(net.module(), x)
    for k, members in enumerate(groups.values()):
        close(by_group.extra["players"][:, k], owen.values[:, members].sum(1))
        close(by_group.values[:, members].sum(1), owen.values[:, members].sum(1))
    for row, c in zip(x, [net.predicted(row.numpy()) for row in x], strict=True):
        v = {}
        for code in range(8):
            shown = [i for k, members in enumerate(groups.values()) if code >> k & 1 for i in members]
            v[code] = net.score(np.where(np.isin(np.arange(5), shown), row.numpy(), 0), c)
        expected = over_orders(np.array([v[code] for code in range(8)]), 3, permutations(range(3)))
        alone = pl.ExactShapley(features=pl.Groups(groups))(net.module(), row[None], target=c)
        close(alone.extra["players"][0], expected)


@pytest.mark.parametrize("budget", [4, 5, 6, 9, 17, 40, 90, 175])
def test_a_cut_hierarchy_is_exact_for_what_it_is(budget: int) -> None:
    """Never over budget; groups not split share equally; the sums over groups are the Owen values of the full one."""
    n, table = 16, random_table(16, 5)
    calls = []

    def counted(z: Any) -> Any:
        calls.append(len(z))
        return table[number(z)]

    halves = lambda a, b: a if b - a == 1 else [halves(a, (a + b) // 2), halves((a + b) // 2, b)]  # noqa: E731
    result = pl.Owen(budget=budget, hierarchy=halves(0, n)).play(counted, n)
    assert result.receipt.rows_forward <= budget
    assert float(result.gap) < 1e-9
    full = pl.Owen(budget=2048, hierarchy=halves(0, n)).play(looked_up(table), n)
    assert (full.receipt.rows_forward, full.notes) == (172, ())
    found, exact = np.asarray(result.values[0]), np.asarray(full.values[0])
    close(found[:8].sum(), exact[:8].sum(), 1e-9)
    if budget >= 172:
        close(found, exact)
    else:
        assert result.notes == (f"{result.extra['unsplit']} parts not split further",)
        for a, b in zip(*np.unique(found, return_index=True), strict=True):
            same = np.flatnonzero(np.abs(found - a) < 1e-12)
            assert len(same) in (1, 2, 4, 8)
            assert same[0] == b
            close(exact[same].sum(), found[same].sum(), 1e-9)


def test_what_moves_the_score_is_split_first() -> None:
    game = lambda z: 10.0 * (z[:, 5] & z[:, 6]) + 0.1 * z.sum(1)  # noqa: E731
    hierarchy = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    result = pl.Owen(budget=24, hierarchy=hierarchy).play(game, 8)
    close(result.values[0], [0.1, 0.1, 0.1, 0.1, 0.1, 5.1, 5.1, 0.1], 1e-9)
    assert result.extra["unsplit"] == 1


def test_a_hierarchy_may_be_names_and_leave_some_out() -> None:
    table = random_table(5, 2)
    names = ["height", "weight", "sugar", "salt", "age"]
    said = pl.Owen(hierarchy={"body": ["height", "weight"], "blood": {"a": ["sugar"], "b": "salt"}})
    close(said.play(looked_up(table), names).values[0], over_orders(table, 5, orders_of([[0, 1], [2, 3], 4])), 1e-10)


@pytest.mark.parametrize(
    ("hierarchy", "error"),
    [
        ([[0, 1], [1, 2]], OptionError),
        ([[0, 9]], OptionError),
        ({"a": []}, EmptyError),
        ([["nobody"]], UnknownName),
        (3.5, OptionError),
    ],
)
def test_what_no_hierarchy_can_be(hierarchy: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        pl.Owen(hierarchy=hierarchy).play(lambda z: z.sum(1) * 1.0, 4)


def test_too_many_parts_at_the_top() -> None:
    with pytest.raises(OptionError) as caught:
        pl.Owen(budget=100, hierarchy=list(range(8))).play(lambda z: z.sum(1) * 1.0, 8)
    assert "256" in caught.value.expected


def test_examples_are_cut_each_in_its_own_way() -> None:
    """Two examples with different evidence, in a batch and alone."""
    box = pl.BlackBox(lambda rows: rows[:, 1] * rows[:, 2] + rows[:, 5] * rows[:, 6], task="regression")
    x = np.array([[0, 3.0, 3.0, 0, 0, 1.0, 0.1, 0], [0, 0.1, 1.0, 0, 0, 3.0, 3.0, 0]])
    method = pl.Owen(budget=24, fill=0.0)
    together = method(box, x)
    for row in range(2):
        close(together.values[row], np.asarray(method(box, x[row : row + 1]).values[0]))
    close(together.values[0, 1:3], [4.5, 4.5], 1e-6)
    close(together.values[1, 5:7], [4.5, 4.5], 1e-6)


# ---------------------------------------------------------------------------------------------------- how sure


@cache
def twelve() -> tuple[Array, dict[str, Array]]:
    """A random game of 12 players: smooth, with noise; its Shapley and Banzhaf values."""
    random, n = np.random.default_rng(11), 12
    z = np.arange(2**n)[:, None] >> np.arange(n) & 1
    table = np.tanh(z @ random.normal(size=(n, 6)) * 0.7) @ random.normal(size=6) + 0.1 * random.normal(size=2**n)
    game = looked_up(table)
    shapley = np.asarray(pl.ExactShapley().play(game, n).values[0])
    banzhaf = np.asarray(pl.Banzhaf(budget=2**n).play(game, n).values[0])
    return table, {"shapley": shapley, "banzhaf": banzhaf}


SURE = {
    "KernelSHAP": (pl.KernelSHAP(budget=300), 60),
    "LeverageSHAP": (pl.LeverageSHAP(budget=300), 60),
    "PermutationSHAP": (pl.PermutationSHAP(budget=300), 60),
    "Banzhaf": (pl.Banzhaf(budget=300), 60),
    "RegressionMSR": (pl.RegressionMSR(budget=300, proxy="linear"), 60),
    "RegressionMSR, trees": (pl.RegressionMSR(budget=150), 5),
}


@pytest.mark.parametrize("name", SURE)
def test_nominal_95_percent_intervals_cover(name: str) -> None:
    """In at least 90 % of players and seeds; the mean over seeds is the exact value, as far as its error tells."""
    method, seeds = SURE[name]
    table, exact = twelve()
    truth = exact["banzhaf" if name == "Banzhaf" else "shapley"]
    missed, errors = [], []
    for seed in range(seeds):
        with pl.settings(seed=seed):
            result = method.play(looked_up(table), 12)
        missed.append(np.asarray(result.values[0]) - truth)
        errors.append(np.asarray(result.standard_error[0]))
    inside = np.abs(missed) <= 1.96 * np.array(errors) + 1e-12
    assert inside.mean() >= (0.9 if seeds >= 60 else 0.85)
    told, real = np.mean(np.square(errors)) ** 0.5, np.mean(np.square(missed)) ** 0.5
    assert 0.7 * real <= told <= 1.5 * real
    bias = np.abs(np.mean(missed, 0)) / (real / seeds**0.5)
    assert bias.max() < 4.5


def test_budget_tolerance_and_too_little_of_it() -> None:
    table, _ = twelve()
    game = looked_up(table)
    for method in (pl.Banzhaf(budget=100), pl.RegressionMSR(budget=100, proxy="linear")):
        assert method.play(game, 12).receipt.rows_forward <= 100
    loose = pl.RegressionMSR(budget=3000, proxy="linear", tolerance=0.5).play(game, 12)
    assert loose.receipt.rows_forward < 1000
    for method in (pl.Banzhaf(budget=27), pl.RegressionMSR(budget=47)):
        with pytest.raises(OptionError):
            method.play(game, 12)


# ---------------------------------------------------------------------------------------------------- peers


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_peers_agree(seed: int) -> None:
    shap, shapiq = pytest.importorskip("shap"), pytest.importorskip("shapiq")
    n, table = 6, random_table(6, seed)
    computer = shapiq.ExactComputer(n_players=n, game=looked_up(table))
    close(values(pl.Banzhaf(), table, n), computer("BV", order=1).get_n_order_values(1), 1e-9)
    for name, method in SHAPLEY.items():
        close(values(method, table, n), computer("SV", order=1).get_n_order_values(1), 1e-9), name
    predict = lambda rows: table[number(rows > 0.5)]  # noqa: E731
    theirs = shap.explainers.Exact(predict, np.zeros((1, n)))(np.ones((1, n))).values[0]
    close(values(pl.ExactShapley(), table, n), theirs, 1e-9)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_binary_hierarchy_is_what_shap_calls_partition() -> None:
    shap = pytest.importorskip("shap")
    n, table = 5, random_table(5, 1)
    merges = np.array([[0, 1, 0.1, 2], [2, 3, 0.2, 2], [4, 6, 0.3, 3], [5, 7, 0.4, 5]])
    masker = shap.maskers.Partition(np.zeros((2, n)), clustering=merges)
    predict = lambda rows: table[number(rows > 0.5)]  # noqa: E731
    theirs = shap.explainers.Partition(predict, masker)(np.ones((1, n)), max_evals=1000).values[0]
    close(values(pl.Owen(hierarchy=[[0, 1], [4, [2, 3]]]), table, n), theirs, 1e-9)
