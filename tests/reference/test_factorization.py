"""Deep feature factorization: planted patterns, tokens, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import InputError, OptionError, ShapeError
from tests.reference.plain import close
from tests.reference.test_maps import PICTURES, Vit, pooled


def planted() -> tuple[nn.Module, Tensor]:
    """Pictures of two channels that pass through as they are mixed: two patterns apart, in six channels."""
    torch.manual_seed(0)
    net: Any = nn.Sequential(nn.Conv2d(2, 6, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2)).double()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[:3, 0, 0, 0] = torch.tensor([3.0, 2.0, 1.0])
        net[0].weight[3:, 1, 0, 0] = torch.tensor([1.0, 1.0, 1.0])
    x = torch.zeros(3, 2, 4, 4, dtype=torch.float64)
    x[:, 0, :2], x[:, 1, 2:] = torch.rand(3, 2, 4), torch.rand(3, 2, 4)
    return net, x


def test_factorization_finds_planted_patterns() -> None:
    """Maps, directions and effects of two patterns that share neither places nor channels."""
    net, x = planted()
    found = pl.DeepFeatureFactorization(concepts=2)(net, x)
    lengths = (14**0.5, 3**0.5)
    assert found.explained > 1 - 1e-6
    close(found.maps, torch.stack([x[:, i] * length for i, length in enumerate(lengths)], 1), 1e-3)
    expected = torch.tensor([[3.0, 2.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    close(found.directions, expected / expected.norm(dim=1, keepdim=True), 1e-3)
    scores = net(x)
    c = scores.argmax(1, keepdim=True)
    for i in range(2):
        less = x.clone()
        less[:, i] = 0
        close(found.effects[:, i], (scores - net(less)).gather(1, c)[:, 0].detach(), 1e-2)
    assert "2 patterns of 1" in repr(found)
    assert len(found.figure(1).figures) == 2
    assert "pattern 1" in found._repr_html_()


def test_factorization_of_tokens_and_its_errors() -> None:
    torch.manual_seed(0)
    found = pl.DeepFeatureFactorization(concepts=3)(Vit().double(), PICTURES)
    assert found.maps.shape == (2, 3, 4, 4)
    assert found.directions.shape == (3, 5)
    assert "negative" in found.notes[0]
    with pytest.raises(OptionError):
        pl.DeepFeatureFactorization(concepts=7)(*planted())
    with pytest.raises(ShapeError):
        pl.DeepFeatureFactorization(layer="6")(pooled(), PICTURES)
    with pytest.raises(InputError):
        found.figure(2)
