"""Statistics of units against NumPy over all activations at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import EmptyError, LayerError, NonFiniteError
from pellucid.features.tally import Lots
from tests.nets import ConvNet


def plain(maps: Tensor) -> dict[str, np.ndarray]:
    """The numbers of (rows, units, *space) from their definitions."""
    flat = maps.transpose(0, 1).flatten(1).double().numpy()
    return {
        "mean": flat.mean(1),
        "std": flat.std(1, ddof=1),
        "low": flat.min(1),
        "high": flat.max(1),
        "sparsity": (flat <= 0).mean(1),
    }


@pytest.mark.parametrize("shape", [(1, 40), (3, 20, 20), (2, 3)])
@pytest.mark.parametrize("far", [0.0, 1000.0])
def test_all_numbers_are_those_of_the_definitions(shape: tuple[int, ...], far: float) -> None:
    part = {2: nn.Conv1d, 3: nn.Conv2d}[len(shape)](shape[0], 5, 2)
    nn.init.constant_(part.bias, far)
    net = nn.Sequential(part, nn.ReLU()).eval()
    x = torch.randn(60, *shape, generator=torch.Generator().manual_seed(0))
    found = pl.unit_statistics(net, [x[:7], x[7:40], x[40:]])
    with torch.no_grad():
        maps = part(x)
    for layer, values in (("0", maps), ("1", maps.relu())):
        for name, right in plain(values).items():
            rough = 1e-2 if name == "std" and far else 2e-5
            assert np.allclose(getattr(found[layer], name), right, rtol=rough, atol=2e-5), (layer, name)


def test_layers_are_met_once_and_by_every_call() -> None:
    net = ConvNet().eval()
    found = pl.unit_statistics(net, torch.rand(4, 2, 6, 6))
    assert {"stem", "norm", "block.conv", "block.act", "block.act@2", "head"} <= set(found)
    assert "block" not in found  # the same numbers as its last activation


def test_dead_and_saturated_units_that_were_planted_are_found() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.Sigmoid())
    net[0].bias.data = torch.tensor([0.0, -50.0, 50.0, 0.0])
    net[2].bias.data = torch.tensor([60.0, -60.0, 0.0])
    net[2].weight.data *= 0.1
    net[2].weight.data[2] = 0.0
    found = pl.unit_statistics(net, torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    assert found["1"].dead.tolist() == [False, True, False, False]
    assert found["1"].saturated.tolist() == [False, False, True, False]
    assert found["3"].saturated.tolist() == [True, True, False]
    assert found["2"].dead.tolist() == [False, False, True]  # a weightless unit never changes
    assert found["2"].std[2] == 0
    assert {row[1] for row in found.odd().rows if row[2] == "dead" and row[0] == "1"} == {1}


def test_batches_and_memory_do_not_change_the_numbers() -> None:
    net, x = ConvNet().eval(), torch.rand(70, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    one = pl.unit_statistics(net, x)
    other = pl.unit_statistics(net, list(x.split(9)))
    with pl.settings(memory="100 kB"):
        small = pl.unit_statistics(net, x)
    for again in (other, small):
        for layer in one:
            for name in ("mean", "std", "low", "high", "sparsity", "sample"):
                assert np.allclose(getattr(one[layer], name), getattr(again[layer], name), atol=1e-5)


def test_the_sample_is_of_random_rows_and_evenly_spread() -> None:
    lots = Lots(0, 100)
    chosen: set[int] = set()
    ranks: list[float] = []
    for start in range(0, 5000, 50):
        new, where, _ = lots.of(torch.arange(start, start + 50))
        chosen |= set((new + start).tolist())
        ranks += where.tolist()
    assert len(lots.ranks) == 100
    assert abs(np.mean(ranks) - 0.5) < 0.1
    assert min(chosen) < 50


def test_memory_is_flat_in_the_size_of_the_data() -> None:
    net = ConvNet().eval()
    counts = []

    def stream(n: int) -> Iterator[Tensor]:
        for _ in range(n):
            gc.collect()
            counts.append(sum(each.numel() for each in gc.get_objects() if issubclass(type(each), Tensor)))
            yield torch.rand(40, 2, 6, 6)

    found = pl.unit_statistics(net, stream(14))
    assert found.rows == 14 * 40
    assert counts[-1] <= 1.02 * counts[7]


def test_padding_does_not_count() -> None:
    model, texts = pl.load("demo:sentences"), list(parts("sentences").examples[:6])
    together = pl.unit_statistics(model, texts, "blocks.0.mlp.1")["blocks.0.mlp.1"]
    alone = [pl.unit_statistics(model, [text], "blocks.0.mlp.1")["blocks.0.mlp.1"] for text in texts]
    assert together.count == sum(each.count for each in alone)
    right = sum(each.mean * each.count for each in alone) / together.count
    assert np.allclose(together.mean, right, atol=1e-5)


def test_bad_data_is_refused_and_one_picture_is_enough() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 2))
    with pytest.raises(EmptyError):
        pl.unit_statistics(net, [])
    with pytest.raises(NonFiniteError):
        pl.unit_statistics(net, torch.full((2, 1, 8, 8), torch.nan))
    with pytest.raises(LayerError):
        pl.unit_statistics(net, torch.rand(2, 1, 8, 8), ["nowhere"])
    with pytest.raises(LayerError):
        pl.unit_statistics(net, torch.rand(2, 1, 8, 8), [])
    one = pl.unit_statistics(net, torch.rand(1, 1, 8, 8))
    assert np.isfinite(one["0"].std).all()
    assert np.isnan(one["2"].std).all()
    assert not one["2"].dead.any()
    assert "no standard deviation" in one.words()
    with pytest.raises(LayerError, match=r"Near|Known"):
        _ = one["1x"]


def test_infinite_activations_are_named() -> None:
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log()

    with pytest.raises(NonFiniteError, match="'0'"):
        pl.unit_statistics(nn.Sequential(Log(), nn.Hardtanh()), torch.zeros(3, 2), ["0"])


def test_results_are_drawn_and_saved(tmp_path) -> None:
    found = pl.unit_statistics(pl.load("demo:digits"), parts("digits").examples[:50])
    for figure in (found.figure(), found.odd(), found.shares(), found.figure("block2.relu@2")):
        assert figure.html()
        assert figure.text()
    assert found._repr_html_()
    assert len(found.to_frame()) == sum(len(each) for each in found.values())
    found.save(tmp_path / "s.safetensors")
    from safetensors.numpy import load_file

    assert np.array_equal(load_file(tmp_path / "s.safetensors")["head/mean"], found["head"].mean)
    share, edges = found["head"].histogram(3)
    assert share.sum() == pytest.approx(1)
    assert len(edges) == len(share) + 1
