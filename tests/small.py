"""Methods of the catalogue with options small enough for tests, from their dataclass fields alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch

from pellucid import catalogue
from pellucid.core.probe import Probe
from pellucid.engines.features import Features, Parts, Players
from tests.nets import BY_NAME, CASES, Case

EVERY = [row.name for row in catalogue.METHODS]

# Those that any network will do for; what needs attention is tested on the cases that have some.
NAMES = [row.name for row in catalogue.METHODS if not row.needs]
HAVING = {"attention": {"attention", "ids"}}

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
    """Whether the catalogue says that a method reads what the case gives, and that the case has what it needs."""
    row = catalogue.entry(name)
    return case.reads in row.modalities and (not row.needs or case.name in HAVING[row.needs])


def case_of(name: str) -> Case:
    """A case to try a method on: pictures where it reads them."""
    return next(BY_NAME[each] for each in ("cnn", "mlp", "attention") if fits(name, BY_NAME[each]))


def at_of(name: str, case: Case) -> str | None:
    """The layer a method must be asked at, if any."""
    return case.hidden if name in NEED_AT else None


def pairs(*cases: str) -> list[tuple[str, str]]:
    """(method, case) for every method and every case it reads."""
    wanted = [BY_NAME[each] for each in cases] or CASES
    return [(name, case.name) for name in EVERY for case in wanted if fits(name, case)]
