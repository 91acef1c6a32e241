"""Rules that look at weights more than at inputs, for the first layer: their relevance does not scale with x.

They give relevance itself, divided by x moved off zero by ``OFF``; whoever multiplies by an x moved alike gets it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.engines.rules.linear import TINY, LinearOp, Rule, halves, stable

OFF = 1e-30


@dataclass(frozen=True)
class Flat(Rule):
    """LRP-flat: relevance is spread evenly over everything an output sees."""

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        ones = torch.ones_like(op.weight)
        shares = op.back(g * z / stable(op(torch.ones_like(op.x), ones), TINY), ones)
        return shares / stable(op.x, OFF)


@dataclass(frozen=True)
class WSquare(Rule):
    """LRP-w²: relevance is spread by the squares of the weights."""

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        square = op.weight.square()
        bias = None if op.bias is None else op.bias.square()
        shares = op.back(g * z / stable(op(torch.ones_like(op.x), square, bias), TINY), square)
        return shares / stable(op.x, OFF)


@dataclass(frozen=True)
class ZBox(Rule):
    """LRP-z^B: for inputs between ``low`` and ``high`` (numbers, or tensors that broadcast to the inputs)."""

    low: Any = 0.0
    high: Any = 1.0

    def __call__(self, op: LinearOp, z: Tensor, g: Tensor) -> Tensor:
        up, down = op.weight.clamp(min=0), op.weight.clamp(max=0)
        bias_up, bias_down = halves(op.bias)
        low, high = (torch.as_tensor(each).to(op.x).expand_as(op.x) for each in (self.low, self.high))
        inside = op(op.x, op.weight, op.bias) - op(low, up, bias_up) - op(high, down, bias_down)
        s = g * z / stable(inside, TINY)
        shares = op.x * op.back(s, op.weight) - low * op.back(s, up) - high * op.back(s, down)
        return shares / stable(op.x, OFF)
