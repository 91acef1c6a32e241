"""Which number is explained. A target is bound once, to the clean inputs, and then asked of every other point.

An int or a class name is accepted wherever a target is. Targets add, subtract and scale:
``Class("tabby") - Class("tiger")``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.outputs import Outputs, by_class, check_index, class_index, class_name, main_output
from pellucid.errors import ShapeError, TargetError


@dataclass(frozen=True)
class Target:
    """A number of the model's answer. ``layer`` names the site that is read instead of the outputs, if any.

    >>> import torch
    >>> target = Class(1) - 0.5 * Class(0)
    >>> answer, row = torch.tensor([[1.0, 3.0]]), torch.tensor([0])
    >>> target.bind(answer, Outputs(), row, batch=1).score(answer, row)
    tensor([2.5000])
    """

    @property
    def layer(self) -> str | None:
        """The layer whose activation is read, or None for the outputs."""
        return None

    @property
    def open(self) -> bool:
        """Whether the clean answer decides what is explained; one that is not may be bound on any answer."""
        return True

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        """Decide what is left open (the predicted class, a name) on the clean answer to ``rows`` of a ``batch``.

        Raises TargetError. The parts of a batch that came in several pieces are put together by ``join``.
        """
        return self

    def join(self, parts: Sequence[Any]) -> Target:
        """One bound target from those of consecutive pieces of a batch."""
        return parts[0]

    def take(self, rows: Tensor) -> Target:
        """The bound target of some of the examples, repeated ones included."""
        return self

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        """(rows,) numbers; ``rows`` says which example each row belongs to."""
        raise NotImplementedError

    def words(self, about: Outputs, row: int = 0) -> str:
        """The target in words, for one example."""
        return str(self)

    def __add__(self, other: Target | int | str) -> Target:
        return Sum(((1.0, self), (1.0, as_target(other))))

    def __sub__(self, other: Target | int | str) -> Target:
        return Sum(((1.0, self), (-1.0, as_target(other))))

    def __mul__(self, factor: float) -> Target:
        return Sum(((float(factor), self),))

    __rmul__ = __mul__

    def __neg__(self) -> Target:
        return self * -1.0


@dataclass(frozen=True)
class Sum(Target):
    """A weighted sum of targets."""

    terms: tuple[tuple[float, Target], ...]

    @property
    def layer(self) -> str | None:
        layers = {term.layer for _, term in self.terms}
        if len(layers) > 1:
            do = "Sum neurons of one layer, or outputs, not both."
            raise TargetError(expected="targets read at one place", got=str(sorted(map(str, layers))), do=do)
        return layers.pop()

    @property
    def open(self) -> bool:
        return any(term.open for _, term in self.terms)

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        return Sum(tuple((weight, term.bind(outputs, about, rows, batch)) for weight, term in self.terms))

    def join(self, parts: Sequence[Any]) -> Target:
        terms = zip(*[part.terms for part in parts], strict=True)
        return Sum(tuple((same[0][0], same[0][1].join([term for _, term in same])) for same in terms))

    def take(self, rows: Tensor) -> Target:
        return Sum(tuple((weight, term.take(rows)) for weight, term in self.terms))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        parts = [weight * term.score(outputs, rows) for weight, term in self.terms]
        return torch.stack(parts).sum(0)

    def words(self, about: Outputs, row: int = 0) -> str:
        parts = [(weight, term.words(about, row)) for weight, term in self.terms]
        texts = [
            ("− " if weight < 0 else "+ ") + ("" if abs(weight) == 1 else f"{abs(weight):g} × ") + text
            for weight, text in parts
        ]
        return " ".join(texts).removeprefix("+ ")


@dataclass(frozen=True)
class Class(Target):
    """The score (logit where the model gives logits) of a class: an index, a name, one per example, or the predicted.

    For answers with more axes, (rows, classes, height, width) or (rows, tokens, classes), it is the mean over the
    places where the class is the predicted one (over all places where it is nowhere).

    Example:
        >>> import torch, pellucid as pl
        >>> model = pl.Model(torch.nn.Flatten(), classes=("cat", "dog"))
        >>> pl.Saliency()(model, torch.tensor([[2.0, 0.0]]), target=pl.Class("dog")).values
        tensor([[0., 1.]])
    """

    which: int | str | tuple[int | str, ...] | None = None
    index: tuple[int, ...] = ()

    @property
    def open(self) -> bool:
        return self.which is None

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer = by_class(main_output(outputs))
        if answer.ndim == 1 or answer.shape[1] == 1:
            return self._single(about, rows, batch)
        n = answer.shape[1]
        if self.which is None:
            flat = answer.detach().reshape(len(answer), n, -1).mean(-1)
            return replace(self, index=tuple(flat.argmax(1).tolist()))
        return replace(self, index=self.indexes(n, about, rows, batch))

    def indexes(self, n: int, about: Outputs, rows: Tensor, batch: int) -> tuple[int, ...]:
        """The index of the class of each of some rows, of ``n`` classes."""
        named = self.which if isinstance(self.which, tuple) else (self.which,) * batch
        if len(named) != batch:
            raise ShapeError(expected=f"{batch} classes, one a row", got=str(len(named)), do="Give one per row.")
        return tuple(class_index(named[i] or 0, n, about.classes) for i in rows.tolist())

    def _single(self, about: Outputs, rows: Tensor, batch: int) -> Target:
        """The target of a model with one output: the value itself; its negative for the first of two classes."""
        if self.which is None:
            return Output(0)
        two = about.classes is not None and len(about.classes) == 2
        index = self.indexes(2 if two else 1, about, rows, batch)
        return Side(index) if two else Output(0)

    def join(self, parts: Sequence[Any]) -> Target:
        if not isinstance(parts[0], Class):
            return parts[0]
        return replace(parts[0], index=sum((part.index for part in parts), ()))

    def take(self, rows: Tensor) -> Target:
        return replace(self, index=tuple(self.index[i] for i in rows.tolist()))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        return self.chosen(by_class(main_output(outputs)), rows)

    def chosen(self, answer: Tensor, rows: Tensor) -> Tensor:
        """(rows,) the number of each row's class in (rows, classes, …) answers."""
        index = torch.tensor(self.index)[rows.cpu()].to(answer.device)
        chosen = answer[torch.arange(len(answer), device=answer.device), index]
        if chosen.ndim == 1:
            return chosen
        here = (answer.detach().argmax(1) == index.reshape(-1, *[1] * (chosen.ndim - 1))).to(chosen).flatten(1)
        weight = torch.where(here.sum(1, keepdim=True) > 0, here, torch.ones_like(here))
        return (chosen.flatten(1) * weight).sum(1) / weight.sum(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        kind = {"logits": "logit", "probabilities": "probability"}.get(about.kind, "score")
        if not self.index:
            return f"{kind} of the predicted class"
        return f"{kind} of “{class_name(self.index[min(row, len(self.index) - 1)], about.classes)}”"


@dataclass(frozen=True)
class Side(Target):
    """The value of a model with one output for the second of two classes, its negative for the first; one a row."""

    index: tuple[int, ...]

    def join(self, parts: Sequence[Any]) -> Target:
        return Side(sum((part.index for part in parts), ()))

    def take(self, rows: Tensor) -> Target:
        return Side(tuple(self.index[i] for i in rows.tolist()))

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        value = Output(0).score(outputs, rows)
        return value * (2 * torch.tensor(self.index)[rows.cpu()] - 1).to(value)

    def words(self, about: Outputs, row: int = 0) -> str:
        return f"score of “{class_name(self.index[row], about.classes)}”"


@dataclass(frozen=True)
class Probability(Class):
    """The probability of a class: the softmax of logits, or the model's own probabilities.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Ablation()(torch.nn.Flatten(), torch.tensor([[0.0, 0.0]]), target=pl.Probability(1)).score
        tensor([0.5000])
    """

    kind: str = "logits"

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer = by_class(main_output(outputs))
        if answer.ndim == 1 or answer.shape[1] == 1:
            second = (1,) * len(rows)
            return replace(
                self, kind=about.kind, index=second if self.which is None else self.indexes(2, about, rows, batch)
            )
        bound = super().bind(outputs, about, rows, batch)
        return replace(bound, kind=about.kind)  # type: ignore[call-arg]

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = by_class(main_output(outputs))
        if answer.ndim == 1 or answer.shape[1] == 1:
            p = (answer.sigmoid() if self.kind == "logits" else answer).reshape(len(answer), -1).mean(1)
            return torch.where(torch.tensor(self.index)[rows.cpu()].to(p.device) == 1, p, 1 - p)
        return self.chosen(answer.softmax(1) if self.kind == "logits" else answer, rows)

    def words(self, about: Outputs, row: int = 0) -> str:
        return super().words(replace(about, kind="probabilities"), row)


@dataclass(frozen=True)
class Output(Target):
    """One number of the answer by its index: ``Output(2)``, or ``Output((0, 5))`` in an answer with more axes.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Saliency()(torch.nn.Flatten(), torch.zeros(1, 2, 2), target=pl.Output(3)).score
        tensor([0.])
    """

    index: int | tuple[int, ...] = 0

    @property
    def open(self) -> bool:
        return False

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer = main_output(outputs)
        check_index(self.place(answer), tuple(answer.shape[1:]), "output")
        return self

    def place(self, answer: Tensor) -> tuple[int, ...]:
        """The index as a tuple; a plain vector of answers has the single place ``()``."""
        index = self.index if isinstance(self.index, tuple) else (self.index,)
        return () if answer.ndim == 1 and index == (0,) else index

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = main_output(outputs)
        where: Any = (slice(None), *self.place(answer))
        picked = answer[where]
        return picked if picked.ndim == 1 else picked.flatten(1).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        return "predicted value" if self.index == 0 else f"output {self.index}"


@dataclass(frozen=True, eq=False)
class Loss(Target):
    """The loss against true answers: cross-entropy for integer ``truth`` (batch,), squared error for floating.

    Example:
        >>> import torch, pellucid as pl
        >>> round(float(pl.Saliency()(torch.nn.Flatten(), torch.zeros(1, 2), target=pl.Loss(1)).score), 3)
        0.693
    """

    truth: Any

    def bind(self, outputs: Any, about: Outputs, rows: Tensor, batch: int) -> Target:
        answer, truth = by_class(main_output(outputs)), torch.as_tensor(self.truth)
        truth = truth.reshape(1) if truth.ndim == 0 else truth
        if len(truth) != batch:
            raise ShapeError(expected=f"{batch} true answers", got=str(len(truth)), do="Give one per row.")
        truth = truth[rows].to(answer) if truth.is_floating_point() else truth[rows].long().to(answer.device)
        do = "Pass floats for a regression, class indexes for a classifier."
        if truth.is_floating_point():
            if truth[0].numel() != answer[0].numel():
                got = f"shape {tuple(truth.shape)} for answers {tuple(answer.shape)}"
                raise ShapeError(expected="one true value for every value of the answer", got=got, do=do)
        elif answer.ndim < 2 or int(truth.max()) >= answer.shape[1] or int(truth.min()) < 0:
            got = f"{int(truth.min())} … {int(truth.max())}"
            raise TargetError(expected="class indexes the model has", got=got, do=do)
        elif truth.shape[1:] != answer.shape[2:]:
            got = f"shape {tuple(truth.shape)} for answers {tuple(answer.shape)}"
            raise ShapeError(expected="one class for every place of the answer", got=got, do=do)
        return replace(self, truth=truth)

    def join(self, parts: Sequence[Any]) -> Target:
        return replace(parts[0], truth=torch.cat([part.truth for part in parts]))

    def take(self, rows: Tensor) -> Target:
        return replace(self, truth=self.truth[rows.to(self.truth.device)])

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer, truth = main_output(outputs), self.truth[rows.to(self.truth.device)]
        if truth.is_floating_point():
            return (answer.reshape(len(answer), -1) - truth.reshape(len(truth), -1)).square().mean(1)
        loss = torch.nn.functional.cross_entropy(by_class(answer), truth, reduction="none")
        return loss.reshape(len(answer), -1).mean(1)

    def words(self, about: Outputs, row: int = 0) -> str:
        return "loss against the true answer"


@dataclass(frozen=True)
class Function(Target):
    """Any function of the model's outputs to (rows,) numbers.

    Example:
        >>> import torch, pellucid as pl
        >>> pl.Saliency()(torch.nn.Flatten(), torch.tensor([[1.0, 3.0]]), target=lambda out: out.prod(1)).values
        tensor([[3., 1.]])
    """

    function: Callable[[Any], Tensor]

    def score(self, outputs: Any, rows: Tensor) -> Tensor:
        answer = self.function(outputs)
        if not isinstance(answer, Tensor) or answer.shape != rows.shape or answer.is_complex():
            got = str(tuple(answer.shape)) if isinstance(answer, Tensor) else type(answer).__name__
            do = "Reduce the outputs to one number a row."
            raise ShapeError(expected=f"a target function that gives ({len(rows)},)", got=got, do=do)
        return answer

    def words(self, about: Outputs, row: int = 0) -> str:
        return getattr(self.function, "__name__", "a function of the outputs")


def as_target(given: Any) -> Target:
    """None, an index, a name, one of those per example, a function or a target, as a target."""
    if isinstance(given, Target):
        return given
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, list | tuple):
        given = [each.item() if getattr(each, "ndim", None) == 0 else each for each in given]
    if given is None or (isinstance(given, int | str) and not isinstance(given, bool)):
        return Class(given)
    if isinstance(given, list | tuple) and all(isinstance(each, int | str) for each in given):
        return Class(tuple(given))
    if callable(given):
        return Function(given)
    do = "Use an index, a class name, pl.Neuron(layer, channel), or a function of the outputs."
    raise TargetError(expected="a target", got=repr(given)[:60], do=do)
