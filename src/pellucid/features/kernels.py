"""The weights of a network, tensor by tensor: what they belong to, and the matrix (units, inputs) that they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from pellucid.errors import LayerError, ModelError, NonFiniteError, nearest

MOST_EXACT = 1024


@dataclass(frozen=True, eq=False)
class Kernel:
    """A weight with its bias: the layer's name, its kind, and ``matrix`` (units, inputs · places), where it is one."""

    name: str
    kind: str
    weight: Tensor
    bias: Tensor | None
    matrix: Tensor | None

    def units(self) -> Tensor:
        """The matrix, or an error that says that there is none."""
        if self.matrix is None:
            do = "Name a convolution or a dense layer."
            raise LayerError(expected="a layer with filters", got=f"{self.name!r}, a {self.kind}", do=do)
        return self.matrix


def kernels(module: nn.Module) -> tuple[Kernel, ...]:
    """All weights of a module, each tensor once; NaN and infinity are refused.

    >>> [(each.name, each.kind) for each in kernels(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)))]
    [('0', 'Linear'), ('1', 'LayerNorm')]
    """
    found, seen = [], set[int]()
    for layer, part in module.named_modules():
        raw = dict(tensors_of(layer, part))
        own = {name: each.detach() for name, each in raw.items()}
        for name, weight in own.items():
            if id(raw[name]) in seen or ("bias" in name and name.replace("bias", "weight") in own):
                continue
            seen.add(id(raw[name]))
            bias = own.get(name.replace("weight", "bias")) if "weight" in name else None
            full = layer if name == "weight" else f"{layer}.{name}".strip(".")
            for tensor, what in ((weight, "weights"), (bias, "biases")):
                if tensor is not None and not bool(torch.isfinite(tensor).all()):
                    bad = int((~torch.isfinite(tensor)).sum())
                    do = "Load other weights: training has diverged, or the file is broken."
                    got = f"{bad} of {tensor.numel()} NaN or infinite in {full or type(part).__name__!r}"
                    raise NonFiniteError(expected=f"finite {what}", got=got, do=do)
            name = full or type(part).__name__
            found.append(Kernel(name, type(part).__name__, weight, bias, matrix_of(part, weight)))
    if not found:
        do = "Pass a network with layers that have weights."
        raise ModelError(expected="a model with weights", got=f"{type(module).__name__} without any", do=do)
    return tuple(found)


def tensors_of(layer: str, part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own weights by name; those that a parametrization computes as they come out of it."""
    if "parametrizations" in layer.split("."):
        return
    if is_parametrized(part):
        for name, _ in part.get_submodule("parametrizations").named_children():
            yield name, getattr(part, name)
    for name, weight in part.named_parameters(recurse=False):
        if weight.numel() and weight.is_floating_point():
            yield name, weight


def matrix_of(part: nn.Module, weight: Tensor) -> Tensor | None:
    """Weights (units, inputs · places): a row is what one unit reads. None for weights that are a vector."""
    if weight.ndim < 2 or (weight.ndim > 2 and not isinstance(part, _ConvNd)):
        return None
    if isinstance(part, _ConvTransposeNd):
        return transposed(weight, part.groups).flatten(1)
    if type(part).__name__ == "Conv1D" and hasattr(part, "nf"):  # GPT-2's dense layer stands on its side
        return weight.T
    return weight.flatten(1)


def transposed(weight: Tensor, groups: int) -> Tensor:
    """Weights of a transposed convolution (in, out / groups, *space) as (out, in / groups, *space)."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def filters_of(part: nn.Module) -> Tensor:
    """A convolution's weights (filters, channels, *space)."""
    weight: Tensor = part.weight.detach()  # type: ignore[operator]
    return transposed(weight, part.groups) if isinstance(part, _ConvTransposeNd) else weight


def chosen(found: tuple[Kernel, ...], layer: str) -> Kernel:
    """The weights of a layer by its name."""
    known = {each.name: each for each in found}
    if layer not in known:
        raise LayerError(expected="a layer with weights", got=repr(layer), do=nearest(layer, known))
    return known[layer]


def singular_values(matrix: Tensor) -> Tensor:
    """Singular values, the largest first, in double precision.

    Of large matrices they are roots of eigenvalues of the smaller Gram matrix: exact to 10⁻⁸ of the largest.
    """
    matrix = matrix.double()
    if min(matrix.shape) <= MOST_EXACT:
        return torch.linalg.svdvals(matrix)
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
