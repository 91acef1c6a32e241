"""Guided backpropagation and the deconvolution network: exact on small nets, however a ReLU is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl


class Written(nn.Module):
    """One network, its ReLUs as modules, functions, methods or in place; one of them used twice."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.act = how, nn.ReLU(inplace=how == "in place")
        self.one, self.two, self.three = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3)

    def relu(self, x: Tensor) -> Tensor:
        if self.how == "function":
            return functional.relu(x)
        return x.relu() if self.how == "method" else self.act(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.relu(self.two(self.relu(self.one(x)))))


X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_hand(net: Written, x: np.ndarray, name: str) -> np.ndarray:
    one, two, three = (
        (part.weight.detach().numpy(), part.bias.detach().numpy()) for part in (net.one, net.two, net.three)
    )
    first = one[0] @ x + one[1]
    second = two[0] @ np.maximum(first, 0) + two[1]
    g = three[0][1]
    for z, weight in ((second, two[0]), (first, one[0])):
        g = np.maximum(g, 0) * ((z > 0) if name == "GuidedBackprop" else 1)
        g = g @ weight
    return g


@pytest.mark.parametrize("how", ["module", "in place", "function", "method"])
@pytest.mark.parametrize("name", ["GuidedBackprop", "Deconvolution"])
def test_by_hand(name: str, how: str) -> None:
    net = Written(how).double()
    values = getattr(pl, name)()(net, X, target=1).values
    for row, x in zip(values, X, strict=True):
        np.testing.assert_allclose(row, by_hand(net, x.numpy(), name), rtol=1e-10, atol=1e-14)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["GuidedBackprop", "Deconvolution"])
def test_captum_agrees_on_modules(name: str) -> None:
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    ).double()
    x = torch.randn(2, 3, 10, 10, dtype=torch.float64)
    expected = getattr(attr, name)(net).attribute(x.clone().requires_grad_(), target=1)
    torch.testing.assert_close(getattr(pl, name)()(net, x, target=1).values, expected.detach())


def test_a_network_without_relu_gets_its_gradient_and_a_note() -> None:
    net, x = nn.Sequential(nn.Linear(3, 3), nn.GELU()), torch.rand(1, 3)
    result = pl.GuidedBackprop()(net, x, target=0)
    assert "no ReLU" in result.words()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 0].sum(), x)
    torch.testing.assert_close(result.values, gradient)


def test_guided_grad_cam_is_the_product() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).double()
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    lines, places = pl.GuidedBackprop()(net, x, target=0).values, pl.GradCAM()(net, x, target=0).values
    wide = functional.interpolate(places.clamp(min=0), size=(8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(pl.GuidedGradCAM()(net, x, target=0).values, lines * wide)
