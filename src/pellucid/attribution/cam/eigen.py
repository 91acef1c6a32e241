"""Class activation maps from the activations' own structure: their first singular vector, and their outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.attribution.cam.seam import LayerMap, Maps
from pellucid.core.law import SENSITIVE
from pellucid.core.method import option
from pellucid.core.probe import Probe


@dataclass(frozen=True, kw_only=True)
class EigenCAM(LayerMap):
    r"""The strongest common pattern of the last maps: their projection on the first right singular vector.

    .. math:: m = A v_1, \quad A = U \Sigma V^\top \text{ (places × channels)}

    What the layer shows most, for whatever class: the target decides the sign only, which makes the map agree with
    Grad-CAM's (their inner product is positive).

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  those of the activations.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Muhammad & Yeasin 2020, arXiv:2008.00299, section III (activations are not centered).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.EigenCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Muhammad & Yeasin 2020, arXiv:2008.00299"
    units: ClassVar[str] = "activation"

    def combined(self, maps: Maps, ask: Probe) -> Tensor:
        return along(first_pattern(maps.value), (maps.gradient.mean(maps.space, keepdim=True) * maps.value).sum(1))


@dataclass(frozen=True, kw_only=True)
class EigenGradCAM(LayerMap):
    r"""The strongest common pattern of activations times their slopes: Eigen-CAM, asked about the target.

    .. math:: m = B v_1, \quad B = A \odot \frac{\partial f}{\partial A} = U \Sigma V^\top \text{ (places × channels)}

    The sign makes the map agree with the sum of B over channels, which is HiResCAM.

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  target, as far as the layers above are linear.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Gildenblat 2021, pytorch-grad-cam; after Muhammad & Yeasin 2020, arXiv:2008.00299.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.EigenGradCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Gildenblat 2021, pytorch-grad-cam"
    units: ClassVar[str] = "target"
    laws: ClassVar = (SENSITIVE,)

    def combined(self, maps: Maps, ask: Probe) -> Tensor:
        shares = maps.value * maps.gradient
        return along(first_pattern(shares), shares.sum(1))


def first_pattern(maps: Tensor) -> Tensor:
    """(batch, places) the projection of maps (batch, channels, *space) on their first right singular vector."""
    left, size, _ = torch.linalg.svd(maps.flatten(2).transpose(1, 2), full_matrices=False)
    return left[..., 0] * size[:, :1]


def along(pattern: Tensor, map_: Tensor) -> Tensor:
    """A pattern (batch, places) in the shape of a map, with the sign under which both agree.

    Where neither sign agrees more, the strongest place is positive.
    """
    agree = (pattern * map_.flatten(1)).sum(1).sign()
    strongest = pattern.gather(1, pattern.abs().argmax(1, keepdim=True))[:, 0].sign()
    return (pattern * agree.where(agree != 0, strongest)[:, None]).reshape(map_.shape)[:, None]


@dataclass(frozen=True, kw_only=True)
class FEM(LayerMap):
    r"""Where the last maps stand out from themselves, each channel counted by its mean (Feature Explanation Method).

    .. math:: m = \sum_k \mu_k \, [A_k > \mu_k + s \, \sigma_k]

    :math:`\mu_k` and :math:`\sigma_k` are mean and standard deviation of a channel over its places. The target plays
    no part.

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer).
    Units:  those of the activations.
    Cost:   1 forward pass, and a backward pass down to the layer only.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Fuad et al. 2020, doi:10.1109/IPTA50016.2020.9286629, the k-sigma rule.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.FEM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Fuad et al. 2020, doi:10.1109/IPTA50016.2020.9286629"
    units: ClassVar[str] = "activation"

    sigmas: float = option(2.0, above=0, help="how many standard deviations above its mean an activation stands out")

    def combined(self, maps: Maps, ask: Probe) -> Tensor:
        mean = maps.value.mean(maps.space, keepdim=True)
        spread = (maps.value - mean).square().mean(maps.space, keepdim=True).sqrt()
        even = spread <= 1e-6 * mean.abs()
        outstanding = (maps.value > mean + self.sigmas * spread) & ~even
        return (mean * outstanding).sum(1, keepdim=True)
