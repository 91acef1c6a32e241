"""Stability: where the input hardly changes and the answer stays, the explanation should stay, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.evidence import Check
from pellucid.core.model import Model
from pellucid.core.modality import Table
from pellucid.core.probe import Probe
from pellucid.core.target import Function, main_output
from pellucid.engines.fills import background
from pellucid.engines.points import noisy, spread
from pellucid.evaluate.question import Case, Question, untested
from pellucid.evaluate.ranks import rank_correlation
from pellucid.evaluate.repeat import COSTLY, FAILURES, Repeater, repeater
from pellucid.evaluate.thresholds import (
    MOVED,
    NEIGHBORS,
    NOISE_OF_COLUMN,
    NOISE_OF_RANGE,
    NOISE_OF_SIZE,
    QUIETER,
    STEADY,
)

NAME = KIND = "stability"
ASKED = "Does the map stay when the input hardly changes?"
CANNOT = "A wrong explanation can be steady, too."
SOURCE = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049; beside the model's own change: Agarwal et al. 2022, arXiv:2203.06877"


@dataclass(frozen=True, eq=False)
class Near:
    """Inputs so close that the top class stays: ``points`` (draws, 1, *shape), how far the answer ``moved`` (a share)."""

    points: Tensor
    noise: float
    moved: float
    rows: int


def stability(case: Case) -> Check:
    """The median rank correlation of the map and the maps of hardly changed inputs, beside the change of the answer."""
    rest = {"better": "higher", "cannot_show": CANNOT, "source": SOURCE}
    if case.flat:
        return untested(NAME, KIND, ASKED, case.flat, **rest)
    again = repeater(case)
    if isinstance(again, str):
        return untested(NAME, KIND, ASKED, again, **rest)
    embedded = case.question.leaves.integer and isinstance(case.question.model, Model) and not again.maker.discrete
    near = case.question.once(f"near {embedded}", lambda: near_inputs(case.question, embedded=embedded))
    if isinstance(near, str):
        return untested(NAME, KIND, ASKED, near, **rest)
    try:
        own = again.reference()
        others = again.cells(points=near.points)
    except FAILURES as error:
        why = COSTLY if again.reduced else f"the method could not be asked again: {error}"
        return untested(NAME, KIND, ASKED, why, rows=again.rows, **rest)
    rows = again.rows + case.question.pay(f"near {embedded}", near.rows)
    return judged(rank_correlation(own[None], others), near, rows, again, rest)


def judged(values: Tensor, near: Near, rows: int, again: Repeater, rest: dict[str, Any]) -> Check:
    """The check, from rank correlations (draws,) of maps."""
    value = float(values.median())
    passed: bool | None = value >= STEADY
    reason = f"maps of inputs changed by {100 * near.noise:.2g} % are {value:.2f} alike, {STEADY:g} at least required"
    if not passed and near.moved > MOVED:
        passed = None
        reason += f"; but the answer itself moved by {100 * near.moved:.0f} %, so this is not held against the map"
    return Check(
        name=NAME,
        kind=KIND,
        question=ASKED,
        value=value,
        passed=passed,
        reason=reason,
        rows=rows,
        options={"noise": near.noise, "answer_moved": near.moved, "each": values.tolist(), "lighter": again.reduced},
        **rest,
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
    draws, rows = torch.arange(NEIGHBORS), 0
    for factor in QUIETER:
        points = noisy(ask.inputs, width * factor, question.seed)(draws)
        answers = question.ask(discrete=not embedded, outside=True, target=Function(top_class))
        tops = answers.forward(lambda k, points=points: points[k], NEIGHBORS)[:, 0]
        rows += answers.run.rows_forward
        if bool((tops == answers.score[0]).all()):
            scores = ask.forward(lambda k, points=points: points[k], NEIGHBORS)[:, 0]
            bank = question.bank
            scale = max(abs(bank.full - bank.empty), bank.noise)
            moved = float((scores - ask.score[0]).abs().median()) / scale
            return Near(points, share * factor, moved, rows + ask.run.rows_forward)
    return "the least change of the input already changes the top class"


def noise_width(ask: Probe) -> tuple[Tensor, float]:
    """How far each number may move (1, *shape), and the share of what that is."""
    x, table = ask.inputs, ask.model.modality
    if isinstance(table, Table) and x.shape[1:] == (table.slots[-1].stop,):
        rows = background(ask)
        width = NOISE_OF_SIZE * x.abs() if rows is None else NOISE_OF_COLUMN * rows.std(0, keepdim=True).to(x)
        for name, slot in zip(table.columns, table.slots, strict=True):
            if name in table.categories:
                width[:, slot] = 0
        return width, NOISE_OF_SIZE if rows is None else NOISE_OF_COLUMN
    if x.ndim == 2:
        return NOISE_OF_SIZE * x.abs(), NOISE_OF_SIZE
    return NOISE_OF_RANGE * spread(x), NOISE_OF_RANGE


def top_class(outputs: Any) -> Tensor:
    """(rows,) the index of the largest class; zeros where there are no classes."""
    answer = main_output(outputs)
    if answer.ndim == 2 and answer.shape[1] > 1:
        return answer.argmax(1).to(answer)
    return torch.zeros(len(answer), dtype=answer.dtype, device=answer.device)
