"""Targets at places: a unit inside, a token of a sequence, a region of a picture-shaped answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.target import Outputs, Target, check_index, class_index, class_name, main_output
from pellucid.errors import ShapeError, TargetError


@dataclass(frozen=True)
class Neuron(Target):
    """A unit inside: the activation of ``channel`` at ``position`` of a layer; the mean over positions without one.

    For (rows, channels, *space) activations ``channel`` is the second axis; for (rows, tokens, features) activations
    give ``position`` as the token and ``channel`` as the feature. Without ``channel`` the whole layer is averaged.
    """

    at: str
    channel: int | None = None
    position: int | tuple[int, ...] | None = None

    @property
    def layer(self) -> str:
        return self.at

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        shape = tuple(outputs.shape[1:])
        if self.channel is not None and not -shape[self.axis(shape)] <= self.channel < shape[self.axis(shape)]:
            got, n = f"channel {self.channel}", shape[self.axis(shape)]
            raise TargetError(expected=f"a channel of {self.at!r}, 0 … {n - 1}", got=got, do=f"Its maps are {shape}.")
        if self.position is not None:
            check_index(self.where(), shape[1:] if self.axis(shape) == 0 else shape[:-1], "position")
        return self

    def axis(self, shape: tuple[int, ...]) -> int:
        """Which axis holds the channels: the first, but the last of (tokens, features)."""
        return 1 if len(shape) == 2 else 0

    def where(self) -> tuple[int, ...]:
        """The position as a tuple."""
        return self.position if isinstance(self.position, tuple) else (self.position,)  # type: ignore[return-value]

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        maps = outputs.movedim(self.axis(tuple(outputs.shape[1:])) + 1, 1)
        if self.channel is not None:
            maps = maps[:, self.channel : self.channel + 1 or None]
        if self.position is not None:
            maps = maps[(slice(None), slice(None), *self.where())]
        return maps.flatten(1).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        unit = f"channel {self.channel} of " if self.channel is not None else ""
        return f"{unit}layer “{self.at}”" + ("" if self.position is None else f" at {self.position}")


@dataclass(frozen=True)
class Token(Target):
    """The score of a token id at a position of (rows, tokens, vocabulary) answers; the last, predicted one."""

    position: int = -1
    id: int | None = None
    ids: tuple[int, ...] = ()

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer = main_output(outputs)
        if answer.ndim != 3:
            do = "Use Class for one score a class."
            raise TargetError(expected="answers (rows, tokens, vocabulary)", got=str(tuple(answer.shape)), do=do)
        check_index((self.position,), tuple(answer.shape[1:2]), "position")
        chosen = answer[:, self.position].argmax(-1).tolist() if self.id is None else [self.id] * len(answer)
        check_index((chosen[0],), tuple(answer.shape[2:]), "token id")
        return replace(self, ids=tuple(chosen))

    def join(self, parts: Sequence[Any]) -> Target:
        return replace(parts[0], ids=sum((part.ids for part in parts), ()))

    def take(self, rows: Tensor) -> Target:
        return replace(self, ids=tuple(self.ids[i] for i in rows.tolist()))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = main_output(outputs)[:, self.position]
        index = torch.tensor(self.ids)[rows.cpu()].to(answer.device)
        return answer.gather(1, index[:, None])[:, 0]

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"score of token {self.ids[row] if self.ids else 'predicted'} at position {self.position}"


@dataclass(frozen=True, eq=False)
class Region(Target):
    """The mean score of a class (the most frequent one by default) inside a mask of (rows, classes, *space) answers."""

    mask: Tensor
    which: int | str | None = None
    index: tuple[int, ...] = ()

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer, mask = main_output(outputs), torch.as_tensor(self.mask).bool()
        if answer.ndim < 3 or mask.shape != answer.shape[2:]:
            got = f"mask {tuple(mask.shape)} for answers {tuple(answer.shape)}"
            raise ShapeError(expected="a mask of the answer's (height, width)", got=got, do="Resize the mask.")
        if not bool(mask.any()):
            raise ShapeError(expected="a mask that marks something", got="an empty mask", do="Mark some places.")
        if self.which is None:
            index = tuple(answer.argmax(1)[:, mask.to(answer.device)].mode(1).values.tolist())
        else:
            index = (class_index(self.which, answer.shape[1], about.classes),) * len(answer)
        return replace(self, mask=mask, index=index)

    def join(self, parts: Sequence[Any]) -> Target:
        return replace(parts[0], index=sum((part.index for part in parts), ()))

    def take(self, rows: Tensor) -> Target:
        return replace(self, index=tuple(self.index[i] for i in rows.tolist()))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = main_output(outputs)
        index = torch.tensor(self.index)[rows.cpu()].to(answer.device)
        chosen = answer[torch.arange(len(answer), device=answer.device), index]
        return chosen[:, self.mask.to(answer.device)].mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        name = class_name(self.index[row] if self.index else 0, about.classes)
        return f"mean score of “{name}” inside the marked region"
