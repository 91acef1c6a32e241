"""Interleaved timing: every contestant once a round, medians over rounds, ratios to the floor of the same round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class Case:
    """One piece of work: its floor (seconds of the rows it needs, run plainly), ours, the peers', and the aim."""

    name: str
    floor: Callable[[], object]
    ours: Callable[[], object]
    peers: dict[str, Callable[[], object]] = field(default_factory=dict)
    aim: float | None = None
    scale: float = 1.0
    rounds: int = 5
    threads: int | None = None


@dataclass
class Row:
    """Median ratios to the floor, with the spread of ours."""

    name: str
    floor_seconds: float
    ours: float
    low: float
    high: float
    peers: dict[str, float]
    aim: float | None


def measure(case: Case) -> Row:
    """Warm everything up once, then interleave; on ``threads`` threads where the case says so."""
    usual = torch.get_num_threads()
    torch.set_num_threads(case.threads or usual)
    try:
        return interleaved(case)
    finally:
        torch.set_num_threads(usual)


def interleaved(case: Case) -> Row:
    """Rounds of all contestants."""
    contestants = {"floor": case.floor, "ours": case.ours, **case.peers}
    for work in contestants.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(case.rounds):
        for name, work in contestants.items():
            gc.collect()
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    floor = [each * case.scale for each in times["floor"]]
    ratios = {name: [t / f for t, f in zip(times[name], floor, strict=True)] for name in contestants if name != "floor"}
    ours = ratios.pop("ours")
    peers = {name: statistics.median(each) for name, each in ratios.items()}
    return Row(case.name, statistics.median(floor), statistics.median(ours), min(ours), max(ours), peers, case.aim)
