"""Small networks on which the laws are tested, each with inputs, a hidden layer and what kind of input it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl


class Block(nn.Module):
    """A residual block that uses one activation module twice, in place, and adds in place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(self.act(x.clone())))
        y += x
        return self.act(y)


class PlainBlock(Block):
    """The same function without in-place operations, and without the activation module."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(torch.add(x, self.norm(self.conv(F.relu(x)))), min=0)


class CheckpointedBlock(Block):
    """The same function, computed a second time on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        return checkpoint(super().forward, x, use_reentrant=False)


class ConvNet(nn.Module):
    """Residual, in place, reused and functional parts, overlapping max-pool, batch-norm; average pool, one linear."""

    def __init__(self, block: type[Block] = Block, *, inplace: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.block = block(4)
        self.head = nn.Linear(4, 3)
        self.inplace = inplace
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_mean, -0.3, 0.3)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.2, 0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)), inplace=self.inplace)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        return self.head(self.block(x).mean((2, 3)))


class SeriesNet(nn.Module):
    """Convolutions over time, average pool, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)).mean(2))


class Attention(nn.Module):
    """Self-attention with layer norm over (batch, tokens, features)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = None if mask is None else mask[:, None].bool()
        return x + F.scaled_dot_product_attention(
            self.query(self.norm(x)), self.key(x), F.gelu(self.value(x)), attn_mask=mask
        )


class AttentionNet(nn.Module):
    """Attention over a row of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x).mean(1))


@dataclass
class Answer:
    """Outputs as a dataclass, the way Hugging Face gives them."""

    logits: Tensor
    hidden: Tensor


class TokenNet(nn.Module):
    """Token ids in by keyword, dataclass out; the embedding is called with a keyword, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 4, padding_idx=0)
        self.place = nn.Embedding(6, 4)
        self.attention = Attention()
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Answer:
        x = self.table(input=input_ids) + self.place(torch.arange(input_ids.shape[1]))
        x = self.attention(x, attention_mask)
        return Answer(logits=self.head(torch.tanh(x).mean(1)), hidden=x)


class TwoInputs(nn.Module):
    """Two inputs, by position or by name; a dict out."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 5), nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Any]:
        return {"note": "text", "logits": self.head(torch.tanh(self.left(left) * self.right(right.flatten(1))))}


class Joined(nn.Module):
    """The same function of both inputs side by side."""

    def __init__(self, net: TwoInputs) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x[:, :3], x[:, 3:].unflatten(1, (2, 2)))["logits"]


class FirstOnly(nn.Module):
    """Reads the first of its two inputs, or all but the last column of one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, used: Tensor, unused: Tensor | None = None) -> Tensor:
        return self.body(used[:, :3])


class Constant(nn.Module):
    """Runs its layers and answers the same whatever comes in."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.answer = nn.Parameter(torch.tensor([0.3, 1.2, -0.5]))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        self.inner(*args, **kwargs)
        rows = len([*args, *kwargs.values()][0])
        return self.answer.expand(rows, -1)


def mlp() -> nn.Module:
    """Three smooth layers."""
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))


def two_values() -> tuple[Tensor, Tensor]:
    return torch.rand(3, 3), torch.rand(3, 2, 2)


@dataclass(frozen=True)
class Case:
    """A network to explain: how to make it and its three rows of inputs, a hidden layer, what its inputs are."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Any]
    hidden: str
    reads: str = "tensor"

    def net(self) -> nn.Module:
        """The network in float64 and training mode, the same one each time."""
        torch.manual_seed(7)
        return self.make().double()

    def given(self) -> Any:
        """The inputs, the same each time; floats in float64."""
        torch.manual_seed(11)
        return doubled(self.inputs())

    def modality(self) -> pl.Modality:
        """What the model is told about its inputs."""
        one = {"mean": (0.0,), "std": (1.0,)}
        kinds = {"image": pl.Images(**one), "series": pl.Series()}
        return kinds.get(self.reads, pl.Modality())

    def model(self, **options: Any) -> pl.Model:
        """The network, bound."""
        return pl.Model(self.net(), inputs=self.modality(), **options)


def doubled(tree: Any) -> Any:
    """Floating tensors in float64."""
    return torch.utils._pytree.tree_map(lambda x: x.double() if x.is_floating_point() else x, tree)


def ids() -> dict[str, Tensor]:
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    return {"input_ids": torch.tensor([[1, 5, 2, 7, 3], [4, 4, 9, 1, 6], [8, 2, 2, 10, 11]]), "attention_mask": mask}


CASES = (
    Case("linear", lambda: nn.Sequential(nn.Linear(5, 3)), lambda: torch.rand(3, 5), "0"),
    Case("mlp", mlp, lambda: torch.randn(3, 5), "1"),
    Case("cnn", ConvNet, lambda: torch.rand(3, 2, 8, 8), "block", "image"),
    Case("series", SeriesNet, lambda: torch.randn(3, 2, 9), "act", "series"),
    Case("attention", AttentionNet, lambda: torch.randn(3, 5, 4), "attention"),
    Case("pair", TwoInputs, two_values, "left"),
    Case("named", TwoInputs, lambda: dict(zip(("left", "right"), two_values(), strict=True)), "right"),
    Case("ids", TokenNet, ids, "attention", "text"),
)
BY_NAME = {case.name: case for case in CASES}
