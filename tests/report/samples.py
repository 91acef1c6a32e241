"""Whole reports to look at: one of every modality, with a text of one's choice in every place that takes one."""

from __future__ import annotations

import numpy as np

from pellucid.core.evidence import Check, Control, Evidence, Verdict
from pellucid.core.figure import Bars, Curve, Figure, Grid, Heat, MarkedText, Picture, Sheet
from pellucid.report import Content, MethodView, Section
from tests.show.samples import big

VERDICTS: tuple[Verdict, ...] = ("supported", "mixed", "not supported", "not testable")


def evidence(text: str, verdict: Verdict) -> Evidence:
    """Three checks: passed with a control, failed, and one that does not judge."""
    said = {"name": text, "kind": text, "question": text, "reason": text, "cannot_show": text, "source": text}
    control = Control(kind=text, n=99, median=0.02, q95=0.2)
    full = {"interval": (0.3, 0.5), "control": control, "p": 0.01, "p_holm": 0.03, "rows": 128, "hidden_by": text}
    checks = (
        Check(**said, value=0.4, better="higher", passed=True, **full),
        Check(**{**said, "name": text + " 2"}, value=0.9, better="lower", passed=False, control=control),
        Check(**{**said, "name": text + " 3"}, value=None, better="neither", passed=None),
    )
    return Evidence(verdict=verdict, words=text, checks=checks, reproduce=text)


def drawn(modality: str, text: str, seed: int) -> Figure:
    """An explanation as each modality shows it."""
    random = np.random.default_rng(seed)
    said = {"title": text, "alt": text, "caption": text}
    labels = tuple(f"{text} {i}" for i in range(5))
    values = np.array([1.0, -0.6, 0.3, 0.0, 0.1])
    if modality == "image":
        if seed % 2:
            return Heat(values=np.abs(random.normal(size=(7, 7))), limit=2.0, signed=False, under=big(96), **said)
        return Heat(values=random.normal(size=(96, 96)), limit=2.0, under=big(96), **said)
    if modality == "text":
        return MarkedText(tokens=labels, values=values, limit=1.0, **said)
    if modality == "series":
        heat = Heat(values=random.normal(size=(2, 50)), limit=2.0, **said)
        return Grid(figures=(given(modality, text), heat), columns=1, **said)
    return Bars(labels=labels, values=values, details=labels, base=0.0, total=0.8, errors=values * 0.1, **said)


def given(modality: str, text: str) -> Figure:
    """The input as each modality shows it."""
    if modality == "image":
        return Picture(pixels=big(96), title=text, alt=text)
    if modality == "text":
        return MarkedText(tokens=(text, "is", "here"), values=np.zeros(3), limit=1.0, alt=text)
    if modality == "series":
        return Curve(x=np.arange(50.0), lines={text: np.sin(np.arange(50.0))}, x_label=text, alt=text)
    return Sheet(header=("column", "value"), rows=tuple((f"{text} {i}", i / 3) for i in range(30)), alt=text)


def report(modality: str = "image", text: str = "word", methods: int = 5) -> Content:
    """A report with ``text`` in every place."""
    views = tuple(
        MethodView(
            name=f"{text} {i}",
            figure=drawn(modality, text, i),
            paper=text,
            words=text,
            units=text,
            evidence=evidence(text, VERDICTS[i % 4]) if i < 4 else None,
            notes=(text,),
        )
        for i in range(methods)
    )
    chances = Bars(labels=(text, "other"), values=np.array([0.9, 0.1]), signed=False, unit="probability", alt=text)
    return Content(
        title=text,
        modality=modality,
        input=given(modality, text),
        prediction=chances,
        prediction_words=text,
        verdict="mixed",
        verdict_words=text,
        sentences=(text, text, text),
        methods=views,
        more=(Section(title=text, words=(text,), figures=(drawn(modality, text, 9),)),),
        limits=(text, text),
        provenance=((text, text), ("seed", "0")),
        reproduce=text,
    )
