"""Scaled dot-product attention, written with its parts, so that each is met."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def dot_product(meeting: Any, args: Any, kwargs: Any) -> Tensor:
    """softmax(q kᵀ / √d + mask) v for the arguments of ``scaled_dot_product_attention``; dropout is off."""
    given = dict(zip(NAMES, args, strict=False)) | kwargs
    q, k, v, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
    scale = given.get("scale")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    with meeting:
        if given.get("enable_gqa"):
            k, v = (each.repeat_interleave(q.shape[-3] // each.shape[-3], -3) for each in (k, v))
        scores = (q @ k.transpose(-2, -1)) * scale
        if given.get("is_causal"):
            seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
            scores = scores.masked_fill(~seen, -torch.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        mixed: Tensor = scores.softmax(-1) @ v
        return mixed
