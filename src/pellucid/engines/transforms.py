"""Random moves of inputs before each step of an ascent: what survives them is no accident of single pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.engines.points import generator
from pellucid.errors import OptionError

EDGES = {"border": "border", "mirror": "reflection", "zeros": "zeros"}


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """Shifts by up to ``jitter`` places, turns by up to ``rotate`` degrees, zooms within 1 ± ``scale``, and noise.

    ``crop`` is the least share of the side that may be cut out and enlarged, ``pad`` the places of edge put around the
    picture before it is moved, ``edge`` what stands there ("border", "mirror", "zeros"), ``noise`` the width of normal
    noise as a share of the range. All moves are one bilinear look-up; a step's moves depend on the seed, the step and
    the row's number only. Series are shifted, zoomed and cropped in time; inputs without space only get noise.

    Example:
        >>> import pellucid as pl
        >>> calm = pl.Transforms(jitter=1, noise=0.02)
        >>> pl.visualize(pl.load("demo:digits"), 3, steps=2, transforms=calm).score.shape
        torch.Size([1])
    """

    jitter: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    crop: float = 1.0
    pad: int = 0
    noise: float = 0.0
    edge: str = "border"

    def __post_init__(self) -> None:
        if self.edge not in EDGES:
            raise OptionError(expected=f"an edge of {tuple(EDGES)}", got=repr(self.edge), do="Choose one.")
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "edge" and not (isinstance(value, int | float) and 0 <= value < math.inf):
                got = f"{each.name}={value!r}"
                raise OptionError(expected="a finite number, at least 0", got=got, do="Give how far at most.")
        if not 0 < self.crop <= 1 or self.scale >= 1:
            got = f"crop={self.crop}, scale={self.scale}"
            raise OptionError(expected="0 < crop ≤ 1 and scale < 1", got=got, do="Both are shares of the side.")

    @property
    def moves(self) -> bool:
        """Whether places are moved at all."""
        return bool(self.jitter or self.rotate or self.scale or self.pad or self.crop < 1)

    @classmethod
    def fitting(cls, shape: tuple[int, ...], rank: int) -> Transforms:
        """What suits inputs of a shape: the smaller they are, the less they are moved."""
        side = min(shape[-rank:]) if rank else 0
        if rank == 0:
            return cls(noise=0.01)
        if rank == 1:
            return cls(jitter=max(1, side // 32), noise=0.02)
        if side < 16:
            return cls(jitter=1, rotate=10.0, scale=0.1, noise=0.1)
        if side < 64:
            return cls(jitter=max(1, side // 12), rotate=5.0, scale=0.05, noise=0.02)
        return cls(jitter=max(2, side // 16), rotate=7.5, scale=0.1, pad=side // 20, edge="mirror")


@dataclass(frozen=True, eq=False)
class Moved:
    """Transforms at work on inputs of ``rank`` spatial axes, whose range has the width ``span`` (broadcast to them)."""

    transforms: Transforms
    rank: int
    span: Tensor
    seed: int = 0

    def __call__(self, painted: Tensor, step: int, numbers: Tensor) -> Tensor:
        """Inputs (rows, *shape), moved and made noisy; rows of one number alike."""
        order, places = torch.unique(numbers, return_inverse=True)
        sources = [generator(self.seed, step, int(number)) for number in order]
        if self.rank and self.transforms.moves:
            look = torch.stack([self.place(source, painted.shape) for source in sources])[places]
            painted = self.looked_up(painted, look.to(painted))
        if self.transforms.noise:
            shape = painted.shape[1:]
            drawn = torch.stack([torch.randn(shape, generator=source) for source in sources])[places]
            painted = painted + (self.transforms.noise * self.span) * drawn.to(painted)
        return painted

    def place(self, source: torch.Generator, shape: torch.Size) -> Tensor:
        """(2, 3): where each place of the moved picture is looked up, in units of half a side."""
        drawn = (2 * torch.rand(6, generator=source, dtype=torch.float64) - 1).tolist()
        high, wide = shape[-2:] if self.rank == 2 else (1, shape[-1])
        side = min(high, wide) if self.rank == 2 else wide
        t = self.transforms
        crop = 1 - (1 - t.crop) * (drawn[0] + 1) / 2
        zoom = crop * (1 + t.scale * drawn[1]) * (side + 2 * t.pad) / side
        room = 1 - crop
        x = room * drawn[2] + 2 * round(t.jitter * drawn[4]) / wide
        y = room * drawn[3] + 2 * round(t.jitter * drawn[5]) / high if self.rank == 2 else 0.0
        angle = math.radians(t.rotate * (2 * float(torch.rand((), generator=source)) - 1)) if self.rank == 2 else 0.0
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        return torch.tensor([[cos, -sin * high / wide, x], [sin * wide / high, cos, y]], dtype=torch.float64)

    def looked_up(self, painted: Tensor, look: Tensor) -> Tensor:
        """Bilinear values at the places."""
        flat = painted if self.rank == 2 else painted.unsqueeze(-2)
        grid = F.affine_grid(look, list(flat.shape), align_corners=False)
        moved = F.grid_sample(flat, grid, padding_mode=EDGES[self.transforms.edge], align_corners=False)
        return moved if self.rank == 2 else moved.squeeze(-2)
