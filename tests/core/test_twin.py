"""The twin: shares weights of every kind, sees training go on beside it, and never reaches the user's module."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import pellucid as pl
from pellucid.core.twin import fingerprint, stamp, twin_of
from pellucid.errors import TwinError
from tests.nets import BY_NAME
from tests.traces import differences, module_marks


class Tied(nn.Module):
    """One weight under two names, one module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Linear(5, 5, bias=False)
        self.up = nn.Linear(5, 5, bias=False)
        self.up.weight = self.down.weight
        self.act = nn.Tanh()
        self.head = nn.Linear(5, 3)
        self.tail = self.head

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.up(self.act(self.down(x))))


class Attributes(nn.Module):
    """Tensors outside of parameters and buffers: non-leaf, in lists and dicts; a view of its own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 3)
        self.scaled = self.body.weight * 2
        self.parts = [self.body.weight * 3, {"more": self.body.bias * 4}]
        self.window = self.body.weight[:2]

    def forward(self, x: Tensor) -> Tensor:
        extra = x @ (self.parts[0] + self.scaled).T + self.parts[1]["more"]
        return self.body(x) + extra + (x @ self.window.T).sum(1, keepdim=True)


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3))


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(5, 3),
    "tied": Tied,
    "attributes": Attributes,
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "old weight norm": old_weight_norm,
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "old spectral norm": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(5, 5)), nn.Linear(5, 3)),
    "batch norm": lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 3)),
}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(1, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x[..., None])[0][:, -1])


NETS["recurrent"] = Recurrent


X = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))


def made(name: str) -> nn.Module:
    torch.manual_seed(1)
    net = NETS[name]()
    if name == "lazy":
        net(X)
    return net


def answers(net: nn.Module) -> Tensor:
    net.eval()
    with torch.no_grad():
        return net(X).max(1).values


@pytest.mark.parametrize("name", NETS)
def test_it_answers_as_the_module_does_and_nothing_moves(name: str) -> None:
    net = made(name)
    expected = answers(copy_of(net))
    net.train()
    before = module_marks(net)
    result = pl.Saliency()(net, X)
    torch.testing.assert_close(result.score, expected)
    assert not differences(before, module_marks(net))


def copy_of(net: nn.Module) -> nn.Module:
    """An independent copy, also of modules that hold tensors with a graph."""
    return copy.deepcopy(twin_of(net))


@pytest.mark.parametrize("change", ["optimizer", "data", "no grad", "state dict"])
@pytest.mark.parametrize("name", [name for name in NETS if name != "attributes"])
def test_training_may_go_on_beside_it(name: str, change: str) -> None:
    """A bound model sees new weights, whichever way they were changed in place."""
    net = made(name)
    model = pl.Model(net)
    first = pl.Saliency()(model, X).score
    if change == "optimizer":
        net.train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
        for _ in range(2):
            optimizer.zero_grad()
            net(X).square().sum().backward()
            optimizer.step()
    elif change == "data":
        for weight in net.parameters():
            weight.data.copy_(weight.data * 0.5 + 0.1)
    elif change == "no grad":
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(0.5)
    else:
        net.load_state_dict({key: value * 0.7 for key, value in net.state_dict().items()})
    marks = {key: each.requires_grad for key, each in net.named_parameters()}
    result = pl.Saliency()(model, X)
    expected = answers(copy_of(net))
    torch.testing.assert_close(result.score, expected, rtol=1e-4, atol=1e-5)
    assert float((first - expected).abs().max()) > 1e-4
    assert all(marks.values())


def test_tied_weights_stay_tied() -> None:
    twin = twin_of(made("tied"))
    assert twin.down.weight is twin.up.weight
    assert twin.head is twin.tail


def test_the_weights_are_not_copied() -> None:
    net = nn.Linear(1000, 1000)
    assert twin_of(net).weight.data_ptr() == net.weight.data_ptr()
    assert twin_of(net).weight.grad is None


def test_your_hooks_are_named_left_alone_and_never_run() -> None:
    net = made("batch norm")
    ran: list[str] = []
    net[1].register_forward_hook(lambda *_: ran.append("forward"))
    net.register_forward_pre_hook(lambda *_: ran.append("before"))
    net[0].register_full_backward_hook(lambda *_: ran.append("backward"))
    hooks = module_marks(net)
    with pytest.warns(UserWarning, match="0, 1, the model itself are not run"):
        model = pl.Model(net)
    pl.Saliency()(model, X)
    assert ran == []
    assert not differences(hooks, module_marks(net))
    net(X.clone().requires_grad_()).sum().backward()
    assert set(ran) == {"forward", "before", "backward"}


def test_a_hook_that_cannot_be_copied_does_no_harm() -> None:
    class Logger:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def hook(self, *_: Any) -> None:
            raise AssertionError

    net = nn.Linear(5, 3)
    logger = Logger()
    net.register_forward_hook(logger.hook)
    with pytest.warns(UserWarning, match="hooks of yours"):
        assert pl.Saliency()(net, X).values.shape == (4, 5)


class Stubborn(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            return self.norm(self.body(x))


def test_a_module_that_cannot_be_copied_is_told_or_borrowed() -> None:
    net = Stubborn()
    with pytest.raises(TwinError, match="copy=False"):
        pl.Model(net)
    net.train()
    before = module_marks(net)
    model = pl.Model(net, copy=False)
    result = pl.Saliency()(model, X)
    again = model(X).values
    assert not differences(before, module_marks(net))
    torch.testing.assert_close(result.score, answers(net))
    assert torch.equal(model(X).values, again)


def test_buffers_that_forward_writes_are_the_twins_own_and_others_stay_shared() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(5, 3)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("scale", torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.body(x) * self.scale

    net = Counter()
    model = pl.Model(net)
    pl.Saliency()(model, X)
    assert float(net.calls) == 0
    assert float(model.module.calls) > 0
    net.scale.mul_(0)
    assert float(pl.Saliency()(model, X).values.abs().max()) == 0


def test_a_compiled_module_is_studied_as_it_was_written() -> None:
    net = nn.Linear(5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about itself
        compiled = torch.compile(net)
    torch.testing.assert_close(pl.Saliency()(compiled, X).score, answers(net))


def test_the_stamp_and_the_fingerprint_follow_the_weights() -> None:
    net = BY_NAME["cnn"].net()
    first, hashed = stamp(net), fingerprint(net)
    assert stamp(net) == first
    assert fingerprint(net) == hashed == fingerprint(copy.deepcopy(net))
    with torch.no_grad():
        net.head.bias.add_(1)
    assert stamp(net) != first
    assert fingerprint(net) != hashed
    second = stamp(net)
    net.head.weight.data.copy_(net.head.weight.data * 2)
    assert stamp(net) != second
    half = nn.Linear(3, 2).bfloat16()
    assert len(fingerprint(half)) == 12


def test_gradients_asked_inside_inference_mode_and_no_grad() -> None:
    net = BY_NAME["mlp"].net()
    given = BY_NAME["mlp"].given()
    expected = pl.Saliency()(net, given).values
    with torch.inference_mode():
        assert torch.equal(pl.Saliency()(net, given).values, expected)
        inside = given * 1
        made_inside = nn.Linear(5, 3)
        assert torch.is_inference_mode_enabled()
    with torch.no_grad():
        assert torch.equal(pl.Saliency()(net, given).values, expected)
    assert torch.equal(pl.Saliency()(net, inside).values, expected)
    assert pl.Saliency()(made_inside, X).values.shape == (4, 5)


@pytest.mark.parametrize("make", ["script", "trace"])
def test_torchscript_can_be_explained_at_its_inputs(make: str) -> None:
    net = made("batch norm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: TorchScript is on its way out
        scripted = torch.jit.script(net) if make == "script" else torch.jit.trace(net.eval(), X)
    scripted.train(make == "script")
    torch.testing.assert_close(pl.Saliency()(scripted, X).values, pl.Saliency()(net, X).values)
    assert scripted.training == (make == "script")
    with pytest.raises(pl.errors.LayerError, match="TorchScript"):
        pl.Saliency()(scripted, X, at="2")


class Throws(nn.Module):
    """Draws a random number that does not matter, as some layers do that may be skipped in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if float(torch.rand(())) >= 0 else x


def test_random_numbers_are_put_back_only_where_the_model_draws_some() -> None:
    """What others draw meanwhile, here the target, is theirs."""
    model = pl.Model(Throws())
    before = torch.get_rng_state()
    pl.IntegratedGradients()(model, X)
    model(X)
    model.layers(X)
    assert torch.equal(before, torch.get_rng_state())
    quiet = pl.Model(nn.Linear(5, 3))
    before = torch.get_rng_state()
    pl.Saliency()(quiet, X, target=lambda y: y[:, 0] + 0 * torch.rand(()))
    assert not torch.equal(before, torch.get_rng_state())
