"""LRP against zennit: every preset and rule, on networks that zennit handles, with its conventions as options."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from pellucid import rules

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def stub_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of torchvision as zennit looks for."""
    models = types.ModuleType("torchvision.models")
    for name, classes in {"resnet": ("BasicBlock", "Bottleneck", "ResNet"), "vgg": ("VGG",)}.items():
        part = types.ModuleType(f"torchvision.models.{name}")
        for each in classes:
            setattr(part, each, type(each, (nn.Module,), {}))
            setattr(models, each, getattr(part, each))
        setattr(models, name, part)
        monkeypatch.setitem(sys.modules, f"torchvision.models.{name}", part)
    whole = types.ModuleType("torchvision")
    whole.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", whole)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


@pytest.fixture
def zennit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """zennit, with torchvision or what stands in for it."""
    if "torchvision" not in sys.modules:
        stub_torchvision(monkeypatch)
    pytest.importorskip("zennit.composites")
    import zennit.attribution
    import zennit.canonizers
    import zennit.composites
    import zennit.layer
    import zennit.rules
    import zennit.types

    return zennit


class Block(nn.Module):
    """A residual block with the sum as a module, as zennit wants it."""

    def __init__(self, width: int, add: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(width, width, 3, padding=1), random_norm(width), nn.ReLU()
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.add(torch.stack([self.norm(self.conv(x)), x], dim=-1)))


def random_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-12)  # zennit merges norms but keeps their eps: a factor of 1 + eps / 2
    norm.running_mean.normal_(0, 0.1)
    norm.running_var.uniform_(0.5, 1.5)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.bias.data.normal_(0, 0.1)
    return norm


def vgg(_: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), random_norm(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), random_norm(8),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1), random_norm(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 5),
    )  # fmt: skip


def residual(zennit: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), random_norm(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1), Block(6, zennit.layer.Sum()),
        Block(6, zennit.layer.Sum()), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip


def groups(_: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 5),
    )  # fmt: skip


def dense(_: Any) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 5))


def series(_: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 6, 3, dilation=2, padding=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 5),
    )  # fmt: skip


NETS: dict[str, Callable[[Any], nn.Module]] = {
    "vgg": vgg, "residual": residual, "groups": groups, "dense": dense, "series": series,
}  # fmt: skip
NAMES = {
    "epsilon-plus": "EpsilonPlus",
    "epsilon-plus-flat": "EpsilonPlusFlat",
    "epsilon-alpha2-beta1": "EpsilonAlpha2Beta1",
    "epsilon-alpha2-beta1-flat": "EpsilonAlpha2Beta1Flat",
    "epsilon-gamma-box": "EpsilonGammaBox",
    "excitation-backprop": "ExcitationBackprop",
}
CONVENTIONS = [("absorb", "score"), ("absorb", "one"), ("leave out", "score"), ("leave out", "one")]


def studied(name: str, zennit: Any) -> tuple[nn.Module, Tensor]:
    """A network and its inputs."""
    torch.manual_seed(1)
    net = NETS[name](zennit).double().eval()
    shape = (2, 3, 32) if name == "series" else (2, 3, 8, 8)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return net, x * 30 if name == "residual" else x  # zennit stabilizes sums and averages by 1e-6, we do not


def theirs(zennit: Any, net: nn.Module, x: Tensor, composite: Any, relevance: str = "score") -> Tensor:
    seed = functional.one_hot(torch.tensor([1, 1]), 5)
    start = (lambda output: output * seed) if relevance == "score" else (lambda output: torch.ones_like(output) * seed)
    with zennit.attribution.Gradient(net, composite) as attributor:
        return attributor(x.clone(), start)[1]


def apart(values: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((values - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("biases", "relevance"), CONVENTIONS)
@pytest.mark.parametrize("preset", sorted(NAMES))
@pytest.mark.parametrize("name", sorted(NETS))
def test_presets_are_zennits(zennit: Any, name: str, preset: str, biases: str, relevance: str) -> None:
    if (name, preset) == ("dense", "epsilon-gamma-box"):
        pytest.skip("zennit's box stands on convolutions only")
    net, x = studied(name, zennit)
    options: dict[str, Any] = {} if biases == "absorb" else {"zero_params": "bias"}
    bounds = {"low": float(x.min()), "high": float(x.max())} if "box" in preset else {}
    options |= {key: torch.full_like(x, value) for key, value in bounds.items()}
    options["canonizers"] = [zennit.canonizers.SequentialMergeBatchNorm()]
    expected = theirs(zennit, net, x, getattr(zennit.composites, NAMES[preset])(**options), relevance)
    result = pl.LRP(preset, biases=biases, relevance=relevance, **bounds)(net, x, target=1)
    assert apart(result.values, expected) < (1e-5 if name == "residual" else 1e-8)


@pytest.mark.parametrize("epsilon", [1e-6, 0.25])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_epsilon_and_gamma_are_options_of_presets(zennit: Any, epsilon: float, gamma: float) -> None:
    net, x = studied("groups", zennit)
    bounds = {"low": torch.full_like(x, -3.0), "high": torch.full_like(x, 3.0)}
    expected = theirs(zennit, net, x, zennit.composites.EpsilonGammaBox(epsilon=epsilon, gamma=gamma, **bounds))
    values = pl.LRP("epsilon-gamma-box", low=-3.0, high=3.0, epsilon=epsilon, gamma=gamma)(net, x, target=1).values
    assert apart(values, expected) < 1e-8


@pytest.mark.parametrize("biases", ["absorb", "leave out"])
@pytest.mark.parametrize("name", ["groups", "dense", "series"])
def test_rules_are_zennits(zennit: Any, name: str, biases: str) -> None:
    """Generalized γ, for inputs of either sign, z⁺ and αβ too: the first layer sees negative inputs."""
    net, x = studied(name, zennit)
    kinds, options = zennit.types, {} if biases == "absorb" else {"zero_params": "bias"}
    everywhere = [
        (zennit.rules.Gamma(gamma=0.25, **options), rules.Gamma()),
        (zennit.rules.ZPlus(**options), rules.ZPlus()),
        (zennit.rules.AlphaBeta(alpha=2, beta=1, **options), rules.AlphaBeta()),
        (zennit.rules.Epsilon(epsilon=0.1, **options), rules.Epsilon(0.1)),
    ]
    everywhere += [(zennit.rules.Norm(), rules.Norm())] if biases == "absorb" else []
    box = zennit.rules.ZBox(low=torch.full_like(x, -3), high=torch.full_like(x, 3), **options)
    at_first = [(zennit.rules.WSquare(**options), rules.WSquare()), (zennit.rules.Flat(), rules.Flat())]
    at_first += [(box, rules.ZBox(-3.0, 3.0))] if name != "dense" else []
    passed = (kinds.Activation, zennit.rules.Pass())
    for rule, ours in everywhere:
        composite = zennit.composites.LayerMapComposite(layer_map=[(kinds.Linear, rule), passed])
        expected = theirs(zennit, net, x, composite)
        values = pl.LRP(rules.Composite(((rules.anywhere, ours),)), biases=biases)(net, x, target=1).values
        assert apart(values, expected) < 1e-8, rule
    for rule, ours in at_first:
        composite = zennit.composites.SpecialFirstLayerMapComposite(
            layer_map=[(kinds.Linear, zennit.rules.Epsilon(**options)), passed], first_map=[(kinds.Linear, rule)]
        )
        expected = theirs(zennit, net, x, composite)
        mine = rules.Composite(((rules.first, ours), (rules.anywhere, rules.Epsilon())))
        values = pl.LRP(mine, biases=biases)(net, x, target=1).values
        assert apart(values, expected) < 1e-8, rule


def test_pass_is_zennits(zennit: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5)).double()
    x = torch.randn(2, 6, dtype=torch.float64)
    names = [(["0"], zennit.rules.Pass()), (["2", "4"], zennit.rules.Epsilon())]
    layers = [(zennit.types.Activation, zennit.rules.Pass())]
    expected = theirs(zennit, net, x, zennit.composites.NameLayerMapComposite(names, layers))
    mine = rules.Composite(((rules.from_end(2), rules.Epsilon()), (rules.anywhere, rules.Pass())))
    assert apart(pl.LRP(mine)(net, x, target=1).values, expected) < 1e-8
