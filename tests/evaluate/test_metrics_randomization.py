"""Metrics of randomization: maps that ignore the weights are found, and the user's weights are never touched."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import Attributor, question
from pellucid.core.probe import Probe
from pellucid.core.run import Options
from pellucid.demo import parts
from pellucid.evaluate.bank import hidings
from pellucid.evaluate.metrics.layers import Layers, steps_of
from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.metrics.similarity import structure
from pellucid.evaluate.question import Question
from pellucid.evaluate.scrambled import calibration_points, reordered
from pellucid.evaluate.thresholds import CALIBRATION
from tests.evaluate.planted import Edges, Patches, linear, spots

M = pl.metrics
ORDERS = ("top-down", "bottom-up", "independent")


def asked(net: Any, x: Tensor) -> Question:
    """A question, as metrics get it."""
    model = net if isinstance(net, pl.Model) else pl.Model(net)
    ask = question(model, x)
    return Question(model, ask.leaves, ask.target, ask.bound.about, None, "quick", Options())


class Small(nn.Module):
    """A transformer in small: a class token, positions, a layer scale, attention."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(8, 3)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 5, 8))
        self.scale = nn.Parameter(torch.rand(8))
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.cut = nn.Conv2d(1, 8, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        x = x + self.scale * self.mix(x, x, x, need_weights=False)[0]
        return self.head(x[:, 0])


def test_every_weight_is_a_step_in_the_order_of_use_bare_ones_too() -> None:
    steps = steps_of(asked(Small(), torch.rand(1, 1, 8, 8))).steps
    names = [each[0].removesuffix(".weight") for each in steps]
    assert names[:3] == ["cut", "token", "positions"]
    assert names[-1] == "head"
    assert set(names) >= {"scale"}
    moved = {name for each in steps for name in each}
    movable = {name for name, weight in Small().named_parameters() if weight.unique().numel() > 1}
    assert moved == movable


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("similarity", ["rank", "rank of sizes", "cosine", "structure"])
def test_an_edge_map_stays_the_same(order: str, similarity: str) -> None:
    model, pictures = spots()
    heat = Edges()(model, pictures[:1])
    table = pl.measure(
        heat,
        model,
        metrics=[
            M.ParameterRandomization(order=order, similarity=similarity),
            M.SmoothParameterRandomization(order=order, similarity=similarity, draws=2),
            M.EfficientParameterRandomization(),
        ],
    )
    plain, smooth, efficient = (each.value for each in table.measured[0])
    assert plain == pytest.approx(1)
    assert smooth == pytest.approx(1)
    assert efficient == 0


@pytest.mark.parametrize("order", ORDERS)
def test_maps_that_depend_on_the_weights_change(order: str) -> None:
    model = pl.load("demo:digits")
    pictures = torch.as_tensor(parts("digits").examples[:1])
    metric = M.ParameterRandomization(order=order)
    edges, slope = metric([Edges()(model, pictures), pl.Saliency()(model, pictures)], model)
    assert slope.value < 0.6 < edges.value


def test_the_map_of_a_scrambled_linear_model_is_known() -> None:
    net, x, values = linear()
    heat = pl.InputXGradient()(net, x)
    mixed = reordered(net.weight, 0, 0) * x
    wanted = float(torch.cosine_similarity(values, mixed))
    for order in ORDERS:
        assert M.ParameterRandomization(order=order, similarity="cosine")(heat, net).value == pytest.approx(wanted)
    bins = [np.histogram(each.detach().numpy(), 100)[0] / each.numel() for each in (values, mixed)]
    own, other = (-sum(p * np.log(p) for p in each if p) for each in bins)
    assert M.EfficientParameterRandomization()(heat, net).value == pytest.approx((other - own) / own, abs=1e-9)


@dataclass(frozen=True, kw_only=True)
class Spy(Attributor):
    """The slope; keeps the weights of every call, and fails on call number ``fails``."""

    seen: list[dict[str, Tensor]] = field(default_factory=list)
    fails: int = 99

    def attribute(self, ask: Probe) -> Tensor:
        assert isinstance(ask.model, pl.Model)
        self.seen.append({name: weight.clone() for name, weight in ask.model.module.named_parameters()})
        if len(self.seen) == self.fails:
            raise ArithmeticError("mine")
        return ask.gradient()


def three() -> tuple[nn.Sequential, Tensor]:
    """Three layers and one row."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)), torch.rand(1, 6)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("top-down", [{"4"}, {"4", "2"}, {"4", "2", "0"}]),
        ("bottom-up", [{"0"}, {"0", "2"}, {"0", "2", "4"}]),
        ("independent", [{"0"}, {"2"}, {"4"}]),
    ],
)
def test_layers_are_scrambled_in_order(order: str, wanted: list[set[str]]) -> None:
    net, x = three()
    spy = Spy()
    heat = spy(net, x)
    assert M.ParameterRandomization(order=order)(heat, net).value is not None
    own = dict(net.named_parameters())
    for weights, layers in zip(spy.seen[1:], wanted, strict=True):
        assert {name.split(".")[0] for name in own if not torch.equal(own[name], weights[name])} == layers
        for name, weight in weights.items():
            assert torch.equal(weight.flatten().sort().values, own[name].flatten().sort().values)


@pytest.mark.parametrize("fails", [2, 3, 4])
def test_a_failure_inside_puts_everything_back(fails: int) -> None:
    net, x = three()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    model = pl.Model(net)
    heat = Spy(fails=fails)(model, x)
    common = asked(model, x)
    made = steps_of(common)
    with pytest.raises(ArithmeticError, match="mine"):
        M.ParameterRandomization()(heat, model)
    with pytest.raises(ArithmeticError):
        break_off(made)
    for where in (net, model.module, made.model.module):
        assert all(torch.equal(weight, before[name]) for name, weight in where.named_parameters())
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())


def break_off(made: Layers) -> None:
    """Fail while everything is scrambled."""
    with made.lent():
        made.scramble(list(made.random))
        raise ArithmeticError


def test_rows_and_explanations_share_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = three()
    model = pl.Model(net)
    listed = [method(model, x.repeat(2, 1)) for method in (pl.Saliency(), pl.InputXGradient())]
    made: list[int] = []
    monkeypatch.setattr(Layers, "__init__", counted(Layers.__init__, made))
    one = M.ParameterRandomization()
    table = pl.measure(listed, model, metrics=[one, M.ParameterRandomization(similarity="cosine")])
    assert len(made) == 1
    alone = one(pl.Saliency()(model, x), model)
    assert table.measured[0][0].values == pytest.approx(np.repeat(alone.values, 2), abs=1e-9)
    assert len(made) == 2


def counted(init: Any, made: list[int]) -> Any:
    """An initializer that counts."""

    def counting(*args: Any, **kwargs: Any) -> None:
        made.append(1)
        init(*args, **kwargs)

    return counting


def test_tied_weights_can_only_be_scrambled_together() -> None:
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2))
    net[2].weight = net[0].weight
    heat = pl.InputXGradient()(net, torch.rand(1, 6))
    measured = M.ParameterRandomization()(heat, net)
    assert measured.value is None
    assert "tied" in measured.reasons[0]
    assert M.EfficientParameterRandomization()(heat, net).value is not None


class Whole(nn.Module):
    """Weights in whole numbers with a scale, as quantized ones are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(-3, 3, dtype=torch.int8)[None], requires_grad=False)
        self.scale = nn.Parameter(torch.rand(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight * self.scale).sum(1, keepdim=True)


@pytest.mark.parametrize("kind", [M.ParameterRandomization, M.EfficientParameterRandomization])
def test_where_weights_cannot_be_scrambled(kind: Any) -> None:
    x = torch.rand(1, 6) + 1
    measured = kind()(pl.InputXGradient()(Whole(), x), Whole())
    assert measured.value is None
    assert "quantized" in measured.reasons[0]
    box = pl.BlackBox(lambda rows: rows @ np.arange(1.0, 7))
    assert "black box" in kind()(pl.Ablation()(box, x.numpy()), box).reasons[0]
    own, there, values = linear()
    lent = pl.Model(own, copy=False)
    assert "cannot be copied" in kind()(pl.InputXGradient()(lent, there), lent).reasons[0]
    assert "without its method" in kind()(values, own, there).reasons[0]
    constant = kind(method=pl.Saliency())(torch.ones_like(values), own, there)
    assert "same everywhere" in constant.reasons[0]


def test_a_smooth_map_is_the_mean_over_noisy_inputs() -> None:
    net, x = three()
    heat = pl.InputXGradient()(net, x)
    few = M.SmoothParameterRandomization(draws=1, sigma=1e-9, similarity="cosine")
    plain = M.ParameterRandomization(similarity="cosine")
    assert few(heat, net).value == pytest.approx(plain(heat, net).value, abs=1e-4)
    ids = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))
    words = pl.InputXGradient()(ids, torch.arange(6)[None])
    assert M.SmoothParameterRandomization(draws=3)(words, ids).value is not None
    told = pl.Occlusion()(ids, torch.arange(6)[None])
    assert "token ids" in M.SmoothParameterRandomization()(told, ids).reasons[0]


def test_another_class_by_its_score() -> None:
    net = nn.Linear(4, 3, bias=False).requires_grad_(False)
    net.weight[:] = torch.tensor([[4.0, 3, 2, 1], [3, 4, 2, 1], [-1, -2, -3, -4]])
    x = torch.ones(1, 4)
    heat = pl.InputXGradient()(net, x, target=0)
    least, second = M.RandomLogit(), M.RandomLogit(other="runner-up", similarity="cosine")
    assert least(heat, net).value == pytest.approx(1)  # 4 3 2 1 and −1 −2 −3 −4 have the same ranks
    assert M.RandomLogit(similarity="rank of sizes")(heat, net).value == pytest.approx(-1)
    assert second(heat, net).value == pytest.approx(29 / 30)
    last = pl.InputXGradient()(net, x, target=pl.Probability(2))
    assert M.RandomLogit(similarity="cosine")(last, net).value is not None
    edges = M.RandomLogit()(Edges()(spots()[0], spots()[1][:1]), spots()[0])
    assert edges.value == pytest.approx(1)


def test_there_must_be_another_class() -> None:
    net, x, _ = linear()
    assert "not a class" in M.RandomLogit()(pl.InputXGradient()(net, x), net).reasons[0]
    two = nn.Linear(12, 2).double()
    heat = pl.InputXGradient()(two, x, target=pl.Class(0) - pl.Class(1))
    assert "not a class" in M.RandomLogit()(heat, two).reasons[0]


@pytest.mark.peer
def test_structural_similarity_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, other = torch.rand(2, 20, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one, other = ((each - each.min()) / (each.max() - each.min()) for each in (one, other))
    wanted = metrics.structural_similarity(one.numpy(), other.numpy(), data_range=1.0)
    assert structure(one[None, None], other[None, None]) == pytest.approx(wanted)


def test_memory_and_other_rows_change_nothing() -> None:
    _, pictures = spots()
    model = pl.Model(Patches())
    metrics = [M.ParameterRandomization(), M.SmoothParameterRandomization(draws=4), M.RandomLogit()]
    metrics.append(M.EfficientParameterRandomization())

    def values(pictures: Tensor, **options: Any) -> np.ndarray:
        with pl.settings(**options):
            table = pl.measure(pl.InputXGradient()(model, pictures), model, metrics=metrics)
        return np.stack([each.values for each in table.measured[0]])

    alone, beside = values(pictures[:1]), values(pictures[:3])
    assert beside[:, :1] == pytest.approx(alone, abs=1e-3)
    assert values(pictures[:1], memory="50 kB") == pytest.approx(alone, abs=1e-3)


def test_a_reason_is_kept_for_all_rows() -> None:
    net, x = three()
    net[2].weight = nn.Parameter(torch.ones(4, 5))
    question_ = asked(net, x)
    assert all(name != "2.weight" for each in steps_of(question_).steps for name in each)
    with pytest.raises(Untestable, match="black box"):
        steps_of(asked_box())


def asked_box() -> Question:
    """A question to a black box."""
    box = pl.BlackBox(lambda rows: rows.sum(1))
    ask = question(box, np.ones((1, 3)), discrete=True)
    return Question(box, ask.leaves, ask.target, ask.bound.about, None, "quick", Options())


def test_batch_norms_are_set_on_what_the_fill_shows() -> None:
    model, pictures = spots()
    asked_ = replace(asked(model, pictures[:1]), fill=pl.Inpaint())
    points, game = calibration_points(asked_), asked_.game
    assert len(points) == CALIBRATION
    assert torch.equal(points[0], pictures[0])
    hidings_ = hidings(game.n, CALIBRATION - 2, asked_.seed)
    shown = game.players.shown(~hidings_)
    filled = game.around(shown, torch.zeros(len(shown), dtype=torch.long))
    assert torch.equal(points[2:], torch.where(shown, pictures[None, :1], filled)[:, 0])
    assert not torch.equal(filled[0], filled[1])  # it depends on what is shown
