"""Targets at places: neurons, tokens, regions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import ShapeError, TargetError
from tests.core.test_target import CLASSIFIER, ROWS, Gives, X, same, scores
from tests.nets import BY_NAME


def test_tokens_and_regions() -> None:
    net = Gives((2, 4))
    answer = net(X).detach()
    same(scores(net, pl.Token()), answer[:, -1].max(1).values)
    same(scores(net, pl.Token(position=0, id=2)), answer[:, 0, 2])
    for wrong in (pl.Token(position=2), pl.Token(id=4)):
        with pytest.raises(TargetError):
            scores(net, wrong)
    with pytest.raises(TargetError):
        scores(CLASSIFIER, pl.Token())
    picture = Gives((3, 2, 2))
    answer, mask = picture(X).detach(), torch.tensor([[True, False], [False, True]])
    same(scores(picture, pl.Region(mask, which=1)), answer[:, 1, mask].mean(1))
    common = answer.argmax(1)[:, mask].mode(1).values
    same(scores(picture, pl.Region(mask)), answer[torch.arange(ROWS), common][:, mask].mean(1))
    for wrong in (torch.zeros(2, 2), torch.ones(3, 3)):
        with pytest.raises(ShapeError):
            scores(picture, pl.Region(wrong))


def test_neurons() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Unflatten(1, (1, 5, 1)), nn.Conv2d(1, 3, (2, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    maps = net[:3](X.requires_grad_(False)).detach()
    same(scores(net, pl.Neuron("2", channel=1)), maps[:, 1].mean((1, 2)))
    same(scores(net, pl.Neuron("2", channel=-1)), maps[:, 2].mean((1, 2)))
    same(scores(net, pl.Neuron("2", channel=1, position=(3, 0))), maps[:, 1, 3, 0])
    same(scores(net, pl.Neuron("2", position=(3, 0))), maps[:, :, 3, 0].mean(1))
    same(scores(net, pl.Neuron("2")), maps.mean((1, 2, 3)))
    same(scores(net, pl.Neuron("4:input", channel=7)), maps.flatten(1)[:, 7])
    same(scores(net, pl.Neuron("2", 0) - 2 * pl.Neuron("2", 1)), maps[:, 0].mean((1, 2)) - 2 * maps[:, 1].mean((1, 2)))
    for wrong in (
        pl.Neuron("2", channel=3),
        pl.Neuron("2", channel=0, position=(4, 0)),
        pl.Neuron("2", position=(0, 0, 0)),
    ):
        with pytest.raises(TargetError):
            scores(net, wrong)
    with pytest.raises(TargetError):
        scores(net, pl.Class(0) - pl.Neuron("2"))
    tokens = nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Linear(1, 4), nn.Flatten(), nn.Linear(20, 2))
    inner = tokens[:2](X).detach()
    same(scores(tokens, pl.Neuron("1", channel=3, position=2)), inner[:, 2, 3])


def test_a_channel_of_a_signal_is_a_channel() -> None:
    """Conv1d gives (rows, channels, time); attention gives (rows, tokens, features)."""
    case = BY_NAME["series"]
    net, given = case.net(), case.given()
    maps = net.act(net.conv(given)).detach()
    for model in (pl.Model(net, inputs=pl.Series()), net):
        result = pl.Saliency()(model, given, target=pl.Neuron("act", channel=1))
        torch.testing.assert_close(result.score, maps[:, 1].mean(1))
        result = pl.Saliency()(model, given, target=pl.Neuron("act", channel=1, position=4))
        torch.testing.assert_close(result.score, maps[:, 1, 4])
    case = BY_NAME["ids"]
    net, given = case.net(), case.given()
    result = pl.Saliency()(net, given, target=pl.Neuron("attention", channel=3, position=0))
    torch.testing.assert_close(result.score, net(**given).hidden[:, 0, 3].detach())
