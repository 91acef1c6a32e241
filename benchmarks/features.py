"""Looking inside: feature visualization, CAMs that ask again, statistics of all units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.gradients import floor_forward
from benchmarks.nets import resnet18
from benchmarks.timing import Case

STEPS, SIDE = 64, 128


def floor_climb(parts: nn.Module, channel: int, rows: int = 1) -> None:
    """Plain ascent on pixels: forward to the layer, backward, Adam; nothing else."""
    x = torch.randn(rows, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    for _ in range(STEPS):
        (slope,) = torch.autograd.grad(-parts(x)[:, channel].mean(), x)
        x.grad = slope
        optimizer.step()


def climb_cases() -> Iterator[Case]:
    """Feature visualization on ResNet-18 at 128 × 128."""
    plain: nn.Module = resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    model = pl.Model(resnet18(), inputs=pl.Images(size=(SIDE, SIDE)))
    for layer, aim in (("7", 1.15), ("5", 1.3)):
        parts = plain[: int(layer) + 1]  # type: ignore[index]
        alive = int(parts(torch.rand(1, 3, SIDE, SIDE)).mean((0, 2, 3)).argmax())
        yield Case(
            f"Feature visualization, 64 steps, layer {int(layer) - 3} of ResNet-18",
            lambda parts=parts, alive=alive: floor_climb(parts, alive),
            lambda layer=layer, alive=alive: pl.visualize(
                model, pl.Neuron(layer, channel=alive), steps=STEPS, size=(SIDE, SIDE)
            ),
            aim=aim,
            rounds=3,
        )
    digits = pl.load("demo:digits")
    goals = [pl.Neuron("block2", channel=k) for k in range(32)]
    yield Case(
        "32 channels of the digits in one batch, beside one by one",
        lambda: [pl.visualize(digits, goal, steps=STEPS) for goal in goals],
        lambda: pl.visualize(digits, goals, steps=STEPS),
        aim=0.33,
        rounds=3,
    )


def heads(net: nn.Module, x: Tensor) -> None:
    """One pass, and the head for each channel left out."""
    with torch.inference_mode():
        maps = net[:8](x)  # type: ignore[index]
        kept = 1 - torch.eye(maps.shape[1])
        net[8:](maps * kept[:, :, None, None])  # type: ignore[index]


def cam_cases() -> Iterator[Case]:
    """Score-CAM and Ablation-CAM on ResNet-18."""
    x = torch.randn(1, 3, 224, 224)
    plain = resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    model = pl.Model(resnet18(), inputs=pl.Images())
    yield Case(
        "Score-CAM, ResNet-18",
        lambda: floor_forward(plain, x, 128, 4),
        lambda: pl.ScoreCAM(layer="7")(model, x, target=0),
        aim=1.1,
        scale=513 / 128,
        rounds=2,
    )
    yield Case(
        "Ablation-CAM, ResNet-18",
        lambda: heads(plain, x.contiguous(memory_format=torch.channels_last)),
        lambda: pl.AblationCAM(layer="7")(model, x, target=0),
        aim=2.0,
        rounds=9,
    )


def sweep_cases() -> Iterator[Case]:
    """Statistics of every unit of all layers."""
    model = pl.load("demo:digits")
    rows = np.random.default_rng(0).integers(0, 17, (10_000, 8, 8)).astype(np.uint8)
    ready = model.read(rows).values

    def plainly() -> None:
        with torch.inference_mode():
            for part in ready.split(512):
                model.module(part)

    yield Case(
        "Statistics of all units, 10,000 digits",
        plainly,
        lambda: pl.unit_statistics(model, rows),
        aim=1.3,
    )
