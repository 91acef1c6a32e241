"""inspect: what a network is made of, what its units answer to, and what is odd about it, on one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Modality, Table, Text
from pellucid.core.model import Model
from pellucid.core.run import current_settings
from pellucid.core.site import site_of
from pellucid.errors import Cancelled, MixedRowsError, NonFiniteError, OptionError, PellucidError
from pellucid.features.anatomy import Anatomy, anatomy
from pellucid.features.defects import defects
from pellucid.features.examples import top_examples
from pellucid.features.fields import Sizes, sizes
from pellucid.features.filters import Filters, filters
from pellucid.features.finding import Finding, counted, ordered
from pellucid.features.scene import sample_of, shape_of
from pellucid.features.specimens import Specimens, picked, statistics_layers
from pellucid.features.statistics import UnitStatistics, unit_statistics
from pellucid.features.symptoms import symptoms, unique
from pellucid.features.units import places, torch_model
from pellucid.features.visualization import Visualization
from pellucid.features.visualize import visualize

T = TypeVar("T")
SINGLE = str | Path
BROKEN = ("weights not finite", "activations not finite")


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """A model looked at from all sides: ``save(path)`` writes the page, a notebook shows its beginning.

    ``anatomy`` has the parts with shapes, weights and cost, ``sees`` receptive fields by layer, ``findings`` what is
    odd, the gravest first. ``statistics`` are those of all units (with data), ``specimens`` the units that are shown,
    ``pictures`` their synthesized inputs, ``typical`` some rows of the data. ``left_out`` says what could not be done,
    ``stopped`` where it was stopped.

    Example:
        >>> import torch, pellucid as pl
        >>> found = pl.inspect(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), torch.rand(9, 3), steps=2)
        >>> found.anatomy.whole.parameters, len(found.sentences)
        (16, 3)
    """

    name: str
    modality: Modality
    classes: tuple[str, ...] | None
    anatomy: Anatomy
    sees: Sizes
    findings: tuple[Finding, ...]
    filters: Filters | None = None
    statistics: UnitStatistics | None = None
    specimens: tuple[Specimens, ...] = ()
    pictures: Visualization | None = None
    typical: Tensor | None = None
    left_out: tuple[str, ...] = ()
    stopped: str = ""
    command: str = ""
    provenance: tuple[tuple[str, str], ...] = field(default=())

    @property
    def dead(self) -> tuple[int, int] | None:
        """How many units are dead, of how many that could be; None where no data were given."""
        if self.statistics is None:
            return None
        found = [each for _, each in unique(self.statistics)]
        return sum(int(each.dead.sum()) for each in found), sum(len(each) for each in found)

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What the model is, whether units are dead, and how much is odd."""
        from pellucid.report.portrait import dead_sentence, finding_sentence, model_sentence

        return model_sentence(self), dead_sentence(self), finding_sentence(self)

    def html(self) -> str:
        """The whole page."""
        from pellucid.report.portrait import portrait

        return portrait(self)

    def save(self, path: Any) -> Path:
        """Write the page; the file is complete or not there."""
        from pellucid.report.writing import write_page

        return write_page(path, self.html())

    def _repr_html_(self) -> str:
        from html import escape

        said = "".join(f"<p>{escape(each)}</p>" for each in self.sentences)
        return said + "<ul>" + "".join(f"<li>{escape(str(each))}</li>" for each in self.findings) + "</ul>"

    def as_dict(self) -> dict[str, Any]:
        """The tree, the findings and the units as plain data for JSON."""
        whole = self.anatomy.whole
        return {
            "model": self.name,
            "kind": whole.kind,
            "sentences": list(self.sentences),
            "inputs": [{"name": name, "shape": list(shape)} for name, shape in self.anatomy.inputs],
            "output": self.anatomy.output,
            "parameters": whole.parameters,
            "multiply_adds": whole.multiply_adds,
            "rows": 0 if self.statistics is None else self.statistics.rows,
            "dead": None if self.dead is None else {"units": self.dead[0], "of": self.dead[1]},
            "findings": [each.as_dict() for each in self.findings],
            "tree": [self._part(each) for each in self.anatomy.parts],
            "units": [{"layer": each.layer, "units": list(each.units)} for each in self.specimens],
            "left_out": list(self.left_out),
            "stopped": self.stopped or None,
            "provenance": dict(self.provenance),
        }

    def _part(self, part: Any) -> dict[str, Any]:
        """One line of the tree."""
        names = ("name", "kind", "shape", "parameters", "multiply_adds", "calls")
        own = None if self.statistics is None or part.name not in self.statistics else self.statistics[part.name]
        return {
            **{name: getattr(part, name) for name in names},
            "sees": self.sees.get(part.name),
            "dead": None if own is None else int(own.dead.sum()),
        }

    def __repr__(self) -> str:
        return "\n".join([*self.sentences, *map(str, self.findings)])


def inspect(
    model: Any,
    data: Any = None,
    *,
    layers: int | Sequence[str] = 4,
    units: int = 8,
    examples: int = 6,
    steps: int = 32,
    size: int | tuple[int, ...] | None = None,
    name: str = "",
    command: str = "",
) -> Inspection:
    """Look at a model from all sides: its parts and their cost, filters, units, and what is odd about it.

    Without ``data``, what can be read off the weights; with them, what units answer to, dead units, and how far
    synthesized inputs may be believed. ``data`` is what the model takes, or an iterable of batches that can be gone
    through again. ``layers`` are the names of those whose units are shown, or how many layers; ``units`` how many of
    each, ``examples`` how many of the data for each unit, ``steps`` the gradient steps for a synthesized input (0: make
    none). ``size`` is that of the inputs where neither the data nor the model say it. ``name`` and ``command`` are
    shown on the page. A request to stop ends it with what is there.

    Cost:   a few passes over the data, and ``steps`` forward and backward passes for each unit shown.
    Raises: GradientError for a BlackBox; OptionError; LayerError for an unknown layer; what reading data raises.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> found = pl.inspect(pl.load("demo:digits"), parts("digits").examples[:40], units=2, steps=2)
        >>> found.anatomy["stem.0"].multiply_adds, found.sees["stem.0"], found.dead
        (13824, (3, 3), (0, 216))
    """
    studied = torch_model(model)
    checked(studied, layers, units, examples, steps)
    data = [data] if isinstance(data, SINGLE) else data
    look = Look(studied)
    leaves = look.sample(data, size)
    built = look.tried("the tree", lambda: anatomy(studied, leaves)) or anatomy(studied, None)
    sees = {} if leaves is None else look.tried("receptive fields", lambda: sizes(studied, leaves)) or {}
    look.findings += look.tried("weights", lambda: ordered(defects(studied, built, model))) or ()
    seen = look.tried("filters", lambda: filters(studied), quiet=True)
    measured = look.measured(built, leaves, data)
    sample = None if data is None else leaves
    look.findings += look.tried("inputs", lambda: ordered(symptoms(studied, built, measured, sample))) or ()
    shown = look.shown(leaves, data, layers, units, examples, measured)
    made, shown = look.made(leaves, data, shown, steps)
    return Inspection(
        name=name or type(studied.module).__name__,
        modality=studied.modality,
        classes=studied.classes,
        anatomy=built,
        sees=sees,
        findings=ordered([*look.findings, *look.broken]),
        filters=seen,
        statistics=measured,
        specimens=shown,
        pictures=made,
        typical=None if data is None or leaves is None or leaves.integer else leaves.values.cpu(),
        left_out=tuple(look.left_out),
        stopped=look.stopped,
        command=command,
        provenance=provenance(studied, measured, look),
    )


@dataclass(eq=False)
class Look:
    """An inspection under way: what failed is noted, and a request to stop ends the rest."""

    model: Model
    findings: list[Finding] = field(default_factory=list)
    broken: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    stopped: str = ""
    started: float = field(default_factory=time.perf_counter)

    def tried(self, what: str, work: Callable[[], T], *, quiet: bool = False) -> T | None:
        """What the work gives; None if it was stopped or cannot be done."""
        if self.stopped:
            return None
        try:
            return work()
        except (KeyboardInterrupt, Cancelled):
            self.stopped = what
        except NonFiniteError as error:
            if not quiet:
                words = f"{what.capitalize()} could not be measured: expected {error.expected}; got {error.got}."
                self.broken.append(Finding(kind="activations not finite", level="problem", words=words))
        except PellucidError as error:
            if not quiet:
                self.left_out.append(f"{what}: {error}")
        return None

    def sample(self, data: Any, size: Any) -> Leaves | None:
        """Some rows of the data; without data a blank row, where the model says how large inputs are."""
        try:
            return self.blank(size) if data is None else sample_of(self.model, data)
        except MixedRowsError as error:
            words = f"The model does not answer each row by itself ({error.got}), so nothing was run through it."
            self.findings.append(Finding(kind="rows are mixed", level="problem", words=words))
            return None

    def blank(self, size: Any) -> Leaves | None:
        """A row of zeros, or of the background of a table."""
        modality = self.model.modality
        if isinstance(modality, Text):
            return None if modality.tokenizer is None else self.model.read("a")
        rows = modality.background_rows() if isinstance(modality, Table) else None
        if rows is not None:
            return self.model.read(rows[:1])
        try:
            shape = shape_of(self.model, size, None, None)
        except OptionError:
            self.left_out.append("shapes, cost and units: the size of the inputs is not known; give data, or size=")
            return None
        return self.model.read(torch.zeros(1, *shape))

    def measured(self, built: Anatomy, leaves: Leaves | None, data: Any) -> UnitStatistics | None:
        """Statistics of all units over the data."""
        if data is None or leaves is None:
            return None

        def work() -> UnitStatistics:
            names = statistics_layers(built, places(self.model, leaves, None))
            return unit_statistics(self.model, data, names)

        return self.tried("activations", work)

    def shown(
        self, leaves: Leaves | None, data: Any, layers: Any, units: int, examples: int, measured: UnitStatistics | None
    ) -> tuple[Specimens, ...]:
        """Units with their best examples."""
        if leaves is None:
            return ()
        chosen = self.tried("units", lambda: picked(self.model, leaves, layers, units, measured)) or ()
        if data is None or measured is None or examples == 0:
            return chosen
        return tuple(self.with_examples(each, data, examples) for each in chosen)

    def with_examples(self, each: Specimens, data: Any, examples: int) -> Specimens:
        """Units of one layer with their best examples."""
        work = lambda: top_examples(self.model, data, each.layer, each.units, examples)  # noqa: E731
        return replace(each, examples=self.tried(f"examples of {each.layer}", work))

    def made(
        self, leaves: Leaves | None, data: Any, shown: tuple[Specimens, ...], steps: int
    ) -> tuple[Visualization | None, tuple[Specimens, ...]]:
        """Synthesized inputs for all units, in one batch."""
        if leaves is None or leaves.integer or not shown or steps == 0:
            return None, shown
        if any(each.kind in BROKEN for each in (*self.findings, *self.broken)):
            self.left_out.append("synthesized inputs: there are numbers that are not finite")
            return None, shown
        targets = [target for each in shown for target in each.targets()]
        plain = leaves if len(leaves.explained) == 1 and leaves.values.ndim > 1 else None
        size = tuple(leaves.values.shape[1:]) if plain is not None and data is None else None

        def work() -> Visualization:
            return visualize(self.model, targets, steps=steps, size=size, data=data)

        found = self.tried("synthesized inputs", work)
        if found is None:
            return None, shown
        if any(each.startswith("stopped after") for each in found.notes):
            self.stopped = "synthesized inputs"
        at, placed = 0, []
        for each in shown:
            placed.append(replace(each, first=at))
            at += len(each.units)
        return found, tuple(placed)


def checked(model: Model, layers: Any, units: int, examples: int, steps: int) -> None:
    """Refuse options that cannot be, and layers that are not there, before anything is computed."""
    for option, value, least in (("units", units, 1), ("examples", examples, 0), ("steps", steps, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise OptionError(expected=f"{option} of at least {least}", got=repr(value), do="Use a whole number.")
    if isinstance(layers, int) and not isinstance(layers, bool) and layers >= 0:
        return
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        do = 'Say how many, or which: layers=["layer1", "layer4"].'
        raise OptionError(expected="layers: a number or names", got=repr(layers), do=do)
    for each in layers:
        site_of(model.module, each)


def provenance(model: Model, measured: UnitStatistics | None, look: Look) -> tuple[tuple[str, str], ...]:
    """What was looked at, with what, for how long."""
    import platform
    from importlib.metadata import version

    rows = "none" if measured is None else counted(measured.rows, "row")
    return (
        ("model", type(model.module).__name__),
        ("weights", model.fingerprint()),
        ("data", rows),
        ("seconds", f"{time.perf_counter() - look.started:.3g}"),
        ("seed", str(current_settings().seed)),
        ("versions", f"pellucid {version('pellucid')}, torch {torch.__version__}, Python {platform.python_version()}"),
    )
