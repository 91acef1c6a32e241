"""From an explanation to the content of a report."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.core.figure import Figure, robust_limit
from pellucid.core.result import Attribution
from pellucid.report.books import met
from pellucid.report.content import Content, MethodView

LIMITS = (
    "The report explains what the model does, not how the world is: a model can be right for a wrong reason.",
    "Faithful means faithful to this way of hiding parts; another way can give another answer.",
    "A part without contribution may still matter together with others.",
)


def content_of(explanation: Any) -> Content:
    """Everything the page shows."""
    results: tuple[Attribution, ...] = explanation.results
    best = explanation.best
    first = results[0]
    figures = same_scale(results)
    return Content(
        title=explanation.source or "Why this prediction?",
        modality=first.modality.kind,
        input=first.modality.input_figure(first.input_array()),
        prediction=explanation.prediction.figure(),
        prediction_words=explanation.prediction.words(),
        verdict=explanation.verdict,
        verdict_words=explanation.words,
        sentences=explanation.sentences,
        methods=tuple(view(result, figure) for result, figure in zip(results, figures, strict=True)),
        best=next(i for i, result in enumerate(results) if result is best),
        limits=limits(explanation),
        provenance=explanation.provenance,
        reproduce=explanation.command or best.evidence[0].reproduce,
    )


def view(result: Attribution, figure: Figure) -> MethodView:
    """One method's part of the page."""
    return MethodView(
        name=result.method.name,
        figure=figure,
        paper=result.method.paper,
        words=result.words().removeprefix(result.evidence[0].verdict + " · "),
        units=units(result),
        evidence=result.evidence[0],
        met=met(result),
    )


def units(result: Attribution) -> str:
    """What one value means, with the explained number named."""
    said, target = result.method.units, result.target_words()
    return f"in units of the {target}" if said == "target" else said.replace("the target", f"the {target}")


def same_scale(results: tuple[Attribution, ...]) -> list[Figure]:
    """Figures side by side: those whose values mean the same share one color scale."""
    groups: dict[tuple[str, int], list[float]] = {}
    for result in results:
        groups.setdefault(scale_key(result), []).append(robust_limit(np.asarray(shown(result)), 0.995))
    return [result.figure(limit=max(groups[scale_key(result)])) for result in results]


def scale_key(result: Attribution) -> tuple[str, int]:
    """Values per pixel, per patch and per window are not comparable; words and columns are."""
    own = id(result) if result.modality.kind in ("image", "series", "tensor") else 0
    return result.method.units, own


def shown(result: Attribution) -> Any:
    """The numbers that the figure colors."""
    figure = result.figure()
    values = getattr(figure, "values", None)
    return result.array() if values is None else values


def limits(explanation: Any) -> tuple[str, ...]:
    """What this report cannot show."""
    own = []
    for result in explanation.results:
        hidden_by = result.extra.get("hidden_by")
        if hidden_by:
            assumes = result.extra.get("assumes")
            told = f", which assumes {assumes}" if assumes else ""
            own.append(f"{result.method.name} hides parts by {hidden_by}{told}.")
    own += [f"Left out: {each}" for each in explanation.left_out]
    return (*LIMITS, *dict.fromkeys(own))
