"""LRP: the laws of its rules, networks with functional, in-place and reused layers, attention, composites, options."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from pellucid import errors, rules
from pellucid.attribution.propagation.lrp import PRESETS
from pellucid.core.method import question
from pellucid.engines.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Gradient,
    WSquare,
    ZPlus,
    anywhere,
    first,
    named,
)


class Residual(nn.Module):
    """A residual net: in-place and reused ReLU, ``+=``, overlapping max-pooling, functional calls."""

    def __init__(self, bias: bool = False, norm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=bias)
        self.again = nn.Conv2d(6, 6, 3, padding=1, bias=bias)
        self.norm = random_norm(6) if norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6 * 16, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        for _ in range(2):
            y = self.again(x)
            y += x
            x = functional.relu(y, inplace=True)
        x = functional.max_pool2d(x, 3, 2, 1)
        return self.head(x.flatten(1))


def random_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.running_mean.normal_(0, 0.1)
    norm.running_var.uniform_(0.5, 1.5)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.bias.data.normal_(0, 0.1)
    return norm


X = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def lrp(composite: Any, net: nn.Module, x: Tensor = X, **options: Any) -> pl.Attribution:
    return pl.LRP(composite, **options)(net.double(), x, target=1)


def test_lrp_zero_is_gradient_times_input() -> None:
    net = Residual().double()
    expected = pl.InputXGradient()(net, X, target=1).values
    torch.testing.assert_close(lrp("zero", net).values, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        lrp(Composite(((anywhere, Epsilon(1e-12)),)), net).values, expected, rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_relevance_is_conserved_without_biases(preset: str) -> None:
    box = {"low": -4.0, "high": 4.0} if "box" in preset else {}
    result = lrp(preset, Residual(), **box)
    torch.testing.assert_close(result.values.flatten(1).sum(1), result.score, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(result.extra["conserved"], torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=1e-6)


def test_z_plus_is_positive_where_the_score_is() -> None:
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.rand(4, 5, dtype=torch.float64)
    result = pl.LRP("z-plus")(net, x, target=pl.Output(0))
    sign = result.score.sign()[:, None]
    assert bool((result.values * sign >= -1e-12).all())


def test_flat_and_w_square_do_not_look_at_the_input() -> None:
    """A dense first layer: the split of what arrives there is the same for every input; zeros get theirs, too."""
    net = nn.Linear(5, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0, 1.0]]))
    x = torch.tensor([[0.0, 1.0, 2.0, 0.0, -1.0]], dtype=torch.float64)
    flat = pl.LRP(Composite(((first, Flat()),)))(net, x)
    torch.testing.assert_close(flat.values, flat.score[:, None].expand(1, 5) / 5, rtol=1e-5, atol=1e-9)
    square = pl.LRP(Composite(((first, WSquare()),)))(net, x)
    share = net.weight.square() / (net.weight.square().sum() + net.bias.square())
    torch.testing.assert_close(square.values, (square.score[:, None] * share).detach(), rtol=1e-5, atol=1e-9)


def by_hand(net: nn.Sequential, x: np.ndarray, target: int, epsilon: float) -> np.ndarray:
    """LRP-ε of a ReLU network of dense layers, one neuron at a time."""
    values, layers = [x], [part for part in net if isinstance(part, nn.Linear)]
    for i, layer in enumerate(layers):
        z = layer.weight.detach().numpy() @ values[-1] + layer.bias.detach().numpy()
        values.append(np.maximum(z, 0) if i < len(layers) - 1 else z)
    relevance = np.zeros_like(values[-1])
    relevance[target] = values[-1][target]
    for layer, a in zip(reversed(layers), reversed(values[:-1]), strict=True):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        below = np.zeros_like(a)
        for k in range(len(bias)):
            z = weight[k] @ a + bias[k]
            for j in range(len(a)):
                below[j] += a[j] * weight[k, j] / (z + epsilon * (1 if z >= 0 else -1)) * relevance[k]
        relevance = below
    return relevance


@pytest.mark.parametrize("epsilon", [1e-6, 0.1, 1.0])
def test_epsilon_by_hand(epsilon: float) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.randn(1, 4, dtype=torch.float64)
    result = pl.LRP(Composite(((anywhere, Epsilon(epsilon)),)))(net, x, target=2)
    np.testing.assert_allclose(result.values[0], by_hand(net, x[0].numpy(), 2, epsilon), rtol=1e-9)


@pytest.mark.parametrize("preset", ["epsilon", "epsilon-plus", "gamma", "alpha2-beta1", "epsilon-plus-flat"])
def test_batch_norm_is_folded(preset: str) -> None:
    """The network with the norm merged into the convolution has the same relevance."""
    net = Residual(norm=True).double().eval()
    norm: Any = net.norm
    merged = Residual(bias=True).double().eval()
    merged.load_state_dict({name: each for name, each in net.state_dict().items() if "norm" not in name}, strict=False)
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        merged.stem.weight.copy_(net.stem.weight * factor[:, None, None, None])
        merged.stem.bias.copy_(norm.bias - norm.running_mean * factor)
        merged.again.bias.zero_()
        merged.head.bias.zero_()
    torch.testing.assert_close(lrp(preset, net).values, lrp(preset, merged).values, rtol=1e-6, atol=1e-8)


class Attentive(nn.Module):
    """Two heads of attention, a gated and a squashed layer, norms of both kinds, no biases."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.how = how
        self.qkv, self.out = nn.Linear(8, 24, bias=False), nn.Linear(8, 8, bias=False)
        self.whole = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
        with torch.no_grad():
            self.whole.in_proj_weight.copy_(self.qkv.weight)
            self.whole.out_proj.weight.copy_(self.out.weight)
        self.norm, self.rms = nn.LayerNorm(8, bias=False), nn.RMSNorm(8)
        self.up, self.gate, self.down = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.head = nn.Linear(8, 3, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        if self.how == "module":
            return self.whole(x, x, x, need_weights=False)[0]
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        if self.how == "fused":
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q @ k.transpose(-2, -1)) / 2).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(x.shape))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm(x))
        y = self.rms(x)
        x = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return self.head(functional.gelu(x).mean(1))


def test_attention_however_it_is_written() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    maps = [pl.LRP("epsilon")(Attentive(how).double(), x, target=0) for how in ("manual", "fused", "module")]
    for other in maps[1:]:
        torch.testing.assert_close(other.score, maps[0].score, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(other.values, maps[0].values, rtol=1e-7, atol=1e-9)
    alone = pl.LRP("epsilon")(Attentive("fused").double(), x[:1], target=0)
    torch.testing.assert_close(alone.values, maps[1].values[:1], rtol=1e-9, atol=1e-12)
    status = {row[0]: row[1] for row in maps[0].extra["ledger"]}
    assert status["softmax"] == "approximated"
    assert status["layer_norm"] == status["gelu"] == status["silu"] == "exact"


def test_gated_and_normalized_layers_conserve() -> None:
    """Everything but softmax hands on all it gets: with constant attention nothing is lost."""

    class Flowing(Attentive):
        def attend(self, x: Tensor) -> Tensor:
            return self.out(x.mean(1, keepdim=True).expand_as(x))

    x = torch.randn(3, 5, 8, dtype=torch.float64)
    result = pl.LRP("epsilon")(Flowing("").double(), x, target=0)
    torch.testing.assert_close(result.values.flatten(1).sum(1), result.score, rtol=1e-3, atol=1e-6)


def test_a_composite_by_name_and_the_ledger() -> None:
    mine = Composite(((named("stem"), ZPlus()), (named("ag*"), Gamma(0.5)), (anywhere, Epsilon())))
    result = lrp(mine, Residual(norm=True))
    rules = {(row[0], row[2]): row[3] for row in result.extra["ledger"]}
    assert rules["conv2d", "ZPlus"] == 1
    assert rules["conv2d", "Gamma"] == 2
    assert rules["linear", "Epsilon"] == 1
    with pytest.raises(errors.OptionError, match="again"):
        lrp(Composite(((named("stem"), ZPlus()),)), Residual())


def test_the_sum_over_channels_of_a_layer_is_the_whole() -> None:
    """Asked at a layer, relevance is that of the layer's units; it adds up like that of the inputs."""
    net = Residual()
    inside = pl.LRP("epsilon")(net.double(), X, target=1, at="stem")
    torch.testing.assert_close(inside.values.flatten(1).sum(1), inside.score, rtol=1e-4, atol=1e-6)


def test_bad_questions() -> None:
    with pytest.raises(errors.OptionError, match="epsilon-plus"):
        pl.LRP("epsilon-pluss")
    with pytest.raises(errors.OptionError, match="Composite"):
        pl.LRP(Gradient())
    with pytest.raises(errors.OptionError, match="alpha"):
        AlphaBeta(2, 2)

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(self.inner(x))

    with pytest.raises(errors.GradientError, match="sin"):
        pl.LRP()(Odd(), torch.rand(1, 3))


def dense_net(*widths: int, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(5)
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b, bias=bias), nn.ReLU()]
    return nn.Sequential(*parts[:-1]).double()


def used(composite: Composite, net: nn.Module, x: Tensor) -> dict[str, str]:
    """Which rule stood at which module."""
    ledger = rules.Ledger()
    ask = question(net, x, 0)
    ready = pl.LRP(composite).rules(ask)
    ask.along(lambda module: rules.Rules(ready, ledger).on(module)).gradient()
    return {path: rule for (_, path, _, rule) in ledger.calls if rule}


def test_predicates_by_operation_type_path_depth_first_and_last() -> None:
    net, x = (
        nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Flatten(), *dense_net(4, 5, 4, 3)),
        X[:, 0, 0],
    )
    net, x = net.double(), x[:, :4]
    gamma, plus, rest = Gamma(), ZPlus(), (anywhere, Epsilon())
    cases: dict[str, Any] = {
        "first": (rules.first, {"1"}),
        "last": (rules.last, {"7"}),
        "the last two": (rules.from_end(2), {"5", "7"}),
        "the first two": (rules.before(2), {"1", "3"}),
        "by type": (rules.typed("Conv1d"), {"1"}),
        "by operation": (rules.operation("linear"), {"3", "5", "7"}),
        "by pattern": (rules.operation("conv?d"), {"1"}),
        "by path": (rules.named("[35]"), {"3", "5"}),
        "dense": (rules.dense, {"3", "5", "7"}),
        "convolutional": (rules.convolutional, {"1"}),
        "of one's own": (lambda place: place.kind == "Linear" and place.number > 1, {"5", "7"}),
    }
    for name, (fits, paths) in cases.items():
        found = used(Composite(((fits, gamma), rest)), net, x)
        assert {path for path, rule in found.items() if rule == "Gamma"} == paths, name
    in_order = used(Composite(((rules.first, plus), (rules.convolutional, gamma), rest)), net, x)
    assert in_order["1"] == "ZPlus"


def test_last_is_for_those_who_count() -> None:
    with pytest.raises(errors.OptionError, match=r"pl\.LRP"):
        rules.last(rules.Place("linear", "0", "Linear", 0))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_biases_left_out_take_nothing(preset: str) -> None:
    """All of the score reaches the inputs, whatever the biases and the shifts of folded norms."""
    net = Residual(bias=True, norm=True).double()
    options: dict[str, Any] = {"low": -4.0, "high": 4.0} if "box" in preset else {}
    absorbed = pl.LRP(preset, **options)(net, X, target=1)
    left_out = pl.LRP(preset, biases="leave out", **options)(net, X, target=1)
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(left_out.extra["conserved"], one, rtol=1e-3, atol=1e-3)
    assert float((absorbed.extra["conserved"] - one).abs().max()) > 1e-2


def test_relevance_of_one_is_a_share_of_the_score() -> None:
    net = dense_net(4, 6, 3, bias=False)
    x = X[:, 0, 0, :4]
    whole, share = (pl.LRP("epsilon", relevance=each)(net, x, target=1) for each in ("score", "one"))
    torch.testing.assert_close(share.values * whole.score[:, None], whole.values)
    torch.testing.assert_close(share.values.sum(1), torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=1e-4)
    with pytest.raises(errors.OptionError, match='relevance="score"'):
        pl.LRP("epsilon", relevance="one")(net, torch.zeros(1, 4, dtype=torch.float64), target=1)


def test_options_of_presets() -> None:
    net, x = dense_net(4, 6, 3), X[:, 0, 0, :4]
    by_option = pl.LRP("epsilon", epsilon=0.25)(net, x, target=2).values
    by_rule = pl.LRP(Composite(((anywhere, Epsilon(0.25)),)))(net, x, target=2).values
    torch.testing.assert_close(by_option, by_rule, rtol=0, atol=0)
    by_option = pl.LRP("gamma", gamma=2.0)(net, x, target=2).values
    torch.testing.assert_close(by_option, pl.LRP(Composite(((anywhere, Gamma(2.0)),)))(net, x, target=2).values)
    for wrong in ({"gamma": 0.1}, {"low": 0.0}, {"high": 1.0}):
        with pytest.raises(errors.OptionError, match="epsilon"):
            pl.LRP("epsilon", **wrong)
    with pytest.raises(errors.OptionError, match="composite"):
        pl.LRP(Composite(((anywhere, Epsilon()),)), epsilon=0.1)


@pytest.mark.parametrize(("name", "method"), [("guided-backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])
def test_rectified_gradients_are_methods_of_their_own(name: str, method: str) -> None:
    with pytest.raises(errors.OptionError, match=method):
        pl.LRP(name)


def test_generalized_gamma_is_plain_gamma_for_positive_inputs() -> None:
    """R_j = Σ_k x_j (w + γ w⁺)_jk / Σ_j x_j (w + γ w⁺)_jk R_k, one layer, for outputs that are positive."""
    torch.manual_seed(0)
    weight, x, gamma = torch.randn(1, 6).double(), torch.rand(3, 6).double(), 0.5
    weight *= (x.sum(0) @ weight[0]).sign()
    net = nn.Linear(6, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(weight)
    result = pl.LRP("gamma", gamma=gamma)(net, x, target=0)
    parts = x * (weight + gamma * weight.clamp(min=0))
    expected = parts / parts.sum(1, keepdim=True) * result.score[:, None]
    positive = result.score > 0.1
    assert bool(positive.any())
    torch.testing.assert_close(result.values[positive], expected[positive], rtol=1e-4, atol=1e-6)


def test_pass_and_the_pass_of_norms() -> None:
    torch.manual_seed(0)
    square = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 2, bias=False)).double()
    x = torch.randn(2, 5, dtype=torch.float64)
    inside = pl.LRP("epsilon")(square, x, target=0, at="0").values
    passed = pl.LRP(Composite(((rules.first, rules.Pass()), (anywhere, Epsilon()))))(square, x, target=0).values
    torch.testing.assert_close(passed, inside, rtol=1e-6, atol=1e-9)
    with pytest.raises(errors.OptionError, match="Pass"):
        pl.LRP(Composite(((anywhere, rules.Pass()),)))(square, x, target=0)
    net = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 2, bias=False)).double()
    normed = pl.LRP(Composite(((anywhere, rules.PassNorm()), (anywhere, Epsilon()))))(net, x, target=0)
    torch.testing.assert_close(normed.values, pl.LRP("epsilon")(net, x, target=0, at="0").values, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(normed.score, net(x)[:, 0].detach(), rtol=0, atol=0)


def test_norm_is_epsilon_that_only_stabilizes() -> None:
    net, x = dense_net(4, 6, 3), X[:, 0, 0, :4]
    mine = Composite(((anywhere, rules.Norm()),))
    torch.testing.assert_close(pl.LRP(mine)(net, x, target=0).values, pl.LRP("epsilon")(net, x, target=0).values)
