"""What is decided once about a question, on the clean inputs: the target, the scores, and what outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.blackbox import BlackBox
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.site import Action, Site, meet, uncalled
from pellucid.core.target import Target
from pellucid.errors import OutputError

Studied = Model | BlackBox
Read = Callable[[Tensor], Any]
Look = Callable[[nn.Module], AbstractContextManager[Read]]
"""A context around a pass of a module; it gives what reads an answer off the scores (rows,)."""


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


@contextmanager
def tapped(module: nn.Module, sites: tuple[Site, ...]) -> Iterator[Read]:
    """Sees the activation at each site and, from the scores, the gradient by it: a list of (activation, gradient)."""
    values: dict[Site, Tensor] = {}
    zeros: dict[Site, Tensor] = {}

    def tap(site: Site) -> Action:
        def add_zero(tensor: Tensor) -> Tensor:
            values[site] = tensor.detach().clone() if site.side == "input" else tensor.detach()
            zeros[site] = torch.zeros_like(tensor).requires_grad_()
            return tensor + zeros[site]

        return add_zero

    def read(score: Tensor) -> list[tuple[Tensor, Tensor]]:
        if missing := [site for site in sites if site not in values]:
            raise uncalled(missing[0])
        total = score.sum() + sum(zeros[site].sum() * 0 for site in sites)
        slopes = torch.autograd.grad(total, [zeros[site] for site in sites])
        return [(full(values[site]), full(slope)) for site, slope in zip(sites, slopes, strict=True)]

    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(meet(module, site, tap(site)))
        yield read
