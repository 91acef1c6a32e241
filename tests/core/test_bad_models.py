"""Models that no mode can see into, or that do odd things on the way: right, or a named error; never silently wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import pellucid as pl
from pellucid import catalogue, errors
from tests.small import small
from tests.traces import differences, marks

FAMILY = [row for row in catalogue.METHODS if row.family == "propagation" and "tensor" in row.modalities]
RECTIFIED = ["GuidedBackprop", "Deconvolution"]
MASKED = {"CRP"}  # LRP through chosen channels of a layer
RELEVANCE = [row.name for row in FAMILY if row.name not in {*RECTIFIED, *MASKED}]
AGAINST = {"DeepLIFT", "DeepSHAP"}  # these hold the pass against one at a baseline
EVERY = [*RELEVANCE, *RECTIFIED]
X = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two layers, and between them whatever is to be tried: ``middle(net, x, hidden)``."""

    def __init__(self, middle: Callable[[Any, Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(5, 6, bias=False), nn.Linear(6, 3, bias=False)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.one(x))
        return self.two(hidden if self.middle is None else self.middle(self, x, hidden))


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)).double()


def explained(name: str, net: nn.Module, x: Any = X) -> pl.Attribution:
    """The method's answer for output 1; the forward value is the model's own, and nothing is left behind."""
    before = marks(net, x)
    try:
        result = small(name)(net, x, target=1)
    finally:
        assert not differences(before, marks(net, x))
    with torch.no_grad():
        torch.testing.assert_close(result.score, net(x)[:, 1].to(result.score.dtype), rtol=1e-5, atol=1e-6)
    return result


def same(name: str, net: nn.Module, other: nn.Module, **close: float) -> None:
    torch.testing.assert_close(explained(name, net).values, explained(name, other).values, **close)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return 2 * grads[0] * ctx.saved_tensors[0]


def force(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
    """A model that takes the gradient of an energy itself."""
    with torch.enable_grad():
        here = x if x.requires_grad else x.clone().requires_grad_()
        energy = torch.relu(net.one(here)).pow(3).sum()
        (slope,) = torch.autograd.grad(energy, here, create_graph=True)
    return torch.cat([hidden[:, :1], slope], 1)


def transformed(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
    return torch.func.grad(lambda each: torch.relu(each).pow(3).sum())(hidden)


def mapped(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
    return torch.vmap(lambda row: torch.sin(torch.relu(row)))(hidden)


# ------------------------------------------------------------------ what must be refused, by name


def in_script(how: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "traced":
            return torch.jit.trace(plain(), X)
        scripted = torch.jit.script(plain() if how == "scripted" else nn.ReLU())
        return scripted if how == "scripted" else nn.Sequential(plain()[0], scripted, plain()[2])


@pytest.mark.parametrize("how", ["scripted", "traced", "part"])
@pytest.mark.parametrize("name", EVERY)
def test_torch_script_is_refused(name: str, how: str) -> None:
    with pytest.raises(errors.GradientError, match="TorchScript"):
        small(name)(in_script(how), X, target=1)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @torch.jit.script
    def sharp(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.7 * x)


class WithScript(Net):
    """Calls a scripted function, whose operations no mode meets."""

    def forward(self, x: Tensor) -> Tensor:
        return self.two(sharp(self.one(x)))


@pytest.mark.parametrize("name", RELEVANCE)
def test_scripted_functions_are_refused(name: str) -> None:
    with pytest.raises(errors.GradientError, match="sharp"):
        small(name)(WithScript(), X.float(), target=1)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", [*RECTIFIED, "Saliency", "IntegratedGradients"])
def test_reentrant_checkpoints_cannot_be_asked_backwards(name: str) -> None:
    """torch's own error tells to call .backward(), which nobody here does."""
    with pytest.raises(errors.GradientError, match="reentrant"):
        explained(name, Net(FOREIGN["a reentrant checkpoint"][0]).double())


@pytest.mark.parametrize(("middle", "word"), [(force, "autograd.grad"), (transformed, "torch.func")])
@pytest.mark.parametrize("name", EVERY)
def test_a_model_that_takes_gradients_is_refused(name: str, middle: Any, word: str) -> None:
    """Rules would change the gradient that the model computes with, and so its answer."""
    named = (errors.ModelError, f"{word}|TensorWrapper") if name in AGAINST else (errors.GradientError, word)
    with pytest.raises(named[0], match=named[1]):
        explained(name, Net(middle).double())


@pytest.mark.parametrize("name", RELEVANCE)
def test_vmap_over_the_way_is_refused(name: str) -> None:
    with pytest.raises(errors.GradientError, match=r"torch\.func"):
        explained(name, Net(mapped).double())


@pytest.mark.parametrize("name", EVERY)
def test_vmap_beside_the_way_is_fine(name: str) -> None:
    """As transformers does for its masks."""

    def masked(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
        mask = torch.vmap(lambda i: i % 2 == 0)(torch.arange(6))
        return hidden.masked_fill(mask, 0.0)

    def plainly(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
        return hidden.masked_fill(torch.arange(6) % 2 == 0, 0.0)

    same(name, Net(masked).double(), Net(plainly).double())


FOREIGN: dict[str, tuple[Callable[[Any, Tensor, Tensor], Tensor], str]] = {
    "an autograd function": (lambda net, x, h: Square.apply(h), "Square"),
    "a view of one": (lambda net, x, h: Square.apply(h)[:, torch.arange(6)], "Square"),
    "a reentrant checkpoint": (lambda net, x, h: checkpoint(torch.tanh, h, use_reentrant=True), "CheckpointFunction"),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("name", RELEVANCE)
def test_autograd_functions_of_others_are_named(name: str, what: str) -> None:
    middle, word = FOREIGN[what]
    with pytest.raises(errors.GradientError, match=word):
        explained(name, Net(middle).double())


UNKNOWN: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "sin": lambda net, x, h: torch.sin(h),
    "sin_": lambda net, x, h: (h * 1).sin_(),
    "sort": lambda net, x, h: h.sort(-1).values,
    "topk": lambda net, x, h: h.topk(6).values,
    "erfinv": lambda net, x, h: torch.erfinv(h * 0.01),
    "cumprod": lambda net, x, h: h.cumprod(-1),
    "fft_fft": lambda net, x, h: torch.fft.fft(h).abs(),
    "complex": lambda net, x, h: torch.view_as_real(torch.complex(h, h)).sum(-1),
    "digamma": lambda net, x, h: torch.ops.aten.digamma(h + 1),
}


@pytest.mark.parametrize("word", UNKNOWN)
@pytest.mark.parametrize("name", RELEVANCE)
def test_an_operation_without_a_rule_is_named(name: str, word: str) -> None:
    """Or it has a rule, and then the answer adds up."""
    net = Net(UNKNOWN[word]).double()
    try:
        result, error = explained(name, net), None
    except errors.GradientError as raised:
        result, error = None, raised
    if result is None:
        assert word in str(error)
        return
    missed = result.gap if result.gap is not None else (result.extra["conserved"] - 1).abs()
    assert float(missed.max()) < 1e-3


# ------------------------------------------------------------------ what must be right


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["whole", "part"])
@pytest.mark.parametrize("name", EVERY)
def test_compiled_models_are_explained_as_they_were_written(name: str, how: str) -> None:
    net = plain()
    if how == "whole":
        compiled: nn.Module = torch.compile(plain(), backend="eager")
    else:
        compiled = nn.Sequential(torch.compile(plain()[:2], backend="eager"), plain()[2])
    same(name, compiled, net)


SAME: dict[str, tuple[Callable[[Any, Tensor, Tensor], Tensor], Callable[[Any, Tensor, Tensor], Tensor]]] = {
    "control flow": (
        lambda net, x, h: torch.stack([row if row.sum() > 0.5 else 2 * row for row in h]),
        lambda net, x, h: torch.where(h.detach().sum(1, keepdim=True) > 0.5, 1.0, 2.0).double() * h,
    ),
    "a checkpoint": (
        lambda net, x, h: checkpoint(lambda each: torch.relu(2 * each), h, use_reentrant=False),
        lambda net, x, h: torch.relu(2 * h),
    ),
    "comparisons": (lambda net, x, h: h.masked_fill(h < 0.1, 0.0), lambda net, x, h: torch.where(h < 0.1, 0.0, h)),
    "a tensor of zeros": (lambda net, x, h: h + torch.zeros_like(h), lambda net, x, h: h),
    "an index": (
        lambda net, x, h: h * functional.one_hot(h.argmax(-1), 6),
        lambda net, x, h: torch.where(h == h.amax(-1, keepdim=True), h, 0.0),
    ),
    "a flag": (lambda net, x, h: h if h.isfinite().all() else h * 0, lambda net, x, h: h),
}


@pytest.mark.parametrize("what", SAME)
@pytest.mark.parametrize("name", EVERY)
def test_however_it_is_written(name: str, what: str) -> None:
    odd, even = (Net(middle).double() for middle in SAME[what])
    if what == "control flow" and name in AGAINST:
        with pytest.raises(errors.GradientError, match="control flow"):
            explained(name, odd)
        return
    same(name, odd, even)


def silently(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        return hidden + torch.tanh(hidden)


CUT: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    ".data": lambda net, x, h: h + torch.tanh(h.data),
    "detach": lambda net, x, h: h + torch.tanh(h.detach()),
    "tanh": lambda net, x, h: h + silently(net, x, h) - h.detach(),
}


def constant(net: Net, x: Tensor, hidden: Tensor) -> Tensor:
    """The same, the branch written as a constant."""
    with torch.no_grad():
        fixed = torch.relu(net.one(x.detach().clone()))
    return hidden + torch.tanh(fixed)


@pytest.mark.parametrize("what", CUT)
@pytest.mark.parametrize("name", EVERY)
def test_a_branch_cut_off_gets_nothing_and_the_ledger_says_so(name: str, what: str) -> None:
    """What is added is a constant as the model tells it; the one who reads the map is told."""
    if name in AGAINST:
        pytest.skip("what differs between inputs and baseline is no constant")
    result = explained(name, Net(CUT[what]).double())
    torch.testing.assert_close(result.values, explained(name, Net(constant).double()).values, rtol=1e-6, atol=1e-9)
    if "ledger" in result.extra:
        assert what in [row[0] for row in result.extra["ledger"] if row[2] == "cut off"]
        assert "no relevance" in result.words()


@pytest.mark.parametrize("name", EVERY)
def test_a_model_cut_off_altogether_is_refused(name: str) -> None:
    with pytest.raises(errors.GradientError, match="detach"):
        explained(name, Net(lambda net, x, h: torch.tanh(h.detach())).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", EVERY)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """As near to double precision as the numbers are."""
    net = plain()
    low, x = plain().to(dtype), X.to(dtype)
    values, expected = explained(name, low, x).values, explained(name, net.to(dtype).double(), x.double()).values
    assert float((values.double() - expected).abs().max()) < 16 * torch.finfo(dtype).eps * float(expected.abs().max())


WRONG: dict[str, tuple[Any, type[errors.PellucidError]]] = {
    "no rows": (X[:0], errors.EmptyError),
    "NaN": (X * torch.nan, errors.NonFiniteError),
    "infinity": (X / 0, errors.NonFiniteError),
    "integers without an embedding": (torch.ones(2, 5, dtype=torch.long), errors.DtypeError),
    "complex": (X + 0j, errors.DtypeError),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("name", EVERY)
def test_wrong_inputs(name: str, what: str) -> None:
    x, kind = WRONG[what]
    with pytest.raises(kind):
        small(name)(plain(), x, target=1)
