"""Networks on which captum or zennit are wrong without a word: shown where they are installed; ours holds always."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from tests.reference.test_lrp_zennit import zennit as zennit  # noqa: PLC0414 - a fixture
from tests.traces import differences, marks

X = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


class Skip(nn.Module):
    """x + f(x), twice, added by a plain plus; no biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.head = (nn.Linear(6, width, bias=False) for width in (6, 6, 3))
        self.act, self.other = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.one(x)) + x
        x = self.other(self.two(x)) + x
        return self.head(x)


class Reused(nn.Module):
    """One ReLU module, called three times."""

    def __init__(self, acts: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two, self.three, self.head = (nn.Linear(6, width) for width in (6, 6, 6, 3))
        self.acts = nn.ModuleList([nn.ReLU() for _ in range(acts)])

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate((self.one, self.two, self.three)):
            x = self.acts[i % len(self.acts)](layer(x))
        return self.head(x)


class Modern(nn.Module):
    """GELU and LayerNorm, no biases."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.norm, self.act = nn.LayerNorm(6, bias=False), nn.GELU()
        self.one, self.head = nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.one(self.norm(x))))


class Functional(nn.Module):
    """Nothing but functions; the same numbers as ``Modules``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.one = nn.Parameter(torch.randn(8, 6))
        self.two = nn.Parameter(torch.randn(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(functional.relu(functional.linear(x, self.one)), self.two)

    def modules_of(self) -> nn.Module:
        one, two = nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False)
        one.weight.data, two.weight.data = self.one.data.clone(), self.two.data.clone()
        return nn.Sequential(one, nn.ReLU(), two).double()


def off(values: Tensor, net: nn.Module, x: Tensor = X) -> float:
    """The largest distance between what was handed out and the score."""
    return float((values.flatten(1).sum(1) - net(x)[:, 1]).abs().max().detach())


def relevance(zennit: Any, net: nn.Module, x: Tensor = X) -> Tensor:
    """zennit's LRP-ε, seeded with the score."""
    kinds, rules = zennit.types, zennit.rules
    composite = zennit.composites.LayerMapComposite([(kinds.Activation, rules.Pass()), (kinds.Linear, rules.Epsilon())])
    seed = functional.one_hot(torch.ones(len(x), dtype=torch.long), 3)
    with zennit.attribution.Gradient(net, composite) as attributor:
        return attributor(x.clone(), lambda output: output * seed)[1]


def captum(name: str, net: nn.Module, x: Tensor = X) -> Tensor:
    attr = pytest.importorskip("captum.attr")
    return getattr(attr, name)(net).attribute(x.clone().requires_grad_(), target=1).detach()


def ours(net: nn.Module, x: Tensor = X, preset: str = "epsilon") -> pl.Attribution:
    return pl.LRP(preset)(net, x, target=1)


@pytest.mark.parametrize("preset", ["epsilon", "z-plus", "gamma", "epsilon-plus"])
@pytest.mark.parametrize("kind", [Skip, Functional])
def test_sums_and_functions_conserve(kind: Any, preset: str) -> None:
    net = kind().double()
    assert off(ours(net, preset=preset).values, net) < 1e-4


def test_lrp_zero_of_a_residual_net_is_gradient_times_input() -> None:
    net = Skip().double()
    torch.testing.assert_close(ours(net, preset="zero").values, pl.InputXGradient()(net, X, target=1).values)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_a_plus_is_lost_on_captum_and_counted_twice_by_zennit(zennit: Any) -> None:
    net = Skip().double()
    assert off(captum("LRP", net), net) > 0.1
    assert off(relevance(zennit, net), net) > 0.1
    assert off(ours(net).values, net) < 1e-4


def test_a_reused_relu_is_as_good_as_three() -> None:
    one, three = Reused().double(), Reused(3).double()
    for preset in ("epsilon", "z-plus", "gamma", "flat"):
        torch.testing.assert_close(ours(one, preset=preset).values, ours(three, preset=preset).values, rtol=0, atol=0)


def test_gelu_and_layer_norm_by_hand() -> None:
    """Relevance in the input, from the formulas: a norm is linear once its spread is given, GELU hands all on."""
    net = Modern().double()
    assert off(ours(net).values, net) < 1e-4
    x, w, v = X[0].numpy(), net.one.weight.detach().numpy(), net.head.weight.detach().numpy()[1]
    spread = np.sqrt(x.var() + net.norm.eps)
    normed = (x - x.mean()) / spread * net.norm.weight.detach().numpy()
    z = w @ normed
    y = functional.gelu(torch.from_numpy(z)).numpy()
    slope = ((v * y / z) @ w) * net.norm.weight.detach().numpy() / spread
    np.testing.assert_allclose(ours(net).values[0], x * (slope - slope.mean()), rtol=1e-3, atol=1e-5)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_zennit_is_silent_about_gelu_and_layer_norm(zennit: Any) -> None:
    net = Modern().double()
    assert float(relevance(zennit, net).sum(1).abs().max()) < 1e-6
    assert float(net(X)[:, 1].abs().max()) > 0.1


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_zennit_gives_the_gradient_of_functions(zennit: Any) -> None:
    net = Functional().double()
    (seeded,) = torch.autograd.grad((net(x := X.clone().requires_grad_())[:, 1] ** 2).sum() / 2, x)
    torch.testing.assert_close(relevance(zennit, net), seeded)
    torch.testing.assert_close(ours(net).values, relevance(zennit, net.modules_of()), rtol=1e-6, atol=1e-8)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_captum_does_not_see_functional_relu() -> None:
    net = Functional().double()
    torch.testing.assert_close(captum("GuidedBackprop", net).abs(), captum("Saliency", net))
    expected = captum("GuidedBackprop", net.modules_of())
    assert float((captum("GuidedBackprop", net) - expected).abs().max()) > 0.1
    torch.testing.assert_close(pl.GuidedBackprop()(net, X, target=1).values, expected)


class Fails(nn.Module):
    """A ReLU, and then a layer that nobody has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.one, self.act, self.odd, self.head = nn.Linear(6, 6), nn.ReLU(), Sine(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.odd(self.act(self.one(x))))


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_captum_leaves_things_behind() -> None:
    """Attributes on a module after a call, and after one that fails another error than the first."""
    attr = pytest.importorskip("captum.attr")
    net = Reused(3).double()
    before = module_attributes(net)
    attr.LRP(net).attribute(X.clone(), target=1)
    assert module_attributes(net) != before
    net = Fails().double()
    said = []
    for _ in range(2):
        with pytest.raises(Exception) as caught:
            attr.LRP(net).attribute(X.clone(), target=1)
        said.append(str(caught.value))
    assert said[0] != said[1]


def module_attributes(net: nn.Module) -> list[set[str]]:
    return [set(vars(part)) for part in net.modules()]


@pytest.mark.parametrize("method", [pl.LRP("epsilon-plus"), pl.LRP("flat"), pl.LRP("zero"), pl.GuidedBackprop()])
@pytest.mark.parametrize("kind", [Reused, Fails, Skip])
def test_no_trace_and_the_same_again(kind: Any, method: Any) -> None:
    net, x = kind().double().train(), X.clone().requires_grad_()
    net.one.rule = "the user's own"
    before, answers = marks(net, x), []
    for _ in range(2):
        try:
            answers.append(method(net, x, target=1).values.tolist())
        except pl.errors.GradientError as error:
            answers.append(str(error))
        assert not differences(before, marks(net, x))
    assert answers[0] == answers[1]
    assert kind is not Fails or isinstance(method, pl.GuidedBackprop) or "sin" in answers[0]
