"""Parts of texts: tokens, words and sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pellucid.core.modality import Text
from pellucid.core.modality.text import STARTERS
from pellucid.core.probe import Probe
from pellucid.engines.features.players import Features, Parts, Players
from pellucid.errors import EmptyError, ShapeError

ENDS = (".", "!", "?", "…", "。", "\uff01", "\uff1f", "।", "؟")
CLOSERS = ("”", "’", "»", ")", "]", "」", "』", *ENDS)


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
        if text is None:
            content = ids != 0
            return numbered([i if kept else None for i, kept in enumerate(content.tolist())], ask, {})
        said = text.tokens(np.asarray(ids.cpu()))
        names = {i: token.removeprefix("##").lstrip("".join(STARTERS[:2])) or token for i, token in enumerate(said)}
        return numbered(contents(range(len(said)), text, ids), ask, names)


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
        words, index = text.words(text.tokens(np.asarray(ids.cpu())))
        return numbered(contents(index, text, ids), ask, dict(enumerate(words)))


@dataclass(frozen=True)
class Sentences(Features):
    """The words of a sentence together; a text without stops is one sentence.

    A word that ends in ``.``, ``!``, ``?``, ``…`` or their like ends a sentence, and so does an abbreviation; a point
    between digits does not.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(features=pl.Sentences())(pl.load("demo:sentences"), "A good film. Not for me!")
        >>> heat.extra["names"]
        ('a good film.', 'not for me!')
    """

    def __call__(self, ask: Probe) -> Players:
        ids, text = ids_of(ask)
        if text is None:
            do = "Say how it is read: pl.Model(module, inputs=pl.Text(tokenizer=…))."
            raise ShapeError(expected="a text", got="token ids without a tokenizer", do=do)
        words, index = text.words(text.tokens(np.asarray(ids.cpu())))
        which = contents(index, text, ids)
        used = sorted({i for i in which if i is not None})
        sentence = dict(zip(used, sentences([words[i] for i in used]), strict=True))
        names: dict[int, str] = {}
        for i in used:
            names[sentence[i]] = f"{names.get(sentence[i], '')} {words[i]}".strip()
        told = {i: re.sub(r"\s+([.!?…,;:%)\]”»])", r"\1", name) for i, name in names.items()}
        return numbered([None if i is None else sentence[i] for i in which], ask, told)


def sentences(words: Sequence[str]) -> list[int]:
    """The number of each word's sentence.

    >>> sentences("It cost 3 . 5 dollars . Really ? ! Yes".split())
    [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2]
    """
    numbers, number, ended = [], 0, False
    for i, word in enumerate(words):
        bare = word.rstrip("".join(CLOSERS[: -len(ENDS)]) + "\"'") or word
        number += ended and not all(mark in CLOSERS for mark in word)
        ended = (ended and all(mark in CLOSERS for mark in word)) or bare.endswith(ENDS)
        between = bare == "." and 0 < i < len(words) - 1 and words[i - 1].isdigit() and words[i + 1].isdigit()
        ended = ended and not between
        numbers.append(number)
    return numbers


def ids_of(ask: Probe) -> tuple[Tensor, Text | None]:
    """The ids of the one example asked about, and the text modality."""
    ids = ask.leaves.values
    if len(ids) != 1 or ids.ndim != 2:
        raise ShapeError(expected="ids (1, tokens)", got=str(tuple(ids.shape)), do="Ask one example at a time.")
    return ids[0], ask.model.modality if isinstance(ask.model.modality, Text) else None


def contents(index: Sequence[int], text: Text, ids: Tensor) -> list[int | None]:
    """The numbers of tokens that are not special; None for those that are."""
    return [None if special else i for i, special in zip(index, text.special(ids).tolist(), strict=True)]


def numbered(which: Sequence[int | None], ask: Probe, names: Mapping[int, str]) -> Parts:
    """Players from the number of each token's part, in order; None is never hidden. No part at all is an error."""
    known: dict[int, int] = {}
    labels = torch.tensor([-1 if i is None else known.setdefault(i, len(known)) for i in which])
    if not known:
        raise EmptyError(expected="at least one word", got="special tokens only", do="Pass some words.")
    told = tuple(names[i] for i in known) if names else ()
    return Parts(labels[None], len(known), tuple(ask.inputs.shape[1:]), told)
