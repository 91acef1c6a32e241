"""Sentences: any tokenizer with the Hugging Face interface, a plain callable, or words for a black box."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.figure import Figure, MarkedText, robust_limit
from pellucid.core.modality.plain import Array, Modality
from pellucid.errors import DtypeError, EmptyError

JOINERS = ("##",)
STARTERS = ("Ġ", "▁", "_")


@dataclass(frozen=True, kw_only=True, eq=False)
class Text(Modality):
    """Sentences as token ids.

    ``tokenizer`` is called like a Hugging Face one and gives ``{"input_ids", "attention_mask", …}``; or it is a
    function from a text to a list of ids. Without one, a text is a row of words, and a BlackBox gets texts back in
    which hidden words are left out.

    Example:
        >>> text = Text()
        >>> rows = text.prepare("not a good film")
        >>> text.decode(rows.numpy())
        ['not a good film']
    """

    kind: ClassVar[str] = "text"
    tokenizer: Any = None
    vocabulary: list[str] = field(default_factory=lambda: [""])

    def prepare(self, given: Any) -> Any:
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
            if isinstance(given, Tensor | np.ndarray | dict) or hasattr(given, "keys") or isinstance(given, tuple):
                return dict(given) if hasattr(given, "keys") else given
            raise DtypeError(expected="a sentence or a list of sentences", got=type(given).__name__, do="Pass a str.")
        if not given or any(not each.strip() for each in given):
            raise EmptyError(expected="sentences with at least one word", got="an empty text", do="Pass some words.")
        if self.tokenizer is None:
            return self._words(list(given))
        if hasattr(self.tokenizer, "convert_ids_to_tokens"):
            return dict(self.tokenizer(list(given), return_tensors="pt", padding=len(given) > 1))
        return pad([torch.as_tensor(self.tokenizer(each)).reshape(-1) for each in given])

    def _words(self, texts: list[str]) -> Tensor:
        known = {word: i for i, word in enumerate(self.vocabulary)}
        rows = []
        for text in texts:
            ids = []
            for word in re.findall(r"\S+\s*", text):
                if word not in known:
                    known[word] = len(self.vocabulary)
                    self.vocabulary.append(word)
                ids.append(known[word])
            rows.append(torch.tensor(ids))
        return pad(rows)

    def decode(self, rows: Array) -> Any:
        if self.tokenizer is None:
            return ["".join(self.vocabulary[int(i)] for i in row).strip() for row in rows]
        keep = [[int(i) for i in row if int(i) != self.pad_id] for row in rows]
        return [self.tokenizer.decode(row, skip_special_tokens=True) for row in keep]

    @property
    def pad_id(self) -> int:
        """What stands for no token."""
        pad = getattr(self.tokenizer, "pad_token_id", None)
        return 0 if pad is None else int(pad)

    @property
    def mask_id(self) -> int:
        """What stands for a hidden token: [MASK] where the tokenizer has one, else the padding token."""
        mask = getattr(self.tokenizer, "mask_token_id", None)
        return self.pad_id if mask is None else int(mask)

    def special(self, ids: Tensor) -> Tensor:
        """Where ids are special tokens (not words): same shape, bool."""
        known = set(getattr(self.tokenizer, "all_special_ids", None) or ()) - {
            getattr(self.tokenizer, "unk_token_id", None)
        }
        return torch.isin(ids, torch.tensor(sorted(known | {self.pad_id}), device=ids.device))

    def tokens(self, ids: Array) -> tuple[str, ...]:
        """The tokens as texts."""
        if self.tokenizer is None:
            return tuple(self.vocabulary[int(i)].strip() for i in ids)
        if hasattr(self.tokenizer, "convert_ids_to_tokens"):
            return tuple(str(each) for each in self.tokenizer.convert_ids_to_tokens([int(i) for i in ids]))
        return tuple(str(int(i)) for i in ids)

    def labels(self, inputs: Array) -> tuple[str, ...]:
        return self.tokens(inputs)

    def words(self, tokens: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Sub-words merged: the words, and for every token the index of its word."""
        starts = any(token.startswith(STARTERS) for token in tokens)
        words: list[str] = []
        index: list[int] = []
        for token in tokens:
            joined = token.startswith(JOINERS) or (starts and words and not token.startswith((*STARTERS, "<", "[")))
            piece = re.sub(r"^(##|Ġ|▁)", "", token)
            if joined and words and words[-1][:1] not in "[<":
                words[-1] += piece
            else:
                words.append(piece)
            index.append(len(words) - 1)
        return tuple(words), tuple(index)

    def input_figure(self, inputs: Array) -> Figure:
        words, _ = self.words(self.tokens(inputs))
        return MarkedText(title="input", tokens=words, values=np.zeros(len(words)), limit=1.0, alt=" ".join(words))

    def map_figure(
        self, values: Array, inputs: Array, *, title: str = "", limit: float | None = None, **rest: Any
    ) -> Figure:
        if values.ndim != 1 or len(values) != len(inputs):
            return super().map_figure(values, inputs, title=title, limit=limit, **rest)
        words, index = self.words(self.tokens(inputs))
        merged = np.zeros(len(words))
        np.add.at(merged, list(index), values)
        shown = [i for i, word in enumerate(words) if word and word not in ("[PAD]", "<pad>")]
        tokens, merged = tuple(words[i] for i in shown), merged[shown]
        alt = ", ".join(f"{word} {value:+.2g}" for word, value in zip(tokens, merged, strict=True))
        return MarkedText(
            title=title,
            tokens=tokens,
            values=merged,
            limit=limit or robust_limit(merged, 1.0),
            signed=bool((merged < 0).any()),
            alt=alt,
        )


def pad(rows: list[Tensor]) -> Tensor:
    """Rows of ids of unequal length as (batch, tokens), padded by 0."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
