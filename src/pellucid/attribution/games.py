"""The seam of all methods that hide parts: which game is played, how its answers are laid out, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.blackbox import BlackBox
from pellucid.core.leaves import named
from pellucid.core.method import Attributor, Found, option, question, whole_tree
from pellucid.core.modality import Table
from pellucid.core.probe import Probe
from pellucid.core.result import Attribution, MethodNote
from pellucid.core.store import read_result
from pellucid.engines.features import Columns, Features, as_features
from pellucid.engines.fills import Zeros
from pellucid.engines.game import Game
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError, ShapeError

SHARES = (0.125, 0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class GameAttributor(Attributor):
    """A method that only asks what happens when parts are hidden: works on a BlackBox too.

    Examples whose parts are alike are asked together; those whose parts differ (words, superpixels), one by one.
    """

    discrete: ClassVar[bool] = True
    shared: ClassVar[bool] = False
    features: Features | None = option(None, help="what counts as one part: columns, words, patches, elements")
    fill: Any = option(None, help="what hidden parts are replaced by: a fill, a number or a tensor")

    def attribute(self, ask: Probe) -> Found:
        before = self.before(ask)
        features = as_features(self.parts(ask), ask)
        if ask.batch > 1 and not features.alike(ask):
            rows = [ask.select(torch.tensor([row])) for row in range(ask.batch)]
            return joined(
                [self.played(Game(row, features, self.fill, known)) for row, known in zip(rows, before, strict=True)]
            )
        return self.played(Game(ask, features, self.fill, before[0]))

    def played(self, game: Game) -> Found:
        """The solved game, laid out on the inputs."""
        solved, lay = self.solve(game), game.players.values
        like = game.ask.score
        return Found(
            lay(solved.values.T.to(like), shared=self.shared),
            standard_error=None if solved.error is None else lay(solved.error.T.to(like), shared=self.shared),
            base_score=None if solved.base is None else solved.base.to(like),
            notes=game.players.notes,
            extra={"players": solved.values.T, "names": game.players.names, "hidden_by": type(game.fill).__name__}
            | {"assumes": game.fill.assumes}
            | areas(game)
            | solved.extra,
            asked=(game.asked.saved(),),
        )

    def before(self, ask: Probe) -> list[Any]:
        """What an earlier run asked, one entry an example (or one for all); None without."""
        return [None] * ask.batch

    def parts(self, ask: Probe) -> Features | None:
        """The features asked about."""
        return self.features

    def solve(self, game: Game) -> Solved:
        """Values (n, batch), with standard errors where coalitions were drawn."""
        raise NotImplementedError

    def play(self, game: Callable[[Any], Any], players: int | Sequence[str]) -> Attribution:
        """Solve a game given as a function of coalitions: (k, n) bool array → (k,) numbers.

        Example:
            >>> import pellucid as pl
            >>> pl.KernelSHAP().play(lambda z: z[:, 0] * z[:, 1] * 6.0, 2).values.tolist()
            [[3.0, 3.0]]
        """
        names = [str(i) for i in range(players)] if isinstance(players, int) else [str(name) for name in players]
        box = BlackBox(lambda rows: game(rows > 0.5), inputs=Table(columns=tuple(names)), task="regression")
        return replace(self, features=Columns(), fill=Zeros())(box, np.ones((1, len(names))))

    def game(self, model: Any, inputs: Any, target: Any = None) -> Callable[[Any], Any]:
        """The game this method plays, for other libraries: (k, n) bool array → (k,) numbers, for one example.

        Example:
            >>> import numpy as np, torch, pellucid as pl
            >>> game = pl.KernelSHAP().game(torch.nn.Linear(3, 1, bias=False), torch.ones(1, 3))
            >>> game.n, game(np.zeros((1, 3), dtype=bool)).tolist()
            (3, [0.0])
        """
        ask = question(model, inputs, target, discrete=True)
        if ask.batch != 1:
            raise ShapeError(expected="one example", got=str(ask.batch), do="Ask for one game at a time.")
        return NumpyGame(Game(ask, self.parts(ask), self.fill))


@dataclass(frozen=True, eq=False)
class NumpyGame:
    """A game as a function on arrays, one example's."""

    inside: Game

    @property
    def n(self) -> int:
        """How many players."""
        return self.inside.n

    def __call__(self, coalitions: Any) -> Any:
        """Scores (k,) of coalitions (k, n)."""
        return self.inside(torch.as_tensor(np.asarray(coalitions, dtype=bool)))[:, 0].double().numpy()


@dataclass(frozen=True, kw_only=True)
class SampledAttributor(GameAttributor):
    """A method that draws coalitions: at most ``budget``, fewer where ``tolerance`` is met, all where they fit."""

    budget: int = option(2048, at_least=4, help="predictions allowed per example, the empty and the full one included")
    tolerance: float | None = option(
        None, above=0, help="stop when the 95 % intervals are narrower than this share of the largest value"
    )
    resume: Any = option(None, help="a saved result of the same question, or its file: nothing is asked twice")

    def before(self, ask: Probe) -> list[Any]:
        return super().before(ask) if self.resume is None else asked_before(self.resume, ask)

    def note(self) -> MethodNote:
        return replace(self, resume=None).note() if self.resume is not None else super().note()

    def solve(self, game: Game) -> Solved:
        allowed = self.budget // game.cost
        if self.countable(game, allowed):
            return self.exact(game)
        self.refuse_too_few(game, allowed)
        if self.tolerance is None:
            return self.estimate(game, allowed, 1.0)
        # A share that hardly determines the values would also seem to be exact.
        first, *rest = [share for share in SHARES if share * allowed >= 2 * self.least(game.n)] or [1.0]
        found = self.estimate(game, allowed, first)
        settled = self.settled(found)
        for share in rest:
            if bool(settled.all()):
                break
            found = found.where(settled, self.estimate(game, allowed, share))
            settled = settled | self.settled(found)
        return found

    def settled(self, found: Solved) -> Tensor:
        """(batch,) whether the tolerance is met."""
        return found.settled(self.tolerance or 0.0)

    def countable(self, game: Game, allowed: int) -> bool:
        """Whether all coalitions can be asked."""
        return game.n <= 24 and 2**game.n <= allowed

    def least(self, n: int) -> int:
        """The fewest coalitions from which n values and their errors can be told: more pairs than values."""
        return 2 * n + 2

    def refuse_too_few(self, game: Game, allowed: int) -> None:
        """Refuse a budget below the least."""
        if allowed < self.least(game.n):
            do = "Raise the budget, use fewer features, or a fill of fewer variants."
            got = f"{self.budget} for {game.n} parts and {game.cost} predictions a coalition"
            raise OptionError(expected=f"a budget of at least {self.least(game.n) * game.cost}", got=got, do=do)

    def exact(self, game: Game) -> Solved:
        """The values from all 2ⁿ coalitions."""
        raise NotImplementedError

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        """Values and errors from the first ``share`` of a plan of ``allowed`` coalitions."""
        raise NotImplementedError


def asked_before(resume: Any, ask: Probe) -> list[Any]:
    """What a saved result of the same question asked, one entry an example, or one for all."""
    saved = resume if isinstance(resume, Attribution) else read_result(resume)
    do = "Resume with the inputs and target that it was made with."
    then, now = (named(each) for each in (saved.inputs, whole_tree(ask)))
    if not (then.keys() == now.keys() and all(same(then[name], now[name]) for name in now)):
        raise OptionError(expected="the inputs of the saved result", got="others", do=do)
    said = [saved.target_words(row) for row in range(len(saved))]
    wanted = [ask.target.words(ask.bound.about, row) for row in range(ask.batch)]
    if said != wanted:
        raise OptionError(expected=f"the target {said[0]!r} of the saved result", got=repr(wanted[0]), do=do)
    if not saved.asked:
        raise OptionError(expected="a result of a sampled method", got=saved.method.name, do="Start anew.")
    return list(saved.asked)


def same(then: Any, now: Any) -> bool:
    """Whether two leaves hold the same numbers."""
    if not isinstance(now, Tensor) or not isinstance(then, Tensor):
        return True
    return then.shape == now.shape and torch.equal(then.to(now), now)


def areas(game: Game) -> dict[str, Any]:
    """Which part each place of a picture belongs to, where parts do not overlap."""
    labels = getattr(game.players, "labels", None)
    return {} if labels is None or game.ask.site is not None or game.ask.inputs.ndim != 4 else {"labels": labels}


def joined(parts: list[Found]) -> Found:
    """The answers to single examples as one batch."""
    errors = [part.standard_error for part in parts if part.standard_error is not None]
    bases = [part.base_score for part in parts if part.base_score is not None]
    return Found(
        torch.cat([part.values for part in parts]),
        standard_error=torch.cat(errors) if errors else None,
        base_score=torch.cat(bases) if bases else None,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        extra={name: [part.extra[name] for part in parts] for name in parts[0].extra}
        | {name: parts[0].extra[name] for name in ("hidden_by", "assumes")},
        asked=tuple(part.asked[0] for part in parts),
    )
