"""Parts of a picture that follow its edges: superpixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.core.modality import Images
from pellucid.core.probe import Probe
from pellucid.engines.features.players import Features, Parts, Players
from pellucid.errors import OptionError, ShapeError

WAYS = ("slic", "quickshift", "felzenszwalb", "grid")
INSTALL = "pip install 'pellucid[segments]'"
Labels = NDArray[Any]


@dataclass(frozen=True)
class Superpixels(Features):
    """About ``n`` regions of like color, all channels together; every picture has its own.

    ``by`` names the algorithm: ``"slic"`` (Achanta et al. 2012; a higher ``compactness`` gives squarer regions),
    ``"quickshift"`` (Vedaldi & Soatto 2008), ``"felzenszwalb"`` (Felzenszwalb & Huttenlocher 2004) or ``"grid"``.
    Without a name it is SLIC; a grid, and a note, where scikit-image is not installed.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 1))
        >>> heat = pl.Ablation(features=pl.Superpixels(4, by="grid"))(net, torch.rand(1, 1, 16, 16))
        >>> heat.extra["names"]
        ('segment 0', 'segment 1', 'segment 2', 'segment 3')
    """

    n: int = 50
    by: str | None = None
    compactness: float = 10.0

    def alike(self, ask: Probe) -> bool:
        return self.by == "grid"

    def __call__(self, ask: Probe) -> Players:
        shape = tuple(ask.inputs.shape[1:])
        self._check(ask, shape)
        labels, notes = self._labels(ask, shape)
        _, dense = np.unique(labels, return_inverse=True)
        count = int(dense.max()) + 1
        names = tuple(f"segment {i}" for i in range(count))
        return Parts(torch.from_numpy(dense.reshape(1, 1, *shape[1:])), count, shape, names, notes)

    def _check(self, ask: Probe, shape: tuple[int, ...]) -> None:
        """Refuse options and inputs that superpixels make no sense for."""
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise OptionError(expected="a number of superpixels ≥ 1", got=repr(self.n), do="Use Superpixels(50).")
        if self.by is not None and self.by not in WAYS:
            raise OptionError(expected=f"one of {WAYS}", got=repr(self.by), do='Use by="slic".')
        if not 0 < self.compactness < float("inf"):
            raise OptionError(expected="compactness above 0", got=repr(self.compactness), do="Use compactness=10.")
        if ask.site is not None:
            do = "Use Patches or Groups at a hidden layer."
            raise ShapeError(expected="the inputs", got=f"layer {ask.site}", do=do)
        if ask.leaves.integer or len(shape) != 3 or shape[0] not in (1, 3):
            do = "Use Patches, Windows, Columns or Words."
            raise ShapeError(expected="pictures (batch, 1 or 3, height, width)", got=f"rows of {shape}", do=do)
        if len(ask.inputs) != 1 and not self.alike(ask):
            raise ShapeError(expected="one picture", got=str(len(ask.inputs)), do="Ask one example at a time.")

    def _labels(self, ask: Probe, shape: tuple[int, ...]) -> tuple[Labels, tuple[str, ...]]:
        """The region of each place, and what to say about it."""
        if self.by == "grid":
            return grid(shape[1:], self.n), ()
        try:
            made: Any = import_module("skimage.segmentation")
        except ImportError:
            if self.by is None:
                return grid(shape[1:], self.n), (f"The superpixels are squares: scikit-image is missing ({INSTALL}).",)
            raise OptionError(expected="scikit-image", got="no such package", do=f"Install it: {INSTALL}.") from None
        picture, n = colors(ask), min(self.n, shape[1] * shape[2])
        if self.by == "quickshift":
            return quickshifted(made.quickshift, picture, n), ()
        if self.by == "felzenszwalb":
            least = max(2, shape[1] * shape[2] // (4 * n))
            return bisected(lambda scale: made.felzenszwalb(picture, scale=scale, min_size=least), n), ()
        several = (round(n * more) for more in (1, 1.2, 1.5, 2, 3, 4))  # SLIC joins small regions to their neighbors
        slic = partial(made.slic, picture, compactness=self.compactness, start_label=0, channel_axis=-1)
        return nearest_count((slic(n_segments=each) for each in several), n), ()


def colors(ask: Probe) -> Labels:
    """The picture (height, width, 3) in [0, 1], as people see it: without the normalization of the model."""
    x, modality = np.asarray(ask.inputs[0].double().cpu()), ask.model.modality
    if isinstance(modality, Images):
        return modality.pixels(x) / 255
    shown = (x - x.min()) / max(float(np.ptp(x)), 1e-12)
    return np.repeat(shown, 3 // len(shown), 0).transpose(1, 2, 0)


def grid(space: tuple[int, ...], n: int) -> Labels:
    """About n rectangles, as square as possible.

    >>> grid((2, 4), 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    height, width = space
    rows = min(height, n, max(1, round((n * height / width) ** 0.5)))
    columns = min(width, max(1, round(n / rows)))
    return (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width


def quickshifted(quickshift: Any, picture: Labels, n: int) -> Labels:
    """Quickshift's regions, about n: where they are large, of a smaller copy, because it takes time ∝ their area."""
    height, width = picture.shape[:2]
    wide = max(1.0, (height * width / n) ** 0.5 / 8)
    step = ceil(wide / 3)
    small = picture[::step, ::step]
    labels = bisected(lambda reach: quickshift(small, kernel_size=wide / step, max_dist=reach), n)
    return labels.repeat(step, 0).repeat(step, 1)[:height, :width]


def bisected(make: Callable[[float], Labels], n: int) -> Labels:
    """The labels whose number is nearest to n, where a larger option, between 10⁻² and 10⁴, makes fewer."""

    def search() -> Iterator[Labels]:
        low, high = -2.0, 4.0
        for _ in range(8):
            middle = (low + high) / 2
            yield (labels := make(10**middle))
            low, high = (middle, high) if len(np.unique(labels)) > n else (low, middle)

    return nearest_count(search(), n)


def nearest_count(several: Iterable[Labels], n: int) -> Labels:
    """Those labels whose number is nearest to n."""
    return min(several, key=lambda labels: abs(len(np.unique(labels)) - n))
