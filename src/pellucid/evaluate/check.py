"""check: put explanations to the test. Each check has its control; together they give a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch

from pellucid.core.evidence import Check, Evidence
from pellucid.core.method import as_studied
from pellucid.core.probe import Studied
from pellucid.core.run import current_settings, undisturbed
from pellucid.errors import EmptyError, OptionError, nearest
from pellucid.evaluate.completeness import completeness
from pellucid.evaluate.faithfulness import decided, faithfulness
from pellucid.evaluate.intake import Given, several, taken
from pellucid.evaluate.layout import map_rows
from pellucid.evaluate.question import Case, Make, Question, Tier
from pellucid.evaluate.reproduce import input_hash, line, version
from pellucid.evaluate.sanity import fit, weights
from pellucid.evaluate.stability import stability
from pellucid.evaluate.verdict import holm, verdict

TIERS: dict[str, tuple[tuple[Make, ...], ...]] = {
    "quick": ((completeness,), (faithfulness,), (weights, fit), (stability,)),
    "full": ((completeness,), (faithfulness,), (weights,), (fit,), (stability,)),
}
"""The checks of each tier, in order; of several in one place, the first that comes to a judgment is made."""


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
    corrected for all of them); or values from elsewhere, then with ``inputs`` and ``target``. ``tier`` "quick" costs
    about as much as four explanations; "full" uses four times the masks and repeats even costly methods in full.
    ``fill`` hides parts in another way than usual.

    Shapes: values like the inputs, one a token, column or part, or maps (batch, 1, …) of any resolution.
    Gives:  an ``Evidence``; a tuple of them, one a row, for several rows; a list of those for a list.
    Cost:   128 forward passes per input (shared), and the method on 2 scrambled models and 4 inputs nearby; a method
            that costs too much for that is judged by 64 passes of each scrambled model instead (shared).
    Raises: ShapeError, NonFiniteError, DtypeError for values that cannot be a map of these inputs; TargetError for a
            saved result without ``target``; OptionError for an unknown tier.
    Source: the thresholds are in ``pellucid.evaluate.thresholds``; each check names its paper.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(8, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([3.0, -2.0, 1.5, 0.5, -1.0, 0.2, 4.0, -0.7])
        >>> heat = pl.InputXGradient()(net, torch.ones(1, 8))
        >>> pl.check(heat, net).check("faithfulness").passed
        True
    """
    if tier not in get_args(Tier):
        raise OptionError(expected="a tier of evidence", got=repr(tier), do=nearest(str(tier), get_args(Tier)))
    studied = as_studied(model)
    with undisturbed(studied.device):
        if not several(explanation):
            return check_all([explanation], studied, inputs, target, tier, fill)[0]
        if not explanation:
            raise EmptyError(expected="at least one explanation", got="none", do="Pass some results.")
        return check_all(list(explanation), studied, inputs, target, tier, fill)


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
        for i, evidence in zip(here, evidence_of(cases, [given[i] for i in here], row), strict=True):
            judged[i].append(evidence)
    return [each[0] if len(each) == 1 else tuple(each) for each in judged]


def cases_of(
    given: Sequence[Given], row: int, model: Studied, tier: Tier, fill: Any, common: dict[str, Any]
) -> list[Case]:
    """One case an explanation, for one row; equal questions are one question."""
    questions: list[Question] = []
    cases = []
    for each in given:
        rows = torch.tensor([row])
        asked = Question(
            model,
            each.leaves.take(rows),
            each.target.take(rows),
            each.about,
            each.at,
            tier,
            current_settings(),
            fill,
            common,
        )
        same = next((one for one in questions if one.same(asked)), None)
        if same is None:
            questions.append(asked)
        layouts = [(same or asked).layout] * each.leaves.batch
        cases.append(
            Case(
                same or asked,
                map_rows(each.values, layouts)[row],
                each.note,
                each.maker,
                None if each.base_score is None else float(each.base_score[row]),
                each.rows,
            )
        )
    return cases


def evidence_of(cases: Sequence[Case], given: Sequence[Given], row: int) -> list[Evidence]:
    """Make all checks of one row's cases, correct their p-values together, and judge."""
    made = [checks_of(case) for case in cases]
    known = [(i, j) for i, checks in enumerate(made) for j, each in enumerate(checks) if each.p is not None]
    corrected = holm([float(made[i][j].p or 1) for i, j in known])
    for (i, j), p in zip(known, corrected, strict=True):
        made[i][j] = decided(made[i][j], p, cases[i].question.layout.words, len(known))
    return [
        whole(case, place, checks, [each.note for each in cases], None if given[place].leaves.batch == 1 else row)
        for place, (case, checks) in enumerate(zip(cases, made, strict=True))
    ]


def checks_of(case: Case) -> list[Check]:
    """The checks of the tier; of alternatives the first that comes to a judgment, with those that could not."""
    checks = []
    for alternatives in TIERS[case.question.tier]:
        made: list[Check] = []
        for make in alternatives:
            made.append(make(case))
            if made[-1].testable or made[-1].p is not None:
                break
        checks += made if made[-1].testable else made[:1]
    return checks


def whole(case: Case, place: int, checks: list[Check], notes: Sequence[Any], row: int | None) -> Evidence:
    """Checks, verdict, and the line that gives them again."""
    question = case.question
    judged, words = verdict(checks)
    again = line(
        notes,
        place,
        target=question.target,
        at=question.at,
        row=row,
        tier=question.tier,
        fill=question.fill,
        options=question.options,
    )
    hashes = {
        "model_hash": question.common["model hash"],
        "input_hash": question.once("hash", lambda: input_hash(question.leaves)),
    }
    told = f"  # pellucid {version()}, model {hashes['model_hash']}, input {hashes['input_hash']}"
    return Evidence(
        verdict=judged,
        words=words,
        checks=tuple(checks),
        reproduce=again + told,
        seed=question.seed,
        version=version(),
        **hashes,
    )
