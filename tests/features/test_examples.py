"""The best rows of each unit against a sort of everything; crops are what the gradient depends on."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import EmptyError, NonFiniteError, OptionError, TargetError
from tests.nets import ConvNet


@pytest.mark.parametrize("which", ["most", "least"])
def test_the_best_rows_and_places_are_those_of_a_sort(which: str) -> None:
    net, x = ConvNet().eval(), torch.randn(80, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    found = pl.top_examples(net, list(x.split(11)), "block.conv", k=5, which=which)
    maps = pl.activations(net, x, "block.conv").values["block.conv"]
    side, maps = maps.shape[-1], maps.flatten(2)
    sign = 1 if which == "most" else -1
    best, spot = (sign * maps).max(2)
    order = best.argsort(dim=0, descending=True)[:5].T
    assert np.array_equal(found.rows, order.numpy())
    assert np.allclose(found.values, sign * best.gather(0, order.T).T.numpy(), atol=1e-5)
    flat = found.positions[..., 0] * side + found.positions[..., 1]
    assert np.array_equal(flat, spot.gather(0, order.T).T.numpy())
    for row, kept in found.inputs.items():
        assert torch.equal(kept, x[row])
    assert set(found.inputs) == set(found.rows.ravel().tolist())


def test_the_unit_answers_to_the_crop_and_to_nothing_else() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 3, 3, stride=2)).eval()
    x = torch.randn(30, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    found = pl.top_examples(net, x, "2", k=2)
    for unit in found.units:
        row, position, box = found.rows[unit, 0], tuple(found.positions[unit, 0]), found.box(unit)
        assert box is not None
        changed = torch.randn(1, 1, 12, 12)
        inside = (0, 0, *(slice(*each) for each in box))
        changed[inside] = x[int(row)][inside[1:]]
        with torch.no_grad():
            assert float(net(changed)[(0, unit, *position)]) == pytest.approx(float(found.values[unit, 0]), abs=1e-5)
        assert found.crop(unit).shape[1:] == tuple(b - a for a, b in box)


def test_memory_is_flat_in_the_size_of_the_data() -> None:
    net, counts = ConvNet().eval(), []

    def stream(n: int) -> Iterator[Tensor]:
        for _ in range(n):
            gc.collect()
            counts.append(sum(each.numel() for each in gc.get_objects() if issubclass(type(each), Tensor)))
            yield torch.rand(40, 2, 6, 6)

    found = pl.top_examples(net, stream(12), "block.conv", k=3)
    assert found.seen == 480
    assert max(counts[4:]) <= counts[3] + 40 * 72


def test_a_planted_unit_finds_its_words_rows_and_windows() -> None:
    series = nn.Sequential(nn.Conv1d(1, 1, 3, bias=False))
    series[0].weight.data = torch.tensor([[[-1.0, 2.0, -1.0]]])
    x = torch.zeros(20, 1, 30)
    x[7, 0, 12] = 5.0
    found = pl.top_examples(series, x, "0", k=1)
    assert (found.rows.item(), found.box(0), found.values.item()) == (7, ((11, 14),), 10.0)
    texts = list(parts("sentences").examples[:12])
    model = pl.load("demo:sentences")
    words = pl.top_examples(model, texts, "token", units=[0], k=3)
    ids = words.inputs[int(words.rows[0, 0])]
    weight = model.module.token.weight[:, 0]
    seen = torch.cat([model.read([text]).values[0] for text in texts])
    assert float(words.values[0, 0]) == pytest.approx(float(weight[seen].max()))
    assert float(weight[ids[int(words.positions[0, 0, 0])]]) == pytest.approx(float(words.values[0, 0]))


@pytest.mark.parametrize("name", ["digits", "sentences", "breast-cancer"])
def test_every_kind_of_data_is_drawn(name: str, tmp_path) -> None:
    layer = {"digits": "down", "sentences": "blocks.1.mlp.1", "breast-cancer": "1"}[name]
    examples = parts(name).examples[:20]
    found = pl.top_examples(pl.load(f"demo:{name}"), list(examples) if name == "sentences" else examples, layer, k=2)
    for figure in (found.figure([0, 3]), found.figure(page=2)):
        assert figure.html()
        assert figure.text()
        assert figure.plot().axes
    assert len(found.to_frame()) == 2 * len(found.units)
    found.save(tmp_path / "e.safetensors")
    assert found._repr_html_()


def test_a_unit_is_explained_in_its_own_examples_at_its_own_place() -> None:
    model = pl.load("demo:digits")
    found = pl.top_examples(model, parts("digits").examples[:60], "down", units=[5], k=3)
    heats = found.explained(pl.Saliency(), model, 5)
    for i, heat in enumerate(heats):
        assert float(heat.score) == pytest.approx(float(found.values[0, i]), abs=1e-4)
        outside = torch.ones(8, 8, dtype=torch.bool)
        outside[tuple(slice(*each) for each in found.box(5, i))] = False
        assert float(heat.values[0, 0][outside].abs().sum()) == 0


def test_bad_questions_are_refused_and_one_row_is_enough() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    x = torch.rand(4, 2)
    for units in (3, [0, -4], []):
        with pytest.raises(TargetError):
            pl.top_examples(net, x, "0", units=units)
    with pytest.raises(OptionError):
        pl.top_examples(net, x, "0", which="best")
    with pytest.raises(OptionError):
        pl.top_examples(net, x, "0", k=0)
    with pytest.raises(EmptyError):
        pl.top_examples(net, iter([]), "0")
    with pytest.raises(NonFiniteError):
        pl.top_examples(net, torch.full((2, 2), torch.nan), "0")
    one = pl.top_examples(net, x[:1], "0", k=9)
    assert one.values.shape == (3, 1)
    assert "only 1 row" in one.words()
    with pytest.raises(TargetError):
        pl.top_examples(net, x, "0", units=[1]).crop(2)
