"""Superpixels: regions of like color, about as many as asked for."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.errors import OptionError, ShapeError


class Sum(nn.Module):
    """One number a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def blobs(*shape: int, seed: int = 0) -> torch.Tensor:
    """A smooth picture."""
    coarse = torch.rand(*shape[:2], 5, 5, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")


def ask(x: torch.Tensor, **options: Any) -> Any:
    return question(pl.Model(Sum(), **options), x)


needs = pytest.mark.parametrize("by", [None, "slic", "quickshift", "felzenszwalb", "grid"])


@needs
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [5, 30])
def test_about_as_many_as_asked_for(by: str | None, channels: int, n: int) -> None:
    if by != "grid":
        pytest.importorskip("skimage")
    probe = ask(blobs(1, channels, 40, 48))
    players = pl.Superpixels(n, by)(probe)
    assert n / 2 <= players.n <= 2 * n
    assert players.labels.shape == (1, 1, 40, 48)
    assert players.labels.unique().tolist() == list(range(players.n))
    assert players.names[-1] == f"segment {players.n - 1}"
    assert players.notes == ()
    assert torch.equal(players.labels, pl.Superpixels(n, by)(probe).labels)
    hidden = ~players.shown(torch.arange(players.n)[None] != 2)[0, 0, 0]
    assert torch.equal(hidden, players.labels[0, 0] == 2)


@needs
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (16, 16)])
def test_small_and_flat_pictures_have_at_least_one(by: str | None, shape: tuple[int, int]) -> None:
    if by != "grid":
        pytest.importorskip("skimage")
    for n in (1, 7):
        players = pl.Superpixels(n, by)(ask(torch.full((1, 3, *shape), 0.3)))
        assert 1 <= players.n <= shape[0] * shape[1]
        assert players.labels.unique().tolist() == list(range(players.n))


@pytest.mark.parametrize("by", ["slic", "quickshift", "felzenszwalb"])
def test_superpixels_follow_colors_as_people_see_them(by: str) -> None:
    """Two halves that differ in color only, behind a strong normalization."""
    pytest.importorskip("skimage")
    pixels = torch.zeros(1, 3, 24, 24)
    pixels[:, 0, :, :10], pixels[:, 1, :, 10:] = 0.8, 0.8
    images = pl.Images(mean=(0.5, 0.2, 0.1), std=(0.01, 0.1, 2.0))
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (images.mean, images.std))
    labels = pl.Superpixels(4, by)(ask((pixels - mean) / std, inputs=images)).labels[0, 0]
    assert not set(labels[:, :9].unique().tolist()) & set(labels[:, 11:].unique().tolist())


def test_a_grid_is_exact() -> None:
    labels = pl.Superpixels(8, "grid")(ask(torch.rand(1, 1, 8, 16))).labels[0, 0]
    assert torch.equal(labels, torch.arange(8).reshape(2, 4).repeat_interleave(4, 0).repeat_interleave(4, 1))


def test_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    x = blobs(2, 1, 16, 16)
    found = pl.KernelSHAP(features=pl.Superpixels(4))(Sum(), x)
    assert any("pellucid[segments]" in note for note in found.notes)
    torch.testing.assert_close(found.values.flatten(1).sum(1), x.flatten(1).sum(1))
    with pytest.raises(OptionError, match=r"pellucid\[segments\]"):
        pl.KernelSHAP(features=pl.Superpixels(4, "slic"))(Sum(), x)


def test_every_picture_has_its_own() -> None:
    pytest.importorskip("skimage")
    x = torch.cat([blobs(1, 3, 24, 24, seed=i) for i in range(2)])
    net = nn.Sequential(nn.Flatten(), nn.Linear(1728, 1))
    found = pl.Ablation(features=pl.Superpixels(6), fill=0)(net, x)
    for i in range(2):
        players = pl.Superpixels(6)(ask(x[i : i + 1]))
        weighed = (net[1].weight[0].detach() * x[i].flatten()).reshape(3, -1).sum(0)
        exact = torch.zeros(players.n).index_add(0, players.labels.flatten(), weighed)
        torch.testing.assert_close(found.extra["players"][i][0], exact, atol=1e-5, rtol=1e-4)
        assert found.extra["names"][i] == players.names


@pytest.mark.parametrize(
    ("features", "shape", "kind"),
    [
        (pl.Superpixels(0), (1, 3, 8, 8), OptionError),
        (pl.Superpixels(2.5), (1, 3, 8, 8), OptionError),
        (pl.Superpixels(True), (1, 3, 8, 8), OptionError),
        (pl.Superpixels(by="watershed"), (1, 3, 8, 8), OptionError),
        (pl.Superpixels(compactness=0), (1, 3, 8, 8), OptionError),
        (pl.Superpixels(), (1, 2, 8, 8), ShapeError),
        (pl.Superpixels(), (1, 8), ShapeError),
        (pl.Superpixels(), (1, 3, 8), ShapeError),
        (pl.Superpixels(by="grid"), (1, 1, 3, 8, 8), ShapeError),
    ],
    ids=str,
)
def test_what_does_not_fit(features: Any, shape: tuple[int, ...], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        pl.Ablation(features=features)(Sum(), torch.rand(*shape))
    error: Any = caught.value
    assert error.do


def test_hidden_layers_and_several_pictures_at_once() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 1))
    with pytest.raises(ShapeError):
        pl.Ablation(features=pl.Superpixels())(net, torch.rand(1, 1, 8, 8), at="0")
    with pytest.raises(ShapeError):
        pl.Superpixels()(ask(torch.rand(2, 3, 8, 8)))
