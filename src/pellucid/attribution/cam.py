"""Class activation maps: a layer's maps, weighted. A CAM is one function ``weights``; the maps stay signed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.bound import Activation
from pellucid.core.law import LINEAR
from pellucid.core.method import Attributor, Found, option
from pellucid.core.model import Layer, Model
from pellucid.core.probe import Probe
from pellucid.core.site import Site
from pellucid.engines.points import lifted
from pellucid.errors import LayerError, ShapeError

MOST_TRIED = 16


@dataclass(frozen=True, kw_only=True)
class LayerMap(Attributor):
    """A map from one layer: activations × ``weights``, summed over channels, signed, at the layer's own resolution.

    Without ``layer`` the last layer that has maps is taken; the tokens of a vision transformer count as a map, their
    grid found from their number. ReLU, scaling and resizing are matters of display.
    """

    layer: str | None = option(None, help="the layer whose maps are weighted; the last one with maps without")

    def attribute(self, ask: Probe) -> Found:
        layer = self.layer or (ask.site if isinstance(ask.site, Site) else None)
        activation = maps_of(ask.capture(layer)[0], ask) if layer else last_maps(ask)
        values = (self.weights(activation, ask) * activation.value).sum(1, keepdim=True)
        name = str(activation.site)
        return Found(values, extra={"layer": name}, notes=(f"maps of {name}",))

    def weights(self, activation: Activation, ask: Probe) -> Tensor:
        """(batch, channels, 1, …) or (batch, channels, *space): what each activation counts."""
        raise NotImplementedError


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

    def weights(self, activation: Activation, ask: Probe) -> Tensor:
        space = tuple(range(2, activation.gradient.ndim))
        return activation.gradient.mean(space, keepdim=True)


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

    def weights(self, activation: Activation, ask: Probe) -> Tensor:
        slope = activation.gradient
        flat = slope.flatten(2)
        even = (flat - flat.mean(2, keepdim=True)).abs().amax() <= 1e-4 * flat.abs().amax()
        if not bool(even) or not affine_above(activation, ask):
            do = "Use GradCAM: it asks for no particular head."
            got = "a head whose slope differs from place to place, or depends on the input"
            raise LayerError(expected="global average pooling and a linear layer above the maps", got=got, do=do)
        return slope


def affine_above(activation: Activation, ask: Probe) -> bool:
    """Whether the score is affine in the layer: f(0) + f(2A) = 2 f(A)."""
    inside = ask.at(activation.site)
    none, once, twice = inside.forward(lambda k: inside.inputs[None] * lifted(k, inside.inputs), 3)
    scale, size = (once - none).abs().amax(), torch.stack([none, once, twice]).abs().amax()
    loose = 100 if ask.model.dtype.itemsize < 4 else 1
    return bool(((none + twice - 2 * once).abs() <= loose * (1e-4 * scale + 1e-5 * size)).all())


def last_maps(ask: Probe) -> Activation:
    """The last layer whose output is a stack of maps (or a grid of tokens) that the score depends on."""
    fits = map_layers(ask)
    if not fits:
        do = "Name a layer with maps, or use a gradient method."
        raise LayerError(expected="a layer with maps (channels, *space)", got="none in this model", do=do)
    for layer in fits[:-MOST_TRIED:-1]:
        found = maps_of(ask.capture(layer.name)[0], ask)
        if bool((found.gradient != 0).any()):
            return found
    return maps_of(ask.capture(fits[-1].name)[0], ask)


def map_layers(ask: Probe) -> list[Layer]:
    """The layers with maps, in the order in which their calls end."""
    if not isinstance(ask.model, Model):
        raise LayerError(expected="a model with layers", got="a BlackBox", do="Use Occlusion or KernelSHAP.")
    rank = ask.leaves.values.ndim - 2
    fits = [each for each in ask.model.layers(ask.leaves) if each.shape is not None and is_maps(each.shape, rank)]
    return sorted(fits, key=lambda each: each.order)


def is_maps(shape: tuple[int, ...], rank: int) -> bool:
    """Whether an output (channels, *space) has as many spatial axes as the input, or is a square grid of tokens."""
    if len(shape) == rank + 1 and rank >= 1:
        return max(shape[1:]) > 1
    return rank == 2 and len(shape) == 2 and grid_of(shape[0]) is not None


def grid_of(tokens: int) -> tuple[int, int] | None:
    """(prefix tokens, side) of a square grid among ``tokens``: up to 5 tokens may stand before it.

    >>> grid_of(197), grid_of(196)
    ((1, 14), (0, 14))
    """
    for prefix in range(6):
        side = math.isqrt(max(tokens - prefix, 0))
        if side >= 2 and side * side == tokens - prefix:
            return prefix, side
    return None


def maps_of(activation: Activation, ask: Probe) -> Activation:
    """An activation as maps (batch, channels, *space); ShapeError where it has none."""
    value, gradient = activation.value, activation.gradient
    rank = ask.leaves.values.ndim - 2
    if value.ndim == rank + 2 and rank >= 1:
        return activation
    grid = grid_of(value.shape[1]) if value.ndim == 3 and rank == 2 else None
    if grid is None:
        fits = ", ".join(each.name for each in map_layers(ask)[:-7:-1])
        do = f"Layers that fit: {fits}." if fits else "This model has no layer with maps."
        got = f"{tuple(value.shape)} from {str(activation.site)!r}"
        raise ShapeError(expected="maps (batch, channels, *space)", got=got, do=do)
    prefix, side = grid
    value, gradient = (each[:, prefix:].movedim(1, 2).unflatten(2, (side, side)) for each in (value, gradient))
    return replace(activation, value=value, gradient=gradient)
