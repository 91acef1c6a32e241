"""LIME: a weighted linear model of what the network says near one input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.attribution.games import SampledAttributor
from pellucid.core.law import LINEAR
from pellucid.core.method import Found, option
from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import BLOCK, bernoulli, every
from pellucid.engines.features import Columns, Features, Superpixels
from pellucid.engines.fills import background
from pellucid.engines.game import Game
from pellucid.engines.points import generator
from pellucid.engines.regression import forward_selection, highest_weights, lasso_path, weighted_ridge
from pellucid.engines.solve import Solved
from pellucid.errors import OptionError

Selection = Callable[[Tensor, Tensor, Tensor, int], Tensor]
SELECTIONS: dict[str, Selection] = {"forward": forward_selection, "highest": highest_weights, "lasso": lasso_path}
MOST_FORWARD = 6
ENOUGH = 0.5
SMALLEST = 24
NEIGHBOR = b"n"


@dataclass(frozen=True, kw_only=True)
class LIME(SampledAttributor):
    r"""The slopes of a linear model of the score near the input, fitted to neighbors that lack some parts.

    .. math:: \min_{\beta_0, \beta} \sum_z e^{-d(z, 1)^2 / 2\,\text{width}^2}
        \bigl(f(x_z) - \beta_0 - \beta \cdot z\bigr)^2 + \text{ridge}\, \lVert\beta\rVert^2

    Each part of a neighbor z is there with probability ½; the input itself is one of them. The parts of a picture of at
    least 24 × 24 are superpixels. The distance d is :math:`1 - \cos(z, 1)` for texts and pictures, Euclidean for rows.
    The width is the ``kernel_width`` of the authors' program, which takes the root of the paper's weights.

    A table with background rows is discretized: numeric columns into quantile bins, categorical ones into levels. Each
    column of a neighbor is that of a background row drawn by itself, and z says which columns share the bin or level of
    the explained row. With a fill, or other features than columns, its parts are hidden like any others.

    ``extra["r2"]`` says how much of the score's weighted variance the linear model explains; a note tells where that is
    less than half. Standard errors are robust to unequal variances. They cover what other neighbors would change: not
    the bias of the ridge, nor (with ``select``) the choice of parts. Where all coalitions fit the budget they are asked
    once each, count alike, and together weigh as much as ``budget`` neighbors: the answer is exact.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape), each element with its part's slope.
    Units:  those of the target, per part.
    Cost:   at most ``budget`` forward passes per example, the full coalition included; equal coalitions are asked once.
    Raises: OptionError for a budget too small for the parts, a width that leaves no neighbor any weight, or a single
            background row.
    Source: Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938, equations 1 and 2, algorithm 1.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1)
        >>> heat = pl.LIME(ridge=0)(net, torch.ones(1, 3))
        >>> bool(torch.allclose(heat.values, net.weight, atol=1e-5)), f"{float(heat.extra['r2']):.2f}"
        (True, '1.00')
    """

    paper: ClassVar[str] = "Ribeiro, Singh & Guestrin 2016, arXiv:1602.04938"
    units: ClassVar[str] = "the target, per part"
    laws: ClassVar = (LINEAR,)
    budget: int = option(1000, at_least=4, help="predictions allowed per example, the full coalition included")
    ridge: float = option(1.0, at_least=0, help="penalty on the squared slopes; 0 is plain weighted least squares")
    distance: str = option(
        "auto", choices=("auto", "cosine", "euclidean"), help="how far neighbors are; auto: cosine for texts, pictures"
    )
    width: float | None = option(
        None, above=0, help="standard width of the kernel; 0.25 for cosine, 0.75 √parts for euclidean without"
    )
    select: int | None = option(None, at_least=1, help="how many parts the linear model may use; all without")
    selection: str = option(
        "auto", choices=("auto", *SELECTIONS), help="how they are chosen; auto: forward up to 6 parts, else highest"
    )
    bins: int = option(4, at_least=2, help="quantile bins of each numeric column of a table with background rows")

    def attribute(self, ask: Probe) -> Found:
        found = super().attribute(ask)
        told = {name: whole(found.extra[name]) for name in ("r2", "intercept")}
        return replace(found, notes=found.notes + weakness(told["r2"]), extra={**found.extra, **told})

    def parts(self, ask: Probe) -> Features | None:
        shape = ask.inputs.shape
        picture = len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) >= SMALLEST and ask.site is None
        return Superpixels(50) if self.features is None and picture else self.features

    def discretizes(self, ask: Probe) -> bool:
        """Whether neighbors are made of background rows."""
        if self.fill is not None or not isinstance(self.features, Columns | None) or ask.site is not None:
            return False
        return background(ask) is not None

    def least(self, n: int) -> int:
        return n + 3

    def countable(self, game: Game, allowed: int) -> bool:
        return not self.discretizes(game.ask) and super().countable(game, allowed)

    def exact(self, game: Game) -> Solved:
        z = every(game.n)
        return replace(self.fitted(game, z[None], game(z), self.budget // game.cost / len(z), self.ridge), error=None)

    def estimate(self, game: Game, allowed: int, share: float) -> Solved:
        count = max(self.least(game.n), ceil(share * allowed)) - 1
        if self.discretizes(game.ask):
            z, scores = resampled(game, self.bins, count)
        else:
            drawn = bernoulli(count, game.n, 0.5, game.ask.seed)
            z, scores = drawn[None], game(drawn)
        z = torch.cat([torch.ones_like(z[:, :1]), z], 1)
        scores = torch.cat([game.full.to(scores)[None], scores])
        # Every share has the penalty of the whole budget in proportion, so that all estimate the same slopes.
        return self.fitted(game, z, scores, 1.0, self.ridge * (count + 1) / allowed)

    def fitted(self, game: Game, z: Tensor, scores: Tensor, each: float, ridge: float) -> Solved:
        """The linear model of scores (k, batch) at neighbors z (b, k, n), each counted ``each`` times."""
        z, scores = z.double(), scores.cpu()
        weights = each * self.weights(z, game.ask)
        if self.select is None or self.select >= game.n:
            line = weighted_ridge(z, scores, weights, ridge)
            slopes, error = line.slopes, line.error
        else:
            kept = self.choose()(z, scores, weights, self.select)
            line = weighted_ridge(z * kept[:, None], scores, weights.expand(len(kept), -1), ridge)
            slopes, error = (values * kept.T for values in (line.slopes, line.error))
        hidden_by = {"hidden_by": "values of background rows"} if self.discretizes(game.ask) else {}
        return Solved(slopes, error, extra={"r2": line.r2, "intercept": line.intercept, **hidden_by})

    def choose(self) -> Selection:
        """How the parts that the linear model uses are found."""
        usual = "forward" if (self.select or 0) <= MOST_FORWARD else "highest"
        return SELECTIONS[usual if self.selection == "auto" else self.selection]

    def weights(self, z: Tensor, ask: Probe) -> Tensor:
        """(b, k): how much neighbors z (b, k, n) count."""
        n, there = z.shape[-1], z.sum(-1)
        flat = ask.inputs.ndim == 2 and not ask.leaves.integer and not isinstance(ask.model.modality, Text)
        usual_distance = "euclidean" if flat else "cosine"
        if (usual_distance if self.distance == "auto" else self.distance) == "cosine":
            distance, usual = 1 - (there / n).sqrt(), 0.25
        else:
            distance, usual = (n - there).sqrt(), 0.75 * n**0.5
        width = usual if self.width is None else self.width
        weights = torch.exp(-((distance / width) ** 2) / 2)
        if not bool((weights.sum(1) > (there == n).sum(1) + 1e-12).all()):
            got, do = f"width={width:g}, at which all others weigh nothing", "Widen it, or raise the budget."
            raise OptionError(expected="neighbors that differ from the input and count", got=got, do=do)
        return weights


def resampled(game: Game, bins: int, count: int) -> tuple[Tensor, Tensor]:
    """Neighbors z (batch, count, columns) whose columns are drawn from background rows, and their scores."""
    ask, table, rows = game.ask, game.ask.model.modality, background(game.ask)
    if rows is None or len(rows) < 2 or not isinstance(table, Table):
        do = "Give more rows, or a fill: LIME(fill=pl.Mean())."
        raise OptionError(expected="at least two background rows", got="one", do=do)
    known, mine = binned(table, rows, ask.inputs, bins)
    random = generator(ask.seed, game.n, 3)
    blocks = [torch.randint(len(rows), (BLOCK, game.n), generator=random) for _ in range(ceil(count / BLOCK))]
    drawn, column = torch.cat(blocks)[:count], torch.arange(game.n)
    # Which row each number of an encoded row comes from: the numbers of a one-hot column from the same.
    width = [slot.stop - slot.start for slot in table.slots]
    spread, place = column.repeat_interleave(torch.tensor(width)), torch.arange(sum(width))
    points = rows[drawn[:, spread], place].to(ask.inputs)[:, None]
    head = NEIGHBOR + blake2b(rows.numpy().tobytes(), digest_size=8).digest()
    keys = [head + np.array([ask.seed, i]).tobytes() for i in range(count)]
    scores = game.asked(keys, lambda i: ask.forward(lambda k: points[i[k]], len(i)))
    return known[drawn, column] == mine[:, None], scores


def binned(table: Table, rows: Tensor, inputs: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The number of the bin or level in every column: of background rows (m, columns) and of inputs, as encoded."""
    both = [table.original(each.detach().cpu().double().numpy()) for each in (rows, inputs.to(rows))]
    for i, name in enumerate(table.columns):
        edges = np.unique(np.quantile(both[0][:, i], np.arange(1, bins) / bins))
        for each in both:
            level = np.rint(each[:, i]) if name in table.categories else np.searchsorted(edges, each[:, i])
            each[:, i] = level
    return torch.from_numpy(both[0]), torch.from_numpy(both[1])


def whole(parts: Any) -> Tensor:
    """Numbers (batch,), from those of examples that were asked one by one."""
    return parts if isinstance(parts, Tensor) else torch.cat(list(parts))


def weakness(r2: Tensor) -> tuple[str, ...]:
    """A note where the linear model explains too little, or none."""
    weak = [(f"{100 * max(each, 0):.0f} %", row) for row, each in enumerate(r2.tolist()) if each < ENOUGH]
    if not weak:
        return ()
    said = [share if len(r2) == 1 else f"{share} (row {row})" for share, row in weak[:3]]
    more = [f"little in {len(weak) - 3} more rows"] if len(weak) > 3 else []
    return (f"the linear model explains only {', '.join(said + more)} of how the score varies",)
