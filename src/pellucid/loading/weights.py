"""Weights from files: safetensors, or pickles read without running them; they fit exactly or nothing is loaded."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import LoadError

SAFE = (".safetensors",)
PICKLED = (".pt", ".pth", ".ckpt", ".bin")
NESTED = ("state_dict", "model_state_dict", "model", "module", "weights")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
MOST_HEADER = 10 * 2**20
SHOWN = 4
TRUST = "If you trust whoever made it, say so: trust=True, or --trust on the command line."
CONVERT = "Have it written as weights: safetensors.torch.save_file(module.state_dict(), 'weights.safetensors')."


def read(path: Any, *, trust: bool = False) -> dict[str, Tensor]:
    """The state dict in a file. Nothing in the file is executed unless it is trusted."""
    source = existing(Path(path).expanduser(), "a file of weights")
    suffix = source.suffix.lower()
    if suffix in SAFE:
        return read_safetensors(source)
    if suffix in PICKLED:
        return state_dict(read_pickle(source, trust=trust), source.name)
    do = "Pass a .safetensors file, or .pt, .pth or .ckpt."
    raise LoadError(expected="a file of weights", got=repr(source.name), do=do)


def existing(path: Path, what: str) -> Path:
    """The path if it is a file; LoadError with near names if not."""
    if path.is_file():
        return path
    from pellucid.errors import nearest

    beside = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
    do = nearest(path.name, beside) if beside else f"There is no folder {str(path.parent)!r}."
    raise LoadError(expected=what, got=f"no file {str(path)!r}", do=do)


def read_safetensors(source: Path) -> dict[str, Tensor]:
    """A safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    do = "Save it again with safetensors.torch.save_file(module.state_dict(), path)."
    with source.open("rb") as raw:
        if int.from_bytes(raw.read(8), "little") > MOST_HEADER:
            raise LoadError(expected="safetensors", got=f"{source.name!r} with a header over 10 MB", do=do)
    try:
        return load_file(source)
    except (SafetensorError, OSError, ValueError) as error:
        raise LoadError(expected="safetensors", got=f"{source.name!r}: {error}", do=do) from None


def read_pickle(source: Path, *, trust: bool) -> Any:
    """What torch.save wrote: tensors only, unless the file is trusted."""
    kind = archive(source)
    if kind != "pickle":
        do = "Load it as the model itself, with trust, or write its weights as safetensors."
        raise LoadError(expected="a file of weights", got=f"{source.name!r}, {kind}", do=do)
    if not trust:
        refuse_old_torch(source)
    try:
        return torch.load(source, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        raise LoadError(
            expected="a file of weights only", got=code_in(source, str(error)), do=f"{CONVERT} {TRUST}"
        ) from None
    except Exception as error:
        do = "Download or save it again."
        got = f"{source.name!r}: {type(error).__name__}: {first_line(error)}"
        raise LoadError(expected="a readable file of weights", got=got, do=do) from error


def refuse_old_torch(source: Path) -> None:
    """Before torch 2.10 even weights_only=True could be made to corrupt memory or run code."""
    numbers = tuple(int(each) for each in re.findall(r"\d+", torch.__version__)[:2])
    if numbers < (2, 10):
        do = "Update torch, or convert the file to safetensors where you trust it."
        got = f"{source.name!r} on torch {torch.__version__}"
        raise LoadError(expected="torch ≥ 2.10 to read pickled weights safely", got=got, do=do)


def archive(source: Path) -> str:
    """What a .pt file holds, by the names of its parts: a pickle, TorchScript or an exported program."""
    try:
        with zipfile.ZipFile(source) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError):
        return "pickle"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "an exported program (torch.export)"
    return "TorchScript" if any(name.endswith("/constants.pkl") for name in names) else "pickle"


def code_in(source: Path, message: str) -> str:
    """Which Python object a refused pickle asked for."""
    found = re.search(r"GLOBAL:? ([\w.]+)", message)
    return f"{source.name!r} with pickled Python in it" + (f" ({found[1]})" if found else "")


def first_line(error: object) -> str:
    """The first line of a message, shortened."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"


def state_dict(found: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what a checkpoint holds, unwrapped."""
    if isinstance(found, nn.Module):
        return found.state_dict()
    while isinstance(found, Mapping) and not any(isinstance(each, Tensor) for each in found.values()):
        inner = next((found[key] for key in NESTED if isinstance(found.get(key), Mapping | nn.Module)), None)
        if inner is None:
            break
        found = inner.state_dict() if isinstance(inner, nn.Module) else inner
    if isinstance(found, Mapping) and any(isinstance(each, Tensor) for each in found.values()):
        return {str(key): value for key, value in found.items()}
    got = f"{name!r} with the keys {some(map(str, found))}" if isinstance(found, Mapping) else type(found).__name__
    raise LoadError(expected="a dict of tensors", got=got, do="Save module.state_dict().")


def fill(module: nn.Module, weights: Mapping[str, Any], source: str) -> None:
    """Load weights that fit exactly; otherwise LoadError, and the module stays as it is."""
    own = module.state_dict()
    weights = stripped(weights, own)
    problems = misfits(own, weights)
    if problems:
        got = f"{source!r}: " + "; ".join(problems)
        do = "Nothing was loaded. Build the network that the weights were saved from."
        raise LoadError(expected=f"the {len(own)} weights of {type(module).__name__}", got=got, do=do)
    module.load_state_dict(weights, strict=False)


def stripped(weights: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Names without the prefixes that wrappers put before all of them (DataParallel, compile, Lightning)."""
    names = dict(weights)
    for _ in PREFIXES:
        for prefix in PREFIXES:
            theirs = bool(names) and all(name.startswith(prefix) for name in names)
            if theirs and not any(name.startswith(prefix) for name in own):
                names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names


def misfits(own: Mapping[str, Any], weights: Mapping[str, Any]) -> list[str]:
    """What does not fit: names missing, names nobody asked for, shapes or kinds of number that differ."""
    missing = [name for name in own if name not in weights and not tied(name, own, weights)]
    unexpected = [name for name in weights if name not in own]
    other = [f"{name} {why}" for name in own if (why := differs(own[name], weights.get(name, own[name])))]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
    return [f"{len(names)} {kind}: {some(names)}" for kind, names in kinds if names]


def tied(name: str, own: Mapping[str, Any], weights: Mapping[str, Any]) -> bool:
    """Whether a missing weight shares its memory with one that is there."""
    return isinstance(own[name], Tensor) and any(
        other in weights and same_memory(own[name], each) for other, each in own.items() if other != name
    )


def same_memory(one: Tensor, other: Any) -> bool:
    """Two names for one weight."""
    same = isinstance(other, Tensor) and one.shape == other.shape and one.numel() > 0
    return same and one.data_ptr() == other.data_ptr() and one.data_ptr() != 0


def differs(own: Any, given: Any) -> str:
    """How a given value differs from what its place takes, or nothing."""
    if not isinstance(own, Tensor):
        return ""
    if not isinstance(given, Tensor):
        return f"({type(given).__name__} in the file)"
    if own.shape != given.shape:
        return f"({tuple(given.shape)} in the file, {tuple(own.shape)} in the model)"
    if own.is_floating_point() != given.is_floating_point() or own.is_complex() != given.is_complex():
        return f"({given.dtype} in the file, {own.dtype} in the model)"
    return ""


def some(names: Any) -> str:
    """The first few names, and how many more."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" … and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
