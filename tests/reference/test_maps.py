"""CAM, GradCAM and FullGrad against explicit heads and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import LayerError, ShapeError
from tests.reference.plain import close


def pooled(seed: int = 0) -> nn.Sequential:
    """Convolutions, global average pooling, one linear layer."""
    torch.manual_seed(seed)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), *head).double()


def flat(seed: int = 0) -> nn.Sequential:
    """Convolutions, then a linear layer on every place by itself."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)
    ).double()


PICTURES = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_cam_is_the_class_weight_times_the_map() -> None:
    """Equation 2 of Zhou et al.; oracle 18: the map sums to the logit less its bias."""
    net = pooled()
    maps = net[:4](PICTURES)
    c = net(PICTURES).argmax(1)
    expected = torch.stack(
        [(net[6].weight[k][:, None, None] * m).sum(0, keepdim=True) for k, m in zip(c, maps, strict=True)]
    )
    result = pl.CAM()(net, PICTURES)
    close(result.values, expected.detach() / 16)
    close(result.values.sum((1, 2, 3)), (result.score - net[6].bias[c]).detach())
    assert result.extra["layer"] == "3"


def test_grad_cam_on_such_a_head_is_cam() -> None:
    """Oracle 18, up to the number of places: the mean of equal slopes is each of them."""
    net = pooled()
    close(pl.GradCAM()(net, PICTURES).values, pl.CAM()(net, PICTURES).values, 1e-10)
    close(pl.GradCAM()(net, PICTURES, target=2).values, pl.CAM()(net, PICTURES, target=2).values, 1e-10)


@pytest.mark.parametrize("layer", ["1", "2", "3"])
def test_grad_cam(layer: str) -> None:
    """Equations 1 and 2 of Selvaraju et al. without the ReLU, the head differentiated by torch."""
    net = flat()
    upto = int(layer) + 1
    maps = net[:upto](PICTURES).detach().requires_grad_()
    score = net[upto:](maps).max(1).values
    (slope,) = torch.autograd.grad(score.sum(), maps)
    expected = torch.zeros(2, 1, *maps.shape[2:], dtype=torch.float64)
    for row in range(2):
        for k in range(maps.shape[1]):
            expected[row, 0] += slope[row, k].mean() * maps[row, k].detach()
    close(pl.GradCAM(layer=layer)(net, PICTURES).values, expected)
    close(pl.GradCAM()(net, PICTURES, at=layer).values, expected)


def test_cam_refuses_other_heads() -> None:
    with pytest.raises(LayerError) as caught:
        pl.CAM()(flat(), PICTURES)
    assert "GradCAM" in caught.value.do
    with pytest.raises(LayerError):
        pl.CAM()(nn.Sequential(pooled(), nn.Tanh()), PICTURES)


def test_cams_name_the_layers_that_fit() -> None:
    net = pooled()
    with pytest.raises(ShapeError) as caught:
        pl.GradCAM(layer="6")(net, PICTURES)
    assert "3" in caught.value.do
    assert "(2, 3)" in caught.value.got
    with pytest.raises(LayerError):
        pl.GradCAM()(nn.Sequential(nn.Flatten(), nn.Linear(128, 2)).double(), PICTURES)


class Vit(nn.Module):
    """Patches, a class token, one mixing layer over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 5, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 5))
        self.mix = nn.Linear(17, 17)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head(torch.tanh(self.norm(self.mix(x.transpose(1, 2)).transpose(1, 2))).mean(1))


def test_grad_cam_reads_the_tokens_of_a_transformer_as_a_map() -> None:
    torch.manual_seed(0)
    net = Vit().double()
    result = pl.GradCAM()(net, PICTURES)
    assert result.values.shape == (2, 1, 4, 4)
    assert result.extra["layer"] == "norm"
    kept: list[Tensor] = []
    handle = net.norm.register_forward_hook(lambda part, args, out: kept.append(out.requires_grad_()))
    score = net(PICTURES).max(1).values
    handle.remove()
    slope = torch.autograd.grad(score.sum(), kept[0])[0][:, 1:]
    expected = (slope.mean(1, keepdim=True) * kept[0][:, 1:]).sum(2).reshape(2, 1, 4, 4).detach()
    close(result.values, expected)


def full_gradient(net: nn.Sequential, x: np.ndarray, c: int) -> np.ndarray:
    """Conv1d (padded by one) → ReLU → Flatten → Linear, by hand: input times slope, and every bias times its slope."""
    weight, bias = (each.detach().numpy() for each in (net[0].weight, net[0].bias))
    head, last = (each.detach().numpy() for each in (net[3].weight, net[3].bias))
    channels, n = x.shape
    padded = np.pad(x, ((0, 0), (1, 1)))
    before = np.zeros((len(bias), n))
    for o in range(len(bias)):
        for t in range(n):
            before[o, t] = bias[o] + (weight[o] * padded[:, t : t + 3]).sum()
    slope_before = head[c].reshape(len(bias), n) * (before > 0)
    slope = np.zeros((channels, n + 2))
    for o in range(len(bias)):
        for t in range(n):
            slope[:, t : t + 3] += slope_before[o, t] * weight[o]
    by_input = (x * slope[:, 1:-1]).sum(0)
    by_bias = (slope_before * bias[:, None]).sum(0)
    return by_input + by_bias + last[c] / n


def test_full_grad() -> None:
    """Equation 3 of Srinivas & Fleuret, with sizes kept so that nothing is resized."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)).double()
    x = torch.randn(3, 2, 6, dtype=torch.float64)
    result = pl.FullGrad()(net, x, target=1)
    close(result.values[:, 0], [full_gradient(net, each.numpy(), 1) for each in x])
    close(result.values.sum((1, 2)), result.score, 1e-12)


def test_full_grad_counts_every_call_of_a_layer_and_folds_batch_norm() -> None:
    """Complete with a reused layer, strides and a norm; the parts of smaller maps are resized and keep their sum."""
    torch.manual_seed(2)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(2, 4, 3, stride=2)
            self.norm = nn.BatchNorm2d(4)
            self.mix = nn.Conv2d(4, 4, 1)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.norm(self.stem(x)))
            x = torch.relu(self.mix(torch.relu(self.mix(x))))
            return self.head(x.amax((2, 3)))

    net = Twice().double()
    with torch.no_grad():
        net.norm.running_mean.uniform_(-1, 1)
        net.norm.running_var.uniform_(0.5, 2)
        net.norm.weight.uniform_(0.5, 2)
        net.norm.bias.uniform_(-1, 1)
    result = pl.FullGrad()(net, PICTURES)
    assert result.values.shape == (2, 1, 8, 8)
    close(result.values.sum((1, 2, 3)), result.score, 1e-10)
    assert float(result.gap.max()) < 1e-9


def test_full_grad_needs_biases() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2, bias=False)).double()
    with pytest.raises(LayerError) as caught:
        pl.FullGrad()(net, PICTURES)
    assert "InputXGradient" in caught.value.do
