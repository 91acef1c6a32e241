"""Asking a method again: of another model, or near the input, with fewer draws where the tier asks for it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from pellucid.core.bound import Studied
from pellucid.core.method import Attributor, Found
from pellucid.errors import GradientError, LayerError, NonFiniteError, OptionError, OutputError, ShapeError
from pellucid.evaluate.question import Case
from pellucid.evaluate.thresholds import QUICK_NUMBERS, TOKEN_WIDTH
from pellucid.evaluate.values import joined

BUDGETS = ("draws", "steps", "budget")
FAILURES = (GradientError, LayerError, NonFiniteError, OptionError, OutputError, ShapeError)
FOREIGN = "the map came without its method, so the method could not be asked again"
COSTLY = "asking this method again costs too much for the quick tier; use tier='full'"


@dataclass(eq=False)
class Repeater:
    """A case's method, as light as the tier asks; ``rows`` counts what asking it again took."""

    case: Case
    maker: Attributor
    rows: int = 0

    @property
    def reduced(self) -> bool:
        """Whether the method was made lighter."""
        return self.maker is not self.case.maker

    def cells(self, *, model: Studied | None = None, points: Tensor | None = None) -> Tensor:
        """(batch, cells) maps for another model or at other points."""
        question = self.case.question
        ask = question.ask(model=model, discrete=self.maker.discrete, points=points)
        try:
            with ask.model.session():
                found = self.maker.attribute(ask)
            result = self.maker.result(ask, found if isinstance(found, Found) else Found(found), question.at)
        finally:
            self.rows += ask.run.rows_forward
        maps = joined(result.values)
        return torch.stack([question.layout.cells(each, by_size=self.case.by_size) for each in maps])

    def reference(self) -> Tensor:
        """(cells,) the map of the input: the case's own, or made by the lighter method, once for all checks."""
        if not self.reduced:
            return self.case.cells
        return self.case.question.once(f"reference {id(self.case)}", lambda: self.cells()[0])

    def failed(self, error: Exception) -> str:
        """Why asking again failed, in words."""
        if self.reduced and isinstance(error, OptionError):
            return COSTLY
        return f"the method could not be asked again: {error}"


def repeater(case: Case) -> Repeater | str:
    """A repeater, or why the method cannot be asked again."""
    if case.maker is None:
        return FOREIGN
    light = lighter(case.maker, case.rows, allowed_rows(case))
    return COSTLY if light is None else Repeater(case, light)


def allowed_rows(case: Case) -> int:
    """Rows that one repetition may cost."""
    if case.question.tier == "full":
        return 2**62
    leaves = case.question.leaves
    numbers = leaves.values.numel() * (TOKEN_WIDTH if leaves.integer else 1)
    return max(1, case.rows // 8, QUICK_NUMBERS // numbers)


def lighter(maker: Attributor, rows: int, allowed: int) -> Attributor | None:
    """The method with fewer draws, steps or budget, so that it costs ``allowed`` rows; None where it cannot."""
    if rows <= allowed:
        return maker
    least = {each.name: each.metadata.get("at_least") or 1 for each in fields(maker)}
    for word in BUDGETS:
        now = getattr(maker, word, None)
        if not isinstance(now, int) or word not in least:
            continue
        fewer = allowed if word == "budget" else int(allowed * now / rows)
        if least[word] <= fewer < now:
            return replace(maker, **{word: fewer})
    return None
