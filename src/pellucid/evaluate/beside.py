"""What explains nothing, beside an explanation: maps made without the model, and a table's average importance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.modality import Table
from pellucid.evaluate.controls import center, edges
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.thresholds import GLOBAL_ROWS, MOST_ELEMENTS


def beside(case: Case) -> dict[str, Any]:
    """The agreement with the bank of maps made without the model; and, for tables, of the average importance.

    The average importance has no sign, so it stands beside the sizes of the map.
    """
    question = case.question
    free = question.once("model-free", lambda: model_free(question))
    found: dict[str, Any] = {"model_free": {name: float(case.bank.agreement(parts)) for name, parts in free.items()}}
    average = importance(question)
    if average is not None:
        bank = question.bank.unsigned()
        found["average_importance"] = float(bank.agreement(average))
        found["by_size"] = float(bank.agreement(case.parts.abs()))
    return found


def model_free(question: Question) -> dict[str, Tensor]:
    """Maps made without the model, summed up over the parts."""
    layout, made = question.layout, {}
    if layout.space:
        made = {"edges": edges(question.game.ask.inputs[0]), "center": center(layout.space)}
    parts = {name: layout.parts(layout.cells(each, by_size=False)) for name, each in made.items()}
    return {**parts, "uniform": layout.parts(torch.ones(len(layout.part), dtype=torch.float64))}


def importance(question: Question) -> Tensor | None:
    """(columns,) how far hiding a column moves the answer for background rows, on average; None without any."""
    table = question.model.modality
    if not isinstance(table, Table) or question.at is not None or question.game.n > MOST_ELEMENTS:
        return None
    rows = table.background_rows()
    if rows is None:
        return None
    key = f"average importance of {question.target!r} by {question.fill!r}"
    if key not in question.common:
        question.common[key] = measured(question, rows)
    found: Tensor = question.common[key]
    return found


def measured(question: Question, rows: Tensor) -> Tensor:
    """Hide each column of some background rows, all of them asked together."""
    few = rows[torch.linspace(0, len(rows) - 1, min(GLOBAL_ROWS, len(rows))).long()]
    leaves = question.model.read(few)
    target = question.target.take(torch.zeros(leaves.batch, dtype=torch.long))
    asked = replace(question, leaves=leaves, target=target, memo={})
    scores = asked.game(~torch.eye(asked.game.n, dtype=torch.bool))
    return (asked.game.ask.score - scores).double().cpu().abs().mean(1)
