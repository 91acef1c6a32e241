"""Feature visualization: exact answers where there are any, no trace, and a report that says what is not known."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pellucid as pl
from pellucid.core.outputs import Outputs
from pellucid.demo import parts
from pellucid.errors import DtypeError, EmptyError, ModelError, OptionError, ShapeError, TargetError
from tests.engines.test_ascend import Hole, Small
from tests.traces import differences, marks

STILL = pl.Transforms()


@pytest.fixture(scope="module")
def digits():
    return pl.load("demo:digits")


@pytest.fixture(scope="module")
def examples():
    return parts("digits").examples[:60]


def test_a_linear_unit_on_a_ball_is_its_filter():
    linear = nn.Linear(12, 2, bias=False).double()
    found = pl.visualize(
        linear, [0, 1], size=12, steps=600, rate=0.02, canvas=pl.Pixels(norm=1.0, spread=1.0), transforms=STILL
    )
    assert bool((torch.cosine_similarity(found.inputs, linear.weight) > 1 - 1e-6).all())
    assert torch.allclose(found.score, linear.weight.norm(dim=1), rtol=1e-6)


def test_a_linear_unit_in_a_box_is_black_and_white():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(9, 1, bias=False))
    model = pl.Model(linear, inputs=pl.Images(mean=(0.0,), std=(1.0,)))
    found = pl.visualize(model, pl.Output(0), size=3, steps=900, canvas=pl.Pixels(), transforms=STILL)
    weight = linear[1].weight.detach()
    assert torch.allclose(found.pictures.flatten(1), (weight > 0).float(), atol=2e-3)
    assert float(found.score) == pytest.approx(float(weight.clamp_min(0).sum()), abs=1e-2)


def test_the_slope_of_a_channel_mean_is_the_adjoint_of_ones():
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    model = pl.Model(nn.Sequential(conv))
    found = pl.visualize(model, pl.Neuron("0", channel=1), size=(7, 8), steps=1, canvas=pl.Pixels(), transforms=STILL)
    ones = torch.zeros_like(conv(found.inputs))
    ones[:, 1] = 1 / ones[0, 1].numel()
    adjoint = F.conv_transpose2d(ones, conv.weight, stride=2, padding=1, output_padding=(0, 1))
    strength = adjoint.abs().sum(1)
    wanted = (strength / strength.flatten().quantile(0.8)).clamp_max(1)
    assert torch.allclose(found.transparency, wanted)


TARGETS = [pl.Class(3), pl.Neuron("block1", channel=7), pl.Class(1) - pl.Neuron("stem", channel=2)]


@pytest.mark.parametrize("canvas", [pl.Fourier(), pl.MACO(), pl.Pixels()])
def test_a_target_alone_gives_what_it_gives_among_others_and_at_any_memory(canvas):
    model, options = pl.Model(Small().double()), {"size": (8, 7), "steps": 12, "canvas": canvas}
    targets = [pl.Class(1), pl.Neuron("first", channel=2), pl.Class(1) - pl.Neuron("second", channel=2)]
    together = pl.visualize(model, targets, **options)
    for row, target in enumerate(targets):
        assert torch.allclose(pl.visualize(model, target, **options).inputs[0], together.inputs[row], atol=1e-7)
    with pl.settings(memory="20 kB"):
        small = pl.visualize(model, targets, **options)
    assert torch.allclose(small.inputs, together.inputs, atol=1e-7)
    assert torch.allclose(small.path, together.path, atol=1e-7)


def test_a_seed_decides_everything(digits, examples):
    one, again = (pl.visualize(digits, TARGETS, steps=6, data=examples) for _ in range(2))
    assert torch.equal(one.inputs, again.inputs)
    assert one.words() == again.words()
    with pl.settings(seed=1):
        assert not torch.equal(pl.visualize(digits, TARGETS, steps=6).inputs, one.inputs)


def test_nothing_is_left_behind_after_many_renders(examples):
    module = pl.load("demo:digits").module
    model = pl.Model(module, inputs=pl.Images(mean=(0.3,), std=(0.4,), size=(8, 8)))
    pl.visualize(model, 3, steps=2, data=examples[:9])
    before = marks(module, None)
    gc.collect()
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    for _ in range(50):
        pl.visualize(model, [3, pl.Neuron("block1", channel=1)], steps=2)
    gc.collect()
    assert sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()) <= tensors + 5
    assert differences(before, marks(module, None)) == []
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in model.module.modules())
    with pytest.raises(TargetError):
        pl.visualize(model, pl.Neuron("block1", channel=999), steps=2)
    assert differences(before, marks(module, None)) == []


def test_the_report_compares_with_natural_inputs_a_control_and_the_path(digits, examples):
    found = pl.visualize(digits, pl.Class(3), steps=40, data=examples)
    logits = digits(examples).values[:, 3]
    report = found.honesty
    assert report.highest[0] == pytest.approx(float(logits.max()), rel=1e-4)
    assert report.where == (int(logits.argmax()),)
    assert report.count == len(examples)
    assert float(found.score) > report.highest[0] > report.control[0]
    assert "class" in report.controls[0] or "“" in report.controls[0]
    assert report.path.own.shape == (1, len(report.path.layers))
    assert report.path.layers[-1] == "head"
    assert bool((report.path.best <= 1).all() & (report.path.best[0, -1] > report.path.others[0, -1]))
    for part in ("highest of 60 natural inputs", "picture made the same way for", "Correlation"):
        assert part in found.words()


def test_a_natural_input_takes_its_own_path(digits, examples):
    best = pl.visualize(digits, 3, steps=1, data=examples).honesty.where[0]
    real = digits.modality.prepare(examples[best])
    found = pl.visualize(digits, 3, steps=1, rate=1e-9, start=real, data=examples, canvas=pl.Pixels(), transforms=STILL)
    assert float(found.score) == pytest.approx(float(found.honesty.highest[0]), rel=0.02)
    assert bool((found.honesty.path.own > found.honesty.path.best - 0.05).all())


def test_what_is_not_known_is_said(digits):
    found = pl.visualize(digits, 3, steps=2)
    assert found.honesty.highest is None
    for part in ("not compared with natural inputs", "No control", "path through the layers was not compared"):
        assert part in found.words()
    assert "not compared" in found._repr_html_()
    assert "not compared" in repr(found)


def test_targets_of_one_layer_are_controls_of_each_other(digits):
    found = pl.visualize(digits, [pl.Class(3), pl.Class(8)], steps=20)
    at_other = digits(found.inputs[[1, 0]]).values
    assert found.honesty.control == pytest.approx([float(at_other[0, 3]), float(at_other[1, 8])], rel=1e-3)


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.act = nn.ReLU()
        with torch.no_grad():
            self.conv.bias[1] = -1000

    def forward(self, x):
        return self.act(self.conv(x)).mean((2, 3))


def test_a_dead_unit_is_said_with_the_highest_natural_activation():
    found = pl.visualize(Dead(), pl.Neuron("act", channel=1), size=8, steps=12, data=torch.randn(9, 1, 8, 8))
    assert "nothing to climb" in found.told()
    assert "highest of 9 natural inputs is 0" in found.told()
    alive = pl.visualize(Dead(), pl.Neuron("act", channel=0), size=8, steps=12)
    assert "nothing to climb" not in alive.told()


def test_not_a_number_keeps_the_last_good_input_and_says_so():
    found = pl.visualize(Hole(), pl.Output(1), size=4, steps=200)
    assert "slope was not finite at step" in found.told()
    assert bool(torch.isfinite(found.inputs).all())


def test_a_stopped_run_gives_what_it_has_and_says_so(digits, examples):
    def transform(painted, step, numbers):
        if step == 3:
            raise KeyboardInterrupt
        return painted

    found = pl.visualize(digits, [3, 8], steps=50, transforms=transform, data=examples)
    assert "stopped after 3 of 50 steps" in found.told()
    assert "nothing was compared" in found.told()
    stop = threading.Event()
    stop.set()
    with pl.settings(stop=stop), pytest.raises(pl.errors.Cancelled):
        pl.visualize(digits, 3)


def test_variants_of_a_unit_differ(digits):
    alike = pl.visualize(
        digits, pl.Neuron("block2", channel=3), steps=40, variants=3, penalties=[pl.Diversity(weight=0)]
    )
    weight = pl.Diversity(at="block2", weight=50.0)
    apart = pl.visualize(digits, pl.Neuron("block2", channel=3), steps=40, variants=3, penalties=[weight])

    def likeness(found):
        maps = pl.Model(digits.module)
        seen = {}
        handle = maps.module.block2.register_forward_hook(
            lambda *args: seen.update(maps=args[2].flatten(2).clone()) and None
        )
        maps.module(found.inputs)
        handle.remove()
        gram = torch.einsum("rcp,rdp->rcd", seen["maps"], seen["maps"]).flatten(1)
        return float(F.cosine_similarity(gram[0], gram[1], dim=0))

    assert likeness(apart) < likeness(alike)
    assert apart.names[1].endswith("variant 2")


def test_interpolation_and_alignment(digits):
    ways = pl.between(pl.Class(3), pl.Class(8), 4)
    loose = pl.visualize(digits, ways, steps=30)
    tight = pl.visualize(digits, ways, steps=30, penalties=[pl.Alignment(weight=300.0)])
    assert float(tight.pictures.diff(dim=0).abs().mean()) < float(loose.pictures.diff(dim=0).abs().mean())
    answers = digits(loose.inputs).values
    assert float(answers[0, 3]) > float(answers[3, 3])
    assert float(answers[3, 8]) > float(answers[0, 8])


def test_accentuation_stays_near_the_picture_as_far_as_it_is_told(digits, examples):
    real = digits.modality.prepare(examples[:2])
    moved = []
    for weight in (0.0, 1e4):
        same = pl.Resemblance(at="block1", weight=weight)
        found = pl.visualize(digits, 3, steps=30, start=real, penalties=[same], transforms=STILL)
        moved.append(float((found.inputs - real).square().mean()))
    assert len(found) == 2
    assert moved[1] < 0.2 * moved[0]


@pytest.mark.parametrize("penalty", [pl.L1(weight=200.0), pl.L2(weight=200.0)])
def test_size_penalties_pull_to_gray(digits, penalty):
    plain, pulled = (pl.visualize(digits, 3, steps=40, penalties=each).pictures for each in ([], [penalty]))
    assert float((pulled - 0.5).abs().mean()) < 0.7 * float((plain - 0.5).abs().mean())


@pytest.mark.parametrize("penalty", [pl.TotalVariation(weight=200.0), pl.Roughness(weight=2000.0)])
def test_roughness_penalties_smooth(digits, penalty):
    options = {"steps": 40, "canvas": pl.Pixels()}
    plain, smooth = (pl.visualize(digits, 3, penalties=each, **options).pictures for each in ([], [penalty]))
    assert float(smooth.diff(dim=-1).abs().mean()) < 0.7 * float(plain.diff(dim=-1).abs().mean())


def test_directions_have_exact_scores():
    maps, vector = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    along = torch.einsum("rchw,c->rhw", maps, vector)
    cosine = along / (maps.norm(dim=1) * vector.norm())
    rows = torch.arange(2)

    def score(**powers):
        target = pl.Direction("any", vector, **powers)
        return target.bind(maps, Outputs(rank=2), rows, 2).score(maps, rows)

    assert torch.allclose(score(), along.mean((1, 2)))
    assert torch.allclose(score(cosine=2), (along * cosine.clamp_min(0.1) ** 2).mean((1, 2)))
    assert torch.allclose(score(cosine=1, dot=0), cosine.mean((1, 2)))
    assert torch.allclose(score(position=(1, 2)), along[:, 1, 2])
    basis = pl.Direction("any", torch.eye(3)[1]).bind(maps, Outputs(rank=2), rows, 2)
    channel = pl.Neuron("any", channel=1).bind(maps, Outputs(rank=2), rows, 2)
    assert torch.allclose(basis.score(maps, rows), channel.score(maps, rows))
    with pytest.raises(ShapeError, match="vector of 3"):
        pl.Direction("any", torch.ones(4)).bind(maps, Outputs(rank=2), rows, 2)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_and_series_and_rows(channels):
    net = nn.Sequential(nn.Conv2d(channels, 3, 3), nn.ReLU())
    assert pl.visualize(net, pl.Neuron("0", channel=1), size=9, steps=2).inputs.shape == (1, channels, 9, 9)
    series = nn.Sequential(nn.Conv1d(channels, 3, 3), nn.ReLU())
    model = pl.Model(series, inputs=pl.Series())
    data = torch.randn(20, channels, 30)
    found = pl.visualize(model, pl.Neuron("0", channel=1), steps=5, data=data)
    assert found.inputs.shape == (1, channels, 30)
    assert bool((found.inputs >= data.amin((0, 2))[:, None]).all() & (found.inputs <= data.amax((0, 2))[:, None]).all())
    table = pl.visualize(nn.Linear(channels, 2), 1, size=channels, steps=2)
    assert table.inputs.shape == (1, channels)
    assert table.pictures is None
    for each in (found, table):
        assert each.figure().text()


def test_a_table_stays_within_its_data():
    model, demo = pl.load("demo:breast-cancer"), parts("breast-cancer")
    found = pl.visualize(model, pl.Class(1), steps=20, data=demo.examples)
    assert found.inputs.shape[0] == 1
    assert found.honesty.count == len(demo.examples)


@pytest.mark.parametrize("ending", ["png", "html", "safetensors"])
def test_it_can_be_saved(digits, examples, tmp_path, ending):
    found = pl.visualize(digits, pl.Class(3), steps=3, data=examples, keep=(1, 2))
    found.save(tmp_path / f"unit.{ending}")
    assert (tmp_path / f"unit.{ending}").stat().st_size > 1000
    with pytest.raises(OptionError, match="png"):
        found.save(tmp_path / "unit.doc")
    assert found.picture(0, step=2).title.endswith("after 2 steps")
    pictures = found.inputs * digits.modality.std[0] + digits.modality.mean[0]
    assert np.allclose(found.pictures, pictures.clamp(0, 1), atol=1e-6)


def test_a_bar_is_shown_when_asked_for(digits):
    with pl.settings(progress=True):
        assert len(pl.visualize(digits, 3, steps=3)) == 1


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 0}, OptionError, "steps of at least 1"),
        ({"variants": 0}, OptionError, "variants"),
        ({"keep": (0,)}, OptionError, "keep"),
        ({"size": 0}, OptionError, "size"),
        ({"start": torch.zeros(2, 1, 8, 8), "variants": 2}, ShapeError, "1 or 2 targets"),
        ({"data": iter([])}, OptionError, "twice"),
        ({"data": torch.zeros(0, 1, 8, 8)}, EmptyError, "at least one row"),
    ],
)
def test_what_cannot_be_is_refused(digits, options, error, words):
    with pytest.raises(error, match=words):
        pl.visualize(digits, 3, **options)


def test_models_that_cannot_be_visualized_are_refused():
    with pytest.raises(ModelError, match="gradients"):
        pl.visualize(pl.BlackBox(lambda rows: rows), 0)
    with pytest.raises(OptionError, match="size of the inputs"):
        pl.visualize(nn.Linear(3, 2), 0)
    with pytest.raises(DtypeError, match="floating"):
        pl.visualize(pl.load("demo:sentences"), 0, data=["a good film"])
