"""What a picture loses score for: size, roughness, being like its siblings or unlike where it began.

Pictures are measured as shares of their range, [0, 1]; 0.5 is mid-range. ``weight`` is in units of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.bound import full
from pellucid.errors import OptionError, ShapeError


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A weight times a number a row. ``coupled`` ones compare rows, which then climb in one batch."""

    coupled: ClassVar[bool] = False
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            got = f"{type(self).__name__}(weight={self.weight!r})"
            raise OptionError(expected="a weight of at least 0", got=got, do="It is taken off the score.")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose activations are needed."""
        return ()

    def __call__(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        """(rows,) what is taken off the score."""
        return self.weight * full(self.cost(painted, seen, begun))

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        """(rows,) before the weight."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class L1(Penalty):
    """The mean distance from mid-range.

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, penalties=[pl.L1(weight=2.0)]).score.shape
        torch.Size([1])
    """

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        return (painted - 0.5).abs().flatten(1).mean(1)


@dataclass(frozen=True, kw_only=True)
class L2(Penalty):
    """The mean squared distance from mid-range.

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, penalties=[pl.L2(weight=2.0)]).score.shape
        torch.Size([1])
    """

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        return (painted - 0.5).square().flatten(1).mean(1)


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Penalty):
    """The mean difference between neighbors along every axis of space or time.

    Source: Mahendran & Vedaldi 2015, arXiv:1412.0035.

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, penalties=[pl.TotalVariation()]).score.shape
        torch.Size([1])
    """

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        if painted.ndim < 3:
            raise no_space("TotalVariation")
        axes = range(2, painted.ndim)
        return torch.stack([painted.diff(dim=axis).abs().flatten(1).mean(1) for axis in axes]).sum(0)


@dataclass(frozen=True, kw_only=True)
class Roughness(Penalty):
    """High frequencies: the mean squared difference from a blurred copy (a mean over 3 places along every axis).

    Example:
        >>> import pellucid as pl
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, penalties=[pl.Roughness()]).score.shape
        torch.Size([1])
    """

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        if painted.ndim not in (3, 4):
            raise no_space("Roughness")
        image = painted if painted.ndim == 4 else painted.unsqueeze(2)
        kernel = (3 if image.shape[2] > 1 else 1, 3)
        padded = F.pad(image, (1, 1, kernel[0] // 2, kernel[0] // 2), mode="replicate")
        return (image - F.avg_pool2d(padded, kernel, 1)).square().flatten(1).mean(1)


@dataclass(frozen=True, kw_only=True)
class Diversity(Penalty):
    r"""How alike the textures of the variants of one unit are at a layer: the mean cosine of their Gram matrices.

    .. math:: \frac{1}{n-1}\sum_{j \neq i} \frac{\langle G_i, G_j\rangle}{\lVert G_i\rVert\,\lVert G_j\rVert},
        \qquad G = \sum_p h_p h_p^\top

    ``visualize(…, variants=n)`` uses it at the target's layer; name another with ``at``.

    Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill.

    Example:
        >>> import pellucid as pl
        >>> many = pl.Diversity(at="block2", weight=5.0)
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, variants=3, penalties=[many]).pictures.shape
        torch.Size([3, 1, 8, 8])
    """

    coupled: ClassVar[bool] = True
    at: str = ""
    variants: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.at,) if self.at else ()

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        maps = full(seen[self.at] if self.at else painted).flatten(2) if painted.ndim > 2 or self.at else painted
        maps = maps if maps.ndim == 3 else maps[..., None]
        gram = torch.einsum("rcp,rdp->rcd", maps, maps).flatten(1)
        gram = gram / gram.norm(dim=1, keepdim=True).clamp_min(1e-12)
        n = self.variants or len(gram)
        groups = gram.unflatten(0, (-1, n))
        alike = torch.einsum("gik,gjk->gij", groups, groups)
        return ((alike.sum(2) - alike.diagonal(dim1=1, dim2=2)) / max(n - 1, 1)).flatten()


@dataclass(frozen=True, kw_only=True)
class Alignment(Penalty):
    r"""How far apart the pictures of neighboring rows are, at a layer or (without ``at``) as they stand.

    .. math:: \tfrac12 \sum_{j = i \pm 1} \mathrm{mean}\,(h_i - h_j)^2

    With ``between(a, b, n)`` the pictures of two goals turn into each other place by place.

    Source: Mordvintsev, Pezzotti, Schubert & Olah 2018, "Differentiable Image Parameterizations", Distill.

    Example:
        >>> import pellucid as pl
        >>> ways = pl.between(pl.Class(3), pl.Class(8), 4)
        >>> pl.visualize(pl.load("demo:digits"), ways, steps=2, penalties=[pl.Alignment(weight=9.0)]).score.shape
        torch.Size([4])
    """

    coupled: ClassVar[bool] = True
    at: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.at,) if self.at else ()

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        maps = full(seen[self.at] if self.at else painted).flatten(1)
        apart = maps.diff(dim=0).square().mean(1) / 2
        return F.pad(apart, (1, 0)) + F.pad(apart, (0, 1))


@dataclass(frozen=True, kw_only=True)
class Resemblance(Penalty):
    r"""How far a layer has moved from where the ascent began, relative to its size there.

    .. math:: \frac{\lVert h(x) - h(x_0)\rVert^2}{\lVert h(x_0)\rVert^2}

    With ``visualize(…, start=picture)`` this is feature accentuation: what in a real picture speaks for the target.
    Without ``at`` the pictures themselves are compared.

    Source: Hamblin et al. 2024, arXiv:2402.10039 (there without the denominator, which makes layers comparable).

    Example:
        >>> import torch, pellucid as pl
        >>> digits, same = pl.load("demo:digits"), pl.Resemblance(at="block1", weight=10.0)
        >>> pl.visualize(digits, 3, steps=2, start=torch.zeros(1, 1, 8, 8), penalties=[same]).score.shape
        torch.Size([1])
    """

    at: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        return (self.at,) if self.at else ()

    def cost(self, painted: Tensor, seen: Mapping[str, Tensor], begun: Mapping[str, Tensor]) -> Tensor:
        now, then = (full(each).flatten(1) for each in (seen[self.at] if self.at else painted, begun[self.at]))
        return (now - then).square().sum(1) / then.square().sum(1).clamp_min(1e-12)


def no_space(name: str) -> ShapeError:
    """The error for inputs without neighbors."""
    return ShapeError(expected="inputs with space or time", got="rows of numbers", do=f"Leave {name} out.")
