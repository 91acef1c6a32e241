"""Layer-wise relevance propagation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.law import LINEAR
from pellucid.core.method import Attributor, Found, option
from pellucid.core.modality import Images
from pellucid.core.probe import Probe
from pellucid.engines.rules import (
    OFF,
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Gradient,
    Ledger,
    Rule,
    Rules,
    WSquare,
    ZBox,
    ZPlus,
    anywhere,
    convolutional,
    first,
    stable,
)
from pellucid.errors import OptionError, nearest

BLIND = (Flat, WSquare, ZBox)


def conv_and_dense(conv: Rule, *, at_first: Rule | None = None) -> Composite:
    """One rule for convolutions, ε for the rest, another for the first operation where given."""
    start = () if at_first is None else ((first, at_first),)
    return Composite((*start, (convolutional, conv), (anywhere, Epsilon())))


PRESETS: dict[str, Composite] = {
    "zero": Composite(((anywhere, Gradient()),)),
    "epsilon": Composite(((anywhere, Epsilon()),)),
    "gamma": Composite(((anywhere, Gamma()),)),
    "z-plus": Composite(((anywhere, ZPlus()),)),
    "alpha2-beta1": Composite(((anywhere, AlphaBeta()),)),
    "w-square": Composite(((first, WSquare()), (anywhere, Epsilon()))),
    "flat": Composite(((first, Flat()), (anywhere, Epsilon()))),
    "epsilon-plus": conv_and_dense(ZPlus()),
    "epsilon-plus-flat": conv_and_dense(ZPlus(), at_first=Flat()),
    "epsilon-alpha2-beta1": conv_and_dense(AlphaBeta()),
    "epsilon-alpha2-beta1-flat": conv_and_dense(AlphaBeta(), at_first=Flat()),
    "epsilon-gamma-box": conv_and_dense(Gamma(), at_first=ZBox()),
}


@dataclass(frozen=True, kw_only=True)
class LRP(Attributor):
    r"""The score, handed back layer by layer to what it was made of, by a rule for each kind of layer.

    .. math:: R_j = \sum_k \frac{x_j w_{jk}}{z_k + \epsilon\,\mathrm{sign}\,z_k} R_k,
        \qquad z_k = \sum_j x_j w_{jk} + b_k

    This is the ε rule; others weigh positive and negative parts apart (``z-plus``, ``gamma``, ``alpha2-beta1``) or
    look at the weights alone (``flat``, ``w-square``, the box rule; for the first layer). Batch-norm is folded into
    the layer before it, residual sums and pooling hand back in proportion, normalizations take their spread as given,
    softmax its plain gradient, products half to each factor (as AttnLRP does). Operations are met, not modules, so
    functional, in-place and reused layers obey, too. ``extra["ledger"]`` lists what was met; ``extra["conserved"]``
    (batch,) is the share of the score that reached the inputs, the rest stayed with biases.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target; they add up to it where the layers have no biases.
    Cost:   one forward and one backward pass; rules other than ε and zero run their layers again, twice to four times.
    Raises: GradientError for an operation without a rule; OptionError for an unknown preset.
    Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140, equations 56 to 60; Montavon et al. 2019,
            doi:10.1007/978-3-030-28954-6_10, table 10.1; attention: Achtibat et al. 2024, arXiv:2402.05602.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)
        ... )
        >>> heat = pl.LRP("epsilon")(net, torch.rand(1, 3))
        >>> bool(torch.allclose(heat.values.sum(1), heat.score, atol=1e-4))
        True
    """

    paper: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)
    composite: Any = field(
        default="epsilon-plus",
        kw_only=False,
        metadata={"help": "the name of a preset, or a Composite of your own"},
    )
    low: Any = option(None, help="lowest value of the inputs, for the box rule; black for pictures without")
    high: Any = option(None, help="highest value of the inputs, for the box rule; white for pictures without")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.composite, str) and self.composite not in PRESETS:
            do = nearest(self.composite, PRESETS)
            raise OptionError(expected="the name of a preset", got=repr(self.composite), do=do)
        if not isinstance(self.composite, str | Composite):
            got, do = repr(self.composite)[:60], "Use a preset's name, or Composite(((anywhere, Epsilon()),))."
            raise OptionError(expected="a preset or a Composite", got=got, do=do)

    def attribute(self, ask: Probe) -> Found:
        ledger, composite = Ledger(), self.rules(ask)
        gradient = ask.along(lambda module: Rules(composite, ledger).on(module)).gradient()
        blind = any(isinstance(rule, BLIND) for _, rule in composite.entries)
        values = gradient * (stable(ask.inputs, OFF) if blind else ask.inputs)
        reached = values.flatten(1).sum(1)
        score = stable(ask.score.to(reached), OFF)
        return Found(values, extra={"ledger": tuple(ledger.rows()), "conserved": reached / score})

    def rules(self, ask: Probe) -> Composite:
        """The composite, the bounds of the box rule filled in."""
        if isinstance(self.composite, Composite):
            return self.composite
        preset = PRESETS[self.composite]
        if not any(isinstance(rule, ZBox) for _, rule in preset.entries):
            return preset
        low, high = bounds(ask) if self.low is None or self.high is None else (self.low, self.high)
        box = ZBox(low if self.low is None else self.low, high if self.high is None else self.high)
        return Composite(tuple((fits, box if isinstance(rule, ZBox) else rule) for fits, rule in preset.entries))


def bounds(ask: Probe) -> tuple[Tensor, Tensor]:
    """Black and white as the model sees them; the extremes of the inputs where they are no pictures."""
    images = ask.model.modality
    if isinstance(images, Images) and ask.inputs.ndim == 4:
        mean, std = (torch.as_tensor(np.asarray(each), dtype=ask.inputs.dtype) for each in (images.mean, images.std))
        return tuple(((edge - mean) / std).reshape(1, -1, 1, 1).to(ask.inputs) for edge in (0.0, 1.0))  # type: ignore[return-value]
    return ask.inputs.min(), ask.inputs.max()
