"""One forward pass to the last place needed, with a look at every place on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.leaves import Leaves
from pellucid.core.model import Model
from pellucid.core.run import Run
from pellucid.core.site import Site, Stop, meet, uncalled

LOGITS = Site("", side="logits")
"""The model's answer before its own softmax or sigmoid, where it ends in one; else the answer."""

Place = Site | None
See = Callable[[Place, Any], None]


def visit(
    model: Model, leaves: Leaves, points: Tensor | None, rows: Tensor, places: Sequence[Place], see: See, run: Run
) -> None:
    """Run the model on ``rows`` of the inputs with ``points`` in their place; ``see(place, value)`` at each place.

    None is the model's answer. The pass ends at the last place needed. What ``see`` keeps stays as it was seen.
    """
    left = set(places)
    inner = [place for place in left if place is not None and place != LOGITS]

    def tap(site: Site) -> Callable[[Tensor], Tensor]:
        def look(value: Tensor) -> Tensor:
            see(site, value)
            left.discard(site)
            if not left:
                raise Stop
            return value.clone()  # what comes next may write over it

        return look

    with ExitStack() as stack:
        module = model.choose(leaves, exact=run.exact, layers=[site.layer for site in inner])
        run.path = model.path(module)
        for site in inner:
            stack.enter_context(meet(module, site, tap(site)))
        watched = stack.enter_context(Unsquashed()) if LOGITS in left else None
        try:
            answer = model.answer(leaves, points, rows, module=module)
        except Stop:
            return
    if missing := [place for place in left if place is not None and place != LOGITS]:
        raise uncalled(missing[0])
    if None in left:
        see(None, answer)
    if watched is not None:
        see(LOGITS, watched.before(model.main(answer)) if watched.sources else answer)


def squashed(model: Model, leaves: Leaves, points: Tensor | None, rows: Tensor) -> bool:
    """Whether the model's answer is made by a softmax or a sigmoid at its end."""
    with torch.no_grad(), Unsquashed() as watched:
        answer = model.main(model.answer(leaves, points, rows))
    return watched.before(answer) is not answer


class Unsquashed(TorchFunctionMode):
    """Keeps what went into a softmax, log-softmax or sigmoid, and follows the result through views and copies."""

    makers = frozenset({"softmax", "log_softmax", "sigmoid", "special_expit"})
    carriers = frozenset({"float", "double", "to", "contiguous", "clone"})

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[int, tuple[Tensor, Tensor]] = {}

    def before(self, answer: Tensor) -> Tensor:
        """What the answer was made from; the answer itself where it is not of this kind."""
        return self.sources[id(answer)][1] if id(answer) in self.sources else answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in self.makers and args:
            self.sources[id(out)] = (out, args[0])
        elif name in self.carriers and args and id(args[0]) in self.sources:
            self.sources[id(out)] = (out, self.sources[id(args[0])][1])
        return out
