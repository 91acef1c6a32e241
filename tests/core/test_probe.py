"""The five verbs of a probe against plain torch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.core.reduce import Keep
from pellucid.errors import GradientError, LayerError, NonFiniteError
from tests.nets import BY_NAME

CASE = BY_NAME["mlp"]
NET, X = CASE.net().eval(), CASE.given()
C = NET(X).argmax(1)


def ask(target: Any = None, **options: Any) -> Any:
    return question(pl.Model(NET), X, target, **options)


def score(points: Tensor) -> Tensor:
    return NET(points)[torch.arange(len(points)), C[: len(points)]]


def slope(points: Tensor) -> Tensor:
    leaf = points.detach().requires_grad_()
    return torch.autograd.grad(score(leaf).sum(), leaf)[0]


def test_forward_and_gradient_at_the_inputs() -> None:
    probe = ask()
    torch.testing.assert_close(probe.forward(), score(X)[None].detach())
    torch.testing.assert_close(probe.gradient(), slope(X))
    torch.testing.assert_close(probe.score, score(X).detach())
    assert probe.target.index == tuple(C.tolist())


def test_points_are_made_when_needed() -> None:
    """Each draw is asked for once, in order, and never more at a time than fit."""
    asked: list[int] = []

    def points(k: Tensor) -> Tensor:
        asked.extend(k.tolist())
        return X[None] * (1 + k.double()).reshape(-1, 1, 1) / 10

    with pl.settings(memory=1):
        found = ask().forward(points, 7)
    assert asked == list(range(7))
    expected = torch.stack([score(X * (1 + k) / 10) for k in range(7)]).detach()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        ask().gradient(points, 7), torch.stack([slope(X * (1 + k) / 10) for k in range(7)]).mean(0)
    )
    weights = torch.rand(7, dtype=torch.float64)
    weighted = ask().gradient(points, weights=weights)
    expected = sum(w * slope(X * (1 + k) / 10) for k, w in enumerate(weights))
    torch.testing.assert_close(weighted, expected)
    values, scores = ask().gradient(points, 7, into=Keep())
    torch.testing.assert_close(values[3], slope(X * 0.4))
    torch.testing.assert_close(scores[3], score(X * 0.4).detach())


def test_capture_gives_activations_and_slopes_of_several_layers_in_one_pass() -> None:
    one, three = ask().capture("1", "3")
    hidden = NET[:2](X)
    torch.testing.assert_close(one.value, hidden.detach())
    leaf = hidden.detach().requires_grad_()
    (expected,) = torch.autograd.grad(NET[2:](leaf)[torch.arange(3), C].sum(), leaf)
    torch.testing.assert_close(one.gradient, expected)
    torch.testing.assert_close(three.value, NET[:4](X).detach())
    torch.testing.assert_close(three.gradient, NET[4].weight[C].detach())
    torch.testing.assert_close(three.score, score(X).detach())


def test_at_asks_the_same_of_a_layer_and_outer_leads_back() -> None:
    inside = ask(at="1")
    hidden = NET[:2](X).detach()
    torch.testing.assert_close(inside.inputs, hidden)
    torch.testing.assert_close(
        inside.forward(lambda k: hidden[None] * 0.5), NET[2:](hidden * 0.5)[torch.arange(3), C][None].detach()
    )
    assert inside.outer.site is None
    torch.testing.assert_close(inside.outer.record(inside.site, X * 2), NET[:2](X * 2).detach())
    deeper = inside.at("3")
    torch.testing.assert_close(deeper.inputs, NET[:4](X).detach())
    assert deeper.outer is inside


def test_select_and_moved() -> None:
    some = ask().select(torch.tensor([2, 0, 2]))
    assert some.batch == 3
    torch.testing.assert_close(some.gradient(), slope(X)[[2, 0, 2]])
    torch.testing.assert_close(some.score, score(X)[[2, 0, 2]].detach())
    moved = ask().moved(torch.stack([X, X * 2]))
    assert moved.batch == 6
    torch.testing.assert_close(moved.gradient(), torch.cat([slope(X), slope(X * 2)]))
    inner = ask(at="1").moved(torch.zeros(2, 3, 6, dtype=torch.float64))
    torch.testing.assert_close(inner.score, NET[2:](torch.zeros(3, 6).double())[torch.arange(3), C].repeat(2).detach())


def test_under_changes_the_network_for_the_time_of_a_call() -> None:
    model = pl.Model(NET)
    probe = question(model, X)

    @contextmanager
    def halved(module: nn.Module) -> Any:
        handle = module.get_submodule("4").register_forward_hook(lambda part, args, out: out / 2)
        try:
            yield
        finally:
            handle.remove()

    changed = probe.under(halved)
    torch.testing.assert_close(changed.score, score(X).detach() / 2)
    torch.testing.assert_close(changed.gradient(), slope(X) / 2)
    torch.testing.assert_close(probe.gradient(), slope(X))
    assert not model.module.get_submodule("4")._forward_hooks


def test_a_target_without_gradient() -> None:
    for hard in (lambda y: y.argmax(1).double(), lambda y: (y[:, 0] > 0).double(), lambda y: y.detach()[:, 0]):
        with pytest.raises(GradientError) as caught:
            pl.Saliency()(NET, X, target=hard)
        assert "KernelSHAP" in caught.value.do
        assert pl.KernelSHAP()(NET, X, target=hard).values.shape == (3, 5)


def test_scores_that_are_not_finite() -> None:
    with pytest.raises(NonFiniteError):
        pl.Saliency()(NET, X, target=lambda y: (y[:, 0] * 0).log())
    with pytest.raises(NonFiniteError):  # only far away from the inputs
        pl.IntegratedGradients(baseline=1e200)(NET[0], X, target=lambda y: y[:, 0].square().square())


def test_layers_of_a_black_box() -> None:
    box = question(pl.BlackBox(lambda rows: rows.sum(1)), X.numpy())
    for verb in (lambda: box.at("1"), lambda: box.capture("1"), box.embedded):
        with pytest.raises(LayerError):
            verb()
    with pytest.raises(GradientError):
        box.gradient()
