"""The four networks of the demo, small and plain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two batch-normalized convolutions whose result is added to their input: (batch, channels, height, width)."""

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps to maps of the same shape."""
        change = self.relu(self.norm1(self.conv1(maps)))
        change = self.norm2(self.conv2(change))
        return self.relu(change + maps)


class DigitsNet(nn.Module):
    """A residual network for pictures of digits: (batch, 1, 8, 8) normalized → (batch, 10) logits."""

    def __init__(self, channels: int = 24, classes: int = 10) -> None:
        """``channels`` maps of 8 × 8, then twice as many of 4 × 4."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.block1 = Residual(channels)
        self.down = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
        )
        self.block2 = Residual(2 * channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (batch, 1, 8, 8) to logits (batch, classes)."""
        maps = self.block2(self.down(self.block1(self.stem(pictures))))
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits


class TableNet(nn.Sequential):
    """A multilayer perceptron for standardized rows: (batch, columns) → (batch, outputs)."""

    def __init__(self, columns: int, outputs: int, hidden: tuple[int, ...] = (32, 16), dropout: float = 0.1) -> None:
        """Linear, ReLU and dropout for each of ``hidden``, then a linear layer."""
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(columns, width), nn.ReLU(), nn.Dropout(dropout)]
            columns = width
        super().__init__(*layers, nn.Linear(columns, outputs))


@dataclass
class Classified:
    """What a text classifier answers: logits (batch, classes)."""

    logits: Tensor


class SelfAttention(nn.Module):
    """Multi-head self-attention from plain linear layers: (batch, tokens, width) → the same."""

    def __init__(self, width: int, heads: int) -> None:
        """``heads`` must divide ``width``."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """Each token gathers from the tokens that are ``visible``, a bool (batch, 1, 1, tokens)."""
        query, key, value = (
            layer(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        gathered: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return gathered


class Block(nn.Module):
    """A transformer block that normalizes before attention and before its two-layer network."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        """The inner network is twice as wide."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """States (batch, tokens, width) to states."""
        states = states + self.dropout(self.attention(self.norm1(states), visible))
        return states + self.dropout(self.mlp(self.norm2(states)))


class SentenceNet(nn.Module):
    """An attention classifier of sentences: token ids (batch, tokens) → logits (batch, classes)."""

    def __init__(
        self, tokens: int, width: int = 48, heads: int = 4, depth: int = 2, longest: int = 96, dropout: float = 0.1
    ) -> None:
        """``tokens`` in the vocabulary, sentences of at most ``longest`` of them."""
        super().__init__()
        self.token = nn.Embedding(tokens, width, padding_idx=0)
        self.position = nn.Embedding(longest, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Classified:
        """Ids and mask (1: token, 0: padding), both (batch, tokens), to logits (batch, 2)."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = self.dropout(self.token(input_ids) + self.position(places))
        for block in self.blocks:
            states = block(states, mask[:, None, None, :].bool())
        weights = mask.unsqueeze(-1).to(states.dtype)
        mean = (self.norm(states) * weights).sum(1) / weights.sum(1)
        return Classified(self.head(mean))
