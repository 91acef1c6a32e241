"""Class activation maps from asking again: pictures masked by a channel, and layers without a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.attribution.cam.seam import LayerMap, Maps, enlarged
from pellucid.core.law import LINEAR
from pellucid.core.method import option
from pellucid.core.probe import Probe
from pellucid.engines.fills import baseline
from pellucid.engines.points import only
from pellucid.engines.replay import replayed


@dataclass(frozen=True, kw_only=True)
class ScoreCAM(LayerMap):
    r"""The last maps, each weighted by the score of the picture seen through it.

    .. math:: m = \sum_k w_k A_k, \quad
        w = \operatorname{softmax}_k\bigl(f(x \odot H_k + b \odot (1 - H_k)) - f(b)\bigr), \quad
        H_k = \frac{U(A_k) - \min U(A_k)}{\max U(A_k) - \min U(A_k)}

    U enlarges a map to the picture, b is the baseline. ``weighting="increase"`` leaves the softmax out: weights are
    then in the units of the target and may be negative. A map that is the same everywhere shows nothing.

    Shapes: inputs (batch, channels, \*space) → map (batch, 1, \*space of the layer), signed.
    Units:  those of the activations; target × activation with ``weighting="increase"``.
    Cost:   1 forward pass and one for each channel of the layer; a backward pass down to the layer.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Wang et al. 2020, arXiv:1910.01279, definitions 2 and 3, algorithm 1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.ScoreCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Wang et al. 2020, arXiv:1910.01279"
    units: ClassVar[str] = "activation"

    weighting: str = option(
        "softmax", choices=("softmax", "increase"), help="softmax over channels, or the increase of the score itself"
    )
    baseline: Any = option(None, help="what is seen where a mask hides: a fill, a number or a tensor; zeros without")

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        whole = outermost(ask)
        inputs, hidden = whole.inputs, baseline(self.baseline, whole)
        if inputs.ndim == 4:  # the layout that convolutions are fastest in
            inputs, hidden = (each.contiguous(memory_format=torch.channels_last) for each in (inputs, hidden))
        space = tuple(inputs.shape[2:])

        def seen(k: Tensor) -> Tensor:
            masks = enlarged(maps.value[:, k.to(inputs.device)], space).to(inputs.dtype)
            low, high = masks.amin(maps.space, keepdim=True), masks.amax(maps.space, keepdim=True)
            shown = ((masks - low) / (high - low).where(high > low, 1)).transpose(0, 1).unsqueeze(2)
            return torch.lerp(hidden[None], inputs[None], shown)

        increase = whole.forward(seen, maps.value.shape[1]) - whole.forward(only(hidden), 1)
        weights = increase.softmax(0) if self.weighting == "softmax" else increase
        return weights.t().reshape(*maps.value.shape[:2], *[1] * len(space)).to(maps.value)


@dataclass(frozen=True, kw_only=True)
class AblationCAM(LayerMap):
    r"""The last maps, each weighted by what the score loses without it.

    .. math:: m = \sum_k w_k A_k, \quad w_k = f(A) - f(A \text{ with } A_k = 0)

    The paper divides the weights by f(A), one number an example: left out, because it only turns the sign of the map
    where the score is negative. Only what comes after the layer is computed again, where that is exact; it is
    checked, and full passes are made where it is not.

    Shapes: inputs (batch, …) → map (batch, 1, \*space of the layer), signed.
    Units:  target × activation.
    Cost:   2 forward passes, and one for each channel of the layer that begins at the layer; a backward pass down to
            the layer.
    Raises: ShapeError for a layer without maps; it names those that have some.
    Source: Desai & Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360, eq. 3 and 4.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.AblationCAM()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 6, 6])
    """

    paper: ClassVar[str] = "Desai & Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360"
    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    def weights(self, maps: Maps, ask: Probe) -> Tensor:
        whole, axis = outermost(ask), maps.grid.axis
        lost = []
        for row in torch.arange(ask.batch).split(1):
            one, value = whole.select(row), maps.activation.value[row.to(maps.value.device)]
            inside = replayed(one, maps.activation.site, value)

            def without(k: Tensor, value: Tensor = value) -> Tensor:
                channels = torch.arange(value.shape[axis], device=value.device)
                kept = (channels != k.to(value.device)[:, None]).to(value)
                return value[None] * kept.reshape(len(k), 1, *beside(value, axis))

            lost.append(one.score - inside.forward(without, value.shape[axis])[:, 0])
        weights = torch.stack(lost).to(maps.value)
        return weights.reshape(*weights.shape, *[1] * len(maps.space))


def beside(value: Tensor, axis: int) -> list[int]:
    """The shape that puts numbers, one a channel, beside an activation without its batch axis."""
    return [-1 if i == axis else 1 for i in range(1, value.ndim)]


def outermost(ask: Probe) -> Probe:
    """The same question, asked of the inputs."""
    while ask.outer is not None:
        ask = ask.outer
    return ask
