"""Metrics of axioms: what a map must keep whatever the model does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pellucid.core.law import COMPLETE
from pellucid.core.method import option
from pellucid.core.model import Model
from pellucid.engines.points import generator
from pellucid.evaluate.metrics.again import Again, map_of
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.stability import fixed
from pellucid.evaluate.thresholds import ROUNDING

ABSORBED = 1e-3
EPSILON = torch.finfo(torch.float32).eps
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, kw_only=True)
class Completeness(Metric):
    r"""What the values miss of the difference that they claim to divide, as a share of it.

    .. math:: \frac{\bigl|\sum_i a_i - (f(x) - f(b))\bigr|}{|f(x) - f(b)|}

    Only for methods that claim it; of values from elsewhere, ``base_score`` f(b) says what they claim. A residual of at
    most ``tolerance`` is rounding, and 0.

    Shapes: one number ≥ 0 a row.
    Cost:   nothing.
    Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(6, 1)
        >>> pl.metrics.Completeness()(pl.IntegratedGradients()(net, torch.rand(1, 6)), net).value
        0.0
    """

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "axiom"
    paper: ClassVar[str] = "Sundararajan, Taly & Yan 2017, arXiv:1703.01365"
    units: ClassVar[str] = "share of the difference"

    base_score: float | None = option(None, help="the score at the baseline, for values that came without it")
    tolerance: float = option(1e-5, at_least=0, help="the residual that is rounding, as a share of the difference")

    def measure(self, case: Case) -> float:
        claimed = case.note is None or COMPLETE.name in case.note.laws
        base = case.base_score if case.base_score is not None else self.base_score
        if not claimed or base is None:
            raise Untestable("completeness is not claimed for this explanation")
        score = float(case.question.game.full[0])
        difference = score - base
        if abs(difference) <= ROUNDING * EPSILON * max(abs(score), abs(base)):
            raise Untestable(f"there is no difference to divide: {score:.4g} here and at the baseline")
        residual = abs(float(case.values.sum()) - difference) / abs(difference)
        return residual if residual > self.tolerance else 0.0


@dataclass(frozen=True, kw_only=True)
class NonSensitivity(Metric):
    r"""How many parts have a value though the score does not depend on them, or none though it does.

    .. math:: \bigl|\{i : a_i \approx 0\} \;\triangle\; \{i : f \text{ does not depend on } x_i\}\bigr|

    Values are read by their size: negative ones are not "no value". A part matters if hiding it, or ``draws`` other
    values in the range of the input in its place, move the score beyond rounding. Parts are those of the checks:
    columns, words, patches of a picture; a part has a value if any place in it has.

    Shapes: one number of parts a row.
    Cost:   1 + ``draws`` forward passes a part (hiding only, for token ids), shared by all explanations.
    Source: Nguyen & Rodríguez Martínez 2020, arXiv:2007.07584.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, 0.0, -1.0, 2.0])
        >>> pl.metrics.NonSensitivity()(pl.Saliency()(net, torch.ones(1, 4)), net).value
        0.0
    """

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "axiom"
    paper: ClassVar[str] = "Nguyen & Rodríguez Martínez 2020, arXiv:2007.07584"
    units: ClassVar[str] = "parts"

    draws: int = option(2, at_least=0, help="other values that are tried in each part's place")
    tolerance: float = option(1e-5, at_least=0, help="sizes that are no value, as a share of the largest")

    def measure(self, case: Case) -> float:
        _ = map_of(case)
        layout, question = case.question.layout, case.question
        sizes = layout.parts(layout.cells(case.values.abs(), by_size=True))
        if len(sizes) < 2:
            raise Untestable("the input has one part only")
        moved = question.once(f"parts that matter {self.draws}", lambda: matters(question, self.draws))
        if not bool(moved.any()):
            raise Untestable("the score does not depend on any part of the input")
        valued = sizes > self.tolerance * sizes.max()
        return float((valued != moved).sum())


@dataclass(frozen=True, kw_only=True)
class InputInvariance(Again):
    r"""How far the map moves when the input is shifted by a constant that the first layer's bias takes back.

    .. math:: \frac{\lVert a(x + c; f') - a(x; f) \rVert}{\lVert a(x; f) \rVert}, \quad f'(x + c) = f(x)

    The first layer is a linear one or a convolution; zeros around a convolution's input become c. It is done on a
    private copy, which is used only if it answers as the model does. Methods with a fixed reference, or that multiply
    by the input, move by definition.

    Shapes: one number ≥ 0 a row.
    Cost:   the method once, and one forward pass.
    Source: Kindermans et al. 2017, arXiv:1711.00867.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 1))
        >>> pl.metrics.InputInvariance()(pl.Saliency()(net, torch.ones(1, 4)), net).value < 1e-4
        True
    """

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "axiom"
    paper: ClassVar[str] = "Kindermans et al. 2017, arXiv:1711.00867"
    units: ClassVar[str] = "share of the map's norm"

    shift: float = option(1.0, help="the constant, in units of the model's inputs")

    def measure(self, case: Case) -> float:
        own, question = map_of(case), case.question
        if question.leaves.integer:
            raise Untestable("token ids cannot be shifted")
        model = question.once(f"shifted {self.shift}", lambda: shifted(question, self.shift))
        other = self.maps(case, model=model, points=question.leaves.values[None] + self.shift)[0]
        return float((other - own).norm() / own.norm())


def matters(question: Question, draws: int) -> Tensor:
    """(parts,) whether hiding a part, or another value in its place, moves the score beyond rounding."""
    game, single = question.game, torch.eye(question.game.n, dtype=torch.bool)
    told = [game.lazily(lambda k: ~single[k], game.n)]
    x = game.ask.inputs
    if x.is_floating_point() and draws:
        low, high = float(x.min()), float(x.max())
        high = high if high > low else low + max(abs(low), 1.0)

        def points(numbers: Tensor) -> Tensor:
            made = [torch.rand(x.shape, generator=generator(question.seed, int(k))) for k in numbers % draws]
            shown = game.players.shown(~single[numbers // draws]).to(x.device)
            return torch.where(shown, x[None], (low + (high - low) * torch.stack(made)).to(x))

        told += list(game.ask.forward(points, game.n * draws).unflatten(0, (game.n, draws)).unbind(1))
    scores = torch.stack([each[:, 0] for each in told]).cpu().double()
    full = float(game.full[0])
    rounding = ROUNDING * EPSILON * max(abs(full), float(scores.abs().max()))
    return ((scores - full).abs() > rounding).any(0)


def shifted(question: Question, shift: float) -> Model:
    """A private copy of the model that answers at inputs + ``shift`` as the model does at the inputs."""
    model = question.model
    if not isinstance(model, Model):
        raise Untestable("a black box has no first layer that could take a shift back")
    if not model.copied:
        raise Untestable("the model cannot be copied, so its first layer cannot be changed")
    name = first_layer(model, question)
    other = model.with_module(lambda module: absorbing(module, name, shift))
    here = question.ask(model=model, outside=True).score
    there = question.ask(model=other, outside=True).forward(fixed(question.leaves.values[None] + shift), 1)
    if not torch.allclose(there[0], here, rtol=ABSORBED, atol=ABSORBED * float(here.abs().max())):
        raise Untestable("the first layer's bias cannot take a shift of the inputs back")
    return other


def first_layer(model: Model, question: Question) -> str:
    """The name of the module with weights that is called first, if it is linear or a convolution; "" for the model."""
    if isinstance(model.module, nn.Linear | Convolution):
        return ""
    listed = [each for each in model.layers(question.leaves) if each.order >= 0 and each.weights]
    parts = dict(model.module.named_modules())
    for each in sorted(listed, key=lambda layer: layer.order):
        if isinstance(parts[each.name], nn.Linear | Convolution):
            return each.name
        break
    raise Untestable("the first layer is neither linear nor a convolution")


def absorbing(module: nn.Module, name: str, shift: float) -> nn.Module:
    """The module, changed in place: its layer ``name`` takes inputs + ``shift`` for inputs."""
    part: Any = module.get_submodule(name)
    weight = part.weight.detach()
    taken = shift * weight.flatten(1).sum(1)
    bias = torch.zeros_like(taken) if part.bias is None else part.bias.detach()
    part.bias = nn.Parameter(bias - taken, requires_grad=False)
    if isinstance(part, Convolution) and part.padding_mode == "zeros":
        sides = tuple(part._reversed_padding_repeated_twice)
        part.padding = (0,) * (weight.ndim - 2)
        part.register_forward_pre_hook(lambda _part, given: (pad(given[0], sides, value=shift), *given[1:]))
    return module
