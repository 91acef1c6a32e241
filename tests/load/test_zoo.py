"""torchvision and timm: names, weights, preprocessing, against stand-ins of the two packages."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pellucid as pl
from pellucid.errors import LoadError

TRANSFORMS = SimpleNamespace(mean=[0.4, 0.5, 0.6], std=[0.2, 0.2, 0.3], crop_size=[8], resize_size=[9])


class Small(nn.Module):
    """Three colors to two classes."""

    def __init__(self, fill: float = 0.0) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.pretrained_cfg: dict[str, Any] = {}
        nn.init.constant_(self.head.weight, fill)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(pictures.mean((2, 3)))


class SmallWeights(enum.Enum):
    V1 = 1.0
    V2 = 2.0
    DEFAULT = V2

    @property
    def meta(self) -> dict[str, Any]:
        return {"categories": ["cat", "dog"]}

    def transforms(self) -> Any:
        return TRANSFORMS


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_model(name: str, weights: Any = None, **options: Any) -> Small:
        assert name == "small18"
        return Small(weights.value if weights else 0.0, **options)

    stand_in: Any = ModuleType("torchvision")
    stand_in.models = SimpleNamespace(
        list_models=lambda: ["small18", "small34"], get_model=get_model, get_model_weights=lambda _: SmallWeights
    )
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool = False) -> Small:
        return Small(3.0 if pretrained else 0.0)

    class ImageNetInfo:
        def __init__(self, subset: str) -> None:
            assert subset == "two"

        def label_descriptions(self) -> list[str]:
            return ["tabby, cat", "terrier, dog"]

    stand_in: Any = ModuleType("timm")
    stand_in.is_model, stand_in.list_models = (lambda name: name == "small"), (lambda: ["small", "large"])
    stand_in.create_model = create_model
    config = {"mean": (0.1, 0.2, 0.3), "std": (1.0, 1.0, 1.0), "input_size": (3, 8, 10)}
    stand_in.data = SimpleNamespace(
        resolve_model_data_config=lambda _: config, infer_imagenet_subset=lambda _: "two", ImageNetInfo=ImageNetInfo
    )
    monkeypatch.setitem(sys.modules, "timm", stand_in)


@pytest.mark.usefixtures("torchvision")
def test_torchvision_gives_published_weights_classes_and_preprocessing() -> None:
    model = pl.load("torchvision:small18")
    assert model.classes == ("cat", "dog")
    assert isinstance(model.modality, pl.Images)
    assert (model.modality.mean, model.modality.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    assert model.modality.size == (8, 8)
    assert float(model.module.head.weight[0, 0]) == 2.0
    for weights in ("V1", "SmallWeights.V1"):
        assert float(pl.load("torchvision:small18", weights).module.head.weight[0, 0]) == 1.0


@pytest.mark.usefixtures("torchvision")
def test_torchvision_with_weights_of_a_file_or_none(tmp_path: Path) -> None:
    save_file(Small(7.0).state_dict(), tmp_path / "w.safetensors")
    model = pl.load("torchvision:small18", tmp_path / "w.safetensors", classes=["a", "b"])
    assert float(model.module.head.weight[0, 0]) == 7.0
    assert model.classes == ("a", "b")
    assert pl.load("torchvision:small18", "random").classes is None


@pytest.mark.usefixtures("torchvision")
def test_torchvision_names_that_are_none() -> None:
    with pytest.raises(LoadError, match="Near: 'small18'"):
        pl.load("torchvision:smal18")
    with pytest.raises(LoadError, match="Near: 'V1'"):
        pl.load("torchvision:small18", "v1")
    with pytest.raises(LoadError, match="TypeError"):
        pl.load("torchvision:small18", depth=3)


@pytest.mark.usefixtures("timm")
def test_timm_gives_published_weights_classes_and_preprocessing(tmp_path: Path) -> None:
    model = pl.load("timm:small.a1_in1k")
    assert model.classes == ("tabby, cat", "terrier, dog")
    assert isinstance(model.modality, pl.Images)
    assert (model.modality.mean, model.modality.size) == ((0.1, 0.2, 0.3), (8, 10))
    assert float(model.module.head.weight[0, 0]) == 3.0
    assert float(pl.load("timm:small", "random").module.head.weight[0, 0]) == 0.0
    torch.save({"state_dict": Small(5.0).state_dict()}, tmp_path / "w.pth")
    assert float(pl.load("timm:small", str(tmp_path / "w.pth")).module.head.weight[0, 0]) == 5.0


@pytest.mark.usefixtures("timm")
def test_timm_names_that_are_none() -> None:
    with pytest.raises(LoadError, match="Near: 'large'"):
        pl.load("timm:lage")
    with pytest.raises(LoadError, match="a1_in1k"):
        pl.load("timm:small", "a1_in1k")


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_a_zoo_that_is_not_installed_says_how(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(LoadError, match=f"pip install {name}"):
        pl.load(f"{name}:resnet18")


def test_a_zoo_that_does_not_fit_this_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(LoadError, match="pip install --upgrade torchvision"):
        pl.load("torchvision:resnet18")
