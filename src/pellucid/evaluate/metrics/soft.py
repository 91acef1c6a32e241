"""Soft masks: the answer to the input multiplied by its own map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.core.target import Class, Probability
from pellucid.engines.fills import as_fill
from pellucid.evaluate.metrics.hiding import board, level
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case
from pellucid.evaluate.thresholds import ROUNDING


@dataclass(frozen=True, kw_only=True)
class SoftMask(Metric):
    """What the three share: the input, mixed with a fill by the positive part of the map over its largest value."""

    fill: Any = option(0.0, help="what the input is mixed with; zero makes the product of the paper")

    kind: ClassVar[str] = "faithfulness"
    paper: ClassVar[str] = "Chattopadhay et al. 2018, arXiv:1710.11063"

    def answers(self, case: Case) -> tuple[float, float, float]:
        """The answer to x, to x under its map, and what is rounding: probabilities where the target is a class."""
        mask = self.mask(case)
        name = f"soft {self.fill!r} {case.by_size} {hash(mask.numpy().tobytes())}"
        return case.question.once(name, lambda: self.asked(case, mask))

    def mask(self, case: Case) -> Tensor:
        """(1, n) in [0, 1]: the positive part of the map, on single places, over its largest value."""
        if case.question.leaves.integer:
            raise Untestable("token ids cannot be mixed with others")
        if level(case.values):
            raise Untestable("the map is the same everywhere: multiplied by it, the input only fades, or stays")
        there = board(case.question, "places", self.fill)
        worth = there.sums(case).clamp_min(0)
        if float(worth.max()) <= 0:
            raise Untestable("no part has a positive value, so nothing is left of the input")
        return (worth / worth.max())[None]

    def asked(self, case: Case, mask: Tensor) -> tuple[float, float, float]:
        """The same, asked of the model."""
        question, there = case.question, board(case.question, "places", self.fill)
        ask = question.ask(target=probability(case))
        hidden = as_fill(self.fill)(ask)
        shown = there.game.players.shown(mask).to(ask.inputs)[0]
        points = torch.lerp(hidden, ask.inputs[None], shown)
        full = float(ask.score[0])
        masked = float(ask.forward(lambda k: points[k], len(points)).double().mean())
        return full, masked, ROUNDING * torch.finfo(ask.score.dtype).eps * max(abs(full), abs(masked), 1e-30)


def probability(case: Case) -> Any:
    """The probability of the class that is explained, since its logit is no share of anything; other targets stay."""
    target, about = case.question.target, case.question.about
    if type(target) is Class and about.kind == "logits":
        return Probability(target.which, target.index, kind=about.kind)
    return target


@dataclass(frozen=True, kw_only=True)
class AverageDrop(SoftMask):
    r"""The share of the answer that is lost when the input is multiplied by its map.

    .. math:: \max\Bigl(0, \frac{p(x) - p(x \odot m)}{p(x)}\Bigr), \qquad m = \frac{\max(a, 0)}{\max_i a_i}

    p is the probability of the class that is explained, or the explained number itself where that is no class. The
    mean over rows is the paper's number. It rewards maps that are large everywhere: one that is nearly 1 at all places
    loses nothing. So read it beside ``AverageGain`` and a metric that hides parts.

    Shapes: one number in [0, 1] a row for probabilities.
    Cost:   2 forward passes a row, shared with ``AverageIncrease`` and ``AverageGain``.
    Source: Chattopadhay et al. 2018, arXiv:1710.11063, section 4.1.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> x = torch.rand(1, 1, 8, 8)
        >>> 0 <= pl.metrics.AverageDrop()(pl.InputXGradient()(net, x), net).value <= 1
        True
    """

    better: ClassVar[Better] = "lower"
    units: ClassVar[str] = "share of the answer"

    def measure(self, case: Case) -> float:
        full, masked, noise = self.answers(case)
        if full <= noise:
            raise Untestable(f"the answer {full:.4g} is not positive, so nothing is a share of it")
        return max(0.0, full - masked) / full


@dataclass(frozen=True, kw_only=True)
class AverageIncrease(SoftMask):
    r"""Whether the answer rises when the input is multiplied by its map: 1 if so, else 0.

    .. math:: \mathbb{1}\bigl[p(x \odot m) > p(x)\bigr], \qquad m = \frac{\max(a, 0)}{\max_i a_i}

    p is the probability of the class that is explained, or the explained number itself where that is no class.

    Shapes: 0 or 1 a row; the mean is the share of rows ("increase in confidence").
    Cost:   2 forward passes a row, shared with ``AverageDrop`` and ``AverageGain``.
    Source: Chattopadhay et al. 2018, arXiv:1710.11063, section 4.1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> net.weight[:], net.bias[:] = torch.tensor([[3.0, -1.0], [0.0, 0.0]]), 0
        >>> pl.metrics.AverageIncrease()(pl.InputXGradient()(net, torch.ones(1, 2), target=0), net).value
        1.0
    """

    better: ClassVar[Better] = "higher"
    units: ClassVar[str] = "share of rows"

    def measure(self, case: Case) -> float:
        full, masked, noise = self.answers(case)
        return float(masked > full + noise)


@dataclass(frozen=True, kw_only=True)
class AverageGain(SoftMask):
    r"""How much of what is missing to certainty is won when the input is multiplied by its map.

    .. math:: \max\Bigl(0, \frac{p(x \odot m) - p(x)}{1 - p(x)}\Bigr), \qquad m = \frac{\max(a, 0)}{\max_i a_i}

    p is the probability of the class that is explained. A map that is nearly 1 everywhere drops nothing and gains
    nothing.

    Shapes: one number in [0, 1] a row.
    Cost:   2 forward passes a row, shared with ``AverageDrop`` and ``AverageIncrease``.
    Source: Zhang et al. 2023, arXiv:2301.07002 (Opti-CAM), section 4.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 2).requires_grad_(False)
        >>> net.weight[:], net.bias[:] = torch.tensor([[3.0, -1.0], [0.0, 0.0]]), 0
        >>> round(pl.metrics.AverageGain()(pl.InputXGradient()(net, torch.ones(1, 2), target=0), net).value, 3)
        0.602
    """

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Zhang et al. 2023, arXiv:2301.07002"
    units: ClassVar[str] = "share of what is missing to 1"

    def measure(self, case: Case) -> float:
        full, masked, noise = self.answers(case)
        if not isinstance(probability(case), Probability) and case.question.about.kind != "probabilities":
            raise Untestable("the explained number is no probability, so nothing is missing to 1")
        if 1 - full <= noise:
            raise Untestable("the probability is 1 already: there is nothing to gain")
        return max(0.0, masked - full) / (1 - full)
