"""What inspect finds out: shapes and cost by hand, receptive fields by gradient, one network for every finding."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import EmptyError, GradientError, LayerError, OptionError, PellucidError
from pellucid.features.anatomy import anatomy
from pellucid.features.fields import sizes


def kinds(found: Any) -> dict[str, Any]:
    return {each.kind: each for each in found.findings}


def quick(model: Any, data: Any = None, **options: Any) -> Any:
    return pl.inspect(model, data, **{"steps": 0, "units": 2, "examples": 2, **options})


class Small(nn.Module):
    """A convolution called through a function's ReLU, a strided one, and what is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 6, 3, stride=2)
        self.head = nn.Linear(6, 2)
        self.lost = nn.Linear(5, 7)
        self.idle = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.two(F.relu(self.norm(self.one(x))))
        return self.head(F.relu(maps).mean((2, 3)))


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    net = Small().eval()
    nn.init.uniform_(net.norm.running_mean, -0.1, 0.1)
    return net


def test_cost_shapes_and_parameters_are_those_counted_by_hand(small: Small) -> None:
    found = quick(small, torch.randn(5, 3, 9, 9))
    built = found.anatomy
    assert built.inputs == (("", (3, 9, 9)),)
    assert built.output == (2,)
    assert built["one"].shape == (4, 7, 7)
    assert built["one"].multiply_adds == 4 * 7 * 7 * 3 * 9
    assert built["two"].multiply_adds == 6 * 3 * 3 * 4 * 9
    assert built["head"].multiply_adds == 12
    assert built.whole.multiply_adds == sum(each.multiply_adds for each in built.layers)
    assert built.whole.parameters == sum(each.numel() for each in small.parameters())
    assert built.feeds == (("one", "norm"),)
    assert built.entered == ("one",)
    assert built.rectified == ("two", "head")


def test_fused_attention_and_recurrence_are_counted() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.cell = nn.LSTM(16, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(self.block(x))[0][:, -1]

    model = pl.Model(Both())
    before = torch.backends.mha.get_fastpath_enabled()
    built = anatomy(model, model.read(torch.rand(2, 5, 16)))
    assert torch.backends.mha.get_fastpath_enabled() == before
    attention = 5 * 16 * 48 + 2 * 5 * 5 * 16 + 5 * 16 * 16
    assert built["block"].multiply_adds == attention + 2 * 5 * 16 * 32
    assert built["cell"].multiply_adds == 5 * (16 * 32 + 8 * 32)
    assert built.unread == ()  # the projection of attention is read, though its module is never called


def test_receptive_fields_are_those_of_a_single_layer_at_a_time() -> None:
    model, rows = pl.load("demo:digits"), parts("digits").examples[:2]
    found = sizes(model, model.read(rows))
    for layer in ("stem.0", "down.0", "block2.conv1", "pool"):
        assert found[layer] == pl.receptive_field(model, layer, rows).size, layer


def test_receptive_fields_of_reused_layers_and_of_inputs_without_space() -> None:
    conv = nn.Conv1d(1, 1, 3)
    model = pl.Model(nn.Sequential(conv, conv, nn.Flatten(), nn.Linear(28, 2)))
    found = sizes(model, model.read(torch.rand(1, 1, 32)))
    assert (found["0"], found["0@2"], found["3"]) == ((3,), (5,), (None,))
    table = pl.load("demo:breast-cancer")
    assert sizes(table, table.read(parts("breast-cancer").examples[:1])) == {}


def test_layers_that_are_never_called(small: Small) -> None:
    found = [each for each in quick(small, torch.randn(4, 3, 9, 9)).findings if each.kind == "layers never called"]
    assert [each.level for each in found] == ["warning", "note"]
    assert found[0].layers == ("lost",)
    assert f"42 of {sum(p.numel() for p in small.parameters())} parameters" in found[0].words
    assert found[1].layers == ("idle",)


def test_weights_that_are_read_without_a_call_are_no_finding() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.one.weight.T) @ self.two.weight.mT

    assert "layers never called" not in kinds(quick(Tied(), torch.randn(4, 3)))


def test_broken_weights(small: Small) -> None:
    with torch.no_grad():
        small.two.weight[0, 0, 0, 0] = float("nan")
        small.norm.running_var[1] = float("inf")
    found = quick(small, torch.randn(4, 3, 9, 9))
    broken = kinds(found)["weights not finite"]
    assert found.findings[0].level == "problem"
    assert set(broken.layers) == {"two.weight", "norm.running_var"}
    assert "2 values" in broken.words
    assert "activations not finite" in kinds(found)
    assert "NaN" in found.html()


def test_dead_units_also_behind_a_function(small: Small) -> None:
    with torch.no_grad():
        small.norm.bias[2] = -99.0
        small.two.bias[4] = -99.0
    found = quick(small, torch.randn(200, 3, 9, 9))
    assert found.dead == (2, 10)
    dead = kinds(found)["dead units"]
    assert dead.layers == ("two:input", "head:input")
    assert [row[2:5] for row in dead.evidence.rows] == [(1, 4, "2"), (1, 6, "4")]
    assert "2 of its 10 rectified units are dead on 200 rows" in found.sentences[1]


def test_saturated_and_linear_units() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].bias[1] = 50.0
        net[2].bias[3] = 50.0
    found = kinds(quick(net, torch.randn(150, 3)))
    assert found["saturated units"].evidence.rows[0][:5] == ("1", "Tanh", 1, 4, "1")
    assert found["linear units"].evidence.rows[0][:4] == ("3", 1, 4, "3")


def test_odd_scales_near_zero_and_doubled_filters() -> None:
    torch.manual_seed(1)
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    net = nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.Conv2d(16, 8, 3), *last)
    with torch.no_grad():
        net[0].weight[3] = 2 * net[0].weight[9]
        net[0].weight[5] = 0
        net[2].weight.mul_(1000)
    found = kinds(quick(net, torch.randn(3, 3, 12, 12)))
    assert found["odd weight norms"].layers == ("2",)
    assert found["units near zero"].evidence.rows == (("0", 1, 16, "5", pytest.approx(0.7, abs=0.7)),)
    assert found["duplicate filters"].evidence.rows[0][:5] == ("0", 1, 16, "3 and 9", 1.0)


def test_biases_before_batch_norm_and_its_statistics(small: Small) -> None:
    found = kinds(quick(small, torch.randn(4, 3, 9, 9)))
    assert found["biases before batch-norm"].evidence.rows[0][:3] == ("one", "norm", 4)
    assert "batch-norm untouched" not in found
    small.norm.reset_running_stats()
    assert kinds(quick(small, torch.randn(4, 3, 9, 9)))["batch-norm untouched"].layers == ("norm",)
    bare = nn.Sequential(nn.Conv1d(1, 2, 3, bias=False), nn.BatchNorm1d(2))
    assert "biases before batch-norm" not in kinds(quick(bare, torch.randn(4, 1, 9)))


def test_train_mode_is_told_and_left_as_it_was(small: Small) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    net[1].eval()
    found = kinds(quick(net, torch.randn(9, 3)))["train mode"]
    assert (found.level, found.layers[-1], net[2].training, net[1].training) == ("warning", "2", True, False)
    assert "1 of 2" in found.words


def test_batch_norm_without_statistics_is_a_problem_and_nothing_is_run() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False))
    found = quick(net, torch.randn(9, 3))
    assert {each.kind for each in found.findings if each.level == "problem"} == {
        "batch-norm without statistics",
        "rows are mixed",
    }
    assert found.anatomy.whole.multiply_adds is None
    assert "parameters in 2 layers" in found.sentences[0]
    assert "<h1" in found.html()


def test_inputs_that_are_not_normalized() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    rows = torch.randn(300, 3) * torch.tensor([1.0, 50.0, 1.0]) + torch.tensor([0.0, 0.0, 9.0])
    found = kinds(quick(net, rows))["inputs not normalized"]
    assert [row[0] for row in found.evidence.rows] == ["2", "1"]
    assert "2 of 3 columns" in found.words
    assert "inputs not normalized" not in kinds(quick(net, torch.randn(300, 3)))
    behind = nn.Sequential(nn.BatchNorm1d(3), *net)
    assert "inputs not normalized" not in kinds(quick(behind, rows))


def test_a_clean_network_has_no_findings() -> None:
    for name in ("digits", "breast-cancer", "sentences", "diabetes"):
        found = quick(pl.load(f"demo:{name}"), parts(name).examples[:150])
        assert not [each for each in found.findings if each.level != "note"], name
        assert not found.left_out


def test_without_data_there_are_parts_filters_and_pictures() -> None:
    found = pl.inspect(pl.load("demo:digits"), units=2, layers=2, steps=2)
    assert found.dead is None
    assert found.filters is not None
    assert len(found.pictures.inputs) == 4
    assert [len(each.units) for each in found.specimens] == [2, 2]
    assert "No data went through it" in found.sentences[1]


def test_an_unknown_size_leaves_the_weights(small: Small) -> None:
    found = quick(small)
    assert found.anatomy["one"].shape is None
    assert "size of the inputs is not known" in found.left_out[0]
    assert quick(small, size=9, layers=1).anatomy["one"].shape == (4, 7, 7)


def test_pictures_units_and_examples_belong_together() -> None:
    rows = parts("digits").examples[:60]
    found = pl.inspect(pl.load("demo:digits"), rows, layers=["down.2", "head"], units=3, examples=2, steps=3)
    assert [each.layer for each in found.specimens] == ["down.2", "head"]
    for each in found.specimens:
        top = np.sort(-found.statistics[each.layer].mean)[:3]
        np.testing.assert_allclose(-found.statistics[each.layer].mean[list(each.units)], top)
        assert each.examples.units == each.units
        for i, unit in enumerate(each.units):
            target = found.pictures.targets[each.first + i]
            assert (target.at if hasattr(target, "at") else target.layer, target.channel) == (each.layer, unit)
    assert found.pictures.honesty.highest is not None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"units": 0}, OptionError),
        ({"steps": -1}, OptionError),
        ({"layers": "stem"}, OptionError),
        ({"layers": True}, OptionError),
        ({"layers": ["stem", "layr4"]}, LayerError),
    ],
)
def test_options_are_checked_first(options: dict[str, Any], error: type[PellucidError]) -> None:
    with pytest.raises(error):
        pl.inspect(pl.load("demo:digits"), **options)


def test_data_that_do_not_fit(small: Small) -> None:
    for data, error in ((torch.randn(4, 2, 9, 9), PellucidError), (torch.zeros(0, 3, 9, 9), EmptyError)):
        with pytest.raises(error):
            quick(small, data)
    with pytest.raises(OptionError, match="gone through twice"):
        quick(small, iter([torch.randn(4, 3, 9, 9)]))
    with pytest.raises(GradientError):
        pl.inspect(pl.BlackBox(lambda rows: rows.sum(1)))


def test_a_stop_keeps_what_is_there(small: Small) -> None:
    stop = threading.Event()
    stop.set()
    with pl.settings(stop=stop):
        found = quick(small, torch.randn(4, 3, 9, 9))
    assert found.stopped
    assert found.anatomy.whole.parameters
    assert "Stopped at" in found.html()


def test_no_trace_is_left(small: Small) -> None:
    small.train()
    before = {name: each.clone() for name, each in small.state_dict().items()}
    quick(small, torch.randn(4, 3, 9, 9), steps=2)
    assert all(torch.equal(each, before[name]) for name, each in small.state_dict().items())
    assert all(part.training for part in small.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in small.modules())
    assert all(each.requires_grad and each.grad is None for each in small.parameters())
