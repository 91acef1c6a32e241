"""Weights: does the explanation depend on what the model has learned?

Either the method is asked again of models with scrambled weights; or, for maps whose method is not at hand or too
costly, these models are put the questions of the mask bank: a map that fits them as well as the trained model is not
about what was learned.
"""

from __future__ import annotations

from itertools import combinations
from statistics import median

import torch
from torch import Tensor

from pellucid.core.evidence import Check, Control
from pellucid.engines.game import Game
from pellucid.evaluate.asked import Asked
from pellucid.evaluate.bank import Bank, bank_of
from pellucid.evaluate.layout import features_of
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.ranks import bootstrap, interval, rank_correlation
from pellucid.evaluate.repeat import FAILURES, Repeater, repeater
from pellucid.evaluate.scrambled import Scrambled, is_norm, scrambled
from pellucid.evaluate.thresholds import ALIKE, CALIBRATION, FEWEST_PLACES, SCRAMBLED_MASKS

WEIGHTS = Asked(
    name="weights",
    kind="weights",
    question="Does the map change when what the model learned is scrambled?",
    better="lower",
    cannot_show="That the map is right: only that it depends on what the model learned.",
    source="Adebayo et al. 2018, arXiv:1810.03292; weights permuted within each tensor",
)
FIT = Asked(
    name="fit",
    kind="weights",
    question="Does the map fit this model better than the same model with scrambled weights?",
    better="higher",
    cannot_show="That the map is right: only that it fits what the model learned better than what it did not.",
    source="Adebayo et al. 2018, arXiv:1810.03292, asked of the mask bank instead of the method",
)


def weights(case: Case) -> Check:
    """Similarity (rank correlation of sizes) of the map and maps of scrambled models, beside that among the latter."""
    if case.flat:
        return WEIGHTS.untested(case.flat)
    models, again = scrambled(case.question), repeater(case)
    if isinstance(models, str):
        return WEIGHTS.untested(models)
    if isinstance(again, str):
        return WEIGHTS.untested(again)
    try:
        own = again.reference()
        others = [again.cells(model=each.of(case.question))[0] for each in models]
    except FAILURES as error:
        return WEIGHTS.untested(again.failed(error), rows=again.rows)
    return weights_judged(own, others, again, again.rows + calibration_rows(case.question, models))


def weights_judged(own: Tensor, others: list[Tensor], again: Repeater, rows: int) -> Check:
    """The check, from the map (cells,) and those of scrambled models."""
    used = (torch.stack([own, *others]) != 0).any(0)
    if int(used.sum()) < FEWEST_PLACES:
        return WEIGHTS.untested(f"the maps have only {int(used.sum())} places that are not zero to compare", rows=rows)
    each = [likeness(own, other) for other in others]
    among = [likeness(one, other) for one, other in combinations(others, 2)]
    value = sum(each) / len(each)
    words = "changes" if value <= ALIKE else "hardly changes"
    reason = f"it {words} when what the model learned is scrambled (similarity {value:.2f}, at most {ALIKE:g} allowed)"
    return WEIGHTS.answered(
        value=value,
        passed=value <= ALIKE,
        reason=reason,
        control=Control(kind="maps of two scrambled models", n=len(among), median=median(among), q95=max(among)),
        rows=rows,
        options={"each": each, "allowed": ALIKE, "lighter": again.reduced},
    )


def likeness(one: Tensor, other: Tensor) -> float:
    """Rank correlation of the sizes of two maps, where at least one of them is not zero."""
    used = (one != 0) | (other != 0)
    return float(rank_correlation(one[used].abs(), other[used].abs()))


def fit(case: Case) -> Check:
    """How much better a map tells which parts matter to the trained model than to scrambled ones."""
    if why := case.question.bank.silent or case.flat:
        return FIT.untested(why)
    models = scrambled(case.question)
    if isinstance(models, str):
        return FIT.untested(models)
    try:
        banks = case.question.once("scrambled banks", lambda: [bank_under(each, case.question) for each in models])
    except FAILURES as error:
        return FIT.untested(f"the scrambled models could not be asked: {error}")
    rows = case.question.pay("scrambled banks", sum(each.rows for each in banks))
    rows += calibration_rows(case.question, models)
    if case.by_size:
        banks = [each.unsigned() for each in banks]
    return fit_judged(case, case.bank.first(len(banks[0].hidden)), banks, rows)


def fit_judged(case: Case, bank: Bank, banks: list[Bank], rows: int) -> Check:
    """The check, from the bank of the trained model and those of scrambled ones, on the same masks."""
    claims, seed = bank.claims(case.parts), case.question.seed
    own, others = float(bank.agreement(case.parts)), [float(each.agreement(case.parts)) for each in banks]
    best = torch.stack([bootstrap(claims, each.effects, seed) for each in banks]).amax(0)
    samples = bootstrap(claims, bank.effects, seed)
    low, high = interval(samples - best)
    passed = True if low > 0 else None if own > max(others) else False
    words = {True: "better than", False: "no better than", None: "not clearly better than"}[passed]
    return FIT.answered(
        value=own,
        passed=passed,
        reason=f"it fits this model {words} models with scrambled weights ({own:.2f} against {max(others):.2f})",
        interval=interval(samples),
        control=Control(kind="models with scrambled weights", n=len(others), median=median(others), q95=max(others)),
        rows=rows,
        hidden_by=bank.hidden_by,
        options={"masks": len(bank.hidden), "each": others, "difference_interval": (low, high)},
    )


def bank_under(scramble: Scrambled, question: Question) -> Bank:
    """The first masks of the bank, asked of a scrambled model."""
    ask = question.ask(model=scramble.of(question))
    with ask.model.session():
        game = Game(ask, features_of(ask), question.fill)
        return bank_of(game, question.bank.hidden[: SCRAMBLED_MASKS[question.tier]])


def calibration_rows(question: Question, models: list[Scrambled]) -> int:
    """Rows it took to set the batch-norms of scrambled models, where there are any."""
    norms = any(is_norm(part) for part in models[0].model.module.modules())
    return question.pay("calibration", CALIBRATION * len(models) if norms else 0)
