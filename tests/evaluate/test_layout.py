"""Which part a place belongs to, and maps of any form summed over parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.game import Game
from pellucid.errors import ShapeError
from pellucid.evaluate.layout import Layout, features_of, halves, layout_of, map_rows


def layout(given: Any, **options: Any) -> Layout:
    ask = question(pl.Model(nn.Flatten(), **options), given, lambda outputs: outputs.sum(1), discrete=True)
    return layout_of(Game(ask, features_of(ask)))


@pytest.mark.parametrize(
    ("shape", "grid", "n"),
    [
        ((1, 8, 8), (8, 8), 64),
        ((3, 224, 224), (28, 28), 49),
        ((1, 30, 20), (28, 14), 49),
        ((2, 100), (96,), 32),
        ((2, 20), (20,), 20),
        ((1, 12, 12, 12), (12, 12, 12), 64),
        ((7,), (7,), 7),
        ((3000,), (1024,), 1024),
    ],
)
def test_parts_by_the_shape_of_the_input(shape: tuple[int, ...], grid: tuple[int, ...], n: int) -> None:
    found = layout(torch.rand(1, *shape))
    assert (found.grid, found.n) == (grid, n)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 31), (2, 100), (7,)])
def test_nothing_is_lost_on_the_way_to_parts(shape: tuple[int, ...]) -> None:
    found, values = layout(torch.rand(1, *shape)), torch.randn(shape)
    cells = found.cells(values, by_size=False)
    assert float(cells.sum()) == pytest.approx(float(values.double().sum()))
    assert float(found.parts(cells).sum()) == pytest.approx(float(values.double().sum()))


def test_cells_lie_inside_parts_as_the_game_hides_them() -> None:
    x = torch.rand(1, 1, 30, 20)
    ask = question(nn.Flatten(), x, lambda outputs: outputs.sum(1))
    game = Game(ask, features_of(ask))
    found = layout_of(game)
    for part in (0, 17, 48):
        one = torch.zeros(1, game.n, dtype=torch.bool)
        one[0, part] = True
        shown = game.players.shown(one)[0, 0].double()
        sums = found.parts(found.cells(shown, by_size=False))
        assert sums.nonzero().tolist() == [[part]]


def test_maps_of_other_forms_agree() -> None:
    found = layout(torch.rand(1, 3, 16, 16))
    row = torch.randn(3, 16, 16)
    cells = found.cells(row, by_size=False)
    assert torch.allclose(found.cells(row.sum(0), by_size=False), cells)
    assert torch.allclose(found.cells(row.movedim(0, -1), by_size=False), cells)
    assert torch.allclose(found.cells(row, by_size=True), found.cells(row.double().norm(dim=0), by_size=False))


@pytest.mark.parametrize("size", [4, 7, 64])
def test_a_coarse_or_fine_map_lands_where_it_lies(size: int) -> None:
    found = layout(torch.rand(1, 1, 28, 28))
    corner = torch.zeros(1, size, size)
    corner[0, : size // 4 + 1, : size // 4 + 1] = 1
    parts = found.parts(found.cells(corner, by_size=False)).reshape(7, 7)
    assert int(parts.argmax()) == 0
    assert float(parts[5:, 5:].abs().max()) == 0


def test_columns_of_one_hot_numbers_are_one_part() -> None:
    table = pl.Table(columns=("a", "b"), categories={"b": ("x", "y", "z")}, one_hot=("b",))
    found = layout(torch.rand(1, 4), inputs=table)
    assert found.cells(torch.tensor([1.0, 2.0, 3.0, 4.0]), by_size=False).tolist() == [1, 9]
    assert found.cells(torch.tensor([1.0, 9.0]), by_size=False).tolist() == [1, 9]
    assert found.cells(torch.tensor([1.0, -2.0, 3.0, 4.0]), by_size=True).tolist() == [1, 9]


def test_special_tokens_belong_to_no_part() -> None:
    ids = torch.tensor([[0, 5, 6, 0]])
    found = layout_of(Game(question(pl.BlackBox(lambda rows: rows.sum(1)), ids, discrete=True)))
    assert found.words == "words"
    assert found.cells(torch.tensor([9.0, 1.0, 2.0, 9.0]), by_size=False).tolist() == [1, 2]
    assert found.cells(torch.ones(4, 3), by_size=False).tolist() == [3, 3]


def test_words_keep_their_half_only_where_halves_are_long() -> None:
    assert halves(39).unique().tolist() == [0]
    assert halves(41).bincount().tolist() == [20, 21]


def test_the_batch_axis_may_be_missing_for_one_input() -> None:
    found = layout(torch.rand(1, 1, 8, 8))
    for shape in [(8, 8), (1, 8, 8), (1, 1, 8, 8), (1, 4, 4), (1, 1, 3, 5)]:
        assert len(map_rows(torch.rand(shape), found, 1)) == 1
    assert map_rows(torch.rand(4, 8, 8), found, 4).shape == (4, 8, 8)


@pytest.mark.parametrize("shape", [(1, 64), (64,), (2, 8, 8), (1, 2, 4, 4), (1, 1, 1, 8), (8,), ()])
def test_a_wrong_shape_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        map_rows(torch.rand(shape or (1,)), layout(torch.rand(1, 1, 8, 8)), 1)
