"""A folder with a user's own code, data and pictures, and a way to run the command line in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid.cli.run import run

CODE = """
import torch
from torch import nn
import pellucid as pl

def pictures():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))

def rows():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

def hostile():
    return pl.Model(rows(), classes=("\\x1b[31mred\\x07", "b\\u202elue"))

def interrupted():
    raise KeyboardInterrupt

def surprising(rows):
    raise RuntimeError("the service is down")

def total(rows):
    return rows.sum(1)

def length(texts):
    return [len(text) for text in texts]
"""


@dataclass(frozen=True)
class Ran:
    """What a run left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the search path is put back afterwards."""
    (tmp_path / "own_cli_nets.py").write_text(CODE)
    (tmp_path / "rows.csv").write_text("age,size,dose\n1.5,2,3\n4,5,6\n")
    (tmp_path / "row.json").write_text('{"age": 1.5, "size": 2, "dose": 3}')
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    np.save(tmp_path / "array.npy", np.array([[1.5, 2, 3]], np.float32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_cli_nets", raising=False)
    return tmp_path


@pytest.fixture
def pellucid(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line in this process."""

    def ran(*arguments: object) -> Ran:
        code = run([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return ran
