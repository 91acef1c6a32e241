"""Layout: which part each place of a map belongs to, and how a map of any resolution is summed up over the parts."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.features import Elements, Features, Groups, Parts, Patches, usual_features
from pellucid.engines.game import Game
from pellucid.errors import OptionError, ShapeError
from pellucid.evaluate.strata import kinds
from pellucid.evaluate.thresholds import FINER, MOST_ELEMENTS, PARTS_A_SIDE, WORDS_A_HALF


@dataclass(frozen=True, eq=False)
class Layout:
    """The parts of one input and the cells that wrong maps are made of.

    ``places`` (elements,) numbers the cell of every place of ``shape`` (without channels where there is ``space``), −1
    for none; ``part`` (cells,) the part of every cell. With ``space`` cells lie on a ``grid``; without, cells are the
    parts and ``strata`` (parts,) says which may change places. ``words`` names the kind of input.
    """

    shape: tuple[int, ...]
    grid: tuple[int, ...]
    space: tuple[int, ...]
    places: Tensor
    part: Tensor
    n: int
    strata: Tensor
    words: str

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a map of one input may have this shape."""
        if shape == self.shape or (shape == (self.n,) and not self.space):
            return True
        if not self.space:
            return len(shape) == len(self.shape) + 1 and shape[:-1] == self.shape
        rank, channels = len(self.space), self.shape[0]
        one_map = len(shape) == rank or (len(shape) == rank + 1 and shape[0] == 1)
        broad = all(have > 1 or want == 1 for have, want in zip(shape[-rank:], self.space, strict=False))
        return (one_map and broad) or shape == (*self.space, channels)

    def cells(self, values: Tensor, *, by_size: bool) -> Tensor:
        """A map of one input, summed up over cells (cells,); ``by_size`` reads each value by its size."""
        values = self.spread(values, by_size=by_size)
        if not self.space and values.shape == (self.n,) != self.shape:
            return values
        flat, total = values.reshape(-1), torch.zeros(len(self.part), dtype=torch.float64)
        used = self.places >= 0
        return total.index_add(0, self.places[used], flat[used])

    def spread(self, values: Tensor, *, by_size: bool) -> Tensor:
        """A map of one input at the places of the input, channels in one, whatever its own resolution."""
        values = self._folded(values.double(), by_size=by_size)
        if self.space and values.shape != self.space:
            larger = any(have > want for have, want in zip(values.shape, self.space, strict=True))
            mode = "area" if larger else ("linear", "bilinear", "trilinear")[len(self.space) - 1]
            values = interpolate(values[None, None], size=self.space, mode=mode)[0, 0]
        return values

    def parts(self, cells: Tensor) -> Tensor:
        """Sums over parts (…, n) of values on cells (…, cells)."""
        return cells @ one_hot(self.part, self.n).double()

    def _folded(self, values: Tensor, *, by_size: bool) -> Tensor:
        """Channels (or a token's numbers) in one; sizes instead of signed values where asked."""
        axis = None
        if self.space and values.ndim == len(self.space) + 1:
            last = values.shape == (*self.space, self.shape[0]) != self.shape
            axis = -1 if last else 0
        elif not self.space and values.ndim == len(self.shape) + 1:
            axis = -1
        if axis is not None:
            return values.norm(dim=axis) if by_size else values.sum(axis)
        return values.abs() if by_size else values


def features_of(ask: Probe) -> Features:
    """Parts of a size that a check can hide: a grid on pictures and series, columns, words, channels of a layer."""
    if (
        ask.site is not None
        or ask.leaves.integer
        or ask.inputs.ndim < 3
        or isinstance(ask.model.modality, Table | Text)
    ):
        usual = usual_features(ask)
        size = ask.inputs[0].numel()
        if isinstance(usual, Elements) and size > MOST_ELEMENTS:
            return Groups((torch.arange(size) * MOST_ELEMENTS // size).reshape(ask.inputs.shape[1:]))
        return usual
    space = ask.inputs.shape[2:]
    most = PARTS_A_SIDE.get(len(space), 3)
    return Patches(max(space) if max(space) <= most + 2 else most)


def layout_of(game: Game) -> Layout:
    """The layout of a game's players."""
    ask, players = game.ask, game.players
    if not isinstance(players, Parts):
        raise OptionError(expected="parts that do not overlap", got=type(players).__name__, do="Use Patches or Groups.")
    if isinstance(features_of(ask), Patches):
        return grid_layout(ask, players)
    shape = tuple(ask.inputs.shape[1:])
    places = players.labels.expand(1, *shape).reshape(-1).cpu()
    words, strata = kind_of(ask), torch.zeros(players.n, dtype=torch.long)
    if words == "words":
        strata = 2 * kinds(players.names) + halves(players.n) if players.names else halves(players.n)
    return Layout(shape, (players.n,), (), places, torch.arange(players.n), players.n, strata, words)


def grid_layout(ask: Probe, players: Parts) -> Layout:
    """A grid of parts over the spatial axes, each part a grid of cells."""
    shape = tuple(ask.inputs.shape[1:])
    space, labels = shape[1:], players.labels[0, 0]
    grid, places = [], torch.zeros((), dtype=torch.long)
    for axis, size in enumerate(space):
        parts = int(labels.movedim(axis, 0).reshape(size, -1)[:, 0].unique().numel())
        cells = parts * max(1, min(FINER, size // parts))
        along = (torch.arange(size) * cells).div(size, rounding_mode="floor")
        places = places[..., None] * cells + along
        grid.append(cells)
    part = torch.zeros(prod(grid), dtype=torch.long)
    part[places.reshape(-1)] = labels.reshape(-1)
    words = {1: "series", 2: "picture"}.get(len(space), "volume")
    strata = torch.zeros(players.n, dtype=torch.long)
    return Layout(shape, tuple(grid), space, places.reshape(-1), part, players.n, strata, words)


def kind_of(ask: Probe) -> str:
    """What the parts are, in a word."""
    if ask.site is not None:
        return "units"
    return "words" if ask.leaves.integer else "columns"


def halves(n: int) -> Tensor:
    """(n,) the half of the text a word stands in; all one where a half has few words.

    >>> halves(4), len(halves(40).unique())
    (tensor([0, 0, 0, 0]), 2)
    """
    return (torch.arange(n) >= n // 2).long() if n // 2 >= WORDS_A_HALF else torch.zeros(n, dtype=torch.long)


def map_rows(values: Tensor, layout: Layout, batch: int) -> Tensor:
    """Values as one map an input (batch, …); the batch axis may be missing for a single input. ShapeError else."""
    if len(values) == batch and layout.fits(tuple(values.shape[1:])):
        return values
    if batch == 1 and layout.fits(tuple(values.shape)):
        return values[None]
    want = f"values {(batch, *layout.shape)}" + (f" or a map ({batch}, 1, …)" if layout.space else "")
    raise ShapeError(expected=want, got=str(tuple(values.shape)), do="Give one value for each part of the inputs.")
