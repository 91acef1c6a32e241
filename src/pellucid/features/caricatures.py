"""Caricatures: what a layer keeps of a picture, drawn larger than life."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.modality import Images
from pellucid.core.outputs import Outputs
from pellucid.core.run import Run, current_settings, undisturbed
from pellucid.core.site import site_of
from pellucid.core.target import Target
from pellucid.engines.canvas import Fourier, Surface
from pellucid.errors import OptionError, ShapeError
from pellucid.features.dream import activations_of
from pellucid.features.dreams import Caricature
from pellucid.features.scene import scene_of
from pellucid.features.units import torch_model
from pellucid.features.visualize import visualize

LEAST = 0.1


@dataclass(frozen=True, eq=False)
class Alike(Target):
    r"""A layer's answer beside another one: d · max(0.1, cos)^power, where d = 1 for the other one itself."""

    at: str
    other: Tensor
    power: float = 1.0

    @property
    def layer(self) -> str:
        return self.at

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        strength, cosine = compared(torch.as_tensor(outputs), self.other)
        return strength * cosine.clamp_min(LEAST) ** self.power

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"caricature at layer “{self.at}”"


def compared(here: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(rows,) the projection on another answer in units of it, and the cosine."""
    flat, goal = here.flatten(1), other.to(here).reshape(1, -1).expand(len(here), -1)
    tiny = torch.finfo(flat.dtype).tiny
    dot, size = (flat * goal).sum(1), goal.norm(dim=1).clamp_min(tiny)
    return dot / size**2, dot / (size * flat.norm(dim=1)).clamp_min(tiny)


def caricature(
    model: Any,
    picture: Any,
    layer: str,
    *,
    steps: int = 256,
    power: float = 1.0,
    size: int | tuple[int, ...] | None = None,
    canvas: Surface | None = None,
    rate: float | None = None,
) -> Caricature:
    r"""A new picture to which a layer answers as it does to the given one, only more so.

    .. math:: \max_x\; \frac{h(x) \cdot h_0}{\lVert h_0 \rVert^2}\, \max(0.1, \cos(h(x), h_0))^{\text{power}}

    It is drawn from nothing (``canvas``, by default ``Fourier()``), so that only what the layer keeps of the picture is
    in it; a larger ``power`` stays closer to the picture's own answer, 0 exaggerates freely. ``size`` enlarges first.

    Shapes: pictures (rows, channels, height, width), or series → as many caricatures.
    Units:  shares of the picture's own answer.
    Cost:   ``steps`` forward and backward passes a row, up to the layer only.
    Raises: LayerError; ShapeError for a layer that does not answer to the picture at all, or inputs without space.
    Source: Olah et al. 2018, "The Building Blocks of Interpretability", Distill, and lucid's published caricatures.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.caricature(pl.load("demo:digits"), parts("digits").examples[3], "block2", steps=16)
        >>> bool(found.cosine[0] > found.control[0])
        True
    """
    if isinstance(power, bool) or not isinstance(power, int | float) or not 0 <= power < 100:
        raise OptionError(expected="power of at least 0", got=repr(power), do="Use e.g. power=1.")
    studied = torch_model(model)
    run = Run(current_settings(), studied.device)
    bounded = isinstance(studied.modality, Images)
    with undisturbed(), studied.session():
        site_of(studied.module, layer)
        scene = scene_of(studied, size, picture, None if bounded else picture, run)
        ground, start = scene.ground, scene.ground.start
        if ground.rank == 0 or start is None:
            do = "Draw pictures or series."
            raise ShapeError(expected="inputs with space or time", got=str(ground.shape), do=do)
        leaves = studied.read(start)
        own = activations_of(studied, layer, leaves, run)
        if bool((own.flatten(1) == 0).all(1).any()):
            do = "Take another layer or picture."
            raise ShapeError(expected="a layer that answers to the picture", got=f"zeros in {layer!r}", do=do)
        found = visualize(
            studied,
            [Alike(layer, each, power) for each in own],
            steps=steps,
            size=ground.shape[1:],
            canvas=Fourier() if canvas is None else canvas,
            rate=rate,
            data=None if bounded else start,
            controls=0,
        )
        made = activations_of(studied, layer, studied.read(found.inputs), run)
        empty = ground.low + 0.5 * (ground.high - ground.low)
        blank = activations_of(studied, layer, studied.read(empty.expand(1, *ground.shape).clone()), run)
    pairs = [compared(made[i : i + 1], each) for i, each in enumerate(own)]
    return Caricature(
        inputs=found.inputs,
        pictures=found.pictures,
        start=start,
        names=found.names,
        receipt=replace(found.receipt, rows_forward=found.receipt.rows_forward + run.rows_forward),
        modality=studied.modality,
        notes=found.notes,
        cosine=torch.cat([cosine for _, cosine in pairs]),
        strength=torch.cat([strength for strength, _ in pairs]),
        control=torch.cat([compared(blank, each)[1] for each in own]),
        path=found.path,
    )
