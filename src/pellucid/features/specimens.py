"""Which units of which layers are shown of a network, with what they answer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.core.leaves import Leaves
from pellucid.core.model import Model
from pellucid.core.places import Neuron
from pellucid.features.anatomy import Anatomy
from pellucid.features.examples import TopExamples
from pellucid.features.statistics import RECTIFIERS, UnitStatistics
from pellucid.features.symptoms import AFFINE
from pellucid.features.units import Place, places


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimens:
    """Some units of a layer, the most active first; ``first`` is the row of the first one's synthesized input."""

    place: Place
    units: tuple[int, ...]
    order: str
    examples: TopExamples | None = None
    first: int | None = None

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.place.name

    def targets(self) -> list[Neuron]:
        """The units as targets."""
        axis = self.place.axis if self.place.shape else None
        return [Neuron(self.layer, channel=unit, axis=axis) for unit in self.units]


def statistics_layers(anatomy: Anatomy, known: Sequence[Place]) -> list[str]:
    """The layers to measure: all that make something, and what goes in where a function without a module rectified."""
    inputs, names = set(anatomy.rectified), []
    for place in known:
        if place.name in inputs:
            names.append(f"{place.name}:input")
        names.append(place.name)
    return names


def picked(
    model: Model,
    leaves: Leaves,
    layers: int | Sequence[str],
    units: int,
    statistics: UnitStatistics | None,
) -> tuple[Specimens, ...]:
    """Units to show: of named layers, or of some from the first rectified one to the last of all, evenly spaced."""
    if not isinstance(layers, int):
        chosen = list(places(model, leaves, list(layers))) if len(layers) else []
    else:
        chosen = spread(places(model, leaves, None), layers, statistics)
    return tuple(specimens(each, units, statistics) for each in chosen)


def spread(known: tuple[Place, ...], many: int, statistics: UnitStatistics | None) -> list[Place]:
    """Rectified layers, or all that there are, evenly spaced; and the last one."""
    if many <= 0 or not known:
        return []
    last, hidden = known[-1], [each for each in known[:-1] if each.units > 1]
    active = [each for each in hidden if each.kind in RECTIFIERS or never_negative(each, statistics)]
    hidden = active or hidden
    if many == 1 or not hidden:
        return [last]
    at = np.unique(np.linspace(0, len(hidden) - 1, min(many - 1, len(hidden))).round().astype(int))
    return [*(hidden[i] for i in at), last]


def never_negative(place: Place, statistics: UnitStatistics | None) -> bool:
    """Whether a layer was seen to be rectified."""
    if statistics is None or place.name not in statistics or place.kind in AFFINE:
        return False
    return bool((statistics[place.name].low >= 0).all())


def specimens(place: Place, units: int, statistics: UnitStatistics | None) -> Specimens:
    """The units of a layer with the largest means; the first ones where nothing was measured."""
    if place.units <= units:
        return Specimens(place=place, units=tuple(range(place.units)), order="all of them")
    if statistics is None or place.name not in statistics:
        return Specimens(place=place, units=tuple(range(units)), order="the first")
    ranked: Any = np.argsort(-statistics[place.name].mean, kind="stable")[:units]
    return Specimens(place=place, units=tuple(int(i) for i in ranked), order="the most active on average")
