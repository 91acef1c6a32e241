"""The mask bank: one input, hidden in parts at random many times, asked once and shared by all methods and controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pellucid.core.target import Probability
from pellucid.engines.coalitions import every
from pellucid.engines.game import Game
from pellucid.engines.points import generator
from pellucid.evaluate.ranks import bootstrap, correlation, ranks, tidy, within
from pellucid.evaluate.thresholds import BANK_NOISE, ROUNDING, SATURATED, SHARES

PATIENCE = 20


@dataclass(frozen=True, eq=False)
class Bank:
    """What hiding parts did to the explained number of one input.

    ``hidden`` (masks, n) says which parts each mask hides, ``drops`` (masks,) is f(x) − f(x with them hidden), ``full``
    and ``empty`` the scores with nothing and with everything hidden; differences below ``noise`` are rounding.
    ``rows`` went through the model.
    """

    hidden: Tensor
    drops: Tensor
    full: float
    empty: float
    noise: float
    rows: int
    hidden_by: str
    probability: bool = False

    @property
    def n(self) -> int:
        """How many parts."""
        return self.hidden.shape[1]

    @cached_property
    def sizes(self) -> Tensor:
        """(masks,) how many parts each mask hides."""
        return self.hidden.sum(1)

    @cached_property
    def error(self) -> float:
        """The standard error of the mean drop: the noise of the bank."""
        return float(self.drops.std() / len(self.drops) ** 0.5) if len(self.drops) > 1 else 0.0

    @cached_property
    def effects(self) -> Tensor:
        """(masks,) drops, in steps of the noise, beside those of masks of the same size."""
        return within((self.drops / self.noise).round(), self.sizes)

    def claims(self, parts: Tensor) -> Tensor:
        """(…, masks) what part values (…, n) say the drops are, beside those of masks of the same size."""
        return tidy(within(parts @ self.hidden.T.double(), self.sizes))

    def agreement(self, parts: Tensor) -> Tensor:
        """Spearman's correlation of claims and effects, for any number of maps at once: (…, n) → (…)."""
        return correlation(ranks(self.claims(parts)), ranks(self.effects))

    def resampled(self, parts: Tensor, seed: int) -> Tensor:
        """The agreement of one map (n,) on bootstrap samples of the masks."""
        return bootstrap(self.claims(parts), self.effects, seed)

    def unsigned(self) -> Bank:
        """The bank for maps that are read by size: how far the score moved, up or down."""
        return replace(self, drops=self.drops.abs())

    def first(self, count: int) -> Bank:
        """A smaller bank of the first masks."""
        return replace(self, hidden=self.hidden[:count], drops=self.drops[:count], rows=0)

    @cached_property
    def silent(self) -> str | None:
        """Why no explanation can be tested with this bank, in words; None where one can."""
        moved, most = abs(self.full - self.empty), float(self.drops.abs().max()) if len(self.drops) else 0.0
        if self.n < 2:
            return "there is only one part, so there is nothing to compare it with"
        if self.probability and max(most, moved) < SATURATED:
            text = f"the probability {self.full:.4g} moves by less than {SATURATED:g} whatever is hidden"
            return text + ": it is saturated (ask for the logit instead)"
        if max(most, moved) <= self.noise:
            return f"hiding parts does not change the answer ({self.full:.4g})"
        if moved <= max(self.noise, BANK_NOISE * self.error):
            text = f"hiding everything leaves the answer about where it was ({self.full:.4g} and {self.empty:.4g})"
            return text + ", so there is no difference to explain"
        if float(self.effects.abs().max()) == 0:
            return "it makes no difference which parts are hidden"
        return None


def hidings(n: int, count: int, seed: int) -> Tensor:
    """At most ``count`` different masks (masks, n), True is hidden: all where they are few, else drawn by share.

    >>> sorted(hidings(3, 128, 0).sum(1).tolist()), hidings(49, 128, 0).shape
    ([1, 1, 1, 2, 2, 2], torch.Size([128, 49]))
    """
    if n <= 20 and 2**n - 2 <= count:
        return every(n)[1:-1][torch.randperm(2**n - 2, generator=generator(seed, n))]
    sizes = [max(1, round(share * n)) for share in SHARES]
    found: dict[bytes, Tensor] = {}
    for k in range(PATIENCE * count):
        mask = torch.rand(n, generator=generator(seed, k)).argsort().argsort() < sizes[k % len(sizes)]
        found.setdefault(mask.numpy().tobytes(), mask)
        if len(found) == count:
            break
    return torch.stack(list(found.values()))


def bank_of(game: Game, hidden: Tensor) -> Bank:
    """Ask a game about masks (masks, n); one input only."""
    ask = game.ask
    scores = game(~hidden).double().cpu()[:, 0] if len(hidden) else torch.zeros(0, dtype=torch.float64)
    full, empty = float(ask.score[0]), float(game.empty[0])
    largest = max([abs(full), abs(empty), *scores.abs().tolist()])
    noise = ROUNDING * torch.finfo(ask.score.dtype).eps * max(largest, 1e-30)
    return Bank(
        hidden=hidden,
        drops=full - scores,
        full=full,
        empty=empty,
        noise=noise,
        rows=ask.run.rows_forward,
        hidden_by=type(game.fill).__name__,
        probability=isinstance(ask.target, Probability) or ask.bound.about.kind == "probabilities",
    )
