"""Replay: asking many activations of one layer, where what comes before the layer is computed once.

What the modules before the layer answer is recorded on one full pass; when the pass is played again, they give their
record without computing. The modules after the layer run as ever, skip connections from before it included. Whether
that is exact is seen by comparing a replay with the full pass; where it is not, full passes are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pellucid.core.leaves import Leaves
from pellucid.core.probe import Probe
from pellucid.core.site import Site
from pellucid.errors import Cancelled, PellucidError, ShapeError

Forward = Callable[..., Any]


def replayed(ask: Probe, site: Site, value: Tensor) -> Probe:
    """The question about one example, asked of a layer whose activation is ``value`` (1, *shape).

    Costs one full pass. The answers are those of ``ask.at(site)``.
    """
    if ask.batch != 1:
        raise ShapeError(expected="one example", got=str(ask.batch), do="Select one: ask.select(torch.tensor([0])).")
    inside = replace(ask, site=site, clean=value, outer=ask)
    changed = value * (torch.arange(value.numel(), device=value.device).reshape(value.shape) % 2)
    suffix = Suffix(site)
    full = torch.cat([ask.score, inside.along(suffix.record).forward(lambda k: changed[None])[0]])
    both = torch.stack([value, changed, value, changed])
    alone = replace(inside, site=Cut.of(site, "alone"), leaves=Single.of(ask.leaves)).along(suffix.alone)
    widened = replace(inside, site=Cut.of(site, "widened")).along(suffix.widened)
    for probe in (alone, widened):
        try:
            answers = probe.forward(lambda k: both[k], len(both))[:, 0]
        except Cancelled:
            raise
        except PellucidError:
            continue  # what comes after the layer does not take one row beside many
        if bool(((answers - full.repeat(2)).abs() <= 1e-4 * full.abs().max()).all()):
            return probe
    return inside


@dataclass(frozen=True)
class Cut(Site):
    """A site whose passes begin there, in one of two ways: they have a pace of their own."""

    way: str = "alone"

    @classmethod
    def of(cls, site: Site, way: str) -> Cut:
        """The same place."""
        return cls(site.layer, site.call, site.side, way)

    def __str__(self) -> str:
        return super().__str__()


@dataclass(frozen=True, eq=False)
class Single(Leaves):
    """The inputs of one example, which go in as one row however many rows are asked for."""

    @classmethod
    def of(cls, leaves: Leaves) -> Single:
        """Inputs of one row, as they are."""
        return cls(**{each.name: getattr(leaves, each.name) for each in fields(leaves)})

    def arguments(
        self, points: Tensor | None, rows: Tensor, dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return super().arguments(points, rows[:1], dtype)


@dataclass(eq=False)
class Suffix:
    """What comes after a call of a layer: changes of a module that record a pass, and that play the record.

    Only the outermost of the modules that are done before the call is over are kept; ``records`` are their answers,
    module by module, in the order of the calls.
    """

    site: Site
    records: dict[str, list[Record]] = field(default_factory=dict)
    rows: int = 1

    def piece(self, rows: Tensor) -> None:
        """Told before each pass: which rows go through it."""
        self.rows = len(rows)

    @contextmanager
    def record(self, module: nn.Module) -> Iterator[None]:
        """Records a pass of one row."""
        recorder = Recorder(self.site, module.get_submodule(self.site.layer))
        parts = {name: part for name, part in module.named_modules() if part is not module}
        python = {name: part for name, part in parts.items() if not isinstance(part, torch.jit.ScriptModule)}
        with instead([(part, recorder.around(name, part)) for name, part in python.items()]):
            yield
        self.records = {}
        for name, answer in recorder.done:
            self.records.setdefault(name, []).append(Record(answer))

    @contextmanager
    def alone(self, module: nn.Module) -> Iterator[None]:
        """Plays the record as one row, which meets the rows of the layer where the network brings them together."""
        with self._playing(module, Record.lend):
            yield

    @contextmanager
    def widened(self, module: nn.Module) -> Iterator[None]:
        """Plays the record once for each row."""
        with self._playing(module, lambda record: copied(record.answer, self.rows)):
            yield

    @contextmanager
    def _playing(self, module: nn.Module, give: Callable[[Record], Any]) -> Iterator[None]:
        parts = [(module.get_submodule(name), records) for name, records in self.records.items()]
        with instead([(part, played(records, give, part.forward)) for part, records in parts]):
            yield


class Record:
    """What a call answered, and a copy to lend, made anew when the network has written to it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self._renew()

    def lend(self) -> Any:
        """The answer, for the network to do with as it likes."""
        if versions(self.lent) != self.versions:
            self._renew()
        return self.lent

    def _renew(self) -> None:
        self.lent = copied(self.answer, 1)
        self.versions = versions(self.lent)


def versions(answer: Any) -> list[int]:
    """How often each tensor of an answer was written to."""
    return [leaf._version for leaf in pytree.tree_leaves(answer) if isinstance(leaf, Tensor)]


@dataclass(eq=False)
class Recorder:
    """Notes which calls are done before that of ``layer`` is over; calls inside a noted call are dropped."""

    site: Site
    layer: nn.Module
    done: list[tuple[str, Any]] = field(default_factory=list)
    calls: int = 0
    over: bool = False

    def around(self, name: str, part: nn.Module) -> Forward:
        """The forward of a module, noted."""
        inner: Forward = part.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            here = False
            if part is self.layer:
                self.calls += 1
                here = self.calls == self.site.call
            self.over = self.over or (here and self.site.side == "input")
            inside = len(self.done)
            answer = inner(*args, **kwargs)
            if not self.over:
                del self.done[inside:]
                self.done.append((name, copied(answer, 1)))
                self.over = here
            return answer

        return forward


def played(records: list[Record], give: Callable[[Record], Any], inner: Forward) -> Forward:
    """A forward that gives the records one after the other, then computes again."""
    left = iter(records)

    def forward(*args: Any, **kwargs: Any) -> Any:
        for record in left:
            return give(record)
        return inner(*args, **kwargs)

    return forward


def copied(answer: Any, rows: int) -> Any:
    """A copy that may be written to; tensors of one row are repeated."""

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        wide = rows > 1 and leaf.ndim > 0 and len(leaf) == 1
        return (leaf.expand(rows, *leaf.shape[1:]) if wide else leaf).detach().clone()

    return pytree.tree_map(copy, answer)


@contextmanager
def instead(forwards: Sequence[tuple[nn.Module, Forward]]) -> Iterator[None]:
    """While open, modules have other forwards."""
    before = [(part, part.__dict__.get("forward")) for part, _ in forwards]
    try:
        for part, forward in forwards:
            part.__dict__["forward"] = forward
        yield
    finally:
        for part, own in before:
            part.__dict__.pop("forward", None)
            if own is not None:
                part.__dict__["forward"] = own
