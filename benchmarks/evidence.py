"""Evidence and metrics: what they cost beside the explanations, and beside the rows that they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import pellucid as pl
from benchmarks.gradients import floor_forward, floor_gradients
from benchmarks.nets import resnet18, vit_small
from benchmarks.timing import Case

METHODS = ("IntegratedGradients", "GradCAM", "Occlusion", "SmoothGrad")


def cases() -> Iterator[Case]:
    """The quick evidence of four methods, and single metrics, on ResNet-18 and ViT-S."""
    x = torch.rand(1, 3, 224, 224)
    for name, make in (("ResNet-18", resnet18), ("ViT-S", vit_small)):
        model = pl.Model(make(), inputs=pl.Images())
        methods = [getattr(pl, each)() for each in METHODS]
        yield Case(
            f"Four methods with quick evidence, beside without, {name}",
            lambda model=model, methods=methods: [method(model, x, target=0) for method in methods],
            lambda model=model, methods=methods: pl.check([each(model, x, target=0) for each in methods], model),
            aim=2.0,
            rounds=1,
        )
    yield from metric_cases()


def metric_cases() -> Iterator[Case]:
    """Pixel flipping, max-sensitivity and parameter randomization of eight pictures on ResNet-18."""
    many = torch.rand(8, 3, 224, 224)
    plain = resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    model = pl.Model(resnet18(), inputs=pl.Images())
    heat = pl.Saliency()(model, many, target=0)
    yield Case(
        "Pixel flipping, 96 steps, 8 pictures, ResNet-18",
        lambda: floor_forward(plain, many[:1], 128, 4),
        lambda: pl.metrics.PixelFlipping(steps=96)(heat, model),
        aim=1.0,
        scale=8 * 97 / 128,
        rounds=1,
    )
    yield Case(
        "Max-sensitivity, 10 neighbors, 8 pictures, ResNet-18",
        lambda: floor_gradients(plain, many[:1], 80, 8),
        lambda: pl.metrics.MaxSensitivity(draws=10)(heat, model),
        aim=1.05,
        rounds=2,
    )
    layers = sum(bool(list(part.parameters(recurse=False))) for part in plain.modules())
    yield Case(
        "Parameter randomization, 8 pictures, ResNet-18",
        lambda: floor_gradients(plain, many[:1], 8, 8),
        lambda: pl.metrics.ParameterRandomization()(heat, model),
        aim=1.1,
        scale=float(layers),
        rounds=1,
    )


class Tally(nn.Module):
    """Counts rows."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        object.__setattr__(self, "rows", [0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows[0] += len(x)
        return self.inner(x)

    def __deepcopy__(self, memo: Any) -> Tally:
        import copy

        made = Tally(copy.deepcopy(self.inner, memo))
        object.__setattr__(made, "rows", self.rows)
        return made


def table() -> list[str]:
    """Rows asked by the default checks of eight methods, together and one by one."""
    from pellucid.demo import parts

    digits, inner = parts("digits"), pl.load("demo:digits").module
    names = (
        "Saliency",
        "InputXGradient",
        "IntegratedGradients",
        "SmoothGrad",
        "GradCAM",
        "LRP",
        "DeepLIFT",
        "HiResCAM",
    )
    net = Tally(inner)
    model = pl.Model(net, inputs=pl.Images(mean=digits.mean, std=digits.std), classes=digits.classes)
    heats = [getattr(pl, name)()(model, digits.examples[:1]) for name in names]
    net.rows[0] = 0
    pl.check(heats, model)
    together = net.rows[0]
    net.rows[0] = 0
    for heat in heats:
        pl.check(heat, model)
    alone, kinds = net.rows[0], [pl.metrics.MuFidelity, pl.metrics.SensitivityN, pl.metrics.Infidelity]
    metrics = [kind() for kind in (*kinds, pl.metrics.Deletion, pl.metrics.Insertion, pl.metrics.SRG)]
    shared = pl.measure(heats, model, metrics=metrics).rows
    apart = sum(pl.measure(heat, model, metrics=[metric]).rows for heat in heats for metric in metrics)
    return [
        "## Rows asked about eight methods on one picture",
        "",
        "| | together | one by one |",
        "|---|---|---|",
        f"| default checks (most rows repeat the methods on scrambled models and near inputs) | {together} | {alone} |",
        f"| six metrics of faithfulness | {shared} | {apart} |",
    ]
