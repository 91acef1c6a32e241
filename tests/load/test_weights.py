"""Weights fit exactly or nothing is loaded; pickles are read without running them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pellucid as pl
from pellucid.errors import LoadError, OptionError


class Malice:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def another() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def same(model: pl.Model, net: nn.Module) -> bool:
    theirs, ours = net.state_dict(), model.module.state_dict()
    return theirs.keys() == ours.keys() and all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_safetensors_go_into_a_copy_of_a_live_module(tmp_path: Path) -> None:
    net, trained, file = network(), another(), tmp_path / "w.safetensors"
    save_file(trained.state_dict(), file)
    before = {name: each.clone() for name, each in net.state_dict().items()}
    assert same(pl.load(net, weights=file), trained)
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"model_state_dict": {f"module.{name}": each for name, each in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": each for name, each in state.items()},
    ],
    ids=["plain", "state_dict", "model", "parallel", "compiled"],
)
def test_torch_files_are_read_in_every_usual_wrapping(tmp_path: Path, suffix: str, wrap: Any) -> None:
    trained, file = another(), tmp_path / f"w{suffix}"
    torch.save(wrap(dict(trained.state_dict())), file)
    assert same(pl.load(network(), weights=str(file)), trained)


def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    net, file = network(), tmp_path / "w.safetensors"
    state = dict(another().state_dict())
    state["head.weight"] = state.pop("3.weight")
    state["0.weight"] = torch.zeros(5, 3)
    save_file(state, file)
    before = {name: each.clone() for name, each in net.state_dict().items()}
    with pytest.raises(LoadError) as caught:
        pl.load(net, weights=file)
    assert "1 missing: 3.weight" in caught.value.got
    assert "1 unexpected: head.weight" in caught.value.got
    assert "0.weight ((5, 3) in the file, (4, 3) in the model)" in caught.value.got
    assert "Nothing was loaded" in caught.value.do
    assert all(torch.equal(before[name], each) for name, each in net.state_dict().items())


def test_many_misfits_are_counted_but_not_all_listed(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({f"block{i}.weight": torch.zeros(2) for i in range(20)}, file)
    with pytest.raises(LoadError) as caught:
        pl.load(network(), weights=file)
    assert "20 unexpected" in caught.value.got
    assert "and 16 more" in caught.value.got


def test_a_kind_of_number_that_differs_does_not_fit(tmp_path: Path) -> None:
    state = dict(another().state_dict())
    state["0.bias"] = torch.zeros(4, dtype=torch.int64)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(LoadError, match=r"0\.bias"):
        pl.load(network(), weights=tmp_path / "w.safetensors")


def test_a_tied_weight_may_be_stored_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

    net, state = Tied(), dict(Tied().state_dict())
    del state["two.weight"]
    save_file(state, tmp_path / "w.safetensors")
    assert torch.equal(pl.load(net, weights=tmp_path / "w.safetensors").module.two.weight, state["one.weight"])


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "ran", tmp_path / "w.pt"
    torch.save({"0.weight": torch.zeros(4, 3), "more": Malice(mark)}, file)
    with pytest.raises(LoadError) as caught:
        pl.load(network(), weights=file)
    assert "system" in caught.value.got
    assert "trust" in caught.value.do
    assert not mark.exists()


def test_an_old_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(another().state_dict(), tmp_path / "w.pt")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(LoadError, match=r"torch ≥ 2\.10"):
        pl.load(network(), weights=tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello world" * 30)
    with pytest.raises(LoadError, match=name):
        pl.load(network(), weights=tmp_path / name)


def test_a_file_without_weights_in_it(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "w.pt")
    with pytest.raises(LoadError, match="epoch, loss"):
        pl.load(network(), weights=tmp_path / "w.pt")


def test_a_missing_file_has_near_names(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(LoadError, match=r"Near: 'weights\.safetensors'"):
        pl.load(network(), weights=tmp_path / "wieghts.safetensors")
    with pytest.raises(LoadError, match="file of weights"):
        pl.load(network(), weights=Path(__file__))


def test_class_names_are_a_list() -> None:
    with pytest.raises(OptionError, match="one text"):
        pl.load(network(), classes="cat,dog")
