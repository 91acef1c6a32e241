"""Arrays of a result in a file: safetensors with a JSON header; nothing in it is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

VERSION = 1


def save_tensors(path: Any, arrays: Mapping[str, Any], kind: str, header: Mapping[str, Any]) -> None:
    """Write arrays by name, and what they are."""
    from safetensors.torch import save_file

    tensors = {name: torch.as_tensor(each).detach().cpu().contiguous().clone() for name, each in arrays.items()}
    save_file(tensors, str(path), {"pellucid": json.dumps({"version": VERSION, "kind": kind, **header})})
