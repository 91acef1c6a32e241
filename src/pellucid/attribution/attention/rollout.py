"""Attention followed through the layers: rollout, and flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.attribution.attention.tokens import TokenMethod, alike
from pellucid.core.method import option
from pellucid.engines.attention import Attention

FUSIONS = {"mean": lambda a: a.mean(1), "max": lambda a: a.amax(1), "min": lambda a: a.amin(1)}


def mixing(found: Sequence[Attention], heads: str, discard: float) -> list[Tensor]:
    """½ (A + I) of each layer (batch, tokens, tokens), heads fused, rows adding up to one; in float64."""
    made = []
    for each in found:
        fused = FUSIONS[heads](each.weights.double())
        if discard > 0:
            kept = fused.shape[-1] - int(discard * fused.shape[-1])
            least = fused.topk(kept, dim=-1).values[..., -1:]
            fused = fused * (fused >= least)
        total = fused.sum(-1, keepdim=True)
        fused = fused / torch.where(total > 0, total, torch.ones_like(total))
        eye = torch.eye(fused.shape[-1]).to(fused)
        made.append(torch.where(total > 0, (fused + eye) / 2, eye))
    return made


@dataclass(frozen=True, kw_only=True)
class Following(TokenMethod):
    """Self-attention layer upon layer, half of each token staying where it is."""

    heads: str = option("mean", choices=tuple(FUSIONS), help="how heads become one: mean, max or min")

    def followed(self, found: tuple[Attention, ...], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        alike(found, square=True)
        return self.through(mixing(found, self.heads, getattr(self, "discard", 0.0)), read)

    def through(self, layers: list[Tensor], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(batch, tokens): what comes from each token of the input, layers from the first to the last."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(Following):
    r"""Attention multiplied up through the layers, from the token that the answer is read from down to the input.

    .. math:: R = \hat A_L \cdots \hat A_1, \qquad \hat A_l = \tfrac12 (A_l + I)

    The answer is read from the tokens whose last attention moves the score (the class token, the last token, or all
    that are pooled, then evenly), unless ``token`` says otherwise. ``extra["matrix"]`` is R (batch, tokens, tokens),
    ``extra["read"]`` the share of each token. Where no token moves the score, all values are zero.

    Shapes: inputs (batch, …) → one value a token (batch, tokens); a map (batch, 1, height, width) of a picture.
    Units:  share of what is read; they add up to 1 (with the class token, which a map leaves out).
    Cost:   1 forward pass, and a backward pass down to the first attention.
    Raises: LayerError without attention, for cross-attention and windows (choose by ``layers``).
    Source: Abnar & Zuidema 2020, arXiv:2005.00928, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> heat = pl.AttentionRollout()(net, torch.rand(1, 5, 8), target=pl.Output((0, 0)))
        >>> heat.extra["read"][0].tolist(), round(float(heat.values.sum()), 4)
        ([1.0, 0.0, 0.0, 0.0, 0.0], 1.0)
    """

    paper: ClassVar[str] = "Abnar & Zuidema 2020, arXiv:2005.00928"
    units: ClassVar[str] = "share of attention"
    discard: float = option(0.0, at_least=0, help="the share of each token's weakest attention that is left out")

    def through(self, layers: list[Tensor], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        whole = torch.eye(read.shape[1]).to(read).expand_as(layers[0])
        for layer in layers:
            whole = layer @ whole
        return (read[:, None] @ whole)[:, 0], {"matrix": whole}


@dataclass(frozen=True, kw_only=True)
class AttentionFlow(Following):
    r"""The most that can flow from the token that is read to each token of the input, attention being the pipes' width.

    .. math:: a_j = \max \; \mathrm{flow}(\text{read} \to x_j), \quad
        0 \le \mathrm{flow}_l(i, j) \le \tfrac12 (A_l + I)_{ij}

    Several tokens that are read are fed evenly, together 1. ``extra["read"]`` is the share of each.

    Shapes: inputs (batch, …) → one value a token (batch, tokens); a map (batch, 1, height, width) of a picture.
    Units:  flow, 0 … 1; it does not add up, since the tokens share pipes.
    Cost:   as rollout, and a maximum flow for each token: slow, meant for sentences (seconds) and not for pictures.
    Raises: LayerError without attention, for cross-attention and windows (choose by ``layers``).
    Source: Abnar & Zuidema 2020, arXiv:2005.00928, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> heat = pl.AttentionFlow(token=0)(net, torch.rand(1, 4, 8), target=pl.Output((0, 0)))
        >>> bool(torch.allclose(heat.values, pl.AttentionRollout(token=0)(net, heat.inputs, heat.target).values))
        True
    """

    paper: ClassVar[str] = "Abnar & Zuidema 2020, arXiv:2005.00928"
    units: ClassVar[str] = "flow of attention"

    def through(self, layers: list[Tensor], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        rows = [flows([layer[row].cpu() for layer in layers], read[row].cpu()) for row in range(len(read))]
        return torch.stack(rows).to(read), {}


def flows(layers: list[Tensor], read: Tensor) -> Tensor:
    """(tokens,) the maximum flow from what is read to each token of the input."""
    networkx = import_module("networkx")  # it comes with torch
    pipes: Any = networkx.DiGraph()
    pipes.add_node("read")
    for token in read.nonzero()[:, 0].tolist():
        pipes.add_edge("read", (len(layers), token), capacity=float(read[token]))
    for depth, layer in enumerate(layers):
        pipes.add_nodes_from((depth, token) for token in range(len(layer)))
        for above, below in layer.nonzero().tolist():
            pipes.add_edge((depth + 1, above), (depth, below), capacity=float(layer[above, below]))
    method = networkx.algorithms.flow.dinitz
    found = [networkx.maximum_flow_value(pipes, "read", (0, token), flow_func=method) for token in range(len(read))]
    return torch.tensor(found, dtype=torch.float64)
