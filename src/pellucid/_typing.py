"""Names for the shapes that travel through the house."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

Rows: TypeAlias = Tensor
"""(rows, *shape): what the model is called with."""

Scores: TypeAlias = Tensor
"""(draws, batch): the explained number."""

Points: TypeAlias = Callable[[Tensor], Tensor]
"""Draw numbers (k,) → points (k, batch, *shape); made when needed, never all at once."""
