"""Faithfulness: do the parts that a map calls important change the answer when they are hidden?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.evidence import Check, Control
from pellucid.evaluate.asked import Asked
from pellucid.evaluate.beside import beside
from pellucid.evaluate.controls import NAMES, wrong_maps
from pellucid.evaluate.question import Case
from pellucid.evaluate.ranks import correlation, interval, tidy
from pellucid.evaluate.thresholds import ALPHA, CONTROLS, FEWEST_CONTROLS, STRONG

FAITHFULNESS = Asked(
    name="faithfulness",
    kind="faithfulness",
    question="Does hiding what the map calls important change the answer more?",
    better="higher",
    cannot_show="",
    source="Bhatt, Weller & Moura 2020, arXiv:2005.00631; over parts, with ranks: Fel et al. 2021, arXiv:2111.04138; "
    "p-values: Phipson & Smyth 2010, arXiv:1603.05766",
)


def faithfulness(case: Case) -> Check:
    """Spearman's ρ of Σ_{i∈S} aᵢ and f(x) − f(x with S hidden) over the mask bank, beside that of wrong maps.

    Maps of slopes are read by size: Σ |aᵢ| and |f(x) − f(x with S hidden)|.
    """
    bank, layout, seed = case.bank, case.question.layout, case.question.seed
    rest = described(case)
    if why := case.question.bank.silent or case.flat:
        return FAITHFULNESS.untested(why, **rest)
    parts = layout.parts(wrong_maps(case.cells, layout, CONTROLS, seed))
    different = len(torch.unique(tidy(parts), dim=0))
    if different < FEWEST_CONTROLS:
        why = f"{bank.n} parts with these values make only {different} different wrong maps to compare with"
        return FAITHFULNESS.untested(why, **rest)
    value, others = float(bank.agreement(case.parts)), bank.agreement(parts)
    before = case.question.asked
    rest["options"] |= beside(case)
    rest["rows"] += case.question.asked - before
    rest["options"]["pearson"] = float(correlation(bank.claims(case.parts), bank.effects))
    return FAITHFULNESS.answered(
        value=value,
        passed=None,
        reason="",
        interval=interval(bank.resampled(case.parts, seed)),
        control=control_of(others, layout.words),
        p=p_value(value, others),
        **rest,
    )


def control_of(others: Tensor, words: str) -> Control:
    """What the wrong maps reached."""
    high = float(torch.quantile(others, 0.95))
    return Control(kind=NAMES[words], n=len(others), median=float(others.median()), q95=high)


def p_value(value: float, others: Tensor) -> float:
    """(1 + #{control ≥ value}) / (K + 1): never zero, and no assumption on how controls are distributed.

    >>> p_value(0.5, torch.zeros(99))
    0.01
    """
    return float(1 + (others >= value - 1e-12).sum()) / (len(others) + 1)


def decided(check: Check, p_holm: float, compared: int) -> Check:
    """The check with its answer, now that p is corrected for all explanations that were checked together."""
    value, control = check.value or 0.0, check.control.kind.partition(",")[0] if check.control else "wrong maps"
    p = f"p = {p_holm:.2g}" + (f", corrected for {compared} explanations" if compared > 1 else "")
    passed: bool | None = p_holm <= ALPHA
    reason = f"it tells which parts matter {'' if passed else 'no '}better than {control} ({p})"
    if not passed and value >= STRONG:
        passed = None
        reason = f"it agrees with what hiding does ({value:.2f}), but {control} may do so, too: too few parts ({p})"
    return replace(check, p_holm=p_holm, passed=passed, reason=reason + no_better(check))


def no_better(check: Check) -> str:
    """What does as well as the map without telling of the model, or of this row; nothing where nothing does."""
    options, value = check.options, check.value or 0.0
    name, most = max(options.get("model_free", {}).items(), key=lambda pair: pair[1], default=("", -1.0))
    told = ""
    if name and most >= value > 0:
        told += f"; a map made without the model ({name}: {most:.2f}) does as well"
    if "by_size" in options and options["average_importance"] >= options["by_size"] > 0:
        told += "; the average importance of the columns tells as much about this row"
    return told


def described(case: Case) -> dict[str, Any]:
    """What is said whatever comes out."""
    bank = case.question.bank
    cannot = (
        f"Whether it holds for other ways of hiding than {bank.hidden_by}, or for parts smaller than these {bank.n}."
    )
    return {
        "rows": case.question.pay("bank", bank.rows),
        "hidden_by": bank.hidden_by,
        "cannot_show": cannot,
        "options": {
            "masks": len(bank.hidden),
            "parts": bank.n,
            "read_by": "size" if case.by_size else "sign and size",
            "full": bank.full,
            "empty": bank.empty,
        },
    }
