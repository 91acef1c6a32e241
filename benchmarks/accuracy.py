"""Accuracy for the price: how many gradients integrated gradients need; what Shapley values are measured against."""

from __future__ import annotations

import statistics
from typing import Any

import torch

import pellucid as pl
from benchmarks.nets import minilm

STEPS = (5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128)


def table() -> list[str]:
    """Gradients until integrated gradients are good to 1 %, as lines of Markdown."""
    lines = [
        "## Integrated gradients to 1 %",
        "",
        "By default the nodes are doubled until the completeness gap *and* the change of the values are below 1 %. The",
        "last column asks for the gap alone: the smallest number of Gauss–Legendre nodes at which the median gap is.",
        "",
        "| model | gradients by default (median) | gap | gradients for the gap alone |",
        "|---|---|---|---|",
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
        several = each_row(inputs)
        results = [pl.IntegratedGradients()(model, one, target=target) for one in several]
        gradients = statistics.median(result.extra["gradients"] for result in results)
        gap = statistics.median(float(result.gap[0]) for result in results)
        enough = next((steps for steps in STEPS if median_gap(model, several, target, steps) < 0.01), STEPS[-1])
        lines.append(f"| {name} | {gradients:g} | {100 * gap:.2g} % | {enough} |")
    return lines


def median_gap(model: Any, several: list[Any], target: Any, steps: int) -> float:
    """The median completeness gap with a fixed number of nodes."""
    method = pl.IntegratedGradients(steps=steps)
    return statistics.median(float(method(model, one, target=target).gap[0]) for one in several)


def each_row(inputs: Any) -> list[Any]:
    """One example at a time."""
    return [inputs] if isinstance(inputs, dict) else [inputs[i : i + 1] for i in range(len(inputs))]


def permutation_truth(net: torch.nn.Module, x: torch.Tensor, pairs: int) -> torch.Tensor:
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
