"""The gauntlet: every method on tasks in which the parts that decide are known, beside maps made without the model.

It measures agreement with a planted truth, which only such tasks have: the networks are verified to rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.catalogue import METHODS, find
from pellucid.core.figure import Matrix, Sheet
from pellucid.core.modality import Images, Modality, Table, Text
from pellucid.core.model import Model
from pellucid.core.result import Attribution
from pellucid.core.run import settings
from pellucid.demo.planted import NAMES, PlantedTask, planted
from pellucid.engines.points import generator
from pellucid.errors import PellucidError
from pellucid.evaluate.check import check
from pellucid.evaluate.controls import center, edges
from pellucid.evaluate.metrics.localization import among_largest, area, mass, relevance
from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.ranks import interval
from pellucid.evaluate.thresholds import RESAMPLES

BUDGET = 500
"""Rows an input that a method which samples may ask, where it would ask more by itself."""

DRAWS = 100
"""Random maps of an input."""

CONTROLS = ("edges", "center", "size of the input", "random")
"""Maps made without the model; each task has those that its inputs allow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """One method on one task: ``auc``, ``mass`` and ``rank`` of each input (inputs,), NaN where a map says nothing.

    ``auc`` is the chance that a planted place has a larger value than another one (0.5 is chance), ``mass`` the share
    of the positive values that is planted, ``rank`` the share of the planted places among as many largest values.
    ``verdicts`` are those of ``pl.check`` for the first inputs; ``left_out`` says why there is no score.
    """

    method: str
    task: str
    auc: np.ndarray
    mass: np.ndarray
    rank: np.ndarray
    verdicts: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the mean AUC over inputs drawn with replacement."""
        known = torch.from_numpy(self.auc[np.isfinite(self.auc)])
        if not len(known):
            return float("nan"), float("nan")
        drawn = torch.randint(len(known), (RESAMPLES, len(known)), generator=generator(0, RESAMPLES))
        return interval(known[drawn].mean(1))


@dataclass(frozen=True, eq=False)
class Gauntlet:
    """The scores of methods on tasks."""

    scores: tuple[Score, ...]

    def score(self, method: str, task: str) -> Score:
        """That of one method on one task."""
        return next(each for each in self.scores if (each.method, each.task) == (method, task))

    def figure(self) -> Matrix:
        """Methods by tasks: the mean AUC above or below chance."""
        tasks = tuple(dict.fromkeys(each.task for each in self.scores))
        values: dict[str, list[float]] = {}
        for each in self.scores:
            if not each.left_out:
                values.setdefault(each.method, [np.nan] * len(tasks))[tasks.index(each.task)] = mean(each.auc) - 0.5
        names = sorted(values, key=lambda name: (name in CONTROLS, -float(np.nanmean(values[name]))))
        first = next((i for i, name in enumerate(names) if name in CONTROLS), 0)
        return Matrix(
            title="Agreement with the planted truth",
            caption="AUC minus 0.5: 0 is chance, 0.5 is perfect. The last rows are maps made without the model.",
            alt="Methods by planted tasks",
            values=np.array([values[name] for name in names]),
            row_names=tuple(names),
            column_names=tasks,
            limit=0.5,
            breaks=(first,) if first else (),
            sense="AUC − 0.5",
        )

    def sheet(self, task: str) -> Sheet:
        """One row a method, the best first."""
        found = [each for each in self.scores if each.task == task and not each.left_out]
        found.sort(key=lambda each: -mean(each.auc))
        rows = tuple(
            (
                each.method,
                f"{mean(each.auc):.2f}",
                "{:.2f} to {:.2f}".format(*each.interval),
                f"{mean(each.mass):.2f}",
                f"{mean(each.rank):.2f}",
                ", ".join(counted(each.verdicts)) or "–",
            )
            for each in found
        )
        about = planted(task)
        caption = f"{about.words} {about.chance:.0%} of the places are planted. Left out: {self.absent(task)}."
        header = ("method", "AUC", "95 %", "mass", "rank", "verdict of pl.check")
        return Sheet(title=task, caption=caption, header=header, rows=rows)

    def absent(self, task: str) -> str:
        """Methods without a score, with the reasons."""
        told = [f"{each.method} ({each.left_out})" for each in self.scores if each.task == task and each.left_out]
        return ", ".join(told) or "none"


def gauntlet(tasks: Iterable[str] = NAMES, methods: Sequence[str | Any] | None = None, *, checked: int = 1) -> Gauntlet:
    """Score methods on planted tasks, with the model-free controls of each.

    ``methods`` are names of the catalogue or methods with options; without, all that read the task's kind of input.
    ``checked`` inputs of each task are put to ``pl.check``, too.

    Shapes: every score holds one number an input, 12 a task.
    Cost:   training, some seconds a task; then what the methods cost on 12 small inputs, at most 500 rows each.
    Raises: MethodError for an unknown name; LoadError for an unknown task.

    Example:
        >>> made = gauntlet(["columns"], ["InputXGradient"], checked=0)
        >>> bool(made.score("InputXGradient", "columns").auc.mean() > made.score("random", "columns").auc.mean())
        True
    """
    scores: list[Score] = []
    for name in tasks:
        task, model = planted(name), model_of(name)
        scores += [scored(each, task, model, checked) for each in chosen(methods, task)]
        scores += [*(placed(control, task, values) for control, values in controls(task).items()), by_chance(task)]
    return Gauntlet(tuple(scores))


@lru_cache(maxsize=len(NAMES))
def model_of(name: str) -> Model:
    """The network of a planted task, with what it reads."""
    task = planted(name)
    return Model(task.module, inputs=modality(task), classes=task.classes)


def modality(task: PlantedTask) -> Modality:
    """What a planted task's network reads."""
    return {"image": Images, "table": Table, "text": Text}[task.kind](**task.about)


def chosen(methods: Sequence[Any] | None, task: PlantedTask) -> list[tuple[str, Any]]:
    """(name, method) of those that were named, or of all that read this kind of input."""
    if methods is not None:
        made = [limited(find(each)) if isinstance(each, str) else each for each in methods]
        return [(type(each).__name__, each) for each in made]
    rows = [row for row in METHODS if task.kind in row.modalities and (not row.needs or task.kind == "text")]
    return [(row.name, limited(find(row.name))) for row in rows]


def limited(kind: Any) -> Any:
    """A method with its own options, but for a budget above ``BUDGET``."""
    own = kind()
    return replace(own, budget=BUDGET) if (getattr(own, "budget", None) or 0) > BUDGET else own


def scored(named: tuple[str, Any], task: PlantedTask, model: Model, checked: int) -> Score:
    """One method on one task; what a method refuses is said."""
    name, method = named
    try:
        with settings(seed=0):
            result = method(model, task.inputs)
            values = places(result, task)
            if values is None:
                return silent(name, task, "no value for each place")
            judged = check(method(model, first(task.inputs, checked)), model) if checked else ()
    except PellucidError as error:
        return silent(name, task, f"it needs {error.expected}")
    verdicts = tuple(each.verdict for each in (judged if isinstance(judged, tuple) else (judged,)))
    return placed(name, task, values, verdicts)


def first(inputs: Any, count: int) -> Any:
    """The first inputs."""
    return {key: each[:count] for key, each in inputs.items()} if isinstance(inputs, dict) else inputs[:count]


def silent(name: str, task: PlantedTask, why: str) -> Score:
    """A method without a score."""
    none = np.full(len(task.truth), np.nan)
    return Score(method=name, task=task.name, auc=none, mass=none, rank=none, left_out=why)


def places(result: Attribution, task: PlantedTask) -> Tensor | None:
    """(n, *places) of a result, channels together; None where it has no value for each place.

    Slopes are read by size, and so are columns: a decisive one may speak against the class.
    """
    values, want = result.main().detach().cpu().double(), task.truth.shape
    slopes = result.method.folding == "norm"
    if values.ndim == len(want) + 1 and task.kind == "image":
        values = values.norm(dim=1) if slopes else values.sum(1)
    if task.kind == "image" and values.ndim == 3 and values.shape != want:
        values = torch.nn.functional.interpolate(values[:, None], size=want[1:], mode="bilinear")[:, 0]
    if values.shape != want:
        return None
    return values.abs() if slopes or task.kind == "table" else values


def placed(name: str, task: PlantedTask, values: Tensor, verdicts: tuple[str, ...] = ()) -> Score:
    """Values (n, *places) against the planted truth."""
    pairs = list(zip(values.double(), task.truth, strict=True))
    auc, share, rank = (
        np.array([known(measure, *pair) for pair in pairs]) for measure in (area, positive, among_largest)
    )
    return Score(method=name, task=task.name, auc=auc, mass=share, rank=rank, verdicts=verdicts)


def positive(values: Tensor, truth: Tensor) -> float:
    """The share of the positive values that is planted."""
    return mass(relevance(values, "positive"), truth)


def known(measure: Callable[[Tensor, Tensor], float], values: Tensor, truth: Tensor) -> float:
    """A number about one map; NaN where the map says nothing."""
    try:
        return measure(values, truth)
    except Untestable:
        return float("nan")


def controls(task: PlantedTask) -> dict[str, Tensor]:
    """Maps made without the model."""
    if task.kind == "image":
        middle = center(tuple(task.truth.shape[1:])).expand(task.truth.shape)
        return {"edges": torch.stack([edges(each) for each in task.inputs]), "center": middle}
    return {"size of the input": task.inputs.abs()} if task.kind == "table" else {}


def by_chance(task: PlantedTask) -> Score:
    """Random maps, the mean of many for each input."""
    random = generator(0, 0)
    drawn = [placed("random", task, torch.rand(task.truth.shape, generator=random)) for _ in range(DRAWS)]
    auc, mass, rank = (np.mean([getattr(each, name) for each in drawn], 0) for name in ("auc", "mass", "rank"))
    return Score(method="random", task=task.name, auc=auc, mass=mass, rank=rank)


def mean(values: np.ndarray) -> float:
    """The mean of the inputs whose map says something; NaN where none does."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def counted(verdicts: Sequence[str]) -> list[str]:
    """Each verdict, with its number where there are several."""
    if len(verdicts) == 1:
        return list(verdicts)
    return [f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts)]
