"""Fills of texts: the mask token, and no token at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class DeleteToken(Fill):
    """Hidden tokens are taken out of the attention mask, so that no other token sees them; places keep their numbers.

    Raises: ShapeError for inputs without ``attention_mask``.

    Example:
        >>> import pellucid as pl
        >>> heat = pl.Ablation(fill=pl.DeleteToken())(pl.load("demo:sentences"), "A good film.")
        >>> heat.extra["hidden_by"]
        'DeleteToken'
    """

    assumes: ClassVar[str] = "that a text with words left out is still read as a text"

    def asking(self, ask: Probe) -> Probe:
        if "attention_mask" not in ask.leaves.names or not ask.leaves.integer or ask.site is not None:
            got, do = str(ask.leaves.names or "one tensor"), "Pass both, or use MaskToken()."
            raise ShapeError(expected='inputs {"input_ids", "attention_mask"}', got=got, do=do)
        text = ask.model.modality
        pad = text.pad_id if isinstance(text, Text) else 0
        place = ask.leaves.names.index("attention_mask")
        return replace(ask, leaves=replace(ask.leaves, tied=(place, lambda ids: ids != pad)))

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        return hidden_ids(ask, leaves, mask=False)[None]


def hidden_ids(ask: Probe, leaves: Leaves, *, mask: bool) -> Tensor:
    """Ids with every content token replaced; special tokens stay."""
    ids, text = leaves.values, ask.model.modality
    if not isinstance(text, Text):
        return torch.zeros_like(ids)
    fill = torch.full_like(ids, text.mask_id if mask else text.pad_id)
    return torch.where(text.special(ids), ids, fill)
