"""Activations are those of the module itself, and their pages hold every unit once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.figure import Bars, Maps, Matrix
from pellucid.demo import parts
from pellucid.errors import InputError, LayerError, OptionError
from tests.nets import ConvNet


def test_values_are_those_of_the_module_also_where_it_writes_over_them() -> None:
    net, x = ConvNet().eval(), torch.rand(3, 2, 6, 6)
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(_part: nn.Module, _args: Any, out: Tensor) -> None:
            seen.setdefault(name, out.detach().clone())

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in net.named_modules()]
    net(x)
    for each in handles:
        each.remove()
    found = pl.activations(net, x)
    assert "block.conv" in found.values
    for name in found.values:
        if "@" not in name:
            assert torch.allclose(found.values[name], seen[name], atol=1e-5), name


def test_the_pass_stops_after_the_last_layer_needed() -> None:
    class Never(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Never.calls += 1
            return x

    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), Never())
    model = pl.Model(net)
    pl.activations(model, torch.rand(4, 2), "1")
    before = Never.calls
    leaves = model.read(torch.rand(4, 2))
    from pellucid.core.run import CURRENT, Run
    from pellucid.engines.sweep import sweep
    from pellucid.features.activations import Keep

    keep = Keep()
    sweep(model, [leaves.values], {"1": [keep]}, Run(CURRENT.get(), model.device))
    assert Never.calls == before
    assert len(keep.pieces[0]) == 4


def test_a_layer_that_gives_no_row_for_a_row_is_left_out() -> None:
    model = pl.load("demo:sentences")
    found = pl.activations(model, ["a good film"])
    assert "position" not in found.values
    assert not [name for name in found.values if name.endswith("dropout")]
    with pytest.raises(LayerError, match="one row for each row"):
        pl.activations(model, ["a good film"], "position")


def test_inputs_and_second_calls_of_layers() -> None:
    found = pl.activations(ConvNet().eval(), torch.rand(2, 2, 6, 6), ["block.act@2", "head:input"])
    assert found.values["block.act@2"].shape == (2, 4, 3, 3)
    assert found.values["head:input"].shape == (2, 4)


def test_pages_hold_every_unit_once_in_the_order_asked_for() -> None:
    found = pl.activations(nn.Sequential(nn.Conv2d(1, 100, 3)), torch.rand(1, 1, 7, 9), "0")
    names = [name for page in (1, 2, 3) for name in found.figure("0", page=page).names]
    assert sorted(map(int, names)) == list(range(100))
    means = found.maps("0").mean((1, 2))
    assert [int(name) for name in names] == np.argsort(-means, kind="stable").tolist()
    assert found.figure("0", order="index").names[:3] == ("0", "1", "2")
    own = found.figure("0", scale="own", order="variance")
    assert own.own
    assert own.html()
    for wrong in ({"page": 4}, {"row": 1}):
        with pytest.raises(InputError):
            found.figure("0", **wrong)
    with pytest.raises(OptionError):
        found.figure("0", order="beauty")
    with pytest.raises(OptionError):
        found.figure("0", scale="log")
    with pytest.raises(LayerError):
        found.figure("1")


@pytest.mark.parametrize(
    ("net", "shape", "kind"),
    [
        (nn.Conv1d(1, 3, 3), (1, 20), Maps),
        (nn.Conv2d(1, 3, 3), (1, 8, 8), Maps),
        (nn.Conv3d(1, 3, 3), (1, 6, 6, 6), Maps),
        (nn.Linear(4, 3), (4,), Bars),
        (nn.Linear(4, 3), (5, 4), Matrix),
    ],
    ids=["curves", "maps", "slices", "bars", "tokens"],
)
def test_every_kind_of_layer_is_drawn(net: nn.Module, shape: tuple[int, ...], kind: type) -> None:
    found = pl.activations(nn.Sequential(net), torch.rand(2, *shape), "0")
    figure = found.figure("0", row=1)
    assert isinstance(figure, kind)
    assert figure.html()
    assert figure.text()
    assert figure.plot().axes


def test_results_are_shown_and_saved(tmp_path) -> None:
    found = pl.activations(pl.load("demo:digits"), parts("digits").examples[:2], ["stem", "head"])
    assert "stem" in repr(found)
    assert found._repr_html_()
    found.save(tmp_path / "a.safetensors")
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "a.safetensors")["stem"], found.values["stem"])
