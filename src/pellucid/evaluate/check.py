"""check: put explanations to the test. Each check has its control; together they give a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch

from pellucid.core.bound import Studied
from pellucid.core.evidence import Check, Evidence
from pellucid.core.method import as_studied
from pellucid.core.run import current_settings, undisturbed
from pellucid.errors import EmptyError, OptionError, ShapeError, nearest
from pellucid.evaluate.completeness import completeness
from pellucid.evaluate.faithfulness import decided, faithfulness
from pellucid.evaluate.intake import Given, several, taken
from pellucid.evaluate.layout import map_rows
from pellucid.evaluate.question import Case, Make, Question, Tier
from pellucid.evaluate.reproduce import input_hash, line, version
from pellucid.evaluate.sanity import fit, weights
from pellucid.evaluate.stability import stability
from pellucid.evaluate.verdict import holm, verdict

TIERS: dict[Tier, tuple[tuple[Make, ...], ...]] = {
    "quick": ((completeness,), (faithfulness,), (weights, fit), (stability,)),
    "full": ((completeness,), (faithfulness,), (weights,), (fit,), (stability,)),
}
"""The checks of each tier, in order; of several in one place, the next is made if the one before could not be."""


def check(
    explanation: Any,
    model: Any,
    inputs: Any = None,
    target: Any = None,
    *,
    tier: Tier = "quick",
    fill: Any = None,
) -> Any:
    r"""Put an explanation to the test: its checks, each with its control, and a verdict.

    .. math:: \rho = \operatorname{corr}\Bigl(\sum_{i \in S} a_i,\; f(x) - f(x_{\setminus S})\Bigr), \quad
        p = \frac{1 + \#\{\rho_\text{control} \ge \rho\}}{K + 1}

    ``explanation`` is a method's result, or a list of results (they share one bank of hidden inputs, and p-values are
    corrected for all of them); or values from elsewhere, then with ``inputs`` and ``target``. ``tier`` "full" asks four
    times the masks and repeats even costly methods in full. ``fill`` hides parts in another way than usual. An
    explanation of another kind (a synthesized picture) brings checks of its own: what its ``own_evidence()`` gives.

    Shapes: values like the inputs, one a token or column, or maps (batch, 1, …) of any resolution. One row gives an
            ``Evidence``, several rows a tuple of them, a list of explanations a list of those.
    Cost:   130 forward passes per input (shared), and the method on 2 scrambled models and 4 inputs nearby; a method
            that costs too much for that is judged by 64 passes of each scrambled model instead (shared).
    Raises: ShapeError, NonFiniteError, DtypeError for values that cannot be a map of these inputs; TargetError for a
            saved result without ``target``; OptionError for an unknown tier.
    Source: each check names its paper; the thresholds are in ``pellucid.evaluate.thresholds``.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(8, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2, 4.0, -0.7])
        >>> evidence = pl.check(pl.InputXGradient()(net, torch.ones(1, 8)), net)
        >>> evidence.verdict, evidence.check("faithfulness").p
        ('supported', 0.001)
    """
    if hasattr(explanation, "own_evidence"):
        return explanation.own_evidence()
    if tier not in get_args(Tier):
        raise OptionError(expected="a tier of evidence", got=repr(tier), do=nearest(str(tier), get_args(Tier)))
    studied = as_studied(model)
    listed = list(explanation) if several(explanation) else [explanation]
    if not listed:
        raise EmptyError(expected="at least one explanation", got="none", do="Pass some results.")
    with undisturbed():
        judged = check_all(listed, studied, inputs, target, tier, fill)
    return judged if several(explanation) else judged[0]


def check_all(
    explanations: list[Any], model: Studied, inputs: Any, target: Any, tier: Tier, fill: Any
) -> list[Evidence | tuple[Evidence, ...]]:
    """Evidence of each explanation; a tuple where it has several rows."""
    given = [taken(each, model, inputs, target) for each in explanations]
    common: dict[str, Any] = {"model hash": model.fingerprint()}
    judged: list[list[Evidence]] = [[] for _ in given]
    for row in range(max(each.leaves.batch for each in given)):
        here = [i for i, each in enumerate(given) if row < each.leaves.batch]
        cases = cases_of([given[i] for i in here], row, model, tier, fill, common)
        several_rows = any(each.leaves.batch > 1 for each in given)
        made = iter(evidence_of([case for case in cases if case is not None], row if several_rows else None))
        for i, case in zip(here, cases, strict=True):
            judged[i].append(no_map(model) if case is None else next(made))
    return [each[0] if len(each) == 1 else tuple(each) for each in judged]


def cases_of(
    given: Sequence[Given], row: int, model: Studied, tier: Tier, fill: Any, common: dict[str, Any]
) -> list[Case | None]:
    """One case an explanation, for one row; equal questions are one question. None for a result that is no map."""
    questions: list[Question] = []
    cases: list[Case | None] = []
    for each in given:
        asked = Question(
            model=model,
            leaves=each.leaves.take(torch.tensor([row])),
            target=each.target.take(torch.tensor([row])),
            about=each.about,
            at=each.at,
            tier=tier,
            options=current_settings(),
            fill=fill,
            common=common,
        )
        question = next((one for one in questions if one.same(asked)), asked)
        questions.append(question)
        try:
            values = map_rows(each.values, question.layout, each.leaves.batch)[row]
        except ShapeError:
            if each.maker is None:
                raise
            cases.append(None)
            continue
        cases.append(
            Case(
                question,
                values,
                note=each.note,
                maker=each.maker,
                base_score=None if each.base_score is None else float(each.base_score[row]),
                rows=each.rows,
                row=row,
            )
        )
    return cases


def no_map(model: Studied) -> Evidence:
    """The evidence of a result that gives the parts of the input no values: weights between tokens, say."""
    words = "Its values are not one for each part of the input: there is nothing that could be hidden by them."
    return Evidence(verdict="not testable", words=words, checks=(), model_hash=model.fingerprint(), version=version())


def evidence_of(cases: Sequence[Case], row: int | None) -> list[Evidence]:
    """Make all checks of one row's cases, correct their p-values together, and judge."""
    made = [checks_of(case) for case in cases]
    known = [(i, j) for i, checks in enumerate(made) for j, each in enumerate(checks) if each.p is not None]
    corrected = holm([made[i][j].p or 0.0 for i, j in known])
    for (i, j), p in zip(known, corrected, strict=True):
        made[i][j] = decided(made[i][j], p, len(known))
    return [whole(cases, place, checks, row) for place, checks in enumerate(made)]


def checks_of(case: Case) -> list[Check]:
    """The checks of the tier; where one could not be made, the next in its place, if that comes to a judgment."""
    checks = []
    for first, *others in TIERS[case.question.tier]:
        checks.append(first(case))
        for other in others:
            if checks[-1].value is None and (instead := other(case)).value is not None:
                checks.append(instead)
    return checks


def whole(cases: Sequence[Case], place: int, checks: list[Check], row: int | None) -> Evidence:
    """Checks, verdict, and the line that gives them again."""
    question = cases[place].question
    judged, words = verdict(checks)
    model, inputs = question.common["model hash"], question.once("hash", lambda: input_hash(question.leaves))
    again = line([(each.note, each.question) for each in cases], place, row)
    return Evidence(
        verdict=judged,
        words=words,
        checks=tuple(checks),
        reproduce=f"{again}  # pellucid {version()}, model {model}, input {inputs}",
        seed=question.seed,
        model_hash=model,
        input_hash=inputs,
        version=version(),
    )
