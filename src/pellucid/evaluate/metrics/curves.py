"""Curves: the answer while parts are hidden or shown one after the other, in the order of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pellucid.core.method import option
from pellucid.evaluate.metrics.hiding import Board, Grain, board, falling
from pellucid.evaluate.metrics.measure import Better, Metric, Untestable
from pellucid.evaluate.question import Case

Per = Literal["nothing", "range", "answer"]
PER = ("nothing", "range", "answer")
PER_HELP = "what the curve is divided by: nothing, the range |f(x) − f(all hidden)|, or the answer f(x)"
FILL_HELP = "what hides parts; that of the question without"
STEPS_HELP = "in how many steps all parts are hidden"


@dataclass(frozen=True, kw_only=True)
class Curve(Metric):
    """What all curves share: steps, what hides, and what the answer is divided by."""

    steps: int = option(10, at_least=1, help=STEPS_HELP)
    fill: Any = option(None, help=FILL_HELP)
    per: str = option("nothing", choices=PER, help=PER_HELP)

    kind: ClassVar[str] = "faithfulness"
    units: ClassVar[str] = "mean answer along the curve"
    grain: ClassVar[Grain] = "parts"

    def board(self, case: Case) -> Board:
        """The parts that are hidden."""
        return board(case.question, self.grain, self.fill)

    def order(self, case: Case, there: Board) -> Tensor:
        """The parts from the most important to the least."""
        return falling(there.worth(case), case.question.seed)

    def curves(self, case: Case, *ways: int) -> tuple[Tensor, list[Tensor]]:
        """Shares hidden, and a curve for each way: 1 hides the most important part first, −1 the least."""
        there = self.board(case)
        order, counts = self.order(case, there), steps_of(there.n, self.steps)
        found = there.along(*((order if way > 0 else order.flip(0), counts) for way in ways))
        full, empty, noise = there.ends(torch.cat(found))
        if self.per == "range":
            found = [(each - empty) / abs(full - empty) for each in found]
        if self.per == "answer":
            if full <= noise:
                raise Untestable(
                    f"the answer {full:.4g} is not positive: ask for a probability, or divide by the range"
                )
            found = [each / full for each in found]
        return counts.double() / there.n, found


def steps_of(n: int, steps: int) -> Tensor:
    """How many of n parts are hidden after 0, 1, … steps: all in the end, at least one a step.

    >>> steps_of(5, 10).tolist(), steps_of(49, 4).tolist()
    ([0, 1, 2, 3, 4, 5], [0, 12, 24, 37, 49])
    """
    return torch.linspace(0, n, min(steps, n) + 1, dtype=torch.float64).round().long().unique()


def area(shares: Tensor, curve: Tensor) -> float:
    """The area under a curve, by the trapezoidal rule."""
    return float(torch.trapezoid(curve, shares))


@dataclass(frozen=True, kw_only=True)
class Deletion(Curve):
    r"""The mean answer while parts are hidden, the most important first; low where the map finds what the answer needs.

    .. math:: \int_0^1 f\bigl(x \text{ without its most important share } t\bigr)\,dt

    Shapes: one number a row, in the units of the answer; explain a probability for the numbers of the paper.
    Cost:   ``steps`` + 1 forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Petsiuk, Das & Saenko 2018, arXiv:1806.07421 (there with ``fill=pl.Zeros()``, pixels as parts).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:], net.bias[:] = torch.tensor([4.0, 3.0, 2.0, 1.0]), 0
        >>> x = torch.ones(1, 4)
        >>> pl.metrics.Deletion()(net.weight, net, x).value, pl.metrics.Deletion()(-net.weight, net, x).value
        (3.75, 6.25)
    """

    better: ClassVar[Better] = "lower"
    paper: ClassVar[str] = "Petsiuk, Das & Saenko 2018, arXiv:1806.07421"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, 1)
        return area(shares, curve)


@dataclass(frozen=True, kw_only=True)
class Insertion(Curve):
    r"""The mean answer while parts are shown, the most important first; high where few parts are enough for the answer.

    .. math:: \int_0^1 f\bigl(\text{only the most important share } t \text{ of } x\bigr)\,dt

    Shapes: one number a row, in the units of the answer; explain a probability for the numbers of the paper.
    Cost:   ``steps`` + 1 forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Petsiuk, Das & Saenko 2018, arXiv:1806.07421 (there with ``fill=pl.Blur()``, pixels as parts).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:], net.bias[:] = torch.tensor([4.0, 3.0, 2.0, 1.0]), 0
        >>> x = torch.ones(1, 4)
        >>> pl.metrics.Insertion()(net.weight, net, x).value, pl.metrics.Insertion()(-net.weight, net, x).value
        (6.25, 3.75)
    """

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Petsiuk, Das & Saenko 2018, arXiv:1806.07421"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, -1)
        return area(shares, curve)


@dataclass(frozen=True, kw_only=True)
class MoRF(Curve):
    r"""The area under the curve of the answer while parts are hidden, the most relevant first.

    .. math:: \int_0^1 \frac{f(x_{\setminus t}) - f(b)}{|f(x) - f(b)|}\,dt

    Here b is x with everything hidden. The area is 1/2 on average for random maps of a model that adds up.

    Shapes: one number a row, a share of |f(x) − f(b)|; other units by ``per``.
    Cost:   ``steps`` + 1 forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Samek et al. 2015, arXiv:1509.06321; in this form Blücher et al. 2024, arXiv:2401.06654.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.MoRF()(net.weight, net, torch.ones(1, 4)).value, 3)
        0.375
    """

    per: str = option("range", choices=PER, help=PER_HELP)

    better: ClassVar[Better] = "lower"
    paper: ClassVar[str] = "Samek et al. 2015, arXiv:1509.06321"
    units: ClassVar[str] = "share of the range"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, 1)
        return area(shares, curve)


@dataclass(frozen=True, kw_only=True)
class LeRF(Curve):
    r"""The area under the curve of the answer while parts are hidden, the least relevant first.

    .. math:: \int_0^1 \frac{f(x_{\setminus t}) - f(b)}{|f(x) - f(b)|}\,dt

    Here b is x with everything hidden. With the same fill, it is ``Insertion`` read from its other end.

    Shapes: one number a row, a share of |f(x) − f(b)|; other units by ``per``.
    Cost:   ``steps`` + 1 forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Blücher et al. 2024, arXiv:2401.06654.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.LeRF()(net.weight, net, torch.ones(1, 4)).value, 3)
        0.625
    """

    per: str = option("range", choices=PER, help=PER_HELP)

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Blücher et al. 2024, arXiv:2401.06654"
    units: ClassVar[str] = "share of the range"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, -1)
        return area(shares, curve)


@dataclass(frozen=True, kw_only=True)
class SRG(Curve):
    r"""Symmetric relevance gain: the area between the curves that hide the least and the most relevant parts first.

    .. math:: \mathrm{SRG} = \int_0^1 \frac{f(x_\text{LeRF}(t)) - f(x_\text{MoRF}(t))}{|f(x) - f(b)|}\,dt

    A map and its opposite get the same number with opposite signs, and random maps 0 on average. Blücher et al. found
    that it ranks methods alike under different fills, where either curve alone does not.

    Shapes: one number a row, a share of |f(x) − f(all hidden)|; other units by ``per``.
    Cost:   2 ``steps`` forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Blücher et al. 2024, arXiv:2401.06654.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.SRG()(net.weight, net, torch.ones(1, 4)).value, 3)
        0.25
    """

    per: str = option("range", choices=PER, help=PER_HELP)

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Blücher et al. 2024, arXiv:2401.06654"
    units: ClassVar[str] = "share of the range"

    def measure(self, case: Case) -> float:
        shares, (least, most) = self.curves(case, -1, 1)
        return area(shares, least - most)


@dataclass(frozen=True, kw_only=True)
class RegionPerturbation(Curve):
    r"""The mean drop of the answer while regions are hidden, the most relevant first (AOPC).

    .. math:: \mathrm{AOPC} = \frac{1}{L + 1} \sum_{k=0}^{L} \bigl(f(x) - f(x_k)\bigr)

    ``share`` of the regions is hidden in all. Numbers of different models can be compared with ``per="range"`` only.

    Shapes: one number a row, in the units of the answer.
    Cost:   ``steps`` + 2 forward passes a row, all in one batch, shared with equal coalitions of other metrics.
    Source: Samek et al. 2015, arXiv:1509.06321, equation 12.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(4, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([4.0, 3.0, 2.0, 1.0])
        >>> round(pl.metrics.RegionPerturbation()(net.weight, net, torch.ones(1, 4)).value, 3)
        6.0
    """

    share: float = option(1.0, above=0.0, help="the share of the regions that is hidden in all, at most 1")

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Samek et al. 2015, arXiv:1509.06321"
    units: ClassVar[str] = "mean drop of the answer"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, 1)
        counted = curve[shares <= self.share + 1e-9]
        return float((curve[0] - counted).mean())


@dataclass(frozen=True, kw_only=True)
class IROF(Curve):
    r"""Iterative removal of features: the area over the curve of the answer while superpixels are hidden.

    .. math:: \mathrm{IROF} = \int_0^1 1 - \frac{f(x_{\setminus t})}{f(x)}\,dt

    Superpixels are ranked by the mean of the map in them and hidden one a step, whatever their sizes. The paper divides
    by f(x), a probability (``per="answer"``); for a logit, whose zero means nothing, the range is divided by.

    Shapes: one number a row; 1 where hiding the first superpixel hides all.
    Cost:   ``steps`` + 2 forward passes a row, all in one batch.
    Source: Rieger & Hansen 2020, arXiv:2003.08747.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1).requires_grad_(False))
        >>> x = torch.rand(1, 1, 8, 8)
        >>> map_ = net[1].weight.reshape(1, 1, 8, 8) * x
        >>> pl.metrics.IROF(superpixels=9)(map_, net, x).value > pl.metrics.IROF(superpixels=9)(-map_, net, x).value
        True
    """

    steps: int = option(50, at_least=1, help=STEPS_HELP)
    per: str = option("range", choices=PER, help=PER_HELP)
    superpixels: int = option(50, at_least=2, help="about how many superpixels")

    better: ClassVar[Better] = "higher"
    paper: ClassVar[str] = "Rieger & Hansen 2020, arXiv:2003.08747"
    units: ClassVar[str] = "area over the curve"
    grain: ClassVar[Grain] = "superpixels"

    def board(self, case: Case) -> Board:
        return board(case.question, self.grain, self.fill, self.superpixels)

    def order(self, case: Case, there: Board) -> Tensor:
        sizes = torch.bincount(there.layout.part, minlength=there.n)
        return falling(there.worth(case) / sizes, case.question.seed)

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, 1)
        return area(shares, curve[0] - curve)


@dataclass(frozen=True, kw_only=True)
class PixelFlipping(Curve):
    r"""The area under the curve of the answer while single pixels are hidden, the most relevant first.

    .. math:: \int_0^1 f\bigl(x \text{ without its most relevant share } t \text{ of pixels}\bigr)\,dt

    A pixel is hidden with all of its channels. With as many steps as there are pixels each is hidden by itself; 100
    steps give the same area within what the curve bends in a hundredth. Columns and words are parts already.

    Shapes: one number a row, in the units of the answer; other units by ``per``.
    Cost:   ``steps`` + 2 forward passes a row, all in one batch.
    Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140.

    Example:
        >>> import torch, pellucid as pl
        >>> _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1).requires_grad_(False))
        >>> x = torch.rand(1, 1, 8, 8)
        >>> map_ = net[1].weight.reshape(1, 1, 8, 8) * x
        >>> pl.metrics.PixelFlipping()(map_, net, x).value < pl.metrics.PixelFlipping()(-map_, net, x).value
        True
    """

    steps: int = option(100, at_least=1, help=STEPS_HELP)

    better: ClassVar[Better] = "lower"
    paper: ClassVar[str] = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"
    grain: ClassVar[Grain] = "places"

    def measure(self, case: Case) -> float:
        shares, (curve,) = self.curves(case, 1)
        return area(shares, curve)
