"""A small WordPiece tokenizer that is called the way a Hugging Face tokenizer is."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import LoadError, OptionError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORD = re.compile(r"\[(?:PAD|UNK|CLS|SEP|MASK)\]|\w+(?:['’]\w+)*|[^\w\s]")


def _folded(word: str) -> str:
    return word.lower().replace("’", "'")


class WordPiece:
    """Lower-cased words, and known pieces ("un", "##watch", "##able") of words that the vocabulary lacks."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Number the tokens as listed; the five special ones come first."""
        if tuple(vocabulary[: len(SPECIAL)]) != SPECIAL:
            got = str(tuple(vocabulary[: len(SPECIAL)]))
            raise LoadError(expected=f"a vocabulary that starts with {SPECIAL}", got=got, do="Load one save() wrote.")
        self.tokens = tuple(vocabulary)
        self.vocab = {token: index for index, token in enumerate(self.tokens)}
        self.pad_token_id, self.unk_token_id, self.cls_token_id, self.sep_token_id, self.mask_token_id = range(5)
        self.pad_token, self.unk_token, self.cls_token, self.sep_token, self.mask_token = SPECIAL
        self.all_special_ids = list(range(len(SPECIAL)))
        self.all_special_tokens = list(SPECIAL)
        self.padding_side = "right"

    @classmethod
    def load(cls, path: Path) -> WordPiece:
        """The tokenizer whose vocabulary a JSON list holds."""
        return cls(json.loads(path.read_text("utf-8")))

    def save(self, path: Path) -> None:
        """Write the vocabulary as a JSON list."""
        path.write_text(json.dumps(self.tokens, ensure_ascii=False, indent=0) + "\n", "utf-8")

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        return_tensors: str | None = None,
        padding: bool = False,
        return_offsets_mapping: bool = False,
    ) -> dict[str, Any]:
        """Encode one text or several: ``input_ids`` and ``attention_mask``, (batch, tokens) as tensors.

        ``return_tensors="pt"`` gives int64 tensors, as a batch even for one text; offsets stay lists of (start, end).
        """
        if return_tensors not in (None, "pt"):
            do = 'Use return_tensors="pt", or leave it out.'
            raise OptionError(expected='"pt" or None', got=repr(return_tensors), do=do)
        rows = [self._encode(one) for one in ([text] if isinstance(text, str) else text)]
        encoded: dict[str, list[Any]] = {
            "input_ids": [[token for token, _ in row] for row in rows],
            "attention_mask": [[1] * len(row) for row in rows],
        }
        if return_offsets_mapping:
            encoded["offset_mapping"] = [[span for _, span in row] for row in rows]
        if padding:
            self._pad(encoded)
        if return_tensors is None:
            return {key: values[0] for key, values in encoded.items()} if isinstance(text, str) else encoded
        import torch

        return {key: rows if key == "offset_mapping" else torch.tensor(rows) for key, rows in encoded.items()}

    def _encode(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Token numbers with their places in the text, between [CLS] and [SEP], which have none."""
        found = [piece for word in WORD.finditer(text) for piece in self._pieces(word.group(), word.start())]
        return [(self.cls_token_id, (0, 0)), *found, (self.sep_token_id, (0, 0))]

    def _pieces(self, word: str, place: int) -> list[tuple[int, tuple[int, int]]]:
        """The longest known piece, then the longest of what is left; [UNK] for a word that no pieces make."""
        if word in SPECIAL:
            return [(self.vocab[word], (place, place + len(word)))]
        folded, start, pieces = _folded(word), 0, []
        while start < len(folded):
            prefix = "##" if start else ""
            ends = range(len(folded), start, -1)
            end = next((end for end in ends if prefix + folded[start:end] in self.vocab), None)
            if end is None:
                return [(self.unk_token_id, (place, place + len(word)))]
            pieces.append((self.vocab[prefix + folded[start:end]], (place + start, place + end)))
            start = end
        return pieces

    def _pad(self, encoded: dict[str, list[Any]]) -> None:
        """Lengthen every row to the longest."""
        fill = {"input_ids": self.pad_token_id, "attention_mask": 0, "offset_mapping": (0, 0)}
        for key, rows in encoded.items():
            longest = max(map(len, rows), default=0)
            encoded[key] = [row + [fill[key]] * (longest - len(row)) for row in rows]

    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> Any:
        """The token of one number, or the list of tokens of several."""
        if isinstance(ids, int):
            return self.tokens[ids]
        numbers = [int(number) for number in ids]
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.tokens[number] for number in numbers if number not in skipped]

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The number of one token, or the list of numbers of several; unknown ones give [UNK]."""
        if isinstance(tokens, str):
            return self.vocab.get(tokens, self.unk_token_id)
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens around it."""
        return [self.tokens[token] for token, _ in self._encode(text)[1:-1]]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Readable text: pieces joined to words, punctuation set against the word before it."""
        text = " ".join(self.convert_ids_to_tokens(ids, skip_special_tokens)).replace(" ##", "")
        return re.sub(r" ([.,!?;:])", r"\1", text)

    def get_vocab(self) -> dict[str, int]:
        """Every token with its number."""
        return dict(self.vocab)


def learn(texts: Iterable[str], size: int, pieces: int = 250) -> WordPiece:
    """A vocabulary of ``size`` tokens: characters, then common words, then beginnings and endings of many words."""
    counts = Counter(_folded(word) for text in texts for word in WORD.findall(text))
    alphabet = sorted({*"abcdefghijklmnopqrstuvwxyz0123456789'.,:;!?-", *"".join(counts)})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    reach: Counter[str] = Counter()
    for word in counts:
        reach.update(word[:end] for end in range(2, len(word)))
        reach.update(f"##{word[start:]}" for start in range(1, len(word) - 1))
    parts = sorted(reach, key=lambda part: (-(reach[part] - 1) * len(part), part))
    letters = (*SPECIAL, *alphabet, *(f"##{letter}" for letter in alphabet))
    known = dict.fromkeys((*letters, *words))
    kept = list(known)[: size - pieces]
    return WordPiece(list(dict.fromkeys((*kept, *parts)))[:size])
