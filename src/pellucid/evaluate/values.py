"""Values of explanations, whatever they come in, as one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DtypeError, EmptyError, NonFiniteError

DO = "Pass a tensor or an array of numbers, one for each part of the inputs."


def numbers(values: Any) -> Tensor:
    """Values as one finite float64 tensor on the CPU; DtypeError, EmptyError or NonFiniteError where they are not."""
    try:
        tensor = joined(values)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{type(values).__name__} ({str(error)[:80]})"
        raise DtypeError(expected="an explanation: a result, or numbers", got=got, do=DO) from None
    if tensor.numel() == 0:
        raise EmptyError(expected="values", got=f"shape {tuple(tensor.shape)}", do=DO)
    if not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        got = f"{bad} of {tensor.numel()} values NaN or infinite"
        raise NonFiniteError(expected="a map of finite numbers", got=got, do="Find out where they come from.")
    return tensor


def joined(values: Any) -> Tensor:
    """Values as one tensor: itself, the only one of a dict or tuple, or several side by side, (batch, …) each."""
    if isinstance(values, Mapping):
        values = tuple(values.values())
    elif not isinstance(values, Tensor | np.ndarray | tuple | list) and hasattr(values, "values"):
        values = values.values
    if isinstance(values, tuple):
        parts = [to_cpu(each) for each in values]
        return parts[0] if len(parts) == 1 else torch.cat([each.flatten(1) for each in parts], 1)
    return to_cpu(values)


def to_cpu(values: Any) -> Tensor:
    """Detached, on the CPU, in float64."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{tensor.dtype} is not a real number")
    return tensor.detach().cpu().double()
