"""Attention weighed by its gradient, through self-attention and cross-attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.attribution.attention.tokens import TokenMethod, listed
from pellucid.engines.attention import Attention
from pellucid.errors import LayerError

Relevance = dict[tuple[int, int], Tensor]


@dataclass(frozen=True, kw_only=True)
class AttentionRelevance(TokenMethod):
    r"""Attention that raises the target, added up through the layers from the token that the answer is read from.

    .. math:: R \leftarrow R + \bar A R, \qquad \bar A = \mathrm{E}_h \left[ (\nabla A \odot A)^+ \right],
        \qquad R_0 = I

    Cross-attention from a stream s to a stream t (a decoder to its encoder, words to pictures) adds
    :math:`\bar R_{ss}^T \bar A \bar R_{tt}` to :math:`R_{st}` and :math:`\bar A R_{ts}` to :math:`R_{ss}`, where
    :math:`\bar R` is I plus R − I with rows that add up to 1. It is found from where queries and keys come from. The
    values are of the encoder's tokens where there is one. They leave out the I that R starts from: it is the same for
    any model, and would hide the rest. ``extra["matrix"]`` is R itself, from the tokens that are read to those of the
    values, ``extra["own"]`` the values of the decoder's own tokens.

    Shapes: inputs (batch, …) → one value a token (batch, tokens); a map (batch, 1, height, width) of a picture.
    Units:  target (slope × weight).
    Cost:   1 forward pass, and a backward pass down to the first attention.
    Raises: LayerError without attention, and for attention inside of windows (choose by ``layers``).
    Source: Chefer, Gur & Wolf 2021, arXiv:2103.15679, eq. 5 to 11.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> heat = pl.AttentionRelevance()(net, torch.rand(1, 5, 8), target=pl.Output((0, 0)))
        >>> heat.values.shape, bool((heat.values >= 0).all())
        (torch.Size([1, 5]), True)
    """

    paper: ClassVar[str] = "Chefer, Gur & Wolf 2021, arXiv:2103.15679"
    units: ClassVar[str] = "target"

    def followed(self, found: tuple[Attention, ...], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if inside := [each for each in found if each.windows > 1]:
            do = f"Choose others by layers=. The attentions are {listed(found)}."
            raise LayerError(expected="attention over all tokens", got=f"windows in {inside[0].path}", do=do)
        relevance = relevances(found)
        reads = found[-1].queries
        across = [each.keys for each in found if each.queries == reads and each.cross]
        own = (read[:, None] @ relevance[reads, reads])[:, 0] - read
        if not across:
            return own, {"matrix": relevance[reads, reads]}
        whole = relevance[reads, across[-1]]
        return (read[:, None] @ whole)[:, 0], {"matrix": whole, "own": own}


def relevances(found: Sequence[Attention]) -> Relevance:
    """R (batch, tokens, tokens) from each stream of tokens to each, after all attentions; in float64."""
    sizes: dict[int, int] = {}
    for each in found:
        for stream, n in ((each.queries, each.weights.shape[-2]), (each.keys, each.weights.shape[-1])):
            if sizes.setdefault(stream, n) != n:
                got = f"{sizes[stream]} and {n} in {each.path or 'the model itself'}"
                do = f"Choose some by layers=. The attentions are {listed(tuple(found))}."
                raise LayerError(expected="the same number of tokens in all of a stream", got=got, do=do)
    like = found[0].weights.double()
    relevance = {
        (s, t): torch.eye(n).to(like).repeat(len(like), 1, 1) if s == t else like.new_zeros(len(like), n, m)
        for s, n in sizes.items()
        for t, m in sizes.items()
    }
    for each in found:
        slope = torch.zeros_like(each.weights) if each.slope is None else each.slope
        weighed = (slope.double() * each.weights.double()).clamp_min(0).mean(1)
        add(relevance, each.queries, each.keys, weighed)
    return relevance


def add(relevance: Relevance, s: int, t: int, weighed: Tensor) -> None:
    """One attention from stream s to stream t."""
    if s == t:
        more = {key: weighed @ whole for key, whole in relevance.items() if key[0] == s}
    else:
        more = {
            (s, t): normalized(relevance[s, s]).mT @ weighed @ normalized(relevance[t, t]),
            (s, s): weighed @ relevance[t, s],
        }
    for key, value in more.items():
        relevance[key] = relevance[key] + value


def normalized(own: Tensor) -> Tensor:
    """I + (R − I) with the rows of R − I adding up to 1; rows of nothing stay nothing."""
    eye = torch.eye(own.shape[-1]).to(own)
    rest = own - eye
    total = rest.sum(-1, keepdim=True)
    return rest / torch.where(total > 0, total, torch.ones_like(total)) + eye
