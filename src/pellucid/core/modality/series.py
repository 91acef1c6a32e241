"""Time series: (batch, channels, time)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.figure import Curve, Figure, Grid
from pellucid.core.modality.plain import Array, Modality, heat
from pellucid.errors import DtypeError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class Series(Modality):
    """Signals over time. Arrays (time,), (channels, time) or (batch, channels, time); ``rate`` in samples a second.

    Example:
        >>> import numpy as np
        >>> Series(channels=("lead I",), rate=100.0).prepare(np.zeros(50)).shape
        torch.Size([1, 1, 50])
    """

    kind: ClassVar[str] = "series"
    channels: tuple[str, ...] = ()
    rate: float = 1.0

    def prepare(self, given: Any) -> Any:
        if not isinstance(given, Tensor | np.ndarray | list):
            return given
        try:
            signal = given if isinstance(given, Tensor) else torch.tensor(np.asarray(given))
        except (TypeError, ValueError) as error:
            do = "Pass arrays (batch, channels, time); cut or pad signals of unequal length."
            raise DtypeError(expected="numbers in signals of one length", got=str(error)[:80], do=do) from None
        if signal.ndim > 3:
            raise ShapeError(expected="(batch, channels, time)", got=str(tuple(signal.shape)), do="Flatten the rest.")
        while signal.ndim < 3:
            signal = signal[None]
        return signal if signal.is_floating_point() else signal.float()

    def names(self, inputs: Array) -> tuple[str, ...]:
        """One name a channel."""
        return self.channels if len(self.channels) == len(inputs) else tuple(f"channel {i}" for i in range(len(inputs)))

    def input_figure(self, inputs: Array) -> Figure:
        time = np.arange(inputs.shape[-1]) / self.rate
        lines = dict(zip(self.names(inputs), inputs, strict=True))
        return Curve(
            title="input", x=time, lines=lines, x_label="seconds" if self.rate != 1 else "step", alt="the signal"
        )

    def map_figure(
        self, values: Array, inputs: Array, *, title: str = "", limit: float | None = None, **rest: Any
    ) -> Figure:
        if values.ndim != 2:
            return super().map_figure(values, inputs, title=title, limit=limit, **rest)
        return Grid(title=title, figures=(self.input_figure(inputs), heat(values, title=title, limit=limit)), columns=1)
