"""A private twin of the user's module: its own tree, the same weight storage, in eval mode and frozen.

A deep copy whose memo already holds a detached alias of every tensor costs about a millisecond and no memory. Hooks,
folded batch-norms and other memory layouts live on the twin; the user's module is never touched, and a training loop
may go on beside it: in-place updates of the weights are seen, because the storage is the same.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pellucid.errors import TwinError

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def twin_of(module: nn.Module) -> nn.Module:
    """A copy of ``module`` on the same weights: eval mode, nothing requires a gradient, the user's hooks left out."""
    module = getattr(module, "_orig_mod", module)
    try:
        with torch.inference_mode(False), torch.no_grad():
            twin = copy.deepcopy(module, aliases(module) | own_hooks(module))
    except Exception as error:
        raise TwinError(
            expected=f"a module that can be copied; {type(module).__name__} cannot",
            got=f"{type(error).__name__}: {error}",
            do="Pass pl.Model(module, copy=False): the module itself is then used and restored after each call.",
        ) from error
    tell_foreign_hooks(module)
    twin.eval()
    for weight in twin.parameters():
        weight.requires_grad_(False)
    return twin


def aliases(module: nn.Module) -> dict[int, object]:
    """A deepcopy memo in which every tensor of the module stands for its own detached alias."""
    memo: dict[int, object] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None and id(parameter) not in memo:
                memo[id(parameter)] = nn.Parameter(alias(parameter), requires_grad=False)
    for part in module.modules():
        for tensor in pytree.tree_leaves(vars(part)):
            if isinstance(tensor, Tensor) and id(tensor) not in memo:
                memo[id(tensor)] = alias(tensor)
    return memo


def alias(tensor: Tensor) -> Tensor:
    """The same memory under another name; a copy of a tensor made in inference mode, which knows no gradients."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


def own_hooks(module: nn.Module) -> dict[int, object]:
    """A deepcopy memo in which every table of hooks stands for one without the user's own, which are never copied."""
    memo: dict[int, object] = {}
    for part in module.modules():
        for kind in HOOKS:
            if (table := getattr(part, kind, None)) and any(map(foreign, table.values())):
                memo[id(table)] = OrderedDict((key, hook) for key, hook in table.items() if not foreign(hook))
    return memo


def foreign(hook: object) -> bool:
    """Whether a hook is the user's own, not one that torch itself puts on a module (weight norm and kin)."""
    return not (getattr(hook, "__module__", "") or type(hook).__module__).startswith("torch.")


def tell_foreign_hooks(module: nn.Module) -> None:
    """Name the layers whose hooks the twin does not have."""
    tables = [(name, getattr(part, kind, None)) for name, part in module.named_modules() for kind in HOOKS]
    left_out = {name or "the model itself" for name, table in tables if any(map(foreign, (table or {}).values()))}
    if left_out:
        warnings.warn(
            f"hooks of yours on {', '.join(sorted(left_out))} are not run by pellucid; "
            "if they change the output, put that change into a module.",
            stacklevel=4,
        )


@contextmanager
def unwritten(twin: nn.Module) -> Iterator[None]:
    """While open, buffers and tensor attributes are private copies; those that a forward pass writes into stay so."""
    copies: dict[int, Tensor] = {}
    shared = []
    parts = [part for part in twin.modules() if not isinstance(part, torch.jit.ScriptModule)]  # those are real copies
    for table in [each for part in parts for each in (part._buffers, vars(part))]:
        for name, tensor in [(name, each) for name, each in table.items() if isinstance(each, Tensor)]:
            private = copies.setdefault(id(tensor), tensor.detach().clone())
            table[name] = private
            shared.append((table, name, tensor, private, private._version))
    try:
        yield
    finally:
        for table, name, tensor, private, version in shared:
            if table.get(name) is private and private._version == version:
                table[name] = tensor


@contextmanager
def borrowed(module: nn.Module) -> Iterator[nn.Module]:
    """Use the user's own module in eval mode and give it back as it was, exceptions included."""
    modes = {part: part.training for part in module.modules()}
    grads = [(each, each.requires_grad) for each in module.parameters()]
    hooks = {(part, kind): dict(getattr(part, kind)) for part in modes for kind in HOOKS}
    try:
        module.eval()
        for each, _ in grads:
            each.requires_grad_(False)
        yield module
    finally:
        for part, mode in modes.items():
            part.training = mode
        for each, asked in grads:
            each.requires_grad_(asked)
        for (part, kind), before in hooks.items():
            now = getattr(part, kind)
            for key in [key for key in now if key not in before]:
                del now[key]


def stamp(module: nn.Module) -> tuple[int, ...]:
    """A cheap witness of the weights: version counters, and a strided sample of the values."""
    marks = []
    for tensor in [*module.parameters(), *module.buffers()]:
        sample = tensor.detach().reshape(-1)[:: max(1, tensor.numel() // 16)][:16]
        marks += [tensor._version, hash(tuple(sample.tolist()))]
    return tuple(marks)


def fingerprint(module: nn.Module) -> str:
    """A hash of names, shapes and values of all weights, for the reproduce line."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
