"""One pass over a data set shows every row once, in every form that data can have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pellucid as pl
from pellucid.core.run import CURRENT, Run
from pellucid.demo import parts
from pellucid.engines import sweep as sweeping
from pellucid.engines.sweep import peek, sweep
from pellucid.errors import DtypeError, EmptyError, LayerError, OutOfMemory
from tests.nets import ConvNet


class Note:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self.rows: list[Tensor] = []

    def read(self, values: Tensor, rows: Tensor) -> None:
        self.values.append(values.clone())
        self.rows.append(rows)


def passed(model: pl.Model, data: Any, layer: str) -> tuple[int, Tensor, Tensor]:
    note = Note()
    count = sweep(model, data, {layer: [note]}, Run(CURRENT.get(), model.device))
    return count, torch.cat(note.values), torch.cat(note.rows)


X = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "data",
    [
        X,
        X.numpy(),
        list(X.split(7)),
        [(X[:20], torch.zeros(20)), (X[20:], torch.zeros(10))],
        DataLoader(TensorDataset(X, torch.arange(30)), batch_size=8),
        DataLoader(TensorDataset(X), batch_size=30),
        (X,),
    ],
    ids=["tensor", "array", "list of batches", "labeled batches", "loader", "loader without labels", "tuple"],
)
def test_every_row_is_seen_once_in_order(data: Any) -> None:
    net = nn.Linear(4, 3)
    count, values, rows = passed(pl.Model(nn.Sequential(net)), data, "0")
    assert count == 30
    assert rows.tolist() == list(range(30))
    assert torch.allclose(values, net(X).detach(), atol=1e-6)


def test_generators_are_not_used_up_by_a_peek() -> None:
    model = pl.Model(nn.Sequential(nn.Linear(4, 3)))
    leaves, data = peek(model, (each for each in X.split(7)))
    assert leaves.batch == 7
    assert passed(model, data, "0")[0] == 30
    leaves, data = peek(model, X)
    assert data is X
    with pytest.raises(EmptyError):
        peek(model, [])
    with pytest.raises(DtypeError):
        peek(model, 3)


def test_texts_pictures_and_rows_come_in_their_own_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "AT_ONCE", 4)
    texts = list(parts("sentences").examples[:6])
    model = pl.load("demo:sentences")
    forms = (
        texts,
        tuple(texts),
        [texts[:4], texts[4:]],
        iter([texts[:2], texts[2:]]),
        dict(model.modality.prepare(texts)),
    )
    assert [passed(model, each, "head")[0] for each in forms] == [6] * 5
    assert passed(model, "a single text of many words, it is", "head")[0] == 1
    pictures = parts("digits").examples[:6]
    model = pl.load("demo:digits")
    assert passed(model, pictures, "head")[0] == 6
    assert passed(model, list(pictures), "head")[0] == 6
    assert passed(model, pictures[0], "head")[0] == 1
    prepared = model.modality.prepare(pictures)
    assert passed(model, [prepared[:4], prepared[4:]], "head")[0] == 6
    assert passed(model, [(prepared[:4], np.eye(10)[:4])], "head")[0] == 4
    model = pl.load("demo:breast-cancer")
    assert passed(model, parts("breast-cancer").examples[:9], "0")[0] == 9


def test_two_texts_are_not_a_text_and_its_label() -> None:
    assert passed(pl.load("demo:sentences"), iter([["a good film", "a bad film"]]), "head")[0] == 2


def test_several_inputs_stay_together() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.join = nn.Identity()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.join(a + b)

    model = pl.Model(Two())
    assert torch.equal(passed(model, (X, 2 * X), "join")[1], 3 * X)
    assert torch.equal(passed(model, [(X, 2 * X)], "join")[1], 3 * X)


def test_readers_of_the_inputs_see_rows_before_those_of_layers_do() -> None:
    order: list[str] = []

    class Say:
        def __init__(self, name: str) -> None:
            self.name = name

        def read(self, values: Tensor, rows: Tensor) -> None:
            order.append(f"{self.name} {int(rows[0])}")

    model = pl.Model(nn.Sequential(nn.Linear(4, 3)))
    sweep(model, X, {"": [Say("in")], "0": [Say("out")]}, Run(CURRENT.get(), model.device))
    assert order == ["in 0", "out 0", "in 8", "out 8"]
    order.clear()
    sweep(model, X, {"": [Say("in")]}, Run(CURRENT.get(), model.device))
    assert order == ["in 0"]


def test_where_memory_runs_out_rows_come_in_halves_and_each_is_seen_once() -> None:
    class Small(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 3:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return x

    model = pl.Model(nn.Sequential(Small(), nn.Identity()))
    _, values, rows = passed(model, X, "1")
    assert rows.tolist() == list(range(30))
    assert torch.equal(values, X)
    note = Note()
    with pytest.raises(OutOfMemory):
        sweep(
            pl.Model(nn.Sequential(nn.Identity(), Small())), X, {"0": [note], "1": [note]}, Run(CURRENT.get(), X.device)
        )


def test_what_fails_in_a_reader_is_told_as_it_is() -> None:
    class Broken:
        def read(self, values: Tensor, rows: Tensor) -> None:
            raise ZeroDivisionError("mine")

    model = pl.Model(ConvNet().eval())
    with pytest.raises(ZeroDivisionError, match="mine"):
        sweep(model, torch.rand(3, 2, 6, 6), {"stem": [Broken()]}, Run(CURRENT.get(), model.device))


def test_a_layer_that_is_not_called_is_refused() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 1), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(LayerError):
        passed(pl.Model(Lazy()), X, "unused")
