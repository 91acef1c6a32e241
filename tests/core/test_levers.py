"""Levers: the faster twin gives the same values to 1e-5, is told in the receipt, never reaches the user's module."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import pellucid as pl
from pellucid.core import levers
from tests.nets import Case
from tests.small import NAMES, SMALL, at_of, fits, small
from tests.traces import differences, module_marks


class Big(nn.Module):
    """Large enough for every lever: convolutions, batch-norms, wide linear layers, a residual."""

    def __init__(self, conv: nn.Module | None = None) -> None:
        super().__init__()
        self.stem = conv or nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.mix = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.wide = nn.Linear(32, 512)
        self.deep = nn.Linear(512, 512)
        self.head = nn.Linear(512, 4)
        for norm in (self.norm, self.norm2):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.norm2(self.mix(x)))
        x = torch.relu(self.wide(x.mean((2, 3))))
        return self.head(torch.relu(self.deep(x)))


class Pooled(Big):
    """The same with one linear layer after the pooling, for CAM."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.ReLU()
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.head(self.last(x + self.norm2(self.mix(x))).mean((2, 3)))


def net(kind: type[Big] = Big, *args: Any) -> Big:
    torch.manual_seed(0)
    return kind(*args)


X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
BIG = Case("big", lambda: net(Pooled), lambda: X, "mix", "image")


@pytest.fixture(autouse=True)
def packing_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lever is pulled, whatever this machine gains by it."""
    monkeypatch.setattr(levers, "PAYS", [hasattr(torch.ops.mkldnn, "_reorder_linear_weight")])


def both(module: nn.Module, method: Any, **options: Any) -> tuple[pl.Attribution, pl.Attribution]:
    """With levers, and exactly as written."""
    with pl.settings(exact=True):
        exact = method(pl.Model(module), X, **options)
    return method(pl.Model(module), X, **options), exact


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_plain_path(name: str) -> None:
    assert fits(name, BIG)
    module = net(Pooled if name == "CAM" else Big)
    fast, exact = both(module, small(name, SMALL | {"draws": 3, "steps": 4, "budget": 64}), at=at_of(name, BIG))
    assert exact.receipt.path == "plain"
    scale = max(float(exact.values.abs().max()), float(exact.score.abs().max()) * (not exact.receipt.rows_backward))
    loose = 1e-3 if name in ("Sobol", "RegressionMSR") else 1e-5  # a ratio of variances; splits of trees
    assert float((fast.values - exact.values).abs().max()) <= loose * scale
    torch.testing.assert_close(fast.score, exact.score, rtol=1e-5, atol=1e-5)


def test_levers_are_told_in_the_receipt() -> None:
    path = pl.Saliency()(pl.Model(net()), X).receipt.path
    assert "channels-last" in path
    assert "folded batch-norm" in path
    assert ("prepacked linear" in path) == levers.PAYS[0]


def test_the_users_module_keeps_its_weights_and_their_layout() -> None:
    module = net().train()
    before = module_marks(module)
    model = pl.Model(module)
    pl.IntegratedGradients()(model, X)
    assert not differences(before, module_marks(module))
    assert module.mix.weight.is_contiguous()
    assert not module.mix.weight.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(module.norm, nn.BatchNorm2d)
    assert isinstance(module.wide, nn.Linear)
    assert model.module.mix.weight.data_ptr() == module.mix.weight.data_ptr()


def test_a_module_that_is_channels_last_already_stays_so() -> None:
    module = net().to(memory_format=torch.channels_last)
    fast, exact = both(module, pl.Saliency())
    torch.testing.assert_close(fast.values, exact.values, rtol=1e-4, atol=1e-6)
    assert module.mix.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("change", ["step", "data", "statistics"])
def test_new_weights_are_seen(change: str) -> None:
    module = net()
    model = pl.Model(module)
    before = pl.Saliency()(model, X)
    assert before.receipt.path != "plain"
    if change == "step":
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        module(X).square().sum().backward()
        optimizer.step()
    elif change == "data":
        for weight in module.parameters():
            weight.data.copy_(weight.data * 0.9)
    else:
        module.train()
        with torch.no_grad():
            module(X * 3)
    with pl.settings(exact=True):
        expected = pl.Saliency()(pl.Model(module), X)
    after = pl.Saliency()(model, X)
    assert after.receipt.path == before.receipt.path
    torch.testing.assert_close(after.values, expected.values, rtol=1e-4, atol=1e-5 * float(expected.values.abs().max()))
    torch.testing.assert_close(after.score, expected.score, rtol=1e-4, atol=1e-5)
    assert float((after.score - before.score).abs().max()) > 1e-4


def weight_normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(nn.Conv2d(3, 32, 3, padding=1))


REWRITTEN = {
    "old weight norm": weight_normed,
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 32, 3, padding=1)),
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 32, 3, padding=1)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 32, 3, padding=1)),
    "grouped": lambda: nn.Conv2d(3, 33, 3, padding=1, groups=3),
    "circular": lambda: nn.Conv2d(3, 32, 3, padding=1, padding_mode="circular"),
}


@pytest.mark.parametrize("kind", [name for name in REWRITTEN if name != "grouped"])
def test_layers_whose_weights_are_made_anew_are_left_alone(kind: str) -> None:
    module = net(Big, REWRITTEN[kind]())
    model = pl.Model(module)
    fast, exact = both(module, pl.Saliency())
    torch.testing.assert_close(fast.values, exact.values, rtol=1e-3, atol=1e-5 * float(exact.values.abs().max()))
    for weight in module.parameters():
        weight.data.mul_(1.2)
    with pl.settings(exact=True):
        exact = pl.Saliency()(pl.Model(module), X)
    torch.testing.assert_close(pl.Saliency()(model, X).score, exact.score, rtol=1e-4, atol=1e-4)


class Tricky(Big):
    """The norm does not read exactly what the convolution gave, or someone else reads it, too."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(x.relu_())
        z = self.mix(y)
        return self.head(torch.relu(self.deep(torch.relu(self.wide((self.norm2(z) + z).mean((2, 3)))))))


class Reused(Big):
    """A convolution and a norm that are called twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        for _ in range(2):
            x = torch.relu(self.norm2(self.mix(x)))
        return self.head(torch.relu(self.deep(self.wide(x.mean((2, 3))))))


@pytest.mark.parametrize("kind", [Tricky, Reused])
def test_folding_only_where_it_changes_nothing(kind: type[Big]) -> None:
    fast, exact = both(net(kind), pl.Saliency())
    torch.testing.assert_close(fast.values, exact.values, rtol=1e-3, atol=1e-5 * float(exact.values.abs().max()))


def test_a_layer_inside_a_lever_is_asked_of_the_plain_twin() -> None:
    module = net()
    for at in ("norm", "stem", "mix:input", "norm2"):
        fast, exact = both(module, pl.Saliency(), at=at)
        torch.testing.assert_close(fast.values, exact.values, rtol=1e-3, atol=1e-5 * float(exact.values.abs().max()))
    fast, exact = both(module, pl.Saliency(), target=pl.Neuron("norm", 3))
    torch.testing.assert_close(fast.values, exact.values, rtol=1e-3, atol=1e-6)
    conv = module.stem(X).detach()
    torch.testing.assert_close(pl.Saliency()(module, X, target=pl.Neuron("stem", 1)).score, conv[:, 1].mean((1, 2)))


def test_small_and_double_models_run_as_they_are() -> None:
    assert pl.Saliency()(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)), X).receipt.path == "plain"
    assert pl.Saliency()(net().double(), X).receipt.path == "plain"
    with pl.settings(exact=True):
        assert pl.Saliency()(net(), X).receipt.path == "plain"


def test_packing_is_measured_once_and_leaves_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levers, "PAYS", [])
    before = torch.get_rng_state()
    first = levers.packing_pays()
    assert levers.packing_pays() is first
    assert len(levers.PAYS) == 1
    assert torch.equal(before, torch.get_rng_state())
