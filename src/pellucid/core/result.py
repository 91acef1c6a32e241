"""Results: values with everything that is needed to read, judge and repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core import drawing, interchange, looking
from pellucid.core.evidence import Evidence
from pellucid.core.figure import Figure, Grid
from pellucid.core.leaves import named
from pellucid.core.modality import Modality
from pellucid.core.outputs import Outputs
from pellucid.core.run import Receipt
from pellucid.core.target import Target
from pellucid.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class MethodNote:
    """A method's description, not the object: name, options, paper, and what one value means.

    ``folding`` says how values are read together: shares that add up ("sum"), or sizes ("norm").
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    units: str = ""
    laws: tuple[str, ...] = ()
    folding: str = "sum"

    def __str__(self) -> str:
        changed = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({changed})"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Attribution:
    """How much each part of the inputs contributes to the explained number.

    ``values`` has the structure of the inputs (a tensor, or a dict / tuple of tensors), batch axis first; for token ids
    one value per token under ``input_ids``. ``score`` (batch,) is the explained number at the inputs, ``base_score``
    the same at the baseline where there is one, ``gap`` (batch,) the relative completeness gap where completeness is
    claimed, ``standard_error`` the sampling error of each value where there is one. ``at`` is the layer asked about.
    ``asked`` is what a sampled method asked of the model and was told, for resuming. ``maker`` is the method itself,
    for checks that ask it again; it is not saved.

    Example:
        >>> import torch, pellucid as pl
        >>> heat = pl.InputXGradient()(torch.nn.Linear(2, 1), torch.ones(1, 2))
        >>> heat.method.name, heat.values.shape, heat.receipt.rows_backward
        ('InputXGradient', torch.Size([1, 2]), 1)
    """

    values: Any
    inputs: Any
    target: Target
    score: Tensor
    method: MethodNote
    receipt: Receipt
    modality: Modality
    about: Outputs = field(default_factory=Outputs)
    evidence: tuple[Evidence, ...] = ()
    standard_error: Any = None
    gap: Tensor | None = None
    base_score: Tensor | None = None
    at: str | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[Mapping[str, Tensor], ...] = ()
    maker: Any = None

    def __len__(self) -> int:
        return len(self.score)

    def main(self) -> Tensor:
        """The values as one tensor: themselves, or those of the first input."""
        return main_tensor(self.values)

    def array(self, row: int = 0) -> Array:
        """The values of one row."""
        self._check(row)
        return np.asarray(self.main()[row].detach().cpu().double())

    def input_array(self, row: int = 0) -> Array:
        """The inputs of one row, the leaf that the values belong to."""
        self._check(row)
        leaf = self.inputs
        if isinstance(leaf, Mapping):
            leaves = named(leaf)
            leaf = leaves[next(iter(self.values if isinstance(self.values, Mapping) else leaves))]
        if isinstance(leaf, tuple):
            leaf = next(each for each in leaf if isinstance(each, Tensor) and each.ndim and len(each) == len(self))
        return np.asarray(leaf[row].detach().cpu())

    def _check(self, row: int) -> None:
        if not -len(self) <= row < len(self):
            raise InputError(expected=f"a row 0 … {len(self) - 1}", got=str(row), do="Ask for one that was explained.")

    def target_words(self, row: int = 0) -> str:
        """The explained number in words."""
        return self.target.words(self.about, row)

    def words(self, row: int = 0) -> str:
        """One line: how exact, what it cost."""
        parts = []
        if self.gap is not None:
            parts.append(f"complete to {100 * float(self.gap[row]):.2g} %")
        if self.standard_error is not None:
            error = main_tensor(self.standard_error)[row].abs().mean()
            size = self.main()[row].abs().mean()
            parts.append(f"sampling error {100 * float(error / size) if size else 0:.2g} % of the mean value")
        parts.append(str(self.receipt))
        if self.evidence:
            parts.insert(0, self.evidence[row].verdict)
        return " · ".join(parts + list(self.notes))

    def figure(self, row: int = 0, limit: float | None = None, shown: str = "signed") -> Figure:
        """The values of one row, drawn the way its kind of input is read.

        ``limit`` is the value at which colors saturate. ``shown`` "positive" leaves out what speaks against the target
        (the ReLU of the CAM papers), "size" draws magnitudes. Values stay as they are.
        """
        return drawing.figure_of(drawing.displayed(self, shown), row, limit)

    def parts_figure(self, row: int = 0, most: int = 12) -> Figure:
        """The parts of one row as bars, a waterfall where values add up from a baseline; the rest stands together."""
        return drawing.parts_figure(self, row, most)

    def force_figure(self, row: int = 0) -> Figure:
        """The parts of one row as one bar: up from the baseline, then down to the score."""
        return drawing.force_figure(self, row)

    def interactions_figure(self, row: int = 0) -> Figure:
        """How much each two parts of one row do together, as a matrix."""
        return drawing.interactions_figure(self, row)

    def attention_figure(self, row: int = 0, layer: int | None = None, head: int | None = None) -> Figure:
        """Attention of one row: all layers and heads at a glance; one layer, or one head of it, with names.

        A ``head`` alone is one of the last layer; on a picture it is drawn where the class token looks.
        """
        return looking.attention_figure(self, row, layer, head, drawing.title_of(self, row))

    def plot(self, row: int = 0, limit: float | None = None, shown: str = "signed") -> Any:
        """Draw ``figure`` with matplotlib."""
        return self.figure(row, limit, shown).plot()

    def top(self, k: int = 5, row: int = 0) -> list[tuple[str, float]]:
        """The k largest contributions by magnitude, with their names."""
        values, inputs = self.array(row), self.input_array(row)
        labels = self.modality.labels(inputs)
        same = values.shape == inputs.shape or values.shape == (len(labels),)
        labels = labels if same else Modality().labels(values)
        flat = values.ravel()
        by_column = getattr(self.modality, "by_column", None)
        if by_column is not None and len(flat) != len(labels):
            flat = by_column(flat)
        order = np.argsort(-np.abs(flat), kind="stable")[:k]
        return [(labels[i], float(flat[i])) for i in order]

    def to_frame(self, row: int = 0) -> Any:
        """One row a part: name, value (and standard error), as a pandas frame."""
        import pandas

        flat = self.array(row).ravel()
        names = [name for name, _ in sorted(enumerate(self.modality.labels(self.input_array(row))))]
        labels = self.modality.labels(self.input_array(row)) if len(names) == len(flat) else range(len(flat))
        columns: dict[str, Any] = {"part": list(labels), "value": flat}
        if self.standard_error is not None:
            columns["standard_error"] = np.asarray(main_tensor(self.standard_error)[row].detach().cpu()).ravel()
        return pandas.DataFrame(columns)

    def to_shap(self) -> Any:
        """All rows as a ``shap.Explanation``, for the plots of the package shap."""
        return interchange.to_shap(self)

    def save(self, path: Any) -> None:
        """Write arrays and a JSON header to one safetensors file; nothing in it is ever executed."""
        import_module("pellucid.core.store").save(self, path)

    def _repr_html_(self) -> str:
        figures = tuple(self.figure(row) for row in range(min(len(self), 4)))
        drawn = figures[0] if len(figures) == 1 else Grid(figures=figures)
        from html import escape

        return drawn.html() + f"<p>{escape(self.words())}</p>"

    def __repr__(self) -> str:
        return f"{self.method.name}({self.target_words()}): {tuple(self.main().shape)} · {self.words()}"


def main_tensor(values: Any) -> Tensor:
    """A tensor: itself, or the first of a dict or tuple."""
    if isinstance(values, Mapping):
        values = next(iter(values.values()))
    return values[0] if isinstance(values, tuple) else values
