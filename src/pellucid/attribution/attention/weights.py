"""Attention itself: the weights of every head, and the size of what they carry."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.attribution.attention.tokens import CAVEAT, AttentionMethod, alike, grid
from pellucid.core.method import Found, option
from pellucid.core.probe import Probe
from pellucid.engines.attention import Attention
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True, kw_only=True)
class AttentionWeights(AttentionMethod):
    r"""How much every head of every layer looks from each token at each token.

    .. math:: A_{ij} = \mathrm{softmax}_j \left( \frac{q_i \cdot k_j}{\sqrt{d}} + m_{ij} \right)

    The weights are those of the pass itself, however the attention is written: ``nn.MultiheadAttention``, fused
    attention, a softmax and a product or an einsum. ``extra["attentions"]`` has the module paths, in the order of the
    layers. ``result.attention_figure(layer=0, head=1)`` draws one of them with the names of the tokens.

    Shapes: inputs (batch, …) → (batch, layers, heads, tokens, tokens): from the fourth axis to the last.
    Units:  share of a token's attention; those of one token add up to 1.
    Cost:   1 forward pass.
    Raises: LayerError for a model without attention, or where shapes differ (cross-attention): choose by ``layers``.
    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> pl.AttentionWeights()(net, torch.rand(1, 5, 8), target=pl.Output((0, 0))).values.shape
        torch.Size([1, 1, 2, 5, 5])
    """

    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762"
    units: ClassVar[str] = "share of a token's attention"

    def attribute(self, ask: Probe) -> Found:
        found = self.attended(ask, grad=False)
        alike(found, square=False)
        return Found(torch.stack([each.weights for each in found], 1), notes=(CAVEAT,), extra=drawn(ask, found))


@dataclass(frozen=True, kw_only=True)
class AttentionNorms(AttentionMethod):
    r"""How long the vector is that each token hands to each token: weights alone say nothing of what they weigh.

    .. math:: n_{ij} = \left\| \sum_h \alpha^h_{ij} f^h(x_j) \right\|, \quad f^h(x) = (x W_V^h + b_V^h) W_O^h

    With ``heads="each"`` the norm is taken of every head by itself. Where the output projection is not found, the
    values are taken as they are, side by side, and ``notes`` says so.

    Shapes: inputs (batch, …) → (batch, layers, tokens, tokens), or (batch, layers, heads, tokens, tokens).
    Units:  norm in the space of the layer's output.
    Cost:   1 forward pass; heads² numbers a token more.
    Raises: LayerError for a model without attention, or where shapes differ: choose by ``layers``.
    Source: Kobayashi et al. 2020, arXiv:2004.10102, eq. 2 to 4.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> pl.AttentionNorms()(net, torch.rand(1, 5, 8), target=pl.Output((0, 0))).values.shape
        torch.Size([1, 1, 5, 5])
    """

    paper: ClassVar[str] = "Kobayashi et al. 2020, arXiv:2004.10102"
    units: ClassVar[str] = "norm of what is handed on"
    folding: ClassVar = "norm"
    heads: str = option("combined", choices=("combined", "each"), help="heads combined inside the norm, or each apart")

    def attribute(self, ask: Probe) -> Found:
        found = self.attended(ask, grad=False)
        alike(found, square=False)
        values = torch.stack([self.norms(each) for each in found], 1)
        bare = [each.path for each in found if each.projection is None]
        notes = (CAVEAT, *([f"no output projection found in {', '.join(bare)}"] if bare else []))
        return Found(values, notes=notes, extra=drawn(ask, found))

    def norms(self, each: Attention) -> Tensor:
        """(batch, [heads,] queries, keys), from the scalar products of what the heads make of a token."""
        a, v = each.weights.double(), each.values.double()
        if self.heads == "each" or each.projection is None:
            made = v if each.projection is None else torch.einsum("bhkd,ehd->bhke", v, by_head(each))
            apart = a * made.norm(dim=-1)[:, :, None]
            return (apart if self.heads == "each" else apart.square().sum(1).sqrt()).to(each.weights)
        w = by_head(each)
        alike_heads = torch.einsum("ehd,egc->hgdc", w, w)
        products = torch.einsum("bhkd,hgdc,bgkc->bkhg", v, alike_heads, v)
        squares = torch.einsum("bhqk,bkhg,bgqk->bqk", a, products, a)
        return squares.clamp_min(0).sqrt().to(each.weights)


def drawn(ask: Probe, found: tuple[Attention, ...]) -> dict[str, Any]:
    """What a figure needs to know: the paths of the layers, and where the tokens of a picture stand, if they do."""
    place: tuple[int, int, int] | None = None
    if not ask.leaves.integer and ask.leaves.values.ndim == 4:
        with suppress(ShapeError):
            place = grid(ask, found[0].weights.shape[-1])
    return {"attentions": tuple(each.path for each in found), "grid": place}


def by_head(each: Attention) -> Tensor:
    """(features, heads, dim): the output projection of each head."""
    if each.projection is None:
        raise OptionError(expected="an output projection", got="none", do="Ask for the values as they are.")
    return each.projection.double().unflatten(1, each.values.shape[1::2])
