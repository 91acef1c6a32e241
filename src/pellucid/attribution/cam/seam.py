"""The seam of class activation maps: a method is one function ``weights``, or ``combined``; maps stay signed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pellucid.core.bound import Activation
from pellucid.core.method import Attributor, Found, option
from pellucid.core.model import Layer, Model
from pellucid.core.probe import Probe
from pellucid.core.site import Site
from pellucid.engines.grids import Grid, Grids
from pellucid.errors import GradientError, LayerError, OptionError, ShapeError

MOST_TRIED = 16
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Maps:
    """A layer's maps (batch, channels, *space), the target's gradient by them, and the activation as the layer has it.

    ``grid`` says how the one becomes the other.
    """

    value: Tensor
    gradient: Tensor
    activation: Activation
    grid: Grid

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of places."""
        return tuple(range(2, self.value.ndim))


@dataclass(frozen=True, kw_only=True)
class LayerMap(Attributor):
    """A map from one layer: activations × ``weights``, summed over channels, signed, at the layer's own resolution.

    Without ``layer`` the last layer that has maps is taken. The tokens of a vision transformer count as a map, as do
    channels that stand last; their grid is found. Several layers are fused: each map is divided by its largest
    magnitude, enlarged to the largest one, and the mean is taken. Where the score does not depend on a layer, its map
    is zero. ReLU, scaling and resizing are matters of display.
    """

    layer: str | tuple[str, ...] | None = option(
        None, help="the layer whose maps are weighted, or several; the last one with maps without"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is not None and not isinstance(self.layer, str) and not len(self.layer):
            raise OptionError(expected="at least one layer", got=repr(self.layer), do="Leave it out for the last one.")

    def attribute(self, ask: Probe) -> Found:
        layers = self.layers(ask)
        found = [maps_of(each, ask) for each in ask.capture(*layers)] if layers else [last_maps(ask)]
        maps = [self.combined(each, ask) * told(each) for each in found]
        names = ", ".join(str(each.activation.site) for each in found)
        return Found(maps[0] if len(maps) == 1 else fused(maps), extra={"layer": names}, notes=(f"maps of {names}",))

    def layers(self, ask: Probe) -> tuple[str | Site, ...]:
        """The layers that were named; none where that is left open."""
        if self.layer is not None:
            return (self.layer,) if isinstance(self.layer, str) else tuple(self.layer)
        return (ask.site,) if isinstance(ask.site, Site) else ()

    def combined(self, maps: Maps, ask: Probe) -> Tensor:
        """(batch, 1, *space): the maps of all channels as one."""
        return (self.weights(maps, ask) * maps.value).sum(1, keepdim=True)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        """(batch, channels, 1, …) or (batch, channels, *space): what each activation counts."""
        raise NotImplementedError


def told(maps: Maps) -> Tensor:
    """(batch, 1, …): 1 where the score depends on the layer, else 0."""
    depends = (maps.activation.gradient.flatten(1) != 0).any(1)
    return depends.to(maps.value).reshape(-1, *[1] * (maps.value.ndim - 1))


def fused(maps: Sequence[Tensor]) -> Tensor:
    """The mean of maps (batch, 1, *space) on one scale and at the largest resolution."""
    space = max((each.shape[2:] for each in maps), key=lambda space: space.numel())
    scaled = [each / peak.where(peak > 0, 1) for each in maps for peak in [magnitude(each)]]
    return torch.stack([enlarged(each, space) for each in scaled]).mean(0)


def magnitude(maps: Tensor) -> Tensor:
    """(batch, 1, …) the largest magnitude of each map."""
    return maps.abs().amax(tuple(range(1, maps.ndim)), keepdim=True)


def enlarged(maps: Tensor, space: tuple[int, ...]) -> Tensor:
    """Maps (batch, channels, *space) at another resolution, linear between places."""
    if tuple(maps.shape[2:]) == tuple(space):
        return maps
    return functional.interpolate(maps, size=tuple(space), mode=MODES[len(space)], align_corners=False)


def last_maps(ask: Probe) -> Maps:
    """The last layer whose output is a stack of maps (or a grid of tokens) that the score depends on."""
    fits = map_layers(ask)
    if not fits:
        do = "Name a layer with maps, or use a gradient method."
        raise LayerError(expected="a layer with maps (channels, *space)", got="none in this model", do=do)
    for layer in fits[:-MOST_TRIED:-1]:
        with suppress(GradientError):  # what the score does not depend on
            found = maps_of(ask.capture(layer.name)[0], ask)
            if bool((found.gradient != 0).any()):
                return found
    return maps_of(ask.capture(fits[-1].name)[0], ask)


def map_layers(ask: Probe) -> list[Layer]:
    """The layers with maps, in the order in which their calls end."""
    grids = grids_of(ask)
    return [each for each in grids.layers if each.shape is not None and grids.of(each.shape) is not None]


def grids_of(ask: Probe) -> Grids:
    """Where activations of the model lie on the inputs."""
    if not isinstance(ask.model, Model):
        raise LayerError(expected="a model with layers", got="a BlackBox", do="Use Occlusion or KernelSHAP.")
    return Grids(ask.model, ask.leaves)


def maps_of(activation: Activation, ask: Probe) -> Maps:
    """An activation as maps (batch, channels, *space); ShapeError where it has none."""
    grid = grids_of(ask).of(tuple(activation.value.shape[1:]))
    if grid is None:
        fits = ", ".join(each.name for each in map_layers(ask)[:-7:-1])
        do = f"Layers that fit: {fits}." if fits else "This model has no layer with maps."
        got = f"{tuple(activation.value.shape)} from {str(activation.site)!r}"
        raise ShapeError(expected="maps (batch, channels, *space)", got=got, do=do)
    return Maps(grid.maps(activation.value), grid.maps(activation.gradient), activation, grid)
