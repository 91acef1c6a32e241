"""What shows when data go through a network: dead and saturated units, inputs that are not normalized."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Images, Table
from pellucid.core.model import Model
from pellucid.features.anatomy import Anatomy
from pellucid.features.finding import Finding, counted, finding, listed, quoted, three
from pellucid.features.statistics import BOUNDED, RECTIFIERS, LayerStatistics, UnitStatistics

AFFINE = frozenset(
    """
    BatchNorm1d BatchNorm2d BatchNorm3d Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
    Embedding GroupNorm LayerNorm Linear
    """.split()  # noqa: SIM905 - names read better as words
)
"""Layers whose answers may be all positive by chance, not because they are rectified."""
FEW_ROWS = 100
SPREAD = (0.1, 10.0)


def symptoms(model: Model, anatomy: Anatomy, statistics: UnitStatistics | None, sample: Leaves | None
             ) -> Iterator[Finding | None]:  # fmt: skip
    """Every finding that needs data."""
    if statistics is not None:
        last = next((name for name in reversed(list(statistics)) if ":" not in name), "")
        yield idle(statistics)
        yield bounded(statistics, last)
        yield linear(statistics)
    if sample is not None and not sample.integer and len(sample.explained) == 1 and sample.batch > 1:
        yield unnormalized(model, anatomy, sample)


def idle(statistics: UnitStatistics) -> Finding | None:
    """Units that are never active, or never change."""
    rows = []
    for name, each in unique(statistics):
        units = np.flatnonzero(each.dead).tolist()
        if units:
            high = float(each.high[units].max())
            rows.append((name, each.kind, len(units), len(each), listed(units), three(high)))
    if not rows:
        return None
    rows.sort(key=lambda row: -row[2])
    many, total = sum(row[2] for row in rows), sum(len(each) for _, each in unique(statistics))
    scarce, verb = statistics.rows < FEW_ROWS, "is" if many == 1 else "are"
    words = f"{many:,} of {counted(total, 'unit')} {verb} dead, never active on {counted(statistics.rows, 'row')}"
    words += " (few: more rows may wake some): " if scarce else ": "
    words += listed([f"{row[2]} {spoken(row[0])}" for row in rows]) + "."
    header = ("layer", "kind", "dead", "units", "which", "largest activation")
    return finding("dead units", "note" if scarce else "warning", words, header, rows)


def spoken(name: str) -> str:
    """Where units are, in words.

    >>> spoken("conv2:input"), spoken("relu")
    ('going into “conv2”', 'in “relu”')
    """
    layer, _, side = name.partition(":")
    return f"going into “{layer}”" if side == "input" else f"in “{layer}”"


def unique(statistics: UnitStatistics) -> Iterator[tuple[str, LayerStatistics]]:
    """Layers whose units can be dead: rectified ones, and those with dead units; repetitions count once."""
    kept: list[LayerStatistics] = []
    for name, each in statistics.items():
        positive = bool((each.low >= 0).all()) and (":" in name or each.kind not in AFFINE)
        rectified = each.kind in RECTIFIERS or positive
        if each.kind in BOUNDED or not (rectified or each.dead.any()):
            continue
        again = any(len(one) == len(each) and np.allclose(one.mean, each.mean, 1e-3, 1e-6) for one in kept)
        kept.append(each)
        if not again:
            yield name, each


def bounded(statistics: UnitStatistics, last: str) -> Finding | None:
    """Units of bounded activations that are near an end nearly always."""
    rows = [
        (name, each.kind, int(each.saturated.sum()), len(each), listed(np.flatnonzero(each.saturated).tolist()))
        for name, each in statistics.items()
        if each.kind in BOUNDED and name != last and each.saturated.any()
    ]
    if not rows:
        return None
    many = sum(row[2] for row in rows)
    words = f"{counted(many, 'unit')} {'is' if many == 1 else 'are'} saturated, within 5 % of an end "
    words += f"of their range in 95 % of all values of {counted(statistics.rows, 'row')}: "
    words += listed([f"{row[2]} in “{row[0]}”" for row in rows]) + "."
    header = ("layer", "kind", "saturated", "units", "which")
    return finding("saturated units", "warning", words, header, rows)


def linear(statistics: UnitStatistics) -> Finding | None:
    """ReLUs that are never zero."""
    rows = []
    for name, each in statistics.items():
        units = np.flatnonzero(each.saturated).tolist() if each.kind in ("ReLU", "ReLU6") else []
        if units:
            rows.append((name, len(units), len(each), listed(units), three(float(each.low[units].min()))))
    if not rows:
        return None
    many = sum(row[1] for row in rows)
    words = (
        f"{counted(many, 'ReLU unit')} {'is' if many == 1 else 'are'} never zero on {counted(statistics.rows, 'row')}, "
    )
    words += f"and so only linear there: {listed([f'{row[1]} in “{row[0]}”' for row in rows])}."
    header = ("layer", "never zero", "units", "which", "smallest activation")
    return finding("linear units", "note", words, header, rows)


def unnormalized(model: Model, anatomy: Anatomy, sample: Leaves) -> Finding | None:
    """Inputs whose channels or columns are far from mean 0 and deviation 1, with no normalization in front."""
    known = dict(model.module.named_modules())
    first = [known[name] for name in anatomy.entered]
    if not first or any(isinstance(each, _NormBase | nn.LayerNorm | nn.GroupNorm | nn.Embedding) for each in first):
        return None
    values = sample.values.double()
    axes = [axis for axis in range(values.ndim) if axis != 1]
    mean, std = values.mean(axes), values.std(axes)
    odd = (mean.abs() > std) | (std < SPREAD[0]) | (std > SPREAD[1])
    odd &= std > 0
    if not bool(odd.any()):
        return None
    names = channel_names(model, len(mean))
    order = torch.argsort((mean.abs() / std.clamp_min(1e-12)).nan_to_num(), descending=True).tolist()
    rows = [(names[i], three(float(mean[i])), three(float(std[i]))) for i in order if odd[i]]
    what = "channels" if values.ndim > 2 else "columns"
    worst = rows[0]
    words = (
        f"No normalization found in the inputs: {len(rows)} of {len(mean)} {what} are not near mean 0 and deviation 1 "
    )
    words += f"({worst[0]}: mean {worst[1]:g}, deviation {worst[2]:g}; {counted(sample.batch, 'row')}), and no "
    words += f"normalizing layer stands first ({quoted(anatomy.entered)} does)."
    return finding("inputs not normalized", "note", words, (what[:-1], "mean", "deviation"), rows)


def channel_names(model: Model, count: int) -> tuple[str, ...]:
    """Columns by name, colors by name, else numbers."""
    if isinstance(model.modality, Table) and len(model.modality.columns) == count:
        return tuple(model.modality.columns)
    if isinstance(model.modality, Images) and count == 3:
        return ("red", "green", "blue")
    return tuple(f"{i}" for i in range(count))
