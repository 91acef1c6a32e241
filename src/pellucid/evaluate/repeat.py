"""Asking a method again: of another model, or near the input, with fewer draws where the tier asks for it."""

from __future__ import annotations

from dataclasses import fields, replace

from torch import Tensor

from pellucid.core.method import Attributor, Found
from pellucid.core.probe import Probe, Studied
from pellucid.core.result import Attribution, main_tensor
from pellucid.errors import GradientError, LayerError, NonFiniteError, OptionError, OutputError, ShapeError
from pellucid.evaluate.question import Case, to_cpu
from pellucid.evaluate.thresholds import QUICK_NUMBERS

WORDS = ("draws", "steps", "budget")
TOKEN_WIDTH = 512
FAILURES = (GradientError, LayerError, NonFiniteError, OptionError, OutputError, ShapeError)
FOREIGN = "the map came without its method, so the method could not be asked again"
COSTLY = "asking this method again costs too much for the quick tier; use tier='full'"


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
    for word in WORDS:
        now = getattr(maker, word, None)
        if not isinstance(now, int) or word not in least:
            continue
        fewer = allowed if word == "budget" else int(allowed * now / rows)
        if least[word] <= fewer < now:
            return replace(maker, **{word: fewer})
    return None


def repeated(maker: Attributor, ask: Probe, at: str | None) -> tuple[Tensor, int]:
    """The values (batch, …) of a method asked again, and the rows it took."""
    with ask.model.session():
        found = maker.attribute(ask)
        result: Attribution = maker.result(ask, found if isinstance(found, Found) else Found(found), at)
    return joined(result.values), ask.run.rows_forward


def joined(values: object) -> Tensor:
    """Values as one tensor: itself, the only one of a dict or tuple, or several side by side."""
    if isinstance(values, dict | tuple):
        parts = list(values.values()) if isinstance(values, dict) else list(values)
        if len(parts) > 1:
            import torch

            return torch.cat([to_cpu(part).flatten(1) for part in parts], 1)
    return to_cpu(main_tensor(values))


class Repeater:
    """A case's method, as light as the tier asks, and its map of the input itself at that weight."""

    def __init__(self, case: Case, maker: Attributor) -> None:
        self.case, self.maker = case, maker
        self.rows = 0

    @property
    def reduced(self) -> bool:
        """Whether the method was made lighter."""
        return self.maker is not self.case.maker

    def cells(self, *, model: Studied | None = None, points: Tensor | None = None) -> Tensor:
        """(batch, cells) maps for another model or at other points."""
        import torch

        question = self.case.question
        ask = question.ask(model=model, discrete=self.maker.discrete, points=points)
        values, rows = repeated(self.maker, ask, question.at)
        self.rows += rows
        return torch.stack([question.layout.cells(each, by_size=self.case.by_size) for each in values])

    def reference(self) -> Tensor:
        """(cells,) the map of the input: the case's own, or made again by the lighter method, once for all checks."""
        if not self.reduced:
            return self.case.cells
        return self.case.question.once(f"reference {id(self.case)}", lambda: self.cells()[0])


def repeater(case: Case) -> Repeater | str:
    """A repeater, or why the method cannot be asked again."""
    if case.maker is None:
        return FOREIGN
    light = lighter(case.maker, case.rows, allowed_rows(case))
    return COSTLY if light is None else Repeater(case, light)
