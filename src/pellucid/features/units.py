"""Units of a layer: which axis they lie along, which layers there are, and which places of a text count."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.bound import full
from pellucid.core.leaves import Leaves
from pellucid.core.method import as_studied, rank_of
from pellucid.core.modality import Text
from pellucid.core.model import Model
from pellucid.core.site import Site, first_tensor, site_of, uncalled
from pellucid.errors import GradientError, LayerError, TargetError

PASSING = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.Identity | nn.Flatten


@dataclass(frozen=True)
class Place:
    """A layer as it was met: its name, the kind of module, the shape of a row, and the axis of it that units lie along.

    ``tokens`` says whether the other axis counts tokens.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    axis: int
    tokens: bool = False

    @property
    def units(self) -> int:
        """How many units."""
        return self.shape[self.axis] if self.shape else 1

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a unit's map; none for a dense layer."""
        return self.shape[: self.axis] + self.shape[self.axis + 1 :]

    def maps(self, values: Tensor) -> Tensor:
        """Activations (rows, *shape) as (rows, units, *space), in at least single precision."""
        return full(values.movedim(self.axis + 1, 1) if self.shape else values[:, None])

    def unit(self, number: int) -> int:
        """A unit's number, checked."""
        if isinstance(number, bool) or not isinstance(number, int) or not -self.units <= number < self.units:
            do = f"Its maps are {self.shape}."
            raise TargetError(expected=f"a unit of {self.name!r}, 0 … {self.units - 1}", got=str(number), do=do)
        return number % self.units


def torch_model(model: Any) -> Model:
    """A model with layers."""
    studied = as_studied(model)
    if not isinstance(studied, Model):
        do = "Pass the network itself: pl.Model(module)."
        raise GradientError(expected="a model with layers", got="a BlackBox", do=do)
    return studied


def places(model: Model, leaves: Leaves, layers: str | Sequence[str] | None) -> tuple[Place, ...]:
    """The layers as they are met by the first row; without names, every one that makes something of its own."""
    given = [layers] if isinstance(layers, str) else layers
    if given is not None and not len(given):
        do = "Name some, or leave layers out for all of them."
        raise LayerError(expected="at least one layer", got="none", do=do)
    wanted = None if given is None else {site_of(model.module, each): str(each) for each in given}
    copies = next(n for n in range(2, 99) if n not in leaves.values.shape[1:])
    sample = leaves.take(torch.zeros(copies, dtype=torch.long))
    met = {site: (shape[1:], own, shape[:1] == (copies,)) for site, (shape, own) in meetings(model, sample).items()}
    known = dict(model.module.named_modules())
    own = {
        site: str(site)
        for site, (_, made, rows) in met.items()
        if made and rows and site.side == "output" and not isinstance(known[site.layer], PASSING)
    }
    names = own if wanted is None else wanted
    if missing := [site for site in names if site not in met]:
        raise uncalled(missing[0])
    if odd := [site for site in names if not met[site][2]]:
        do = f"Choose one that does, such as {', '.join(list(own.values())[-3:])}."
        raise LayerError(expected="a layer that gives one row for each row of inputs", got=str(odd[0]), do=do)
    rank = rank_of(model, leaves.values)
    found = []
    for site, name in names.items():
        shape, part = met[site][0], known[site.layer]
        last = isinstance(part, nn.Linear | nn.LayerNorm | nn.Embedding) or (len(shape) == 2 and rank != 1)
        axis = len(shape) - 1 if last and shape else 0
        found.append(Place(name, type(part).__name__, shape, axis, len(shape) == 2 and axis == 1))
    return tuple(found)


def meetings(model: Model, sample: Leaves) -> dict[Site, tuple[tuple[int, ...], bool]]:
    """Each call of each module, input and output: its shape, and whether it is not a tensor one of its parts made."""
    met: dict[Site, tuple[tuple[int, ...], bool]] = {}
    calls: dict[tuple[str, str], int] = {}
    open_calls: list[set[int]] = []
    alive: list[Tensor] = []

    def note(name: str, side: str, value: Any, *, own: bool) -> None:
        tensor = first_tensor(value)
        calls[name, side] = calls.get((name, side), 0) + 1
        if tensor is not None:
            met[Site(name, calls[name, side], side)] = (tuple(tensor.shape), own)
            alive.append(tensor)

    def before(name: str) -> Any:
        def enter(_part: nn.Module, args: Any, kwargs: Any) -> None:
            open_calls.append(set())
            note(name, "input", (args, kwargs), own=False)

        return enter

    def after(name: str) -> Any:
        def leave(_part: nn.Module, _args: Any, output: Any) -> None:
            inner, tensor = open_calls.pop(), first_tensor(output)
            note(name, "output", output, own=id(tensor) not in inner)
            if open_calls:
                open_calls[-1] |= inner | {id(tensor)}

        return leave

    with torch.no_grad(), model.session(), ExitStack() as stack:
        for name, part in model.module.named_modules():
            if name:
                stack.callback(part.register_forward_pre_hook(before(name), with_kwargs=True).remove)
                stack.callback(part.register_forward_hook(after(name)).remove)
        model.answer(sample, None, torch.arange(sample.batch))
    return met


class Visible:
    """Reads the inputs before every pass: which tokens of the rows are not padding."""

    def __init__(self, model: Model, leaves: Leaves) -> None:
        self.pad = model.modality.pad_id if isinstance(model.modality, Text) and leaves.integer else None
        self.mask: Tensor | None = None
        self.first = 0

    def read(self, values: Tensor, rows: Tensor) -> None:
        self.first = int(rows[0])
        self.mask = None if self.pad is None else values != self.pad

    def of(self, rows: Tensor, place: Place, values: Tensor) -> Tensor | None:
        """(rows, tokens) for values (rows, tokens, features); None where every place counts."""
        if self.mask is None or not place.tokens or values.shape[1] != self.mask.shape[1]:
            return None
        return self.mask[(rows - self.first).to(self.mask.device)]
