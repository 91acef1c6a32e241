"""compare: methods by name, class or object, on the user's model and data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pellucid.core.method import Attributor, as_studied
from pellucid.evaluate.compare import compared
from pellucid.evaluate.comparison import Comparison
from pellucid.evaluate.metrics.measure import Metric
from pellucid.explanation import suitable


def compare(
    methods: Sequence[Attributor | type[Attributor] | str] | None,
    model: Any,
    data: Any,
    targets: Any = None,
    *,
    metrics: Sequence[Metric] | None = None,
    clusters: Any = None,
) -> Comparison:
    r"""Rank methods on a model and data by how faithful they are, and say which cannot be told apart.

    .. math:: d_i = m(a_i) - m(b_i), \quad \bar d \pm \text{bootstrap over inputs}, \quad
        p = \Pr\bigl(|\sum_i \pm d_i| \ge |\sum_i d_i|\bigr)

    ``methods`` are names, classes or objects; None takes those that suit the modality. Each input is one question: all
    methods share its mask bank and curves. The first of ``metrics`` that measures faithfulness ranks (MuFidelity and
    SRG without any); the others, and how often the checks of ``pl.check`` pass, stand beside it. Nothing is blended.
    Two methods differ if the p-value of their paired difference, corrected by Holm over all pairs, is at most 5 %.
    Rows of equal ``clusters`` (one label a row) are resampled together. Maps of slopes, such as Saliency's, are read by
    size: their agreement is with how far the answer moves, not with up and down.

    Shapes: ``data`` a batch of inputs, ``targets`` as for a method: None, one, or one a row.
    Cost:   each method once, twice more on scrambled models and on 4 inputs nearby (lighter where that costs much), and
            about 150 forward passes an input for all methods together, with 20 more for each method's curves.
    Raises: MethodError for an unknown name; OptionError where no method fits. A method that cannot be used on this
            model is left out and named in ``left_out``.
    Source: paired differences and clusters: Miller 2024, arXiv:2411.00640; intervals: Hesterberg 2015,
            arXiv:1411.5279; several comparisons: Holm 1979.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.compare(["Ablation", "Saliency"], pl.load("demo:diabetes"), parts("diabetes").examples[:3])
        >>> sorted(found.ranking), found.rows[0] > 0
        (['Ablation', 'Saliency'], True)
    """
    studied = as_studied(model)
    listed = None if methods is None else [each() if isinstance(each, type) else each for each in methods]
    return compared(suitable(studied, listed), studied, data, targets, metrics, clusters)
