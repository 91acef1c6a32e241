"""Results in the form that other programs read."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.drawing import Contributions, as_array, contributions, players
from pellucid.core.modality import Table, Text
from pellucid.errors import LoadError


def to_shap(result: Any) -> Any:
    """A ``shap.Explanation`` of all rows: columns, words or parts; whole arrays for pictures without parts."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what shap's import complains of is not the caller's
            Explanation = import_module("shap").Explanation
    except ImportError:
        raise LoadError(expected="the package shap", got="none", do="Install it: pip install shap.") from None
    base = as_array(result.base_score)
    rows = range(len(result))
    flat = result.array().ndim == 1 or players(result, 0) is not None
    if not flat:
        values = np.stack([result.array(row) for row in rows])
        inputs = np.stack([result.input_array(row) for row in rows])
        return Explanation(values, base_values=base, data=inputs if inputs.shape == values.shape else None)
    parts = [contributions(result, row) for row in rows]
    names = parts[0].names
    if any(each.names != names for each in parts) or isinstance(result.modality, Text):
        texts = [list(each.names) for each in parts]
        return Explanation(
            together([each.values for each in parts]), base_values=base, data=together(texts), feature_names=texts
        )
    values = np.stack([each.values for each in parts])
    numbers = None if parts[0].numbers is None else np.stack([np.asarray(each.numbers) for each in parts])
    shown = display(result.modality, parts) if numbers is not None else None
    return Explanation(values, base_values=base, data=numbers, feature_names=list(names), display_data=shown)


def together(rows: list[Any]) -> NDArray[np.object_]:
    """Rows of unequal length as one array of arrays."""
    held = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        held[i] = np.asarray(row)
    return held


def display(modality: Any, parts: list[Contributions]) -> NDArray[np.object_] | None:
    """Numbers as numbers, levels of categorical columns by name; None where there are only numbers."""
    if not isinstance(modality, Table) or not modality.categories:
        return None
    cells = np.stack([np.asarray(each.numbers, dtype=object) for each in parts])
    for j, name in enumerate(parts[0].names):
        levels = modality.categories.get(name)
        if levels is not None:
            cells[:, j] = [levels[round(each)] for each in cells[:, j]]
    return cells
