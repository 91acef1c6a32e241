"""Probe: one bound question. This model, these inputs, this target, this run; five verbs.

Axes are fixed once: points are (draws, batch, *shape), scores (draws, batch). Points are a function of draw numbers,
made as many at a time as memory allows; a method never knows a batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid._typing import Points
from pellucid.core.blackbox import BlackBox
from pellucid.core.bound import Activation, Bound, Look, Studied, full, tapped
from pellucid.core.constant import named_failures, refuse_unless_constant
from pellucid.core.leaves import Leaves
from pellucid.core.meter import Meter
from pellucid.core.model import Change, Model
from pellucid.core.reduce import Keep, Mean, Reducer, Weighted
from pellucid.core.run import Run, half_of
from pellucid.core.site import EmbeddingSite, Site, Stop, meet, site_of, uncalled
from pellucid.core.target import Target
from pellucid.core.ways import layers_of, tell
from pellucid.errors import GradientError, LayerError, NonFiniteError


@dataclass(frozen=True, eq=False)
class Probe:
    """One bound question about inputs; ``at``, ``under`` and ``select`` return a changed question."""

    model: Studied
    leaves: Leaves
    bound: Bound
    run: Run
    site: Site | EmbeddingSite | None = None
    clean: Tensor | None = None
    changes: tuple[Change, ...] = ()
    ways: tuple[Change, ...] = ()
    outer: Probe | None = None
    first: Callable[[Probe, Points | None, Reducer, Points | None], bool] | None = None

    @property
    def inputs(self) -> Tensor:
        """(batch, *shape): what is explained — the inputs, the embedding of ids, or a layer's activation."""
        return self.leaves.values if self.clean is None else self.clean

    @property
    def batch(self) -> int:
        """How many examples."""
        return self.leaves.batch

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.run.seed

    @property
    def score(self) -> Tensor:
        """(batch,) the explained number at the clean inputs."""
        if self.bound.score is None:
            self.bound.score = self._sweep(None, 1, Keep(), grad=False)[1][0].detach()
        return self.bound.score

    @property
    def target(self) -> Target:
        """The target, its open choices made."""
        if not self.bound.decided:
            _ = self.score
        return self.bound.target

    def forward(self, points: Points | None = None, draws: int = 1) -> Tensor:
        """Scores (draws, batch) at the points; at the inputs without points."""
        if points is None:
            return self.score[None]
        _ = self.target
        return self._sweep(points, draws, Keep(), grad=False)[1]

    def gradient(
        self,
        points: Points | None = None,
        draws: int = 1,
        weights: Tensor | None = None,
        into: Reducer | None = None,
        against: Points | None = None,
    ) -> Any:
        """∂score/∂point, reduced over draws: the mean, the sum with ``weights``, or what ``into`` makes of it.

        ``against`` gives references (draws, batch, *shape): the ways back of this probe are told of the pass at them
        just before the one at the points; ``into`` then gets (draws, batch, 2) scores, of the points and of these.
        """
        if not self.model.differentiable:
            do = "Use a method that only asks for predictions: Occlusion, Ablation, KernelSHAP."
            raise GradientError(expected="a model with gradients", got="a BlackBox", do=do)
        draws = len(weights) if weights is not None else draws
        reducer = into if into is not None else (Weighted(weights) if weights is not None else Mean())
        if draws == 1 and self.first is not None and self.first(self, points, reducer, against):
            return reducer.result()
        if points is not None or (against is not None and self.bound.target.open):
            _ = self.target
        return self._sweep(points, draws, reducer, grad=True, against=against)

    def capture(self, *layers: str | Site) -> tuple[Activation, ...]:
        """The activations of layers and the target's gradient by them, in one pass back to the earliest only."""
        sites = tuple(site_of(self._torch().module, layer) for layer in layers)
        pieces, scores = self.watch(lambda module: tapped(module, sites), *sites)
        pairs = zip(*pieces, strict=True)
        joined = [[torch.cat(each) for each in zip(*pair, strict=True)] for pair in pairs]
        return tuple(Activation(value, slope, scores, site) for (value, slope), site in zip(joined, sites, strict=True))

    def watch(self, look: Look, *sites: Site, grad: bool = True) -> tuple[list[Any], Tensor]:
        """What a clean pass over some rows leaves with ``look(module)``, piece by piece, and the scores (batch,).

        ``look`` is a context around the pass; what it gives reads off the scores (rows,), which are still on the graph.
        """

        def work(rows: Tensor) -> tuple[Any, Tensor]:
            tell(self.ways, "piece", rows)
            with torch.set_grad_enabled(grad):
                with self._changed(*sites) as module, look(self._torch().module if module is None else module) as read:
                    score = self._score(self._outputs(None, rows, module=module), rows)
                found = read(score)
            if grad and not score.requires_grad:
                self._refuse_unless_constant(self.inputs[rows], rows, score)
            return found, score.detach()

        pieces = self._in_pieces(work, grad=grad)
        scores = torch.cat([score for _, score in pieces])
        self.bound.settle(scores)
        return [found for found, _ in pieces], scores

    def at(self, layer: str | Site) -> Probe:
        """The same question, asked of a hidden layer: its activation takes the place of the inputs."""
        site = site_of(self._torch().module, layer)
        return replace(self, site=site, clean=self.record(site), outer=self)

    def embedded(self) -> Probe:
        """The same question, asked at the embedding that the ids reach."""
        site = self._torch().embedding(self.leaves)
        return replace(self, site=site, clean=self.record(site), outer=self)

    def under(self, *changes: Change) -> Probe:
        """The same question of a changed twin: each change is a context manager factory on the module."""
        return replace(self, changes=self.changes + changes, bound=replace(self.bound, target=self.target, score=None))

    def along(self, *changes: Change) -> Probe:
        """The same question with other ways back; the answers are the same, so the target and scores are shared."""
        return replace(self, ways=self.ways + changes)

    def select(self, rows: Tensor) -> Probe:
        """The same question for some of the examples, repeated ones included."""
        score = self.score
        bound = Bound(self.target.take(rows), len(rows), score[rows.to(score.device)], self.bound.about, decided=True)
        return self._of_rows(rows, bound)

    def moved(self, points: Tensor) -> Probe:
        """The same question asked at other inputs (draws, batch, *shape), as one batch of draws × batch examples."""
        rows = torch.arange(self.batch).repeat(len(points))
        bound = Bound(self.target.take(rows), len(rows), about=self.bound.about, decided=True)
        return self._of_rows(rows, bound)._put(points.flatten(0, 1))

    def _of_rows(self, rows: Tensor, bound: Bound) -> Probe:
        clean = None if self.clean is None else self.clean[rows.to(self.clean.device)]
        outer = None if self.outer is None else self.outer._of_rows(rows, bound)
        return replace(self, leaves=self.leaves.take(rows), clean=clean, bound=bound, outer=outer)

    def _put(self, values: Tensor) -> Probe:
        if self.site is None:
            return replace(self, leaves=self.leaves.with_values(values))
        return replace(self, clean=values)

    def record(self, site: Site | EmbeddingSite, points: Tensor | None = None) -> Tensor:
        """(batch, *shape): the activation at a site, clean or at ``points`` (batch, *shape); the pass stops there."""

        def work(rows: Tensor) -> Tensor:
            with torch.no_grad(), self._changed(site) as module:
                value = self._outputs(None if points is None else points[rows], rows, module=module, stop_at=site)
            return full(value)

        return torch.cat(self._in_pieces(work, grad=False))

    # ------------------------------------------------------------------ how it is done

    def _torch(self) -> Model:
        if not isinstance(self.model, Model):
            do = "Use a method that only asks for predictions."
            raise LayerError(expected="a model with layers", got="a BlackBox", do=do)
        return self.model

    def _key(self, grad: bool) -> tuple[Any, ...]:
        return (grad, self.site, self.bound.target.layer, tuple(self.inputs.shape[1:]), bool(self.ways))

    def _rows_at_once(self, *, grad: bool) -> int:
        pace = self.model.paces.get(self._key(grad))
        return min(self.batch, self.run.size(pace, self.batch)) if pace is not None else min(self.batch, 8)

    def _in_pieces(self, work: Callable[[Tensor], Any], *, grad: bool) -> list[Any]:
        """``work(rows)`` for all examples, as many at a time as fit; in halves where memory runs out."""
        left, done = list(torch.arange(self.batch).split(self._rows_at_once(grad=grad))), []
        with self.model.session():
            while left:
                self.run.check_stop()
                try:
                    done.append(work(left[0]))
                    self.run.count(len(left.pop(0)), backward=grad)
                except (MemoryError, RuntimeError) as error:
                    half = half_of(len(left[0]), error)
                    self.bound.parts.pop(int(left[0][0]), None)
                    left[:1] = left[0].split(half)
        return done

    def _sweep(
        self, points: Points | None, draws: int, reducer: Reducer, *, grad: bool, against: Points | None = None
    ) -> Any:
        """Points → values and scores → reducer, as many draws at a time as fit."""
        self.run.announce(draws * self.batch)
        with self.model.session():
            if isinstance(self.model, Model) and not self.run.exact:
                self.model.fast(self.leaves)
            done = 0
            while done < draws:
                count = self._draws_at_once((draws - done) * self.batch, grad=grad)
                numbers = torch.arange(done, min(done + count, draws))
                block = self.inputs[None] if points is None else points(numbers)
                other = None if against is None else self._flat(against(numbers))
                reducer.update(numbers, *self._block(block, grad=grad, clean=points is None, other=other))
                done += len(numbers)
        return reducer.result()

    def _draws_at_once(self, left: int, *, grad: bool) -> int:
        pace = self.model.paces.get(self._key(grad))
        return 1 if pace is None else max(1, self.run.size(pace, left) // self.batch)

    def _settle(self, score: Tensor) -> None:
        self.bound.settle(score)

    def _flat(self, block: Tensor) -> Tensor:
        """Points (draws, batch, *shape) as rows."""
        return block.expand(len(block), self.batch, *block.shape[2:]).flatten(0, 1)

    def _block(self, block: Tensor, *, grad: bool, clean: bool, other: Tensor | None) -> tuple[Tensor, Tensor]:
        """A block of points (draws, batch, *shape), and the rows they are held against, in pieces that fit."""
        flat = self._flat(block)
        rows = torch.arange(self.batch).repeat(len(block))
        answers: list[tuple[Tensor, Tensor]] = []
        done = 0
        while done < len(flat):
            pace = self.model.paces.get(self._key(grad))
            size = 1 if pace is None else self.run.size(pace, len(flat) - done)
            part = slice(done, done + size)
            answers.append(self._piece(flat[part], rows[part], grad=grad, other=None if other is None else other[part]))
            done += size
        values, score = (
            torch.cat(parts).unflatten(0, (len(block), self.batch)) for parts in zip(*answers, strict=True)
        )
        if clean:
            self._settle((score if other is None else score[..., 0])[0].detach())
        return values, score

    def _piece(self, points: Tensor, rows: Tensor, *, grad: bool, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One call, measured; in halves where memory runs out."""
        self.run.check_stop()
        pace = self.model.paces.get(self._key(grad))
        meter = Meter(measure=pace is None)
        try:
            with meter:
                answer = self._ask(points, rows, grad=grad, other=other)
        except (MemoryError, RuntimeError) as error:
            half = half_of(len(rows), error)
            self.bound.parts.pop(int(rows[0]), None)
            return self._halved(points, rows, grad=grad, half=half, other=other)
        if pace is None:
            pace = self.model.paces[self._key(grad)] = meter.pace(
                len(rows), grad=grad, comfortable=self.run.comfortable
            )
        else:
            pace.note(len(rows), meter.seconds)
        self.run.count(len(rows), backward=grad, size=pace.bytes_per_row * len(rows))
        if other is not None:
            self.run.count(len(rows), backward=False)
        return answer

    def _halved(
        self, points: Tensor, rows: Tensor, *, grad: bool, half: int, other: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if self.run.device.type == "cuda":
            torch.cuda.empty_cache()
        for key in (True, False):
            if (pace := self.model.paces.get(self._key(key))) is not None:
                pace.limit(half)
        parts = []
        for part in (slice(0, half), slice(half, None)):
            there = None if other is None else other[part]
            parts.append(self._piece(points[part], rows[part], grad=grad, other=there))
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _ask(self, points: Tensor, rows: Tensor, *, grad: bool, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One call of the model: the gradient by the points (the scores again without) and the scores."""
        tell(self.ways, "piece", rows)
        base: Tensor | None = None
        with torch.set_grad_enabled(grad):
            with self._changed() as module:
                if other is not None:
                    there = other.detach().requires_grad_().clone()
                    base = self._score(self._outputs(there, rows, module=module), rows).detach()
                leaf = points.detach().requires_grad_(grad)
                score = self._score(self._outputs(leaf.clone(), rows, module=module), rows)
            if not grad:
                return score, score
            scores = score.detach() if base is None else torch.stack([score.detach(), base], 1)
            return self._slope(score, leaf, rows, last=True), scores

    def _slope(self, score: Tensor, leaf: Tensor, rows: Tensor, *, last: bool) -> Tensor:
        """∂score/∂leaf; the graph is kept unless it is the ``last`` one."""
        if not score.requires_grad:
            self._refuse_unless_constant(leaf.detach(), rows, score)
            return torch.zeros_like(leaf)
        with named_failures():
            (gradient,) = torch.autograd.grad(score.sum(), leaf, allow_unused=True, retain_graph=not last)
        return torch.zeros_like(leaf) if gradient is None else gradient.contiguous()

    @contextmanager
    def _changed(self, *more: Site | EmbeddingSite | None) -> Iterator[nn.Module | None]:
        """The module to run, changes and ways back of this probe in force; ``more`` are sites it is read at."""
        if isinstance(self.model, BlackBox) and self.bound.target.layer is None:
            yield None
            return
        model = self._torch()
        sites = [each.layer for each in (self.site, self._read(None), *more) if isinstance(each, Site)]
        sites += layers_of(self.ways)
        module = model.choose(self.leaves, exact=self.run.exact or bool(self.changes), layers=sites)
        self.run.path = model.path(module)
        with ExitStack() as stack:
            for change in (*self.changes, *self.ways):
                stack.enter_context(change(module))
            yield module

    def _read(self, stop_at: Site | EmbeddingSite | None) -> Site | EmbeddingSite | None:
        """Where the answer is read, if not at the model's end."""
        layer = self.bound.target.layer
        return stop_at or (None if layer is None else site_of(self._torch().module, layer))

    def _outputs(
        self,
        points: Tensor | None,
        rows: Tensor,
        *,
        module: nn.Module | None,
        stop_at: Site | EmbeddingSite | None = None,
    ) -> Any:
        """The model's outputs with points at the site; or the activation where the target, or ``stop_at``, is read."""
        if isinstance(self.model, BlackBox) and module is None:
            return self.model.answer(self.leaves, points, rows)
        model, read = self._torch(), self._read(stop_at)
        module = model.module if module is None else module
        seen: list[Tensor] = []

        def see(tensor: Tensor) -> None:
            seen.append(tensor if torch.is_grad_enabled() else tensor.clone())
            raise Stop

        with ExitStack() as stack:
            if self.site is not None and points is not None:
                stack.enter_context(meet(module, self.site, lambda old: points.to(old.dtype)))
            if read is not None:
                stack.enter_context(meet(module, read, see))
            try:
                outputs = model.answer(self.leaves, None if self.site is not None else points, rows, module=module)
            except Stop:
                return seen[0]
        if read is not None:
            raise uncalled(read)
        return outputs

    def _score(self, outputs: Any, rows: Tensor) -> Tensor:
        """(rows,) the target's numbers; on the first clean pass the target is decided, piece by piece."""
        bound = self.bound
        if bound.decided:
            score = bound.target.score(outputs, rows)
        else:
            score = bound.decide(self.model, outputs, rows).score(outputs, torch.arange(len(rows)))
        if not bool(torch.isfinite(score).all()):
            do = "Check the model's weights, and whether the points (baseline, noise) make sense for it."
            raise NonFiniteError(expected="finite scores", got="NaN or infinity from the model", do=do)
        return full(score)

    def _refuse_unless_constant(self, points: Tensor, rows: Tensor, score: Tensor) -> None:
        with torch.no_grad(), self._changed() as module:

            def score_at(other: Tensor) -> Tensor:
                return self._score(self._outputs(other, rows, module=module), rows)

            refuse_unless_constant(score_at, points, score)
