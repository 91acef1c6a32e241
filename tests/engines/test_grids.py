"""Grids: channels first and last, and tokens with and without others before them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.model import Model
from pellucid.engines.grids import Grid, Grids, proportioned, token_grid


def grids(net: nn.Module, *shape: int) -> Grids:
    model = Model(net)
    return Grids(model, model.read(torch.rand(1, *shape)))


class Patches(nn.Module):
    """Patches of 4 by 4 as tokens, merged in pairs once."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.merge, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(32, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        blocks = nn.functional.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)
        return self.head(self.merge(blocks).mean(1))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (96, (0, 8, 12)),
        (97, (1, 8, 12)),
        (101, (5, 8, 12)),
        (24, (0, 4, 6)),
        (25, (1, 4, 6)),
        (6, (0, 2, 3)),
        (50, None),
    ],
)
def test_tokens_lie_on_the_grid_of_the_patches(tokens: int, expected: tuple[int, ...] | None) -> None:
    found = grids(Patches(), 3, 32, 48)
    assert found.tokens(tokens) == expected
    assert token_grid(found.model, found.leaves, tokens) == expected


@pytest.mark.parametrize(
    ("tokens", "shape", "expected"),
    [(196, (224, 224), (0, 14, 14)), (197, (224, 224), (1, 14, 14)), (201, (224, 224), (5, 14, 14)),
     (2, (4, 4), None), (5, (4, 4), (1, 2, 2)), (32, (64, 32), (0, 8, 4)), (64, (4, 4, 4), (0, 4, 4, 4))],
)  # fmt: skip
def test_without_patches_tokens_have_the_proportions_of_the_input(
    tokens: int, shape: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    assert grids(nn.Flatten(), 1, *shape).tokens(tokens) == expected


def test_channels_stand_where_the_spaces_of_convolutions_say() -> None:
    found = grids(nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), Turned(), nn.Linear(6, 6)), 3, 32, 48)
    assert found.of((6, 8, 12)) == Grid((8, 12))
    assert found.of((8, 12, 6)) == Grid((8, 12), axis=3)
    assert found.of((4, 6, 9)) == Grid((4, 6), axis=3)
    assert found.of((12, 8, 12)) == Grid((8, 12))
    assert found.of((6, 1, 1)) is None
    assert found.of((6,)) is None
    plain = grids(nn.Conv2d(3, 6, 4, stride=4), 3, 32, 48)
    assert plain.of((8, 12, 6)) == Grid((12, 6))  # nothing in it works on channels that stand last


class Turned(nn.Module):
    """Channels to the back."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1)


@pytest.mark.parametrize("grid", [Grid((4, 5)), Grid((4, 5), axis=3), Grid((4, 5), axis=2, prefix=2, flat=True)])
def test_maps_go_back_to_where_they_came_from(grid: Grid) -> None:
    shape = (2, 22, 3) if grid.flat else (2, 3, 4, 5) if grid.axis == 1 else (2, 4, 5, 3)
    tensor = torch.rand(shape)
    maps = grid.maps(tensor)
    assert maps.shape == (2, 3, 4, 5)
    assert torch.equal(grid.back(maps, tensor), tensor)


def test_series_and_tables() -> None:
    series = grids(nn.Sequential(nn.Conv1d(2, 3, 3), Turned(), nn.LayerNorm(3)), 2, 9)
    assert series.of((3, 7)) == Grid((7,))
    assert series.of((7, 3)) == Grid((7,), axis=2)
    assert grids(nn.Linear(4, 2), 4).of((2,)) is None


def test_proportions() -> None:
    assert proportioned(0, (4, 4)) is None
    assert proportioned(1, (4, 4)) is None
