"""compare: which method explains this model best on this data, by how much, and what cannot be told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from pellucid.core.bound import Studied
from pellucid.core.evidence import Evidence
from pellucid.core.leaves import Leaves
from pellucid.core.method import Attributor, question
from pellucid.core.result import Attribution
from pellucid.core.run import Receipt, Run, current_settings, settings, undisturbed
from pellucid.core.target import Class, Sum, Target
from pellucid.errors import EmptyError, OptionError, ShapeError
from pellucid.evaluate.check import cases_of, evidence_of
from pellucid.evaluate.comparison import Comparison, Passed, Score
from pellucid.evaluate.differences import mean_of, paired
from pellucid.evaluate.intake import taken
from pellucid.evaluate.metrics.bank import MuFidelity
from pellucid.evaluate.metrics.curves import SRG
from pellucid.evaluate.metrics.measure import Column, Measured, Metric
from pellucid.evaluate.question import Case, Question
from pellucid.evaluate.repeat import FAILURES
from pellucid.evaluate.thresholds import KINDS

CHUNK = 16
METRICS: tuple[Metric, ...] = (MuFidelity(), SRG())


@dataclass(eq=False)
class Contestant:
    """A method with what it got so far: metrics and checks input by input, and what its explanations cost."""

    maker: Attributor
    columns: list[Column]
    passed: dict[str, list[bool | None]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    control: list[float] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    failed: str = ""

    def add(self, case: Case | None, evidence: Evidence | None) -> None:
        """One more input: what metrics and checks say of its explanation."""
        for column in self.columns:
            column.add(case)
        checks = () if evidence is None else evidence.checks
        for kind in KINDS:
            answers = [each.passed for each in checks if each.kind == kind and each.passed is not None]
            self.passed[kind].append(all(answers) if answers else None)
        controls = [each.control.median for each in checks if each.kind == KINDS[0] and each.control is not None]
        self.control.append(controls[0] if controls else float("nan"))


@dataclass(eq=False)
class Contest:
    """All methods on all inputs: explained in chunks, then judged input by input on one question each."""

    model: Studied
    leaves: Leaves
    target: Target
    contestants: list[Contestant]
    common: dict[str, Any]
    runs: list[Run]

    @property
    def left(self) -> list[Contestant]:
        """The methods that could be used so far."""
        return [each for each in self.contestants if not each.failed]

    def play(self, rows: torch.Tensor, bar: Run) -> None:
        """One chunk of inputs."""
        part = self.leaves.take(rows)
        inputs, target = pytree.tree_unflatten(list(part.tensors), part.spec), named(self.target.take(rows))
        results = []
        for each in self.left:
            try:
                results.append(each.maker(self.model, inputs, target))
                each.receipts.append(results[-1].receipt)
            except FAILURES as error:
                each.failed = str(error)
        if not results:
            do = "Name methods that fit the model."
            got = "; ".join(f"{type(each.maker).__name__}: {each.failed}" for each in self.contestants)
            raise OptionError(expected="a method that can be used on this model", got=got, do=do)
        for row in range(len(rows)):
            bar.check_stop()
            self.judge(results, row)
            bar.count(1, backward=False)

    def judge(self, results: list[Attribution], row: int) -> None:
        """One input of a chunk."""
        given = [taken(each, self.model, None, None) for each in results]
        cases = cases_of(given, row, self.model, "quick", None, self.common)
        judged = iter(evidence_of([case for case in cases if case is not None], row))
        for each, case in zip(self.left, cases, strict=True):
            each.add(case, None if case is None else next(judged))
        questions: dict[int, Question] = {id(case.question): case.question for case in cases if case is not None}
        self.runs += [run for each in questions.values() for run in each.runs]


def compared(
    makers: Sequence[Attributor],
    model: Studied,
    data: Any,
    targets: Any = None,
    metrics: Sequence[Metric] | None = None,
    clusters: Any = None,
) -> Comparison:
    """Methods compared on the rows of ``data``; see ``pl.compare``."""
    started, chosen = time.perf_counter(), ranking_first(METRICS if metrics is None else tuple(metrics))
    if not makers:
        raise EmptyError(expected="a method", got="none", do="Name methods, or pass None for the usual ones.")
    with undisturbed():
        ask = question(model, data, targets, discrete=True)
        groups = clustered(clusters, ask.leaves.batch)
        contestants = [Contestant(each, [Column(metric) for metric in chosen]) for each in makers]
        common: dict[str, Any] = {"model hash": model.fingerprint()}
        contest = Contest(model, ask.leaves, ask.target, contestants, common, [ask.run])
        bar = Run(current_settings(), model.device)
        with bar.progress("comparing methods"), settings(progress=False):
            bar.announce(ask.leaves.batch)
            for rows in torch.arange(ask.leaves.batch).split(CHUNK):
                contest.play(rows, bar)
    return result_of(contest, chosen, groups, started)


def ranking_first(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """The metrics, the one that ranks first: the first that measures faithfulness; one is added where there is none."""
    judging = [each for each in metrics if each.kind == "faithfulness" and each.better != "neither"]
    first = judging[0] if judging else MuFidelity()
    return (first, *(each for each in metrics if each is not first))


def clustered(clusters: Any, batch: int) -> np.ndarray:
    """(batch,) the number of each input's cluster; each input by itself without any."""
    if clusters is None:
        return np.arange(batch)
    labels = np.asarray(clusters)
    if labels.shape != (batch,):
        raise ShapeError(expected=f"a cluster for each of {batch} inputs", got=str(labels.shape), do="Give one a row.")
    return np.unique(labels, return_inverse=True)[1]


def named(target: Target) -> Target:
    """A bound target as one that can be asked again of the same rows: classes by their numbers."""
    if isinstance(target, Sum):
        return Sum(tuple((weight, named(term)) for weight, term in target.terms))
    return replace(target, which=target.index) if isinstance(target, Class) and target.index else target


def result_of(contest: Contest, metrics: tuple[Metric, ...], clusters: np.ndarray, started: float) -> Comparison:
    """Means, differences and pass rates of all methods that could be used."""
    left, seed = contest.left, current_settings().seed
    names = labels([each.maker for each in left])
    scores = []
    for k, metric in enumerate(metrics):
        done: list[Measured] = [each.columns[k].done() for each in left]
        values = np.stack([each.values for each in done])
        sign = -1 if metric.better == "lower" else 1
        scores.append(
            Score(
                name=done[0].name,
                better=metric.better,
                units=metric.units,
                values=values,
                means=tuple(mean_of(each, clusters, seed) for each in values),
                differences=paired(values, names, done[0].name, sign, clusters, seed),
                reasons=tuple(dict.fromkeys(reason for each in done for reason in each.reasons)),
            )
        )
    batch = contest.leaves.batch
    return Comparison(
        names=names,
        methods=tuple(each.maker for each in left),
        scores=tuple(scores),
        passes=tuple(Passed(kind, tuple(tuple(each.passed[kind]) for each in left)) for kind in KINDS),
        control=np.stack([each.control for each in left]),
        rows=tuple(sum(one.rows_forward for one in each.receipts) / batch for each in left),
        seconds=tuple(sum(one.seconds for one in each.receipts) / batch for each in left),
        left_out=tuple(f"{type(each.maker).__name__}: {each.failed}" for each in contest.contestants if each.failed),
        receipt=bill(contest, time.perf_counter() - started),
    )


def bill(contest: Contest, seconds: float) -> Receipt:
    """What all explanations, checks and metrics cost together."""
    spent = [run.receipt() for run in contest.runs]
    spent += [one for each in contest.contestants for one in each.receipts]
    return Receipt(
        rows_forward=sum(each.rows_forward for each in spent),
        rows_backward=sum(each.rows_backward for each in spent),
        seconds=seconds,
        peak_memory=max(each.peak_memory for each in spent),
        seed=current_settings().seed,
    )


def labels(makers: Sequence[Attributor]) -> tuple[str, ...]:
    """A name for each method; with its options where a class comes twice, with a number where those are equal, too."""
    short, long = [type(each).__name__ for each in makers], [str(each.note()) for each in makers]
    alike = {name: len({note for one, note in zip(short, long, strict=True) if one == name}) == 1 for name in short}
    said = [name if alike[name] else note for name, note in zip(short, long, strict=True)]
    return tuple(
        name if said.count(name) == 1 else f"{name} {said[: i + 1].count(name)}" for i, name in enumerate(said)
    )
