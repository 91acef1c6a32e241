"""Hiding parts one at a time: Occlusion and Ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pellucid.attribution.games import GameAttributor
from pellucid.core.law import DUMMY, LINEAR
from pellucid.core.method import option
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import one_out
from pellucid.engines.features import Features, Windows, Words
from pellucid.engines.game import Game
from pellucid.engines.solve import Solved


@dataclass(frozen=True, kw_only=True)
class Ablation(GameAttributor):
    r"""How far the score falls when one part is hidden and the rest stays.

    .. math:: a_i = f(x) - f(x_{N \setminus i})

    Every element of a part gets the part's whole value.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   one forward pass per part (times the variants of the fill), and one more.
    Raises: EmptyError for a text of special tokens only; ShapeError for a fill that does not fit.
    Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2; leave-one-covariate-out.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1)
        >>> bool(torch.allclose(pl.Ablation()(net, torch.ones(1, 3)).values, net.weight))
        True
    """

    paper: ClassVar[str] = "Zeiler & Fergus 2014, arXiv:1311.2901"
    units: ClassVar[str] = "target"
    laws: ClassVar = (DUMMY, LINEAR)

    def solve(self, game: Game) -> Solved:
        return Solved(game.full - game.lazily(one_out(game.n), game.n))


@dataclass(frozen=True, kw_only=True)
class Occlusion(Ablation):
    r"""How far the score falls when a window slides over the inputs and hides what is under it.

    .. math:: a_p = \frac{1}{|\{w \ni p\}|} \sum_{w \ni p} \bigl(f(x) - f(x_{\setminus w})\bigr)

    Each place gets the mean over the windows that cover it.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  target per window.
    Cost:   one forward pass per window position, and one more.
    Raises: OptionError for a stride larger than the window.
    Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
        >>> pl.Occlusion(window=2, stride=2)(net, torch.rand(1, 1, 8, 8)).receipt.rows_forward
        17
    """

    window: int | tuple[int, ...] | None = option(None, help="side of the window, in places; an eighth without")
    stride: int | tuple[int, ...] | None = option(None, help="step of the window; half of it without")

    def parts(self, ask: Probe) -> Features | None:
        if self.features is not None:
            return self.features
        if ask.leaves.integer and ask.site is None:
            return Words()
        return Windows(self.window, self.stride) if ask.inputs.ndim > 2 or self.window else None
