"""The filters of a layer as pictures: what the first layer of a network looks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from pellucid.core.figure import Figure, Maps, Matrix, Tiles
from pellucid.core.modality import Images
from pellucid.core.model import Model
from pellucid.core.run import undisturbed
from pellucid.core.site import layer_names
from pellucid.errors import InputError, LayerError, NonFiniteError
from pellucid.features.activations import checked
from pellucid.features.kernels import filters_of
from pellucid.features.saving import save_tensors
from pellucid.features.spectra import DEAD
from pellucid.features.units import torch_model

Array = NDArray[Any]
Scale = Literal["each", "together"]
Channels = Literal["maps", "projection"]
SCALES = ("each", "together")
ACROSS = 12
PAGE = 96
ROWS = 12
MOST_MAPS = 8


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Filters:
    """The filters of a layer: ``values`` (filters, channels, \\*space).

    Gray is zero in every picture. With ``scale="each"`` the largest weight of each filter has full contrast, with
    ``scale="together"`` the largest of all, so that weak filters look weak.

    Example:
        >>> import torch, pellucid as pl
        >>> found = pl.filters(torch.nn.Conv2d(3, 16, 5))
        >>> tuple(found.values.shape), found.pictures().shape
        ((16, 3, 5, 5), (16, 5, 5, 3))
    """

    values: Tensor
    layer: str
    kind: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a filter."""
        return tuple(self.values.shape[2:])

    def array(self) -> Array:
        """The values in double precision."""
        return np.asarray(self.values.detach().double().cpu())

    def limits(self, scale: Scale = "each") -> Array:
        """The weight (filters,) that has full contrast."""
        checked("scale", scale, SCALES)
        largest = np.abs(self.array()).reshape(len(self), -1).max(1)
        limits = largest if scale == "each" else np.full(len(self), largest.max())
        return np.where(limits > 0, limits, 1.0)

    def pictures(self, scale: Scale = "each") -> NDArray[np.uint8]:
        """Filters (filters, height, width, 3) uint8, gray or in color; of other channels, their projection."""
        values = self.projected()
        limit = self.limits(scale) if values.shape[1] in (1, self.values.shape[1]) else None
        return shades(values, top(values, scale) if limit is None else limit)

    def projected(self) -> Array:
        """Filters with one or three channels: others' three main directions over all filters and places."""
        values = self.array()
        channels = values.shape[1]
        if channels in (1, 3):
            return values
        rows = np.moveaxis(values, 1, -1).reshape(-1, channels)
        _, directions = np.linalg.eigh(rows.T @ rows)
        main = directions[:, ::-1][:, :3]
        main = main * np.where(np.take_along_axis(main, np.abs(main).argmax(0)[None], 0) < 0, -1.0, 1.0)
        if channels == 2:
            main = np.pad(main, ((0, 0), (0, 1)))
        return np.moveaxis(np.moveaxis(values, 1, -1) @ main, -1, 1)

    def pages(self, channels: Channels | None = None, per_page: int | None = None) -> int:
        """How many pages there are."""
        return -(-len(self) // (per_page or self.per_page(self.way(channels))))

    def way(self, channels: Channels | None) -> str:
        """How channels are shown: as a picture where there are one or three; else each as a map, or by a projection."""
        if channels is not None:
            checked("channels", channels, ("maps", "projection"))
            return channels
        count = self.values.shape[1]
        return "picture" if count in (1, 3) else "maps" if count <= MOST_MAPS else "projection"

    def per_page(self, way: str) -> int:
        """How many filters stand on a page."""
        rows = len(self.space) == 3 or (way == "maps" and len(self.space) == 2)
        return ROWS if rows else PAGE

    def figure(
        self,
        scale: Scale = "each",
        page: int = 1,
        *,
        channels: Channels | None = None,
        per_page: int | None = None,
    ) -> Figure:
        """A page of filters, in their order: pictures; curves or maps along time; slices of volumes.

        ``channels="maps"`` shows each channel by itself in gray, "projection" their three main directions as colors.
        """
        checked("scale", scale, SCALES)
        way = self.way(channels)
        size, last = per_page or self.per_page(way), self.pages(channels, per_page)
        if not 1 <= page <= last:
            raise InputError(expected=f"a page 1 … {last}", got=str(page), do=f"There are {len(self)} filters.")
        units = list(range((page - 1) * size, min(page * size, len(self))))
        title = f"{self.layer} · {len(self)} filters" + (f" · page {page} of {last}" if last > 1 else "")
        rank = len(self.space)
        if rank == 1:
            return self.along_time(units, scale, title)
        if rank == 0 or max(self.space) == 1:
            return self.as_matrix(units, title)
        if rank == 3:
            return self.slices(units, scale, title)
        return self.by_channel(units, scale, title) if way == "maps" else self.grid(units, scale, title)

    def grid(self, units: list[int], scale: Scale, title: str) -> Tiles:
        """A picture a filter."""
        pictures, names = self.pictures(scale), self.names()
        lines = [units[i : i + ACROSS] for i in range(0, len(units), ACROSS)]
        count = self.values.shape[1]
        told = "" if count in (1, 3) else f" {count} channels, their three main directions as red, green and blue."
        return Tiles(
            title=title,
            caption=self.told(scale) + told,
            alt=f"{title}: pictures of {len(units)} filters, {' by '.join(map(str, self.space))}",
            rows=tuple(tuple(pictures[unit] for unit in line) for line in lines),
            labels=tuple(tuple(names[unit] for unit in line) for line in lines),
            row_names=tuple("" for _ in lines),
        )

    def by_channel(self, units: list[int], scale: Scale, title: str) -> Tiles:
        """A row a filter, a gray map a channel: those with the largest weights where there are many."""
        values, limits = self.array(), self.limits(scale)
        count = values.shape[1]
        kept = np.sort(np.argsort(-np.abs(values).sum((0, 2, 3)), kind="stable")[:ACROSS])
        rows = [tuple(shades(values[unit, kept][:, None], np.full(len(kept), limits[unit]))) for unit in units]
        told = f" The {len(kept)} of {count} channels with the largest weights." if len(kept) < count else ""
        return Tiles(
            title=title,
            caption=self.told(scale) + told,
            alt=f"{title}: {len(kept)} channels of each of {len(units)} filters",
            rows=tuple(rows),
            labels=tuple(tuple(f"channel {i}" for i in kept) for _ in units),
            row_names=tuple(f"filter {unit}" for unit in units),
        )

    def slices(self, units: list[int], scale: Scale, title: str) -> Tiles:
        """A row a filter, a picture a slice of its depth."""
        values = self.projected()
        limits = top(values, scale)
        count, depth = self.values.shape[1], self.space[0]
        kept = np.unique(np.linspace(0, depth - 1, min(depth, ACROSS)).round().astype(int))
        rows = [tuple(shades(values[unit][:, kept].swapaxes(0, 1), np.full(len(kept), limits[unit]))) for unit in units]
        told = "" if count in (1, 3) else f" {count} channels, their three main directions as red, green and blue."
        return Tiles(
            title=title,
            caption=self.told(scale) + told,
            alt=f"{title}: {len(kept)} slices of each of {len(units)} filters",
            rows=tuple(rows),
            labels=tuple(tuple(f"slice {i}" for i in kept) for _ in units),
            row_names=tuple(f"filter {unit}" for unit in units),
        )

    def along_time(self, units: list[int], scale: Scale, title: str) -> Maps:
        """A curve a filter of one channel; of several, a map of channels by time."""
        values = self.array()
        one = values.shape[1] == 1
        return Maps(
            title=title,
            caption=f"{'Weights' if one else 'Channels down'}, time across; {self.told(scale, gray=False)}",
            alt=f"{title}: {len(units)} filters of {self.space[0]} steps",
            values=values[units][:, 0] if one else values[units],
            names=tuple(self.names()[unit] for unit in units),
            limit=float(self.limits("together")[0]),
            signed=True,
            own=scale == "each",
            columns=6 if one else 8,
            sense="weight",
        )

    def as_matrix(self, units: list[int], title: str) -> Matrix:
        """Filters without places: what each reads of each channel."""
        values = self.array().reshape(len(self), -1)
        kept = np.sort(np.argsort(-np.abs(values).sum(0), kind="stable")[:48])
        return Matrix(
            title=title,
            caption=f"The {len(kept)} of {values.shape[1]} channels with the largest weights."
            * (len(kept) < values.shape[1]),
            alt=f"{title}: {len(units)} filters by {len(kept)} channels",
            values=values[units][:, kept],
            row_names=tuple(map(str, units)),
            column_names=tuple(f"channel {i}" for i in kept),
            limit=float(self.limits("together")[0]),
            signed=True,
            sense="weight",
        )

    def told(self, scale: Scale, *, gray: bool = True) -> str:
        """What full contrast means."""
        weights = np.abs(self.array()).reshape(len(self), -1).max(1)
        zero, most = "Gray is zero; " if gray else "", f"±{weights.max():.2g}"
        if scale == "together":
            return f"{zero}one scale for all, up to {most}."
        least = f"±{weights.min():.2g}"
        return f"{zero}each on its own scale, up to {most if least == most else f'{least} … {most}'}."

    def names(self) -> list[str]:
        """The numbers of filters, and which of them are dead: of a norm of at most a hundredth of the largest."""
        norms = np.linalg.norm(self.array().reshape(len(self), -1), axis=1)
        return [f"{i} · dead" if norm <= DEAD * norms.max() else str(i) for i, norm in enumerate(norms)]

    def plot(self, scale: Scale = "each", page: int = 1, **options: Any) -> Any:
        """Draw with matplotlib."""
        return self.figure(scale, page, **options).plot()

    def save(self, path: Any) -> None:
        """Write the values and a JSON header to one safetensors file."""
        save_tensors(path, {"filters": self.values}, "filters", {"layer": self.layer, "kind": self.kind})

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.values.shape[1:]))
        return f"Filters: {len(self)} of {self.layer!r} ({self.kind}), {shape}"


def filters(model: Any, layer: str | None = None) -> Filters:
    """The filters of the first convolution, or of ``layer``, as they can be looked at.

    The first is the one that the forward pass meets first, where the model has been asked something; else the first
    that was built. Of a model that reads pictures and has no convolution, the first dense layer whose inputs are the
    pixels of a picture. Filters act on inputs as the model takes them: normalized ones.

    Raises: LayerError for a model without either, and for a layer without filters; NonFiniteError for NaN.

    Example:
        >>> import pellucid as pl
        >>> pl.filters(pl.load("demo:digits"))
        Filters: 24 of 'stem.0' (Conv2d), 1 × 3 × 3
    """
    studied = torch_model(model)
    with undisturbed(), studied.session():
        name, part = first(studied) if layer is None else named(studied, layer)
        values = filters_of(part) if isinstance(part, _ConvNd) else as_pictures(studied, name, part)
        values = values.clone()
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        do = "Load other weights: training has diverged, or the file is broken."
        raise NonFiniteError(expected=f"finite weights of {name!r}", got=f"{bad} NaN or infinite values", do=do)
    return Filters(values=values, layer=name, kind=type(part).__name__)


def named(model: Model, layer: str) -> tuple[str, nn.Module]:
    """A layer by its name, and whether it has filters."""
    part = dict(model.module.named_modules()).get(layer)
    if part is None:
        raise LayerError(expected="the name of a layer", got=repr(layer), do=layer_names(model.module, str(layer)))
    if not isinstance(part, _ConvNd | nn.Linear):
        do = f"Those with filters: {', '.join(with_filters(model)[:8]) or 'none'}."
        raise LayerError(expected="a convolution or a dense layer", got=f"{layer!r}, a {type(part).__name__}", do=do)
    return layer, part


def with_filters(model: Model) -> list[str]:
    """The names of convolutions, in the order in which the pass meets them, where that is known."""
    parts = [name for name, part in model.module.named_modules() if isinstance(part, _ConvNd)]
    met = {each.name: each.order for each in model.layers() if each.order >= 0}
    return sorted(parts, key=lambda name: met.get(name, len(met) * (name not in met)))


def first(model: Model) -> tuple[str, nn.Module]:
    """The first convolution; of pictures without one, the first dense layer over pixels."""
    known = dict(model.module.named_modules())
    if found := with_filters(model):
        return found[0] or type(model.module).__name__, known[found[0]]
    if isinstance(model.modality, Images):
        for name, part in known.items():
            if isinstance(part, nn.Linear) and picture_shape(model, part.in_features) is not None:
                return name or type(part).__name__, part
    kinds = Counter(type(part).__name__ for part in known.values() if not list(part.children()))
    got = ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common(6)) or "no layers"
    do = "See pl.weights(model) for the weights of these layers."
    if "Linear" in kinds:
        do = "Say that it reads pictures, pl.Model(module, inputs=pl.Images(…)), if a dense layer reads pixels; or see "
        do += "pl.weights(model)."
    raise LayerError(expected="a model with a convolution", got=got, do=do)


def picture_shape(model: Model, numbers: int) -> tuple[int, int, int] | None:
    """Channels, height and width of pictures of so many numbers: as those last seen, as said, or a square."""
    channels = len(model.modality.mean) if isinstance(model.modality, Images) else 1
    size = getattr(model.modality, "size", None)
    seen = None if model._sample is None else tuple(model._sample.values.shape[1:])
    if seen is not None and len(seen) == 3 and int(np.prod(seen)) == numbers:
        return seen
    if size is not None and channels * size[0] * size[1] == numbers:
        return channels, int(size[0]), int(size[1])
    for count in (channels, 1):
        side = round((numbers / count) ** 0.5)
        if side > 1 and count * side * side == numbers:
            return count, side, side
    return None


def as_pictures(model: Model, name: str, part: nn.Module) -> Tensor:
    """The weights of a dense layer (units, channels, height, width) as of the pictures that it reads."""
    weight: Tensor = part.weight.detach()  # type: ignore[operator]
    shape = picture_shape(model, weight.shape[1])
    if shape is None or not isinstance(model.modality, Images):
        do = "Name a convolution; or see pl.weights(model) for its histogram and spectrum."
        got = f"{name!r}, a dense layer of {weight.shape[1]} inputs that are no pixels"
        raise LayerError(expected="a layer whose filters are pictures", got=got, do=do)
    return weight.reshape(-1, *shape)


def top(values: Array, scale: Scale) -> Array:
    """The largest magnitude of each row, or of all."""
    largest = np.abs(values).reshape(len(values), -1).max(1)
    limits = largest if scale == "each" else np.full(len(values), largest.max())
    return np.where(limits > 0, limits, 1.0)


def shades(values: Array, limits: Array) -> NDArray[np.uint8]:
    """Weights (n, 1 or 3, height, width) as pictures (n, height, width, 3): gray is zero, limits black and white."""
    share = 0.5 + 0.5 * values / limits[:, None, None, None]
    pixels = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(np.repeat(pixels, 3, 1) if pixels.shape[1] == 1 else pixels, 1, -1))
