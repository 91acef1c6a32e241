"""Parts of texts: tokens and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.core.modality import Text
from pellucid.core.probe import Probe
from pellucid.engines.features.players import Features, Parts, Players
from pellucid.errors import EmptyError, ShapeError


@dataclass(frozen=True)
class Tokens(Features):
    """Every token that is not special, one by one.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(features=pl.Tokens())(pl.load("demo:sentences"), "A good film.")
        >>> heat.extra["players"].shape
        torch.Size([1, 4])
    """

    def __call__(self, ask: Probe) -> Players:
        ids, text = ids_of(ask)
        content = ~text.special(ids) if text is not None else ids != 0
        return numbered(content.cumsum(0) - 1, content, ask, int(content.sum()))


@dataclass(frozen=True)
class Words(Features):
    """Sub-words of a word together.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(features=pl.Words())(pl.load("demo:sentences"), "A good film.")
        >>> heat.extra["players"].shape
        torch.Size([1, 4])
    """

    def __call__(self, ask: Probe) -> Players:
        ids, text = ids_of(ask)
        if text is None:
            return Tokens()(ask)
        _, index = text.words(text.tokens(np.asarray(ids.cpu())))
        content = ~text.special(ids)
        known: dict[int, int] = {}
        labels = torch.tensor(
            [known.setdefault(i, len(known)) if kept else -1 for i, kept in zip(index, content, strict=True)]
        )
        return numbered(labels, content, ask, len(known))


def ids_of(ask: Probe) -> tuple[Tensor, Text | None]:
    """The ids of the one example asked about, and the text modality."""
    ids = ask.leaves.values
    if len(ids) != 1 or ids.ndim != 2:
        raise ShapeError(expected="ids (1, tokens)", got=str(tuple(ids.shape)), do="Ask one example at a time.")
    return ids[0], ask.model.modality if isinstance(ask.model.modality, Text) else None


def numbered(labels: Tensor, content: Tensor, ask: Probe, n: int) -> Parts:
    """Token players from their labels; no content at all is an error."""
    if n == 0:
        raise EmptyError(expected="at least one word", got="special tokens only", do="Pass some words.")
    return Parts(torch.where(content.cpu(), labels.cpu(), -1)[None], n, tuple(ask.inputs.shape[1:]))
