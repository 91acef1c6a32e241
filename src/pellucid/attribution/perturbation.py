"""Hiding parts one at a time: Occlusion and Ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.law import DUMMY, LINEAR
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.engines.coalitions import one_out
from pellucid.engines.features import Features, Windows, Words
from pellucid.engines.game import Game


@dataclass(frozen=True, kw_only=True)
class GameAttributor(Attributor):
    """A method that only asks what happens when parts are hidden: works on a BlackBox too.

    Examples whose parts are alike are asked together; sentences, whose words differ, one by one.
    """

    discrete: ClassVar[bool] = True
    shared: ClassVar[bool] = False
    features: Features | None = option(None, help="what counts as one part: columns, words, patches, elements")
    fill: Any = option(None, help="what hidden parts are replaced by: a fill, a number or a tensor")

    def attribute(self, ask: Probe) -> Found:
        if ask.leaves.integer and ask.site is None and ask.batch > 1:
            return joined([self.attribute(ask.select(torch.tensor([row]))) for row in range(ask.batch)])
        game = Game(ask, self.parts(ask), self.fill)
        values, error, base = self.solve(game)
        lay = game.players.values
        return Found(
            lay(values.T.to(ask.score), shared=self.shared),
            standard_error=None if error is None else lay(error.T.to(ask.score), shared=self.shared),
            base_score=base,
            extra={"players": values.T, "hidden_by": type(game.fill).__name__},
        )

    def parts(self, ask: Probe) -> Features | None:
        """The features asked about."""
        return self.features

    def solve(self, game: Game) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Values (n, batch), standard errors or None, and the score with everything hidden or None."""
        raise NotImplementedError


def joined(parts: list[Found]) -> Found:
    """The answers to single examples as one batch."""
    errors = [part.standard_error for part in parts if part.standard_error is not None]
    bases = [part.base_score for part in parts if part.base_score is not None]
    return Found(
        torch.cat([part.values for part in parts]),
        standard_error=torch.cat(errors) if errors else None,
        base_score=torch.cat(bases) if bases else None,
        extra={"players": [part.extra["players"] for part in parts], "hidden_by": parts[0].extra["hidden_by"]},
    )


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

    def solve(self, game: Game) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return game.full - game.lazily(one_out(game.n), game.n), None, None


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
