"""Parts of texts: what belongs together, and what the parts are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.features.text import sentences
from pellucid.errors import EmptyError, ShapeError


class Pieces:
    """A tokenizer that looks tokens up in a list it makes as it reads."""

    all_special_ids = (0, 1)
    pad_token_id = 0

    def __init__(self) -> None:
        self.tokens = ["[PAD]", "[CLS]"]

    def __call__(self, texts: list[str], **_: Any) -> dict[str, torch.Tensor]:
        rows = []
        for text in texts:
            self.tokens += [each for each in text.split() if each not in self.tokens]
            rows.append(torch.tensor([1, *[self.tokens.index(each) for each in text.split()]]))
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.tokens[i] for i in ids]


class Reader(nn.Module):
    """One number a text: the sum of what its ids weigh."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 1, padding_idx=0)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.embedding(input_ids).sum(1)


def parts(features: Any, text: str) -> Any:
    return features(question(pl.Model(Reader(), inputs=pl.Text(tokenizer=Pieces())), text, discrete=True))


def test_sub_words_words_and_sentences() -> None:
    text = "an un ##like ##ly film . go !"
    assert parts(pl.Tokens(), text).names == ("an", "un", "like", "ly", "film", ".", "go", "!")
    words = parts(pl.Words(), text)
    assert words.names == ("an", "unlikely", "film", ".", "go", "!")
    assert words.labels[0].tolist() == [-1, 0, 1, 1, 1, 2, 3, 4, 5]
    whole = parts(pl.Sentences(), text)
    assert whole.names == ("an unlikely film.", "go!")
    assert whole.labels[0].tolist() == [-1, 0, 0, 0, 0, 0, 0, 1, 1]


def test_tokens_that_begin_with_a_mark_of_space() -> None:
    text = "Ġan Ġfilm . Ġgo"
    assert parts(pl.Tokens(), text).names == ("an", "film", ".", "go")
    assert parts(pl.Words(), text).names == ("an", "film.", "go")
    assert parts(pl.Sentences(), text).labels[0].tolist() == [-1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("no stops at all", [0, 0, 0, 0]),
        ("one . two", [0, 0, 1]),
        ("one. two! three? four… five", [0, 1, 2, 3, 4]),
        ("what ? ! yes", [0, 0, 0, 1]),
        ("wait . . . go", [0, 0, 0, 0, 1]),
        ("( yes . ) no", [0, 0, 0, 0, 1]),
        ('he said "no." then left', [0, 0, 0, 1, 1]),
        ("pi is 3 . 14 here", [0] * 6),
        ("in 1999 . Then", [0, 0, 0, 1]),
        ("好 。 不 好 \uff01 啊", [0, 0, 1, 1, 1, 2]),
        (". a", [0, 1]),
        ("", []),
    ],
)
def test_where_sentences_end(text: str, numbers: list[int]) -> None:
    assert sentences(text.split()) == numbers


def test_hidden_sentences_leave_the_rest_and_special_tokens() -> None:
    net, reader = Reader(), pl.Text(tokenizer=Pieces())
    found = pl.Ablation(features=pl.Sentences())(pl.Model(net, inputs=reader), ["a b . c", "d"])
    weights = net.embedding.weight.detach()[:, 0]
    ids = reader.prepare(["a b . c", "d"])["input_ids"]
    expected = [[weights[ids[0, 1:4]].sum(), weights[ids[0, 4]]], [weights[ids[1, 1]]]]
    for players, want in zip(found.extra["players"], expected, strict=True):
        torch.testing.assert_close(players[0], torch.stack(want))
    assert found.extra["names"] == [("a b.", "c"), ("d",)]
    assert float(found.values["input_ids"][0, 0]) == 0


def test_a_black_box_of_texts() -> None:
    box = pl.BlackBox(lambda texts: np.array([len(each) for each in texts], dtype=float), inputs=pl.Text())
    found = pl.Ablation(features=pl.Sentences())(box, "one two. three")
    assert found.extra["names"] == ("one two.", "three")
    assert found.extra["players"].tolist() == [[9.0, 6.0]]


def test_ids_without_a_tokenizer() -> None:
    ids = {"input_ids": torch.tensor([[3, 4, 0]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    probe = question(pl.Model(Reader()), ids, discrete=True)
    assert pl.Tokens()(probe).names == ()
    assert pl.Words()(probe).labels.tolist() == [[0, 1, -1]]
    with pytest.raises(ShapeError):
        pl.Sentences()(probe)
    with pytest.raises(ShapeError):
        pl.Sentences()(question(pl.Model(nn.Linear(3, 1)), torch.rand(1, 3)))
    empty = question(
        pl.Model(Reader(), inputs=pl.Text(tokenizer=Pieces())),
        ids | {"input_ids": torch.zeros(1, 3).long()},
        discrete=True,
    )
    for features in (pl.Tokens(), pl.Words(), pl.Sentences()):
        with pytest.raises(EmptyError):
            features(empty)
