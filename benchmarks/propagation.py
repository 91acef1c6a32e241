"""Rules of the way back: LRP, DeepLIFT, DeepSHAP and AttnLRP."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.gradients import floor_embedded, floor_gradients
from benchmarks.nets import minilm, resnet18, vgg11
from benchmarks.timing import Case


def zennit(net: nn.Module, x: Tensor, composite: str) -> Any:
    """zennit's composite, batch-norms merged."""
    if "torchvision" not in sys.modules:  # it asks for layer types of torchvision, which the nets here do not have
        sys.modules["torchvision"] = types.ModuleType("torchvision")
        ops = sys.modules["torchvision.ops"] = types.ModuleType("torchvision.ops")
        sys.modules["torchvision.ops.misc"] = misc = types.ModuleType("torchvision.ops.misc")
        misc.FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})  # type: ignore[attr-defined]
        ops.misc = misc  # type: ignore[attr-defined]
        for name in ("models", "models.resnet", "models.vgg"):
            made = sys.modules[f"torchvision.{name}"] = types.ModuleType(f"torchvision.{name}")
            made.BasicBlock = made.Bottleneck = made.ResNet = made.VGG = type("Absent", (nn.Module,), {})  # type: ignore[attr-defined]
    from zennit import canonizers, composites, rules
    from zennit import types as kinds

    merge = [canonizers.SequentialMergeBatchNorm()]
    if composite == "epsilon":
        chosen = composites.LayerMapComposite(
            [(kinds.Activation, rules.Pass()), (kinds.Linear, rules.Epsilon())], canonizers=merge
        )
    else:
        chosen = getattr(composites, composite)(canonizers=merge)
    given = x.clone().requires_grad_()
    with chosen.context(net) as changed:
        out = changed(given)
        return torch.autograd.grad(out, given, torch.eye(out.shape[1])[[0] * len(x)])


def captum_lrp(net: nn.Module, x: Tensor) -> Any:
    """captum's ε rule."""
    from captum import attr
    from captum.attr._utils.lrp_rules import EpsilonRule

    for part in net.modules():
        if isinstance(part, nn.Flatten):
            part.rule = EpsilonRule()  # type: ignore[assignment]
    return attr.LRP(net).attribute(x, target=0)


def lrp_cases() -> Iterator[Case]:
    """LRP on VGG-11 and ResNet-18."""
    many = torch.randn(8, 3, 224, 224)
    for name, make, rows in (("VGG-11", vgg11, 1), ("VGG-11", vgg11, 8), ("ResNet-18", resnet18, 8)):
        x = many[:rows]
        plain = make().requires_grad_(False).to(memory_format=torch.channels_last)
        theirs, model = make(), pl.Model(make(), inputs=pl.Images())
        peers = {"zennit": lambda net=theirs, x=x: zennit(net, x, "epsilon")}
        if name == "VGG-11":
            peers["captum"] = lambda net=theirs, x=x: captum_lrp(net, x)
        floor = lambda net=plain, x=x: floor_gradients(net, x, len(x), 8)  # noqa: E731
        yield Case(
            f"LRP ε, {name} × {rows}",
            floor,
            lambda model=model, x=x: pl.LRP("epsilon")(model, x, target=0),
            peers,
            aim=1.2,
        )
        yield Case(
            f"LRP epsilon-plus-flat, {name} × {rows}",
            floor,
            lambda model=model, x=x: pl.LRP("epsilon-plus-flat")(model, x, target=0),
            {"zennit": lambda net=theirs, x=x: zennit(net, x, "EpsilonPlusFlat")},
            aim=1.8,
        )
        if name == "ResNet-18":
            yield Case(
                f"LRP zero (a table of plain gradients), {name} × {rows}",
                lambda model=model, x=x: pl.Saliency()(model, x, target=0),
                lambda model=model, x=x: pl.LRP("zero")(model, x, target=0),
                aim=1.1,
                rounds=9,
            )


def reference_cases() -> Iterator[Case]:
    """DeepLIFT and DeepSHAP on ResNet-18."""
    from captum import attr

    x, data = torch.randn(1, 3, 224, 224), torch.randn(8, 3, 224, 224)
    plain = resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    theirs, model = resnet18(), pl.Model(resnet18(), inputs=pl.Images())
    base = torch.zeros_like(x)
    yield Case(
        "DeepLIFT, ResNet-18",
        lambda: floor_gradients(plain, x, 2, 2),
        lambda: pl.DeepLIFT(baseline=0.0)(model, x, target=0),
        {"captum": lambda: attr.DeepLift(theirs).attribute(x, base, target=0)},
        aim=1.15,
        rounds=9,
    )
    yield Case(
        "DeepSHAP, 8 baselines, ResNet-18",
        lambda: floor_gradients(plain, x, 16, 8),
        lambda: pl.DeepSHAP(baseline=pl.Marginal(data))(model, x, target=0),
        {"captum": lambda: attr.DeepLiftShap(theirs).attribute(x, data, target=0)},
        aim=1.15,
    )


def attention_cases() -> Iterator[Case]:
    """AttnLRP on six layers."""
    ids = torch.randint(1, 30000, (1, 64))
    plain, encoder = minilm().requires_grad_(False), pl.Model(minilm())
    embedded = plain.word(ids) + plain.place(torch.arange(64))
    yield Case(
        "AttnLRP, MiniLM size, 64 tokens",
        lambda: floor_embedded(plain, embedded, 1, 1),
        lambda: pl.AttnLRP()(encoder, {"input_ids": ids}, target=0),
        aim=1.5,
        rounds=15,
    )
