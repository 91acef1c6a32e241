"""Hierarchies: trees over players, made from where parts lie, from sentences, from data, or by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.features.named import Inputs
from pellucid.engines.features.players import Boxes, Features, Parts, Players
from pellucid.engines.features.text import Sentences
from pellucid.errors import EmptyError, OptionError, UnknownName, nearest

Places = NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """A part of a hierarchy: the players in it, and the parts it falls into (none for a single player)."""

    players: tuple[int, ...]
    children: tuple[Tree, ...] = ()


@dataclass(frozen=True)
class OneByOne(Features):
    """The same parts, but every example is asked by itself."""

    inner: Features

    def alike(self, ask: Probe) -> bool:
        return False

    def __call__(self, ask: Probe) -> Players:
        return self.inner(ask)


def over(children: Sequence[Tree]) -> Tree:
    """The part that falls into these; a single one is itself.

    >>> over([Tree((0,)), Tree((1,))]).players
    (0, 1)
    """
    if len(children) == 1:
        return children[0]
    return Tree(tuple(i for child in children for i in child.players), tuple(children))


def halvings(parts: Sequence[Tree]) -> Tree:
    """A binary tree over parts in their order."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return over([halvings(parts[:middle]), halvings(parts[middle:])])


def usual_tree(ask: Probe, players: Players) -> Tree:
    """Inputs; sentences and their halves; columns that go together in the background; else halves of space."""
    if not isinstance(players, Parts) or ask.site is not None:
        return halved(list(range(players.n)), places(players))
    if ask.leaves.integer and isinstance(ask.model.modality, Text):
        told = within(players, Sentences()(ask))
        return halvings([halvings([Tree((i,)) for i in sentence]) for sentence in told])
    rows = ask.model.modality.background_rows() if isinstance(ask.model.modality, Table) else None
    if rows is not None and len(rows) > 2 and rows.shape[1:] == players.labels.shape[1:]:
        return clustered(apart(rows, players))
    return over([halved(each, places(players)) for each in within(players, Inputs()(ask))])


def within(players: Parts, wholes: Players) -> list[list[int]]:
    """The players of each whole, in order; one that lies in several belongs to that of its first element."""
    if not isinstance(wholes, Parts):
        return [list(range(players.n))]
    small, large = (np.asarray(each.labels.expand(1, *players.shape)).ravel() for each in (players, wholes))
    which, first = np.unique(small, return_index=True)
    found: dict[int, list[int]] = {}
    for player, at in zip(which.tolist(), first.tolist(), strict=True):
        if player >= 0:
            found.setdefault(int(large[at]), []).append(player)
    return [found[whole] for whole in sorted(found)]


def places(players: Players) -> Places:
    """(n, axes) the middle of each player."""
    if isinstance(players, Boxes):
        return np.array([[(each.start + each.stop) / 2 for each in window] for window in players.slices])
    if not isinstance(players, Parts):
        return np.arange(players.n, dtype=float)[:, None]
    labels = np.asarray(players.labels[0].cpu())
    where, there = np.nonzero(labels >= 0), labels[labels >= 0]
    counts = np.bincount(there, minlength=players.n).clip(1)
    return np.stack([np.bincount(there, each, minlength=players.n) / counts for each in where], 1)


def halved(players: list[int], where: Places) -> Tree:
    """A k-d tree: cut across the longer side, near the middle, between two rows of parts."""
    if len(players) == 1:
        return Tree((players[0],))
    along = where[players][:, int(np.ptp(where[players], axis=0).argmax())]
    levels, counts = np.unique(along, return_counts=True)
    if len(levels) == 1:
        return halvings([Tree((i,)) for i in players])
    cut = levels[int(np.abs(counts.cumsum()[:-1] - len(players) / 2).argmin())]
    sides = ([i for i, at in zip(players, along, strict=True) if (at <= cut) == low] for low in (True, False))
    return over([halved(side, where) for side in sides])


def apart(rows: Tensor, players: Parts) -> Places:
    """(n, n) distances of players: 1 − the largest |correlation| between their columns."""
    data = np.asarray(rows.double().cpu())
    data = data - data.mean(0)
    size = np.sqrt((data**2).sum(0))
    scaled = data / np.where(size > 0, size, 1)
    alike, labels = np.abs(scaled.T @ scaled), np.asarray(players.labels[0].cpu())
    columns = [np.flatnonzero(labels == i) for i in range(players.n)]
    near = np.array([[alike[np.ix_(one, other)].max(initial=0) for other in columns] for one in columns])
    return np.clip(1 - near, 0, 1)


def clustered(distances: Places) -> Tree:
    """Hierarchical clustering by average linkage of distances (n, n)."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    parts = [Tree((i,)) for i in range(len(distances))]
    if len(parts) == 1:
        return parts[0]
    for one, other, *_ in linkage(squareform(distances, checks=False), "average"):
        parts.append(over([parts[int(one)], parts[int(other)]]))
    return parts[-1]


def given_tree(given: Any, players: Players) -> Tree:
    """Nested lists or dicts of player numbers or names; players that are not named stand beside them."""
    root = read(given, players)
    named = [*root.players]
    if twice := {i for i in named if named.count(i) > 1}:
        got = f"{called(min(twice), players)} in several"
        raise OptionError(expected="every part in one group of the hierarchy", got=got, do="Name each part once.")
    rest = tuple(Tree((i,)) for i in range(players.n) if i not in named)
    return over([*(root.children or (root,)), *rest]) if rest else root


def read(given: Any, players: Players) -> Tree:
    """One level of what the user gave."""
    if isinstance(given, str):
        if given not in players.names:
            raise UnknownName(expected="the name of a part", got=repr(given), do=nearest(given, players.names))
        return Tree((players.names.index(given),))
    if isinstance(given, int | np.integer):
        if not 0 <= given < players.n:
            raise OptionError(expected=f"a part 0 … {players.n - 1}", got=str(given), do="Number the parts from 0.")
        return Tree((int(given),))
    members = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(members, list | tuple):
        do = 'Use e.g. [[0, 1], [2, 3]] or {"body": ["weight", "bmi"], "blood": ["sugar"]}.'
        raise OptionError(expected="nested lists or dicts of parts", got=repr(given)[:60], do=do)
    if not members:
        raise EmptyError(expected="parts in every group of the hierarchy", got="none", do="Leave empty groups out.")
    return over([read(each, players) for each in members])


def called(i: int, players: Players) -> str:
    """A player in words."""
    return players.names[i] if players.names else f"part {i}"
