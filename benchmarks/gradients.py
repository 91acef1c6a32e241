"""Gradient methods on ResNet-18, ViT-S and a MiniLM-sized encoder."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.nets import minilm, resnet18, vit_small
from benchmarks.timing import Case


def floor_gradients(net: nn.Module, row: Tensor, rows: int, at_once: int, index: int = 0) -> None:
    """``rows`` gradients by plain eager torch, weights frozen, ``at_once`` at a time."""
    done = 0
    while done < rows:
        many = min(at_once, rows - done)
        x = row.expand(many, *row.shape[1:]).clone()
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        torch.autograd.grad(net(x)[:, index].sum(), x)
        done += many


def floor_forward(net: nn.Module, row: Tensor, rows: int, at_once: int) -> None:
    """``rows`` forward passes by plain eager torch."""
    done = 0
    with torch.inference_mode():
        while done < rows:
            many = min(at_once, rows - done)
            net(row.expand(many, *row.shape[1:]).contiguous(memory_format=torch.channels_last))
            done += many


def resnet_cases() -> Iterator[Case]:
    """ResNet-18 at 224 × 224."""
    from captum import attr

    x = torch.randn(1, 3, 224, 224)
    theirs, plain = resnet18(), resnet18().requires_grad_(False).to(memory_format=torch.channels_last)
    model = pl.Model(resnet18(), inputs=pl.Images())
    base = torch.zeros_like(x)
    at_once, data = 8, torch.randn(8, 3, 224, 224)
    yield Case(
        "Saliency, ResNet-18",
        lambda: floor_gradients(plain, x, 1, 1),
        lambda: pl.Saliency()(model, x, target=0),
        {"captum": lambda: attr.Saliency(theirs).attribute(x, target=0)},
        aim=0.95,
        rounds=9,
    )
    yield Case(
        "IG 50, ResNet-18",
        lambda: floor_gradients(plain, x, 50, at_once),
        lambda: pl.IntegratedGradients(steps=50)(model, x, target=0),
        {
            "captum": lambda: attr.IntegratedGradients(theirs).attribute(x, base, target=0, n_steps=50),
            "captum (16 at once)": lambda: attr.IntegratedGradients(theirs).attribute(
                x, base, target=0, n_steps=50, internal_batch_size=16
            ),
        },
        aim=0.95,
    )
    yield Case(
        "SmoothGrad 50, ResNet-18",
        lambda: floor_gradients(plain, x, 50, at_once),
        lambda: pl.SmoothGrad(draws=50)(model, x, target=0),
        {
            "captum (8 at once)": lambda: attr.NoiseTunnel(attr.Saliency(theirs)).attribute(
                x, nt_samples=50, nt_samples_batch_size=8, target=0
            )
        },
        aim=0.95,
    )
    yield Case(
        "ExpectedGradients 50, ResNet-18",
        lambda: floor_gradients(plain, x, 50, at_once),
        lambda: pl.ExpectedGradients(draws=50, baseline=pl.Marginal(data))(model, x, target=0),
        {"captum": lambda: attr.GradientShap(theirs).attribute(x, data, n_samples=50, target=0)},
        aim=0.95,
    )
    yield Case(
        "Grad-CAM, ResNet-18",
        lambda: floor_forward(plain, x, 1, 1),
        lambda: pl.GradCAM(layer="7")(model, x, target=0),
        {"captum": lambda: attr.LayerGradCam(theirs, theirs[7]).attribute(x, target=0)},
        aim=1.15,
        rounds=15,
    )
    yield Case(
        "Occlusion 16×16 stride 8, ResNet-18",
        lambda: floor_forward(plain, x, 128, 4),
        lambda: pl.Occlusion(window=16, stride=8, fill=0.0)(model, x, target=0),
        {
            "captum": lambda: attr.Occlusion(theirs).attribute(
                x, sliding_window_shapes=(3, 16, 16), strides=(3, 8, 8), target=0
            )
        },
        aim=1.05,
        scale=730 / 128,
        rounds=2,
    )


def transformer_cases() -> Iterator[Case]:
    """ViT-S/16 and an encoder of MiniLM-L6's size over 64 tokens."""
    from captum import attr

    x = torch.randn(1, 3, 224, 224)
    theirs, plain = vit_small(), vit_small().requires_grad_(False)
    model = pl.Model(vit_small(), inputs=pl.Images())
    yield Case(
        "IG 20, ViT-S/16",
        lambda: floor_gradients(plain, x, 20, 8),
        lambda: pl.IntegratedGradients(steps=20)(model, x, target=0),
        {
            "captum (8 at once)": lambda: attr.IntegratedGradients(theirs).attribute(
                x, torch.zeros_like(x), target=0, n_steps=20, internal_batch_size=8
            )
        },
        aim=0.65,
        rounds=3,
    )
    ids = torch.randint(1, 30000, (1, 64))
    net, other = minilm(), minilm().requires_grad_(False)
    encoder = pl.Model(minilm())
    embedded = other.word(ids) + other.place(torch.arange(64))
    yield Case(
        "IG 50, MiniLM size, 64 tokens",
        lambda: floor_embedded(other, embedded, 50, 32),
        lambda: pl.IntegratedGradients(steps=50)(encoder, {"input_ids": ids}, target=0),
        {
            "captum (32 at once)": lambda: attr.LayerIntegratedGradients(net, net.word).attribute(
                ids, torch.zeros_like(ids), target=0, n_steps=50, internal_batch_size=32
            )
        },
        aim=0.65,
    )


def floor_embedded(net: nn.Module, row: Tensor, rows: int, at_once: int) -> None:
    """Gradients from the embedding on."""
    done = 0
    while done < rows:
        many = min(at_once, rows - done)
        x = row.detach().expand(many, *row.shape[1:]).clone().requires_grad_()
        torch.autograd.grad(net.after(x)[:, 0].sum(), x)
        done += many
