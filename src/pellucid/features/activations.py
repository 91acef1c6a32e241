"""Activations of any layers for a few inputs, in one pass, and grids of their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Bars, Figure, Grid, Maps, Matrix, robust_limit
from pellucid.core.modality import Modality, Text
from pellucid.core.run import CURRENT, Receipt, Run
from pellucid.engines.sweep import sweep
from pellucid.errors import InputError, LayerError, NonFiniteError, OptionError, nearest
from pellucid.features.saving import save_tensors
from pellucid.features.units import Place, places, torch_model

Array = NDArray[Any]
Order = Literal["mean", "variance", "maximum", "index"]
Scale = Literal["common", "own"]
ORDERS = ("mean", "variance", "maximum", "index")
SCALES = ("common", "own")
PAGE = 48


@dataclass
class Keep:
    """Keeps the activations of a layer; the pass may write over them."""

    pieces: list[Tensor] = field(default_factory=list)

    def read(self, values: Tensor, rows: Tensor) -> None:
        self.pieces.append(values.detach().clone())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Activations:
    """What layers answer to some inputs: ``values["layer"]`` (rows, \\*shape).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 3), torch.nn.ReLU())
        >>> found = pl.activations(net, torch.rand(2, 1, 8), ["1"])
        >>> found.maps("1").shape
        (4, 6)
    """

    values: Mapping[str, Tensor]
    places: Mapping[str, Place]
    inputs: Tensor
    modality: Modality
    receipt: Receipt

    def __len__(self) -> int:
        return len(self.inputs)

    def maps(self, layer: str, row: int = 0) -> Array:
        """The maps of one row: (units, \\*space)."""
        if layer not in self.values:
            raise LayerError(expected="a layer that was kept", got=repr(layer), do=nearest(layer, self.values))
        if isinstance(row, bool) or not -len(self) <= row < len(self):
            do = "Ask for one that was passed."
            raise InputError(expected=f"a row 0 … {len(self) - 1}", got=str(row), do=do)
        values = self.values[layer][row : row + 1 or None]
        return np.asarray(self.places[layer].maps(values)[0].double().cpu())

    def order(self, layer: str, row: int = 0, by: Order = "mean") -> Array:
        """The numbers of units, the most active first: by mean, variance or maximum of their maps, or as they are."""
        checked("order", by, ORDERS)
        maps = self.maps(layer, row)
        flat = maps.reshape(len(maps), -1)
        if by == "index":
            return np.arange(len(maps))
        size = flat.mean(1) if by == "mean" else flat.var(1) if by == "variance" else flat.max(1)
        return np.argsort(-size, kind="stable")

    def pages(self, layer: str, per_page: int | None = None) -> int:
        """How many pages of maps a layer has."""
        return -(-self.places[layer].units // (per_page or per_page_of(self.places[layer])))

    def figure(
        self,
        layer: str | None = None,
        row: int = 0,
        page: int = 1,
        *,
        order: Order = "mean",
        scale: Scale = "common",
        per_page: int | None = None,
    ) -> Figure:
        """A page of the maps of a layer (the last one without a name), the most active first.

        Maps are drawn on one scale for the whole layer ("common"), or each up to its own maximum ("own"). Curves for
        one axis of space, middle slices for three, tokens × units for texts, bars for dense layers.
        """
        layer = list(self.values)[-1] if layer is None else layer
        maps, ranked = self.maps(layer, row), self.order(layer, row, order)
        checked("scale", scale, SCALES)
        per_page = per_page or per_page_of(self.places[layer])
        last = self.pages(layer, per_page)
        if not 1 <= page <= last:
            raise InputError(expected=f"a page 1 … {last}", got=str(page), do=f"{layer!r} has {len(maps)} units.")
        chosen = ranked[(page - 1) * per_page : page * per_page]
        title, told = self.titles(layer, row, order, (page, last), len(maps))
        if maps.ndim == 1:
            return unit_bars(maps, chosen, title, told)
        if self.places[layer].tokens:
            return self.token_matrix(maps, chosen, row, title, told)
        shown = maps[chosen]
        while shown.ndim > 3:
            shown = shown[:, shown.shape[1] // 2]
        told += "; the middle slices" if maps.ndim > 3 else ""
        return Maps(
            title=title,
            caption=f"{told}; {'one scale' if scale == 'common' else 'each on its own scale'}.",
            alt=f"{title}: {len(chosen)} of {len(maps)} maps, the first is unit {chosen[0]}",
            values=shown,
            names=tuple(str(unit) for unit in chosen),
            limit=robust_limit(maps),
            signed=bool((maps < 0).any()),
            own=scale == "own",
        )

    def titles(self, layer: str, row: int, order: str, page: tuple[int, int], units: int) -> tuple[str, str]:
        """The title, and how units are ordered."""
        title = f"{layer} · row {row}" + (f" · page {page[0]} of {page[1]}" if page[1] > 1 else "")
        return title, f"{units} units" + ("" if order == "index" else f", the largest {order} first")

    def token_matrix(self, maps: Array, chosen: Array, row: int, title: str, told: str) -> Matrix:
        """Tokens across, the most active units down."""
        ids, tokens = self.inputs[row].cpu().numpy(), tuple(str(i) for i in range(maps.shape[1]))
        kept = np.arange(maps.shape[1])
        if isinstance(self.modality, Text) and len(ids) == maps.shape[1]:
            tokens = self.modality.tokens(ids)
            kept = np.flatnonzero(ids != self.modality.pad_id)
        return Matrix(
            title=title,
            caption=f"{told}.",
            alt=f"{title}: {len(chosen)} units by {len(kept)} tokens",
            values=maps[chosen][:, kept],
            row_names=tuple(f"unit {unit}" for unit in chosen),
            column_names=tuple(tokens[i] for i in kept),
            limit=robust_limit(maps[:, kept]),
            signed=bool((maps < 0).any()),
            sense="activation",
        )

    def plot(self, layer: str | None = None, row: int = 0, page: int = 1, **options: Any) -> Any:
        """Draw with matplotlib."""
        return self.figure(layer, row, page, **options).plot()

    def save(self, path: Any) -> None:
        """Write all values and a JSON header to one safetensors file."""
        save_tensors(path, {**self.values, "inputs": self.inputs}, "activations", {"layers": list(self.values)})

    def _repr_html_(self) -> str:
        shown = list(self.values)[-2:]
        return Grid(figures=tuple(self.figure(layer) for layer in shown), columns=1).html()

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {tuple(each.shape[1:])}" for name, each in list(self.values.items())[:6])
        more = f", … ({len(self.values)} layers)" if len(self.values) > 6 else ""
        return f"Activations: {len(self)} rows; {shapes}{more} · {self.receipt}"


def activations(model: Any, inputs: Any, layers: str | Sequence[str] | None = None) -> Activations:
    """Keep what layers answer to some inputs, in one pass that ends after the last layer needed.

    Without ``layers``, every call of every layer that computes something of its own. A layer's second call is
    ``"layer@2"``, what goes into it ``"layer:input"``. For whole data sets see ``unit_statistics`` and
    ``top_examples``, which keep no activations; which part of an input a unit answers to is shown by
    ``pl.Saliency()(model, inputs, target=pl.Neuron(layer, channel=unit))``.

    Raises: LayerError for a layer that does not exist or is not called.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.activations(pl.load("demo:digits"), parts("digits").examples[:2], ["stem", "block2"])
        >>> found.values["block2"].shape
        torch.Size([2, 48, 4, 4])
    """
    studied = torch_model(model)
    run = Run(CURRENT.get(), studied.device)
    leaves = studied.read(inputs)
    met = places(studied, leaves, layers)
    kept = {each.name: Keep() for each in met}
    with run.progress("activations"):
        sweep(studied, [whole(leaves)], {name: [each] for name, each in kept.items()}, run)
    values = {name: torch.cat(each.pieces) for name, each in kept.items()}
    for name, each in values.items():
        if not bool(torch.isfinite(each).all()):
            do = "Check the weights and the scale of the inputs."
            raise NonFiniteError(expected=f"finite activations of {name!r}", got="NaN or infinity", do=do)
    return Activations(
        values=values,
        places={each.name: each for each in met},
        inputs=leaves.values,
        modality=studied.modality,
        receipt=run.receipt(),
    )


def whole(leaves: Any) -> Any:
    """Prepared inputs in their structure."""
    from torch.utils import _pytree as pytree

    return pytree.tree_unflatten(list(leaves.tensors), leaves.spec)


def unit_bars(values: Array, chosen: Array, title: str, told: str) -> Bars:
    """A bar a unit."""
    return Bars(
        title=title,
        caption=f"{told}.",
        alt=f"{title}: {len(values)} units, the first is unit {chosen[0]}, {values[chosen[0]]:.3g}",
        labels=tuple(f"unit {unit}" for unit in chosen),
        values=values[chosen],
        signed=bool((values < 0).any()),
        sense="activation",
    )


def per_page_of(place: Place) -> int:
    """How many units are drawn at once: rows of a matrix, bars, or maps."""
    return 24 if place.tokens or not place.space else PAGE


def checked(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an option that is none of the choices."""
    if value not in choices:
        raise OptionError(expected=f"{name} one of {choices}", got=repr(value), do=nearest(str(value), choices))
