"""Targets at places: a unit inside, a token of a sequence, a region of a picture-shaped answer, a box."""

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


@dataclass(frozen=True)
class Box(Target):
    """The detection that lies best on a box (x1, y1, x2, y2): its score plus its overlap; 0 where none lies on it.

    For answers with a dict of ``boxes`` (n, 4), ``labels`` (n,) and ``scores`` (n,) for each row. Only detections of
    class ``which`` count (without it, that of the detection that lies best on the box), and only overlaps (intersection
    over union) of more than ``overlap``. Boxes add up: ``pl.Box(one) + pl.Box(other)``.

    Example:
        >>> import torch
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 4.0, 4.0], [5.0, 5.0, 9.0, 9.0]]), torch.tensor([1, 2])
        >>> answer = [{"boxes": boxes, "labels": labels, "scores": torch.tensor([0.9, 0.8])}]
        >>> row = torch.tensor([0])
        >>> Box((0, 0, 4, 2)).bind(answer, Outputs(), row, 1).score(answer, row)  # nothing overlaps by more than half
        tensor([0.])
        >>> Box((0, 0, 4, 3)).bind(answer, Outputs(), row, 1).score(answer, row)
        tensor([1.6500])
    """

    box: tuple[float, float, float, float]
    which: int | str | None = None
    overlap: float = 0.5
    index: tuple[int | None, ...] = ()

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        if len(self.box) != 4 or not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise TargetError(expected="a box (x1, y1, x2, y2), x1 < x2, y1 < y2", got=str(self.box), do="Order it so.")
        found = detections(outputs)
        if self.which is not None:
            names = about.classes or ()
            which = class_index(self.which, len(names), names) if isinstance(self.which, str) else int(self.which)
            return replace(self, index=(which,) * len(found))
        best = [int(overlaps(each["boxes"], self.box).argmax()) if len(each["boxes"]) else None for each in found]
        index = [None if i is None else int(each["labels"][i]) for i, each in zip(best, found, strict=True)]
        return replace(self, index=tuple(index))

    def join(self, parts: Sequence[Any]) -> Target:
        return replace(parts[0], index=sum((part.index for part in parts), ()))

    def take(self, rows: Tensor) -> Target:
        return replace(self, index=tuple(self.index[i] for i in rows.tolist()))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        found = detections(outputs)
        return torch.stack([self._one(each, self.index[i]) for each, i in zip(found, rows.tolist(), strict=True)])

    def _one(self, found: Any, label: int | None) -> Tensor:
        """The number of one row."""
        scores = found["scores"]
        if label is None or not bool((found["labels"] == label).any()):
            return scores.sum() * 0
        lies = overlaps(found["boxes"], self.box).masked_fill(found["labels"] != label, -1.0)
        best = int(lies.argmax())
        return scores[best] + lies[best] if float(lies[best]) > self.overlap else scores.sum() * 0

    def words(self, about: Outputs, row: int = 0) -> str:
        label = self.index[row] if self.index else None
        name = "anything" if label is None else f"“{class_name(label, about.classes)}”"
        return f"score and overlap of {name} at the box {tuple(self.box)}"


def detections(outputs: Any) -> Sequence[Any]:
    """What a detector found in each row: dicts of boxes, labels and scores; TargetError for other answers."""
    if isinstance(outputs, tuple) and len(outputs) == 2 and isinstance(outputs[1], list):
        outputs = outputs[1]  # losses and detections
    keys = {"boxes", "labels", "scores"}
    if isinstance(outputs, list) and all(isinstance(each, dict) and keys <= set(each) for each in outputs):
        return outputs
    do = "Use Class or Region, or say which number is explained with a function: target=lambda outputs: …."
    raise TargetError(expected="a dict of boxes, labels and scores for each row", got=type(outputs).__name__, do=do)


def overlaps(boxes: Tensor, box: Sequence[float]) -> Tensor:
    """(n,) the intersection over union of boxes (n, 4) with one box.

    >>> overlaps(torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]]), (0, 0, 2, 2))
    tensor([1.0000, 0.3333])
    """
    other = torch.tensor(tuple(box), dtype=boxes.dtype, device=boxes.device)
    sides = (torch.minimum(boxes[:, 2:], other[2:]) - torch.maximum(boxes[:, :2], other[:2])).clamp(min=0)
    both = sides.prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (other[2:] - other[:2]).prod()
    return both / (areas - both)
