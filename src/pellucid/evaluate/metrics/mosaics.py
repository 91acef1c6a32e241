"""Focus: on mosaics of pictures of two kinds, does the explanation of a class stay on the pictures of that class?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.core.bound import Studied
from pellucid.core.method import as_studied, option
from pellucid.core.run import current_settings
from pellucid.engines.points import generator
from pellucid.errors import OptionError, ShapeError
from pellucid.evaluate.metrics.localization import AttributionLocalization
from pellucid.evaluate.metrics.measure import Better, Measured, measure

TILES = 4


@dataclass(frozen=True, eq=False)
class Mosaics:
    """Pictures (n, channels, height, width) of 2 × 2 tiles, as the model reads them, and the class asked of each.

    ``tiles`` (n, 4) are the numbers of the pictures used, row by row, ``own`` (n, 4) which of them show that class;
    ``mask`` (n, height, width) is the same in pixels.
    """

    pictures: Tensor
    targets: tuple[int, ...]
    tiles: Tensor
    own: Tensor

    @property
    def mask(self) -> Tensor:
        """(n, height, width) the pixels of the tiles that show the class."""
        (high, wide), grid = self.pictures.shape[-2:], self.own.reshape(-1, 2, 2)
        return grid.repeat_interleave(high // 2, 1).repeat_interleave(wide // 2, 2)


def mosaics(pictures: Tensor, labels: Sequence[int], count: int, *, shrink: bool, seed: int) -> Mosaics:
    """Mosaics of two different pictures of a class and two of other classes, at random places.

    Pictures (n, channels, height, width) are laid side by side as they are, or halved first (``shrink``) so that the
    mosaic has the size of one picture. Classes take turns.
    """
    known = torch.as_tensor(labels).reshape(-1).cpu()
    usable = [int(each) for each in known.unique() if 2 <= int((known == each).sum()) <= len(known) - 2]
    if pictures.ndim != 4 or len(known) != len(pictures):
        want = f"pictures (n, channels, height, width) and a label each, here {len(known)}"
        raise ShapeError(expected=want, got=str(tuple(pictures.shape)), do="Give one class number a picture.")
    if not usable:
        do = "Give at least two pictures of one class and two of others."
        raise OptionError(expected="pictures of two classes", got=f"labels {known.unique().tolist()}", do=do)
    random = generator(seed, count)
    targets, tiles, own = [], [], []
    for k in range(count):
        target = usable[k % len(usable)]
        mine, others = (torch.nonzero(each)[:, 0] for each in (known == target, known != target))
        chosen = torch.cat([side[torch.randperm(len(side), generator=random)[:2]] for side in (mine, others)])
        order = torch.randperm(TILES, generator=random)
        targets.append(target)
        tiles.append(chosen[order])
        own.append(order < 2)
    if shrink:
        half = (pictures.shape[-2] // 2, pictures.shape[-1] // 2)
        pictures = interpolate(pictures, size=half, mode="area")
    laid = pictures[torch.stack(tiles).to(pictures.device)]
    rows = [torch.cat([laid[:, i], laid[:, i + 1]], -1) for i in (0, 2)]
    return Mosaics(torch.cat(rows, -2), tuple(targets), torch.stack(tiles), torch.stack(own))


@dataclass(frozen=True, kw_only=True, eq=False)
class Focus:
    r"""The share of positive evidence for a class that lies on the tiles of a mosaic that show it.

    .. math:: \frac{\sum_{i \in T} \max(a_i, 0)}{\sum_i \max(a_i, 0)}

    A mosaic has two pictures of the class and two of others. Pictures and their labels are needed, but no masks. Chance
    level: 1/2. A model that cannot tell the two apart gets a low focus with a right explanation, too.

    Shapes: one number in [0, 1] a mosaic; pictures (n, channels, height, width) or as the model's modality reads them.
    Cost:   the method once a mosaic.
    Raises: OptionError without two pictures of one class and two of others; ShapeError for inputs other than pictures.
    Source: Arias-Duart et al. 2022, arXiv:2109.15035, eq. 1.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> demo = parts("digits")
        >>> focus = pl.metrics.Focus(pictures=demo.examples[:40], labels=demo.labels[:40], count=4)
        >>> 0 <= focus(pl.InputXGradient(), pl.load("demo:digits")).value <= 1
        True
    """

    pictures: Any = option(help="pictures of at least two classes")
    labels: Any = option(help="the class number of each")
    count: int = option(20, at_least=1, help="how many mosaics")
    size: str = option("picture", choices=("picture", "tiles"), help="halve tiles to a picture's size, or keep theirs")

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "plausibility"
    paper: ClassVar[str] = "Arias-Duart et al. 2022, arXiv:2109.15035"
    units: ClassVar[str] = "share of positive evidence"

    def __call__(self, method: Any, model: Any) -> Any:
        """The focus of a method on a model, or of a list of methods on the same mosaics."""
        studied = as_studied(model)
        made = self.mosaics(studied)
        methods = list(method) if isinstance(method, list | tuple) else [method]
        results = [each(studied, made.pictures, list(made.targets)) for each in methods]
        table = measure(results, studied, metrics=[AttributionLocalization(mask=made.mask)])
        measured: list[Measured] = [replace(each[0], name=type(self).__name__) for each in table.measured]
        return measured if isinstance(method, list | tuple) else measured[0]

    def mosaics(self, model: Studied) -> Mosaics:
        """The mosaics, as the model reads pictures; the same for the same seed."""
        read = model.read(self.pictures).values
        shrink, seed = self.size == "picture", current_settings().seed
        return mosaics(read, self.labels, self.count, shrink=shrink, seed=seed)
