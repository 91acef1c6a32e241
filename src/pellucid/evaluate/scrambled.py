"""Scrambled models: every weight tensor permuted within itself. Sizes and architecture stay, what was learned goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

from pellucid.core.model import Model
from pellucid.engines.game import Game
from pellucid.engines.points import generator
from pellucid.evaluate.bank import hidings
from pellucid.evaluate.question import Question
from pellucid.evaluate.thresholds import CALIBRATION, MOST_COPIED, SCRAMBLES


@dataclass(eq=False)
class Scrambled:
    """A model with scrambled weights; its batch-norms are set to the input in question."""

    model: Model
    question: Question | None = None

    def of(self, question: Question) -> Model:
        """The model, its batch-norms knowing its own activations: those of the input and of hidden copies of it.

        Without this, statistics of the trained model meet activations they do not belong to, and deep nets overflow.
        """
        norms = [part for part in self.model.module.modules() if is_norm(part)]
        if norms and self.question is not question:
            points = calibration_points(question)
            momenta = [part.momentum for part in norms]
            for part in norms:
                part.momentum, part.training = 1.0, True
            with torch.no_grad(), self.model.session():
                self.model.answer(question.leaves, points, torch.zeros(len(points), dtype=torch.long))
            for part, momentum in zip(norms, momenta, strict=True):
                part.momentum, part.training = momentum, False
        self.question = question
        return self.model


def scrambled(question: Question) -> list[Scrambled] | str:
    """The model with scrambled weights, several times, the same for all inputs; or why it cannot be made."""
    if "scrambled" not in question.common:
        question.common["scrambled"] = scrambles(question.model, question.seed)
    made: list[Scrambled] | str = question.common["scrambled"]
    return made


def scrambles(model: object, seed: int) -> list[Scrambled] | str:
    """Copies of the model, every weight tensor permuted within itself; bare parameters, too."""
    if reason := fixed_weights(model, SCRAMBLES):
        return reason
    made = cast(Model, model)
    return [Scrambled(made.with_module(partial(permuted, seed=seed + k))) for k in range(SCRAMBLES)]


def fixed_weights(model: object, copies: int) -> str | None:
    """Why weights cannot be scrambled in that many copies of the model; None where they can."""
    if not isinstance(model, Model):
        return "a black box has no weights that could be scrambled"
    if not model.copied:
        return "the model cannot be copied, so its weights cannot be scrambled"
    if copies * sum(each.nbytes for each in model.module.parameters()) > MOST_COPIED:
        return "the model's weights are too large to be copied and scrambled"
    if not any(movable(each) for each in model.module.parameters()):
        return "the model has no weights that could be scrambled (there are none, all are alike, or they are quantized)"
    return None


def movable(weight: Tensor) -> bool:
    """Whether permuting a weight changes it."""
    return weight.is_floating_point() and weight.numel() > 1 and bool((weight != weight.reshape(-1)[0]).any())


def permuted(module: nn.Module, seed: int) -> nn.Module:
    """The module, every weight permuted within itself, in place."""
    with torch.no_grad():
        for k, weight in enumerate(module.parameters()):
            if movable(weight):
                weight.copy_(reordered(weight, seed, k))
    return module


def reordered(weight: Tensor, seed: int, k: int) -> Tensor:
    """A weight, permuted within itself; ``k`` is its number in the model."""
    order = torch.randperm(weight.numel(), generator=generator(seed, k)).to(weight.device)
    return weight.detach().reshape(-1)[order].reshape(weight.shape)


def is_norm(part: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module keeps statistics of its batches."""
    return isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None


def calibration_points(question: Question) -> Tensor:
    """(rows, *shape): the input whole, empty, and hidden in parts."""

    def make() -> Tensor:
        game = question.game if question.at is None else Game(question.ask(outside=True))
        ends = torch.tensor([[True], [False]]).expand(2, game.n)
        x = game.ask.inputs
        shown = game.players.shown(torch.cat([ends, ~hidings(game.n, CALIBRATION - 2, question.seed)])).to(x.device)
        hidden = game.around(shown, torch.zeros(len(shown), dtype=torch.long))
        return torch.where(shown, x[None], hidden)[:, 0]

    return question.once("calibration", make)
