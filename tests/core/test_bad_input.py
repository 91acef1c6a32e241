"""Everything a user may get wrong, one clear error each: expected, got, do; and the model is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid import errors
from pellucid.attribution.games import GameAttributor
from tests.nets import BY_NAME, TwoInputs
from tests.small import NAMES, at_of, fits, small
from tests.traces import differences, marks

CNN = BY_NAME["cnn"]
X = CNN.given()


class After(nn.Module):
    """A network, and then something that breaks its answer."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.inner(x))


def broken(change: Callable[[Tensor], Any]) -> nn.Module:
    return After(CNN.net(), change)


def with_value(value: float) -> Tensor:
    x = X.clone()
    x[1, 0, 3, 3] = value
    return x


def poisoned(value: float) -> nn.Module:
    net = CNN.net()
    with torch.no_grad():
        net.head.weight[0, 0] = value
    return net


class Item:
    """One mistake: the network, the inputs, how it is asked, and the error it must be."""

    def __init__(self, net: Any, inputs: Any, kind: type[errors.PellucidError], words: str = "", **asked: Any) -> None:
        self.net, self.inputs, self.kind, self.words, self.asked = net, inputs, kind, words, asked


ITEMS: dict[str, Item] = {
    "NaN in the inputs": Item(CNN.net, with_value(float("nan")), errors.NonFiniteError, "1 NaN"),
    "infinity in the inputs": Item(CNN.net, with_value(float("inf")), errors.NonFiniteError),
    "minus infinity": Item(CNN.net, with_value(float("-inf")), errors.NonFiniteError),
    "NaN in the weights": Item(lambda: poisoned(float("nan")), X, errors.NonFiniteError),
    "infinite weights": Item(lambda: poisoned(float("inf")), X, errors.NonFiniteError),
    "NaN in the answer": Item(lambda: broken(lambda y: y * float("nan")), X, errors.NonFiniteError),
    "too few axes": Item(CNN.net, X[0, 0], errors.ShapeError),
    "too many axes": Item(CNN.net, X[None], errors.ShapeError),
    "wrong channels": Item(CNN.net, torch.rand(2, 5, 8, 8), errors.ShapeError),
    "channels last": Item(CNN.net, X.movedim(1, -1), errors.ShapeError),
    "integers": Item(CNN.net, torch.ones(2, 2, 8, 8, dtype=torch.long), errors.DtypeError),
    "booleans": Item(CNN.net, torch.ones(2, 2, 8, 8, dtype=torch.bool), errors.DtypeError),
    "complex numbers": Item(CNN.net, X + 0j, errors.DtypeError),
    "text": Item(CNN.net, "a picture", errors.DtypeError, "pl.Images"),
    "a list of lists": Item(CNN.net, X.tolist(), errors.InputError),
    "objects": Item(CNN.net, np.array([[None]]), errors.DtypeError),
    "no rows": Item(CNN.net, X[:0], errors.EmptyError),
    "no pixels": Item(CNN.net, X[..., :0], errors.EmptyError),
    "nothing": Item(CNN.net, None, errors.EmptyError),
    "unknown layer": Item(CNN.net, X, errors.LayerError, "'block'", at="blok"),
    "unknown layer of a neuron": Item(CNN.net, X, errors.LayerError, "'block'", target=pl.Neuron("blok")),
    "unknown class": Item(CNN.net, X, errors.TargetError, "0 … 2", target=3),
    "unknown name": Item(CNN.net, X, errors.TargetError, target="tabby"),
    "wrong number of targets": Item(CNN.net, X, errors.ShapeError, "3", target=[0, 1]),
    "no target": Item(CNN.net, X, errors.TargetError, target={"class": 1}),
    "a vanished answer": Item(lambda: broken(lambda y: None), X, errors.OutputError, "output="),
    "a text as answer": Item(lambda: broken(lambda y: "cat"), X, errors.OutputError),
    "one number for the batch": Item(lambda: broken(lambda y: y.sum()), X, errors.OutputError),
    "rows mixed": Item(lambda: broken(lambda y: y - y.mean(0)), X, errors.MixedRowsError),
    "rows lost": Item(lambda: broken(lambda y: y[:1]), X, errors.ShapeError),
    "a coin in the model": Item(lambda: broken(lambda y: y + torch.randn_like(y)), X, errors.ModelError),
    "weights that are not there": Item(lambda: nn.Conv2d(2, 3, 3, device="meta"), X, errors.ModelError, "meta"),
    "an argument too many": Item(CNN.net, (X, X), errors.ModelError),
    "an argument of another name": Item(CNN.net, {"picture": X}, errors.ModelError),
    "inputs of unequal length": Item(
        lambda: TwoInputs().double(), (torch.rand(3, 3), torch.rand(2, 2, 2)), errors.ShapeError
    ),
}


@pytest.mark.parametrize("name", ["Saliency", "IntegratedGradients", "GradCAM", "KernelSHAP"])
@pytest.mark.parametrize("item", ITEMS)
def test_one_clear_error_and_the_model_as_it_was(item: str, name: str) -> None:
    wrong = ITEMS[item]
    if name == "GradCAM" and "layer" in item and "neuron" not in item:
        wrong.asked.setdefault("at", "blok")
    net = wrong.net().train()
    before = None if any(each.is_meta for each in net.parameters()) else marks(net, wrong.inputs)
    with pytest.raises(wrong.kind) as caught:
        small(name)(net, wrong.inputs, **wrong.asked)
    error = caught.value
    assert isinstance(error, errors.PellucidError)
    assert all(isinstance(part, str) and part for part in (error.expected, error.got, error.do))
    assert wrong.words in str(error)
    assert before is None or not differences(before, marks(net, wrong.inputs))


@pytest.mark.parametrize("item", [item for item in ITEMS if not ITEMS[item].asked and "neuron" not in item])
def test_a_prediction_is_refused_for_the_same_reasons(item: str) -> None:
    wrong = ITEMS[item]
    with pytest.raises(errors.PellucidError) as caught:
        pl.Model(wrong.net())(wrong.inputs)
    assert isinstance(caught.value, wrong.kind)


RECTIFIED = ("GuidedBackprop", "Deconvolution")
NOT_DIFFERENTIABLE: dict[str, Callable[[Tensor], Any]] = {
    "argmax": lambda y: y.argmax(1),
    "threshold": lambda y: (y > y.mean(1, keepdim=True)).double(),
    "detached": lambda y: y.detach(),
    "NumPy": lambda y: torch.from_numpy(y.detach().numpy() * 2),
    "integers": lambda y: (y * 1000).long(),
    "written into zeros": lambda y: torch.zeros(len(y), 3, dtype=y.dtype).index_copy_(
        1, torch.tensor([1]), y.detach()[:, :1]
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", NOT_DIFFERENTIABLE)
def test_an_answer_without_gradient(how: str, name: str) -> None:
    """Gradient methods say so; methods that only hide parts work."""
    net = broken(NOT_DIFFERENTIABLE[how])
    at = "inner.block" if at_of(name, CNN) else None
    before = marks(net, X)
    if issubclass(pl.catalogue.find(name), GameAttributor):
        assert torch.isfinite(small(name)(net, X).values).all()
    else:
        with pytest.raises(errors.GradientError) as caught:
            small(name)(net, X, at=at)
        assert caught.value.do
    assert not differences(before, marks(net, X))


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_model_works(name: str) -> None:
    net = CNN.net().requires_grad_(False)
    expected = small(name)(CNN.net(), X, at=at_of(name, CNN)).values
    torch.testing.assert_close(small(name)(net, X, at=at_of(name, CNN)).values, expected)
    assert not any(each.requires_grad for each in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_model_in_training_mode_is_answered_in_eval_mode(name: str) -> None:
    def net() -> nn.Module:
        return nn.Sequential(CNN.net(), nn.Dropout(0.5))

    at = "0.block" if at_of(name, CNN) else None
    expected = small(name, layer="0.block")(net().eval(), X, at=at).values
    torch.testing.assert_close(small(name, layer="0.block")(net().train(), X, at=at).values, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_works(name: str, dtype: torch.dtype) -> None:
    """Values in float32, near those of full precision."""
    case = BY_NAME["mlp"] if fits(name, BY_NAME["mlp"]) else CNN
    net, x = case.net().float(), case.given().float()
    expected = small(name)(net, x, at=at_of(name, case), target=0).values
    half = CNN.net if case is CNN else case.net
    values = small(name)(half().to(dtype), x, at=at_of(name, case), target=0).values
    assert values.dtype == torch.float32
    scale = float(expected.abs().max())
    loose = 1.0 if name == "VarGrad" else 0.3
    assert float((values - expected).abs().max()) <= loose * scale
    small(name)(half().to(dtype), x.to(dtype), at=at_of(name, case), target=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_of_another_precision_are_converted(dtype: torch.dtype) -> None:
    net = CNN.net().to(dtype)
    values = [pl.Saliency()(net, X.to(other)).values for other in (torch.float64, torch.float32, torch.float16)]
    assert all(each.dtype == dtype for each in values)
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("name", NAMES)
def test_very_small_and_very_large_numbers(name: str, scale: float) -> None:
    """Linear parts scale with the inputs (shares and slopes by elements do not); nothing overflows, nothing is NaN."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.add_module("4", nn.Linear(3, 2, bias=name == "FullGrad"))
    at = "1" if name == "Conductance" else None
    torch.manual_seed(0)
    net = net.double()
    if name == "FullGrad":
        nn.init.zeros_(net[4].bias)
    exact = {
        "LRP": {"composite": "zero"},
        "CRP": {"composite": "zero"},
        "AttnLRP": {"epsilon": 0},
        "CPLRP": {"epsilon": 0},
    }
    method = small(name, **exact.get(name, {}))  # an absolute epsilon knows no scale
    one = method(net, X, target=0, at=at).values
    values = method(net, X * scale, target=0, at=at).values
    assert torch.isfinite(values).all()
    expected = one if name in ("Saliency", "Smooth", "SmoothGrad", "Sobol", "HSIC", *RECTIFIED) else one * scale
    expected = expected * scale if name == "AblationCAM" else expected  # what is lost, times the activation
    if name in ("GradCAMPlusPlus", "ScoreCAM"):  # their weights bend: a 2 beside a slope, a softmax of increases
        assert float(values.abs().max()) > 0
    elif name == "VarGrad":
        assert float(values.max()) < 1e-20
    else:
        torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))


def test_odd_but_fine() -> None:
    """A batch of one, one feature, inputs without contiguous memory, numbers of NumPy."""
    linear = nn.Linear(1, 1)
    assert pl.KernelSHAP()(linear, torch.ones(1, 1)).values.shape == (1, 1)
    assert pl.IntegratedGradients()(linear, np.ones((2, 1))).values.shape == (2, 1)
    wide = torch.rand(4, 6).T
    net = nn.Linear(4, 2)
    torch.testing.assert_close(pl.Saliency()(net, wide).values, pl.Saliency()(net, wide.contiguous()).values)
    spread = torch.rand(1, 4).expand(5, 4)
    assert pl.InputXGradient()(net, spread).values.shape == (5, 4)
    one_class = nn.Linear(4, 1)
    assert pl.Saliency()(one_class, wide, target=0).values.shape == (6, 4)
    empty = nn.Sequential()
    assert float(pl.Saliency()(empty, wide, target=1).values.sum()) == 6


def test_a_model_may_be_asked_for_other_shapes_later() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = pl.Model(net)
    for side in (8, 5, 12):
        x = torch.rand(2, 2, side, side)
        assert pl.Saliency()(model, x).values.shape == x.shape
        assert pl.GradCAM(layer="0")(model, x).values.shape == (2, 1, side - 2, side - 2)
        assert model.layers(x)[0].shape == (3, side - 2, side - 2)
    with pytest.raises(errors.PellucidError):
        pl.Saliency()(model, torch.rand(2, 5, 8, 8))
    assert pl.Saliency()(model, torch.rand(1, 2, 8, 8)).values.shape == (1, 2, 8, 8)
