"""Stability: where the input hardly changes and the answer stays, the explanation should stay, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid._typing import Points
from pellucid.core.evidence import Check
from pellucid.core.modality import Table
from pellucid.core.model import Model
from pellucid.core.outputs import main_output
from pellucid.core.probe import Probe
from pellucid.core.target import Function
from pellucid.engines.fills import background
from pellucid.engines.points import noisy, spread
from pellucid.evaluate.asked import Asked
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.ranks import rank_correlation
from pellucid.evaluate.repeat import FAILURES, Repeater, repeater
from pellucid.evaluate.thresholds import (
    MOVED,
    NEIGHBORS,
    NOISE_OF_COLUMN,
    NOISE_OF_RANGE,
    NOISE_OF_SIZE,
    QUIETER,
    STEADY,
)

STABILITY = Asked(
    name="stability",
    kind="stability",
    question="Does the map stay when the input hardly changes?",
    better="higher",
    cannot_show="That the map is right: a wrong explanation can be steady, too.",
    source="Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049; beside the change of the answer: "
    "Agarwal et al. 2022, arXiv:2203.06877",
)


@dataclass(frozen=True, eq=False)
class Near:
    """Inputs so close that the top class stays: ``points`` (draws, 1, …), and by what share the answer ``moved``."""

    points: Tensor
    noise: float
    moved: float
    rows: int


def stability(case: Case) -> Check:
    """The median rank correlation of the map and the maps of hardly changed inputs, beside the change of the answer."""
    if case.flat:
        return STABILITY.untested(case.flat)
    again = repeater(case)
    if isinstance(again, str):
        return STABILITY.untested(again)
    question = case.question
    embedded = question.leaves.integer and isinstance(question.model, Model) and not again.maker.discrete
    near = question.once(f"near {embedded}", lambda: near_inputs(question, embedded=embedded))
    if isinstance(near, str):
        return STABILITY.untested(near)
    try:
        own = again.reference()
        others = again.cells(points=near.points)
    except FAILURES as error:
        return STABILITY.untested(again.failed(error), rows=again.rows)
    return judged(rank_correlation(own[None], others), near, again, question.pay(f"near {embedded}", near.rows))


def judged(values: Tensor, near: Near, again: Repeater, rows: int) -> Check:
    """The check, from rank correlations (draws,) of maps."""
    value = float(values.median())
    passed: bool | None = value >= STEADY
    words = "stays" if passed else "does not stay"
    numbers = f"changed by {100 * near.noise:.2g} %, similarity {value:.2f}, at least {STEADY:g} required"
    reason = f"it {words} when the input hardly changes ({numbers})"
    if not passed and near.moved > MOVED:
        passed = None
        reason += f", but the answer itself moved by {100 * near.moved:.0f} %, so this is not held against the map"
    return STABILITY.answered(
        value=value,
        passed=passed,
        reason=reason,
        rows=rows + again.rows,
        options={
            "noise": near.noise,
            "answer_moved": near.moved,
            "each": values.tolist(),
            "required": STEADY,
            "lighter": again.reduced,
        },
    )


def near_inputs(question: Question, *, embedded: bool) -> Near | str:
    """Inputs with a little noise, less and less of it until the top class stays; or why there are none."""
    if question.leaves.integer and not embedded:
        return "token ids cannot be changed a little"
    if question.leaves.integer and question.at is not None:
        return "inputs of a layer behind an embedding cannot be changed a little"
    ask = question.ask(discrete=not embedded, outside=True)
    width, share = noise_width(ask)
    if float(width.max()) == 0:
        return "the input has no numbers that could be changed a little"
    rows = 0
    for factor in QUIETER:
        points = noisy(ask.inputs, width * factor, question.seed)(torch.arange(NEIGHBORS))
        answers = question.ask(discrete=not embedded, outside=True, target=Function(top_class))
        stays = bool((answers.forward(fixed(points), NEIGHBORS) == answers.score).all())
        rows += answers.run.rows_forward
        if stays:
            moved = answer_moved(ask, points, question)
            return Near(points, share * factor, moved, rows + ask.run.rows_forward)
    return "the least change of the input already changes the top class"


def answer_moved(ask: Probe, points: Tensor, question: Question) -> float:
    """How far the explained number moves (median), as a share of f(x) − f(all hidden)."""
    scores = ask.forward(fixed(points), len(points))[:, 0]
    scale = max(abs(question.bank.full - question.bank.empty), question.bank.noise)
    return float((scores - ask.score[0]).abs().median()) / scale


def fixed(points: Tensor) -> Points:
    """Points that are already there."""
    return lambda draws: points[draws.to(points.device)]


def noise_width(ask: Probe) -> tuple[Tensor, float]:
    """How far each number may move (1, *shape), and what share of its range, spread or size that is."""
    x, table = ask.inputs, ask.model.modality
    if isinstance(table, Table) and x.shape[1:] == (table.slots[-1].stop,):
        rows = background(ask)
        share = NOISE_OF_SIZE if rows is None else NOISE_OF_COLUMN
        width = share * (x.abs() if rows is None else rows.std(0, keepdim=True).to(x))
        for name, slot in zip(table.columns, table.slots, strict=True):
            width[:, slot] *= name not in table.categories
        return width, share
    if x.ndim == 2:
        return NOISE_OF_SIZE * x.abs(), NOISE_OF_SIZE
    return NOISE_OF_RANGE * spread(x), NOISE_OF_RANGE


def top_class(outputs: Any) -> Tensor:
    """(rows,) the index of the largest class; zeros where there are no classes."""
    answer = main_output(outputs)
    if answer.ndim == 2 and answer.shape[1] > 1:
        return answer.argmax(1).to(answer)
    return torch.zeros(len(answer), dtype=answer.dtype, device=answer.device)
