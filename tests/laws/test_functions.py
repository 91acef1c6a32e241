"""Laws of the explained function: constants, unused inputs, other ways to write the same network, and hidden layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.errors import LayerError, ShapeError
from tests.laws.test_runs import same
from tests.nets import (
    BY_NAME,
    CheckpointedBlock,
    Constant,
    ConvNet,
    FirstOnly,
    Joined,
    PlainBlock,
    TwoInputs,
    doubled,
    two_values,
)
from tests.small import EVERY, NAMES, at_of, case_of, has, pairs, small

SPATIAL = [name for name in NAMES if "table" not in pl.catalogue.entry(name).modalities]
ANYWHERE = [name for name in NAMES if name not in SPATIAL]


@pytest.mark.parametrize(("name", "case"), pairs("mlp", "cnn", "pair"))
def test_a_constant_model_gets_zeros(name: str, case: str) -> None:
    net = Constant(BY_NAME[case].net()).double()
    at = at_of(name, BY_NAME[case])
    result = small(name)(pl.Model(net, inputs=BY_NAME[case].modality()), BY_NAME[case].given(), at=at and f"inner.{at}")
    for values in torch.utils._pytree.tree_leaves(result.values):
        assert float(values.abs().max()) < 1e-12


TELL_NO_TARGET = {"AttentionWeights", "AttentionNorms"}


@pytest.mark.parametrize("name", [name for name in EVERY if name not in TELL_NO_TARGET])
def test_a_score_that_never_meets_the_input_gets_zeros(name: str) -> None:
    """A target that does not depend on the answer at all."""
    case = case_of(name)
    constant: Callable[[Any], Tensor] = lambda outputs: torch.ones(len(outputs), dtype=torch.float64)  # noqa: E731
    values = small(name)(case.model(), case.given(), target=constant, at=at_of(name, case)).values
    assert float(values.abs().max()) == 0


@pytest.mark.parametrize("name", ANYWHERE)
def test_an_unused_input_gets_zeros(name: str) -> None:
    torch.manual_seed(1)
    net = FirstOnly().double()
    given = doubled((torch.rand(3, 4), torch.rand(3, 2)))
    at = "body.0" if at_of(name, BY_NAME["mlp"]) else None
    values = small(name)(net, given, at=at).values
    if at is None:
        used, unused = values
        assert float(unused.abs().max()) < 1e-12
        assert float(used[:, 3].abs().max()) < 1e-12
        assert float(used[:, :3].abs().max()) > 1e-6


def variants() -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]]:
    """The same function of the same input, written and called in other ways."""

    def net(*args: Any, **kwargs: Any) -> nn.Module:
        torch.manual_seed(7)
        return ConvNet(*args, **kwargs).double()

    torch.manual_seed(7)
    scripted = nn.Sequential()
    scripted.add_module("whole", net())
    return {
        "functional": (net(PlainBlock, inplace=False), lambda x: x),
        "checkpointed": (net(CheckpointedBlock), lambda x: x),
        "channels last": (
            net().to(memory_format=torch.channels_last),
            lambda x: x.to(memory_format=torch.channels_last),
        ),
        "transposed view": (net(), lambda x: x.transpose(2, 3).contiguous().transpose(2, 3)),
        "slice": (net(), lambda x: torch.cat([x, x], 3)[..., : x.shape[3]]),
        "wrapped": (nn.Sequential(net()), lambda x: x),
        "named": (net(), lambda x: {"x": x}),
    }


@pytest.mark.parametrize("variant", variants())
@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_how_a_network_is_written(name: str, variant: str) -> None:
    """CAMs are asked at a layer that all ways of writing have; the default is the last *module*, which may differ."""
    case = BY_NAME["cnn"]
    net, change = variants()[variant]
    layer, given = "block", case.given()
    prefix = "0." if variant == "wrapped" else ""
    usual = small(name, layer=layer)(case.model(), given, at=at_of(name, case))
    at = at_of(name, case)
    model = pl.Model(net, inputs=case.modality())
    other = small(name, layer=prefix + layer)(model, change(given), at=at and prefix + at)
    mine = next(iter(other.values.values())) if isinstance(other.values, dict) else other.values
    same(mine, usual.values, 1e-7)
    same(other.score, usual.score, 1e-9)


@pytest.mark.parametrize("name", ANYWHERE)
def test_several_inputs_are_one_long_input(name: str) -> None:
    """A tuple, names, and both side by side."""
    torch.manual_seed(7)
    net = TwoInputs().double()
    left, right = doubled(two_values())
    at = "left" if at_of(name, BY_NAME["pair"]) else None
    pair = small(name)(net, (left, right), at=at).values
    named = small(name)(net, {"left": left, "right": right}, at=at).values
    turned = small(name)(net, {"right": right, "left": left}, at=at)
    joined = small(name)(Joined(net), torch.cat([left, right.flatten(1)], 1), at=at and f"net.{at}").values
    if at:
        same(pair, joined)
        same(pair, named)
        return
    same(torch.cat([each.flatten(1) for each in pair], 1), joined)
    assert [each.shape for each in pair] == [left.shape, right.shape]
    same(list(pair), [named["left"], named["right"]])
    if turned.standard_error is None and not has(name, "draws"):  # a draw belongs to a place of the input
        same(list(pair), [turned.values["left"], turned.values["right"]], 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_asks_at_any_layer_for_any_target(name: str) -> None:
    """Values of the layer's shape (CAMs: its maps); a neuron is a target like any other."""
    case = BY_NAME["cnn"]
    model, given = case.model(), case.given()
    if name == "FullGrad":  # it is about the biases of the whole network
        with pytest.raises(ShapeError):
            small(name)(model, given, at="norm")
        return
    places = ("norm", "block", "block.act@2", "block.conv:input")
    for at in places[1:3] if name == "CAM" else places:  # only those maps have average pool and linear above
        values = small(name)(model, given, target=pl.Class(1) - 0.5 * pl.Class(2), at=at).values
        maps = (
            (3, 1, *values.shape[2:]) if has(name, "layer") and name != "GuidedGradCAM" else (3, 4, *values.shape[2:])
        )
        assert values.shape == maps
        assert values.shape[2:] == ((8, 8) if at == "norm" else (4, 4))
    neuron = pl.Neuron("block", channel=2)
    where = "stem" if has(name, "layer") or at_of(name, case) else None
    if name == "CAM":  # a neuron is no average pool and linear layer
        with pytest.raises(LayerError):
            small(name)(model, given, target=neuron, at=where)
    else:
        assert float(small(name)(model, given, target=neuron, at=where).values.abs().max()) > 0


OF_WORDS = [name for name in EVERY if "text" in pl.catalogue.entry(name).modalities and name not in TELL_NO_TARGET]


@pytest.mark.parametrize("name", OF_WORDS)
def test_ids_get_one_value_a_token(name: str) -> None:
    case = BY_NAME["ids"]
    result = small(name)(case.model(), case.given(), at=at_of(name, case))
    if at_of(name, case):
        assert result.values.shape == (3, 5, 4)
        return
    assert list(result.values) == ["input_ids"]
    assert result.values["input_ids"].shape == (3, 5)
    assert float(result.values["input_ids"].abs().max()) > 0


@pytest.mark.parametrize("name", [name for name in EVERY if pl.catalogue.entry(name).needs])
@pytest.mark.parametrize("case", ["cnn", "mlp", "series", "pair"])
def test_a_model_without_what_a_method_needs_is_refused(name: str, case: str) -> None:
    with pytest.raises(LayerError) as caught:
        small(name)(BY_NAME[case].model(), BY_NAME[case].given())
    assert caught.value.got.startswith("none")
    assert "attention" in caught.value.expected
