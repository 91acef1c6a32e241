"""What differs between two sets of weights of one architecture: checkpoints, or a model before and after training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pellucid.core.figure import Bars, Figure, Grid, Sheet
from pellucid.core.run import undisturbed
from pellucid.errors import DtypeError, LayerError, ModelError, NonFiniteError, nearest
from pellucid.features.saving import save_tensors
from pellucid.features.spectra import flat, ranked, rounded, steps
from pellucid.features.units import torch_model

Array = NDArray[Any]
BINS = 50
SHOWN = 24
PREFIXES = ("module.", "_orig_mod.", "model.")


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightChange:
    """One tensor, before and after: ``relative`` is ‖Δw‖ / ‖w‖ (nan for zeros before), ``units`` by first axis.

    ``cosine`` is between the two, ``histogram`` (counts, edges) that of the differences; nan units were zero before.
    """

    name: str
    shape: tuple[int, ...]
    change: float
    relative: float
    cosine: float
    norms: tuple[float, float]
    units: Array
    histogram: tuple[Array, Array]

    def largest(self, most: int = 5) -> tuple[tuple[int, float], ...]:
        """The units that changed most, with their relative change."""
        order = np.argsort(-np.nan_to_num(self.units, nan=np.inf), kind="stable")
        return tuple((int(i), float(self.units[i])) for i in order[:most] if self.units[i] != 0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WeightChanges(Mapping[str, WeightChange]):
    """How weights differ between two checkpoints, tensor by tensor; ``missing``, ``added`` and ``reshaped`` are named.

    Example:
        >>> import copy, torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> later = copy.deepcopy(net)
        >>> _ = later[1].weight.data.mul_(1.5)
        >>> found = pl.compare_weights(net, later)
        >>> found.changed(), round(found["1.weight"].relative, 3)
        (('1.weight',), 0.5)
    """

    tensors: Mapping[str, WeightChange]
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    def __getitem__(self, name: str) -> WeightChange:
        if name not in self.tensors:
            raise LayerError(expected="a tensor that both have", got=repr(name), do=nearest(name, self.tensors))
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def changed(self) -> tuple[str, ...]:
        """The tensors that are not the same, the largest relative change first."""
        moved = [each for each in self.tensors.values() if each.change > 0]
        return tuple(each.name for each in sorted(moved, key=lambda each: -np.nan_to_num(each.relative, nan=np.inf)))

    def figure(self, name: str | None = None) -> Figure:
        """The tensors that changed as bars, in the network's order; or one: its differences, and its units."""
        if name is not None:
            return change_figure(self[name])
        moved = self.changed()
        kept = moved if len(moved) <= SHOWN else [each for each in moved if len(self[each].shape) > 1] or moved
        shown = [each for each in self.tensors.values() if each.name in set(kept[:SHOWN])]
        if not shown:
            return self.table()
        rest = f" The {len(shown)} that changed most." if len(shown) < len(moved) else ""
        return Bars(
            title="Change of weights",
            caption=f"{self.words()}.{rest}",
            alt=f"relative change of {len(shown)} tensors; {len(moved)} changed",
            labels=tuple(each.name for each in shown),
            values=100 * np.array([each.relative for each in shown]),
            signed=False,
            unit="% of the norm before",
        )

    def table(self) -> Sheet:
        """A line a tensor that changed: how far it moved, in which direction, and which units most."""
        rows = tuple(
            (name, " × ".join(map(str, each.shape)), rounded(each.norms[0]), rounded(each.norms[1]),
             rounded(each.change), rounded(each.relative), rounded(each.cosine),
             ", ".join(str(unit) for unit, _ in each.largest(3)))
            for name, each in self.tensors.items() if each.change > 0
        )  # fmt: skip
        header = (
            "tensor",
            "shape",
            "norm before",
            "norm after",
            "‖Δw‖",
            "‖Δw‖ / ‖w‖",
            "cosine",
            "units that moved most",
        )
        alt = f"differences of {len(rows)} tensors"
        return Sheet(title="Change of weights", header=header, rows=rows, caption=f"{self.words()}.", alt=alt)

    def words(self) -> str:
        """How many tensors changed, and what does not match."""
        parts = [f"{len(self.changed())} of {len(self)} tensors changed"]
        parts += [f"only before: {listed(self.missing)}"] if self.missing else []
        parts += [f"only after: {listed(self.added)}"] if self.added else []
        parts += [f"of another shape: {listed(tuple(name for name, *_ in self.reshaped))}"] if self.reshaped else []
        return "; ".join(parts)

    def plot(self, name: str | None = None) -> Any:
        """Draw with matplotlib."""
        return self.figure(name).plot()

    def to_frame(self) -> Any:
        """One line a tensor, as a pandas frame."""
        import pandas

        names = ("name", "shape", "change", "relative", "cosine")
        return pandas.DataFrame([{key: getattr(each, key) for key in names} for each in self.tensors.values()])

    def save(self, path: Any) -> None:
        """Write the changes of units and a JSON header to one safetensors file."""
        arrays = {f"{name}/units": each.units for name, each in self.tensors.items()}
        relative = {name: each.relative for name, each in self.tensors.items() if np.isfinite(each.relative)}
        save_tensors(path, arrays, "weight changes", {"relative": relative})

    def _repr_html_(self) -> str:
        return Grid(figures=(self.figure(), self.table()), columns=1).html()

    def __repr__(self) -> str:
        return f"WeightChanges: {self.words()}"


def compare_weights(before: Any, after: Any) -> WeightChanges:
    """Compare two checkpoints: models, modules or state dicts of the same architecture, tensor by tensor.

    Buffers, such as the running means of batch-norms, count as well; integers do not. Tensors that only one has, or
    that have another shape, are named. A prefix that all names of one share ("module.") is left out.

    Raises: ModelError where nothing matches, NonFiniteError for NaN or infinity, with the tensor's name.

    Example:
        >>> import pellucid as pl
        >>> model = pl.load("demo:digits")
        >>> pl.compare_weights(model, model).changed()
        ()
    """
    with undisturbed():
        one, other = state_of(before, "before"), state_of(after, "after")
    both = [name for name in one if name in other]
    same = [name for name in both if one[name].shape == other[name].shape]
    if not same:
        do = f"Names before: {listed(tuple(one))}; after: {listed(tuple(other))}."
        raise ModelError(expected="two sets of weights of one architecture", got="no tensor that both have", do=do)
    odd = tuple((name, tuple(one[name].shape), tuple(other[name].shape)) for name in both if name not in same)
    return WeightChanges(
        tensors={name: changed(name, one[name], other[name]) for name in same},
        missing=tuple(name for name in one if name not in other),
        added=tuple(name for name in other if name not in one),
        reshaped=odd,
    )


def state_of(given: Any, which: str) -> dict[str, Tensor]:
    """Floating tensors by name."""
    if isinstance(given, Mapping):
        state = dict(given)
        if not state or not all(isinstance(each, Tensor) for each in state.values()):
            do = 'Pass the state dict itself, such as checkpoint["state_dict"].'
            raise DtypeError(expected="a state dict: names and tensors", got=f"other values ({which})", do=do)
    else:
        module: nn.Module = torch_model(given).module
        state = module.state_dict()
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): each for name, each in state.items()}
    kept = {name: each.detach().cpu() for name, each in state.items() if each.is_floating_point() and each.numel()}
    if not kept:
        do = "Pass a network with layers that have weights."
        raise ModelError(expected=f"a model with weights ({which})", got=f"{type(given).__name__} without any", do=do)
    for name, each in kept.items():
        if not bool(torch.isfinite(each).all()):
            do = "Choose a checkpoint from before training diverged."
            raise NonFiniteError(expected=f"finite weights ({which})", got=f"NaN or infinity in {name!r}", do=do)
    return kept


def changed(name: str, before: Tensor, after: Tensor) -> WeightChange:
    """The difference of one tensor."""
    w, v = flat(before), flat(after)
    delta, norms = v - w, (float(np.linalg.norm(w)), float(np.linalg.norm(v)))
    change = float(np.linalg.norm(delta))
    rows = (len(before), -1) if before.ndim else (1, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.linalg.norm(delta.reshape(rows), axis=1)
        units = np.where(moved == 0, 0.0, moved / np.linalg.norm(w.reshape(rows), axis=1))
    return WeightChange(
        name=name,
        shape=tuple(before.shape),
        change=change,
        relative=change / norms[0] if norms[0] else (0.0 if change == 0 else float("nan")),
        cosine=float(np.clip(w @ v / (norms[0] * norms[1]), -1, 1)) if norms[0] and norms[1] else float("nan"),
        norms=norms,
        units=np.where(np.isfinite(units), units, np.nan),
        histogram=np.histogram(delta, BINS),
    )


def change_figure(each: WeightChange) -> Grid:
    """The histogram of differences, and units in the order of their change."""
    told = f"‖Δw‖ / ‖w‖ = {each.relative:.3g}, cosine {each.cosine:.4g}"
    units = np.sort(np.nan_to_num(each.units))[::-1]
    most = ", ".join(f"{unit} ({share:.2g})" for unit, share in each.largest())
    figures = (
        steps(f"{each.name} · differences", *each.histogram, "after − before", told),
        ranked(f"{each.name} · units", units, "relative change of a unit", f"Most: {most}." if most else "None."),
    )
    return Grid(figures=figures, columns=2)


def listed(names: tuple[str, ...], most: int = 6) -> str:
    """Some names."""
    return ", ".join(map(repr, names[:most])) + (f", … ({len(names)})" if len(names) > most else "")
