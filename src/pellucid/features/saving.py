"""Arrays of a result in a file: safetensors with a JSON header; nothing in it is ever executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pellucid.errors import OptionError

VERSION = 1
DRAWINGS = (".png", ".pdf", ".svg")


def save_tensors(path: Any, arrays: Mapping[str, Any], kind: str, header: Mapping[str, Any]) -> None:
    """Write arrays by name, and what they are."""
    from safetensors.torch import save_file

    tensors = {name: torch.as_tensor(each).detach().cpu().contiguous().clone() for name, each in arrays.items()}
    save_file(tensors, str(path), {"pellucid": json.dumps({"version": VERSION, "kind": kind, **header})})


def save_pictures(path: str | Path, made: Any, arrays: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Write what was made as a drawing, a page or arrays, by the name's ending."""
    path, kind = Path(path), type(made).__name__.lower()
    if path.suffix in DRAWINGS:
        made.plot().savefig(path, dpi=160)
    elif path.suffix == ".html":
        path.write_text(f'<!doctype html><meta charset="utf-8">{made._repr_html_()}', encoding="utf-8")
    elif path.suffix == ".safetensors":
        save_tensors(path, arrays, kind, header)
    else:
        do = f"Call it e.g. {kind}.png, {kind}.html or {kind}.safetensors."
        raise OptionError(expected=f"{', '.join(DRAWINGS)}, .html or .safetensors", got=path.name, do=do)
