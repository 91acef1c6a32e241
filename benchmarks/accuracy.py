"""Accuracy for the price: how many gradients integrated gradients needs, how exact KernelSHAP is at a budget."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import nn

import pellucid as pl
from benchmarks.nets import minilm


def table() -> list[str]:
    """Both tables as lines of Markdown."""
    return [*path_table(), "", *kernel_table()]


def path_table() -> list[str]:
    """Gradients until the completeness gap and the change are below 1 %."""
    lines = [
        "## Integrated gradients to a tolerance of 1 %",
        "",
        "| model | gradients (median over inputs) | gap |",
        "|---|---|---|",
    ]
    torch.manual_seed(0)
    encoder = {"input_ids": torch.randint(1, 30000, (1, 64))}
    cancer, digits = pl.load("demo:breast-cancer"), pl.load("demo:digits")
    from pellucid.demo import parts

    rows, pictures = parts("breast-cancer").examples[:20], parts("digits").examples[:20]
    cases = [
        ("breast-cancer MLP, logit", cancer, rows, None),
        ("breast-cancer MLP, probability", cancer, rows, pl.Probability()),
        ("digits CNN, logit", digits, pictures, None),
        ("MiniLM size, logit", pl.Model(minilm()), encoder, 0),
    ]
    for name, model, inputs, target in cases:
        results = [pl.IntegratedGradients()(model, one, target=target) for one in each_row(inputs)]
        gradients = statistics.median(result.extra["gradients"] for result in results)
        gap = statistics.median(float(result.gap[0]) for result in results)
        lines.append(f"| {name} | {gradients:g} | {100 * gap:.2g} % |")
    return lines


def each_row(inputs: Any) -> list[Any]:
    """One example at a time."""
    return [inputs] if isinstance(inputs, dict) else [inputs[i : i + 1] for i in range(len(inputs))]


def kernel_table(rows: int = 5, seeds: int = 8) -> list[str]:
    """Normalized error of KernelSHAP at 2,048 evaluations of a 30-feature network, against 20,000 permutation pairs."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(30, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2), nn.Softmax(1))
    x = 2 * torch.randn(rows, 30)
    truth = permutation_truth(net, x, 20_000)
    errors = []
    for seed in range(seeds):
        with pl.settings(seed=seed):
            values = pl.KernelSHAP(budget=2048, fill=0.0)(net, x, target=pl.Probability(1)).values.double()
        errors.append(float((values - truth).square().mean() / truth.square().mean()))
    mean, spread = statistics.mean(errors), statistics.stdev(errors)
    return [
        "## KernelSHAP, 30 features, 2,048 evaluations",
        "",
        f"Normalized squared error over {rows} rows and {seeds} seeds: {mean:.4f} ± {spread:.4f} (sd).",
    ]


def permutation_truth(net: nn.Module, x: torch.Tensor, pairs: int) -> torch.Tensor:
    """Shapley values by antithetic permutations, zero baseline."""
    random = torch.Generator().manual_seed(1)
    total = torch.zeros(x.shape, dtype=torch.float64)
    n, done = x.shape[1], 0
    with torch.no_grad():
        while done < pairs:
            order = torch.rand(50, n, generator=random).argsort(1)
            order = torch.cat([order, order.flip(1)])
            rank = order.argsort(1)
            shown = rank[:, None, :] < torch.arange(n + 1)[None, :, None]
            for i, row in enumerate(x):
                f = net((shown * row).reshape(-1, n))[:, 1].reshape(len(order), n + 1).double()
                total[i] += f.diff(dim=1).gather(1, rank).sum(0)
            done += 50
    return total / (2 * done)
