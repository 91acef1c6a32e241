"""The bundled networks are real: their stored weights reach their stored scores on data they were not trained on."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.demo import NAMES, grammar, parts
from pellucid.demo.data import HERE, digits_split, read_weights, sentence_split
from pellucid.demo.tokenizer import WordPiece
from pellucid.demo.train import runs, shifted, train, unlike
from pellucid.errors import LoadError, OptionError

FLOORS = {"digits": 0.97, "breast-cancer": 0.95, "diabetes": 0.4, "sentences": 0.89}
OPPOSITES = (
    ("The film was good.", "The film was not good."),
    ("The film was not boring.", "The film was boring."),
    ("I loved this book.", "I hated this book."),
    ("The food was cold, but the staff were wonderful.", "The staff were wonderful, but the food was cold."),
    ("Although the room was small, it was comfortable.", "Although the room was comfortable, it was dirty."),
)


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_weights_reach_their_score_on_held_out_data(name: str) -> None:
    demo, model = parts(name), pl.load(f"demo:{name}")
    answers = model(list(demo.examples) if demo.kind == "text" else demo.examples).values
    if demo.task == "regression":
        missed = answers[:, 0].numpy() - demo.labels
        score = 1 - (missed**2).sum() / ((demo.labels - demo.labels.mean()) ** 2).sum()
    else:
        score = (answers.argmax(1).numpy() == demo.labels).mean()
    assert score == pytest.approx(demo.score, abs=0.01)
    assert score >= FLOORS[name]


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "sentences"])
def test_the_picks_are_what_they_say(name: str) -> None:
    demo, model = parts(name), pl.load(f"demo:{name}")
    right = model(demo.examples).values.argmax(1).numpy() == demo.labels
    assert right[list(demo.picks["clear"])].all()
    assert not right[list(demo.picks["wrong"])].any()


def test_a_header_says_how_the_weights_came_about() -> None:
    for name in NAMES:
        header = read_weights(name)[1]
        assert (header["schema"], header["seed"]) == (1, 0)
        assert {"measure", "score", "picks", "scikit-learn", "torch"} <= set(header)


def test_everything_bundled_is_below_a_megabyte() -> None:
    assert sum(path.stat().st_size for path in Path(HERE).iterdir() if path.is_file()) < 1_000_000


def test_the_face_is_imported_without_torch() -> None:
    code = "import sys, pellucid.demo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_held_out_sentence_was_trained_on() -> None:
    plain, implied = sentence_split("plain"), sentence_split("implied")
    held = {*plain.held_out, *implied.held_out}
    assert held.isdisjoint([*plain.train, *implied.train])
    assert len(plain.held_out) == 120
    assert len(held) == 292


def test_sentences_of_the_grammar_that_resemble_held_out_ones_are_left_out() -> None:
    held = sentence_split().held_out
    taken = [(1, "Today " + held[0].lower()), (0, "A dull book.")]
    assert unlike(taken, held) == taken[1:]
    assert list(runs("a b c d e f")) == [tuple("abcde"), tuple("bcdef")]


def test_the_grammar_is_balanced_and_repeats_itself_by_its_seed() -> None:
    first = grammar.write(200, seed=3)
    assert first == grammar.write(200, seed=3)
    assert sum(label for label, _ in first) == 100
    assert not any(set("[]|=~<>^{}") & set(text) for _, text in first)


def test_the_split_is_the_same_every_time() -> None:
    first, second = digits_split(), digits_split()
    assert np.array_equal(first.held_out, second.held_out)
    assert len(first.train) == 3 * len(first.held_out) - 3


@pytest.mark.parametrize(("good", "bad"), OPPOSITES)
def test_words_negation_and_contrast_decide(good: str, bad: str) -> None:
    assert pl.load("demo:sentences")([good, bad]).classes == ["positive", "negative"]


def test_the_decisive_word_is_found() -> None:
    top = pl.IntegratedGradients()(pl.load("demo:sentences"), "The food was not good.").top(1)
    assert top[0][0] == "not"


def test_unknown_words_fall_into_pieces_that_are_put_together_again() -> None:
    words = parts("sentences").tokenizer
    tokens = words.convert_ids_to_tokens(words("An unputdownable book.")["input_ids"])
    assert any(token.startswith("##") for token in tokens)
    merged, index = pl.Text(tokenizer=words).words(tuple(tokens))
    assert "unputdownable" in merged
    assert len(index) == len(tokens)
    assert words.decode(words("An unputdownable book.")["input_ids"], True) == "an unputdownable book."


def test_the_tokenizer_is_called_the_hugging_face_way() -> None:
    words = parts("sentences").tokenizer
    texts = ["It isn’t good.", "Bad"]
    given = words(texts, return_tensors="pt", padding=True, return_offsets_mapping=True)
    assert given["input_ids"].shape == given["attention_mask"].shape == (2, 6)
    assert given["attention_mask"].sum(1).tolist() == [6, 3]
    assert [texts[0][start:end] for start, end in given["offset_mapping"][0][1:-1]] == ["It", "isn’t", "good", "."]
    assert given["input_ids"][1].tolist()[0::2][:2] == [words.cls_token_id, words.sep_token_id]
    assert words("[MASK] ☃")["input_ids"][1:-1] == [words.mask_token_id, words.unk_token_id]
    with pytest.raises(OptionError):
        words("Good", return_tensors="tf")


def test_padding_changes_nothing() -> None:
    demo = parts("sentences")
    alone = demo.module(**demo.tokenizer("Good.", return_tensors="pt")).logits
    beside = demo.module(**demo.tokenizer(["Good.", "A long, dull film."], return_tensors="pt", padding=True)).logits
    torch.testing.assert_close(alone[0], beside[0])


def test_a_name_nobody_knows_is_told_with_near_ones() -> None:
    with pytest.raises(LoadError, match="digits"):
        parts("digit")


def test_a_vocabulary_that_is_none_is_refused() -> None:
    with pytest.raises(LoadError):
        WordPiece(["a", "b"])


def test_training_starts_from_the_seed_and_writes_what_is_read(tmp_path: Path) -> None:
    header = train("diabetes", tmp_path)
    assert header["score"] == pytest.approx(read_weights("diabetes")[1]["score"], abs=0.02)
    assert (tmp_path / "diabetes.safetensors").exists()


def test_shifting_keeps_the_shape() -> None:
    pictures = torch.arange(128.0).reshape(2, 1, 8, 8)
    assert shifted(pictures, torch.Generator().manual_seed(0)).shape == pictures.shape
