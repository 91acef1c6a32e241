"""Places in a network: names, calls and sides; what is seen and put there; recurrent and shared layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.site import Followed, Site, first_tensor, site_of, swapped
from pellucid.errors import LayerError


class Net(nn.Module):
    """One layer called twice, one never, one that gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.act = nn.Tanh()
        self.spare = nn.Linear(4, 4)
        self.memory = nn.LSTM(4, 5, batch_first=True)
        self.relu = nn.ReLU()
        self.head = nn.Linear(5, 3)
        self.again = self.act

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(self.act(x)))
        out, _ = self.memory(x)
        return self.head(self.relu(out)[:, -1])


NET = Net()
X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))


def test_a_place_is_read_from_its_name() -> None:
    assert site_of(NET, "act") == Site("act")
    assert site_of(NET, "act@2:input") == Site("act", 2, "input")
    assert str(site_of(NET, "act@2:input")) == "act@2:input"
    assert str(site_of(NET, "act:output")) == "act"
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    assert site_of(nested, "0.0") == Site("0.0")


@pytest.mark.parametrize("wrong", ["atc", "", "act@0", "act@x", "act:inside", 5, NET.act, "first.weight", "act\n"])
def test_names_of_no_layer(wrong: Any) -> None:
    with pytest.raises(LayerError) as caught:
        pl.Saliency()(NET, X, at=wrong)
    assert "Near" in caught.value.do or "Known" in caught.value.do


def test_near_names_are_told() -> None:
    with pytest.raises(LayerError, match="'memory'"):
        pl.Saliency()(NET, X, at="memori")
    with pytest.raises(LayerError, match="'relu'"):
        pl.Saliency()(NET, X, target=pl.Neuron("rellu"))


@pytest.mark.parametrize("layer", ["spare", "act@3", "memory@2"])
def test_layers_that_are_not_called(layer: str) -> None:
    for ask in (
        lambda: pl.Saliency()(NET, X, at=layer),
        lambda: pl.Saliency()(NET, X, target=pl.Neuron(layer)),
        lambda: pl.Conductance()(NET, X, at=layer),
        lambda: pl.GradCAM(layer=layer)(NET, X),
    ):
        with pytest.raises(LayerError, match="called"):
            ask()


def after(place: Tensor) -> Tensor:
    out, _ = NET.memory(place)
    return NET.head(out.relu()[:, -1])


def slope_at(place: Tensor, rest: Any) -> Tensor:
    leaf = place.detach().requires_grad_()
    return torch.autograd.grad(rest(leaf).max(1).values.sum(), leaf)[0]


def test_calls_and_sides() -> None:
    one = NET.act(X)
    two = NET.act(NET.first(one))
    expected = {
        "act": slope_at(one, lambda y: after(NET.act(NET.first(y)))),
        "act@2": slope_at(two, after),
        "act@2:input": slope_at(NET.first(one), lambda y: after(NET.act(y))),
        "first:input": slope_at(one, lambda y: after(NET.act(NET.first(y)))),
        "memory:input": slope_at(two, after),
        "memory": slope_at(NET.memory(two)[0], lambda y: NET.head(y.relu()[:, -1])),
        "relu": slope_at(NET.memory(two)[0].relu(), lambda y: NET.head(y[:, -1])),
        "relu:input": slope_at(NET.memory(two)[0], lambda y: NET.head(y.relu()[:, -1])),
        "head": slope_at(NET.head(NET.memory(two)[0].relu()[:, -1]), lambda y: y),
    }
    for layer, slope in expected.items():
        torch.testing.assert_close(pl.Saliency()(NET, X, at=layer).values, slope)


def test_a_neuron_of_a_recurrent_layer() -> None:
    out = NET.memory(NET.act(NET.first(NET.act(X))))[0]
    result = pl.Saliency()(NET, X, target=pl.Neuron("memory", channel=2, position=1))
    torch.testing.assert_close(result.score, out[:, 1, 2].detach())
    assert float(result.values[:, 2].abs().max()) == 0  # time runs forward
    assert float(result.values[:, 1].abs().max()) > 0


def test_a_neuron_seen_from_a_layer_before_it_and_after_it() -> None:
    before = pl.Saliency()(NET, X, target=pl.Neuron("memory"), at="first").values
    assert float(before.abs().max()) > 0
    same = pl.Saliency()(NET, X, target=pl.Neuron("memory", channel=0, position=0), at="memory").values
    assert float(same[0, 0, 0]) == 1
    assert float(same.sum()) == 2
    behind = pl.Saliency()(NET, X, target=pl.Neuron("first"), at="memory").values
    assert float(behind.abs().max()) == 0


def test_the_first_tensor_of_a_tree_and_its_exchange() -> None:
    y, ids = torch.rand(2), torch.tensor([1])
    tree = {"a": (ids, y), "b": None}
    assert first_tensor(tree) is y
    assert first_tensor(ids) is None
    assert first_tensor("text") is None
    new = torch.zeros(2)
    assert swapped(tree, y, new)["a"][1] is new
    assert swapped(tree, y, new)["a"][0] is ids
    assert tree["a"][1] is y


def test_hooks_are_gone_after_each_question() -> None:
    model = pl.Model(NET)
    pl.Saliency()(model, X, at="memory", target=pl.Neuron("head", 1))
    pl.GradCAM(layer="act")
    with pytest.raises(LayerError):
        pl.Saliency()(model, X, at="spare")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())


def test_following_a_tensor_through_a_computation() -> None:
    x, other = torch.rand(3), torch.rand(3)
    filled, plain = torch.zeros(3), torch.zeros(3)
    with Followed(x) as followed:
        reached = [x * 2, x.detach().round().long(), torch.cat([other, x])[:2], (x > 0).any(), x.sum() + other.sum()]
        untouched = [other * 2, torch.zeros_like(x), x.new_ones(3), torch.ones(len(x)), torch.tensor(x.shape)]
        filled[0] = x[0]
        plain[0] = other[0]
    assert all(followed.reached(each) for each in (*reached, filled, x))
    assert not any(followed.reached(each) for each in (*untouched, plain, other))
