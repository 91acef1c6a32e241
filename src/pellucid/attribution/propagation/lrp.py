"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.law import LINEAR
from pellucid.core.method import Attributor, Found, option
from pellucid.core.modality import Images
from pellucid.core.probe import Probe
from pellucid.engines.rules import (
    OFF,
    AlphaBeta,
    Audited,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Gradient,
    Ledger,
    Pass,
    Rule,
    Rules,
    WSquare,
    ZBox,
    ZPlus,
    anywhere,
    convolutional,
    first,
    stable,
    unwrapped,
)
from pellucid.errors import OptionError, nearest

BLIND = (Flat, WSquare, ZBox, Pass)
RECTIFIED = {"guided-backprop": "pl.GuidedBackprop()", "deconvnet": "pl.Deconvolution()"}
TUNABLE: dict[str, type[Rule]] = {"low": ZBox, "high": ZBox, "epsilon": Epsilon, "gamma": Gamma}


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
    "excitation-backprop": Composite(((anywhere, ZPlus()),)),  # Zhang et al. 2016: with biases="leave out"
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
    functional, in-place and reused layers obey, too. ``extra["ledger"]`` lists what was met, ``extra["audit"]`` (with
    ``audit``) how much relevance each operation got and handed on, the greatest loss first; ``extra["conserved"]``
    (batch,) is the share of the score that reached the inputs; the rest stayed with biases, which
    ``biases="leave out"`` prevents.

    A preset is a ``pl.rules.Composite``; so is an ordered list of your own. zennit's conventions: ``relevance="one"``
    is its seed, ``biases="leave out"`` its ``zero_params="bias"`` (``"excitation-backprop"`` leaves them out in its
    paper). z⁺ and αβ lose, or double, what comes to a unit without positive or without negative parts.

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
    epsilon: float | None = option(None, help="ε of a preset's ε rule; 1e-6 without", above=0)
    gamma: float | None = option(None, help="γ of a preset's γ rule; 0.25 without", at_least=0)
    biases: str = option(
        "absorb",
        help="whether biases absorb their part of the relevance, or are left out of the denominators",
        choices=("absorb", "leave out"),
    )
    relevance: str = option(
        "score",
        help='what is handed back: the score itself, or "one", for shares of the score',
        choices=("score", "one"),
    )
    audit: bool = option(False, help="whether to measure at which operations relevance is lost")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.composite in RECTIFIED:
            do = f"Use {RECTIFIED[self.composite]}: it gives gradients, not relevance."
            raise OptionError(expected="the name of a preset", got=repr(self.composite), do=do)
        if isinstance(self.composite, str) and self.composite not in PRESETS:
            do = nearest(self.composite, PRESETS)
            raise OptionError(expected="the name of a preset", got=repr(self.composite), do=do)
        if not isinstance(self.composite, str | Composite):
            got, do = repr(self.composite)[:60], "Use a preset's name, or Composite(((anywhere, Epsilon()),))."
            raise OptionError(expected="a preset or a Composite", got=got, do=do)
        rules = () if isinstance(self.composite, Composite) else [rule for _, rule in PRESETS[self.composite].entries]
        for name, kind in TUNABLE.items():
            if getattr(self, name) is not None and not any(isinstance(rule, kind) for rule in rules):
                got, do = f"{name} for {self.composite}"[:80], "Leave it out, or give it to a rule of your composite."
                raise OptionError(expected=f"a preset with the rule {kind.__name__}", got=got, do=do)

    def attribute(self, ask: Probe) -> Found:
        ledger, composite = Ledger(), self.rules(ask)
        rules = Audited(composite, ledger) if self.audit else Rules(composite, ledger)
        gradient = ask.along(rules.on).gradient()
        blind = any(isinstance(unwrapped(rule), BLIND) for _, rule in composite.entries)
        values = gradient * (stable(ask.inputs, OFF) if blind else ask.inputs)
        reached, score = values.flatten(1).sum(1), ask.score.to(values)
        extra = {"ledger": tuple(ledger.rows()), "conserved": reached / stable(score, OFF)}
        if isinstance(rules, Audited):
            extra["audit"] = rules.rows(score)
        if self.relevance == "one":
            values = values / nonzero(score).reshape(-1, *[1] * (values.ndim - 1))
        return Found(values, notes=cut_off(ledger), extra=extra)

    def rules(self, ask: Probe) -> Composite:
        """The composite in force: presets with the options filled in, ``last`` with a number, biases seen to."""
        composite = self.composite
        if not isinstance(composite, Composite):
            box = self.box(ask)
            composite = PRESETS[composite].each(lambda rule: self.tuned(rule, box))
        if composite.counts:
            composite = composite.of(count(ask))
        return composite.without_bias() if self.biases == "leave out" else composite

    def tuned(self, rule: Any, box: ZBox | None) -> Any:
        """A preset's rule with the options of this method."""
        if isinstance(rule, ZBox):
            return box
        if isinstance(rule, Epsilon) and self.epsilon is not None:
            return replace(rule, epsilon=self.epsilon)
        return replace(rule, gamma=self.gamma) if isinstance(rule, Gamma) and self.gamma is not None else rule

    def box(self, ask: Probe) -> ZBox | None:
        """The box rule of a preset that has one, its bounds filled in."""
        if not any(isinstance(rule, ZBox) for _, rule in PRESETS[self.composite].entries):
            return None
        low, high = bounds(ask) if self.low is None or self.high is None else (self.low, self.high)
        return ZBox(low if self.low is None else self.low, high if self.high is None else self.high)


def count(ask: Probe) -> int:
    """How many linear operations the first example goes through."""
    found = []

    @contextmanager
    def counting(module: nn.Module) -> Iterator[None]:
        rules = Rules(PRESETS["zero"])
        with rules.on(module):
            yield
            found.append(rules.number)

    ask.select(torch.tensor([0])).along(counting).gradient()
    return max(found)


def nonzero(score: Tensor) -> Tensor:
    """Scores that shares can be taken of."""
    if bool((score == 0).any()):
        do = 'Use relevance="score".'
        raise OptionError(expected='scores other than zero, for relevance="one"', got="a score of zero", do=do)
    return score


def cut_off(ledger: Ledger) -> tuple[str, ...]:
    """What a reader must know of branches without a gradient."""
    names = sorted({operation for operation, _, rule, _ in ledger.rows() if rule == "cut off"})
    if not names:
        return ()
    return (f"the model cuts branches off the gradient ({', '.join(names)}); these get no relevance",)


def bounds(ask: Probe) -> tuple[Tensor, Tensor]:
    """Black and white as the model sees them; the extremes of the inputs where they are no pictures."""
    images = ask.model.modality
    if isinstance(images, Images) and ask.inputs.ndim == 4:
        mean, std = (torch.as_tensor(np.asarray(each), dtype=ask.inputs.dtype) for each in (images.mean, images.std))
        return tuple(((edge - mean) / std).reshape(1, -1, 1, 1).to(ask.inputs) for edge in (0.0, 1.0))  # type: ignore[return-value]
    return ask.inputs.min(), ask.inputs.max()
