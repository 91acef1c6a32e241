"""What a map keeps of a data set in one pass: some rows drawn at random, sums for PCA, and small pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.modality import Images, Modality, Text
from pellucid.errors import NonFiniteError
from pellucid.features.tally import Lots
from pellucid.features.units import Place, Visible

Array = NDArray[Any]
HELD = 2048
SIDE = 48


class Drawn:
    """Rows drawn at random, the same whatever the batches are."""

    def __init__(self, seed: int, most: int) -> None:
        self.lots = Lots(seed, most)
        self.numbers = torch.empty(0, dtype=torch.long)

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of these rows are drawn, and which of (known, new) ones stay."""
        chosen, _, stay = self.lots.of(rows)
        if len(chosen):
            self.numbers = torch.cat([self.numbers, rows[chosen].cpu()])[stay]
        return chosen, stay


class Vectors:
    """Reads a layer: rows as vectors (rows, features), some kept; sums over all rows where features are few."""

    def __init__(self, place: Place, visible: Visible, seed: int, most: int, pool: str, *, wanted: bool) -> None:
        self.place, self.visible, self.pool, self.drawn = place, visible, pool, Drawn(seed, most)
        self.values = torch.empty(0)
        self.wanted, self.whole, self.count = wanted, False, 0
        self.shift = self.sum = self.square = torch.empty(0)

    def read(self, values: Tensor, rows: Tensor) -> None:
        x = self.vectors(values, rows)
        if not bool(torch.isfinite(x).all()):
            do = "Check the weights and the scale of the inputs."
            raise NonFiniteError(expected=f"finite activations of {self.place.name!r}", got="NaN or infinity", do=do)
        if not self.count:
            self.values = x[:0].cpu()
            self.whole = self.wanted and x.shape[1] <= HELD
            self.shift = x.double().mean(0)
            self.sum = torch.zeros_like(self.shift)
            self.square = self.shift.new_zeros(*[x.shape[1] if self.whole else 0] * 2)
        self.count += len(x)
        if self.whole:
            about = x.double() - self.shift
            self.sum += about.sum(0)
            self.square += about.T @ about
        chosen, stay = self.drawn.of(rows)
        if len(chosen):
            self.values = torch.cat([self.values, x[chosen.to(x.device)].cpu()])[stay]

    def vectors(self, values: Tensor, rows: Tensor) -> Tensor:
        """Rows (rows, features): means over places, or all of them; of texts, over the tokens that are there."""
        maps = self.place.maps(values)
        mask = self.visible.of(rows, self.place, values)
        if mask is not None:
            there = mask[:, None].to(maps)
            maps = maps * there
            if self.pool == "mean":
                return maps.sum(2) / there.sum(2).clamp_min(1)
        return maps.flatten(2).mean(2) if self.pool == "mean" and maps.ndim > 2 else maps.flatten(1).clone()

    def kept(self) -> tuple[Array, Array]:
        """The numbers of the rows kept, in their order, and their vectors."""
        order = self.drawn.numbers.argsort()
        return self.drawn.numbers[order].numpy(), np.asarray(self.values[order].double())

    def principal(self) -> tuple[Array, Array, Array]:
        """The mean, two principal directions and their shares of variance, of all rows."""
        mean = self.sum / self.count
        spread = self.square - self.count * torch.outer(mean, mean)
        variances, directions = torch.linalg.eigh(spread)
        shares = np.asarray(variances.clamp_min(0).flip(0).cpu())
        main = np.asarray(directions.flip(1).T[:2].cpu())
        largest = np.take_along_axis(main, np.abs(main).argmax(1)[:, None], 1)
        main = main * np.where(largest < 0, -1.0, 1.0)
        short = 2 - len(main)
        main, shares = np.pad(main, ((0, short), (0, 0))), np.pad(shares, (0, short))
        return np.asarray((mean + self.shift).cpu()), main, shares[:2] / max(float(shares.sum()), 1e-300)


class Faces:
    """Reads the inputs: small pictures, or texts, of the same rows."""

    def __init__(self, modality: Modality, seed: int, most: int) -> None:
        self.modality, self.drawn = modality, Drawn(seed, most)
        self.faces: list[Any] = []

    def read(self, values: Tensor, rows: Tensor) -> None:
        chosen, stay = self.drawn.of(rows)
        new = [self.face(np.asarray(values[i].detach().cpu())) for i in chosen.tolist()]
        faces = [*self.faces, *new]
        self.faces = [faces[i] for i in stay.tolist()] if new else self.faces

    def face(self, row: Array) -> Any:
        """What one row looks like, at a glance."""
        if isinstance(self.modality, Images) and row.ndim == 3:
            return small(self.modality.pixels(row.astype(float)))
        if isinstance(self.modality, Text):
            hidden = np.asarray(self.modality.special(torch.as_tensor(row)))
            words = [each for each, gone in zip(self.modality.tokens(row), hidden, strict=True) if not gone]
            return " ".join(words)
        return None

    def shown(self, most: int) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Pictures of at most so many rows, and texts of all, in the order of rows."""
        order = self.drawn.numbers.argsort().tolist()
        faces = [self.faces[i] for i in order]
        if any(isinstance(each, str) for each in faces):
            return (), tuple(str(each) for each in faces)
        if not any(isinstance(each, np.ndarray) for each in faces):
            return (), ()
        return tuple(self.faces[i] if i < most else None for i in order), ()


def small(pixels: Array) -> Array:
    """A picture of at most 48 pixels a side."""
    side = max(pixels.shape[:2])
    if side <= SIDE:
        return pixels
    from PIL import Image

    high, wide = (max(1, round(each * SIDE / side)) for each in pixels.shape[:2])
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), Image.Resampling.LANCZOS))
