"""Hierarchies over players: where they come from, and what they ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.features import Features
from pellucid.engines.features.hierarchy import Tree, clustered, given_tree, halved, halvings, usual_tree
from pellucid.engines.owen import asks, everything, top
from tests.nets import BY_NAME


def shape(tree: Tree) -> Any:
    """Nested lists of players."""
    return [shape(child) for child in tree.children] if tree.children else tree.players[0]


def usual(model: Any, inputs: Any, features: Features) -> Tree:
    ask = question(model, inputs, discrete=True)
    return usual_tree(ask, features(ask))


def checked(tree: Tree) -> None:
    """A part holds the players of its children, each once; only single players have none."""
    if not tree.children:
        assert len(tree.players) == 1
        return
    assert len(tree.children) > 1
    assert sorted(tree.players) == sorted(i for child in tree.children for i in child.players)
    for child in tree.children:
        checked(child)


@given(n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_k_d_tree_holds_every_player_once(n: int, seed: int) -> None:
    tree = halved(list(range(n)), np.random.default_rng(seed).integers(0, 4, (n, 2)).astype(float))
    checked(tree)
    assert sorted(tree.players) == list(range(n))


def test_pictures_fall_into_halves_that_are_straight() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(96, 1))
    tree = usual(net, torch.rand(1, 1, 8, 12), pl.Patches(4))
    checked(tree)
    left, right = tree.children  # 4 × 4 patches, wider than high
    assert sorted(left.players) == [0, 1, 4, 5, 8, 9, 12, 13]
    assert sorted(right.players) == [2, 3, 6, 7, 10, 11, 14, 15]
    assert {tuple(sorted(child.players)) for child in left.children} == {(0, 1, 4, 5), (8, 9, 12, 13)}


def test_windows_and_odd_grids_have_places_too() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(81, 1))
    checked(usual(net, torch.rand(1, 1, 9, 9), pl.Windows(4, stride=3)))
    tree = usual(net, torch.rand(1, 1, 9, 9), pl.Patches(3))
    assert sorted(len(child.players) for child in tree.children) == [3, 6]


def test_a_series_falls_into_halves() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    assert shape(usual(net, torch.rand(1, 2, 8), pl.Patches(4))) == [[0, 1], [2, 3]]


def test_a_text_falls_into_sentences_first() -> None:
    words = pl.BlackBox(lambda texts: np.array([len(each) for each in texts]), inputs=pl.Text(), task="regression")
    assert shape(usual(words, "one two three four five. six", pl.Words())) == [[[0, 1], [2, [3, 4]]], 5]
    ids = BY_NAME["ids"]
    row = {name: each[:1] for name, each in ids.given().items()}
    assert shape(usual(ids.model(), row, pl.Tokens())) == [[0, 1], [2, [3, 4]]]


def test_several_inputs_are_a_group_each() -> None:
    case = BY_NAME["pair"]
    assert shape(usual(case.model(), case.given(), pl.Elements())) == [[0, [1, 2]], [[3, 4], [5, 6]]]


def test_columns_that_go_together_in_the_background() -> None:
    random = np.random.default_rng(0)
    one, two = random.normal(size=(2, 50))
    data = np.stack([one, two, one + 0.1 * random.normal(size=50), -two, np.ones(50)], 1)
    table = pl.Table(columns=("a", "b", "c", "d", "e"), background=data)
    model = pl.Model(nn.Linear(5, 1), inputs=table)
    groups = {frozenset(each.players) for each in flat(usual(model, data[:1], pl.Columns()))}
    assert {frozenset({0, 2}), frozenset({1, 3})} <= groups
    plain = pl.Model(nn.Linear(5, 1), inputs=pl.Table(columns=("a", "b", "c", "d", "e")))
    assert shape(usual(plain, data[:1], pl.Columns())) == [[0, 1], [2, [3, 4]]]


def flat(tree: Tree) -> list[Tree]:
    return [tree, *(each for child in tree.children for each in flat(child))]


def test_average_linkage() -> None:
    distances = np.array([[0, 0.1, 0.9, 0.8], [0.1, 0, 0.9, 0.8], [0.9, 0.9, 0, 0.3], [0.8, 0.8, 0.3, 0]])
    assert shape(clustered(distances)) == [[0, 1], [2, 3]]
    assert shape(clustered(np.zeros((1, 1)))) == 0


@given(n=st.integers(1, 14))
def test_what_a_hierarchy_asks_is_counted_right(n: int) -> None:
    """Every coalition once; about two thirds of n² for halves, 2ⁿ for none."""
    tree = halvings([Tree((i,)) for i in range(n)])
    rows = everything(tree, n)
    assert len(rows) == asks(tree) == len(rows.unique(dim=0))
    if n in (2, 4, 8):
        assert asks(tree) == 2 + 2 * (n**2 - 1) // 3
    if 1 < n < 10:
        assert asks(Tree(tuple(range(n)), tuple(Tree((i,)) for i in range(n)))) == 2**n


def test_chances_of_what_came_before_add_up() -> None:
    tree = given_tree([[0, 1, 2], [3, [4, 5]], 6], Numbered(7))
    places = [top(tree, 7)]
    while places:
        place = places.pop()
        assert float(place.chance.sum()) == pytest.approx(1)
        assert not bool((place.before & place.members).any())
        places += place.split() if place.part.children else []


class Numbered:
    """Players without names."""

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(self, n: int) -> None:
        self.n = n

    def shown(self, coalitions: torch.Tensor) -> torch.Tensor:
        return coalitions

    def values(self, players: torch.Tensor, *, shared: bool) -> torch.Tensor:
        return players
