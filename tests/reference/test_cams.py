"""The family of class activation maps against loops in NumPy, exact heads, and networks of every layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.errors import LayerError, OptionError, ShapeError, TargetError
from tests.reference.plain import close
from tests.reference.test_maps import PICTURES, flat, pooled

FAMILY = [
    "GradCAM",
    "GradCAMPlusPlus",
    "XGradCAM",
    "HiResCAM",
    "LayerCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FEM",
    "ScoreCAM",
    "AblationCAM",
]


def parts(net: nn.Sequential, upto: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[Tensor], Tensor]]:
    """Maps, the slopes of the highest class's score by them, its index, and what comes after."""
    maps = net[:upto](PICTURES).detach().requires_grad_()
    scores = net[upto:](maps)
    c = scores.argmax(1)
    (slope,) = torch.autograd.grad(scores.gather(1, c[:, None]).sum(), maps)
    return maps.detach().numpy(), slope.numpy(), c.numpy(), net[upto:]


def plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Equations 5 and 19 of Chattopadhyay et al., element by element."""
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        weight = 0.0
        for p in np.ndindex(*a.shape[1:]):
            below = 2 * g[k][p] ** 2 + a[k].sum() * g[k][p] ** 3
            alpha = g[k][p] ** 2 / below if below else 0.0
            weight += alpha * max(g[k][p], 0)
        total += weight * a[k]
    return total


def x_grad(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Equation 8 of Fu et al.; a channel that is never active counts nothing."""
    active = [k for k in range(len(a)) if a[k].any()]
    return sum(a[k] * sum(g[k][p] * a[k][p] / a[k].sum() for p in np.ndindex(*a.shape[1:])) for k in active)


def eigen(a: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """The projection on the first right singular vector, by the eigenvectors of the covariance about zero."""
    flat = a.reshape(len(a), -1).T
    _, vectors = np.linalg.eigh(flat.T @ flat)
    found = flat @ vectors[:, -1]
    return (found * np.sign(found @ toward.ravel())).reshape(a.shape[1:])


def fem(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The k-sigma rule with two standard deviations."""
    return sum(channel.mean() * (channel > channel.mean() + 2 * channel.std()) for channel in a)


REFERENCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "GradCAM": lambda a, g: sum(g[k].mean() * a[k] for k in range(len(a))),
    "GradCAMPlusPlus": plus_plus,
    "XGradCAM": x_grad,
    "HiResCAM": lambda a, g: (g * a).sum(0),
    "LayerCAM": lambda a, g: (np.maximum(g, 0) * a).sum(0),
    "EigenCAM": lambda a, g: eigen(a, sum(g[k].mean() * a[k] for k in range(len(a)))),
    "EigenGradCAM": lambda a, g: eigen(a * g, (a * g).sum(0)),
    "FEM": fem,
}


@pytest.mark.parametrize("layer", ["1", "3"])
@pytest.mark.parametrize("name", REFERENCES)
def test_maps_from_slopes_are_those_of_the_papers(name: str, layer: str) -> None:
    """Layer 1 is rectified, layer 3 has activations of both signs."""
    net = flat()
    a, g, _, _ = parts(net, int(layer) + 1)
    expected = [[REFERENCES[name](a[row], g[row])] for row in range(2)]
    result = getattr(pl, name)(layer=layer)(net, PICTURES)
    close(result.values, np.array(expected), 1e-9)
    close(getattr(pl, name)()(net, PICTURES, at=layer).values, np.array(expected), 1e-9)


def score_cam(a: np.ndarray, x: Tensor, score: Callable[[Tensor], float], weighting: str) -> np.ndarray:
    """Algorithm 1 of Wang et al., a channel at a time; zeros where the mask hides."""
    rise = []
    for channel in a:
        grown = F.interpolate(torch.tensor(channel)[None, None], size=x.shape[1:], mode="bilinear")[0, 0]
        mask = (grown - grown.min()) / ((grown.max() - grown.min()) or 1.0)
        rise.append(score(x * mask) - score(torch.zeros_like(x)))
    weights = np.exp(rise) / np.exp(rise).sum() if weighting == "softmax" else np.array(rise)
    return sum(w * channel for w, channel in zip(weights, a, strict=True))


@pytest.mark.parametrize("weighting", ["softmax", "increase"])
def test_score_cam(weighting: str) -> None:
    net = flat()
    a, _, c, _ = parts(net, 2)
    expected = [
        [score_cam(a[row], PICTURES[row], lambda x, row=row: net(x[None])[0, c[row]].item(), weighting)]
        for row in range(2)
    ]
    close(pl.ScoreCAM(layer="1", weighting=weighting)(net, PICTURES).values, np.array(expected), 1e-9)


def test_score_cam_sees_its_baseline() -> None:
    """A mask hides by what the baseline says; behind a mask of ones nothing is hidden."""
    net = pooled()
    one = pl.ScoreCAM(weighting="increase")(net, PICTURES).values
    other = pl.ScoreCAM(weighting="increase", baseline=0.5)(net, PICTURES).values
    assert float((one - other).abs().max()) > 1e-6


@pytest.mark.parametrize("layer", ["1", "3"])
def test_ablation_cam(layer: str) -> None:
    """Equation 3 of Desai & Ramaswamy without the division, a channel at a time."""
    net = flat()
    a, _, c, head = parts(net, int(layer) + 1)
    expected = np.zeros((2, 1, *a.shape[2:]))
    for row in range(2):
        for k in range(a.shape[1]):
            less = a[row].copy()
            less[k] = 0
            both = head(torch.tensor(np.stack([a[row], less])))[:, c[row]].detach().numpy()
            expected[row, 0] += (both[0] - both[1]) * a[row, k]
    close(pl.AblationCAM(layer=layer)(net, PICTURES).values, expected, 1e-9)


def test_on_average_pool_and_a_linear_layer_they_agree() -> None:
    """Oracle 18: CAM = Grad-CAM = HiResCAM = XGrad-CAM; LayerCAM and the weights of Ablation-CAM in closed form."""
    net = pooled()
    maps, c = net[:4](PICTURES).detach(), net(PICTURES).argmax(1)
    weight = net[6].weight.detach()[c][:, :, None, None]
    cam = (weight * maps).sum(1, keepdim=True) / 16
    for name in ("CAM", "GradCAM", "HiResCAM", "XGradCAM"):
        close(getattr(pl, name)()(net, PICTURES).values, cam, 1e-10)
    close(pl.LayerCAM()(net, PICTURES).values, (weight.clamp(min=0) * maps).sum(1, keepdim=True) / 16, 1e-10)
    mean = maps.mean((2, 3), keepdim=True)
    close(pl.AblationCAM()(net, PICTURES).values, (weight * mean * maps).sum(1, keepdim=True), 1e-9)


def test_eigen_cam_of_one_pattern_is_the_pattern() -> None:
    """Oracle 19: maps of rank one, u vᵀ, give u |v|, with the sign that speaks for the target."""
    pattern = torch.rand(1, 1, 5, 5, dtype=torch.float64) + 0.1
    amounts = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    net = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(amounts[:, None, None, None])
        net[3].weight.copy_(torch.stack([amounts, -amounts]))
    for target, sign in ((0, 1), (1, -1)):
        found = pl.EigenCAM(layer="0")(net, pattern, target=target).values
        close(found, sign * pattern * amounts.norm(), 1e-10)
        found = pl.EigenGradCAM(layer="0")(net, pattern, target=target).values
        close(found, sign * pattern * (amounts**2).norm() / 25, 1e-10)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_x_grad_cam_keeps_what_channels_contribute(seed: int) -> None:
    """A map of XGrad-CAM sums to activations times slopes, as that of HiResCAM does."""
    net = flat(seed)
    one, other = (method(layer="1")(net, PICTURES).values.sum((1, 2, 3)) for method in (pl.XGradCAM, pl.HiResCAM))
    close(one, other, 1e-9)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("rank", [1, 3])
def test_series_and_volumes(name: str, rank: int) -> None:
    """A spot planted in one place is found there, along one axis or three."""
    conv, pool = {1: (nn.Conv1d, nn.AdaptiveAvgPool1d), 3: (nn.Conv3d, nn.AdaptiveAvgPool3d)}[rank]
    torch.manual_seed(0)
    net = nn.Sequential(conv(1, 3, 3, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        net[0].weight.abs_()
        net[0].bias.zero_()
        net[4].weight[0].abs_()
        net[4].weight[1].fill_(-0.1)
    side = 9 if rank == 1 else 6
    x = torch.zeros(2, 1, *[side] * rank, dtype=torch.float64)
    x[(slice(None), 0, *[2] * rank)] = 1.0
    result = getattr(pl, name)()(net, x, target=0)
    assert result.values.shape == (2, 1, *[side] * rank)
    where = np.unravel_index(int(result.values[0, 0].argmax()), [side] * rank)
    assert all(1 <= each <= 3 for each in where)
    close(result.values[0], result.values[1])


class Last(nn.Module):
    """Works with channels last, as Swin transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(2, 6, 2, stride=2)
        self.mix = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.tanh(self.mix(self.patch(x).permute(0, 2, 3, 1))))
        return self.head(torch.tanh(x).mean((1, 2)))


@pytest.mark.parametrize("name", FAMILY)
def test_channels_that_stand_last_are_found(name: str) -> None:
    """The same maps as with the channels moved to the front by hand."""
    torch.manual_seed(0)
    net = Last().double()
    x = torch.rand(2, 2, 8, 12, dtype=torch.float64)
    result = getattr(pl, name)()(net, x)
    assert result.extra["layer"] == "norm"
    front = nn.Sequential(Front(net), Head(net))
    other = getattr(pl, name)(layer="0")(front, x)
    assert result.values.shape == (2, 1, 4, 6)
    close(result.values, other.values, 1e-9)


class Front(nn.Module):
    """The body of ``Last``, its channels moved to the front."""

    def __init__(self, net: Last) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        x = self.net.patch(x).permute(0, 2, 3, 1)
        return self.net.norm(torch.tanh(self.net.mix(x))).permute(0, 3, 1, 2)


class Head(nn.Module):
    """The rest of ``Last``."""

    def __init__(self, net: Last) -> None:
        super().__init__()
        self.head = net.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x).mean((2, 3)))


def hugging_face(kind: str) -> tuple[nn.Module, Tensor, tuple[int, int]]:
    """A transformer of two blocks on pictures that are no squares, and its last grid."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "ViT":
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=(24, 32),
            patch_size=4, num_labels=3,
        )  # fmt: skip
        return transformers.ViTForImageClassification(config), torch.rand(1, 3, 24, 32), (6, 8)
    config = transformers.SwinConfig(
        image_size=(32, 64), patch_size=4, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4, num_labels=3
    )
    return transformers.SwinForImageClassification(config), torch.rand(1, 3, 32, 64), (4, 8)


@pytest.mark.parametrize("kind", ["ViT", "Swin"])
def test_token_grids_of_transformers_are_found(kind: str) -> None:
    net, x, grid = hugging_face(kind)
    model = pl.Model(net, inputs=pl.Images())
    for name in FAMILY:
        result = getattr(pl, name)()(model, x)
        assert result.values.shape == (1, 1, *grid), name
        assert float(result.values.abs().max()) > 0, name


def test_several_layers_are_fused_on_one_scale() -> None:
    net = pooled()
    one, other = (pl.GradCAM(layer=layer)(net, PICTURES).values for layer in ("1", "3"))
    one, other = (each / each.abs().amax((1, 2, 3), keepdim=True) for each in (one, other))
    result = pl.GradCAM(layer=("3", "1"))(net, PICTURES)
    close(result.values, (one + F.interpolate(other, size=(6, 6), mode="bilinear")) / 2, 1e-10)
    assert result.extra["layer"] == "3, 1"
    assert result.receipt.rows_forward == 2
    with pytest.raises(OptionError):
        pl.GradCAM(layer=())


def test_a_layer_that_the_score_does_not_depend_on_gets_zeros() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.head = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.head(self.used(x).mean((2, 3)) + 0 * self.unused(x).mean((2, 3))), x

    net = Aside().double()
    for name in FAMILY:
        assert not getattr(pl, name)(layer="unused")(net, PICTURES).values.any(), name
        assert getattr(pl, name)()(net, PICTURES).extra["layer"] == "used"


@pytest.mark.parametrize("name", FAMILY)
def test_a_layer_without_a_map_is_refused_and_others_named(name: str) -> None:
    for layer in ("6", "4"):
        with pytest.raises(ShapeError) as caught:
            getattr(pl, name)(layer=layer)(pooled(), PICTURES)
        assert caught.value.do == "Layers that fit: 3, 2, 1, 0."
    with pytest.raises(LayerError):
        getattr(pl, name)()(pl.BlackBox(lambda x: np.ones((len(x), 2))), PICTURES)


# ---------------------------------------------------------------------------------------------------- detections


class Detector(nn.Module):
    """Answers two boxes a picture, as torchvision's detectors do: a dict a row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 4.0, 8.0, 8.0]]).to(x)
        maps = torch.tanh(self.conv(x))
        left, right = (torch.sigmoid(self.head(each.mean((2, 3)))) for each in (maps[..., :4, :4], maps[..., 4:, 4:]))
        scores = torch.stack([left[:, 0], right[:, 1]], 1)
        return [{"boxes": boxes, "labels": torch.tensor([7, 9]), "scores": each} for each in scores]


def test_a_box_is_explained_where_it_lies() -> None:
    """Score plus overlap of the detection on the box; only places inside of it count."""
    torch.manual_seed(0)
    net = Detector().double()
    found = net(PICTURES)
    result = pl.HiResCAM(layer="conv")(net, PICTURES, target=pl.Box((4, 4, 8, 7)))
    close(result.score, torch.stack([each["scores"][1] + 0.75 for each in found]).detach())
    assert not result.values[:, :, :4].any()
    assert not result.values[..., :4].any()
    assert bool(result.values[:, :, 4:, 4:].all())
    assert "class 9" in result.target_words()
    both = pl.HiResCAM(layer="conv")(net, PICTURES, target=pl.Box((4, 4, 8, 7)) + pl.Box((0, 0, 4, 4)))
    close(both.values[:, :, 4:, 4:], result.values[:, :, 4:, 4:])
    assert bool(both.values[:, :, :4, :4].all())


@pytest.mark.parametrize("target", [pl.Box((4, 4, 8, 8), which=7), pl.Box((2, 2, 6, 6)), pl.Box((8, 8, 9, 9), 3)])
def test_a_box_without_a_detection_scores_nothing(target: pl.Box) -> None:
    result = pl.Saliency()(Detector().double(), PICTURES, target=target)
    assert not result.score.any()
    assert not result.values.any()


def test_boxes_refuse_what_is_none() -> None:
    with pytest.raises(TargetError):
        pl.Saliency()(Detector().double(), PICTURES, target=pl.Box((4, 4, 2, 8)))
    with pytest.raises(TargetError) as caught:
        pl.Saliency()(pooled(), PICTURES, target=pl.Box((0, 0, 4, 4)))
    assert "Region" in caught.value.do


def test_a_mask_of_a_segmentation_is_a_target() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Tanh(), nn.Conv2d(4, 3, 1)).double()
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5:] = True
    for name in FAMILY:
        values = getattr(pl, name)(layer="1")(net, PICTURES, target=pl.Region(mask, 1)).values
        assert values.shape == (2, 1, 8, 8)
    inside = pl.HiResCAM(layer="1")(net, PICTURES, target=pl.Region(mask, 1)).values[:, 0]
    assert torch.equal(inside != 0, mask.expand(2, 8, 8))
