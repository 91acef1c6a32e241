"""Methods of the catalogue with options small enough for tests, from their dataclass fields alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from pellucid import catalogue
from pellucid.core.probe import Probe
from pellucid.engines.features import Features, Parts, Players
from tests.nets import BY_NAME, CASES, Case

NAMES = [row.name for row in catalogue.METHODS]

# A default of None is a choice of its own (stop at a tolerance, an eighth of the side) and stays.
SMALL = {"steps": 8, "draws": 5, "budget": 64, "size": 4}
FINE = SMALL | {"steps": 400, "draws": 50, "budget": 4096}

# Methods that only make sense when asked of a layer.
NEED_AT = {"Conductance"}


# Two to the number of parts is what they cost.
EVERY_COALITION = {"ExactShapley"}


class Few(Features):
    """Every element by itself; of more than ten, four parts."""

    def __call__(self, ask: Probe) -> Players:
        shape = ask.inputs.shape[1:]
        n = shape.numel() if shape.numel() <= 10 else 4
        return Parts((torch.arange(shape.numel()) % n).reshape(1, *shape), n, tuple(shape))


def small(name: str, sizes: dict[str, int] = SMALL, **options: Any) -> Any:
    """The method with small budgets."""
    kind = catalogue.find(name)
    if name in EVERY_COALITION:
        options = {"features": Few()} | options
    sized = {each.name: sizes[each.name] for each in fields(kind) if each.name in sizes and each.default is not None}
    return kind(**{**sized, **{key: value for key, value in options.items() if has(name, key)}})


def has(name: str, option: str) -> bool:
    """Whether the method has an option."""
    return option in {each.name for each in fields(catalogue.find(name))}


def fits(name: str, case: Case) -> bool:
    """Whether the catalogue says that a method reads what the case gives."""
    return case.reads in catalogue.entry(name).modalities


def at_of(name: str, case: Case) -> str | None:
    """The layer a method must be asked at, if any."""
    return case.hidden if name in NEED_AT else None


def pairs(*cases: str) -> list[tuple[str, str]]:
    """(method, case) for every method and every case it reads."""
    wanted = [BY_NAME[each] for each in cases] or CASES
    return [(name, case.name) for name in NAMES for case in wanted if fits(name, case)]
