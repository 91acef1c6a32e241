"""Model: the network under study, as a private twin of the user's module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.leaves import HALVES, Leaves, leaves_of
from pellucid.core.levers import Fast, faster_twin
from pellucid.core.modality import Modality
from pellucid.core.outputs import Outputs, main_output
from pellucid.core.prediction import TASKS, Prediction, predicted
from pellucid.core.run import Pace, out_of_memory, torch_random, undisturbed
from pellucid.core.site import EmbeddingSite, Squashed, embedding_reached, first_tensor
from pellucid.core.twin import borrowed, fingerprint, stamp, twin_of, unwritten
from pellucid.errors import (
    DtypeError,
    MixedRowsError,
    ModelError,
    NonFiniteError,
    OptionError,
    OutputError,
    PellucidError,
    ShapeError,
)

Change = Callable[[nn.Module], Any]
"""A context manager factory that changes the twin for the time of a call."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module of the network: its name, kind, output shape without the batch axis, number of weights and of calls.

    ``order`` counts layers by when their first call ended; -1 is never called.

    Example:
        >>> import torch, pellucid as pl
        >>> model = pl.Model(torch.nn.Sequential(torch.nn.Conv1d(1, 4, 3), torch.nn.ReLU()))
        >>> [(layer.name, layer.kind, layer.shape) for layer in model.layers(torch.rand(1, 1, 8))]
        [('0', 'Conv1d', (4, 6)), ('1', 'ReLU', (4, 6))]
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    weights: int
    calls: int = 0
    order: int = -1

    @property
    def spatial(self) -> bool:
        """Whether the output is a stack of maps (channels, *space) with more than one place."""
        return self.shape is not None and len(self.shape) >= 2 and max(self.shape[1:]) > 1


class Model:
    """A network under study: a twin of ``module`` on the same weights, in eval mode and frozen; yours is not touched.

    ``inputs`` says what goes in (``pl.Images``, ``pl.Table``, ``pl.Text``, ``pl.Series``; plain tensors without),
    ``classes`` names the outputs, ``task`` is "classification", "regression", "image" or "tokens" (read off the first
    answer without), ``output`` picks the explained part of what the module returns. ``copy=False`` uses the module
    itself, restored after each call, where it cannot be copied.

    Raises: TwinError, MixedRowsError (a row's answer depends on its batch), OutputError, OptionError.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(2, 2)
        >>> model = pl.Model(net, classes=("cat", "dog"))
        >>> model(torch.zeros(1, 2)).top(1)[0][0] in ("cat", "dog")
        True
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        inputs: Modality | None = None,
        classes: Sequence[str] | None = None,
        task: str | None = None,
        output: Callable[[Any], Tensor] | None = None,
        copy: bool = True,
    ) -> None:
        if not isinstance(module, nn.Module):
            do = "Wrap a function in pl.BlackBox(predict)."
            raise DtypeError(expected="a torch module", got=type(module).__name__, do=do)
        if task is not None and task not in TASKS:
            raise OptionError(expected=f"a task of {TASKS}", got=repr(task), do="Leave it out to have it read off.")
        self.modality = inputs or Modality()
        self.classes = tuple(str(each) for each in classes) if classes is not None else None
        self.task, self.output, self.copied = task, output, copy
        self.module = twin_of(module) if copy else getattr(module, "_orig_mod", module)
        some = next(iter([*self.module.parameters(), *self.module.buffers()]), torch.zeros(0))
        self.device = some.device
        if self.device.type == "meta":
            raise ModelError(expected="a module with weights", got="weights on the meta device", do="Load them first.")
        self.dtype = some.dtype if some.is_floating_point() else torch.float32
        self.lock = RLock()
        self.paces: dict[Any, Pace] = {}
        self._fast: Fast | None = None
        self._fast_stamp: tuple[int, ...] | None = None
        self._layers: dict[Any, tuple[Layer, ...]] = {}
        self._checked = self._looked = self._draws = self._squashed = False
        self._sessions = 0
        self._sample: Leaves | None = None

    differentiable = True

    def __call__(self, given: Any) -> Prediction:
        """The prediction for raw or prepared inputs, in the form that fits the task."""
        with undisturbed(), torch.no_grad(), self.session():
            leaves = self.read(given)
            raw = self.answer(leaves, None, torch.arange(leaves.batch))
        values = self.main(raw).float()
        return predicted(raw, values, self.about(values), self.task_of(values))

    def read(self, given: Any) -> Leaves:
        """Prepare, check and take apart inputs; the first time, also check that rows are answered one by one."""
        leaves = leaves_of(self.modality.prepare(given), self.device, self.dtype)
        if not self._checked:
            with torch_random(self.device):
                before = torch.get_rng_state()
                self._checked = self._check_rows(leaves)
                self._draws = not torch.equal(before, torch.get_rng_state())
            self._sample = leaves.take(torch.tensor([0]))
        return leaves

    def main(self, raw: Any) -> Tensor:
        """The tensor that the answer is about, one row per input row."""
        values = main_output(raw)
        if values.ndim == 0:
            do = "Return (batch, …) tensors."
            raise OutputError(expected="answers with one row per input row", got="a single number", do=do)
        return values

    def task_of(self, values: Tensor) -> str:
        """The task: as said, or read off the shape of the answer."""
        if self.task is not None:
            return self.task
        if values.ndim == 4:
            return "image"
        if values.ndim == 3:
            return "tokens"
        several = values.ndim == 2 and values.shape[1] > 1
        return "classification" if several or self.classes is not None else "regression"

    def about(self, values: Tensor) -> Outputs:
        """Class names, and whether the answers are logits, probabilities or values."""
        n = values.shape[-1 if values.ndim == 3 else 1] if values.ndim >= 2 else 1
        if self.classes is not None and values.ndim >= 2 and n not in (1, len(self.classes)):
            got = f"{len(self.classes)} class names"
            raise ShapeError(expected=f"{n} class names", got=got, do="Name every output of the model.")
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteError(
                expected="finite answers", got="NaN or infinite outputs", do="Check weights and inputs."
            )
        task = self.task_of(values)
        if task == "regression" or (task == "image" and self.classes is None):
            return Outputs(self.classes, "values")
        single = values.ndim == 1 or values.shape[1] == 1
        sure = self._squashed if single else like_probabilities(values)
        return Outputs(self.classes, "probabilities" if sure else "logits")

    def choose(self, leaves: Leaves, *, exact: bool, layers: Sequence[str] = ()) -> nn.Module:
        """The module to run: the twin, or the faster one where none of ``layers`` differs inside between the two."""
        fast = None if exact else self.fast(leaves)
        return self.module if fast is None or fast.changed.intersection(layers) else fast.module

    def answer(self, leaves: Leaves, points: Tensor | None, rows: Tensor, *, module: nn.Module | None = None) -> Any:
        """Run the twin on ``rows`` of the inputs with ``points`` (rows, *shape) in place of the explained leaf."""
        module = self.module if module is None else module
        if points is not None and points.ndim == 4 and self._fast is not None and module is self._fast.module:
            points = points.contiguous(memory_format=torch.channels_last) if self._fast.channels_last else points
        args, kwargs = leaves.arguments(points, rows, self.dtype)
        try:
            answer = self.call(module, args, kwargs)
        except (RuntimeError, TypeError, LookupError, ValueError, AttributeError) as error:
            if isinstance(error, PellucidError) or out_of_memory(error):
                raise
            raise unfit(error, leaves) from error
        return answer if self.output is None else self.output(answer)

    def call(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Call a module; what a recurrent layer needs on an accelerator is seen to."""
        if self.device.type == "cuda" and torch.is_grad_enabled():
            with torch.backends.cudnn.flags(enabled=not any(isinstance(each, nn.RNNBase) for each in module.modules())):
                return module(*args, **kwargs)
        return module(*args, **kwargs)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the model for one computation; a module that was not copied is lent and given back as it was."""
        with self.lock, ExitStack() as stack:
            if not self.copied:
                stack.enter_context(borrowed(self.module))
            if self._draws and not self._sessions:
                stack.enter_context(torch_random(self.device))
            self._sessions += 1
            try:
                yield
            finally:
                self._sessions -= 1
                self._looked = self._looked and self._sessions > 0

    def fast(self, leaves: Leaves) -> Fast | None:
        """The twin with levers pulled, made on first need and again when the weights have changed.

        Whether they have is looked up once a session.
        """
        if not self.copied or self.dtype != torch.float32:
            return None
        now = self._fast_stamp if self._looked else stamp(self.module)
        self._looked = self._sessions > 0
        if now != self._fast_stamp:
            sample = leaves.take(torch.tensor([0]))

            def call(module: nn.Module) -> Tensor:
                args, kwargs = sample.arguments(None, torch.tensor([0]), self.dtype)
                answer = self.call(module, args, kwargs)
                answer = answer if self.output is None else self.output(answer)
                found = first_tensor(answer)
                return self.main(answer) if found is None or readable(answer) else found

            self._fast, self._fast_stamp = faster_twin(self.module, lambda: twin_of(self.module), call), now
        return self._fast

    def path(self, module: nn.Module) -> str:
        """Which levers a module runs with."""
        return self._fast.path if self._fast is not None and module is self._fast.module else "plain"

    def embedding(self, leaves: Leaves) -> EmbeddingSite:
        """The embedding look-up that the explained ids reach; DtypeError where they reach none."""
        ids, rows = leaves.values, torch.arange(leaves.batch)
        args, kwargs = leaves.arguments(ids, rows, self.dtype)
        with self.session():
            found = embedding_reached(lambda: self.call(self.module, args, kwargs), ids)
        if found is None:
            do = "Pass floats; or for pictures use pl.Model(module, inputs=pl.Images(…))."
            raise DtypeError(expected="floating inputs, or ids that reach an embedding", got=str(ids.dtype), do=do)
        return found

    def layers(self, given: Any = None) -> tuple[Layer, ...]:
        """The modules by name with their output shapes, on the inputs given or on those last seen."""
        leaves = given if isinstance(given, Leaves) else None if given is None else self.read(given)
        sample = self._sample if leaves is None else leaves.take(torch.tensor([0]))
        key = None if sample is None else tuple(sample.values.shape)
        if key not in self._layers:
            self._layers[key] = self._list_layers(sample)
        return self._layers[key]

    def _list_layers(self, sample: Leaves | None) -> tuple[Layer, ...]:
        shapes: dict[str, list[tuple[int, ...]]] = {}
        with ExitStack() as stack:
            if sample is not None:
                for name, part in self.module.named_modules():
                    stack.callback(part.register_forward_hook(_note_shape(name, shapes)).remove)
                with torch.no_grad(), self.session():
                    self.answer(sample, None, torch.tensor([0]))
        order = {name: i for i, name in enumerate(shapes)}
        return tuple(
            Layer(
                name=name,
                kind=type(part).__name__,
                shape=shapes[name][0] if name in shapes else None,
                weights=sum(each.numel() for each in part.parameters()),
                calls=len(shapes.get(name, ())),
                order=order.get(name, -1),
            )
            for name, part in self.module.named_modules()
            if name
        )

    def fingerprint(self) -> str:
        """A short hash of all weights."""
        return fingerprint(self.module)

    def with_module(self, change: Callable[[nn.Module], nn.Module]) -> Model:
        """The same model around a changed copy of the twin (weights randomized, a layer perturbed)."""
        import copy

        other = copy.copy(self)
        other.module = change(copy.deepcopy(twin_of(self.module)))
        other.paces, other._layers, other._fast, other._fast_stamp, other.lock = {}, {}, None, None, RLock()
        other._sessions, other._looked, other.copied = 0, False, True
        return other

    def _check_rows(self, leaves: Leaves) -> bool:
        """Ask the first row alone, and beside another one; whether that could show a mixing of rows."""
        first = leaves.take(torch.zeros(2, dtype=torch.long))
        values = first.values.clone()
        values[1] = another(values[1])
        with torch.no_grad(), self.session(), unwritten(self.module) if self.copied else nullcontext():
            try:
                with Squashed() as squashed:
                    raw = self.answer(first, values[:1].clone(), torch.tensor([0]))
                if not readable(raw):
                    return True
                self._squashed = squashed.made_by(self.main(raw))
                alone, again = self.main(raw), self.main(self.answer(first, values[:1].clone(), torch.tensor([0])))
                both = self.main(self.answer(first, values.clone(), torch.tensor([0, 1])))
            except (RuntimeError, MemoryError) as error:
                if out_of_memory(error):
                    return False
                raise
        if again.shape != alone.shape or not same_answer(again, alone):
            do = "Look for dropout or random numbers that are on in eval mode, too."
            raise ModelError(expected="a model that gives one answer to one input", got="another each time", do=do)
        if len(both) != 2 or len(alone) != 1:
            got = f"{len(both)} rows for 2"
            do = "Keep the batch axis first, in inputs and outputs."
            raise ShapeError(expected="one row of answers per row of inputs", got=got, do=do)
        if both[0].shape != alone[0].shape or not same_answer(both[0], alone[0]):
            do = "Put it in eval mode, or replace what mixes rows (batch statistics, softmax over the batch)."
            got = "a row whose answer changes with its neighbors"
            raise MixedRowsError(expected="a model that answers each row by itself", got=got, do=do)
        return not torch.equal(values[0], values[1])


def readable(raw: Any) -> bool:
    """Whether an answer has a main tensor; one without, but with tensors somewhere, is read by a target function."""
    try:
        main_output(raw)
    except OutputError:
        if first_tensor(raw) is None:
            raise
        return False
    return True


def another(row: Tensor) -> Tensor:
    """A row of the same kind that differs: turned around, or moved where that is the same."""
    turned = row.flatten().flip(0).reshape(row.shape)
    return row * 0.5 + 0.25 if row.is_floating_point() and torch.equal(turned, row) else turned


def same_answer(one: Tensor, other: Tensor) -> bool:
    """Equal up to what another kernel for another batch size may change."""
    loose = 5e-2 if one.dtype in HALVES else 1e-3
    if not bool(torch.isfinite(other).all()):
        return True
    return bool(torch.allclose(one.double(), other.double(), rtol=loose, atol=loose * float(other.abs().max())))


def unfit(error: Exception, leaves: Leaves) -> PellucidError:
    """What a failing first call most likely means, as a named error."""
    shape = f"(batch, {', '.join(map(str, leaves.values.shape[1:]))})"
    reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    if "more than 1 value per channel" in reason or "more than 1 spatial element" in reason:
        do = "Replace what takes statistics over the batch, or keep running ones (track_running_stats)."
        return MixedRowsError(expected="a model that answers each row by itself", got=reason, do=do)
    if any(word in reason for word in ("shape", "size", "dimension", "channels", "must match")):
        return ShapeError(expected="inputs of the shape the model takes", got=f"{shape} ({reason})", do="Reshape them.")
    if any(word in reason for word in ("dtype", "scalar type", "nput type")):
        do = "Pass floats, or ids (torch.long) to an embedding."
        got = f"{leaves.values.dtype} ({reason})"
        return DtypeError(expected="inputs of the type the model takes", got=got, do=do)
    do = "Call the module on these inputs yourself; what fails there fails here."
    return ModelError(
        expected=f"a model that runs on inputs of shape {shape}", got=f"{type(error).__name__}: {reason}", do=do
    )


def like_probabilities(values: Tensor) -> bool:
    """Whether answers lie in [0, 1] and, where there are several, sum to one."""
    if values.ndim == 1 or values.shape[1] == 1:
        return bool(((values >= 0) & (values <= 1)).all())
    inside, total = bool((values >= 0).all()) and bool((values <= 1).all()), values.sum(-1 if values.ndim == 3 else 1)
    return inside and bool(torch.allclose(total, torch.ones_like(total), atol=1e-4))


def _note_shape(name: str, shapes: dict[str, list[tuple[int, ...]]]) -> Any:
    def note(_part: nn.Module, _args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            shapes.setdefault(name, []).append(tuple(tensor.shape[1:]))

    return note
