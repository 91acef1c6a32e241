"""One pass over a data set: readers at layers see activations while they are made; nothing of that size is held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.meter import Meter
from pellucid.core.modality import Images, Table, Text
from pellucid.core.model import Model
from pellucid.core.run import Run, half_of
from pellucid.core.site import Site, Stop, meet, site_of, uncalled
from pellucid.errors import EmptyError, OutOfMemory

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
        for part in pieces(model, leaves, sites, run):
            for reader in readers.get(INPUTS, ()):
                reader.read(leaves.values[part], start + part)
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


def batches(model: Model, data: Any, run: Run) -> Iterator[Leaves]:
    """Data as prepared inputs, some hundred rows at a time."""
    count = rows_of(model, data)
    if count is None:
        for batch in data:
            leaves = model.read(inputs_of(batch))
            run.announce(leaves.batch)
            yield leaves
        return
    run.announce(count)
    for start in range(0, count, AT_ONCE):
        yield model.read(cut(data, start, min(start + AT_ONCE, count)))


def rows_of(model: Model, data: Any) -> int | None:
    """How many rows data holds; None for an iterable of batches."""
    if isinstance(data, Mapping):
        return len(next(iter(data.values())))
    if isinstance(data, tuple):
        return len(data[0])
    if isinstance(data, Tensor | np.ndarray) or hasattr(data, "iloc"):
        return len(data)
    many = isinstance(data, Sequence) and isinstance(model.modality, Images | Table | Text)
    return len(data) if many and not isinstance(data, str) else None


def cut(data: Any, start: int, stop: int) -> Any:
    """Some rows of data."""
    if isinstance(data, Mapping):
        return {name: each[start:stop] for name, each in data.items()}
    if isinstance(data, tuple):
        return tuple(each[start:stop] for each in data)
    return data.iloc[start:stop] if hasattr(data, "iloc") else data[start:stop]


def inputs_of(batch: Any) -> Any:
    """The inputs of (inputs, labels); of a batch without labels, the batch."""
    pair = isinstance(batch, list | tuple) and len(batch) == 2
    return batch[0] if pair and getattr(batch[1], "ndim", 1) <= 1 else batch


def pieces(model: Model, leaves: Leaves, sites: Mapping[Site, Any], run: Run) -> Iterator[Tensor]:
    """The rows of a batch, as many at a time as fit."""
    done = 0
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
    """A forward pass up to the last layer needed; returns the bytes of what was seen."""
    size = 0

    def tap(site: Site) -> Any:
        def look(value: Tensor) -> None:
            nonlocal size
            shown.show(site, value, rows)
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
    raise uncalled(next(iter(left)))
