"""What counts as one part, how parts are shown, and how their values are laid out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.coalitions import every
from pellucid.errors import EmptyError, OptionError, PellucidError, ShapeError, UnknownName


class Sum(nn.Module):
    """One number a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def ask(*shape: int, batch: int = 2) -> Any:
    return question(pl.Model(Sum()), torch.rand(batch, *shape))


def everything_is_somewhere(players: Any, shape: tuple[int, ...], *, whole: bool = True) -> None:
    """Nobody hides nothing, everybody hides all; the union of single players is all."""
    n = players.n
    nobody = players.shown(torch.zeros(1, n, dtype=torch.bool)).expand(1, 2, *shape)
    everybody = players.shown(torch.ones(1, n, dtype=torch.bool)).expand(1, 2, *shape)
    assert bool(everybody.all())
    assert not whole or not bool(nobody.any())
    alone = players.shown(~torch.eye(n, dtype=torch.bool)).expand(n, 2, *shape)
    assert bool(((~alone).any(0) == ~nobody[0]).all())
    values = players.values(torch.ones(2, n), shared=False)
    assert values.shape == (2, *shape)


@given(n=st.integers(1, 9), height=st.integers(1, 9), width=st.integers(1, 9))
def test_patches(n: int, height: int, width: int) -> None:
    players = pl.Patches(n)(ask(3, height, width))
    assert players.n == min(n, height) * min(n, width)
    everything_is_somewhere(players, (3, height, width))
    shared = players.values(torch.ones(2, players.n), shared=True)
    torch.testing.assert_close(shared.flatten(1).sum(1), torch.full((2,), float(players.n)))


@given(size=st.integers(1, 6), stride=st.integers(1, 6), length=st.integers(1, 9), channels=st.integers(1, 3))
def test_windows(size: int, stride: int, length: int, channels: int) -> None:
    if min(stride, length) > min(size, length):
        with pytest.raises(OptionError):
            pl.Windows(size, stride)(ask(channels, length))
        return
    players = pl.Windows(size, stride)(ask(channels, length))
    everything_is_somewhere(players, (channels, length))
    values = players.values(torch.arange(players.n).float().expand(2, -1), shared=False)
    assert float(values.min()) >= 0
    assert float(values.max()) <= players.n - 1


def test_windows_on_rows_of_numbers() -> None:
    everything_is_somewhere(pl.Windows(2, 1)(ask(5)), (5,))


@pytest.mark.parametrize("shape", [(5,), (2, 7), (3, 4, 5), (1, 2, 3, 4)])
def test_elements_and_what_is_usual(shape: tuple[int, ...]) -> None:
    players = pl.Elements()(ask(*shape))
    assert players.n == torch.Size(shape).numel()
    everything_is_somewhere(players, shape)
    from pellucid.engines.features import usual_features

    probe = ask(*shape)
    everything_is_somewhere(usual_features(probe)(probe), shape)


def test_groups_of_labels_and_names() -> None:
    labels = pl.Groups(torch.tensor([[0, 5, 5], [9, -1, 0]]))(ask(2, 3))
    assert labels.n == 3
    everything_is_somewhere(labels, (2, 3), whole=False)
    shown = labels.shown(every(3)[:1])[0, 0]
    assert shown.tolist() == [[False, False, False], [False, True, False]]
    named = pl.Groups({"left": [0, 1], "right": [-1]})(ask(4))
    assert named.names == ("left", "right")
    assert named.values(torch.tensor([[4.0, 3.0]]), shared=True).tolist() == [[2, 2, 0, 3]]
    columns = pl.Table(columns=("a", "b", "c"))
    probe = question(pl.Model(Sum(), inputs=columns), [[1.0, 2.0, 3.0]])
    mixed = pl.Groups({"ab": ["a", "b"], "c": [2]})(probe)
    assert mixed.values(torch.tensor([[4.0, 3.0]]), shared=True).tolist() == [[2, 2, 3]]


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (pl.Groups(torch.zeros(4)), ShapeError),
        (pl.Groups(torch.zeros(2, 3, dtype=torch.long)), ShapeError),
        (pl.Groups(torch.full((3,), -1)), EmptyError),
        (pl.Groups({"a": []}), EmptyError),
        (pl.Groups({"a": [3]}), OptionError),
        (pl.Groups({"a": [-4]}), OptionError),
        (pl.Groups({"a": ["age"]}), UnknownName),
        (pl.Patches(), ShapeError),
        (pl.Patches(0), OptionError),
        (pl.Patches(2.5), OptionError),
        (pl.Windows(0), OptionError),
        (pl.Windows(2.5), OptionError),
        (pl.Windows((1, 2, 3)), OptionError),
        (pl.Windows("wide"), OptionError),
        (pl.Words(), PellucidError),
        (3, OptionError),
        ("patches", OptionError),
    ],
    ids=str,
)
def test_features_that_do_not_fit(features: Any, kind: type[Exception]) -> None:
    try:
        with pytest.raises(kind) as caught:
            pl.KernelSHAP(features=features)(Sum(), torch.rand(2, 3))
    except pytest.fail.Exception:
        assert features == pl.Windows((1, 2, 3))  # the last numbers count: one axis here
        return
    error: Any = caught.value
    assert error.do


def test_a_game_of_hidden_units_takes_channels() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x = torch.rand(2, 1, 4, 4)
    result = pl.Ablation()(net, x, at="1")
    maps = net[:2](x).detach()
    c = net(x).argmax(1)
    for k in range(3):
        hidden = maps.clone()
        hidden[:, k] = net[:2](torch.zeros_like(x))[:, k].detach()
        fall = (net(x) - net[2:](hidden)).detach()[torch.arange(2), c]
        torch.testing.assert_close(result.values[:, k, 0, 0], fall)


def read(features: Any, given: Any, net: nn.Module | None = None, **options: Any) -> Any:
    """The players of inputs."""
    return features(question(pl.Model(net or Sum(), **options), given, discrete=True))


@pytest.mark.parametrize("space", [(9,), (6, 9), (4, 6, 5)])
def test_patches_and_windows_name_their_places_in_one_two_and_three_dimensions(space: tuple[int, ...]) -> None:
    shape = (2, *space)
    patches, windows = pl.Patches(2)(ask(*shape)), pl.Windows(3, 2)(ask(*shape))
    assert patches.n == len(patches.names) == len(set(patches.names)) == 2 ** len(space)
    assert patches.names[1] == "patch " + ", ".join(["0"] * (len(space) - 1) + ["1"])
    assert windows.n == len(windows.names) == len(set(windows.names))
    assert windows.names[1] == "window " + ", ".join(["0"] * (len(space) - 1) + ["2"])
    everything_is_somewhere(patches, shape)
    everything_is_somewhere(windows, shape)
    # The place a name says is the place that is hidden.
    last = patches.shown(torch.arange(patches.n)[None] != patches.n - 1)
    assert not bool(last[(0, 0, 0, *[-1] * len(space))])
    assert bool(last[(0, 0, 0, *[0] * len(space))])


def test_a_volume_is_explained_by_patches_and_windows() -> None:
    x = torch.rand(2, 2, 4, 4, 6, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 1)).double()
    exact = (net[1].weight[0].detach() * x.flatten(1)).reshape(x.shape).sum(1)
    found = pl.Ablation(features=pl.Patches(2), fill=0)(net, x)
    blocks = exact.unfold(1, 2, 2).unfold(2, 2, 2).unfold(3, 3, 3).sum((4, 5, 6)).flatten(1)
    torch.testing.assert_close(found.extra["players"], blocks)
    sliding = pl.Occlusion(window=(2, 2, 3), stride=(2, 2, 3), fill=0)(net, x)
    torch.testing.assert_close(sliding.extra["players"], blocks)


class Several(nn.Module):
    """A sum of three inputs, each with a weight of its own."""

    def forward(self, left: torch.Tensor, right: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        return (left.flatten(1).sum(1) + 10 * right.flatten(1).sum(1) + 100 * rest.flatten(1).sum(1))[:, None]


GIVEN = {"left": torch.ones(2, 3), "right": torch.ones(2, 1, 2, 2), "rest": torch.ones(2, 2)}


def test_each_of_several_inputs_is_a_part() -> None:
    found = pl.Ablation(features=pl.Inputs(), fill=0)(Several(), GIVEN)
    assert found.extra["names"] == ("left", "right", "rest")
    assert found.extra["players"].tolist() == [[3, 40, 200]] * 2
    assert found.values["right"].shape == (2, 1, 2, 2)
    shared = pl.ExactShapley(features=pl.Inputs(), fill=0)(Several(), tuple(GIVEN.values()))
    assert shared.extra["names"] == ("0", "1", "2")
    torch.testing.assert_close(shared.values[1], torch.full((2, 1, 2, 2), 10.0))
    assert read(pl.Inputs(), torch.ones(2, 3)).names == ("input",)
    with pytest.raises(ShapeError):
        pl.Ablation(features=pl.Inputs())(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)), torch.ones(1, 3), at="0")


def test_groups_name_whole_inputs() -> None:
    groups = pl.Groups({"both": ["left", "right"], "last": [-1]})
    found = pl.Ablation(features=groups, fill=0)(Several(), GIVEN)
    assert found.extra["players"].tolist() == [[43, 100]] * 2
    assert found.values["rest"].tolist() == [[0, 100]] * 2
    with pytest.raises(UnknownName) as caught:
        pl.Ablation(features=pl.Groups({"a": ["lift"]}))(Several(), GIVEN)
    assert "left" in caught.value.do


def test_columns_are_named() -> None:
    table = pl.Table(columns=("age", "sex"), categories={"sex": ("f", "m")}, one_hot=("sex",))
    assert read(pl.Columns(), {"age": 1, "sex": "m"}, nn.Linear(3, 1), inputs=table).names == ("age", "sex")
