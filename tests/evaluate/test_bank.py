"""The mask bank: what it asks, what it keeps, and when it says that nothing can be tested."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.game import Game
from pellucid.evaluate.bank import Bank, bank_of, hidings
from tests.evaluate.planted import linear, spots


def bank(model: Any, inputs: Tensor, target: Any = None, fill: Any = 0.0, count: int = 128) -> Bank:
    game = Game(question(model, inputs, target), None, fill)
    return bank_of(game, hidings(game.n, count, 0))


def test_masks_hide_four_shares_and_follow_the_seed() -> None:
    hidden = hidings(49, 128, 0)
    assert hidden.sum(1)[:8].tolist() == [6, 12, 18, 24] * 2
    assert torch.equal(hidden, hidings(49, 128, 0))
    assert not torch.equal(hidden, hidings(49, 128, 1))
    assert torch.equal(hidden[:64], hidings(49, 64, 0))


def test_few_parts_are_hidden_in_every_way() -> None:
    hidden = hidings(5, 128, 0)
    assert len(torch.unique(hidden, dim=0)) == len(hidden) == 30


def test_drops_are_those_of_the_model() -> None:
    net, x, values = linear()
    found = bank(net, x)
    wanted = (found.hidden.double() * values).sum(1)
    assert torch.allclose(found.drops, wanted)
    assert found.full == pytest.approx(float(net(x).detach()))
    assert found.empty == pytest.approx(float(net.bias.detach()))
    assert found.rows == 130


def test_agreement_ranks_exact_above_noisy_above_random_above_negated() -> None:
    net, x, values = linear(30)
    found, noise = bank(net, x), torch.randn(30, dtype=torch.float64) * values.std()
    maps = torch.cat([values, values + 0.5 * noise, values + 2 * noise, noise[None], -values])
    agreement = found.agreement(maps)
    assert (agreement.diff() < 0).all()
    assert float(agreement[0]) == pytest.approx(1)
    assert float(agreement[-1]) == pytest.approx(-1)


def test_how_much_is_hidden_does_not_count() -> None:
    """A map that is the same everywhere foretells that hiding more changes more, and nothing else."""
    net, x, values = linear()
    assert float(bank(net, x.abs()).agreement(torch.ones(12).double())) == 0
    assert float(bank(net, x).agreement(values[0] + 100)) == pytest.approx(1)


def test_memory_does_not_change_the_bank() -> None:
    model, pictures = spots()
    found = []
    for memory in ("100 kB", "500 MB"):
        with pl.settings(memory=memory):
            found.append(bank(model, pictures[:1]))
    assert torch.allclose(found[0].drops, found[1].drops, atol=found[0].noise)


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.prod(1, keepdim=True)


def sure(x: Tensor) -> Tensor:
    p = torch.sigmoid(x.sum(1, keepdim=True) + 40)
    return torch.cat([1 - p, p], 1)


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        (nn.Linear(1, 1), torch.ones(1, 1), "only one part"),
        (nn.Linear(6, 1), torch.zeros(1, 6), "does not change the answer"),
        (pl.BlackBox(lambda rows: rows[:, 0] * 0 + 2), torch.ones(1, 6), "does not change the answer"),
        (pl.BlackBox(lambda rows: rows.sum(1)), torch.tensor([[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]]), "no difference"),
        (pl.BlackBox(lambda rows: rows.sum(1)), torch.ones(1, 6), "no difference which parts"),
        (pl.BlackBox(lambda rows: sure(torch.tensor(rows)).numpy()), torch.ones(1, 6), "saturated"),
    ],
)
def test_where_nothing_can_be_tested_it_says_why(model: Any, inputs: Tensor, words: str) -> None:
    assert words in str(bank(model, inputs).silent)


def test_an_ordinary_input_can_be_tested() -> None:
    net, x, _ = linear()
    assert bank(net, x).silent is None
    assert bank(Product(), torch.full((1, 6), 2.0), fill=1.0).silent is not None
    assert bank(Product(), torch.tensor([[2.0, 1.5, 3.0, 0.5, 1.2, 4.0]]), fill=1.0).silent is None
