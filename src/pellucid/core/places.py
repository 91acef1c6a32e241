"""Targets at places: a unit inside, a token of a sequence, a region of a picture-shaped answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.outputs import Outputs, check_index, class_index, class_name, main_output
from pellucid.core.target import Target
from pellucid.errors import ShapeError, TargetError


@dataclass(frozen=True)
class Neuron(Target):
    """A unit inside: the activation of ``channel`` at ``position`` of a layer; the mean over positions without one.

    In (rows, channels, *space) activations ``channel`` counts along the second axis; in (rows, tokens, features) along
    the last, ``position`` along the tokens. Two axes are (channels, time) in a model with convolutions along time, else
    (tokens, features); ``axis`` says it otherwise. Without ``channel`` the whole layer is averaged.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(4, 1))
        >>> seen = pl.Saliency()(net, torch.rand(1, 1, 4), target=pl.Neuron("0", channel=1, position=0)).values[0, 0]
        >>> bool(torch.equal(seen[:3], net[0].weight[1, 0])), float(seen[3])
        (True, 0.0)
    """

    at: str
    channel: int | None = None
    position: int | tuple[int, ...] | None = None
    axis: int | None = None

    @property
    def layer(self) -> str:
        return self.at

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        shape = tuple(outputs.shape[1:])
        axis = self.axis if self.axis is not None else int(len(shape) == 2 and about.rank != 1)
        if not 0 <= axis < len(shape):
            raise TargetError(expected=f"an axis 0 … {len(shape) - 1}", got=str(axis), do=f"Its maps are {shape}.")
        if self.channel is not None and not -shape[axis] <= self.channel < shape[axis]:
            got, n = f"channel {self.channel}", shape[axis]
            raise TargetError(expected=f"a channel of {self.at!r}, 0 … {n - 1}", got=got, do=f"Its maps are {shape}.")
        if self.position is not None:
            check_index(self.where(), shape[:axis] + shape[axis + 1 :], "position")
        return replace(self, axis=axis)

    def where(self) -> tuple[int, ...]:
        """The position as a tuple."""
        return self.position if isinstance(self.position, tuple) else (self.position,)  # type: ignore[return-value]

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        maps = outputs.movedim((self.axis or 0) + 1, 1)
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
    """The score of a token id at a position of (rows, tokens, vocabulary) answers; the last, predicted one.

    Example:
        >>> import torch, pellucid as pl
        >>> scores = torch.zeros(1, 2, 5).index_fill(2, torch.tensor(3), 1.0)
        >>> pl.Saliency()(torch.nn.Identity(), scores, target=pl.Token(position=-1)).score
        tensor([1.])
    """

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
    """The mean score of a class (the most frequent one by default) inside a mask of (rows, classes, *space) answers.

    Example:
        >>> import torch, pellucid as pl
        >>> mask = torch.tensor([[True, False], [False, False]])
        >>> pl.Saliency()(torch.nn.Identity(), torch.ones(1, 3, 2, 2), target=pl.Region(mask, 0)).values[0, 0]
        tensor([[1., 0.],
                [0., 0.]])
    """

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
