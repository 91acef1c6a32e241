"""What can be read off a network itself: broken, idle, doubled and odd weights, layers that are never used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pellucid.core.model import Model
from pellucid.errors import PellucidError
from pellucid.features.anatomy import Anatomy
from pellucid.features.duplicates import filter_similarity
from pellucid.features.finding import Finding, counted, finding, listed, quoted, three
from pellucid.features.kernels import matrix_of, tensors_of
from pellucid.features.spectra import DEAD

LARGE = 30.0
SMALL = 1 / 300
MOST_COMPARED = 2048
FEW = 9


def defects(model: Model, anatomy: Anatomy, given: Any) -> Iterator[Finding | None]:
    """Every finding on weights and structure; ``given`` is what the user passed, whose modes are looked at."""
    yield not_finite(model.module)
    yield never_read(model.module, anatomy)
    yield never_called(anatomy)
    yield from modes(given if isinstance(given, nn.Module) else model.module, told=isinstance(given, nn.Module))
    yield untouched_statistics(model.module)
    yield odd_scales(model.module)
    yield near_zero(model.module)
    yield doubled(model)
    yield idle_biases(model.module, anatomy)


def not_finite(module: nn.Module) -> Finding | None:
    """Weights and buffers with NaN or infinity."""
    rows = []
    for name, each in [*module.named_parameters(), *module.named_buffers()]:
        if each.is_floating_point() and not bool(torch.isfinite(each).all()):
            nan, infinite = int(torch.isnan(each).sum()), int(torch.isinf(each).sum())
            rows.append((name, each.numel(), nan, infinite))
    if not rows:
        return None
    bad = sum(row[2] + row[3] for row in rows)
    words = f"{counted(bad, 'value')} in {counted(len(rows), 'weight tensor')} are NaN or infinite: "
    header = ("weights", "values", "NaN", "infinite")
    names = tuple(row[0] for row in rows)
    return finding("weights not finite", "problem", words + quoted(names) + ".", header, rows)


def never_read(module: nn.Module, anatomy: Anatomy) -> Finding | None:
    """Weights that a forward pass does not touch."""
    known = dict(module.named_parameters())
    rows = []
    for name in anatomy.unread:
        layer, _, own = name.rpartition(".")
        rows.append((layer or name, own, " × ".join(map(str, known[name].shape)), known[name].numel()))
    if not rows:
        return None
    total, every = sum(row[3] for row in rows), anatomy.whole.parameters
    words = f"{total:,} of {every:,} parameters ({100 * total / max(every, 1):.3g} %) were not read by a forward pass: "
    words += quoted(list(dict.fromkeys(row[0] for row in rows))) + "."
    return finding("layers never called", "warning", words, ("layer", "weights", "shape", "parameters"), rows)


def never_called(anatomy: Anatomy) -> Finding | None:
    """Layers without weights that no forward pass calls."""
    if not anatomy.uncalled:
        return None
    rows = [(name, anatomy[name].kind, 0) for name in anatomy.uncalled]
    words = f"{counted(len(rows), 'layer')} without weights {'is' if len(rows) == 1 else 'are'} never called: "
    return finding(
        "layers never called", "note", words + quoted(anatomy.uncalled) + ".", ("layer", "kind", "calls"), rows
    )


def modes(module: nn.Module, *, told: bool) -> Iterator[Finding]:
    """Batch-norms without running statistics; a network handed over in train mode, or with mixed modes."""
    norms = [(name, part) for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
    without = tuple(name for name, part in norms if part.running_mean is None)
    if without:
        words = f"{len(without)} of {counted(len(norms), 'batch-norm')} keep no running statistics, so that an answer "
        words += f"depends on the other rows of its batch: {quoted(without)}."
        bare = [(name, "none") for name in without]
        yield finding("batch-norm without statistics", "problem", words, ("layer", "running statistics"), bare)
    moody = [(name, type(part).__name__, part.training) for name, part in module.named_modules()
             if isinstance(part, _BatchNorm | nn.modules.dropout._DropoutNd)]  # fmt: skip
    training = [each for each in moody if each[2]]
    if told and training:
        layers = counted(len(moody), "batch-norm or dropout layer", "batch-norm and dropout layers")
        words = f"{len(training)} of {layers} "
        words += "were handed over in train mode; everything here was measured in eval mode."
        rows = [(name, kind, "train" if mode else "eval") for name, kind, mode in moody]
        level: Any = "warning" if len(training) < len(moody) else "note"
        yield finding("train mode", level, words, ("layer", "kind", "mode"), rows)


def untouched_statistics(module: nn.Module) -> Finding | None:
    """Batch-norms whose running statistics are those they were built with: mean 0, variance 1."""
    norms = [(name, part) for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
    rows = [
        (name, part.num_features, int(part.num_batches_tracked or 0))
        for name, part in norms
        if part.running_mean is not None and part.running_var is not None
        and not bool(part.running_mean.any()) and bool((part.running_var == 1).all())
    ]  # fmt: skip
    if not rows:
        return None
    words = (
        f"The running statistics of {len(rows)} of {counted(len(norms), 'batch-norm')} are as they were built (mean 0, "
    )
    words += f"variance 1): they never saw data in train mode, or were not loaded: {quoted([row[0] for row in rows])}."
    return finding("batch-norm untouched", "warning", words, ("layer", "channels", "batches seen"), rows)


def matrices(module: nn.Module) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Every matrix of weights (units, inputs · places) that is finite, each tensor once."""
    seen: set[int] = set()
    for name, part in module.named_modules():
        for key, weight in tensors_of(name, part):
            matrix = matrix_of(part, weight.detach())
            if id(weight) in seen or matrix is None or isinstance(part, nn.Embedding):
                continue
            seen.add(id(weight))
            if bool(torch.isfinite(matrix).all()):
                yield (name if key == "weight" else f"{name}.{key}".strip(".")), part, matrix.float()


def odd_scales(module: nn.Module) -> Finding | None:
    """Weights far larger or smaller than √(2 / inputs), with which networks begin (He et al. 2015).

    Those of the last layer may be large: they have the unit of the answers.
    """
    rows, known = [], list(matrices(module))
    for name, _, matrix in known:
        size, usual = float(matrix.square().mean().sqrt()), math.sqrt(2 / matrix.shape[1])
        most = math.inf if name == known[-1][0] else LARGE
        if not SMALL <= size / usual <= most:
            rows.append((name, three(size), three(usual), three(size / usual), three(float(matrix.norm()))))
    if not rows:
        return None
    header = ("weights", "root mean square", "usual: √(2 / inputs)", "ratio", "norm")
    parts = [f"“{row[0]}” {row[3]:.3g} times" for row in rows]
    words = f"The weights of {counted(len(rows), 'layer')} are far from the usual size √(2 / inputs): {listed(parts)}."
    return finding("odd weight norms", "warning", words, header, rows)


def near_zero(module: nn.Module) -> Finding | None:
    """Units whose weights are at most a hundredth of the largest of their layer."""
    rows, total = [], 0
    for name, _, matrix in matrices(module):
        norms = matrix.norm(dim=1)
        small = (norms <= DEAD * norms.max()).nonzero()[:, 0].tolist()
        total += len(norms)
        if small:
            rows.append((name, len(small), len(norms), listed(small), three(float(norms.median()))))
    if not rows:
        return None
    rows.sort(key=lambda row: -row[1])
    header = ("layer", "near zero", "units", "which", "median norm of its units")
    many = sum(row[1] for row in rows)
    words = (
        f"The weights of {many:,} of {counted(total, 'unit')} are at most a hundredth of the largest of their layer: "
    )
    words += listed([f"{row[1]} in “{row[0]}”" for row in rows]) + "."
    return finding("units near zero", "warning", words, header, rows)


def doubled(model: Model) -> Finding | None:
    """Filters that are nearly the same, in more pairs than chance would make."""
    rows = []
    for name, part, matrix in matrices(model.module):
        if not isinstance(part, _ConvNd | nn.Linear) or matrix.shape[1] < FEW or len(matrix) > MOST_COMPARED:
            continue
        try:
            found = filter_similarity(model, name or type(part).__name__)
        except PellucidError:
            continue
        alike = [pair for pair in found.pairs if pair[2] > 0]
        if len(alike) > 2 * found.by_chance:
            one, other, cosine = alike[0]
            rows.append((name, len(alike), len(matrix), f"{one} and {other}", three(cosine), three(found.by_chance)))
    if not rows:
        return None
    rows.sort(key=lambda row: -row[1])
    header = ("layer", "pairs alike", "units", "the most alike", "their cosine", "pairs by chance")
    many = sum(row[1] for row in rows)
    words = f"{counted(many, 'pair')} of units have weights with a cosine of 0.95 or more: "
    words += listed([f"{row[1]} in “{row[0]}”" for row in rows]) + "."
    return finding("duplicate filters", "note", words, header, rows)


def idle_biases(module: nn.Module, anatomy: Anatomy) -> Finding | None:
    """Biases that the batch-norm after them takes off again."""
    known, rows = dict(module.named_modules()), []
    for one, other in anatomy.feeds:
        bias = getattr(known[one], "bias", None)
        norm = isinstance(known[other], _BatchNorm)
        if norm and isinstance(known[one], _ConvNd | _ConvTransposeNd | nn.Linear) and bias is not None:
            rows.append((one, other, bias.numel(), three(float(bias.detach().float().norm()))))
    if not rows:
        return None
    many = sum(row[2] for row in rows)
    words = f"{counted(many, 'bias', 'biases')} of {counted(len(rows), 'layer')} only shift "
    words += "what the batch-norm after them centers again: "
    words += quoted([row[0] for row in rows]) + "."
    return finding("biases before batch-norm", "note", words, ("layer", "before", "biases", "norm"), rows)
