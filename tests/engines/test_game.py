"""Games: coalitions in, scores out, equal ones asked once."""

from __future__ import annotations

import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.coalitions import every
from pellucid.engines.game import Game
from pellucid.engines.walk import walked
from tests.nets import BY_NAME


def game(**options: object) -> Game:
    case = BY_NAME["mlp"]
    return Game(question(pl.Model(case.net()), case.given()), **options)


def test_scores_of_coalitions() -> None:
    case = BY_NAME["mlp"]
    net, x = case.net().eval(), case.given()
    c = net(x).argmax(1)
    found = game()(every(5))
    for z, scores in zip(every(5), found, strict=True):
        torch.testing.assert_close(scores, net(x * z)[torch.arange(3), c].detach())
    assert game().n == 5
    torch.testing.assert_close(game().full, found[-1])
    torch.testing.assert_close(game().empty, found[0])


def test_equal_coalitions_are_asked_once() -> None:
    bank = game()
    z = every(5)[[3, 7, 3, 31]]
    first = bank(z)
    asked = bank.ask.run.rows_forward
    assert torch.equal(first[0], first[2])
    assert asked == 3 + 2 * 3  # the clean rows, and two coalitions for three examples
    assert torch.equal(bank(z), first)
    assert bank.ask.run.rows_forward == asked


def test_variants_of_a_fill_are_averaged() -> None:
    data = torch.randn(4, 5, dtype=torch.float64)
    several = game(fill=pl.Marginal(data))
    assert several.cost == 4
    z = every(5)[5:6]
    expected = torch.stack([game(fill=row)(z) for row in data]).mean(0)
    torch.testing.assert_close(several(z), expected)


def test_a_game_in_any_memory() -> None:
    with pl.settings(memory=1):
        tiny = game()(every(5))
    torch.testing.assert_close(tiny, game()(every(5)))


def test_a_walk_along_any_path_adds_up() -> None:
    """A crooked way from zero to the inputs: the line integral of the slope is the change of the score."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.rand(2, 3, dtype=torch.float64)
    ask = question(pl.Model(net), x)
    powers = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    gaps = []
    for steps in (10, 40, 160):
        values = walked(ask, lambda t: x * torch.tensor(t, dtype=torch.float64) ** powers, steps)
        gaps.append(float((values.sum(1) - (ask.score - net(x * 0)[:, 0].detach())).abs().max()))
    assert gaps[2] < 1e-4
    assert gaps[0] > gaps[1] > gaps[2]
