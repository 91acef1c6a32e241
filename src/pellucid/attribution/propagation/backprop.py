"""Gradients whose ReLUs go backwards in another way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from pellucid.attribution.cam.gradient import GradCAM
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.engines.rules.rectifiers import Rectifier, Rectifiers, deconvolution, guided

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
CAVEAT = "much of this map is the picture's edges, whatever the model learned; look at its evidence"


def rectified_gradient(ask: Probe, rectify: Rectifier) -> tuple[Tensor, tuple[str, ...]]:
    """The gradient with another way back through every ReLU, and what a reader must know of it."""
    rules = Rectifiers(rectify)
    gradient: Tensor = ask.along(rules.on).gradient()
    return gradient, (CAVEAT,) if rules.met else ("no ReLU was met: this is the plain gradient",)


@dataclass(frozen=True, kw_only=True)
class RectifiedGradient(Attributor):
    """The gradient with ``rectify`` in place of every ReLU."""

    units: ClassVar[str] = "the target, per unit of input, rectified"
    rectify: ClassVar[Any]

    def attribute(self, ask: Probe) -> Found:
        values, notes = rectified_gradient(ask, self.rectify)
        return Found(values, notes=notes)


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(RectifiedGradient):
    r"""The gradient by the inputs, where every ReLU passes back only what is positive, and only where it was active.

    .. math:: g_{\text{in}} = \max(g_{\text{out}}, 0) \, [x > 0]

    ReLUs are met as operations: functional, reused and in-place ones obey, too. Known to change little when the
    weights are scrambled: the evidence of a map tells.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  of a gradient; not a share of the target.
    Cost:   one forward and one backward pass.
    Raises: what every gradient method raises; a network without ReLU gets its plain gradient, and a note.
    Source: Springenberg et al. 2015, arXiv:1412.6806, section 3.4.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> pl.GuidedBackprop()(net, torch.rand(1, 3)).values.shape
        torch.Size([1, 3])
    """

    paper: ClassVar[str] = "Springenberg et al. 2015, arXiv:1412.6806"
    rectify: ClassVar[Any] = staticmethod(guided)


@dataclass(frozen=True, kw_only=True)
class Deconvolution(RectifiedGradient):
    r"""The gradient by the inputs, where every ReLU passes back only what is positive.

    .. math:: g_{\text{in}} = \max(g_{\text{out}}, 0)

    ReLUs are met as operations: functional, reused and in-place ones obey, too. Known to change little when the
    weights are scrambled: the evidence of a map tells.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  of a gradient; not a share of the target.
    Cost:   one forward and one backward pass.
    Raises: what every gradient method raises; a network without ReLU gets its plain gradient, and a note.
    Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> pl.Deconvolution()(net, torch.rand(1, 3)).values.shape
        torch.Size([1, 3])
    """

    paper: ClassVar[str] = "Zeiler & Fergus 2014, arXiv:1311.2901"
    rectify: ClassVar[Any] = staticmethod(deconvolution)


@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(Attributor):
    r"""Guided backpropagation, weighted by Grad-CAM: fine lines where the class is.

    .. math:: a = \text{GuidedBackprop} \odot \text{upsample}(\max(\text{GradCAM}, 0))

    Shapes: inputs (batch, channels, \*space) → attribution (batch, channels, \*space).
    Units:  of a gradient times a map; not a share of the target.
    Cost:   two forward and two backward passes.
    Raises: LayerError where no layer has a map.
    Source: Selvaraju et al. 2017, arXiv:1610.02391, section 3.1.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> pl.GuidedGradCAM()(pl.load("demo:digits"), parts("digits").examples[:1]).values.shape
        torch.Size([1, 1, 8, 8])
    """

    paper: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"
    units: ClassVar[str] = "the target, per unit of input, rectified"
    laws: ClassVar = ()
    layer: str | None = option(None, help="the layer whose map weighs; the last one with a spatial map without")

    def attribute(self, ask: Probe) -> Found:
        lines, notes = rectified_gradient(ask, guided)
        places = GradCAM(layer=self.layer).attribute(ask)
        mode = MODES[lines.ndim - 2]
        wide = functional.interpolate(places.values.clamp(min=0), size=lines.shape[2:], mode=mode, align_corners=False)
        return Found(lines * wide, notes=(*notes, *places.notes))
