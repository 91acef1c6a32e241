"""explain: several suitable methods on one input, their evidence, and one page that says what to believe."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pellucid.catalogue import find
from pellucid.core.evidence import Evidence, Verdict
from pellucid.core.method import Attributor, as_studied
from pellucid.core.prediction import Prediction
from pellucid.core.result import Attribution
from pellucid.core.run import current_settings
from pellucid.core.store import plain
from pellucid.errors import LayerError, OptionError, ShapeError
from pellucid.evaluate.comparison import Comparison

GOOD_CHOICES: dict[str, tuple[str, ...]] = {
    "image": ("IntegratedGradients", "GradCAM", "Occlusion", "KernelSHAP"),
    "table": ("KernelSHAP", "IntegratedGradients", "Ablation"),
    "text": ("IntegratedGradients", "KernelSHAP", "Ablation"),
    "series": ("IntegratedGradients", "SmoothGrad", "Occlusion"),
    "tensor": ("IntegratedGradients", "SmoothGrad", "Ablation"),
}
BLACK_BOX_CHOICES: dict[str, tuple[str, ...]] = {
    "image": ("KernelSHAP", "RISE", "Occlusion"),
    "table": ("KernelSHAP", "LIME", "Ablation"),
    "text": ("KernelSHAP", "LIME", "Ablation"),
    "series": ("KernelSHAP", "RISE", "Occlusion"),
    "tensor": ("KernelSHAP", "LIME", "Ablation"),
}
ORDER: tuple[Verdict, ...] = ("supported", "mixed", "not testable", "not supported")


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """One input explained by several methods, with evidence: ``save(path)`` writes the page, a notebook shows it.

    ``results`` are the methods' attributions with their evidence, the one to look at first is ``best``; ``verdict`` and
    ``sentences`` say in plain words what to make of them.

    Example:
        >>> import pellucid as pl
        >>> report = pl.explain(pl.load("demo:sentences"), "A wonderful film.", methods=["Ablation"])
        >>> len(report.sentences), report.best.method.name
        (3, 'Ablation')
    """

    prediction: Prediction
    results: tuple[Attribution, ...]
    source: str = ""
    command: str = ""
    left_out: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    @property
    def best(self) -> Attribution:
        """The explanation with the best verdict; among equals the most faithful one."""
        return min(self.results, key=lambda result: (ORDER.index(evidence(result).verdict), -faithfulness(result)))

    @property
    def verdict(self) -> Verdict:
        """The verdict on the best explanation."""
        return evidence(self.best).verdict

    @property
    def words(self) -> str:
        """The verdict in words."""
        return evidence(self.best).words

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What the model says, why, and whether to believe the why."""
        from pellucid.report.sentences import answer_sentence, belief_sentence, reason_sentence

        return answer_sentence(self.prediction), reason_sentence(self.best), belief_sentence(self.best, self.results)

    def html(self) -> str:
        """The whole report as one self-contained page."""
        from pellucid.report.fill import content_of
        from pellucid.report.page import page

        return page(content_of(self))

    def save(self, path: Any) -> Path:
        """Write the page; the file is complete or not there."""
        from pellucid.report.writing import write_page

        return write_page(path, self.html())

    def _repr_html_(self) -> str:
        from html import escape

        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return said + self.best._repr_html_()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data for JSON."""
        methods = [
            {
                "method": plain(result.method),
                "target": result.target_words(),
                "score": float(result.score[0]),
                "top": [[name, value] for name, value in result.top(10)],
                "gap": None if result.gap is None else float(result.gap[0]),
                "receipt": plain(result.receipt),
                "evidence": plain(evidence(result)),
            }
            for result in self.results
        ]
        return {
            "prediction": self.prediction.words(),
            "verdict": self.verdict,
            "words": self.words,
            "sentences": list(self.sentences),
            "best": self.best.method.name,
            "methods": methods,
            "left_out": list(self.left_out),
            "provenance": dict(self.provenance),
        }

    def __repr__(self) -> str:
        return "\n".join(self.sentences)


def explain(
    model: Any,
    inputs: Any,
    target: Any = None,
    *,
    methods: Sequence[Attributor | str] | Comparison | None = None,
    row: int = 0,
    source: str = "",
    command: str = "",
) -> Explanation:
    """Explain one input by several methods on one shared bank of evidence.

    ``methods`` are names or objects, or what ``pl.compare`` gave: then those that cannot be told apart from its best,
    four at most; without them those that suit the modality and the model are taken. ``row`` picks one of several
    inputs; ``source`` and ``command`` (where it came from, how to do it again) are shown in the report.

    Shapes: one picture, row, sentence or series, or a batch of them and ``row``.
    Cost:   the methods', about 128 forward passes for the shared bank, and twice the methods for the other checks.
    Raises: what reading the inputs raises; MethodError for an unknown name; OptionError where no method fits.

    Example:
        >>> import pellucid as pl
        >>> model = pl.load("demo:breast-cancer")
        >>> from pellucid.demo import parts
        >>> report = pl.explain(model, parts("breast-cancer").examples[:1], methods=["Ablation"])
        >>> report.verdict in ("supported", "mixed", "not supported", "not testable")
        True
    """
    from pellucid.evaluate.check import check

    studied = as_studied(model)
    prepared = one_row(studied, inputs, row)
    chosen = suitable(studied, methods)
    results, left_out = [], []
    for method in chosen:
        try:
            results.append(method(studied, prepared, target))
        except (LayerError, ShapeError) as error:
            if methods is not None:
                raise
            left_out.append(f"{type(method).__name__}: {error}")
    if not results:
        raise OptionError(expected="a method that fits the model", got="; ".join(left_out), do="Name methods=[…].")
    judged = check(results, studied)
    shown = tuple(with_evidence(result, each) for result, each in zip(results, judged, strict=True))
    return Explanation(
        prediction=studied(prepared),
        results=shown,
        source=source,
        command=command,
        left_out=tuple(left_out),
        provenance=provenance(studied, shown[0]),
    )


def one_row(studied: Any, inputs: Any, row: int) -> Any:
    """The prepared tensors of one example."""
    from torch.utils import _pytree as pytree

    leaves = studied.read(inputs)
    if not -leaves.batch <= row < leaves.batch:
        raise OptionError(expected=f"a row 0 … {leaves.batch - 1}", got=str(row), do="Pick one that was given.")
    one = leaves.take(torch.tensor([row % leaves.batch]))
    return pytree.tree_unflatten(list(one.tensors), one.spec)


def suitable(studied: Any, methods: Sequence[Attributor | str] | Comparison | None) -> list[Attributor]:
    """Methods as objects; the usual ones for the modality where none are named, the best ones of a comparison."""
    if isinstance(methods, Comparison):
        return list(methods.chosen())
    usual = GOOD_CHOICES if studied.differentiable else BLACK_BOX_CHOICES
    names: Sequence[Any] = methods if methods is not None else usual[studied.modality.kind]
    return [find(each)() if isinstance(each, str) else each for each in names]


def with_evidence(result: Attribution, judged: Evidence | tuple[Evidence, ...]) -> Attribution:
    """A result that carries its evidence."""
    from dataclasses import replace

    return replace(result, evidence=judged if isinstance(judged, tuple) else (judged,))


def evidence(result: Attribution) -> Evidence:
    """The evidence of the (only) row."""
    return result.evidence[0]


def faithfulness(result: Attribution) -> float:
    """The value of the faithfulness check, or −1."""
    found = [each.value for each in evidence(result).checks if each.kind == "faithfulness" and each.value is not None]
    return float(found[0]) if found else -1.0


def provenance(studied: Any, result: Attribution) -> tuple[tuple[str, str], ...]:
    """What was run on what, for the end of the report."""
    import platform
    from importlib.metadata import version

    module = getattr(studied, "module", None)
    name = type(module).__name__ if isinstance(module, nn.Module) else studied.fingerprint()
    digest = hashlib.sha256(np.ascontiguousarray(result.input_array()).tobytes()).hexdigest()[:12]
    settings = current_settings()
    rows = [
        ("model", name),
        ("weights", studied.fingerprint()),
        ("input", digest),
        ("explained number", f"{result.target_words()} = {float(result.score[0]):.4g}"),
        ("computed with", result.receipt.path),
        ("seed", str(settings.seed)),
        ("versions", f"pellucid {version('pellucid')}, torch {torch.__version__}, Python {platform.python_version()}"),
    ]
    return tuple(rows)
