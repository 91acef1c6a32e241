"""Grids: where an activation lies on the input's space: channels first or last, or tokens of a transformer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.model import Layer, Model

MOST_PREFIX = 8
HALVINGS = 5
CONVOLUTION = re.compile(r"(Lazy)?Conv(Transpose)?[123]d(Same)?")
LAST = ("Linear", "LayerNorm", "RMSNorm")

Space = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """The places of an activation: their ``space``, the axis of channels, and how many tokens stand before them.

    ``axis`` counts with the batch axis; ``flat`` places lie in one row, as tokens.
    """

    space: Space
    axis: int = 1
    prefix: int = 0
    flat: bool = False

    def maps(self, tensor: Tensor) -> Tensor:
        """An activation (batch, …) as maps (batch, channels, *space).

        >>> import torch
        >>> Grid((2, 3), axis=2, prefix=1, flat=True).maps(torch.zeros(5, 7, 4)).shape
        torch.Size([5, 4, 2, 3])
        """
        tensor = tensor.movedim(self.axis, 1)
        return tensor[:, :, self.prefix :].unflatten(2, self.space) if self.flat else tensor

    def back(self, maps: Tensor, tensor: Tensor) -> Tensor:
        """Maps (batch, channels, *space) in the layout of an activation, which lends the tokens before the grid."""
        if self.flat:
            maps = torch.cat([tensor.movedim(self.axis, 1)[:, :, : self.prefix], maps.flatten(2)], 2)
        return maps.movedim(1, self.axis)


@dataclass(frozen=True, eq=False)
class Grids:
    """Finds grids in a model, for inputs (batch, channels, *space): from the spaces that its convolutions give.

    Transformers cut pictures in patches with a convolution; the grid of the patches, halved as often as pairs of
    patches were merged, is the grid of the tokens. Without a convolution, tokens lie in the proportions of the input.
    """

    model: Model
    leaves: Leaves

    @cached_property
    def given(self) -> Space:
        """The space of the inputs."""
        return tuple(self.leaves.values.shape[2:])

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers that give tensors, in the order in which their calls end."""
        return sorted((each for each in self.model.layers(self.leaves) if each.shape), key=lambda each: each.order)

    @cached_property
    def spaces(self) -> list[Space]:
        """The spaces of convolutions, the last one first; then their halvings."""
        rank = len(self.given)
        shapes = [layer.shape for layer in reversed(self.layers) if CONVOLUTION.fullmatch(layer.kind)]
        own = [shape[1:] for shape in shapes if shape is not None and len(shape) == rank + 1]
        return list(dict.fromkeys([*own, *(half for space in own for half in halved(space))]))

    @cached_property
    def may_be_last(self) -> bool:
        """Whether anything works on channels that stand last beside places."""
        rank = len(self.given)
        return any(
            layer.kind.endswith(LAST) and layer.shape is not None and len(layer.shape) == rank + 1
            for layer in self.layers
        )

    def of(self, shape: Space) -> Grid | None:
        """The grid of an activation of ``shape`` (without the batch axis); None for one without a map."""
        rank = len(self.given)
        if rank >= 1 and len(shape) == rank + 1:
            known = [*self.spaces, *halved(self.given)]
            first, other = (known.index(each) if each in known else len(known) for each in (shape[1:], shape[:-1]))
            last = self.may_be_last and other < first
            space = shape[:-1] if last else shape[1:]
            return Grid(space, rank + 1 if last else 1) if max(space) > 1 else None
        if rank < 2 or len(shape) != 2:
            return None
        found = self.tokens(shape[0])
        return None if found is None else Grid(found[1:], axis=2, prefix=found[0], flat=True)

    def tokens(self, tokens: int) -> Space | None:
        """(prefix, *space) of a number of tokens; None where they are no grid."""
        prefixes = range(min(MOST_PREFIX, tokens // 3) + 1)
        for prefix in prefixes:
            for space in self.spaces:
                if math.prod(space) == tokens - prefix and min(space) > 1:
                    return (prefix, *space)
        for prefix in prefixes:
            if (likely := proportioned(tokens - prefix, self.given)) is not None:
                return (prefix, *likely)
        return None


def token_grid(model: Model, leaves: Leaves, tokens: int) -> Space | None:
    """(prefix, height, width) of a number of tokens: how many stand before the grid, and its sides; or None.

    Example:
        >>> import torch
        >>> from pellucid.core.model import Model
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.Flatten(2))
        >>> model = Model(net)
        >>> token_grid(model, model.read(torch.zeros(1, 3, 16, 24)), 25)
        (1, 4, 6)
    """
    return Grids(model, leaves).tokens(tokens)


def halved(space: Space) -> Iterator[Space]:
    """A space, and what is left of it when neighbors are merged in pairs, again and again.

    >>> list(halved((7, 4)))
    [(7, 4), (4, 2), (2, 1), (1, 1)]
    """
    for _ in range(HALVINGS + 1):
        yield space
        if max(space) == 1:
            return
        space = tuple((side + 1) // 2 for side in space)


def proportioned(places: int, given: Space) -> Space | None:
    """Sides with the proportions of ``given`` and so many places in all.

    >>> proportioned(96, (32, 48)), proportioned(97, (32, 48))
    ((8, 12), None)
    """
    scale = (max(places, 0) / math.prod(given)) ** (1 / len(given))
    space = tuple(round(side * scale) for side in given)
    alike = all(abs(side - full * scale) < 1e-6 * full for side, full in zip(space, given, strict=True))
    return space if alike and min(space) > 1 and math.prod(space) == places else None
