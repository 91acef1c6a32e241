"""Game: a question in yes/no players. ``game(coalitions (k, n) bool)`` gives scores (k, batch).

A coalition's players are shown, the others replaced by the fill; several variants of a fill are averaged. Coalitions of
numbers between 0 and 1 mix the two. What was asked once, now or in a saved result, is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import keys_of
from pellucid.engines.features import Features, Players, as_features
from pellucid.engines.fills import Blur, Fill, MaskToken, Mean, Zeros, as_fill
from pellucid.errors import OptionError, ShapeError

Coalitions = Callable[[Tensor], Tensor]
COALITION, DRAW = b"c", b"d"


class Asked:
    """Scores (k, batch) of what was asked, found by key."""

    def __init__(self) -> None:
        self.places: dict[bytes, int] = {}
        self.scores = torch.zeros(0)

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, keys: list[bytes], ask: Callable[[Tensor], Tensor]) -> Tensor:
        """The scores of keys; ``ask(numbers)`` gives those of the keys with these numbers, for the unknown ones."""
        fresh: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.places:
                fresh.setdefault(key, i)
        if fresh:
            self.add(list(fresh), ask(torch.tensor(list(fresh.values()))))
        return self.scores[[self.places[key] for key in keys]]

    def add(self, keys: list[bytes], scores: Tensor) -> None:
        """Remember the scores (k, batch) of unknown keys."""
        self.places.update(zip(keys, range(len(self), len(self) + len(keys)), strict=True))
        self.scores = torch.cat([self.scores.to(scores), scores]) if len(self.scores) else scores

    def saved(self) -> dict[str, Tensor]:
        """Keys and scores as arrays, to go on from later."""
        width = max(map(len, self.places), default=1)
        joined = b"".join(key.ljust(width, b"\0") for key in self.places)
        keys = torch.from_numpy(np.frombuffer(joined, dtype=np.uint8).reshape(-1, width).copy())
        sizes = torch.tensor([len(key) for key in self.places])
        return {"keys": keys, "sizes": sizes, "scores": self.scores}


class Game:
    """Features × fill on a probe; ``before`` is what an earlier run of the same question asked."""

    def __init__(
        self, ask: Probe, features: Features | None = None, fill: Any = None, before: Mapping[str, Tensor] | None = None
    ) -> None:
        self.fill: Fill = as_fill(fill) if fill is not None else usual_fill(ask)
        self.ask = ask = self.fill.asking(ask)
        self.players: Players = as_features(features, ask)(ask)
        self.hidden = self.fill(ask)
        self.around = self.fill.around(ask, self.hidden)
        self.asked = Asked()
        self.asked.add(self._keys(torch.ones(1, self.n, dtype=torch.bool)), ask.score[None])
        if before is not None:
            self._remember(before)

    @property
    def n(self) -> int:
        """How many players."""
        return self.players.n

    @property
    def cost(self) -> int:
        """Rows a coalition costs: the variants of the fill."""
        return len(self.hidden)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """Scores (k, batch) of coalitions (k, n) of yes and no."""
        return self.asked(self._keys(coalitions), lambda i: self.lazily(lambda k: coalitions[i[k]], len(i)))

    def drawn(self, coalitions: Coalitions, count: int) -> Tensor:
        """Scores (count, batch) of coalitions that are a function of (seed, draw number): numbers (k,) → (k, n)."""
        keys = [DRAW + np.array([self.ask.seed, i]).tobytes() for i in range(count)]
        return self.asked(keys, lambda i: self.lazily(lambda k: coalitions(i[k]), len(i)))

    def lazily(self, coalitions: Coalitions, count: int) -> Tensor:
        """Scores (count, batch) of coalitions made when needed, and not remembered: numbers (k,) → (k, n)."""
        variants, x = len(self.hidden), self.ask.inputs

        def points(numbers: Tensor) -> Tensor:
            shown = self.players.shown(coalitions(numbers // variants)).to(x.device)
            hidden = self.around(shown, numbers % variants)
            if shown.dtype == torch.bool:
                return torch.where(shown, x[None], hidden)
            return hidden + shown.to(x.dtype) * (x[None] - hidden)

        scores = self.ask.forward(points, count * variants)
        return scores.unflatten(0, (count, variants)).mean(1)

    @property
    def full(self) -> Tensor:
        """(batch,) the score of the inputs themselves."""
        return self.ask.score

    @property
    def empty(self) -> Tensor:
        """(batch,) the score with every player hidden."""
        return self(torch.zeros(1, self.n, dtype=torch.bool))[0]

    def _keys(self, coalitions: Tensor) -> list[bytes]:
        return [COALITION + key for key in keys_of(coalitions)]

    def _remember(self, before: Mapping[str, Tensor]) -> None:
        """Take over the scores of an earlier run, if it asked the same."""
        rows = zip(before["keys"].numpy(), before["sizes"].tolist(), strict=True)
        keys, scores = [row[:size].tobytes() for row, size in rows], before["scores"]
        whole = next(iter(self.asked.places))
        do = "Resume with the model, inputs, target, features and fill that it was made with."
        if whole not in keys or scores.shape[1:] != self.full.shape:
            raise ShapeError(expected=f"a saved result of {self.n} parts", got="one of others", do=do)
        then, now = scores[keys.index(whole)].to(self.full), self.full
        if not torch.allclose(then, now, rtol=1e-3, atol=1e-5):
            got = f"{float(then[0]):.4g} then, {float(now[0]):.4g} now"
            raise OptionError(expected="the score that the saved result was made with", got=got, do=do)
        fresh = [i for i, key in enumerate(keys) if key not in self.asked.places]
        if fresh:
            self.asked.add([keys[i] for i in fresh], scores[fresh].to(self.full))


def usual_fill(ask: Probe) -> Fill:
    """What hides a part by default: the mask token, the table's mean, a blur of a large picture, else zeros."""
    if ask.leaves.integer or isinstance(ask.model.modality, Text):
        masked = getattr(getattr(ask.model.modality, "tokenizer", None), "mask_token_id", None) is not None
        return MaskToken() if masked else Zeros()
    if ask.site is not None:
        return Zeros()
    if isinstance(ask.model.modality, Table):
        return Mean()
    return Blur() if ask.inputs.ndim == 4 and min(ask.inputs.shape[2:]) >= 24 else Zeros()
