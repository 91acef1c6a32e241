"""DeepLIFT and DeepSHAP: exact answers, completeness on every operation, and what other libraries get wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import pellucid as pl
from pellucid import errors
from tests.nets import BY_NAME
from tests.reference.test_lrp import Attentive, Residual
from tests.traces import differences, marks

RULES = ("rescale", "reveal-cancel")


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fixed(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(4)
    return make().double().eval()


def assert_complete(result: pl.Attribution, tolerance: float = 1e-9) -> None:
    values = result.values["input_ids"] if isinstance(result.values, dict) else result.values
    missed = values.flatten(1).sum(1) - (result.score - result.base_score)
    assert float(missed.abs().max()) < tolerance * (1 + float(values.abs().flatten(1).sum(1).max()))
    assert not result.notes


class Between(nn.Module):
    """A function between two dense layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Linear(6, 6), function, nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)).flatten(1))


def between(function: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(4)
    net = Between(function).double()
    with torch.no_grad():
        net(torch.zeros(2, 6, dtype=torch.float64))
    return net


ELEMENTWISE = {
    **{
        name: getattr(functional, name)
        for name in """relu leaky_relu elu celu selu gelu silu mish softplus hardswish hardsigmoid hardtanh relu6
        logsigmoid softsign tanhshrink hardshrink softshrink""".split()  # noqa: SIM905
    },
    **{name: getattr(torch, name) for name in "sigmoid tanh abs exp erf sin cos square expm1 atan round".split()},  # noqa: SIM905
    "prelu": lambda x: functional.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    "tanh gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "clamp": lambda x: x.clamp(-0.4, 0.6),
    "threshold": lambda x: functional.threshold(x, 0.1, 0.2),
    "log": lambda x: (x.abs() + 0.1).log(),
    "log1p": lambda x: x.abs().log1p(),
    "sqrt": lambda x: (x * x + 0.1).sqrt(),
    "rsqrt": lambda x: (x**2 + 1).rsqrt(),
    "reciprocal": lambda x: 1 / (x**2 + 1),
    "cube": lambda x: x**3,
    "power of two": lambda x: 2**x,
}
IN_PLACE = {
    "relu": lambda x: functional.relu(x, inplace=True),
    "relu_": lambda x: x.relu_(),
    "sigmoid_": torch.sigmoid_,
    "elu": lambda x: functional.elu(x, inplace=True),
    "silu": lambda x: functional.silu(x, inplace=True),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.1, inplace=True),
    "clamp_": lambda x: x.clamp_(min=0),
    "mul_": lambda x: x.mul_(x.tanh()),
    "square_": lambda x: x.square_(),
    "pow_": lambda x: x.pow_(3),
    "div_": lambda x: x.div_(1 + x.flip(1).abs()),
    "read before it changes": lambda x: torch.relu(x) + x.mul_(2),
    "kept before it changes": lambda x: torch.exp(x) * 1 + x.clone().add_(1).sin_(),
    "a part of it": lambda x: torch.cat([x[:, :2].relu_(), x], 1),
}
SEVERAL = {
    "product": lambda x: x[:, :3] * x[:, 3:],
    "bmm": lambda x: torch.bmm(x[:, :, None], x[:, None, :]),
    "matmul": lambda x: x[:, :, None] @ x[:, None, :],
    "einsum": lambda x: torch.einsum("bi,bj->bij", x, x),
    "baddbmm": lambda x: torch.baddbmm(x[:, None, :], x[:, None, :], x[:, :, None] * x[:, None, :]),
    "bilinear": lambda x: functional.bilinear(x, x, torch.ones(2, 6, 6, dtype=x.dtype)),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.3),
    "division": lambda x: x / (1 + x.flip(1).abs()),
    "softmax": lambda x: x.softmax(1),
    "sure softmax": lambda x: (300 * x).softmax(1),
    "masked softmax": lambda x: x.masked_fill(torch.arange(6) > 3, -torch.inf).softmax(1),
    "far softmax": lambda x: (x - 1e9 * (torch.arange(6) > 3)).log_softmax(1)[:, :4],
    "log_softmax": lambda x: functional.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, 1, keepdim=True),
    "layer_norm": lambda x: functional.layer_norm(x, (6,)),
    "rms_norm": lambda x: functional.rms_norm(x, (6,)),
    "group_norm": lambda x: functional.group_norm(x[:, :, None], 2),
    "instance_norm": lambda x: functional.instance_norm(x.reshape(len(x), 2, 3)),
    "glu": functional.glu,
    "var": lambda x: x.var(1, keepdim=True),
    "std": lambda x: x.std(1, keepdim=True),
    "normalize": functional.normalize,
    "vector_norm": lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "cosine": lambda x: functional.cosine_similarity(x[:, :3], x[:, 3:])[:, None],
    "prod": lambda x: x.prod(1, keepdim=True),
    "max": lambda x: x.max(1, keepdim=True)[0],
    "min": lambda x: x.min(1).values[:, None],
    "amax": lambda x: x.reshape(-1, 2, 3).amax((1, 2))[:, None],
    "maximum": lambda x: torch.maximum(x, x.flip(1)),
    "minimum": lambda x: torch.minimum(x, x.flip(1)),
    "max of two": lambda x: torch.max(x, x.flip(1)),
    "max_pool1d": lambda x: functional.max_pool1d(x[:, None], 3, 2, 1),
    "max_pool2d": lambda x: functional.max_pool2d(x.reshape(-1, 1, 2, 3), 2, 1, return_indices=True)[0],
    "max_pool3d": lambda x: functional.max_pool3d(x.reshape(-1, 1, 1, 2, 3), (1, 2, 2), 1),
    "adaptive": lambda x: functional.adaptive_max_pool1d(x[:, None], 4),
    "where": lambda x: torch.where(torch.arange(6) % 2 == 0, x, x.sin()),
    "chunk": lambda x: torch.cat([part.relu() for part in x.chunk(3, 1)], 1),
}


@pytest.mark.parametrize(
    "function",
    [pytest.param(each, id=f"{kind}: {name}") for kind, table in
     (("one", ELEMENTWISE), ("in place", IN_PLACE), ("several", SEVERAL)) for name, each in table.items()],
)  # fmt: skip
@pytest.mark.parametrize("rule", RULES)
def test_complete_on_every_operation(function: Any, rule: str) -> None:
    net, x, base = between(function), seeded(3, 6), seeded(6, seed=1)
    with torch.no_grad():
        expected = net(x)
    result = pl.DeepLIFT(rule=rule, baseline=base)(net, x, target=1)
    torch.testing.assert_close(result.score, expected[:, 1], rtol=1e-12, atol=1e-12)
    assert_complete(result)
    same = pl.DeepLIFT(rule=rule, baseline=x[0])(net, x[:1], target=1)  # Δx is zero everywhere
    assert float(same.values.abs().max()) == 0


@settings(max_examples=20, deadline=None)
@given(st.floats(-12, -1), st.floats(-3, 3), st.sampled_from(["gelu", "sigmoid", "exp", "rsqrt", "softmax"]))
def test_complete_however_near_the_baseline_is(power: float, where: float, name: str) -> None:
    function = {**ELEMENTWISE, **SEVERAL}[name]
    net, base = between(function), seeded(6, seed=3) + where
    x = base[None] + 10**power * seeded(1, 6)
    assert_complete(pl.DeepLIFT(baseline=base)(net, x, target=0))
    slope = pl.Saliency()(net, x, target=0).values
    if power < -8:  # next to the baseline the multipliers are slopes
        result = pl.DeepLIFT(baseline=base)(net, x, target=0).values
        torch.testing.assert_close(result, slope * (x - base), rtol=1e-4, atol=1e-9 * float(slope.abs().max()))


class Recurrent(nn.Module):
    """A recurrent layer's last output."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer, self.head = kind(4, 5, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class UNet(nn.Module):
    """Down, up by a transposed convolution, and side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        side = functional.relu(self.down(x))
        y = functional.silu(self.deep(functional.max_pool2d(side, 2)))
        return self.out(torch.cat([side, functional.gelu(self.up(y))], 1)).mean((2, 3))


class Masked(nn.Module):
    """Attention with a causal mask, a boolean one, a large negative one, and groups of queries."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).reshape(*x.shape[:2], 2, 4).transpose(1, 2)
        k, v = self.kv(x).reshape(*x.shape[:2], 1, 8).transpose(1, 2).chunk(2, -1)
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        far = torch.zeros(seen.shape, dtype=x.dtype).masked_fill(~seen, torch.finfo(x.dtype).min)
        attend = functional.scaled_dot_product_attention
        one = attend(q, k, v, is_causal=True, enable_gqa=True)
        two = attend(q, k.expand_as(q), v.expand_as(q), attn_mask=seen)
        three = attend(q, k.expand_as(q), v.expand_as(q), attn_mask=far)
        return self.head((one * two + three).transpose(1, 2).reshape(x.shape).mean(1))


class Encoded(nn.Module):
    """Torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)[:, 0])


class Checkpointed(Residual):
    """Computed a second time on the way back."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=False)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (lambda: Residual(bias=True, norm=True), (2, 3, 8, 8)),
    "checkpointed": (lambda: Checkpointed(bias=True, norm=True), (2, 3, 8, 8)),
    "u-net": (UNet, (2, 3, 8, 8)),
    "masked": (Masked, (2, 5, 8)),
    "encoder": (Encoded, (2, 5, 8)),
    "lstm": (lambda: Recurrent(nn.LSTM), (2, 6, 4)),
    "gru": (lambda: Recurrent(nn.GRU), (2, 6, 4)),
    "rnn": (lambda: Recurrent(nn.RNN), (2, 6, 4)),
    **{how: (lambda how=how: Attentive(how), (2, 5, 8)) for how in ("manual", "fused", "module")},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETS)
def test_complete_on_networks_and_alone_as_in_a_batch(name: str, rule: str) -> None:
    make, shape = NETS[name]
    net, x, base = fixed(make), seeded(*shape), seeded(*shape[1:], seed=1)
    method = pl.DeepLIFT(rule=rule, baseline=base)
    before = marks(net, x)
    whole = method(net, x, target=1)
    assert not differences(before, marks(net, x))
    assert_complete(whole)
    alone = torch.cat([method(net, x[i : i + 1], target=1).values for i in range(len(x))])
    torch.testing.assert_close(alone, whole.values, rtol=1e-9, atol=1e-11)
    single = method(copy.deepcopy(net).float(), x.float(), target=1)
    assert_complete(single, 3e-6)


def test_attention_is_the_same_however_it_is_written() -> None:
    x, base = seeded(2, 5, 8, seed=3), seeded(5, 8, seed=4)
    ways = ("manual", "fused", "module")
    maps = [pl.DeepLIFT(baseline=base)(Attentive(how).double(), x, target=0).values for how in ways]
    for other in maps[1:]:
        torch.testing.assert_close(other, maps[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "division"])
def test_what_is_made_of_others_is_what_is_written_with_them(name: str) -> None:
    """The closed forms are the chain of their parts, each by its own multiplier."""

    def softmax(x: Tensor) -> Tensor:
        left = x - x.mean(1, keepdim=True)
        return (left - left.exp().sum(1, keepdim=True).log()).exp()

    def norm(x: Tensor) -> Tensor:
        left = x - x.mean(1, keepdim=True)
        return left * (left.square().mean(1, keepdim=True) + 1e-5).rsqrt()

    by_hand = {"softmax": softmax, "layer_norm": norm, "division": lambda x: x * (1 + x.flip(1).abs()).reciprocal()}
    x, method = seeded(3, 6), pl.DeepLIFT(baseline=seeded(6, seed=1))
    ours, theirs = (method(between(each), x, target=0).values for each in (SEVERAL[name], by_hand[name]))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------- exact answers


def answer(function: Callable[[Tensor], Tensor], x: Any, base: Any, **options: Any) -> list[float]:
    """DeepLIFT of a function of the inputs themselves."""
    rows, start = (torch.tensor([each], dtype=torch.float64) for each in (x, base))
    result = pl.DeepLIFT(baseline=start, **options)(nn.Identity(), rows, target=pl.Function(function))
    return [round(each, 12) for each in result.values[0].tolist()]


def test_linear_is_exact() -> None:
    net, x, base = fixed(lambda: nn.Linear(5, 2)), seeded(3, 5), seeded(5, seed=2)
    expected = (net.weight[1] * (x - base)).detach()
    torch.testing.assert_close(pl.DeepLIFT(baseline=base)(net, x, target=1).values, expected, rtol=1e-12, atol=1e-14)


def test_one_unit_is_integrated_gradients() -> None:
    net = nn.Sequential(nn.Linear(4, 1), nn.Tanh()).double()
    x, base = seeded(3, 4), seeded(4, seed=2)
    expected = pl.IntegratedGradients(steps=60, baseline=base)(net, x).values
    torch.testing.assert_close(pl.DeepLIFT(baseline=base)(net, x).values, expected, rtol=1e-9, atol=1e-12)


def test_products_and_the_larger_of_two() -> None:
    x, b = (3.0, -2.0), (1.0, 0.5)
    product = [(x[0] - b[0]) * (x[1] + b[1]) / 2, (x[1] - b[1]) * (x[0] + b[0]) / 2]
    assert answer(lambda o: o[:, 0] * o[:, 1], x, b) == product
    assert answer(lambda o: o.prod(1), x, b) == product
    assert answer(lambda o: o.amax(1), (3.0, 2.0), (0.0, 1.0)) == [2.0, 0.0]
    assert answer(lambda o: o.amax(1), (0.0, 1.0), (3.0, 2.0)) == [-2.0, 0.0]
    assert answer(lambda o: o.amin(1), (3.0, 2.0), (0.0, 1.0)) == [2.0, 0.0]
    assert answer(lambda o: o.max(1).values, (1.0, 4.0), (1.0, 1.0)) == [0.0, 3.0]


class And(nn.Module):
    """min(x1, x2) = x1 − relu(x1 − x2): figure 3 of the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.less = nn.Linear(2, 1, bias=False)
        self.less.weight.data = torch.tensor([[1.0, -1.0]])

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] - functional.relu(self.less(x))


@pytest.mark.parametrize("x", [(2.0, 1.0), (1.0, 2.0), (3.0, 3.0)])
def test_the_smaller_of_two_by_both_rules(x: tuple[float, float]) -> None:
    rows, least = torch.tensor([x]), min(x)
    net = And()
    cancel = pl.DeepLIFT(rule="reveal-cancel")(net, rows).values[0].tolist()
    assert cancel == pytest.approx([least / 2, least / 2])
    rescale = pl.DeepLIFT()(net, rows).values[0].tolist()
    assert rescale == pytest.approx([x[0], 0.0] if x[0] <= x[1] else [0.0, x[1]])


def canceled(net: nn.Sequential, x: np.ndarray, base: np.ndarray) -> np.ndarray:
    """RevealCancel for dense layers with a ReLU between each two, one neuron at a time, from the paper."""
    layers = [(part.weight.detach().numpy(), part.bias.detach().numpy()) for part in net if isinstance(part, nn.Linear)]
    inputs, sums = [(x, base)], []
    for w, b in layers:
        z, z0 = w @ inputs[-1][0] + b, w @ inputs[-1][1] + b
        sums.append((z, z0))
        inputs.append((np.maximum(z, 0), np.maximum(z0, 0)))
    m = layers[-1][0][0].copy()
    for layer in reversed(range(len(layers) - 1)):
        w, (a, a0), z0 = layers[layer][0], inputs[layer], sums[layer][1]
        below = np.zeros_like(a)
        for k in range(len(w)):
            parts = w[k] * (a - a0)
            plus, minus, f = parts[parts > 0].sum(), parts[parts < 0].sum(), lambda t: max(t, 0.0)
            up = (f(z0[k] + plus) - f(z0[k]) + f(z0[k] + plus + minus) - f(z0[k] + minus)) / 2
            down = (f(z0[k] + minus) - f(z0[k]) + f(z0[k] + plus + minus) - f(z0[k] + plus)) / 2
            for j in range(len(a)):
                if parts[j] > 0:
                    below[j] += m[k] * w[k, j] * up / plus
                elif parts[j] < 0:
                    below[j] += m[k] * w[k, j] * down / minus
        m = below
    return m * (x - base)


@pytest.mark.parametrize("inplace", [False, True])
def test_reveal_cancel_by_hand(inplace: bool) -> None:
    net = fixed(
        lambda: nn.Sequential(nn.Linear(4, 7), nn.ReLU(inplace), nn.Linear(7, 5), nn.ReLU(inplace), nn.Linear(5, 1))
    )
    x, base = seeded(3, 4), seeded(4, seed=5)
    values = pl.DeepLIFT(rule="reveal-cancel", baseline=base)(net, x, target=pl.Output(0)).values
    for row, mine in zip(x, values, strict=True):
        np.testing.assert_allclose(mine, canceled(net, row.numpy(), base.numpy()), rtol=1e-9, atol=1e-12)


def test_reveal_cancel_folds_batch_norm() -> None:
    net = fixed(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)))
    norm: Any = net[1]
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    merged = fixed(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)))
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        merged[0].weight.copy_(net[0].weight * factor[:, None])
        merged[0].bias.copy_((net[0].bias - norm.running_mean) * factor + norm.bias)
    merged[2].load_state_dict(net[3].state_dict())
    ours, theirs = (pl.DeepLIFT(rule="reveal-cancel")(each, seeded(3, 4)).values for each in (net, merged))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------- targets, layers, backgrounds


@pytest.mark.parametrize(
    "target",
    [pl.Probability(1), pl.Loss(torch.tensor([0, 2, 1])), pl.Loss(seeded(3, 3, seed=6)), pl.Class(0) - pl.Class(2),
     pl.Function(lambda o: functional.log_softmax(o, 1)[:, 0] * o.prod(1)), pl.Neuron("1", channel=2)],
)  # fmt: skip
def test_complete_for_every_target(target: Any) -> None:
    """What the target computes is part of the function."""
    net = BY_NAME["mlp"].net()
    result = pl.DeepLIFT(baseline=seeded(5, seed=7))(net, BY_NAME["mlp"].given(), target=target)
    assert_complete(result)
    assert float(result.values.abs().max()) > 0


@pytest.mark.parametrize("name", ["DeepLIFT", "DeepSHAP"])
def test_asked_at_a_layer_and_smoothed(name: str) -> None:
    net, x = fixed(lambda: Residual(bias=True, norm=True)), seeded(2, 3, 8, 8)
    method = getattr(pl, name)(baseline=seeded(4, 3, 8, 8, seed=2) if name == "DeepSHAP" else 0.0)
    inside = method(net, x, target=1, at="relu@1")
    assert inside.values.shape == (2, 6, 8, 8)
    assert_complete(inside)
    smooth = pl.Smooth(pl.DeepLIFT(), draws=3)(net, x, target=1)
    assert smooth.values.shape == x.shape


def test_deep_shap_is_the_mean_over_the_background() -> None:
    net, x, rows = fixed(lambda: Residual(bias=True)), seeded(2, 3, 8, 8), seeded(5, 3, 8, 8, seed=2)
    result = pl.DeepSHAP(baseline=rows)(net, x, target=1)
    each = torch.stack([pl.DeepLIFT(baseline=row)(net, x, target=1).values for row in rows])
    torch.testing.assert_close(result.values, each.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.standard_error, each.std(0) / 5**0.5, rtol=1e-8, atol=1e-12)
    assert_complete(result)
    with pl.settings(memory=10_000):
        little = pl.DeepSHAP(baseline=rows)(net, x, target=1)
    torch.testing.assert_close(little.values, result.values, rtol=1e-9, atol=1e-12)


def test_deep_shap_of_a_linear_model_is_shapley() -> None:
    net, x, rows = fixed(lambda: nn.Linear(4, 1)), seeded(3, 4), seeded(6, 4, seed=2)
    expected = net.weight * (x - rows.mean(0))
    torch.testing.assert_close(pl.DeepSHAP(baseline=rows)(net, x).values, expected.detach(), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------------------- what is refused, and what is said


class Forked(nn.Module):
    """Another way for large inputs; ``how`` says in what the ways differ."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.one, self.two = how, nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        large = bool((x.abs() > 0.1).any())
        if self.how == "longer":
            return torch.tanh(self.one(x)).sin() if large else torch.tanh(self.one(x))
        if self.how == "shorter":
            return self.one(x) if large else torch.tanh(self.one(x))
        if self.how == "layer":
            return self.one(x) if large else self.two(x)
        width = 4 if large else 2
        return self.one(functional.pad(torch.relu(x[:, :width]), (0, 4 - width)))


@pytest.mark.parametrize("how", ["longer", "shorter", "layer", "sizes"])
def test_another_way_for_the_baseline_is_an_error(how: str) -> None:
    with pytest.raises(errors.GradientError, match="another way for the baseline") as caught:
        pl.DeepLIFT()(Forked(how), torch.ones(2, 4), target=0)
    assert "IntegratedGradients" in caught.value.do


def test_an_unknown_operation_is_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cumprod(self.inner(x), 1)

    with pytest.raises(errors.GradientError, match="cumprod"):
        pl.DeepLIFT()(Odd(), torch.rand(1, 3))
    with pytest.raises(errors.OptionError, match="reveal-cancel"):
        pl.DeepLIFT(rule="reveal")


def test_what_does_not_add_up_is_said() -> None:
    result = pl.DeepLIFT(baseline=seeded(6, seed=1))(between(lambda x: x * x.detach()), seeded(3, 6))
    assert "do not add up" in result.notes[0]
    assert ("detach", "approximated") in [row[:2] for row in result.extra["ledger"]]
    other = pl.DeepLIFT(baseline=seeded(6, seed=1))(between(lambda x: torch.where(x > 0, x, x.sin())), seeded(3, 6))
    assert ("where", "approximated", "another choice", 1) in other.extra["ledger"]


# ---------------------------------------------------------------------------- other libraries


def plain_nets() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "dense": nn.Sequential(
            nn.Flatten(), nn.Linear(192, 20), nn.ReLU(), nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 5)
        ),
        "convolutions": nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(32, 5),
        ),
        "pooled": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)),
        "squashed": nn.Sequential(
            nn.Flatten(), nn.Linear(192, 20), nn.Tanh(), nn.Linear(20, 9), nn.Sigmoid(), nn.Linear(9, 5)
        ),
    }  # fmt: skip


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dense", "convolutions", "pooled", "squashed"])
def test_captums_where_it_is_right(name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    net, x, rows = plain_nets()[name].double().eval(), seeded(2, 3, 8, 8), seeded(4, 3, 8, 8, seed=1)
    theirs = captum.DeepLift(copy.deepcopy(net)).attribute(x, rows[:1], target=1)
    torch.testing.assert_close(
        pl.DeepLIFT(baseline=rows[0])(net, x, target=1).values, theirs.detach(), rtol=1e-6, atol=1e-8
    )
    theirs = captum.DeepLiftShap(copy.deepcopy(net)).attribute(x, rows, target=1)
    torch.testing.assert_close(
        pl.DeepSHAP(baseline=rows)(net, x, target=1).values, theirs.detach(), rtol=1e-6, atol=1e-8
    )


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_shaps_where_it_is_right() -> None:
    shap = pytest.importorskip("shap")
    net, x, rows = plain_nets()["dense"].eval(), seeded(2, 3, 8, 8).float(), seeded(4, 3, 8, 8, seed=1).float()
    theirs = shap.DeepExplainer(copy.deepcopy(net), rows).shap_values(x)[..., 1]
    ours = pl.DeepSHAP(baseline=rows)(net, x, target=1).values
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["overlapping", "pooled after a ReLU", "functional"])
def test_right_where_captum_is_not(how: str) -> None:
    captum = pytest.importorskip("captum.attr")
    start: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1)]
    if how != "functional":
        pool = nn.MaxPool2d(3, 2, 1) if how == "overlapping" else nn.MaxPool2d(2)
        parts = [*start, nn.ReLU(), pool, nn.Flatten(), nn.Linear(128, 5)]
    else:

        class Act(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return functional.silu(x)

        parts = [*start, Act(), nn.Flatten(), nn.Linear(512, 5)]
    net = fixed(lambda: nn.Sequential(*parts))
    x, base = seeded(2, 3, 8, 8), seeded(1, 3, 8, 8, seed=1)
    _, gap = captum.DeepLift(copy.deepcopy(net)).attribute(x, base, target=1, return_convergence_delta=True)
    assert float(gap.abs().max()) > 1e-4
    assert_complete(pl.DeepLIFT(baseline=base[0])(net, x, target=1))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_row_is_alone_under_softmax_where_captum_mixes_the_batch() -> None:
    captum = pytest.importorskip("captum.attr")
    net = fixed(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Softmax(1)))
    x, base = seeded(4, 4), seeded(1, 4, seed=1)
    theirs = [captum.DeepLift(copy.deepcopy(net)).attribute(each, base, target=1) for each in (x, x[:1])]
    assert float((theirs[0][:1] - theirs[1]).abs().max()) > 1e-4
    ours = [pl.DeepLIFT(baseline=base[0])(net, each, target=1) for each in (x, x[:1])]
    torch.testing.assert_close(ours[0].values[:1], ours[1].values, rtol=1e-12, atol=1e-14)
    assert_complete(ours[0])
