"""Weights: does the explanation depend on what the model has learned?

Every weight tensor is permuted within itself: sizes and architecture stay, what was learned is gone. Either the method
is asked again on such models, or, for maps whose method is not at hand, the scrambled models are put the questions of
the mask bank: a map that fits them as well as the trained model is not about what was learned.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from pellucid.core.evidence import Check, Control
from pellucid.core.model import Model
from pellucid.engines.game import Game
from pellucid.engines.points import generator
from pellucid.evaluate.bank import Bank, bank_of, hidings
from pellucid.evaluate.layout import features_of
from pellucid.evaluate.question import Case, Question, untested
from pellucid.evaluate.ranks import bootstrap, interval, rank_correlation
from pellucid.evaluate.repeat import COSTLY, FAILURES, Repeater, repeater
from pellucid.evaluate.thresholds import ALIKE, SCRAMBLED_MASKS, SCRAMBLES

KIND = "weights"
ASKED = "Does the map change when what the model learned is scrambled?"
FIT_ASKED = "Does the map fit this model better than the same model with scrambled weights?"
CANNOT = "That the map is right: only that it depends on what the model learned."
SOURCE = "Adebayo et al. 2018, arXiv:1810.03292; permuted within tensors, so that bare parameters move, too"
FIT_SOURCE = "Adebayo et al. 2018, arXiv:1810.03292, asked of the mask bank instead of the method"
CALIBRATION = 16


def weights(case: Case) -> Check:
    """Similarity (rank correlation of sizes) of the map and maps of scrambled models, beside that among the latter."""
    rest = {"better": "lower", "cannot_show": CANNOT, "source": SOURCE}
    if case.flat:
        return untested("weights", KIND, ASKED, case.flat, **rest)
    again = repeater(case)
    models = scrambled(case.question)
    for why in (models, again):
        if isinstance(why, str):
            return untested("weights", KIND, ASKED, why, **rest)
    assert isinstance(again, Repeater) and not isinstance(models, str)
    try:
        own = again.reference()
        others = torch.cat([again.cells(model=calibrated(model, case.question)) for model in models])
    except FAILURES as error:
        why = COSTLY if again.reduced else f"the method could not be asked again: {error}"
        return untested("weights", KIND, ASKED, why, rows=again.rows, **rest)
    return judged(own, others, again, rest)


def judged(own: Tensor, others: Tensor, again: Repeater, rest: dict[str, Any]) -> Check:
    """The check, from the map (cells,) and those of scrambled models (models, cells)."""
    values = [likeness(own, each) for each in others]
    value = sum(values) / len(values)
    among = [likeness(one, other) for i, one in enumerate(others) for other in others[:i]]
    passed = value <= ALIKE
    control = Control(
        kind="maps of two scrambled models", n=len(among), median=sorted(among)[len(among) // 2], q95=max(among)
    )
    reason = f"similarity to maps of models with scrambled weights is {value:.2f}, {ALIKE:g} at most allowed"
    return Check(
        name="weights",
        kind=KIND,
        question=ASKED,
        value=value,
        passed=passed,
        reason=reason,
        control=control,
        rows=again.rows,
        options={"models": len(others), "each": values, "lighter": again.reduced},
        **rest,
    )


def likeness(one: Tensor, other: Tensor) -> float:
    """Rank correlation of the sizes of two maps, where at least one of them is not zero."""
    used = (one != 0) | (other != 0)
    return float(rank_correlation(one[used].abs(), other[used].abs())) if int(used.sum()) > 2 else 1.0


def fit(case: Case) -> Check:
    """How much better a map foretells the drops of the trained model than those of scrambled ones."""
    rest = {"better": "higher", "cannot_show": CANNOT, "source": FIT_SOURCE}
    bank = case.question.bank
    if why := bank.silent or case.flat:
        return untested("fit", KIND, FIT_ASKED, why, **rest)
    banks = scrambled_banks(case.question)
    if isinstance(banks, str):
        return untested("fit", KIND, FIT_ASKED, banks, **rest)
    return fit_judged(case, bank.first(len(banks[0].hidden)), banks, rest)


def fit_judged(case: Case, bank: Bank, banks: list[Bank], rest: dict[str, Any]) -> Check:
    """The check, from the bank of the trained model and those of scrambled ones, on the same masks."""
    claims, seed = bank.claims(case.parts), case.question.seed
    own = float(bank.agreement(case.parts))
    others = [float(each.agreement(case.parts)) for each in banks]
    less = torch.stack([bootstrap(claims, each.effects, seed) for each in banks]).amax(0)
    low, high = interval(bootstrap(claims, bank.effects, seed) - less)
    passed = True if low > 0 else None if own > max(others) else False
    reason = (
        f"agreement with what hiding does is {own:.2f} for this model, {max(others):.2f} at most for scrambled ones"
    )
    if passed is None:
        reason += ": better, but not clearly so with this few masks"
    return Check(
        name="fit",
        kind=KIND,
        question=FIT_ASKED,
        value=own - max(others),
        passed=passed,
        reason=reason,
        interval=(low, high),
        control=Control(
            kind="agreement with scrambled models",
            n=len(others),
            median=sorted(others)[len(others) // 2],
            q95=max(others),
        ),
        rows=case.question.pay("scrambled banks", sum(each.rows for each in banks)),
        hidden_by=bank.hidden_by,
        options={"masks": len(bank.hidden), "models": len(banks)},
        **rest,
    )


def scrambled(question: Question) -> list[Model] | str:
    """The model with scrambled weights, several times; or why it cannot be made."""
    if "scrambled" not in question.common:
        question.common["scrambled"] = scrambles(question)
    return question.common["scrambled"]


def scrambles(question: Question) -> list[Model] | str:
    """Copies of the model, every weight tensor permuted within itself."""
    model = question.model
    if not isinstance(model, Model):
        return "a black box has no weights that could be scrambled"
    if not model.copied:
        return "the model cannot be copied, so its weights cannot be scrambled"
    if not any(movable(each) for each in model.module.parameters()):
        return "the model has no weights that could be scrambled (none, all alike, or quantized)"
    return [model.with_module(lambda module, k=k: permuted(module, question.seed + k)) for k in range(SCRAMBLES)]


def movable(weight: Tensor) -> bool:
    """Whether permuting a weight changes it."""
    return weight.is_floating_point() and weight.numel() > 1 and bool((weight != weight.reshape(-1)[0]).any())


def permuted(module: nn.Module, seed: int) -> nn.Module:
    """The module, every weight permuted within itself."""
    with torch.no_grad():
        for k, weight in enumerate(module.parameters()):
            if movable(weight):
                order = torch.randperm(weight.numel(), generator=generator(seed, k)).to(weight.device)
                weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))
    return module


def calibrated(model: Model, question: Question) -> Model:
    """A scrambled model whose batch-norms know its own activations: those of the input and of hidden copies of it.

    Without this, statistics of the trained model meet activations they do not belong to, and deep networks overflow.
    """
    norms = [part for part in model.module.modules() if is_norm(part)]
    if not norms or model.__dict__.get("calibrated_for") is question:
        return model
    points = calibration_points(question)
    before = [(part.momentum, part.training) for part in norms]
    with torch.no_grad(), model.session():
        for part in norms:
            part.momentum, part.training = 1.0, True
        model.answer(question.leaves, points, torch.zeros(len(points), dtype=torch.long))
        for part, (momentum, training) in zip(norms, before, strict=True):
            part.momentum, part.training = momentum, training
    model.__dict__["calibrated_for"] = question
    return model


def is_norm(part: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module keeps statistics of its batches."""
    return isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None


def calibration_points(question: Question) -> Tensor:
    """(rows, *shape): the input whole, empty, and hidden in parts."""

    def make() -> Tensor:
        game = question.game if question.at is None else Game(question.ask(outside=True))
        ends = torch.tensor([[False], [True]]).expand(2, game.n)
        shown = game.players.shown(~torch.cat([ends, hidings(game.n, CALIBRATION - 2, question.seed)]))
        x = game.ask.inputs
        return torch.where(shown.to(x.device), x[None], game.hidden[:1])[:, 0]

    return question.once("calibration", make)


def scrambled_banks(question: Question) -> list[Bank] | str:
    """The first masks of the bank, asked of the scrambled models."""
    models = scrambled(question)
    if isinstance(models, str):
        return models
    return question.once(
        "scrambled banks", lambda: [bank_under(calibrated(each, question), question) for each in models]
    )


def bank_under(model: Model, question: Question) -> Bank:
    """The bank of a scrambled model."""
    ask = question.ask(model=model)
    with model.session():
        game = Game(ask, features_of(ask), question.fill)
        return bank_of(game, question.bank.hidden[: SCRAMBLED_MASKS[question.tier]])
