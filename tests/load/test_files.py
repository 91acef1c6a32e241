"""Files that run code when loaded need trust; then they work."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.errors import LoadError

ROWS = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, -0.2]])


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, net: nn.Sequential) -> Path:
    """The network as TorchScript, as an exported program and as a pickle."""
    place = tmp_path_factory.mktemp("files")
    rows = torch.export.Dim("rows")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, ROWS).save(place / "script.pt")
        torch.export.save(torch.export.export(net, (ROWS,), dynamic_shapes=({0: rows},)), place / "program.pt2")
    torch.save(net, place / "whole.pt")
    return place


@pytest.mark.parametrize(
    ("name", "reason"), [("script.pt", "TorchScript"), ("program.pt2", "exported program"), ("whole.pt", "Sequential")]
)
def test_refused_without_trust_with_the_reason(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(LoadError, match=reason) as caught:
        pl.load(folder / name)
    assert "trust=True" in caught.value.do


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch copies its own exported programs with one
@pytest.mark.parametrize("name", ["script.pt", "program.pt2", "whole.pt"])
def test_with_trust_it_answers_and_is_explained(folder: Path, net: nn.Sequential, name: str) -> None:
    model = pl.load(str(folder / name), trust=True, classes=["no", "yes"])
    assert torch.allclose(model(ROWS).values, net(ROWS), atol=1e-6)
    expected = pl.Saliency()(net, ROWS, target=1).values
    assert torch.allclose(pl.Saliency()(model, ROWS, target="yes").values, expected, atol=1e-6)
    assert sum(each.numel() for each in model.module.parameters()) == 26
    assert model.fingerprint() != pl.load(nn.Linear(3, 2)).fingerprint()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["script.pt", "program.pt2"])
def test_a_changed_copy_leaves_the_closed_model_as_it_is(folder: Path, name: str) -> None:
    model = pl.load(folder / name, trust=True)
    before = model(ROWS).values

    def zeroed(module: nn.Module) -> nn.Module:
        for each in module.parameters():
            each.data.zero_()
        return module

    assert not model.with_module(zeroed)(ROWS).values.any()
    assert torch.equal(model(ROWS).values, before)


def test_a_hostile_module_does_not_run(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Malice(), tmp_path / "net.pt")
    with pytest.raises(LoadError, match="mkdir"):
        pl.load(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()


def test_weights_alone_are_no_model(tmp_path: Path, net: nn.Sequential) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.safetensors").touch()
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(LoadError, match=r"package\.module:factory"):
            pl.load(tmp_path / name)


def test_other_formats_have_their_own_way(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "net").touch()
    with pytest.raises(LoadError, match="BlackBox"):
        pl.load(tmp_path / "net.onnx")
    with pytest.raises(LoadError, match="a model file"):
        pl.load(tmp_path / "net")
    with pytest.raises(LoadError, match="its own weights"):
        pl.load(folder / "whole.pt", weights=tmp_path / "w.pt", trust=True)
    (tmp_path / "net.pt2").write_bytes(b"no program")
    with pytest.raises(LoadError, match="that this torch can open"):
        pl.load(tmp_path / "net.pt2", trust=True)


def test_a_path_that_is_not_there_has_near_names(folder: Path) -> None:
    with pytest.raises(LoadError, match=r"Near: 'script\.pt'"):
        pl.load(folder / "scirpt.pt")
    with pytest.raises(LoadError, match="There is no folder"):
        pl.load(folder / "deeper" / "bert")
