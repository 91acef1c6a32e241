"""Gradient ascent: many goals at once as each alone, exact answers, and every way of ending early."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.run import Run, current_settings
from pellucid.engines.ascend import Ascent, Climb, Goals, in_groups
from pellucid.engines.canvas import Fourier, Ground, Pixels
from pellucid.engines.visit import LOGITS, visit
from pellucid.errors import GradientError, LayerError, TargetError


class Small(nn.Module):
    """Two convolutions with in-place activations, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 5, 3)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(5, 3)
        self.calls = 0

    def forward(self, x):
        x = self.act(self.second(self.act(self.first(x))))
        self.calls += 1
        return self.head(x.mean((2, 3)))


def climb_of(module, shape=(2, 6, 6), canvas=None, rank=2, **options):
    model = pl.Model(module)
    low = torch.tensor(-1.0, dtype=model.dtype).reshape([1] * len(shape))
    ground = Ground(shape, low, -low, rank)
    leaves = model.read(torch.zeros(1, *shape, dtype=model.dtype))
    run = Run(current_settings(), model.device)
    return Climb(model, leaves, (canvas or Fourier()).on(ground), run, **({"steps": 20} | options))


def climbed(climb, *targets) -> Ascent:
    numbers = torch.zeros(len(targets), dtype=torch.long)
    return climb(climb.bound(targets, numbers), numbers)


TARGETS = (
    pl.Class(1),
    pl.Neuron("second", channel=2),
    0.5 * pl.Neuron("first", channel=1) - 2.0 * pl.Class(0),
    pl.Neuron("act@2", channel=0, position=(1, 1)),
    pl.MeanSquare("first"),
    pl.Probability(2),
)


def test_goals_at_many_layers_climb_as_each_alone():
    climb = climb_of(Small().double())
    together = climbed(climb, *TARGETS)
    for row, target in enumerate(TARGETS):
        alone = climbed(climb, target)
        assert torch.allclose(together.painted[row], alone.painted[0], atol=1e-8)
        assert torch.allclose(together.path[:, row], alone.path[:, 0], atol=1e-8)


def test_scores_are_those_of_the_model():
    module = Small().double()
    found = climbed(climb_of(module), *TARGETS[:3])
    module.act = nn.ReLU()
    x = found.painted
    first = module.first(x)
    second, answer = module.second(first.relu()), module(x)
    wanted = torch.stack([answer[0, 1], second[1, 2].mean(), 0.5 * first[2, 1].mean() - 2 * answer[2, 0]])
    assert torch.allclose(found.score, wanted)
    assert bool((found.score > found.path[0]).all())


def test_an_ascent_ends_at_the_last_layer_needed():
    climb = climb_of(Small())
    before = climb.model.module.calls
    climbed(climb, pl.Neuron("second", channel=1))
    assert climb.model.module.calls == before


def test_each_step_is_one_pass_there_and_back():
    climb = climb_of(Small(), steps=7)
    climbed(climb, *TARGETS)
    assert (climb.run.rows_forward, climb.run.rows_backward) == (42, 42)


def test_a_unit_that_does_not_exist_is_refused_before_climbing():
    climb = climb_of(Small())
    with pytest.raises(TargetError, match="channel of 'second', 0 … 4"):
        climb.bound([pl.Neuron("second", channel=5)], torch.tensor([0]))
    with pytest.raises(LayerError, match="third"):
        climb.bound([pl.Neuron("third", channel=0)], torch.tensor([0]))
    assert climb.run.rows_backward == 0


class Detached(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)


def test_a_target_without_a_way_back_is_an_error():
    with pytest.raises(GradientError, match="slope"):
        climbed(climb_of(Detached()), pl.Output(0))


class Hole(nn.Module):
    """Infinitely steep, then NaN, when the second number is above a half."""

    def forward(self, x):
        x = x.flatten(1)
        return torch.stack([x[:, 0], (0.5 - x[:, 1]).sqrt() * 0 + x[:, 1]], 1)


def test_a_row_whose_slope_is_not_finite_ends_with_its_last_good_input_and_the_others_go_on():
    climb = climb_of(Hole().double(), shape=(4,), canvas=Pixels(), rank=0, steps=60)
    found = climbed(climb, pl.Output(1), pl.Output(0))
    assert list(found.ended) == [0]
    assert bool(torch.isfinite(found.painted).all() & torch.isfinite(found.score).all())
    assert 0.3 < float(found.score[0]) <= 0.5
    assert float(found.score[1]) > 0.5
    assert len(found.path) == 60


@pytest.mark.parametrize("how", ["event", "keyboard"])
def test_stopping_gives_the_best_so_far(how):
    stop = threading.Event()

    def transform(painted, step, numbers):
        if step == 5:
            if how == "keyboard":
                raise KeyboardInterrupt
            stop.set()
        return painted

    with pl.settings(stop=stop):
        found = climbed(climb_of(Small(), transform=transform), pl.Class(1))
    assert found.stopped == (5 if how == "keyboard" else 6)
    assert len(found.path) == found.stopped
    assert bool(found.score > found.path[0])


class Shy(nn.Module):
    """On only far away from the middle."""

    def forward(self, x):
        return (x.flatten(1) - 0.3).relu().sum(1, keepdim=True)


def test_a_row_without_a_slope_is_stirred_until_it_has_one():
    options = {"shape": (1, 8, 8), "steps": 30}
    assert float(climbed(climb_of(Shy(), **options), pl.Output(0)).score) > 2
    still = climbed(climb_of(Shy(), stir=False, **options), pl.Output(0))
    assert float(still.touched.abs().max()) == 0


def test_inputs_are_kept_where_asked():
    found = climbed(climb_of(Small(), steps=9, keep=(1, 4, 9, 40)), pl.Class(0))
    assert sorted(found.kept) == [1, 4, 9]
    assert torch.equal(found.kept[9], found.painted)


@pytest.mark.parametrize("squash", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()])
def test_classes_are_read_before_the_models_own_softmax(squash):
    module = Small().double()
    squashed = climbed(climb_of(nn.Sequential(module, squash)), pl.Class(1))
    plain = climbed(climb_of(module), pl.Class(1))
    assert torch.allclose(squashed.painted, plain.painted)
    assert torch.allclose(squashed.score, plain.score)


def test_what_is_seen_on_the_way_is_what_was_there():
    module = nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(9, 2), nn.Softmax(1))
    model, x = pl.Model(module), torch.randn(2, 1, 4)
    seen = {}
    sites = (pl.Model(module), "0", "3")[1:]
    from pellucid.core.site import site_of

    places = (*(site_of(model.module, each) for each in sites), None, LOGITS)
    visit(model, model.read(x), x, torch.arange(2), places, seen.__setitem__, Run(current_settings(), model.device))
    assert torch.equal(seen[places[0]], module[0](x))
    assert torch.allclose(seen[LOGITS], seen[places[1]])
    assert torch.allclose(seen[None], module(x))


def test_groups_are_even_and_do_not_part_what_belongs_together():
    assert [len(each) for each in in_groups(10, 4)] == [3, 4, 3]
    assert [len(each) for each in in_groups(12, 7, together=3)] == [6, 6]
    assert in_groups(3, 0) == [range(1), range(1, 2), range(2, 3)]


def test_goals_can_be_asked_of_any_rows():
    climb, x = climb_of(Small().double()), torch.randn(4, 2, 6, 6, dtype=torch.float64)
    goals = climb.bound(TARGETS, torch.zeros(len(TARGETS), dtype=torch.long))
    assert isinstance(goals, Goals)
    table = 0

    def see(place, value):
        nonlocal table
        table = table + goals.everywhere(place, value, 4)

    with torch.no_grad():
        climb.visit(x, goals.places, see)
        for row in range(4):
            alone, _ = climb.scored(goals, x[row : row + 1].expand(len(TARGETS), -1, -1, -1))
            assert torch.allclose(table[:, row].double(), alone, atol=1e-5)
