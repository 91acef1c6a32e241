"""What ``dream`` and ``caricature`` give: the picture, what it was made of, and what it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.figure import Curve, Figure, Grid, Picture
from pellucid.core.modality import Images, Modality
from pellucid.core.run import Receipt
from pellucid.errors import InputError
from pellucid.features.saving import save_pictures

SHARP = 64
SHOWN = 6


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Remade:
    """Inputs made from others (``start``), one a row: ``inputs``, and ``pictures`` in [0, 1] where they are such."""

    inputs: Tensor
    pictures: Tensor | None
    start: Tensor
    names: tuple[str, ...]
    receipt: Receipt
    modality: Modality
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def told(self) -> str:
        """What it cost, and what must be known."""
        return " · ".join([str(self.receipt), *self.notes])

    def line(self, row: int) -> str:
        """How far a row came."""
        raise NotImplementedError

    def words(self) -> str:
        """A line a row."""
        return "\n".join(self.line(row) for row in range(len(self)))

    def drawn(self, values: Tensor, title: str, caption: str = "") -> Figure:
        """Inputs as a picture, or as their modality draws them."""
        array = np.asarray(values.detach().cpu().double())
        if isinstance(self.modality, Images) and array.ndim == 3:
            return Picture(title=title, pixels=enlarged(self.modality.pixels(array)), caption=caption, alt=title)
        drawn = self.modality.input_figure(array)
        return type(drawn)(**{**vars(drawn), "title": title, "caption": caption, "alt": title})

    def checked(self, row: int) -> int:
        """A row that exists."""
        if isinstance(row, bool) or not isinstance(row, int) or not -len(self) <= row < len(self):
            raise InputError(expected=f"a row 0 … {len(self) - 1}", got=str(row), do="Ask for one that was made.")
        return row % len(self)

    def figure(self, row: int | None = None) -> Grid:
        """Beside each other: what was given and what was made of it."""
        shown = range(min(len(self), SHOWN)) if row is None else [self.checked(row)]
        pairs = [
            each
            for i in shown
            for each in (self.drawn(self.start[i], "given"), self.drawn(self.inputs[i], self.names[i], self.line(i)))
        ]
        return Grid(figures=tuple(pairs), columns=2 if len(pairs) == 2 else 4, caption=self.told())

    def plot(self, row: int | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(row).plot()

    def arrays(self) -> dict[str, Tensor]:
        """What is saved."""
        found = {"inputs": self.inputs, "start": self.start}
        return found if self.pictures is None else found | {"pictures": self.pictures}

    def save(self, path: str | Path) -> None:
        """Write a drawing (.png, .pdf, .svg), a page (.html) or the arrays (.safetensors), by the name's ending."""
        save_pictures(path, self, self.arrays(), {"names": self.names, "notes": self.notes})

    def _repr_html_(self) -> str:
        return f"{self.figure().html()}<p>{escape(self.told())}</p>"

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {len(self)} × {tuple(self.inputs.shape[1:])}\n{self.words()}\n{self.told()}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dream(Remade):
    """Dreams, one a row: the target ``before`` and its ``score`` after (rows,), ``path`` (steps, rows) on the way.

    ``octaves`` are the inputs after each octave, each at its own size.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.dream(pl.load("demo:digits"), parts("digits").examples[:2], "stem", octaves=2, steps=2)
        >>> found.path.shape, [tuple(each.shape[2:]) for each in found.octaves]
        (torch.Size([4, 2]), [(6, 6), (8, 8)])
    """

    octaves: tuple[Tensor, ...]
    score: Tensor
    before: Tensor
    path: Tensor

    def line(self, row: int) -> str:
        return f"{self.names[row]}: {float(self.before[row]):.3g} → {float(self.score[row]):.3g}"

    def steps(self, row: int = 0) -> Grid:
        """What was given, the dream after each octave, and the score on the way."""
        row = self.checked(row)
        figures = [self.drawn(self.start[row], "given")]
        for i, each in enumerate(self.octaves):
            figures.append(self.drawn(each[row], f"octave {i + 1}: {' × '.join(map(str, each.shape[2:]))}"))
        path = np.asarray(self.path[:, row].cpu().double())
        figures.append(
            Curve(
                title="score on the way",
                x=np.arange(1.0, len(path) + 1),
                lines={"score": path},
                x_label="step",
                y_label=self.names[row],
                alt=f"the score from {path[0]:.3g} to {path[-1]:.3g}",
            )
        )
        return Grid(figures=tuple(figures), columns=3, caption=self.told())

    def arrays(self) -> dict[str, Tensor]:
        found = super().arrays() | {"score": self.score, "before": self.before, "path": self.path}
        return found | {f"octave {i + 1}": each for i, each in enumerate(self.octaves)}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Caricature(Remade):
    r"""Caricatures, one a row: how alike a layer's answers to it and to the picture are, and how exaggerated.

    ``cosine`` and ``strength`` (rows,) are :math:`\cos(h, h_0)` and :math:`h \cdot h_0 / \lVert h_0 \rVert^2`, where 1
    is the picture itself; ``control`` is the cosine of an empty picture.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.caricature(pl.load("demo:digits"), parts("digits").examples[0], "block1", steps=4)
        >>> found.cosine.shape, found.pictures.shape
        (torch.Size([1]), torch.Size([1, 1, 8, 8]))
    """

    cosine: Tensor
    strength: Tensor
    control: Tensor
    path: Tensor

    def line(self, row: int) -> str:
        cosine, control, strength = (float(each[row]) for each in (self.cosine, self.control, self.strength))
        return f"cosine {cosine:.2f} (an empty picture {control:.2f}), {strength:.2g} × as strong as the picture"

    def arrays(self) -> dict[str, Tensor]:
        numbers = {"cosine": self.cosine, "strength": self.strength, "control": self.control, "path": self.path}
        return super().arrays() | numbers


def enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Small pictures with their pixels repeated."""
    side = max(pixels.shape[:2])
    times = max(1, -(-SHARP // side)) if side < SHARP else 1
    return pixels.repeat(times, 0).repeat(times, 1)
