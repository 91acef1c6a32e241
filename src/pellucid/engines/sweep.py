"""One pass over a data set: readers at layers see activations while they are made; nothing of that size is held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.meter import Meter
from pellucid.core.modality import Images, Series, Table, Text
from pellucid.core.model import Model
from pellucid.core.run import Run, half_of, undisturbed
from pellucid.core.site import Site, Stop, meet, site_of, uncalled
from pellucid.errors import DtypeError, EmptyError, OutOfMemory

INPUTS = ""
AT_ONCE = 512


class Reader(Protocol):
    """Something that looks at activations (rows, *shape) of the data set's rows with the given numbers."""

    def read(self, values: Tensor, rows: Tensor) -> None: ...


def sweep(model: Model, data: Any, readers: Mapping[str, Sequence[Reader]], run: Run) -> int:
    """Show the activations of layers to their readers, row after row, and return the number of rows.

    ``data`` is what the model takes, all rows at once, or an iterable of batches (a DataLoader; of (inputs, labels) the
    inputs are taken). Readers of ``""`` see the inputs. The pass through the model ends at the last layer needed;
    a reader must not keep what it is shown: the model may write over it.
    """
    sites = {site_of(model.module, layer): each for layer, each in readers.items() if layer != INPUTS}
    start = 0
    for leaves in batches(model, data, run):
        with undisturbed(), model.session():
            for part in pieces(model, leaves, sites, run):
                for reader in readers.get(INPUTS, ()):
                    reader.read(leaves.values[part.to(leaves.values.device)], start + part)
                if sites:
                    measured(model, leaves, part, Shown(sites, start), run)
        start += leaves.batch
    if start == 0:
        raise EmptyError(expected="at least one row of data", got="none", do="Pass a batch, or an iterable of batches.")
    return start


@dataclass(frozen=True, eq=False)
class Shown:
    """Sites with their readers, and the number of the batch's first row."""

    sites: Mapping[Site, Sequence[Reader]]
    start: int

    def show(self, site: Site, value: Tensor, rows: Tensor) -> None:
        """Let every reader of a site see it."""
        for reader in self.sites[site]:
            reader.read(value, self.start + rows)


def peek(model: Model, data: Any) -> tuple[Leaves, Any]:
    """The first rows of data, prepared, and data of which nothing was used up."""
    if rows_of(model, data) is not None:
        return next(batches(model, data, None)), data
    if not hasattr(data, "__iter__"):
        do = "Pass what the model takes, or an iterable of batches."
        raise DtypeError(expected="rows of data", got=type(data).__name__, do=do)
    rest = iter(data)
    first = next(rest, None)
    if first is None:
        raise EmptyError(expected="at least one row of data", got="none", do="Pass a batch, or an iterable of batches.")
    return model.read(inputs_of(model, first)), data if rest is not data else chain([first], rest)


def batches(model: Model, data: Any, run: Run | None) -> Iterator[Leaves]:
    """Data as prepared inputs, some hundred rows at a time."""
    count = rows_of(model, data)
    if run is not None and count is not None:
        run.announce(count)
    for inputs in chunks(model, data):
        leaves = model.read(inputs)
        if run is not None and count is None:
            run.announce(leaves.batch)
        yield leaves


def chunks(model: Model, data: Any) -> Iterator[Any]:
    """Data as inputs like those that were given, some hundred rows at a time, labels left out."""
    count = rows_of(model, data)
    if count is None:
        yield from (inputs_of(model, batch) for batch in data)
    elif count <= AT_ONCE or one_row(model, data, count):
        yield data
    else:
        yield from (cut(data, start, min(start + AT_ONCE, count), count) for start in range(0, count, AT_ONCE))


def rows_of(model: Model, data: Any) -> int | None:
    """How many rows data holds, at most; None for an iterable of batches."""
    if isinstance(data, Mapping):
        return max((length(each) for each in data.values()), default=0)
    if isinstance(data, str | Path) or hasattr(data, "getexif"):
        return 1
    if isinstance(data, Tensor | np.ndarray) or hasattr(data, "iloc"):
        return length(data)
    if isinstance(data, tuple) and data and isinstance(data[0], Tensor | np.ndarray):
        return max(length(each) for each in data)
    many = isinstance(data, list | tuple) and len(data) > 0 and not is_batch(model, data[0])
    return len(data) if many else None


def length(value: Any) -> int:
    """How many rows a part of the inputs holds; a single value is one."""
    single = isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0
    return 1 if single else len(value)


def is_batch(model: Model, each: Any) -> bool:
    """Whether an element of a list is a batch of rows, and not a row (or an input) of its own."""
    if isinstance(each, Mapping | list | tuple):
        return not isinstance(model.modality, Table)
    if isinstance(model.modality, Images):
        return getattr(each, "ndim", 0) == 4
    if isinstance(model.modality, Series):
        return getattr(each, "ndim", 0) == 3
    return getattr(each, "ndim", 0) >= 2


def one_row(model: Model, data: Any, count: int) -> bool:
    """Whether a long array is a single row: two of its slices are not two rows."""
    if isinstance(data, Mapping) or hasattr(data, "iloc"):
        return False
    prepared = model.modality.prepare(cut(data, 0, 2, count))
    return isinstance(prepared, Tensor) and len(prepared) != 2


def cut(data: Any, start: int, stop: int, count: int) -> Any:
    """Some rows of data; what has no rows goes along whole."""
    if isinstance(data, Mapping):
        return {name: each[start:stop] if length(each) == count else each for name, each in data.items()}
    if isinstance(data, tuple) and not isinstance(data[0], str | Path):
        return tuple(each[start:stop] if length(each) == count else each for each in data)
    return data.iloc[start:stop] if hasattr(data, "iloc") else data[start:stop]


def inputs_of(model: Model, batch: Any) -> Any:
    """The inputs of (inputs, labels); of a batch without labels, the batch.

    Pictures, series and rows are one tensor: the first of what a loader gives. For others, labels are one number a row.
    """
    if not isinstance(batch, list | tuple) or len(batch) < 2 or isinstance(batch[0], str | Path):
        return batch[0] if isinstance(batch, list | tuple) and len(batch) == 1 and not loose(batch[0]) else batch
    if isinstance(model.modality, Images | Series | Table | Text) and not loose(batch[0]):
        return batch[0]
    return batch[0] if len(batch) == 2 and not loose(batch[0]) and is_labels(batch[1], batch[0]) else batch


def loose(each: Any) -> bool:
    """Whether something is a single row: a text, a path, a picture or an array without a batch axis."""
    return not isinstance(each, Mapping | list | tuple) and getattr(each, "ndim", 0) < 2


def is_labels(labels: Any, inputs: Any) -> bool:
    """Whether this is one number for each row of the inputs."""
    rows = length(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
    flat = getattr(labels, "ndim", 1) <= 1 and not isinstance(labels, str | Mapping)
    return flat and length(labels) == rows and not (isinstance(labels, list) and isinstance(labels[0], str))


def pieces(model: Model, leaves: Leaves, sites: Mapping[Site, Any], run: Run) -> Iterator[Tensor]:
    """The rows of a batch, as many at a time as fit."""
    done = 0 if sites else leaves.batch
    if not sites:
        yield torch.arange(leaves.batch)
    while done < leaves.batch:
        pace = model.paces.get(key_of(leaves, sites))
        size = min(8, leaves.batch - done) if pace is None else run.size(pace, leaves.batch - done)
        yield torch.arange(done, done + size)
        done += size


def key_of(leaves: Leaves, sites: Mapping[Site, Any]) -> tuple[Any, ...]:
    """What the pace of a pass depends on."""
    return (False, tuple(sorted(map(str, sites))), tuple(leaves.values.shape[1:]))


def measured(model: Model, leaves: Leaves, rows: Tensor, shown: Shown, run: Run) -> None:
    """One call of the model, measured; in halves where memory runs out before anything was seen."""
    run.check_stop()
    key = key_of(leaves, shown.sites)
    pace, meter = model.paces.get(key), Meter(measure=key not in model.paces)
    left = set(shown.sites)
    try:
        with meter:
            size = passed(model, leaves, rows, shown, left, run)
    except (MemoryError, RuntimeError) as error:
        half = half_of(len(rows), error)
        if len(left) < len(shown.sites):
            do = 'Use pl.settings(memory="…") with less.'
            raise OutOfMemory(expected="memory for a pass", got=str(error).partition("\n")[0], do=do) from error
        for part in rows.split(half):
            measured(model, leaves, part, shown, run)
        return
    if pace is None:
        model.paces[key] = meter.pace(len(rows), grad=False, comfortable=run.comfortable)
    else:
        pace.note(len(rows), meter.seconds)
    run.count(len(rows), backward=False, size=size)


def passed(model: Model, leaves: Leaves, rows: Tensor, shown: Shown, left: set[Site], run: Run) -> int:
    """A forward pass up to the last layer needed; returns the bytes of what was seen.

    What fails in a reader is raised as it is, not as a failure of the model.
    """
    size, failed = 0, None

    def tap(site: Site) -> Any:
        def look(value: Tensor) -> None:
            nonlocal size, failed
            try:
                shown.show(site, value, rows)
            except Exception as error:
                failed = error
                raise
            size += value.nbytes
            left.discard(site)
            if not left:
                raise Stop

        return look

    with torch.no_grad(), model.session(), ExitStack() as stack:
        module = model.choose(leaves, exact=run.exact, layers=[site.layer for site in shown.sites])
        run.path = model.path(module)
        for site in shown.sites:
            stack.enter_context(meet(module, site, tap(site)))
        try:
            model.answer(leaves, None, rows, module=module)
        except Stop:
            return size
        except Exception as error:  # noqa: BLE001 - raised again
            raise error if failed is None else failed from None
    raise uncalled(next(iter(left)))
