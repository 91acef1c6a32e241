"""Class activation maps from gradients: CAM, Grad-CAM and those that weigh the gradient in other ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.attribution.cam.seam import LayerMap, Maps
from pellucid.core.law import LINEAR, SENSITIVE
from pellucid.core.probe import Probe
from pellucid.engines.points import lifted
from pellucid.errors import LayerError


@dataclass(frozen=True, kw_only=True)
class GradCAM(LayerMap):
    r"""The last maps, each weighted by the mean slope of the score by it.

    .. math:: m = \sum_k \alpha_k A_k, \quad \alpha_k = \frac1Z \sum_{p} \frac{\partial f}{\partial A_{kp}}

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  target, as far as the layers above are linear.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: LayerError for a layer without maps; it names those that have some.
    Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2 (the ReLU of eq. 2 is left to the display).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.GradCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        return maps.gradient.mean(maps.space, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class CAM(LayerMap):
    r"""The last maps, weighted by the class's own weights in a head of global average pooling and one linear layer.

    .. math:: m = \frac1Z \sum_k w_{ck} A_k, \quad f_c(x) = \sum_p m_p + b_c

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed; it sums to the logit without its bias.
    Units:  target.
    Cost:   1 forward pass, and a backward pass through the head.
    Raises: LayerError where the head is not global average pooling and a linear layer (checked on the run itself).
    Source: Zhou et al. 2016, arXiv:1512.04150, eq. 1 and 2.

    Example:
        >>> import torch, pellucid as pl
        >>> pool = torch.nn.AdaptiveAvgPool2d(1)
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), pool, torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> pl.CAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Zhou et al. 2016, arXiv:1512.04150"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        slope = maps.gradient
        flat = slope.flatten(2)
        even = (flat - flat.mean(2, keepdim=True)).abs().amax() <= 1e-4 * flat.abs().amax()
        if not bool(even) or not affine_above(maps, ask):
            do = "Use GradCAM: it asks for no particular head."
            got = "a head whose slope differs from place to place, or depends on the input"
            raise LayerError(expected="global average pooling and a linear layer above the maps", got=got, do=do)
        return slope


def affine_above(maps: Maps, ask: Probe) -> bool:
    """Whether the score is affine in the layer: f(0) + f(2A) = 2 f(A)."""
    inside = ask.at(maps.activation.site)
    none, once, twice = inside.forward(lambda k: inside.inputs[None] * lifted(k, inside.inputs), 3)
    scale, size = (once - none).abs().amax(), torch.stack([none, once, twice]).abs().amax()
    loose = 100 if ask.model.dtype.itemsize < 4 else 1
    return bool(((none + twice - 2 * once).abs() <= loose * (1e-4 * scale + 1e-5 * size)).all())


@dataclass(frozen=True, kw_only=True)
class GradCAMPlusPlus(LayerMap):
    r"""The last maps, weighted by positive slopes only, of which those of small spots count as much as those of large.

    .. math:: m = \sum_k w_k A_k, \quad
        w_k = \sum_p \frac{g_{kp}^2}{2 g_{kp}^2 + g_{kp}^3 \sum_q A_{kq}} \max(g_{kp}, 0),
        \quad g_{kp} = \frac{\partial f}{\partial A_{kp}}

    The paper explains :math:`e^f`, whose factor is the same for all channels and left out. Weights are never negative,
    so that negative values come from negative activations only.

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  arbitrary: the weights are no multiple of the slope.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Chattopadhyay et al. 2018, arXiv:1710.11063, eq. 5 and 19.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.GradCAMPlusPlus()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Chattopadhyay et al. 2018, arXiv:1710.11063"
    units: ClassVar[str] = "arbitrary"

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        slope, total = maps.gradient.clamp(min=0), maps.value.sum(maps.space, keepdim=True)
        below = 2 + slope * total  # the fraction of the formula, reduced by the square of the slope
        return (slope / below.where(below != 0, 1)).sum(maps.space, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class XGradCAM(LayerMap):
    r"""The last maps, each weighted by the mean slope over its places, which count by their activation.

    .. math:: m = \sum_k w_k A_k, \quad w_k = \frac{\sum_p A_{kp} \, \partial f / \partial A_{kp}}{\sum_p A_{kp}}

    The weights keep what each channel contributes to first order: a map sums to activations times slopes. A channel
    whose activations add up to zero gets the weight 0.

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  target, as far as the layers above are linear.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Fu et al. 2020, arXiv:2008.02312, eq. 8.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.XGradCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Fu et al. 2020, arXiv:2008.02312"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        total = maps.value.sum(maps.space, keepdim=True)
        first = (maps.value * maps.gradient).sum(maps.space, keepdim=True)
        return torch.where(total != 0, first / total.where(total != 0, 1), 0.0)


@dataclass(frozen=True, kw_only=True)
class HiResCAM(LayerMap):
    r"""Each activation of the last maps times its own slope, summed over channels.

    .. math:: m_p = \sum_k A_{kp} \, \frac{\partial f}{\partial A_{kp}}

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed; below one linear layer it sums to the
            target without its bias.
    Units:  target, as far as the layers above are linear.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Draelos & Carin 2020, arXiv:2011.08891, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.HiResCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Draelos & Carin 2020, arXiv:2011.08891"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        return maps.gradient


@dataclass(frozen=True, kw_only=True)
class LayerCAM(LayerMap):
    r"""Each activation of a layer times its own slope where that is positive; made for early layers, too.

    .. math:: m_p = \sum_k A_{kp} \max\Bigl(\frac{\partial f}{\partial A_{kp}}, 0\Bigr)

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed; negative at negative activations only.
    Units:  target, as far as the layers above are linear.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Jiang et al. 2021, doi:10.1109/TIP.2021.3089943, eq. 5 and 6 (the ReLU of eq. 6 is left to the display).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.LayerCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943"
    units: ClassVar[str] = "target"
    laws: ClassVar = (SENSITIVE,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        return maps.gradient.clamp(min=0)
