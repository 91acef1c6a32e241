"""Interactions against sums over subsets, orders and a regression written out, and against quadratic forms."""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.errors import OptionError
from tests.reference.plain import Array, close
from tests.reference.test_coalitional import looked_up, number, random_table
from tests.reference.test_exact import Identity

INDEXES = ("SII", "STII", "FSII", "Möbius")
Term = tuple[int, ...]


def code(players: Any) -> int:
    return sum(1 << i for i in players)


def subsets(players: Any) -> list[Term]:
    players = tuple(players)
    return [each for size in range(len(players) + 1) for each in combinations(players, size)]


def together(table: Array, term: Term, context: Term) -> float:
    """The discrete derivative: what a term does beyond its parts, beside a context."""
    return float(sum((-1) ** (len(term) - len(part)) * table[code(part + context)] for part in subsets(term)))


def slow(table: Array, n: int, index: str, order: int) -> dict[Term, float]:
    """Each index by its definition."""
    terms = [term for term in subsets(range(n)) if 1 <= len(term) <= order]
    if index == "FSII":
        return faithful(table, n, terms)
    return {term: by_definition(table, n, index, order, term) for term in terms}


def by_definition(table: Array, n: int, index: str, order: int, term: Term) -> float:
    t, others = len(term), [i for i in range(n) if i not in term]
    if index == "Möbius" or (index == "STII" and t < order):
        return together(table, term, ())
    if index == "SII":  # Grabisch & Roubens: every context weighted by its size
        return sum(
            factorial(n - len(context) - t)
            * factorial(len(context))
            / factorial(n - t + 1)
            * together(table, term, context)
            for context in subsets(others)
        )
    found = []  # Sundararajan, Dhamdhere & Agarwal: those who come before all of the term in a random order
    for arrival in permutations(range(n)):
        first = min(arrival.index(i) for i in term)
        found.append(together(table, term, tuple(sorted(arrival[:first]))))
    return float(np.mean(found))


def faithful(table: Array, n: int, terms: list[Term]) -> dict[Term, float]:
    """Tsai, Yeh & Ravikumar: the weighted regression with both ends as constraints."""
    columns = np.array([[float(set(term) <= set(some)) for term in terms] for some in subsets(range(n))])
    y = np.array([table[code(some)] - table[0] for some in subsets(range(n))])
    sizes = [len(some) for some in subsets(range(n))]
    w = np.array([(n - 1) / (comb(n, s) * s * (n - s)) if 0 < s < n else 0.0 for s in sizes])[:, None]
    normal, one = columns.T @ (w * columns), np.ones((len(terms), 1))
    system = np.block([[normal, one], [one.T, np.zeros((1, 1))]])
    right = np.append(columns.T @ (w[:, 0] * y), table[-1] - table[0])
    return dict(zip(terms, np.linalg.lstsq(system, right, rcond=None)[0][: len(terms)].tolist(), strict=True))


def found(result: pl.Attribution, term: Term) -> float:
    if len(term) == 1:
        return float(result.values[0, term[0]])
    if len(term) == 2:
        return float(result.extra["interactions"][0, term[0], term[1]])
    return float(result.extra["terms"][term][0])


@pytest.mark.parametrize("index", INDEXES)
@given(n=st.integers(1, 5), order=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_every_index_is_its_definition(index: str, n: int, order: int, seed: int) -> None:
    order, table = min(order, n), random_table(n, seed)
    if index == "FSII" and order == n:  # then the regression is not unique inside: any game is its own best fit
        order = max(1, n - 1)
    result = pl.ShapleyInteractions(index=index, order=order).play(looked_up(table), n)
    for term, expected in slow(table, n, index, order).items():
        assert abs(found(result, term) - expected) < 1e-8, (term, index)
    pairs = result.extra["interactions"]
    assert torch.equal(pairs, pairs.mT)
    assert float(pairs.diagonal(dim1=1, dim2=2).abs().max()) == 0
    assert ("terms" in result.extra) == (order > 2)


@given(seed=st.integers(0, 10**6))
def test_what_adds_up(seed: int) -> None:
    """Terms of STII and FSII add up to f(x) − f(nothing); order 1 of all three are Shapley values."""
    n, table = 5, random_table(5, seed)
    shapley = pl.ExactShapley().play(looked_up(table), n).values[0]
    for index in ("SII", "STII", "FSII"):
        close(pl.ShapleyInteractions(index=index, order=1).play(looked_up(table), n).values[0], np.asarray(shapley))
    close(pl.ShapleyInteractions(index="SII").play(looked_up(table), n).values[0], np.asarray(shapley))
    for index in ("STII", "FSII"):
        result = pl.ShapleyInteractions(index=index, order=3).play(looked_up(table), n)
        total = float(result.values.sum() + result.extra["interactions"].sum() / 2)
        total += sum(float(each) for each in result.extra["terms"].values())
        assert abs(total - (table[-1] - table[0])) < 1e-9


@pytest.mark.parametrize("index", INDEXES)
def test_row_5_a_quadratic_form(index: str) -> None:
    """x'Qx from zero: 2 Qᵢⱼ xᵢ xⱼ for each pair, whatever the index; nothing for larger groups."""
    random = torch.Generator().manual_seed(5)
    q, x = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in ((5, 5), (3, 5)))
    q = q + q.T
    target = pl.Function(lambda y: ((y @ q) * y).sum(1))
    result = pl.ShapleyInteractions(index=index, order=3, fill=0.0)(Identity(), x, target=target)
    expected = 2 * q * x[:, :, None] * x[:, None, :] * (1 - torch.eye(5))
    close(result.extra["interactions"], expected.numpy(), 1e-10)
    main = q.diagonal() * x.square()
    close(result.values, (main + expected.sum(2) / 2 if index == "SII" else main).numpy(), 1e-10)
    assert max(float(each.abs().max()) for each in result.extra["terms"].values()) < 1e-10
    assert result.extra["terms"][0, 2, 4].shape == (3,)
    assert result.standard_error is None


@pytest.mark.parametrize("index", ["SII", "STII", "FSII"])
def test_drawn_coalitions_are_enough_for_a_quadratic_form(index: str) -> None:
    random = np.random.default_rng(2)
    n, q = 14, random.normal(size=(14, 14))
    q = (q + q.T) / 2
    method = pl.ShapleyInteractions(index=index, budget=400)
    result = method.play(lambda z: np.einsum("ki,ij,kj->k", z * 1.0, q, z * 1.0), n)
    assert result.receipt.rows_forward <= 400
    assert result.extra["interaction_error"].shape == (1, n, n)
    missed = np.abs(np.asarray(result.extra["interactions"][0]) - 2 * q * (1 - np.eye(n)))
    assert missed.max() < (1e-8 if index == "FSII" else 1e-3)
    assert float(result.extra["interaction_error"].max()) < (1e-8 if index == "FSII" else 1e-2)


@pytest.mark.parametrize("index", ["SII", "STII", "FSII"])
def test_nominal_95_percent_intervals_of_pairs_cover(index: str) -> None:
    random, n = np.random.default_rng(8), 10
    z = np.arange(2**n)[:, None] >> np.arange(n) & 1
    table = np.tanh(z @ random.normal(size=(n, 6)) * 0.7) @ random.normal(size=6) + 0.05 * random.normal(size=2**n)
    exact = pl.ShapleyInteractions(index=index).play(looked_up(table), n)
    upper, inside, told, real = np.triu_indices(n, 1), [], [], []
    for seed in range(20):
        with pl.settings(seed=seed):
            result = pl.ShapleyInteractions(index=index, budget=300).play(looked_up(table), n)
        missed = np.asarray(result.extra["interactions"] - exact.extra["interactions"])[0][upper]
        error = np.asarray(result.extra["interaction_error"])[0][upper]
        inside.append(np.abs(missed) <= 1.96 * error + 1e-12)
        told.append(np.square(error).mean())
        real.append(np.square(missed).mean())
        assert bool(((result.values - exact.values).abs() <= 6 * result.standard_error + 1e-9).all())
    assert np.mean(inside) >= 0.9
    assert 0.8 < (np.mean(told) / np.mean(real)) ** 0.5 < 1.4


def test_tolerance_looks_at_the_pairs_too() -> None:
    n = 14
    table = random_table(n, 1) * 0.01 + (np.arange(2**n) & 3 == 3)
    loose = pl.ShapleyInteractions(budget=3000, tolerance=0.2).play(looked_up(table), n)
    tight = pl.ShapleyInteractions(budget=3000, tolerance=0.01).play(looked_up(table), n)
    assert loose.receipt.rows_forward < tight.receipt.rows_forward <= 3000
    assert abs(float(loose.extra["interactions"][0, 0, 1]) - 1) < 0.1
    assert 1.96 * float(loose.extra["interaction_error"].max()) <= 0.2 * float(loose.extra["interactions"].max())


def test_what_is_refused() -> None:
    game = lambda z: z.sum(1) * 1.0  # noqa: E731
    with pytest.raises(OptionError) as caught:
        pl.ShapleyInteractions(index="Möbius", budget=500).play(game, 12)
    assert "2^12" in caught.value.expected
    with pytest.raises(OptionError):
        pl.ShapleyInteractions(index="FSII", budget=150).play(game, 12)
    with pytest.raises(OptionError):
        pl.ShapleyInteractions(index="nobody's")


def test_players_of_several_elements_and_their_names() -> None:
    groups = pl.Groups({"left": [0, 1], "right": [2, 3]})
    target = pl.Function(lambda y: y[:, :2].sum(1) * y[:, 2:].sum(1))
    result = pl.ShapleyInteractions(features=groups, fill=0.0)(nn.Flatten(), torch.ones(2, 4), target=target)
    assert result.extra["names"] == ("left", "right")
    close(result.extra["interactions"], np.array([[[0, 4], [4, 0]]] * 2))
    close(result.values, np.ones((2, 4)))  # half of 4 for each side, shared by two


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", [3, 5, 8])
def test_shapiq_agrees(n: int) -> None:
    shapiq = pytest.importorskip("shapiq")
    table = random_table(n, n)
    computer = shapiq.ExactComputer(n_players=n, game=lambda z: table[number(z)])
    for index in INDEXES:
        theirs = computer(index.replace("ö", "oe"), order=2 if index != "Möbius" else n)
        mine = pl.ShapleyInteractions(index=index).play(looked_up(table), n)
        close(mine.values[0], theirs.get_n_order_values(1), 1e-8)
        close(mine.extra["interactions"][0], theirs.get_n_order_values(2), 1e-8)
