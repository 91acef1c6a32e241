"""Faithfulness: do the parts that a map calls important change the answer when they are hidden?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pellucid.core.evidence import Check, Control
from pellucid.evaluate.controls import SHORT, wrong_maps
from pellucid.evaluate.question import Case, untested
from pellucid.evaluate.ranks import correlation, interval, tidy
from pellucid.evaluate.thresholds import ALPHA, CONTROLS, FEWEST_CONTROLS

NAME = KIND = "faithfulness"
ASKED = "Does hiding what the map calls important change the answer more?"
SOURCE = "Bhatt, Weller & Moura 2020, arXiv:2005.00631; μFidelity: Fel et al. 2021, arXiv:2111.04138"


def faithfulness(case: Case) -> Check:
    """Spearman's ρ of Σ_{i∈S} aᵢ and f(x) − f(x with S hidden) over the mask bank, beside that of wrong maps."""
    bank, layout = case.question.bank, case.question.layout
    rest = rest_of(case)
    if why := bank.silent or case.flat:
        return untested(NAME, KIND, ASKED, why, **rest)
    wrong = wrong_maps(case.cells, layout, CONTROLS, case.question.seed)
    parts = torch.cat([case.parts[None], layout.parts(wrong.cells)])
    different = len(torch.unique(tidy(parts[1:]), dim=0))
    if different < FEWEST_CONTROLS:
        why = f"{bank.n} parts with these values give only {different} different wrong maps to compare with"
        return untested(NAME, KIND, ASKED, why, **rest)
    agreement = bank.agreement(parts)
    value, others = float(agreement[0]), agreement[1:]
    control = Control(
        kind=wrong.kind, n=CONTROLS, median=float(others.median()), q95=float(torch.quantile(others, 0.95))
    )
    return Check(
        name=NAME,
        kind=KIND,
        question=ASKED,
        value=value,
        passed=None,
        reason="",
        interval=interval(bank.resampled(case.parts, case.question.seed)),
        control=control,
        p=p_value(value, others),
        **rest | {"options": rest["options"] | {"pearson": float(correlation(bank.claims(case.parts), bank.effects))}},
    )


def p_value(value: float, others: torch.Tensor) -> float:
    """(1 + #{control ≥ value}) / (K + 1): never zero, no assumption on how controls are distributed.

    >>> p_value(0.5, torch.zeros(99))
    0.01
    """
    return float(1 + (others >= value - 1e-12).sum()) / (len(others) + 1)


def decided(check: Check, p_holm: float, layout_words: str, compared: int) -> Check:
    """The check with its answer, now that p is corrected for all that were made together."""
    passed = p_holm <= ALPHA
    p = f"p = {p_holm:.2g}" + (f", corrected for {compared} explanations" if compared > 1 else "")
    wrong = SHORT[layout_words]
    reason = f"it foretells what hiding parts does better than {wrong} ({p})"
    if not passed:
        reason = f"it foretells what hiding parts does no better than {wrong} ({p})"
    return replace(check, p_holm=p_holm, passed=passed, reason=reason)


def rest_of(case: Case) -> dict[str, Any]:
    """What is said whatever comes out."""
    bank = case.question.bank
    hidden_by = bank.hidden_by
    return {
        "better": "higher",
        "rows": case.question.pay("bank", bank.rows),
        "hidden_by": hidden_by,
        "cannot_show": f"It is faithful to this way of hiding ({hidden_by}) and to parts of this size ({bank.n} of them);"
        " other ways and finer detail are not judged.",
        "source": SOURCE,
        "options": {
            "masks": len(bank.hidden),
            "parts": bank.n,
            "read_by": "size" if case.by_size else "sign and size",
            "full": bank.full,
            "empty": bank.empty,
        },
    }
