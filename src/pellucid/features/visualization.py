"""What ``visualize`` gives: pictures with their scores, how they came about, and how far they may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.evidence import Evidence
from pellucid.core.figure import Curve, Figure, Grid, Picture
from pellucid.core.modality import Images, Modality
from pellucid.core.outputs import Outputs
from pellucid.core.run import Receipt
from pellucid.core.target import Target
from pellucid.errors import InputError
from pellucid.features.honesty import Honesty
from pellucid.features.judged import evidence_of
from pellucid.features.saving import save_pictures

Array = NDArray[Any]
SHARP = 64
SHOWN = 12


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Visualization:
    """Inputs that targets like best, one a row, with a standing report of honesty.

    ``inputs`` (rows, *shape) are what the model takes; ``pictures`` the same in [0, 1] (for pictures; else None).
    ``score`` (rows,) is the target there, ``path`` (steps, rows) on the way (moved, and so lower than at the end).
    ``transparency`` (rows, *space) in [0, 1] is how much each place mattered on the way. ``kept`` are inputs by step.

    Example:
        >>> import pellucid as pl
        >>> found = pl.visualize(pl.load("demo:digits"), [pl.Class(3), pl.Class(8)], steps=4)
        >>> found.pictures.shape, found.path.shape, len(found.words().splitlines())
        (torch.Size([2, 1, 8, 8]), torch.Size([4, 2]), 2)
    """

    inputs: Tensor
    pictures: Tensor | None
    score: Tensor
    path: Tensor
    targets: tuple[Target, ...]
    names: tuple[str, ...]
    honesty: Honesty
    transparency: Tensor
    receipt: Receipt
    modality: Modality
    about: Outputs = field(default_factory=Outputs)
    kept: Mapping[int, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    transparent: bool = False

    def __len__(self) -> int:
        return len(self.score)

    def words(self) -> str:
        """A line a picture: the target, and how far the picture may be believed."""
        return "\n".join(f"{name}: {self.honesty.words(row)}" for row, name in enumerate(self.names))

    def own_evidence(self) -> Evidence | tuple[Evidence, ...]:
        """The report of honesty as checks with a verdict, one a picture; what ``pl.check`` gives for it."""
        made = tuple(evidence_of(self.honesty, row) for row in range(len(self)))
        return made[0] if len(made) == 1 else made

    def told(self) -> str:
        """What it cost, and what must be known of all."""
        return " · ".join([str(self.receipt), *self.notes])

    def picture(self, row: int = 0, step: int | None = None) -> Figure:
        """One picture, at its end or as it was kept after a step."""
        self._check(row)
        if step is not None and step not in self.kept:
            raise InputError(
                expected=f"a step that was kept: {sorted(self.kept)}", got=str(step), do="visualize(…, keep=(1, 8))."
            )
        values = self.inputs[row] if step is None else self.kept[step][row]
        array = np.asarray(values.detach().cpu().double())
        title = self.names[row] + ("" if step is None else f" after {step} steps")
        alt = f"what {self.names[row]} likes best, score {float(self.score[row]):.3g}"
        if isinstance(self.modality, Images) and array.ndim == 3:
            return Picture(title=title, pixels=self._pixels(array, row), caption=self._caption(row), alt=alt)
        drawn = self.modality.input_figure(array)
        return type(drawn)(**{**vars(drawn), "title": title, "caption": self._caption(row), "alt": alt})

    def _pixels(self, array: Array, row: int) -> NDArray[np.uint8]:
        pixels = self.modality.pixels(array)  # type: ignore[attr-defined]
        if self.transparent:
            alpha = np.asarray(self.transparency[row].cpu().double())[..., None]
            pixels = (alpha * pixels + (1 - alpha) * 255).round().astype(np.uint8)
        times = max(1, SHARP // max(pixels.shape[:2]))
        return pixels.repeat(times, 0).repeat(times, 1)

    def _caption(self, row: int) -> str:
        return self.honesty.brief(row)

    def _check(self, row: int) -> None:
        if not -len(self) <= row < len(self):
            raise InputError(expected=f"a row 0 … {len(self) - 1}", got=str(row), do="Ask for one that was made.")

    def figure(self, row: int | None = None) -> Grid:
        """The pictures with what they reach; with ``row``, one of them with its whole report and its path of scores."""
        if row is None:
            figures: tuple[Figure, ...] = tuple(self.picture(i) for i in range(min(len(self), SHOWN)))
            if len(self) > 1:
                return Grid(figures=figures, columns=4, caption=self.told())
            row = 0
        self._check(row)
        climb = Curve(
            title="score on the way",
            x=np.arange(1.0, len(self.path) + 1),
            lines={"score": np.asarray(self.path[:, row].cpu().double())},
            x_label="step",
            y_label="score of the moved picture",
            alt=f"the score from {float(self.path[0, row]):.3g} to {float(self.path[-1, row]):.3g}",
        )
        rest = [self.honesty.figure(row), self.honesty.path_figure(row), climb]
        shown = (self.picture(row), *(each for each in rest if each is not None))
        return Grid(figures=shown, columns=2, caption=self.told())

    def plot(self, row: int | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(row).plot()

    def save(self, path: str | Path) -> None:
        """Write a drawing (.png, .pdf, .svg), a page (.html) or the arrays (.safetensors), by the name's ending."""
        arrays = {"inputs": self.inputs, "score": self.score, "path": self.path, "transparency": self.transparency}
        arrays |= {} if self.pictures is None else {"pictures": self.pictures}
        arrays |= {f"inputs after {step}": each for step, each in self.kept.items()}
        save_pictures(path, self, arrays, {"names": self.names, "notes": self.notes})

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{escape(line)}</li>" for line in self.words().splitlines())
        return f"{self.figure().html()}<ul>{lines}</ul><p>{escape(self.told())}</p>"

    def __repr__(self) -> str:
        return f"{len(self)} × {tuple(self.inputs.shape[1:])}\n{self.words()}\n{self.told()}"


def shades(touched: Tensor, rank: int) -> Tensor:
    """Σ|slope| (rows, *shape) as alpha (rows, *space) in [0, 1]: channels added up, the strongest fifth opaque."""
    total = touched.double()
    if rank and total.ndim == rank + 2:
        total = total.sum(1)
    top = torch.quantile(total.flatten(1), 0.8, dim=1).clamp_min(1e-300)
    return (total / top.reshape(-1, *[1] * (total.ndim - 1))).clamp(0, 1).to(touched)
