"""What every fill can do: give values for hidden places, whatever else is shown or in view of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.probe import Probe

Around = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Fill:
    """What takes the place of a hidden part."""

    assumes: ClassVar[str] = ""

    def __call__(self, ask: Probe) -> Tensor:
        """(variants, batch, *shape) at the probe's site: what stands there when everything is hidden."""
        if ask.outer is None or ask.site is None:
            return self.values(ask, ask.leaves)
        return torch.stack([ask.outer.record(ask.site, each) for each in self(ask.outer)])

    def asking(self, ask: Probe) -> Probe:
        """The question as this fill needs it asked: as it is, for most."""
        return ask

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        """(variants, batch, *shape) for the inputs themselves; ids get ids."""
        raise NotImplementedError

    def around(self, ask: Probe, hidden: Tensor) -> Around:
        """What k masks hide: (masks that broadcast to (k, batch, *shape), variants (k,)) → (k | 1, batch, *shape).

        ``hidden`` is what ``self(ask)`` gave. Most fills put the same there whatever is shown.
        """
        return lambda shown, variants: hidden if len(hidden) == 1 else hidden[variants]
