"""Smooth: any method, averaged over noisy copies of the inputs; SmoothGrad and VarGrad are two of its uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from pellucid.attribution.gradient import Saliency
from pellucid.core.law import DUMMY, LINEAR, Law
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.core.reduce import Moments
from pellucid.engines.points import noisy, spread

MOST_BYTES = 20 * 10**6


@dataclass(frozen=True, kw_only=True)
class Smooth(Attributor):
    r"""Another method's explanations of noisy copies of the inputs: their mean, mean square, or variance.

    .. math:: \bar a = \tfrac1n \sum_k a(x + \sigma \varepsilon_k), \quad \varepsilon_k \sim N(0, 1), \quad
        \sigma = \text{noise} \cdot (\max x - \min x)

    The target is decided once, on the clean inputs; a draw's noise is the same for every example.

    Shapes: those of the wrapped method, with a standard error for the mean.
    Units:  those of the wrapped method (squared for "square" and "variance").
    Cost:   ``draws`` times the wrapped method.
    Raises: what the wrapped method raises.
    Source: Smilkov et al. 2017, arXiv:1706.03825, section 2.2; squares: Hooker et al. 2019, arXiv:1806.10758.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Smooth(pl.InputXGradient(), draws=4)(torch.nn.Linear(3, 1), torch.ones(1, 3)).values.shape
        torch.Size([1, 3])
    """

    paper: ClassVar[str] = "Smilkov et al. 2017, arXiv:1706.03825"
    units: ClassVar[str] = "those of the wrapped method"
    laws: ClassVar[tuple[Law, ...]] = (DUMMY,)
    method: Attributor = field(default_factory=Saliency, kw_only=False, metadata={"help": "the method to smooth"})
    draws: int = option(50, at_least=2, help="noisy copies")
    noise: float = option(0.15, above=0, help="width of the noise, as a share of each example's range")
    of: Literal["mean", "square", "variance"] = option(
        "mean",
        choices=("mean", "square", "variance"),
        help="what is kept of the explanations: mean, square or variance",
    )

    @property
    def folding(self) -> Literal["sum", "norm"]:  # type: ignore[override]
        """As the wrapped method folds a token's values."""
        return self.method.folding

    @property
    def discrete(self) -> bool:  # type: ignore[override]
        """Noise needs continuous inputs: ids are asked about at their embedding."""
        return False

    def attribute(self, ask: Probe) -> Found:
        sigma = self.noise * spread(ask.inputs)
        points, moments = noisy(ask.inputs, sigma, ask.seed), Moments()
        at_once = max(1, min(64, MOST_BYTES // (ask.inputs.numel() * ask.inputs.element_size())))
        for numbers in torch.arange(self.draws).split(at_once):
            found = self.method.attribute(ask.moved(points(numbers)))
            values = found.values if isinstance(found, Found) else found
            values = values.unflatten(0, (len(numbers), ask.batch))
            moments.update(numbers, values.square() if self.of == "square" else values, values)
        if self.of == "variance":
            return Found(moments.variance)
        return Found(moments.mean, standard_error=moments.standard_error)


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Smooth):
    r"""The mean slope around the inputs: saliency without its pixel noise.

    .. math:: a = \tfrac1n \sum_k \nabla f(x + \sigma \varepsilon_k)

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error.
    Units:  target per unit of input.
    Cost:   ``draws`` gradients per example.
    Raises: GradientError if the target does not depend differentiably on the inputs.
    Source: Smilkov et al. 2017, arXiv:1706.03825, section 2.2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1)
        >>> bool(torch.allclose(pl.SmoothGrad()(net, torch.rand(1, 3)).values, net.weight))
        True
    """

    units: ClassVar[str] = "change of the target per unit of input"
    laws: ClassVar = (DUMMY, LINEAR)


@dataclass(frozen=True, kw_only=True)
class VarGrad(Smooth):
    r"""The variance of the slope around the inputs: where the explanation itself is unsteady.

    .. math:: a = \operatorname{Var}_k\left[\nabla f(x + \sigma \varepsilon_k)\right]

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), not negative.
    Units:  (target per unit of input)².
    Cost:   ``draws`` gradients per example.
    Raises: GradientError if the target does not depend differentiably on the inputs.
    Source: Adebayo et al. 2018, arXiv:1810.03307, section 2.

    Example:
        >>> import torch, pellucid as pl
        >>> bool((pl.VarGrad()(torch.nn.Linear(3, 1), torch.rand(1, 3)).values < 1e-9).all())
        True
    """

    paper: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03307"
    units: ClassVar[str] = "(change of the target per unit of input)²"
    of: Literal["mean", "square", "variance"] = option(
        "variance", choices=("variance",), help="what is kept of the explanations"
    )
