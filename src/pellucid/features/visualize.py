"""Feature visualization: the input that a unit, a direction or a class likes best, found by gradient ascent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.meter import Meter
from pellucid.core.method import as_studied
from pellucid.core.modality import Images, Modality
from pellucid.core.model import Model
from pellucid.core.run import Run, current_settings, half_of, undisturbed
from pellucid.core.target import Target, as_target
from pellucid.engines.ascend import Ascent, Climb, Goals, Transform, in_groups
from pellucid.engines.canvas import Fourier, Ground, Surface
from pellucid.engines.points import generator
from pellucid.engines.transforms import Moved, Transforms
from pellucid.engines.visit import LOGITS
from pellucid.errors import Cancelled, EmptyError, ModelError, OptionError, ShapeError
from pellucid.features.honesty import Honesty, control_of, natural, path_of, scored, widths_of
from pellucid.features.penalties import Diversity, Penalty
from pellucid.features.scene import Scene, scene_of
from pellucid.features.visualization import Visualization, shades


def visualize(
    model: Model | nn.Module,
    target: Any,
    *,
    steps: int = 256,
    size: int | tuple[int, ...] | None = None,
    canvas: Surface | None = None,
    transforms: Transforms | Transform | None = None,
    penalties: Sequence[Penalty] = (),
    rate: float | None = None,
    start: Any = None,
    data: Any = None,
    variants: int = 1,
    controls: int | None = None,
    keep: Sequence[int] = (),
) -> Visualization:
    r"""The input that makes a target largest, for one target or many at once, with how far it may be believed.

    .. math:: x^* = \arg\max_x\; \mathbb{E}_\tau\, f(\tau(x)) - \sum_k \lambda_k R_k(x)

    ``target`` is whatever a target may be, sums at different layers included, or a list of those: all climb in one
    batch, each as it would alone. A class is read before the model's own softmax. ``size`` is the side, or (height,
    width), or the length, where it cannot be read off the model, ``start`` or ``data``. ``canvas`` is how inputs are
    written (``Fourier()``; ``Pixels``, ``MACO``, ``Prior``), ``transforms`` how they are moved before each step.
    ``start`` is an input to begin from, with ``Resemblance`` feature accentuation. ``data`` are natural inputs, or an
    iterable of batches: colors, spectrum and bounds are taken from them, and the report compares with them.
    ``variants`` makes several inputs a target that differ (``Diversity``); ``controls`` is the number of other units
    made the same way beside each target (without, one where there are data); ``keep`` names steps to keep.

    Shapes: one row a target and variant; inputs (rows, *shape).
    Units:  those of the target.
    Cost:   ``steps`` forward and backward passes a row, up to the last layer needed only; one pass over ``data``.
    Raises: TargetError, LayerError for a unit out of range, before anything is computed; ShapeError; OptionError.
    Source: Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network"; Olah, Mordvintsev & Schubert
        2017, "Feature Visualization", Distill; honesty after Geirhos et al. 2023, arXiv:2306.04719.

    Example:
        >>> import pellucid as pl
        >>> found = pl.visualize(pl.load("demo:digits"), pl.Neuron("block1", channel=7), steps=40)
        >>> found.pictures.shape, bool(found.score > found.path[0])
        (torch.Size([1, 1, 8, 8]), True)
    """
    studied = as_studied(model)
    if not isinstance(studied, Model):
        raise ModelError(expected="a model with gradients", got="a BlackBox", do="Pass the module itself.")
    targets = targets_of(target)
    whole(steps=steps, variants=variants, controls=controls or 0)
    for step in keep:
        whole(keep=step)
    run = Run(current_settings(), studied.device)
    with undisturbed(), studied.session(), run.progress("visualize"):
        run.check_stop()
        scene = scene_of(studied, size, start, data, run)
        canvas = Fourier() if canvas is None else canvas
        fitting = Transforms.fitting(scene.ground.shape, scene.ground.rank) if transforms is None else transforms
        if isinstance(fitting, Transforms):
            span = scene.ground.high - scene.ground.low
            fitting = Moved(fitting, scene.ground.rank, span, run.seed)
        climb = Climb(
            studied,
            scene.leaves,
            canvas.on(scene.ground),
            run,
            steps=steps,
            rate=canvas.rate if rate is None else rate,
            transform=fitting,
            unit=scene.ground.unit,
            rank=scene.ground.rank,
            stir=start is None,
            keep=tuple(keep),
        )
        drawn = Drawn(climb, scene, tuple(penalties), variants)
        return drawn.made(targets, data, (0 if data is None else 1) if controls is None else controls, canvas)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A visualization under way."""

    climb: Climb
    scene: Scene
    penalties: tuple[Penalty, ...]
    variants: int

    def made(self, targets: list[Target], data: Any, controls: int, canvas: Surface) -> Visualization:
        """Climb, then compare."""
        climb, ground = self.climb, self.scene.ground
        targets, numbers = rows_for(targets, ground, self.variants)
        goals = climb.bound(targets, numbers)
        rows = [i for i in range(len(targets)) for _ in range(self.variants)]
        variants = torch.arange(self.variants).repeat(len(targets))
        found = self.climbed(goals.take(rows), numbers[rows] + variants, self.diverse(goals))
        report, notes = self.compared(goals, rows, found, data, controls)
        names = tuple(goals.words(i) + self.variant(k) for k, i in enumerate(rows))
        return Visualization(
            inputs=found.painted,
            pictures=unnormalized(climb.model.modality, found.painted),
            score=found.score,
            path=found.path,
            targets=tuple(goals.targets[i] for i in rows),
            names=names,
            honesty=report,
            transparency=shades(found.touched, ground.rank),
            receipt=climb.run.receipt(),
            modality=climb.model.modality,
            about=goals.about,
            kept=found.kept,
            notes=(*self.scene.notes, *told(goals, found, report, names, climb.steps), *notes),
            transparent=getattr(canvas, "transparent", False),
        )

    def variant(self, row: int) -> str:
        """Which variant a row is."""
        return f", variant {row % self.variants + 1}" if self.variants > 1 else ""

    def diverse(self, goals: Goals) -> tuple[Penalty, ...]:
        """The penalties, with one for variants that are alike where the user gave none."""
        if self.variants == 1:
            return self.penalties
        layer = next((str(place) for place in goals.places if place is not None and place != LOGITS), "")
        mine = [replace(e, variants=self.variants) if isinstance(e, Diversity) else e for e in self.penalties]
        if not any(isinstance(each, Diversity) for each in mine):
            mine.append(Diversity(at=layer, variants=self.variants))
        return tuple(mine)

    # -------------------------------------------------------------------------------------------------------- climbing

    def climbed(self, goals: Goals, numbers: Tensor, penalties: tuple[Penalty, ...]) -> Ascent:
        """Climb for all goals, in as many groups as memory needs; rows that are compared stay together."""
        climb = replace(self.climb, penalties=penalties)
        coupled = [each for each in penalties if each.coupled]
        apart = all(isinstance(each, Diversity) for each in coupled)
        together = self.variants if apart and coupled else len(goals.terms) if coupled else 1
        climb.run.announce(climb.steps * len(goals.terms))
        parts: list[Ascent] = []
        at_once = max(together, self.at_once(goals))
        left = [list(each) for each in in_groups(len(goals.terms), at_once, together)]
        while left:
            group = left[0]
            stopped = bool(parts) and parts[-1].stopped is not None
            try:
                part = replace(climb, steps=0 if stopped else climb.steps)(goals.take(group), numbers[group])
                parts.append(replace(part, stopped=0) if stopped else part)
                left.pop(0)
            except (MemoryError, RuntimeError) as error:
                half = half_of(max(1, len(group) // together), error) * together
                left[:1] = [group[:half], group[half:]]
        return Ascent.joined(parts)

    def at_once(self, goals: Goals) -> int:
        """How many rows fit into memory, by one measured pass of one row."""
        climb = self.climb
        key = ("ascent", *map(str, goals.places), self.scene.ground.shape)
        if key not in climb.model.paces:
            meter = Meter(measure=True)
            with meter, torch.no_grad(), climb.model.session():
                painted = climb.canvas.paint(climb.canvas.start(torch.tensor([0])))
                climb.visit(painted, goals.places, lambda _place, _value: None)
            climb.model.paces[key] = meter.pace(1, grad=True, comfortable=climb.run.comfortable)
        return climb.run.size(climb.model.paces[key], len(goals.terms))

    # ------------------------------------------------------------------------------------------------------- comparing

    def compared(
        self, goals: Goals, rows: list[int], found: Ascent, data: Any, controls: int
    ) -> tuple[Honesty, tuple[str, ...]]:
        """The report, as far as the run was not stopped."""
        reached = found.score.detach().cpu().double().numpy()
        bare = Honesty(reached=reached)
        if found.stopped is not None:
            return bare, ("nothing was compared: the run was stopped",)
        try:
            control, named = self.controlled(goals, rows, found, controls)
            bare = replace(bare, control=control, controls=named)
            if data is None:
                return bare, ()
            seen = natural(self.climb.model, data, goals, self.climb.run)
            firsts = [rows.index(i) for i in range(len(goals.terms))]
            path = path_of(self.climb.model, self.scene.leaves, found.painted, goals, seen, self.climb.run, firsts)
        except (KeyboardInterrupt, Cancelled):
            return bare, ("not everything was compared: the run was stopped",)
        if path is not None:
            path = replace(path, own=path.own[rows], best=path.best[rows], others=path.others[rows])
        highest = seen.score[rows, 0].numpy()
        where = tuple(int(seen.rows[i, 0]) for i in rows)
        return replace(bare, highest=highest, where=where, count=seen.count, path=path), ()

    def controlled(
        self, goals: Goals, rows: list[int], found: Ascent, controls: int
    ) -> tuple[np.ndarray[Any, Any] | None, tuple[str, ...]]:
        """(rows,) the highest score of each goal at pictures made for other units of the same layers, and which."""
        n = len(goals.terms)
        kinds = [frozenset(place for _, place, _ in terms) for terms in goals.terms]
        alone = [
            i for i in range(n) if sum(kinds[i] == kinds[j] and goals.terms[i] != goals.terms[j] for j in range(n)) == 0
        ]
        owners, made = self.others(goals, alone if controls else [], controls)
        painted, names = found.painted, [goals.words(i) for i in rows]
        if made.terms:
            beside = self.climbed(made, torch.zeros(len(made.terms), dtype=torch.long), ())
            if beside.stopped is not None:
                raise Cancelled(expected="to go on", got="a request to stop", do="Call again.")
            painted = torch.cat([painted, beside.painted])
            names += [made.words(k) for k in range(len(made.terms))]
        if len(painted) == 1 or (not made.terms and len(alone) == n):
            return None, ()
        table = self.scores_at(goals, painted)
        control, named = np.full(len(rows), np.nan), [""] * len(rows)
        for row, i in enumerate(rows):
            mine = [r for r, j in enumerate(rows) if kinds[j] == kinds[i] and goals.terms[j] != goals.terms[i]]
            mine += [len(rows) + k for k, owner in enumerate(owners) if owner == i]
            if mine:
                best = max(mine, key=lambda r: table[i, r])
                control[row], named[row] = table[i, best], names[best]
        return control, tuple(named)

    def others(self, goals: Goals, alone: list[int], controls: int) -> tuple[list[int], Goals]:
        """Goals for other units beside those that have no sibling, and whom they belong to."""
        if not alone:
            return [], Goals((), ())
        climb = self.climb
        points = climb.canvas.paint(climb.canvas.start(torch.tensor([0]))).detach()
        widths = widths_of(climb.model, climb.leaves, points, goals, climb.run)
        owners, targets, terms = [], [], []
        for i in alone:
            for k in range(controls):
                made = control_of(goals, i, widths, generator(climb.run.seed, 104729, k))
                if made is not None:
                    owners.append(i)
                    targets.append(made.targets[0])
                    terms.append(made.terms[0])
        return owners, Goals(tuple(targets), tuple(terms), goals.about)

    def scores_at(self, goals: Goals, painted: Tensor) -> np.ndarray[Any, Any]:
        """(goals, rows) every goal at every picture."""
        climb, parts = self.climb, []
        with torch.no_grad(), climb.model.session():
            for group in in_groups(len(painted), self.at_once(goals)):
                some = torch.zeros(len(group), dtype=torch.long)
                points = painted[group.start : group.stop]
                parts.append(scored(climb.model, climb.leaves, some, goals, climb.run, points))
        return torch.cat(parts, 1).cpu().double().numpy()


def rows_for(targets: list[Target], ground: Ground, variants: int) -> tuple[list[Target], Tensor]:
    """A target for each starting input, and the numbers of their draws: all alike, but for several starting inputs."""
    starts = 1 if ground.start is None else len(ground.start)
    if starts > 1 and (variants > 1 or len(targets) not in (1, starts)):
        do = "Give one target, or one for each starting input, and variants=1."
        raise ShapeError(expected=f"1 or {starts} targets", got=str(len(targets)), do=do)
    if starts > 1:
        return targets * (starts // len(targets)), torch.arange(starts)
    return targets, torch.zeros(len(targets), dtype=torch.long)


def told(goals: Goals, found: Ascent, report: Honesty, names: tuple[str, ...], steps: int) -> tuple[str, ...]:
    """What went otherwise than asked."""
    notes = []
    if LOGITS in goals.places:
        notes.append("classes are read before the softmax or sigmoid")
    if found.stopped is not None:
        notes.append(f"stopped after {found.stopped} of {steps} steps: the best so far")
    for row, step in sorted(found.ended.items()):
        notes.append(f"{names[row]}: the slope was not finite at step {step}; the last good input is kept")
    still = (found.touched.flatten(1).amax(1) == 0).nonzero()[:, 0].tolist() if steps else []
    for row in still:
        if found.stopped == 0:
            continue
        known = (
            ""
            if report.highest is None
            else f"; the highest of {report.count} natural inputs is {report.highest[row]:.3g}"
        )
        notes.append(f"{names[row]}: nothing to climb, the slope is zero everywhere it went (a dead unit?){known}")
    return tuple(notes)


def between(one: Any, other: Any, n: int) -> list[Target]:
    """Targets that go from one to another in ``n`` equal steps, both ends included.

    Example:
        >>> import pellucid as pl
        >>> [len(each.terms) for each in pl.between(pl.Class(3), pl.Class(8), 3)]
        [2, 2, 2]
    """
    whole(n=n - 1)
    a, b = as_target(one), as_target(other)
    return [(1 - i / (n - 1)) * a + (i / (n - 1)) * b for i in range(n)]


def targets_of(given: Any) -> list[Target]:
    """One target, or a list of them."""
    many = list(given) if isinstance(given, list | tuple) else [given]
    if not many:
        raise EmptyError(expected="at least one target", got="none", do="Give e.g. pl.Class(3).")
    return [as_target(each) for each in many]


def whole(**numbers: int) -> None:
    """Refuse what is no count."""
    for name, value in numbers.items():
        least = 0 if name == "controls" else 1
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            do = "Use a whole number."
            raise OptionError(expected=f"{name} of at least {least}", got=repr(value), do=do)


def unnormalized(modality: Modality, inputs: Tensor) -> Tensor | None:
    """Pictures (rows, channels, height, width) in [0, 1]; None for other inputs."""
    if not isinstance(modality, Images) or inputs.ndim != 4 or inputs.shape[1] != len(modality.mean):
        return None
    mean, std = (torch.tensor(each).reshape(-1, 1, 1).to(inputs) for each in (modality.mean, modality.std))
    return (inputs * std + mean).clamp(0, 1)
