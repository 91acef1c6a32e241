"""Writing a page to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_page(path: Any, text: str) -> Path:
    """Write a page; the file is complete or not there."""
    target = Path(path)
    part = target.with_name(target.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(target)
    return target
