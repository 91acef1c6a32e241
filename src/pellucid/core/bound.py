"""What is decided once about a question, on the clean inputs: the target, the scores, and what outputs mean."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from pellucid.core.blackbox import BlackBox
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.errors import OutputError

Studied = Model | BlackBox


@dataclass
class Bound:
    """What is decided once on the clean inputs: the target, the clean scores (batch,), and what outputs mean."""

    target: Target
    batch: int
    score: Tensor | None = None
    about: Outputs = field(default_factory=Outputs)
    decided: bool = False
    parts: dict[int, Target] = field(default_factory=dict)

    def decide(self, model: Studied, outputs: Any, rows: Tensor) -> Target:
        """Bind the target to the clean answer to some rows."""
        if self.target.layer is None and not self.parts:
            with suppress(OutputError):  # only a target function can read such an answer
                self.about = replace(model.about(model.main(outputs).detach()), rank=self.about.rank)
        return self.parts.setdefault(int(rows[0]), self.target.bind(outputs, self.about, rows, self.batch))

    def settle(self, score: Tensor) -> None:
        """The clean pass is complete: join the parts and keep the scores."""
        if not self.decided:
            ordered = [self.parts[start] for start in sorted(self.parts)]
            self.target, self.decided, self.parts = ordered[0].join(ordered), True, {}
        if self.score is None and len(score) == self.batch:
            self.score = score


@dataclass(frozen=True, eq=False)
class Activation:
    """A layer's activation (batch, *shape), the target's gradient by it, and the scores (batch,)."""

    value: Tensor
    gradient: Tensor
    score: Tensor
    site: Site


def full(values: Tensor) -> Tensor:
    """Values in at least single precision."""
    return values.float() if values.dtype.itemsize < 4 or not values.is_floating_point() else values
