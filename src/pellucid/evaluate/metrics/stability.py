"""Metrics of stability: how far a map moves when the input moves a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.core.modality import Table
from pellucid.core.model import Layer, Model
from pellucid.core.probe import Probe
from pellucid.core.site import site_of
from pellucid.engines.points import uniforms
from pellucid.errors import LayerError
from pellucid.evaluate.metrics.again import Again, answers, map_of
from pellucid.evaluate.metrics.measure import Better, Untestable
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.stability import noise_width, top_class
from pellucid.evaluate.thresholds import ROUNDING

TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Ball:
    """An input ``x`` (1, …) and ``points`` (draws, 1, …) close to it."""

    x: Tensor
    points: Tensor

    @property
    def steps(self) -> Tensor:
        """(draws, elements) how far each point is from the input."""
        return (self.points - self.x[None]).flatten(1).cpu().double()


@dataclass(frozen=True, kw_only=True)
class Near(Again):
    """A metric of maps at inputs nearby: uniform in a box around the input, one batch, shared by all explanations."""

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "stability"

    radius: float | None = option(None, above=0, help="how far a number moves at most; 2 % of the range without")
    draws: int = option(10, at_least=1, help="how many inputs nearby")

    def ball(self, case: Case) -> Ball:
        """The inputs nearby."""
        embedded, question = self.movable(case), case.question
        name = f"ball {self.radius} {self.draws} {embedded}"
        return question.once(name, lambda: ball(question, self.radius, self.draws, embedded=embedded))

    def changes(self, case: Case) -> Tensor:
        """(draws, elements) the map at each input nearby, less the map."""
        own, maker, points = map_of(case), self.maker(case), self.ball(case).points
        name = f"maps nearby {id(case)} {id(maker)} {self.radius} {self.draws}"
        kept = case.question.once(name, lambda: (case, maker, self.maps(case, points=points)))
        return kept[2] - own


@dataclass(frozen=True, kw_only=True)
class MaxSensitivity(Near):
    r"""How far the map moves at most when the input moves a little, relative to its size.

    .. math:: \max_{\lVert x' - x \rVert_\infty \le r} \frac{\lVert a(x') - a(x) \rVert}{\lVert a(x) \rVert}

    A map that hardly depends on the input is stable without being right: read it beside a metric of faithfulness.

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch.
    Source: Yeh et al. 2019, arXiv:1901.09392 (there not divided by the size of the map).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1)
        >>> pl.metrics.MaxSensitivity()(pl.Saliency()(net, torch.ones(1, 6)), net).value
        0.0
    """

    paper: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392"
    units: ClassVar[str] = "share of the map's norm"

    def measure(self, case: Case) -> float:
        return float(self.changes(case).norm(dim=1).max() / map_of(case).norm())


@dataclass(frozen=True, kw_only=True)
class AverageSensitivity(Near):
    r"""How far the map moves on average when the input moves a little, relative to its size.

    .. math:: \mathbb E_{x'} \frac{\lVert a(x') - a(x) \rVert}{\lVert a(x) \rVert}, \quad x' \sim U(x - r, x + r)

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch; nothing beside ``MaxSensitivity`` with the same options.
    Source: Yeh et al. 2019, arXiv:1901.09392; the mean in place of the maximum, Bhatt, Weller & Moura 2020,
            arXiv:2005.00631.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1)
        >>> pl.metrics.AverageSensitivity()(pl.Saliency()(net, torch.ones(1, 6)), net).value
        0.0
    """

    paper: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392"
    units: ClassVar[str] = "share of the map's norm"

    def measure(self, case: Case) -> float:
        return float(self.changes(case).norm(dim=1).mean() / map_of(case).norm())


@dataclass(frozen=True, kw_only=True)
class LocalLipschitz(Near):
    r"""The steepest change of the map between the input and one nearby.

    .. math:: \max_{x'} \frac{\lVert a(x') - a(x) \rVert_2}{\lVert x' - x \rVert_2}

    It has the units of the map: it compares inputs and models under one method, not methods of different units.

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch; nothing beside ``MaxSensitivity`` with the same options.
    Source: Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1)
        >>> pl.metrics.LocalLipschitz()(pl.Saliency()(net, torch.ones(1, 6)), net).value
        0.0
    """

    paper: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049"
    units: ClassVar[str] = "change of the map per change of the input"

    def measure(self, case: Case) -> float:
        steps = self.ball(case).steps.norm(dim=1)
        there = steps > 0
        return float((self.changes(case).norm(dim=1)[there] / steps[there]).max())


@dataclass(frozen=True, kw_only=True)
class Relative(Near):
    """The largest relative change of a map over a change of something else, where the predicted class stays.

    ``change`` "norm" takes ‖Δa‖ / ‖a‖; "elements" takes ‖Δa / a‖ number by number, as the paper writes it, which has no
    value where a number is zero.
    """

    paper: ClassVar[str] = "Agarwal et al. 2022, arXiv:2203.06877"

    change: str = option("norm", choices=("norm", "elements"), help="relative to the norm, or number by number")

    def measure(self, case: Case) -> float:
        own, moved = map_of(case), self.changes(case)
        stays = self.answers(case)[1]
        if not bool(stays.any()):
            raise Untestable("the least change of the input already changes the predicted class")
        change, against = self.relative(moved, own, "the map"), self.against(case)
        used = stays & (against > 0)
        if not bool(used.any()):
            raise Untestable("what the map's change is compared with does not move")
        return float((change[used] / against[used]).max())

    def relative(self, moved: Tensor, own: Tensor, what: str) -> Tensor:
        """(draws,) relative changes, from changes (draws, elements) of numbers (elements,)."""
        size = own.abs().max()
        if not float(size):
            raise Untestable(f"{what} is zero: a relative change of it has no value")
        if self.change == "norm":
            return moved.norm(dim=1) / own.norm()
        if float(own.abs().min()) <= TINY * float(size):
            raise Untestable(f"{what} has numbers that are zero: a relative change of them has no value")
        return (moved / own).norm(dim=1)

    def answers(self, case: Case) -> tuple[Tensor, Tensor]:
        """(1 + draws, …) answers at the input and nearby, and (draws,) whether the predicted class is the same."""
        near, question, embedded = self.ball(case), case.question, self.embedded(case)
        points = torch.cat([near.x[None], near.points])
        name = f"answers nearby {self.radius} {self.draws} {embedded}"
        told = question.once(name, lambda: answers(question, points, embedded=embedded))
        classes = top_class(told)
        return told, classes[1:] == classes[0]

    def against(self, case: Case) -> Tensor:
        """(draws,) what the change of the map is divided by."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RelativeInputStability(Relative):
    r"""How far the map moves for how far the input moves, both relative to their size.

    .. math:: \max_{x'} \frac{\lVert a(x') - a(x) \rVert}{\lVert a(x) \rVert}
        \;/\; \frac{\lVert x' - x \rVert}{\lVert x \rVert}, \quad x' \text{ of the same predicted class}

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch, and as many forward passes.
    Source: Agarwal et al. 2022, arXiv:2203.06877; ``change="elements"`` divides number by number as there.

    Example:
        >>> import torch, pellucid as pl
        >>> net, x = torch.nn.Linear(6, 1), torch.rand(1, 6) + 1
        >>> metric = pl.metrics.RelativeInputStability(change="elements")
        >>> round(metric(pl.InputXGradient()(net, x), net).value, 3)
        1.0
    """

    units: ClassVar[str] = "relative change of the map per relative change of the input"

    def against(self, case: Case) -> Tensor:
        near = self.ball(case)
        return self.relative(near.steps, near.x.flatten().cpu().double(), "the input")


@dataclass(frozen=True, kw_only=True)
class RelativeRepresentationStability(Relative):
    r"""How far the map moves for how far the model's inner representation moves, both relative to their size.

    .. math:: \max_{x'} \frac{\lVert a(x') - a(x) \rVert}{\lVert a(x) \rVert}
        \;/\; \frac{\lVert L(x') - L(x) \rVert}{\lVert L(x) \rVert}

    ``layer`` is where the representation L is read; without, what the last layer with weights receives.

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch, and twice as many forward passes.
    Source: Agarwal et al. 2022, arXiv:2203.06877.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 1))
        >>> pl.metrics.RelativeRepresentationStability()(pl.Saliency()(net, torch.ones(1, 6)), net).value < 1e-5
        True
    """

    units: ClassVar[str] = "relative change of the map per relative change of the representation"

    layer: str | None = option(None, help="where the representation is read; before the last layer without")

    def against(self, case: Case) -> Tensor:
        question, near, embedded = case.question, self.ball(case), self.embedded(case)
        model, layer = question.model, self.layer or before_the_last(question)
        if not isinstance(model, Model):
            raise Untestable("a black box has no inner representation")
        points = torch.cat([near.x[None], near.points])

        def record() -> Tensor:
            ask = question.ask(discrete=not embedded, points=points, outside=True)
            try:
                return ask.record(site_of(model.module, layer), ask.inputs).flatten(1).cpu().double()
            except LayerError as error:
                raise Untestable(str(error)) from error

        told = question.once(f"representation {layer} {self.radius} {self.draws} {embedded}", record)
        return moving(told, self.relative(told[1:] - told[0], told[0], "the representation"))


@dataclass(frozen=True, kw_only=True)
class RelativeOutputStability(Relative):
    r"""How far the map moves, relative to its size, for how far the model's outputs move.

    .. math:: \max_{x'} \frac{\lVert a(x') - a(x) \rVert}{\lVert a(x) \rVert} \;/\; \lVert h(x') - h(x) \rVert

    The outputs h are taken as the model gives them; use a model that gives logits.

    Shapes: one number ≥ 0 a row.
    Cost:   the method on ``draws`` inputs, in one batch, and as many forward passes.
    Source: Agarwal et al. 2022, arXiv:2203.06877.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1)
        >>> pl.metrics.RelativeOutputStability()(pl.Saliency()(net, torch.ones(1, 6)), net).value
        0.0
    """

    units: ClassVar[str] = "relative change of the map per change of the outputs"

    def against(self, case: Case) -> Tensor:
        told = self.answers(case)[0].flatten(1)
        return moving(told, (told[1:] - told[0]).norm(dim=1))


def moving(told: Tensor, change: Tensor) -> Tensor:
    """Changes (draws,) of numbers (1 + draws, elements); 0 where they are within rounding."""
    least = ROUNDING * torch.finfo(torch.float32).eps * told[0].norm()
    return torch.where((told[1:] - told[0]).norm(dim=1) > least, change, torch.zeros_like(change))


def ball(question: Question, radius: float | None, draws: int, *, embedded: bool) -> Ball:
    """Inputs uniform in a box around the input; a draw depends on the seed and its number only."""
    ask = question.ask(discrete=not embedded, outside=True)
    x, width = ask.inputs, widths(ask, radius)
    if float(width.max()) == 0:
        raise Untestable("the input has no numbers that could be changed a little")
    noise = 2 * uniforms(torch.arange(draws), x.numel(), question.seed) - 1
    return Ball(x, x[None] + width[None] * noise.reshape(draws, *x.shape).to(x))


def widths(ask: Probe, radius: float | None) -> Tensor:
    """How far each number may move (1, …): by ``radius``, or as in the check of stability; categories stay."""
    if radius is None:
        return noise_width(ask)[0].expand(ask.inputs.shape)
    width, table = torch.full_like(ask.inputs, radius), ask.model.modality
    if isinstance(table, Table) and width.shape[1:] == (table.slots[-1].stop,):
        for name, slot in zip(table.columns, table.slots, strict=True):
            width[:, slot] *= name not in table.categories
    return width


def before_the_last(question: Question) -> str:
    """The place that the last layer with weights reads."""
    if not isinstance(question.model, Model):
        raise Untestable("a black box has no inner representation")
    called = [
        each for each in question.model.layers(question.leaves) if each.order >= 0 and own_weights(each, question)
    ]
    if len(called) < 2:
        raise Untestable("the model has no layer before its last one; pass layer=…")
    return max(called, key=lambda each: each.order).name + ":input"


def own_weights(layer: Layer, question: Question) -> bool:
    """Whether a module without parts of its own has weights."""
    part = question.model.module.get_submodule(layer.name) if isinstance(question.model, Model) else None
    return part is not None and not list(part.children()) and bool(list(part.parameters()))
