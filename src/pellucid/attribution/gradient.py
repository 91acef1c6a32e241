"""Methods of one backward pass: Saliency, InputXGradient, FullGrad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pellucid.core.law import COMPLETE, DUMMY, LINEAR
from pellucid.core.method import Attributor, Found
from pellucid.core.model import Model
from pellucid.core.probe import Probe
from pellucid.core.site import Site
from pellucid.errors import LayerError, ShapeError


@dataclass(frozen=True, kw_only=True)
class Saliency(Attributor):
    r"""The slope of the score by each input: where a small change would matter most.

    .. math:: a_i = \partial_i f(x)

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape); token ids → (batch, tokens), Euclidean norms.
    Units:  target per unit of input, signed.
    Cost:   1 forward and 1 backward pass per example.
    Raises: GradientError if the target does not depend differentiably on the inputs.
    Source: Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Saliency()(torch.nn.Linear(3, 1), torch.ones(1, 3)).values.shape
        torch.Size([1, 3])
    """

    paper: ClassVar[str] = "Simonyan, Vedaldi & Zisserman 2014, arXiv:1312.6034"
    units: ClassVar[str] = "change of the target per unit of input"
    laws: ClassVar = (DUMMY, LINEAR)
    folding: ClassVar = "norm"

    def attribute(self, ask: Probe) -> Tensor:
        return ask.gradient()


@dataclass(frozen=True, kw_only=True)
class InputXGradient(Attributor):
    r"""The slope times the input: the first-order share of each input in the score.

    .. math:: a_i = x_i \, \partial_i f(x)

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape); token ids → (batch, tokens).
    Units:  those of the target.
    Cost:   1 forward and 1 backward pass per example.
    Raises: GradientError if the target does not depend differentiably on the inputs.
    Source: Shrikumar et al. 2016, arXiv:1605.01713, section 2.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.InputXGradient()(torch.nn.Linear(3, 1), torch.zeros(1, 3)).values
        tensor([[0., 0., 0.]])
    """

    paper: ClassVar[str] = "Shrikumar et al. 2016, arXiv:1605.01713"
    units: ClassVar[str] = "target"
    laws: ClassVar = (DUMMY, LINEAR)

    def attribute(self, ask: Probe) -> Tensor:
        return ask.inputs * ask.gradient()


@dataclass(frozen=True, kw_only=True)
class FullGrad(Attributor):
    r"""Input × gradient plus what every bias contributes, as one map: for ReLU networks nothing is left out.

    .. math:: m = \sum_c x_c \, \partial_c f + \sum_l \sum_c \psi(b_{lc} \, \partial_{z_{lc}} f),
        \quad f(x) = x \cdot \nabla f + \sum_l b_l \cdot \nabla_{z_l} f

    The bias of a convolution, linear layer or batch-norm acts at every place of its output. ψ is bilinear resizing to
    the input's size that keeps the sum, and spreads what has no place (a linear layer's) evenly. The paper's display
    (absolute values, each map scaled to [0, 1]) is left to the reader, so that the parts still add up.

    Shapes: inputs (batch, channels, \*space) → map (batch, 1, \*space).
    Units:  those of the target.
    Cost:   2 forward and 2 backward passes per example, and every biased layer's activation in memory.
    Raises: ShapeError for token ids or ``at=``; LayerError for a model without biased layers.
    Source: Srinivas & Fleuret 2019, arXiv:1905.00780, eq. 3 and 5.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 2)
        ... )
        >>> full = pl.FullGrad()(net, torch.rand(1, 1, 4, 4))
        >>> full.values.shape, bool(full.gap < 1e-4)
        (torch.Size([1, 1, 4, 4]), True)
    """

    paper: ClassVar[str] = "Srinivas & Fleuret 2019, arXiv:1905.00780"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, LINEAR)

    def attribute(self, ask: Probe) -> Found:
        if ask.site is not None or ask.inputs.ndim < 3 or not isinstance(ask.model, Model):
            do = "Use InputXGradient or IntegratedGradients."
            raise ShapeError(expected="inputs (batch, channels, *space)", got=str(tuple(ask.inputs.shape)), do=do)
        biased = biases(ask.model)
        if not biased:
            do = "Use InputXGradient: without biases it is the same."
            raise LayerError(expected="layers with a bias", got="none", do=do)
        total, space = (ask.inputs * ask.gradient()).sum(1, keepdim=True), ask.inputs.shape[2:]
        for activation, bias in zip(ask.capture(*biased), biased.values(), strict=True):
            axis = 1 if activation.gradient.ndim == 2 + len(space) else -1
            share = (activation.gradient.movedim(axis, -1) * bias).sum(-1)
            total = total + resized(share.reshape(len(share), 1, -1), share.shape[1:], space)
        return Found(total, base_score=torch.zeros_like(ask.score))


def biases(model: Model) -> dict[Site, Tensor]:
    """What every call of every biased layer adds: site → (channels,)."""
    parts = dict(model.module.named_modules())
    found: dict[Site, Tensor] = {}
    for layer in model.layers():
        bias = bias_of(parts[layer.name])
        if bias is not None:
            found.update({Site(layer.name, call): bias for call in range(1, layer.calls + 1)})
    return found


def bias_of(part: Any) -> Tensor | None:
    """The bias of an affine layer; that of a batch-norm includes its running mean."""
    mean, variance = getattr(part, "running_mean", None), getattr(part, "running_var", None)
    if isinstance(part, nn.modules.batchnorm._BatchNorm) and mean is not None and variance is not None:
        scale = (variance + part.eps).rsqrt()
        return part.bias - mean * scale * part.weight if part.affine else -mean * scale
    return part.bias if isinstance(part, nn.Linear | nn.modules.conv._ConvNd) else None


def resized(share: Tensor, shape: tuple[int, ...], space: tuple[int, ...]) -> Tensor:
    """Shares (batch, 1, places) of a map ``shape`` on the input's ``space``, each example's sum kept."""
    if len(shape) != len(space):
        return (
            (share.sum(-1) / torch.Size(space).numel()).reshape(len(share), 1, *[1] * len(space)).expand(-1, -1, *space)
        )
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    grown = nn.functional.interpolate(share.reshape(len(share), 1, *shape), size=space, mode=modes[len(space)])
    if tuple(shape) == tuple(space):
        return grown
    here, there = share.sum(-1), grown.flatten(2).sum(-1)
    even = ((here - there) / torch.Size(space).numel()).reshape(len(share), 1, *[1] * len(space))
    return grown + even
