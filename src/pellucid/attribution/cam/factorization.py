"""Deep feature factorization: a layer's maps as a few patterns that the pictures share."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.attribution.cam.asking import outermost
from pellucid.attribution.cam.seam import Maps, last_maps, maps_of
from pellucid.core.bound import Studied
from pellucid.core.figure import Figure, Grid, robust_limit
from pellucid.core.method import Method, as_studied, option, question
from pellucid.core.modality import Modality
from pellucid.core.probe import Probe
from pellucid.core.run import Receipt, undisturbed
from pellucid.engines.replay import replayed
from pellucid.errors import InputError, OptionError

ROUNDS = 500


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Factorization:
    """Patterns that a layer's maps are made of, the largest first, and where each is in every picture.

    ``maps`` (batch, concepts, \\*space) ≥ 0, ``directions`` (concepts, channels) of length 1, ``effects`` (batch,
    concepts) what the target loses without a pattern, ``explained`` the share of the squared activations that the
    patterns make up.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.DeepFeatureFactorization(concepts=3)(pl.load("demo:digits"), parts("digits").examples[:5])
        >>> len(found), found.directions.shape, found.layer
        (5, torch.Size([3, 48]), 'block2')
    """

    maps: Tensor
    directions: Tensor
    effects: Tensor
    explained: float
    layer: str
    inputs: Tensor
    modality: Modality
    words: tuple[str, ...]
    receipt: Receipt
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.maps)

    def figure(self, row: int = 0) -> Figure:
        """Where each pattern is in one picture, all on one scale."""
        if not -len(self) <= row < len(self):
            raise InputError(expected=f"a row 0 … {len(self) - 1}", got=str(row), do="Ask for one that was given.")
        maps, inputs = (np.asarray(each[row].detach().cpu()) for each in (self.maps.double(), self.inputs))
        effects = self.effects[row].tolist()
        drawn = tuple(
            self.modality.map_figure(
                each[None], inputs, title=f"pattern {i + 1} · effect {effects[i]:+.3g}", limit=robust_limit(maps)
            )
            for i, each in enumerate(maps)
        )
        return Grid(
            title=f"patterns of {self.layer}",
            figures=drawn,
            caption=f"effect on the {self.words[row]}; {100 * self.explained:.0f} % of the squared activations",
            alt=f"{len(maps)} maps of patterns of {self.layer}",
        )

    def plot(self, row: int = 0) -> Any:
        """Draw with matplotlib."""
        return self.figure(row).plot()

    def _repr_html_(self) -> str:
        return self.figure().html()

    def __repr__(self) -> str:
        share = f"{100 * self.explained:.3g} % of the squared activations"
        return f"{self.maps.shape[1]} patterns of {self.layer}: {share} · {self.receipt}"


@dataclass(frozen=True, kw_only=True)
class DeepFeatureFactorization(Method):
    r"""Splits the maps of a layer, of all pictures together, into a few patterns that only add up.

    .. math:: \max(A, 0) \approx H W, \quad H \ge 0 \text{ (places × concepts)},
        \; W \ge 0 \text{ (concepts × channels)}

    Solved by scikit-learn's non-negative matrix factorization from a start that is not random. What the target loses
    without a pattern is asked of the model: :math:`f(A) - f(A - H_c W_c)`.

    Shapes: inputs (batch, …) → a Factorization: maps (batch, concepts, \*space of the layer).
    Units:  maps: activation; effects: target.
    Cost:   2 forward passes and one backward pass down to the layer; one pass a concept that begins at the layer.
    Raises: OptionError for more concepts than channels or places; ShapeError for a layer without maps.
    Source: Collins, Achanta & Süsstrunk 2018, arXiv:1806.10206, section 3.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
        ... )
        >>> pl.DeepFeatureFactorization(concepts=2)(net, torch.rand(3, 1, 8, 8)).maps.shape
        torch.Size([3, 2, 6, 6])
    """

    paper: ClassVar[str] = "Collins, Achanta & Süsstrunk 2018, arXiv:1806.10206"
    units: ClassVar[str] = "activation"

    concepts: int = option(4, at_least=1, help="how many patterns the maps are split into")
    layer: str | None = option(None, help="the layer whose maps are split; the last one with maps without")

    def __call__(self, model: Studied | nn.Module, inputs: Any, target: Any = None) -> Factorization:
        """Split the maps that a layer of ``model`` gives for ``inputs``."""
        with undisturbed():
            ask = question(as_studied(model), inputs, target)
            with ask.model.session(), ask.run.progress(type(self).__name__):
                found = last_maps(ask) if self.layer is None else maps_of(ask.capture(self.layer)[0], ask)
                return self.split(found, ask)

    def split(self, maps: Maps, ask: Probe) -> Factorization:
        """The patterns of maps, and what each does."""
        places = maps.value.clamp(min=0).movedim(1, -1)
        rows = places.flatten(0, -2).double().cpu().numpy()
        if self.concepts > min(rows.shape):
            got = f"{self.concepts} for {rows.shape[0]} places and {rows.shape[1]} channels"
            raise OptionError(expected="no more concepts than places and channels", got=got, do="Ask for fewer.")
        where, what = factorized(rows, self.concepts)
        missed = float(((rows - where @ what) ** 2).sum() / max((rows**2).sum(), 1e-300))
        heat = torch.from_numpy(where).to(maps.value).reshape(*places.shape[:-1], -1).movedim(-1, 1)
        directions = torch.from_numpy(what).to(maps.value)
        negative = "the negative part of the activations is left out" if bool((maps.value < 0).any()) else ""
        return Factorization(
            maps=heat,
            directions=directions,
            effects=effects(maps, heat, directions, ask),
            explained=1 - missed,
            layer=str(maps.activation.site),
            inputs=ask.leaves.values,
            modality=ask.model.modality,
            words=tuple(ask.target.words(ask.bound.about, row) for row in range(ask.batch)),
            receipt=ask.run.receipt(),
            notes=(negative,) if negative else (),
        )


def factorized(rows: np.ndarray[Any, Any], concepts: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Where (n, concepts) and what (concepts, channels) of rows (n, channels) ≥ 0, the largest concept first."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    if not rows.any():
        return np.zeros((len(rows), concepts)), np.zeros((concepts, rows.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ``explained`` tells how good it is
        solver = NMF(concepts, init="nndsvda", max_iter=ROUNDS, random_state=0)
        where, what = solver.fit_transform(rows), solver.components_
    length = np.linalg.norm(what, axis=1)
    where, what = where * length, what / np.where(length > 0, length, 1)[:, None]
    order = np.argsort(-(where**2).sum(0), kind="stable")
    return where[:, order], what[order]


def effects(maps: Maps, heat: Tensor, directions: Tensor, ask: Probe) -> Tensor:
    """(batch, concepts) what the score loses when a pattern is taken out of the layer."""
    whole, lost = outermost(ask), []
    for row in torch.arange(ask.batch).split(1):
        one, value = whole.select(row), maps.activation.value[row.to(maps.value.device)]
        own, own_heat = maps.value[row.to(maps.value.device)], heat[row.to(heat.device)]

        def without(k: Tensor, value: Tensor = value, own: Tensor = own, own_heat: Tensor = own_heat) -> Tensor:
            parts = [own_heat[:, i, None] * directions[i].reshape(1, -1, *[1] * len(maps.space)) for i in k.tolist()]
            return torch.stack([maps.grid.back(own - part, value) for part in parts])

        inside = replayed(one, maps.activation.site, value)
        lost.append(one.score - inside.forward(without, heat.shape[1])[:, 0])
    return torch.stack(lost)
