"""Owen and Winter values: a game played on a hierarchy, refined from its root while the budget lasts."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import torch
from torch import Tensor

from pellucid.engines.coalitions import every
from pellucid.engines.features.hierarchy import Tree
from pellucid.engines.game import Game
from pellucid.engines.solve import Solved, shapley_weight
from pellucid.errors import OptionError


@dataclass(frozen=True, eq=False)
class Place:
    """A part of the hierarchy, and what may have come before it: coalitions (c, n) with their probabilities (c,)."""

    part: Tree
    before: Tensor
    chance: Tensor

    @property
    def cost(self) -> int:
        """New coalitions that are asked when the part is split."""
        return len(self.before) * (2 ** len(self.part.children) - 2)

    @property
    def members(self) -> Tensor:
        """(n,) bool."""
        return torch.zeros(self.before.shape[1], dtype=torch.bool).scatter(0, torch.tensor(self.part.players), True)

    @property
    def branches(self) -> Tensor:
        """(children, n) bool: the players of each child."""
        return torch.stack([Place(each, self.before, self.chance).members for each in self.part.children])

    def inside(self) -> Tensor:
        """The new coalitions: everything before, with some of the children but not all."""
        some = every(len(self.part.children))[1:-1]
        return (self.before[:, None] | joined(some, self.branches)[None]).flatten(0, 1)

    def split(self) -> list[Place]:
        """The children in their places: any siblings may have come before them, as in a random order."""
        k, branches = len(self.part.children), self.branches
        some = every(k - 1)
        weight = torch.tensor([shapley_weight(k, s) for s in some.sum(1).tolist()], dtype=torch.float64)
        chance = (self.chance[:, None] * weight).flatten()
        found = []
        for i, child in enumerate(self.part.children):
            siblings = joined(some, torch.cat([branches[:i], branches[i + 1 :]]))
            found.append(Place(child, (self.before[:, None] | siblings[None]).flatten(0, 1), chance))
        return found

    def steps(self, game: Game) -> Tensor:
        """(c, batch) what the part adds to each of what came before."""
        return game(self.before | self.members).double().cpu() - game(self.before).double().cpu()


def joined(some: Tensor, branches: Tensor) -> Tensor:
    """The players of some of the children: (s, children), (children, n) → (s, n)."""
    return (some[:, :, None] & branches[None]).any(1)


def asks(tree: Tree) -> int:
    """Coalitions that the whole hierarchy asks, nobody and everybody included.

    >>> asks(Tree((0, 1), (Tree((0,)), Tree((1,)))))
    4
    """
    total, open_parts = 2, [(tree, 1)]
    while open_parts:
        part, contexts = open_parts.pop()
        k = len(part.children)
        if k:
            total += contexts * (2**k - 2)
            open_parts += [(child, contexts * 2 ** (k - 1)) for child in part.children]
    return total


def top(tree: Tree, n: int) -> Place:
    """The root: nobody comes before it."""
    return Place(tree, torch.zeros(1, n, dtype=torch.bool), torch.ones(1, dtype=torch.float64))


def everything(tree: Tree, n: int) -> Tensor:
    """All coalitions of the whole hierarchy."""
    found, places = [torch.tensor([[False] * n, [True] * n])], [top(tree, n)]
    while places:
        place = places.pop()
        if place.part.children:
            found.append(place.inside())
            places += place.split()
    return torch.cat(found)


def owen_values(game: Game, tree: Tree, allowed: int) -> Solved:
    """Owen values on a hierarchy cut where the budget ends; the part that moves the score most is split first.

    A part that is not split shares its value equally among its players. ``extra["unsplit"]`` counts these parts.
    """
    root = top(tree, game.n)
    if root.cost > allowed - 2:
        want, got = f"a budget of at least {(root.cost + 2) * game.cost}", f"{allowed * game.cost}"
        do = "Raise the budget, or give a hierarchy of fewer parts at its top: hierarchy=[[0, 1], [2, 3], …]."
        raise OptionError(expected=want, got=f"{got} for {len(tree.children)} parts", do=do)
    if asks(tree) <= allowed:
        game(everything(tree, game.n))
    left, number = allowed - 2, count()
    values, unsplit = torch.zeros(game.n, len(game.full), dtype=torch.float64), 0
    front = [(0.0, next(number), root)]
    while front:
        _, _, place = heappop(front)
        if place.part.children and place.cost <= left:
            left -= place.cost
            game(place.inside())
            for child in place.split():
                size = float((child.chance @ child.steps(game).abs()).mean())
                heappush(front, (-float(f"{size:.5g}"), next(number), child))  # ties are not decided by last digits
        else:
            share = place.chance @ place.steps(game) / len(place.part.players)
            values[list(place.part.players)] = share.expand(len(place.part.players), -1)
            unsplit += len(place.part.children) > 0
    return Solved(values, base=game.empty, extra={"unsplit": unsplit})
