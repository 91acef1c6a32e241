"""What metrics that ask a method again share: its maps under other models or at other points, and answers there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.bound import Studied
from pellucid.core.method import Attributor, Found, option
from pellucid.core.model import Model
from pellucid.core.outputs import main_output
from pellucid.core.target import Function, Target
from pellucid.evaluate.metrics.measure import Metric, Untestable
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.repeat import FAILURES, FOREIGN
from pellucid.evaluate.stability import fixed

FLAT = "the map is the same everywhere: it says nothing on what matters more"


def map_of(case: Case) -> Tensor:
    """(elements,) the map of a case; Untestable for one that says nothing."""
    flat = case.values.double().flatten()
    if float(flat.max() - flat.min()) <= 1e-9 * float(flat.abs().max()):
        raise Untestable(FLAT)
    return flat


@dataclass(frozen=True, kw_only=True)
class Again(Metric):
    """A metric that asks the method again. ``method`` is for values that came without theirs."""

    method: Attributor | None = option(None, help="the method that made the values, if they came without it")

    def maker(self, case: Case) -> Attributor:
        """The method to ask."""
        made = case.maker or self.method
        if made is None:
            raise Untestable(FOREIGN + "; pass method=…")
        return made

    def embedded(self, case: Case) -> bool:
        """Whether the method sees the embedding of ids."""
        question = case.question
        return question.leaves.integer and isinstance(question.model, Model) and not self.maker(case).discrete

    def maps(
        self,
        case: Case,
        *,
        model: Studied | None = None,
        points: Tensor | None = None,
        target: Target | None = None,
    ) -> Tensor:
        """(rows, elements) maps of another model, at other points (draws, 1, …) in one batch, of another target."""
        maker, question = self.maker(case), case.question
        try:
            ask = question.ask(model=model, discrete=maker.discrete, points=points, target=target)
            with ask.model.session():
                found = maker.attribute(ask)
            result = maker.result(ask, found if isinstance(found, Found) else Found(found), question.at)
        except FAILURES as error:
            raise Untestable(f"the method could not be asked again: {error}") from error
        maps = result.main() if isinstance(result.values, Tensor) else joined_rows(result.values)
        maps = maps.detach().cpu().double().flatten(1)
        if maps.shape[1] != case.values.numel():
            raise Untestable("the method's maps are of another shape than the values")
        return maps

    def movable(self, case: Case) -> bool:
        """Whether the numbers the method sees can be changed a little; Untestable where they cannot."""
        embedded = self.embedded(case)
        if case.question.leaves.integer and not embedded:
            raise Untestable("token ids cannot be changed a little")
        if embedded and case.question.at is not None:
            raise Untestable("inputs of a layer behind an embedding cannot be changed a little")
        return embedded


def joined_rows(values: Any) -> Tensor:
    """The values of several inputs side by side (rows, elements)."""
    parts = tuple(values.values()) if isinstance(values, dict) else tuple(values)
    return torch.cat([each.flatten(1) for each in parts], 1)


def answers(question: Question, points: Tensor | None = None, *, embedded: bool = False) -> Tensor:
    """(rows, …) what the model answers at the inputs, or at points (rows, 1, …), as it is."""
    seen: list[Tensor] = []

    def see(outputs: Any) -> Tensor:
        answer = main_output(outputs).detach()
        seen.append(answer)
        return torch.zeros(len(answer), dtype=answer.dtype, device=answer.device)

    ask = question.ask(discrete=not embedded, outside=True, target=Function(see))
    if points is None:
        _ = ask.score
    else:
        ask.forward(fixed(points), len(points))
    return torch.cat(seen).cpu().double()
