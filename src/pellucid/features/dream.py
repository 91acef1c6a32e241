"""DeepDream and caricatures: what a network sees in a picture, made stronger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.directions import MeanSquare
from pellucid.core.leaves import Leaves
from pellucid.core.modality import Images
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.run import Run, current_settings, undisturbed
from pellucid.core.site import site_of
from pellucid.core.target import Target, as_target
from pellucid.engines.ascend import Climb, Goals
from pellucid.engines.canvas import Ground, Pixels
from pellucid.engines.points import generator
from pellucid.engines.visit import visit
from pellucid.errors import Cancelled, LayerError, OptionError, PellucidError, ShapeError
from pellucid.features.dreams import Dream
from pellucid.features.scene import resized, scene_of
from pellucid.features.units import places, torch_model
from pellucid.features.visualize import unnormalized

SMALLEST = 4
"""The side below which no octave is made."""


def dream(
    model: Any,
    picture: Any,
    target: Any,
    *,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 16,
    rate: float = 0.006,
    jitter: int | None = None,
    smooth: int = 2,
    size: int | tuple[int, ...] | None = None,
    guide: Any = None,
) -> Dream:
    r"""A picture in which a network sees more and more of what it sees already.

    .. math:: x \leftarrow x + \eta\, g \,/\, \overline{|g|}, \qquad g = \nabla_x \sum_i h_i(x)^2

    It begins with the picture at a small size; what was added there is enlarged and put on the picture at the next of
    ``octaves`` sizes, each ``scale`` times as large, up to ``size`` (the picture's own unless given). ``target`` is the
    name of a layer, for its mean square, or any target. With ``guide``, a second picture, each place of the layer
    climbs towards the one of the guide's features that it agrees with most (largest dot product). Before each step the
    picture is rolled by up to ``jitter`` places (an eighth of the side). The slope is averaged with ``smooth`` coarser
    copies of itself, all of unit mean magnitude: without them (0) the finest patterns win. ``rate`` is the mean step as
    a share of the range.

    Shapes: pictures (rows, channels, height, width) or series (rows, channels, time) → the same, at ``size``.
    Units:  those of the inputs; the dream stays within black and white, or the range given.
    Cost:   ``octaves × steps`` forward and backward passes a row, up to the layer only.
    Raises: LayerError, TargetError before anything is computed; ShapeError for inputs without space; OptionError.
    Source: Mordvintsev, Olah & Tyka 2015, "Inceptionism: Going Deeper into Neural Networks", with its published code.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.dream(pl.load("demo:digits"), parts("digits").examples[0], "block2", octaves=2, steps=3)
        >>> found.pictures.shape, bool(found.score[0] > found.before[0])
        (torch.Size([1, 1, 8, 8]), True)
    """
    options(octaves=octaves, steps=steps, scale=scale, rate=rate, jitter=jitter, smooth=smooth)
    studied = torch_model(model)
    run = Run(current_settings(), studied.device)
    with undisturbed(), studied.session(), run.progress("dream"):
        run.check_stop()
        scene = scene_of(studied, size, picture, None if isinstance(studied.modality, Images) else picture, run)
        ground, start = scene.ground, scene.ground.start
        if ground.rank == 0 or start is None:
            do = "Dream of pictures or series."
            raise ShapeError(expected="inputs with space or time", got=str(ground.shape), do=do)
        wanted = goal_of(studied, target, guide, run)
        targets = [wanted] * len(start)
        climb = Climb(studied, scene.leaves, Pixels().on(ground), run, rank=ground.rank)
        sizes = spaces(ground, octaves, scale)
        run.announce(len(sizes) * steps * len(start))
        dreaming = Dreaming(climb, climb.bound(targets, torch.arange(len(start))), ground, rate, jitter, smooth)
        return dreaming.through(start, sizes, steps)


def options(**given: Any) -> None:
    """Refuse what is out of bounds."""
    least = {"octaves": 1, "steps": 1, "jitter": 0, "smooth": 0}
    for name, low in least.items():
        value = given[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < low):
            raise OptionError(expected=f"{name} of at least {low}", got=repr(value), do="Use a whole number.")
    for name, edge in {"scale": 1.0, "rate": 0.0}.items():
        value = given[name]
        if not isinstance(value, Real) or not edge < float(value) < float("inf"):
            raise OptionError(expected=f"{name} above {edge:g}", got=repr(value), do=f"Use e.g. {name}={edge + 0.01}.")


def goal_of(model: Model, target: Any, guide: Any, run: Run) -> Target:
    """A layer's mean square, any other target, or the layer's features of a guide."""
    layer = target if isinstance(target, str) and target not in (model.classes or ()) else None
    if guide is None:
        return as_target(target) if layer is None else MeanSquare(checked(model, layer))
    if layer is None:
        do = "Name a layer: the guide's features are taken there."
        raise LayerError(expected="the name of a layer beside a guide", got=repr(target)[:60], do=do)
    leaves = model.read(guide)
    (place,) = places(model, leaves, [layer])
    maps = place.maps(activations_of(model, layer, leaves, run))
    maps = maps.flatten(2) if maps.ndim > 2 else maps[..., None]
    return Guided(layer, maps.movedim(1, 0).flatten(1), place.axis)


def checked(model: Model, layer: str) -> str:
    """A layer's name, known."""
    site_of(model.module, layer)
    return layer


def activations_of(model: Model, layer: str, leaves: Leaves, run: Run) -> Tensor:
    """(rows, *shape) a layer's activations."""
    seen: dict[Any, Tensor] = {}
    site = site_of(model.module, layer)
    rows = torch.arange(leaves.batch)
    with torch.no_grad():
        visit(model, leaves, leaves.values, rows, [site], lambda place, value: seen.update({place: value.clone()}), run)
    run.count(leaves.batch, backward=False)
    return seen[site]


@dataclass(frozen=True, eq=False)
class Guided(Target):
    """Each place's dot product with the one of a guide's features (channels, n) that it agrees with most; the mean."""

    at: str
    features: Tensor
    axis: int = 0

    @property
    def layer(self) -> str:
        return self.at

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        maps = torch.as_tensor(outputs).movedim(self.axis + 1, 1)
        maps = maps.flatten(2) if maps.ndim > 2 else maps[..., None]
        table = torch.einsum("rcp,cn->rpn", maps, self.features.to(maps))
        return table.amax(2).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"the guide’s features in layer “{self.at}”"


def spaces(ground: Ground, octaves: int, scale: float) -> list[tuple[int, ...]]:
    """The sizes of the octaves, the smallest first; none has a side below 4."""
    full = ground.shape[-ground.rank :]
    sizes = [tuple(max(1, round(side / scale**k)) for side in full) for k in reversed(range(octaves))]
    return [each for each in sizes if min(each) >= SMALLEST or each == full] or [full]


@dataclass(frozen=True, eq=False)
class Dreaming:
    """A dream under way, in shares of the range."""

    climb: Climb
    goals: Goals
    ground: Ground
    rate: float
    jitter: int | None
    smooth: int
    ended: dict[int, int] = field(default_factory=dict)

    def through(self, start: Tensor, sizes: Sequence[tuple[int, ...]], steps: int) -> Dream:
        """All octaves; the best so far where it is stopped."""
        whole = self.ground.unit(start).clamp(0, 1)
        fixed = self.fixed(whole, sizes)
        painted, path, kept = whole, list[Tensor](), list[Tensor]()
        detail, stopped = torch.zeros_like(whole), False
        for octave, space in enumerate(sizes):
            base, detail = self.sized(whole, space), self.sized(detail, space)
            painted = (base + detail).clamp(0, 1)
            try:
                for step in range(steps):
                    self.climb.run.check_stop()
                    painted = self.stepped(painted, octave, step, fixed, path)
            except (KeyboardInterrupt, Cancelled):
                stopped = True
            detail = painted - base
            kept.append(self.ground.low + painted * (self.ground.high - self.ground.low))
            if stopped:
                break
        painted = (whole + self.sized(detail, self.ground.shape[1:])).clamp(0, 1)
        return self.told(start, painted, path, kept, fixed, stopped, len(sizes) * steps)

    def stepped(self, painted: Tensor, octave: int, step: int, fixed: bool, path: list[Tensor]) -> Tensor:
        """One step; rows whose slope is not finite stay as they are from there on."""
        axes = tuple(range(-self.ground.rank, 0))
        most = [max(1, side // 8) if self.jitter is None else self.jitter for side in painted.shape[2:]]
        source = generator(self.climb.run.seed, octave, step)
        shift = tuple(int(torch.randint(-each, each + 1, (), generator=source)) for each in most)
        with torch.enable_grad():
            free = painted.detach().requires_grad_()
            score = self.score(torch.roll(free, shift, axes), fixed)
            (slope,) = torch.autograd.grad(score.sum(), free)
        self.climb.run.count(len(painted), backward=True)
        score = score.detach()
        wrong = ~(torch.isfinite(score) & torch.isfinite(slope.flatten(1).sum(1)))
        for row in wrong.nonzero()[:, 0].tolist():
            self.ended.setdefault(row, len(path))
        slope[[*self.ended]] = 0
        path.append(score)
        return (painted + self.rate * even(slope, self.smooth)).clamp(0, 1)

    def score(self, painted: Tensor, fixed: bool) -> Tensor:
        """(rows,) goals at shares of the range; enlarged first for a model that takes one size only."""
        shown = self.sized(painted, self.ground.shape[1:]) if fixed else painted
        score, _ = self.climb.scored(self.goals, self.ground.low + shown * (self.ground.high - self.ground.low))
        return score

    def fixed(self, whole: Tensor, sizes: Sequence[tuple[int, ...]]) -> bool:
        """Whether the model does not take the sizes of the octaves."""
        if len(sizes) == 1:
            return False
        try:
            with torch.no_grad():
                self.score(self.sized(whole, sizes[0]), False)
        except (PellucidError, RuntimeError):
            return True
        return False

    def sized(self, values: Tensor, space: tuple[int, ...]) -> Tensor:
        """Pictures or series at another size."""
        return resized(values, (values.shape[1], *space), self.ground.rank)

    def told(
        self,
        start: Tensor,
        painted: Tensor,
        path: list[Tensor],
        kept: list[Tensor],
        fixed: bool,
        stopped: bool,
        of: int,
    ) -> Dream:
        """The result."""
        model, run = self.climb.model, self.climb.run
        with torch.no_grad():
            before, score = (self.score(each, False) for each in (self.ground.unit(start).clamp(0, 1), painted))
        run.count(2 * len(start), backward=False)
        notes = []
        if fixed:
            notes.append("the model takes one size only: smaller octaves were enlarged before it saw them")
        if stopped:
            notes.append(f"stopped after {len(path)} of {of} steps: the best so far")
        notes += [
            f"row {row}: the slope was not finite at step {step}; kept as it was" for row, step in self.ended.items()
        ]
        still = (painted == self.ground.unit(start).clamp(0, 1)).flatten(1).all(1) & (len(path) > 0)
        notes += [f"row {row}: nothing to climb, the slope is zero" for row in still.nonzero()[:, 0].tolist()
                  if row not in self.ended]  # fmt: skip
        inputs = (self.ground.low + painted * (self.ground.high - self.ground.low)).detach()
        return Dream(
            inputs=inputs,
            pictures=unnormalized(model.modality, inputs),
            start=start,
            octaves=tuple(each.detach() for each in kept),
            score=score,
            before=before,
            path=torch.stack(path) if path else before[None],
            names=tuple(self.goals.words(i) for i in range(len(start))),
            receipt=run.receipt(),
            modality=model.modality,
            notes=tuple(notes),
        )


def even(slope: Tensor, smooth: int) -> Tensor:
    """A slope of unit mean magnitude, after ``smooth`` coarser copies of it, scaled alike, were added."""
    total, rank = unit_mean(slope), slope.ndim - 2
    pool, mode = (F.avg_pool1d, "linear") if rank == 1 else (F.avg_pool2d, "bilinear")
    for k in range(1, smooth + 1):
        if min(slope.shape[2:]) < 2 ** (k + 1):
            break
        coarse = pool(slope, 2**k)
        total = total + unit_mean(F.interpolate(coarse, slope.shape[2:], mode=mode, align_corners=False))
    return unit_mean(total)


def unit_mean(slope: Tensor) -> Tensor:
    """Rows divided by their mean magnitude."""
    size = slope.abs().flatten(1).mean(1).clamp_min(torch.finfo(slope.dtype).tiny)
    return slope / size.reshape(-1, *[1] * (slope.ndim - 1))
