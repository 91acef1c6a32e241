"""Products, powers, norms and gates under LRP: nothing is counted twice, and what has no rule is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl
from pellucid import errors

Pair = Callable[[Tensor, Tensor], Tensor]
W = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(4))


class Two(nn.Module):
    """An operation on two linear functions of the input, read linearly; no biases."""

    def __init__(self, operation: Pair) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.other, self.head = (nn.Linear(6, n, bias=False) for n in (6, 6, 2))
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        y = self.operation(self.one(x), self.other(x))
        return self.head(y.reshape(len(x), -1)[:, :6])


def wide(y: Tensor) -> Tensor:
    return y.expand(-1, 6)


def overwritten(a: Tensor, b: Tensor) -> Tensor:
    a.mul_(b)
    a.pow_(3)
    return a


def by_var_mean(a: Tensor, _b: Tensor) -> Tensor:
    var, mean = torch.var_mean(a, -1, keepdim=True)
    return (a - mean) / (var + 1e-5).sqrt()


CONSERVING: dict[str, Pair] = {
    "product": lambda a, b: a * b,
    "swiglu": lambda a, b: F.silu(a) * b,
    "glu": lambda a, b: F.glu(torch.cat([a, b], -1)),
    "square": lambda a, _: a.square(),
    "product with itself": lambda a, _: a * a,
    "cube": lambda a, _: a**3,
    "in place": overwritten,
    "bilinear": lambda a, b: F.bilinear(a, b, W.double()),
    "three factors": lambda a, b: torch.einsum("bi,bj,bk->bijk", a, b, a).sum((2, 3)),
    "baddbmm": lambda a, b: torch.baddbmm(a[:, :, None].expand(-1, 6, 6), b[:, :, None], b[:, None, :], beta=2).sum(-1),
    "addmm": lambda a, b: torch.addmm(a, b, W[0].double(), alpha=0.5),
    "addcmul": lambda a, b: torch.addcmul(a, b, a, value=0.5),
    "addcdiv": lambda a, b: torch.addcdiv(a, b, a.abs() + 1),
    "lerp": lambda a, b: torch.lerp(a, b, a.sigmoid()),
    "linear with a bias of its own": lambda a, b: F.linear(input=a, weight=W[0].double(), bias=None) + b,
    "norm": lambda a, b: a * b.norm(dim=-1, keepdim=True),
    "norm alone": lambda a, b: torch.cat([a.norm(dim=-1, keepdim=True), b[:, :5]], -1),
    "spread alone": lambda a, b: torch.cat([a.std(-1, keepdim=True), a.var(-1, keepdim=True), b[:, :4]], -1),
    "layer norm by hand": by_var_mean,
    "rms norm by hand": lambda a, _: a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 1e-6),
    "normalized": lambda a, _: F.normalize(a, dim=-1),
    "cosine": lambda a, b: wide(F.cosine_similarity(a, b, dim=-1)[:, None]),
    "quotient": lambda a, b: torch.div(a, other=b.abs() + 1),
    "chosen": lambda a, _: a.topk(6)[0] + a.sort(-1)[0],
    "where": lambda a, b: torch.where(a > 0, a, b),
    "root of zeros": lambda a, _: a.relu().sqrt(),
    "sign": lambda a, b: a.sign() * b,
    "shrunk": lambda a, b: F.softshrink(a, 0.1) + F.hardshrink(b, 0.1) + F.rrelu(a),
    "bounded": lambda a, b: a.clamp_min(0.1) + b.clamp_max(0.2),
    "pooled": lambda a, _: F.lp_pool1d(a[:, None].repeat(1, 1, 2), 2, 2),
    "sampled": lambda a, _: F.grid_sample(a.reshape(-1, 1, 2, 3), a.new_zeros(len(a), 2, 3, 2), align_corners=False),
}


@pytest.mark.parametrize("name", CONSERVING)
def test_relevance_is_conserved(name: str) -> None:
    net, x = Two(CONSERVING[name]).double(), torch.randn(4, 6, dtype=torch.float64, generator=generator())
    found = pl.LRP("zero")(net, x, target=0)
    torch.testing.assert_close(found.score, net(x)[:, 0].detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.values.sum(1), found.score, rtol=1e-5, atol=1e-7)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


NAMELESS: dict[str, Pair] = {
    "exp": lambda a, _: a.exp(),
    "log": lambda a, _: a.abs().log(),
    "sin": lambda a, _: a.sin(),
    "prod": lambda a, _: wide(a.prod(-1, keepdim=True)),
    "pow": lambda a, _: 2**a,
    "pairwise_distance": lambda a, b: wide(F.pairwise_distance(a, b)[:, None]),
    "grid_sampler": lambda a, b: F.grid_sample(b.reshape(-1, 1, 2, 3), a.reshape(-1, 3, 1, 2), align_corners=False),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_what_has_no_rule_is_named(name: str) -> None:
    operation = NAMELESS[name]
    padded = Two(lambda a, b: F.pad(operation(a, b).flatten(1), (0, 6)))
    with pytest.raises(errors.GradientError, match=name):
        pl.LRP("zero")(padded, torch.randn(2, 6), target=0)


def test_a_product_gives_half_to_each_and_a_divisor_nothing() -> None:
    net = Two(lambda a, b: a * b).double()
    x = torch.randn(2, 6, dtype=torch.float64, generator=generator())
    a, b, head = x @ net.one.weight.T, x @ net.other.weight.T, net.head.weight[0]
    expected = (head * b) @ net.one.weight * x / 2 + (head * a) @ net.other.weight * x / 2
    torch.testing.assert_close(pl.LRP("zero")(net, x, target=0).values, expected.detach())
    net.operation = lambda a, b: a / (b * b + 1)
    expected = (head / (b * b + 1)) @ net.one.weight * x
    torch.testing.assert_close(pl.LRP("zero")(net, x, target=0).values, expected.detach())


@pytest.mark.parametrize("at", [0, 1])
def test_a_layer_made_by_the_inputs(at: int) -> None:
    """A bias that comes from the inputs is a sum and gets all of its part; weights that do are factors."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.other = nn.Linear(4, 3, bias=False), nn.Linear(4, 12, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            rows = [F.linear(row, self.other(row).reshape(3, 4) if at else self.one.weight, self.one(row)) for row in x]
            return torch.stack(rows)

    found = pl.LRP("z-plus" if not at else "zero")(Made().double(), torch.rand(2, 4, dtype=torch.float64), target=1)
    torch.testing.assert_close(found.values.sum(1), found.score, rtol=1e-4, atol=1e-6)


def hand_written(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))


class NewGELUActivation(nn.Module):
    """Under the name that transformers gives it."""

    def forward(self, x: Tensor) -> Tensor:
        return hand_written(x)


class Activated(nn.Module):
    """One layer, an activation, a readout."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.act, self.head = nn.Linear(6, 6), act, nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.body(x)))


def test_an_activation_written_by_hand_is_one_operation() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, generator=generator())
    hand, ours = Activated(NewGELUActivation()).double(), Activated(nn.GELU("tanh")).double()
    one, other = (pl.LRP("epsilon")(net, x, target=0) for net in (hand, ours))
    torch.testing.assert_close(one.values, other.values, rtol=1e-9, atol=1e-12)
    assert ("NewGELUActivation", "exact", "pass", 1) in one.extra["ledger"]


def test_glu_is_what_it_would_be_by_hand() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, generator=generator())
    one = pl.LRP("epsilon")(Two(CONSERVING["glu"]).double(), x, target=0)
    other = pl.LRP("epsilon")(Two(lambda a, b: a * b.sigmoid()).double(), x, target=0)
    torch.testing.assert_close(one.values, other.values)
