"""What metrics hide and ask: the parts of one input at some grain, a fill, and when nothing can be measured by them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pellucid.core.probe import Probe
from pellucid.core.target import Probability
from pellucid.engines.features import Features, Parts, Patches, Players, Superpixels, usual_features
from pellucid.engines.fills import as_fill
from pellucid.engines.game import Game
from pellucid.engines.points import generator
from pellucid.errors import OptionError
from pellucid.evaluate.layout import Layout, features_of, layout_of
from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.ranks import tidy
from pellucid.evaluate.thresholds import ROUNDING, SATURATED

Grain = Literal["parts", "places", "superpixels"]
AT_ONCE = 2**26


class Ends(NamedTuple):
    """f(x), f(all hidden), and how large a difference of scores may be by rounding."""

    full: float
    empty: float
    noise: float


@dataclass(frozen=True, eq=False)
class Board:
    """A game and how maps are summed up over its players.

    Grains: ``parts`` are those of the check (patches, words, columns), ``places`` single pixels with all channels.
    """

    game: Game
    layout: Layout
    grain: Features | None
    fill: Any

    @property
    def n(self) -> int:
        """How many parts."""
        return self.game.n

    def worth(self, case: Case) -> Tensor:
        """(n,) what each part is worth to a map; Untestable for a map that says nothing."""
        if self.n < 2:
            raise Untestable("there is only one part, so there is nothing to compare it with")
        worth = self.sums(case)
        if float(tidy(worth).max() - tidy(worth).min()) <= 1e-9 or level(case.values):
            raise Untestable("the map is the same everywhere: it says nothing on what matters more")
        return worth

    def sums(self, case: Case) -> Tensor:
        """(n,) a map summed up over the parts."""
        cells = self.layout.cells(case.values, by_size=case.by_size)
        return torch.zeros(self.n, dtype=cells.dtype).index_add(0, self.layout.part, cells)

    def scores(self, coalitions: Tensor) -> Tensor:
        """(k,) scores of coalitions (k, n), all in one go; remembered."""
        return self.game(coalitions)[:, 0].cpu().double()

    def along(self, *paths: tuple[Tensor, Tensor]) -> list[Tensor]:
        """Scores with as many players of an order (n,) hidden as counts (k,) say, of all paths in one go."""
        ranks = torch.stack([order.argsort() for order, _ in paths])
        which = torch.cat([torch.full_like(counts, i) for i, (_, counts) in enumerate(paths)])
        hidden = torch.cat([counts for _, counts in paths])

        def shown(k: Tensor) -> Tensor:
            return ranks[which[k]] >= hidden[k][:, None]

        if len(hidden) * self.n <= AT_ONCE:
            scores = self.scores(shown(torch.arange(len(hidden))))
        else:
            scores = self.game.lazily(shown, len(hidden))[:, 0].cpu().double()
        return list(scores.split([len(counts) for _, counts in paths]))

    def moving(self, scores: Tensor) -> Ends:
        """What the answer moves between; Untestable where scores (k,) show that hiding parts does nothing."""
        full, empty = float(self.game.full[0]), float(self.game.empty[0])
        most = max(float((full - scores).abs().max()), abs(full - empty))
        if is_probability(self.game) and most < SATURATED:
            text = f"the probability {full:.4g} moves by less than {SATURATED:g} whatever is hidden"
            raise Untestable(text + ": it is saturated (ask for the logit instead)")
        largest = max(1e-30, abs(full), abs(empty), float(scores.abs().max()))
        noise = ROUNDING * torch.finfo(self.game.full.dtype).eps * largest
        if most <= noise:
            raise Untestable(f"hiding parts does not change the answer ({full:.4g})")
        return Ends(full, empty, noise)

    def ends(self, scores: Tensor) -> Ends:
        """The same; Untestable also where hiding everything does nothing."""
        full, empty, noise = ends = self.moving(scores)
        if abs(full - empty) <= max(noise, LEAST * float((full - scores).abs().max())):
            text = f"hiding everything leaves the answer about where it was ({full:.4g} and {empty:.4g})"
            raise Untestable(text + ", so there is no difference to explain")
        return ends


@dataclass(frozen=True)
class Places(Features):
    """Single places of pictures, series and volumes, all channels together, without names."""

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        n = prod(shape[1:])
        return Parts(torch.arange(n).reshape(1, 1, *shape[1:]), n, shape)


LEAST = 0.01
"""f(x) − f(all hidden) must be at least this share of the farthest that the answer moves on the way."""


def board(question: Question, grain: Grain = "parts", fill: Any = None, superpixels: int = 50) -> Board:
    """Parts of a grain, hidden by ``fill`` (the question's without); made once, so that metrics share what they ask."""
    ask = question.game.ask
    if (
        question.fill is None
        and fill is not None
        and type(fill) is type(question.game.fill)
        and as_fill(fill) == (question.game.fill)
    ):
        fill = None
    features: Features | None = None
    if grain == "superpixels":
        if not question.layout.space or ask.inputs.ndim != 4 or ask.inputs.shape[1] not in (1, 3):
            raise Untestable("superpixels are parts of pictures with one or three channels")
        features = Superpixels(superpixels)
    elif grain == "places":
        space = question.layout.space
        single = Patches(max(space)) if space else usual_features(ask)
        features = None if single == features_of(ask) else Places() if space else single
    made: list[Board] = question.once("boards", list)
    for each in made:
        if each.grain == features and each.fill == fill:
            return each
    made.append(board_of(question, features, fill))
    return made[-1]


def board_of(question: Question, features: Features | None, fill: Any) -> Board:
    """A board of these features (those of the check without) and this fill (the question's without)."""
    if features is None and fill is None:
        return Board(question.game, question.layout, None, None)
    ask, hides = question.ask(), question.fill if fill is None else fill
    with ask.model.session():
        game = Game(ask, features_of(ask) if features is None else features, hides)
    if features is None:
        return Board(game, question.layout, None, fill)
    players, space = game.players, question.layout.space
    if not space or not isinstance(players, Parts):
        return Board(game, layout_of(game), features, fill)
    places, shape = torch.arange(prod(space)), tuple(ask.inputs.shape[1:])
    part, strata = players.labels.reshape(-1), torch.zeros(players.n, dtype=torch.long)
    layout = Layout(shape, space, space, places, part, players.n, strata, question.layout.words)
    return Board(game, layout, features, fill)


def check_shares(metric: str, shares: tuple[float, ...]) -> None:
    """Refuse shares that are none, or not between 0 and 1."""
    if not shares or not all(0 < share < 1 for share in shares):
        do = "Use e.g. shares=(0.1, 0.5)."
        raise OptionError(expected=f"{metric}(shares=…) between 0 and 1", got=repr(shares)[:60], do=do)


def level(values: Tensor) -> bool:
    """Whether a map is the same everywhere."""
    return float(values.max() - values.min()) <= 1e-9 * float(values.abs().max())


def falling(worth: Tensor, seed: int) -> Tensor:
    """The parts (n,) from the most important to the least; ties by lot, so that no corner of the input is favored."""
    lot = torch.randperm(len(worth), generator=generator(seed, len(worth), 5))
    return lot[tidy(worth)[lot].argsort(descending=True, stable=True)]


def is_probability(game: Game) -> bool:
    """Whether the explained number is a probability."""
    return isinstance(game.ask.target, Probability) or game.ask.bound.about.kind == "probabilities"
