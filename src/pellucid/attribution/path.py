"""Path methods: IntegratedGradients, ExpectedGradients, Conductance, BlurIG, GuidedIG, IDGI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.law import COMPLETE, DUMMY, LINEAR, SYMMETRIC, completeness_gap
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.core.reduce import Moments
from pellucid.core.site import Site
from pellucid.engines.fills import Marginal, Noise, as_fill, background, baseline, blurred
from pellucid.engines.points import gauss_legendre, lifted, only, per_example, sine_squared, straight, uniforms
from pellucid.engines.walk import Times, walked
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Attributor):
    r"""The average slope on the straight line from a baseline, times the distance.

    .. math:: a_i = (x_i - b_i) \int_0^1 \partial_i f(b + t\,(x - b))\,dt

    Without ``steps``, the line is walked with nested nodes that crowd at its ends (the trapezoidal rule after Sidi's
    sine-squared substitution) and their number is doubled, 3, 7, 15 …, every evaluation kept, until, for each example,
    both the completeness gap and the change since the last doubling are at most ``tolerance``, or ``budget`` is
    reached. With ``steps``, that many Gauss–Legendre nodes: exact for polynomials.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape); token ids → (batch, tokens).
    Units:  those of the target.
    Cost:   ``steps``, or 7, 15, 31, … up to ``budget`` gradients per example, and 2 forward passes.
    Raises: ShapeError if the baseline does not broadcast to the inputs.
    Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, eq. 1.

    Example:
        >>> import torch, pellucid as pl
        >>> product = lambda outputs: outputs.prod(1)
        >>> pl.IntegratedGradients(steps=2)(torch.nn.Identity(), torch.tensor([[2.0, 3.0]]), target=product).values
        tensor([[3., 3.]])
    """

    paper: ClassVar[str] = "Sundararajan, Taly & Yan 2017, arXiv:1703.01365"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY, LINEAR, SYMMETRIC)
    baseline: Any = option(None, help="where the path starts: a fill, a number or a tensor; zeros (padding) without")
    tolerance: float = option(0.01, above=0, help="stop when the completeness gap and the change are below this")
    budget: int = option(127, at_least=7, help="gradients allowed per example")
    steps: int | None = option(None, at_least=1, help="a fixed number of Gauss–Legendre nodes instead of a tolerance")

    def attribute(self, ask: Probe) -> Found:
        base = baseline(self.baseline, ask)
        if self.steps is not None:
            nodes, weights = gauss_legendre(self.steps)
            slope = ask.gradient(straight(base, ask.inputs, nodes), weights=weights)
            return Found((ask.inputs - base) * slope, base_score=ask.forward(only(base))[0])
        return self.until_exact(ask, base)

    def until_exact(self, ask: Probe, base: Tensor) -> Found:
        """Double the nodes, for the examples that need it, until gap and change are small."""
        base_score = ask.forward(only(base))[0]
        score, count, left = ask.score, 4, torch.arange(ask.batch)
        nodes, weights = sine_squared(count)
        slope = ask.gradient(straight(base, ask.inputs, nodes), weights=weights)
        values = (ask.inputs - base) * slope
        while len(left) and 2 * count - 1 <= self.budget:
            count *= 2
            nodes, weights = (each[::2] for each in sine_squared(count))
            some, start = (ask, base) if len(left) == ask.batch else (ask.select(left), base[left])
            slope[left] = slope[left] / 2 + some.gradient(straight(start, some.inputs, nodes), weights=weights)
            new = (some.inputs - start) * slope[left]
            gap = completeness_gap(new, score[left], base_score[left])
            change, size = ((each.flatten(1).norm(dim=1)) for each in (new - values[left], new))
            values[left] = new
            left = left[((gap > self.tolerance) | (change > self.tolerance * size)).cpu()]
        which = f" for {len(left)} of {ask.batch}" if ask.batch > 1 else ""
        note = f"tolerance {self.tolerance:.2g} not reached at {count - 1} gradients{which}"
        return Found(values, base_score=base_score, notes=(note,) * bool(len(left)), extra={"gradients": count - 1})


@dataclass(frozen=True, kw_only=True)
class Conductance(Attributor):
    r"""How much of the change along the straight input path flows through each unit of a hidden layer (``at=``).

    .. math:: a_j = \int_0^1 \frac{\partial f}{\partial y_j} \frac{\partial y_j}{\partial t}\,dt,
        \quad y(t) \text{ the layer at } b + t(x - b)

    The unit's own change is taken by differences between neighboring points, so the sum telescopes.

    Shapes: the layer's activation (batch, \*shape).
    Units:  those of the target.
    Cost:   ``steps`` gradients and as many passes up to the layer per example.
    Raises: OptionError without ``at=``.
    Source: Dhamdhere, Sundararajan & Yan 2018, arXiv:1805.12233, eq. 2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        >>> pl.Conductance()(net, torch.ones(1, 3), at="1").values.shape
        torch.Size([1, 4])
    """

    paper: ClassVar[str] = "Dhamdhere, Sundararajan & Yan 2018, arXiv:1805.12233"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, LINEAR)
    baseline: Any = option(None, help="where the path starts: a fill, a number or a tensor; zeros (padding) without")
    steps: int = option(32, at_least=2, help="intervals on the path")

    def attribute(self, ask: Probe) -> Found:
        outer, site = ask.outer, ask.site
        if outer is None or not isinstance(site, Site):
            do = "Use Conductance()(model, inputs, at='layer'); IntegratedGradients answers for the inputs."
            raise OptionError(expected="a hidden layer to ask about", got="none", do=do)
        base = baseline(self.baseline, outer)
        values = walked(ask, lambda t: outer.record(site, torch.lerp(base, outer.inputs, t)), self.steps)
        return Found(values, base_score=outer.forward(only(base))[0])


@dataclass(frozen=True, kw_only=True)
class ExpectedGradients(Attributor):
    r"""Integrated gradients averaged over baselines drawn from data, one random point of each line (GradientSHAP).

    .. math:: a_i = \mathbb{E}_{b \sim D,\, t \sim U(0,1)} \left[(x_i - b_i)\, \partial_i f(b + t(x - b))\right]

    The times are stratified over the draws and the baselines shared by the batch.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), with a standard error of the same shape.
    Units:  those of the target.
    Cost:   ``draws`` gradients per example.
    Raises: ShapeError for baselines that do not fit the inputs.
    Source: Erion et al. 2021, arXiv:1906.10670, eq. 3; Lundberg & Lee 2017 (GradientSHAP in the shap library).

    Example:
        >>> import torch, pellucid as pl
        >>> data = pl.Marginal(torch.zeros(5, 3))
        >>> pl.ExpectedGradients(baseline=data)(torch.nn.Linear(3, 1), torch.ones(1, 3)).standard_error.shape
        torch.Size([1, 3])
    """

    paper: ClassVar[str] = "Erion et al. 2021, arXiv:1906.10670"
    units: ClassVar[str] = "target"
    laws: ClassVar = (DUMMY, LINEAR)
    baseline: Any = option(
        None, help="rows or a fill to draw baselines from; the table's background, or noise, without"
    )
    draws: int = option(50, at_least=2, help="independent (baseline, time) pairs")

    def attribute(self, ask: Probe) -> Found:
        given = self.baseline if self.baseline is not None else usual_baselines(ask)
        rows = getattr(given, "ndim", None) == ask.leaves.values.ndim
        base = (Marginal(given) if rows else as_fill(given))(ask)
        random = uniforms(torch.arange(self.draws), 2, ask.seed)
        times = (torch.arange(self.draws) + random[:, 0]) / self.draws
        which = spread_evenly(random[:, 1], len(base))

        def way(k: Tensor) -> Tensor:
            return ask.inputs[None] - base[which[k]]

        into = Times(way, Moments())
        moments = ask.gradient(lambda k: base[which[k]] + lifted(times[k], ask.inputs) * way(k), self.draws, into=into)
        base_score = ask.forward(lambda k: base[k], len(base)).mean(0)
        return Found(moments.mean, standard_error=moments.standard_error, base_score=base_score)


def usual_baselines(ask: Probe) -> Any:
    """The background of a table where there is one; padding for ids; else noise."""
    if background(ask) is not None:
        return Marginal()
    return None if ask.leaves.integer else Noise(variants=8)


def spread_evenly(random: Tensor, n: int) -> Tensor:
    """Indexes below ``n``, each used equally often, in random order."""
    return random.argsort().argsort() % n


@dataclass(frozen=True, kw_only=True)
class BlurIG(Attributor):
    r"""Integrated gradients along a path that starts blurred and gets sharp: no feature is ever made up.

    .. math:: a = \int_0^1 \nabla f(x(t)) \odot \dot x(t)\,dt, \quad x(t) = x * G_{\sigma (1 - t)^2}

    Shapes: inputs (batch, channels, \*space) → attribution of the same shape.
    Units:  those of the target.
    Cost:   ``steps`` gradients per example.
    Raises: ShapeError for inputs without space.
    Source: Xu, Venugopalan & Sundararajan 2020, arXiv:2004.03383, eq. 7.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.BlurIG()(net, torch.rand(1, 1, 8, 8)).values.shape
        torch.Size([1, 1, 8, 8])
    """

    paper: ClassVar[str] = "Xu, Venugopalan & Sundararajan 2020, arXiv:2004.03383"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, LINEAR)
    sigma: float | None = option(None, above=0, help="the widest blur, in places; half of the shorter side without")
    steps: int = option(32, at_least=2, help="intervals on the path")

    def attribute(self, ask: Probe) -> Found:
        x = ask.inputs
        if x.ndim < 3 or ask.leaves.integer:
            do = "Use IntegratedGradients."
            raise ShapeError(expected="inputs (batch, channels, *space)", got=str(tuple(x.shape)), do=do)
        widest = min(x.shape[2:]) / 2 if self.sigma is None else self.sigma
        values = walked(ask, lambda t: blurred(x, widest * (1 - t) ** 2), self.steps)
        return Found(values, base_score=ask.forward(only(blurred(x, widest)))[0])


@dataclass(frozen=True, kw_only=True)
class IDGI(Attributor):
    r"""Each step's change of the score, shared out in proportion to the squared slope: complete by construction.

    .. math:: a_i = \sum_j \frac{g_{ji}^2}{\lVert g_j \rVert^2}\,\bigl(f(x_{j+1}) - f(x_j)\bigr)

    Another quantity than integrated gradients, not a more exact version of it: all shares of a step have one sign.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   ``steps`` + 1 gradients per example.
    Raises: ShapeError if the baseline does not broadcast to the inputs.
    Source: Yang, Wang & Bilgic 2023, arXiv:2303.14242, algorithm 1.

    Example:
        >>> import torch, pellucid as pl
        >>> bool(pl.IDGI()(torch.nn.Linear(3, 1), torch.ones(1, 3)).gap < 1e-5)
        True
    """

    paper: ClassVar[str] = "Yang, Wang & Bilgic 2023, arXiv:2303.14242"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY)
    baseline: Any = option(None, help="where the path starts: a fill, a number or a tensor; zeros (padding) without")
    steps: int = option(32, at_least=1, help="intervals on the path")

    def attribute(self, ask: Probe) -> Found:
        base = baseline(self.baseline, ask)
        nodes = torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
        shares = Shares(ask.inputs)
        values = ask.gradient(straight(base, ask.inputs, nodes), self.steps + 1, into=shares)
        return Found(values, base_score=shares.first)


class Shares:
    """Sums squared-slope shares of the score's change from each point to the next."""

    def __init__(self, inputs: Tensor) -> None:
        self.total = torch.zeros_like(inputs)
        self.square = torch.zeros_like(inputs)
        self.first: Tensor | None = None
        self.score: Tensor | None = None

    def update(self, draws: Tensor, values: Tensor, scores: Tensor) -> None:
        for slope, score in zip(values, scores, strict=True):
            square = slope.square()
            if self.score is None:
                self.first = score
            else:
                self.total += shares(self.square, square) * per_example(score - self.score, slope)
            self.square, self.score = square, score

    def result(self) -> Tensor:
        return self.total


def shares(before: Tensor, after: Tensor) -> Tensor:
    """Squared slopes at a step's start as shares of one; at its end where it starts flat, even where both are flat."""
    share = torch.full_like(before, 1 / before[0].numel())
    for square in (after, before):
        size = per_example(square.flatten(1).sum(1), square)
        share = torch.where(size > 0, square / size.clamp_min(torch.finfo(size.dtype).tiny), share)
    return share


@dataclass(frozen=True, kw_only=True)
class GuidedIG(Attributor):
    r"""Integrated gradients along a path that moves the inputs of least slope first, away from noise.

    At each step the ``fraction`` of coordinates with the smallest :math:`|\partial_i f|` moves towards the input, until
    the distance left has shrunk by 1/``steps``; no coordinate strays more than ``stray`` from the straight line.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   ``steps`` gradients per example, one after another.
    Raises: ShapeError if the baseline does not broadcast to the inputs.
    Source: Kapishnikov et al. 2021, arXiv:2106.09788, algorithm 1.

    Example:
        >>> import torch, pellucid as pl
        >>> bool(pl.GuidedIG()(torch.nn.Linear(3, 1), torch.ones(1, 3)).gap < 1e-4)
        True
    """

    paper: ClassVar[str] = "Kapishnikov et al. 2021, arXiv:2106.09788"
    units: ClassVar[str] = "target"
    laws: ClassVar = (COMPLETE, DUMMY)
    baseline: Any = option(None, help="where the path starts: a fill, a number or a tensor; zeros (padding) without")
    steps: int = option(50, at_least=2, help="steps of the path, one after another")
    fraction: float = option(0.25, above=0, help="share of the coordinates that moves at a time")
    stray: float = option(1.0, at_least=0, help="how far a coordinate may be from the straight line, as a share of it")

    def attribute(self, ask: Probe) -> Found:
        base, end = baseline(self.baseline, ask), ask.inputs
        x, values = base.clone(), torch.zeros_like(base)
        for step in range(1, self.steps + 1):
            slope = ask.gradient(only(x))
            time = step / self.steps
            low, high = (torch.lerp(base, end, t) for t in (max(time - self.stray, 0), min(time + self.stray, 1)))
            for row in range(len(x)):
                left = float((end[row] - base[row]).abs().sum()) * (1 - time)
                new = self.step(x[row], slope[row], low[row], high[row], end[row], left)
                values[row] += (new - x[row]) * slope[row]
                x[row] = new
        return Found(values, base_score=ask.forward(only(base))[0])

    def step(self, x: Tensor, slope: Tensor, low: Tensor, high: Tensor, end: Tensor, left: float) -> Tensor:
        """Move the coordinates of least slope until only ``left`` of the distance to ``end`` remains."""
        size = slope.abs()
        x = torch.where((end - x).abs() > (end - low).abs(), low, x)
        whole = float((end - x).abs().sum())
        for _ in range(int(1 / self.fraction) + 2):
            excess = float((end - x).abs().sum()) - left
            free = (x != high).flatten()
            if excess <= 1e-6 * whole or not bool(free.any()):
                break
            most = min(int(free.sum()), int(self.fraction * (free.numel() - 1)) + 1)
            order = torch.where(free, size.flatten(), torch.inf).argsort(stable=True)[:most]
            chosen = torch.zeros_like(free).scatter(0, order, True).reshape(x.shape) & (x != high)
            room = float((high - x).abs()[chosen].sum())
            share = min(1.0, excess / room) if room > 0 else 1.0
            x = torch.where(chosen, high if share == 1.0 else torch.lerp(x, high, share), x)
        return x
