"""Fills of texts: the mask token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Text
from pellucid.core.probe import Probe
from pellucid.engines.fills.seam import Fill
from pellucid.errors import ShapeError


@dataclass(frozen=True)
class MaskToken(Fill):
    """The mask token in place of hidden tokens (the padding token where the tokenizer has no mask).

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(fill=pl.MaskToken())(pl.load("demo:sentences"), "A good film.")
        >>> list(heat.values)
        ['input_ids']
    """

    assumes: ClassVar[str] = "that the model reads the mask token as a gap"

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        if not leaves.integer:
            raise ShapeError(expected="token ids", got=str(leaves.values.dtype), do="Use Zeros, Mean or Blur.")
        return hidden_ids(ask, leaves, mask=True)[None]


def hidden_ids(ask: Probe, leaves: Leaves, *, mask: bool) -> Tensor:
    """Ids with every content token replaced; special tokens stay."""
    ids, text = leaves.values, ask.model.modality
    if not isinstance(text, Text):
        return torch.zeros_like(ids)
    fill = torch.full_like(ids, text.mask_id if mask else text.pad_id)
    return torch.where(text.special(ids), ids, fill)
