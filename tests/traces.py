"""Everything a computation could leave behind, as a value that can be compared."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

HOOKS = [name for name, table in vars(nn.Module()).items() if "hook" in name and isinstance(table, dict)]


def content(tensor: Tensor) -> bytes:
    """The values, bit for bit; NaN equals NaN."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def tensor_marks(tensor: Tensor | None) -> tuple[Any, ...]:
    """Identity, memory, version, layout, gradient and a copy of the values."""
    if tensor is None:
        return (None,)
    grad = tensor.grad if tensor.is_leaf else None
    return (
        id(tensor),
        tensor.data_ptr(),
        tensor._version,
        tensor.stride(),
        tensor.dtype,
        tensor.requires_grad,
        None if grad is None else (id(grad), grad._version, content(grad)),
        content(tensor),
    )


def module_marks(module: nn.Module) -> dict[str, Any]:
    """All that pellucid promises not to touch on a module."""
    marks: dict[str, Any] = {"keys": list(module.state_dict())}
    for name, part in module.named_modules():
        marks[f"{name} training"] = part.training
        marks[f"{name} class"] = (type(part), sorted(vars(type(part))))
        marks[f"{name} attributes"] = list(vars(part))
        marks[f"{name} plain"] = {key: value for key, value in vars(part).items() if isinstance(value, int | str)}
        for kind in HOOKS:
            marks[f"{name} {kind}"] = list(getattr(part, kind).items()) if getattr(part, kind) else []
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, part in module.named_modules():
        tensors += [(f"{name}.{key}", value) for key, value in vars(part).items() if isinstance(value, Tensor)]
    return marks | {name: tensor_marks(each) for name, each in tensors}


def input_marks(given: Any) -> list[Any]:
    """The same of the inputs."""
    return [tensor_marks(each) for each in pytree.tree_leaves(given) if isinstance(each, Tensor)]


def world_marks() -> dict[str, Any]:
    """Global state: random numbers, gradient mode, defaults, mode stacks."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002 - the global state is the question
        "python": random.getstate(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "functions": torch._C._len_torch_function_stack(),
        "dispatch": torch._C._len_torch_dispatch_stack(),
        "mkldnn": torch.backends.mkldnn.enabled,
    }


def marks(module: nn.Module, given: Any) -> dict[str, Any]:
    """Module, inputs and world."""
    return module_marks(module) | {"inputs": input_marks(given)} | world_marks()


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What changed, by name."""
    return [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
