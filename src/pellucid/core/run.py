"""Run: how much memory, which seed, how far along, when to stop, and what it cost."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

import torch

from pellucid.errors import Cancelled, OptionError, OutOfMemory, nearest

UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
DEFAULT_MEMORY = 400 * 10**6
COMFORTABLE_BLOCK = 30 * 10**6
MOST_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``settings`` sets: memory in bytes (None: chosen by device), seed, progress, exact, stop."""

    memory: int | None = None
    seed: int = 0
    progress: bool = False
    exact: bool = False
    stop: threading.Event | None = None


CURRENT: ContextVar[Options] = ContextVar("pellucid_settings", default=Options())


class settings:  # noqa: N801 - read as a verb: with pl.settings(seed=7)
    """Set how computations run, from here on or within a ``with`` block.

    ``memory`` is the working memory beside the model ("2 GB", or bytes); ``seed`` decides every random draw;
    ``progress`` shows a bar; ``exact`` runs the module as it is, without folded batch-norms, other memory layouts or
    prepacked weights; ``stop`` is a ``threading.Event`` that ends the computation when set.

    Example:
        >>> import pellucid as pl
        >>> with pl.settings(memory="2 GB", seed=7):
        ...     pl.current_settings().seed
        7
        >>> pl.current_settings().seed
        0
    """

    def __init__(self, **changes: Any) -> None:
        known = [each.name for each in fields(Options)]
        for name in changes:
            if name not in known:
                raise OptionError(expected="a setting", got=repr(name), do=nearest(name, known))
        if changes.get("memory") is not None:
            changes["memory"] = bytes_of(changes["memory"])
        seed = changes.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
            raise OptionError(expected="a seed that is a whole number ≥ 0", got=repr(seed), do="Use e.g. seed=7.")
        if "seed" in changes:
            changes["seed"] = int(seed)
        if not (changes.get("stop") is None or hasattr(changes["stop"], "is_set")):
            raise OptionError(expected="a threading.Event", got=repr(changes["stop"])[:60], do="Set it to stop.")
        self._before = CURRENT.get()
        CURRENT.set(replace(self._before, **changes))

    def __enter__(self) -> settings:
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.set(self._before)


def current_settings() -> Options:
    """The settings in force here.

    Example:
        >>> current_settings().exact
        False
    """
    return CURRENT.get()


def bytes_of(text: str | int | float) -> int:
    """Bytes from "2 GB", "512 MiB" or a number.

    >>> bytes_of("2 GB")
    2000000000
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([kmgt]?i?b)\s*", str(text).lower())
    size = float(found[1]) * UNITS.get(found[2], 0) if found else text if isinstance(text, int | float) else 0
    if isinstance(text, bool) or not 1 <= size < float("inf"):
        raise OptionError(expected='an amount of memory such as "2 GB"', got=repr(text), do='Use e.g. memory="2 GB".')
    return int(size)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a computation cost: rows through the model, seconds, bytes of working memory, and the seed.

    Example:
        >>> print(Receipt(rows_forward=9, rows_backward=7, seconds=0.5, peak_memory=10**6, seed=0))
        9 forward · 7 backward · 0.5 s · seed 0
    """

    rows_forward: int
    rows_backward: int
    seconds: float
    peak_memory: int
    seed: int
    path: str = "plain"

    def __str__(self) -> str:
        passes = f"{self.rows_forward} forward"
        if self.rows_backward:
            passes += f" · {self.rows_backward} backward"
        return f"{passes} · {self.seconds:.2g} s · seed {self.seed}"


@dataclass
class Pace:
    """How many rows at a time: bytes a row needs (measured), the present size, and seconds a row by size."""

    bytes_per_row: int
    largest: int
    size: int
    seconds: dict[int, float]
    most: int = MOST_ROWS

    def limit(self, rows: int) -> None:
        """Never again more rows than this: memory ran out."""
        self.size, self.most = max(1, min(self.size, rows)), max(1, rows)
        self.seconds = {size: each for size, each in self.seconds.items() if size <= self.most}

    def note(self, rows: int, seconds: float) -> None:
        """Remember how fast a call of ``rows`` was."""
        per_row = seconds / max(rows, 1)
        self.seconds[rows] = min(per_row, self.seconds.get(rows, per_row))


class Run:
    """One computation: hands out call sizes, counts rows, watches the stop event, shows progress."""

    def __init__(self, options: Options, device: torch.device) -> None:
        self.seed, self.exact, self.options = options.seed, options.exact, options
        self.device = device
        self.rows_forward = self.rows_backward = self.peak = 0
        self.path = "plain"
        self.started = time.perf_counter()
        self.memory = options.memory or default_memory(device)
        self._bar: Any = None
        self._announced = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._base = torch.cuda.memory_allocated(device)

    def check_stop(self) -> None:
        """Raise if the stop event was set."""
        if self.options.stop is not None and self.options.stop.is_set():
            raise Cancelled(expected="to go on", got="a request to stop", do="Nothing was left behind; call again.")

    def count(self, rows: int, *, backward: bool, size: int = 0) -> None:
        """Book rows that went through the model, and the bytes they needed."""
        self.rows_forward += rows
        self.rows_backward += rows if backward else 0
        self.peak = max(self.peak, size)
        if self._bar is not None:
            self._bar.update(0, advance=rows)

    def size(self, pace: Pace, left: int) -> int:
        """Rows for the next call: what memory allows, then what was fastest so far."""
        allowed = max(1, min(pace.most, self.memory // max(pace.bytes_per_row, 1)))
        size = min(pace.size, allowed)
        if not self.exact and self.device.type == "cpu" and left >= 8 * size:
            size = min(faster(pace, size), allowed)
        return max(1, min(size, left))

    @contextmanager
    def progress(self, what: str) -> Iterator[None]:
        """A bar over the rows announced so far, when asked for; it disappears when done."""
        if not self.options.progress or self._bar is not None:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
            bar.add_task(what, total=0)
            self._bar, self._announced = bar, 0
            try:
                yield
            finally:
                self._bar = None

    def announce(self, rows: int) -> None:
        """Say that so many more rows will go through the model."""
        if self._bar is not None:
            self._announced += rows
            self._bar.update(0, total=self._announced)

    @property
    def comfortable(self) -> int:
        """Bytes that the largest tensor of a call may have before it costs more than it gains."""
        return COMFORTABLE_BLOCK if self.device.type == "cpu" else self.memory // 8

    def receipt(self) -> Receipt:
        """The bill so far."""
        peak = self.peak
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) - self._base
        return Receipt(
            rows_forward=self.rows_forward,
            rows_backward=self.rows_backward,
            seconds=time.perf_counter() - self.started,
            peak_memory=peak,
            seed=self.seed,
            path=self.path,
        )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Answer inside ``torch.inference_mode()`` as outside of it; what libraries draw at random is put back."""
    state = random.getstate()
    try:
        with torch.inference_mode(False):
            yield
    finally:
        random.setstate(state)


@contextmanager
def torch_random(device: torch.device) -> Iterator[None]:
    """Put torch's random states back where they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def faster(pace: Pace, size: int) -> int:
    """Try double and half of the present size once each, then stay with the fastest."""
    for other in (size * 2, max(1, size // 2)):
        if size in pace.seconds and other not in pace.seconds and other <= MOST_ROWS:
            return other
    if pace.seconds:
        best = min(pace.seconds, key=lambda rows: pace.seconds[rows])
        if best in (size * 2, max(1, size // 2)) and pace.seconds[best] < 0.97 * pace.seconds.get(size, float("inf")):
            pace.size = best
            return best
    return size


def default_memory(device: torch.device) -> int:
    """400 MB beside the model on a CPU; half of what is free on an accelerator."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return DEFAULT_MEMORY


def half_of(rows: int, error: Exception) -> int:
    """Half of the rows where memory ran out; any other error, and one with a single row, is raised."""
    if not out_of_memory(error):
        raise error
    if rows == 1:
        do = "Use a smaller input, or a machine with more memory."
        raise OutOfMemory(expected="memory for one row", got=str(error).partition("\n")[0], do=do) from error
    return (rows + 1) // 2


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory", "defaultcpuallocator")
    )
