"""Fills: what a hidden part is replaced by. Each states what it assumes; ``fill(ask)`` is (variants, batch, *shape).

Asked of a hidden layer, a fill of the inputs is carried through the network to that layer; asked of embedded token
ids, it is made of ids first. Some fills look at what stays: ``fill.around`` says what they put into each mask.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.core.probe import Probe
from pellucid.engines.fills.conditional import Conditional as Conditional
from pellucid.engines.fills.inpaint import Inpaint as Inpaint
from pellucid.engines.fills.plain import Blur as Blur
from pellucid.engines.fills.plain import Constant as Constant
from pellucid.engines.fills.plain import Mean as Mean
from pellucid.engines.fills.plain import Noise as Noise
from pellucid.engines.fills.plain import Zeros as Zeros
from pellucid.engines.fills.plain import as_numbers as as_numbers
from pellucid.engines.fills.plain import blurred as blurred
from pellucid.engines.fills.plain import broadcasts as broadcasts
from pellucid.engines.fills.rows import Marginal as Marginal
from pellucid.engines.fills.rows import Shuffle as Shuffle
from pellucid.engines.fills.rows import background as background
from pellucid.engines.fills.rows import typical as typical
from pellucid.engines.fills.seam import Around as Around
from pellucid.engines.fills.seam import Fill as Fill
from pellucid.engines.fills.words import DeleteToken as DeleteToken
from pellucid.engines.fills.words import MaskToken as MaskToken
from pellucid.engines.fills.words import hidden_ids as hidden_ids
from pellucid.errors import OptionError


def as_fill(given: Any) -> Fill:
    """A fill as it is; a number, array or tensor as a constant; None as zeros."""
    if given is None:
        return Zeros()
    if isinstance(given, Fill):
        return given
    try:
        return Constant(as_numbers(given))
    except (TypeError, ValueError, RuntimeError):
        do = "Use e.g. Zeros(), Mean(), Blur(), Constant(0.5), Marginal(data)."
        raise OptionError(expected="a fill, a number or a tensor", got=repr(given)[:60], do=do) from None


def baseline(given: Any, ask: Probe) -> Tensor:
    """(batch, *shape): the one point a path starts from."""
    variants = as_fill(given)(ask)
    return variants[0] if len(variants) == 1 else variants.mean(0)
