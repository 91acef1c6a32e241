"""Game: a question in yes/no players. ``game(coalitions (k, n) bool)`` gives scores (k, batch).

A coalition's players are shown, the others replaced by the fill; several variants of a fill are averaged. Equal
coalitions are asked once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.features import Features, Players, usual_features
from pellucid.engines.fills import Blur, Fill, MaskToken, Mean, Zeros, as_fill
from pellucid.errors import OptionError


class Game:
    """Features × fill on a probe."""

    def __init__(self, ask: Probe, features: Features | None = None, fill: Any = None) -> None:
        self.ask = ask
        if features is not None and not isinstance(features, Features):
            do = "Use e.g. Elements(), Patches(7), Columns(), Words(), Groups({…})."
            raise OptionError(expected="a feature set", got=repr(features)[:60], do=do)
        self.players: Players = (features or usual_features(ask))(ask)
        self.fill: Fill = as_fill(fill) if fill is not None else usual_fill(ask)
        self.hidden = self.fill(ask)
        self.known = {torch.ones(self.n, dtype=torch.bool).numpy().tobytes(): ask.score}
        self.rows = 0

    @property
    def n(self) -> int:
        """How many players."""
        return self.players.n

    @property
    def cost(self) -> int:
        """Rows a coalition costs: the variants of the fill."""
        return len(self.hidden)

    def __call__(self, coalitions: Tensor) -> Tensor:
        """Scores (k, batch) of coalitions (k, n); equal ones, now or before, are asked once."""
        keys = [row.tobytes() for row in coalitions.cpu().numpy()]
        new: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.known and key not in new:
                new[key] = i
        if new:
            picked = coalitions[list(new.values())]
            for key, score in zip(new, self.lazily(lambda k: picked[k], len(picked)), strict=True):
                self.known[key] = score
        return torch.stack([self.known[key] for key in keys])

    def lazily(self, coalitions: Callable[[Tensor], Tensor], count: int) -> Tensor:
        """Scores (count, batch) of coalitions made when needed: numbers (k,) → (k, n)."""
        variants, x = len(self.hidden), self.ask.inputs

        def points(numbers: Tensor) -> Tensor:
            shown = self.players.shown(coalitions(numbers // variants)).to(x.device)
            return torch.where(shown, x[None], self.hidden[numbers % variants])

        self.rows += count * variants * self.ask.batch
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


def usual_fill(ask: Probe) -> Fill:
    """What hides a part by default: the mask token, the table's mean, a blur of a large picture, else zeros."""
    if ask.leaves.integer or isinstance(ask.model.modality, Text):
        return (
            MaskToken()
            if getattr(getattr(ask.model.modality, "tokenizer", None), "mask_token_id", None) is not None
            else Zeros()
        )
    if ask.site is not None:
        return Zeros()
    if isinstance(ask.model.modality, Table):
        return Mean()
    return Blur() if ask.inputs.ndim == 4 and min(ask.inputs.shape[2:]) >= 24 else Zeros()
