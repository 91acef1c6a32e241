"""``package.module:name`` is imported and called; every way to get it wrong has its own words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pellucid as pl
from pellucid.errors import LoadError, OptionError

CODE = """
import torch
from torch import nn
import pellucid as pl

def build(width=4, classes=2):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, classes))

def named():
    return pl.Model(build(), inputs=pl.Table(columns=("a", "b", "c")), classes=("no", "yes"))

class Holder:
    made = build()

def broken():
    raise ValueError("no such size\\nand more")

def predict(rows):
    return rows.sum(1)

number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(CODE)
    (tmp_path / "needy.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "faulty.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("own_nets", "needy", "faulty"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)


def test_a_factory_with_options_weights_and_classes(tmp_path: Path) -> None:
    trained = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    model = pl.load("own_nets:build", tmp_path / "w.safetensors", classes=["cat", "dog"], width=5)
    row = torch.ones(1, 3)
    assert torch.allclose(model(row).values, trained(row))
    assert model.classes == ("cat", "dog")


def test_the_task_goes_to_the_model() -> None:
    model = pl.load("own_nets:build", classes=["a", "b"], task="regression")
    assert type(model(torch.ones(1, 3))).__name__ == "ValuePrediction"


def test_a_factory_may_give_a_whole_model() -> None:
    model = pl.load("own_nets:named")
    assert model.classes == ("no", "yes")
    assert model.modality.kind == "table"
    assert pl.load("own_nets:named", classes=["x", "y"]).classes == ("x", "y")


def test_a_module_that_is_there_is_taken_as_it_is() -> None:
    assert isinstance(pl.load("own_nets:Holder.made").module, nn.Sequential)
    with pytest.raises(OptionError, match="width"):
        pl.load("own_nets:Holder.made", width=3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_nets:biuld", "Near: 'build'"),
        ("own_net:build", "Near: 'own_nets'"),
        ("torch.n:Linear", "Near: 'torch.nn'"),
        ("torchvison:resnet18", "Near: 'torchvision:'"),
        ("needy:build", "a_package_that_is_not_there"),
        ("faulty:build", "ZeroDivisionError"),
        ("own_nets:broken", "ValueError: no such size."),
        ("own_nets:number", "to be a factory; got int"),
        ("own_nets:predict", r"arguments are \(rows\)"),
        ("os:getcwd", "torch module from os:getcwd; got str"),
        ("own nets:build", "package.module:factory"),
        ("own_nets:build()", "package.module:factory"),
        ("digits", "Near: 'demo:digits'"),
        ("demo:digts", "Near: 'digits'"),
        ("", "the name of a model"),
    ],
)
def test_a_wrong_name_says_what_is_near(name: str, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        pl.load(name)


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(LoadError, match="got int"):
        pl.load(3)


def test_an_option_that_the_factory_does_not_take() -> None:
    with pytest.raises(LoadError, match=r"\(width=4, classes=2\)"):
        pl.load("own_nets:build", depth=3)
