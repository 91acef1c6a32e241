"""Sentences: tokenizers with the Hugging Face interface, plain functions, and none at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import DtypeError, EmptyError

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "the", "film", "is", "good", "bad", "##ish", "not"]


class Tokenizer:
    """The part of the Hugging Face interface that is used."""

    pad_token_id, mask_token_id, unk_token_id = 0, 3, 4
    all_special_ids = (0, 1, 2, 3, 4)

    def __call__(self, texts: list[str], return_tensors: str = "pt", padding: bool = False) -> dict[str, Tensor]:
        rows = [[1, *(i for word in text.split() for i in self.pieces(word)), 2] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def pieces(self, word: str) -> list[int]:
        if word in WORDS:
            return [WORDS.index(word)]
        if word.endswith("ish"):
            return [*self.pieces(word[:-3]), 10]
        return [4]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [WORDS[i] for i in ids]

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        return " ".join(WORDS[i] for i in ids if i not in self.all_special_ids).replace(" ##", "")


class Judge(nn.Module):
    """Adds up a number a token, masked ones left out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(len(WORDS), 1)
        with torch.no_grad():
            self.table.weight.zero_()
            for word, weight in (("good", 2.0), ("bad", -3.0), ("##ish", -0.5), ("film", 0.25)):
                self.table.weight[WORDS.index(word)] = weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return (self.table(input_ids)[..., 0] * attention_mask).sum(1, keepdim=True)


TEXT = pl.Text(tokenizer=Tokenizer())


def test_a_tokenizer_gives_ids_and_mask() -> None:
    found = TEXT.prepare(["the film is good", "bad"])
    assert found["input_ids"].tolist() == [[1, 5, 6, 7, 8, 2], [1, 9, 2, 0, 0, 0]]
    assert TEXT.prepare("bad")["input_ids"].shape == (1, 3)
    same = {"input_ids": torch.tensor([[1, 9, 2]])}
    assert TEXT.prepare(same) == same
    assert (TEXT.pad_id, TEXT.mask_id) == (0, 3)
    assert TEXT.special(torch.tensor([0, 1, 4, 9])).tolist() == [True, True, False, False]
    assert TEXT.decode(np.array([[1, 8, 10, 2, 0]])) == ["goodish"]


def test_every_token_gets_its_share_and_special_ones_none() -> None:
    model = pl.Model(Judge(), inputs=TEXT)
    for method in (pl.IntegratedGradients(), pl.KernelSHAP(), pl.Ablation(features=pl.Tokens())):
        result = method(model, ["the film is goodish", "bad film is bad"])
        values = result.values["input_ids"]
        expected = torch.tensor([[0, 0, 0.25, 0, 2, -0.5, 0], [0, -3, 0.25, 0, -3, 0, 0]])
        if type(method) is pl.KernelSHAP:  # a word's value is shared by its pieces
            expected[0, 4:6] = 0.75
        torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    assert dict(result.top(2, row=0)) == {"good": 2, "##ish": -0.5}


def test_words_are_merged() -> None:
    words, index = TEXT.words(("[CLS]", "good", "##ish", "film", "[SEP]"))
    assert words == ("[CLS]", "goodish", "film", "[SEP]")
    assert index == (0, 1, 1, 2, 3)
    words, index = TEXT.words(("<s>", "Ġgood", "ish", "Ġfilm", "</s>"))
    assert words[1:3] == ("goodish", "film")
    assert index[1] == index[2]
    words, _ = TEXT.words(("▁good", "ish", "▁film"))
    assert words == ("goodish", "film")


def test_a_word_of_two_pieces_is_one_player() -> None:
    result = pl.Occlusion()(pl.Model(Judge(), inputs=TEXT), "the film is goodish")
    values = result.values["input_ids"][0]
    assert values[4] == values[5] == 1.5
    figure = result.figure()
    assert "goodish" in figure.tokens


def test_a_function_from_text_to_ids() -> None:
    def ids(text: str) -> list[int]:
        return [len(word) for word in text.split()]

    text = pl.Text(tokenizer=ids)
    assert text.prepare(["a bb", "ccc"]).tolist() == [[1, 2], [3, 0]]
    net = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(6, 2))
    result = pl.IntegratedGradients()(pl.Model(net, inputs=text), "a bb")
    assert result.values.shape == (1, 2)
    assert [name for name, _ in sorted(result.top(2))] == ["1", "2"]
    assert result.figure().html()


def test_no_tokenizer_at_all() -> None:
    text = pl.Text()
    ids = text.prepare(["one two", "two  three four"])
    assert text.decode(ids.numpy()) == ["one two", "two  three four"]
    hidden = ids.clone()
    hidden[1, 1] = 0
    assert text.decode(hidden.numpy())[1] == "two  four"
    assert text.tokens(ids[0].numpy()) == ("one", "two", "")


@pytest.mark.parametrize("given", ["", "   ", [""], ["fine", " "], []])
def test_empty_texts(given: Any) -> None:
    with pytest.raises(EmptyError):
        pl.Text().prepare(given)


@pytest.mark.parametrize("given", [3, None, 2.5, [1, 2], ["a", 3], b"bytes"])
def test_what_is_no_text(given: Any) -> None:
    with pytest.raises(DtypeError):
        pl.Text().prepare(given)


def test_a_text_of_special_tokens_only() -> None:
    given = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    with pytest.raises(EmptyError):
        pl.KernelSHAP()(pl.Model(Judge(), inputs=TEXT), given)
    assert float(pl.IntegratedGradients()(pl.Model(Judge(), inputs=TEXT), given).values["input_ids"].abs().max()) == 0


def test_one_unknown_word() -> None:
    result = pl.KernelSHAP()(pl.Model(Judge(), inputs=TEXT), "zzz")
    assert result.values["input_ids"].shape == (1, 3)
