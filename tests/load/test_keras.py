"""Keras 3 on its torch backend: live models are copied and wrapped, files need trust."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.errors import LoadError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
HERE = importlib.util.find_spec("keras") is not None
PICTURE = np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8, endpoint=True)


def test_a_keras_file_is_code(tmp_path: Path) -> None:
    (tmp_path / "net.keras").touch()
    with pytest.raises(LoadError, match="Lambda") as caught:
        pl.load(tmp_path / "net.keras")
    assert "trust=True" in caught.value.do


@pytest.mark.skipif(HERE, reason="keras is installed")
def test_without_keras_the_command_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.keras").touch()
    with pytest.raises(LoadError, match="pip install keras"):
        pl.load(tmp_path / "net.keras", trust=True)


@pytest.fixture(scope="module")
def keras() -> Any:
    if HERE:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    found = pytest.importorskip("keras")
    if found.backend.backend() != "torch":
        pytest.skip("keras runs on another backend")
    return found


@pytest.fixture(scope="module")
def net(keras: Any) -> Any:
    torch.manual_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dropout(0.5),
            layers.Dense(3, name="head"),
        ]
    )


def test_a_live_model_is_explained_and_left_alone(net: Any) -> None:
    hooks = [len(each._forward_hooks) for each in net.layers]
    model = pl.load(net, inputs=pl.Images(mean=(0,), std=(1,)), classes=["a", "b", "c"])
    rows = torch.from_numpy(PICTURE / 255).float()[None, ..., None]
    assert torch.allclose(model(PICTURE).values, net(rows), atol=1e-6)
    shapes = {each.name: each.shape for each in model.layers(PICTURE)}
    assert shapes["conv"] == (4, 6, 6), "maps stand channels first"
    assert pl.GradCAM()(model, PICTURE).method.name == "GradCAM"
    assert pl.Saliency()(model, PICTURE, target=pl.Neuron("conv", channel=3)).values.shape == (1, 1, 8, 8)
    assert [len(each._forward_hooks) for each in net.layers] == hooks


def test_a_file_with_trust(net: Any, tmp_path: Path) -> None:
    net.save(tmp_path / "net.keras")
    model = pl.load(tmp_path / "net.keras", trust=True)
    rows = torch.from_numpy(PICTURE / 255).float()[None, ..., None]
    assert torch.allclose(model(rows).values, net(rows), atol=1e-6)
    with pytest.raises(LoadError, match="its own weights"):
        pl.load(tmp_path / "net.keras", weights="w.safetensors", trust=True)
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(LoadError, match="a Keras 3 model"):
        pl.load(tmp_path / "broken.keras", trust=True)
