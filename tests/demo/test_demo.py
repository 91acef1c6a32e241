"""The bundled networks are real: their stored weights reach their stored scores on data they were not trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.demo import NAMES, parts
from pellucid.demo.data import HERE, digits_split, free_split, read_weights, sentence_split
from pellucid.demo.tokenizer import WordPiece
from pellucid.demo.train import shifted, train
from pellucid.errors import LoadError

FLOORS = {"digits": 0.97, "breast-cancer": 0.95, "diabetes": 0.35, "sentences": 0.75}


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_weights_reach_their_score_on_held_out_data(name: str) -> None:
    demo, model = parts(name), pl.load(f"demo:{name}")
    answers = model(list(demo.examples) if demo.kind == "text" else demo.examples).values
    if demo.task == "regression":
        missed = answers[:, 0].numpy() - demo.labels
        score = 1 - (missed**2).sum() / ((demo.labels - demo.labels.mean()) ** 2).sum()
    else:
        score = (answers.argmax(1).numpy() == demo.labels).mean()
    assert score == pytest.approx(demo.score, abs=0.005)
    assert score >= FLOORS[name]


def test_together_they_are_below_a_megabyte() -> None:
    assert sum(path.stat().st_size for path in Path(HERE).glob("*.safetensors")) < 1_000_000


def test_no_held_out_sentence_was_trained_on() -> None:
    split = sentence_split()
    assert not set(split.held_out) & set(split.train)
    assert len(free_split().held_out) > 150


def test_the_split_is_the_same_every_time() -> None:
    first, second = digits_split(), digits_split()
    assert np.array_equal(first.held_out, second.held_out)
    assert len(first.train) == 3 * len(first.held_out) - 3


def test_the_decisive_words_decide() -> None:
    model = pl.load("demo:sentences")
    said = model(["The food was good.", "The food was not good.", "A wonderful film.", "A terrible film."]).classes
    assert said == ["positive", "negative", "positive", "negative"]
    top = pl.IntegratedGradients()(model, "The food was not good.").top(1)
    assert top[0][0] == "not"


def test_unknown_words_fall_into_pieces_that_are_put_together_again() -> None:
    words = parts("sentences").tokenizer
    tokens = words.convert_ids_to_tokens(words("An unputdownable book.")["input_ids"])
    assert any(token.startswith("##") for token in tokens)
    merged, index = pl.Text(tokenizer=words).words(tuple(tokens))
    assert "unputdownable" in merged
    assert len(index) == len(tokens)


def test_a_name_nobody_knows_is_told_with_near_ones() -> None:
    with pytest.raises(LoadError, match="digits"):
        parts("digit")


def test_a_vocabulary_that_is_none_is_refused() -> None:
    with pytest.raises(LoadError):
        WordPiece(["a", "b"])


def test_training_starts_from_the_seed_and_writes_what_is_read(tmp_path: Path) -> None:
    score = train("diabetes", tmp_path)
    assert score == pytest.approx(read_weights("diabetes")[1]["score"], abs=0.02)
    assert (tmp_path / "diabetes.safetensors").exists()


def test_shifting_keeps_the_shape() -> None:
    pictures = torch.arange(128.0).reshape(2, 1, 8, 8)
    assert shifted(pictures, torch.Generator().manual_seed(0)).shape == pictures.shape
