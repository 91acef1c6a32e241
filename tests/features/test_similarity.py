"""CKA: against a slow reference from the paper, its invariances, independence, and what cannot be compared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.errors import InputError, LayerError, NonFiniteError, OptionError
from pellucid.features.similarity import parted


class Views(nn.Module):
    """Layers that are given functions of the inputs."""

    def __init__(self, *maps: Tensor) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(*each.shape[::-1], bias=False) for each in maps)
        for part, each in zip(self.maps, maps, strict=True):
            part.weight.data = each.double()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.maps], 1)


def hsic(k: np.ndarray, other: np.ndarray) -> float:
    """The unbiased HSIC by its definition: means over all tuples of different rows (Song et al. 2012, eq. 3)."""
    n = len(k)
    pairs = list(itertools.permutations(range(n), 2))
    triples = list(itertools.permutations(range(n), 3))
    fours = list(itertools.permutations(range(n), 4))
    one = np.mean([k[i, j] * other[i, j] for i, j in pairs])
    two = np.mean([k[i, j] * other[i, q] for i, j, q in triples])
    three = np.mean([k[i, j] * other[q, r] for i, j, q, r in fours])
    return float(one - 2 * two + three)


def reference(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Minibatch CKA (Nguyen et al. 2021, eq. 2 and 3)."""
    sums = np.zeros(3)
    for start in range(0, len(x), size):
        k, other = (each[start : start + size] @ each[start : start + size].T for each in (x, y))
        sums += len(k) * np.array([hsic(k, other), hsic(k, k), hsic(other, other)])
    return float(sums[0] / np.sqrt(sums[1] * sums[2]))


def biased(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA in the space of features (Kornblith et al. 2019, section 3)."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y))


def test_it_equals_the_reference() -> None:
    maps = torch.randn(4, 5), torch.randn(3, 5)
    module, x = Views(*maps), torch.randn(13, 5, dtype=torch.float64)
    loader = [x[:4], x[4:6], x[6:13]]  # other batches than the minibatches
    found = pl.CKA(batch=7)(module, loader, ["maps.0", "maps.1"])
    a, b = (np.asarray(x @ each.double().T) for each in maps)
    assert (found.rows, found.batches) == (13, 2)
    assert found.between("maps.0", "maps.1") == pytest.approx(reference(a, b, 7), abs=1e-10)
    np.testing.assert_allclose(np.diag(found.values), 1, atol=1e-12)
    np.testing.assert_allclose(found.values, found.values.T, atol=1e-12)
    whole = pl.CKA(estimator="biased")(module, x, ["maps.0", "maps.1"])
    assert whole.between("maps.0", "maps.1") == pytest.approx(biased(a, b), abs=1e-10)


@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_rotation_and_scale_do_not_count(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    x = torch.randn(24, 4, generator=generator, dtype=torch.float64)
    for estimator in ("unbiased", "biased"):
        found = pl.CKA(estimator=estimator, batch=8)(Views(a, scale * turn @ a), x, ["maps.0", "maps.1"])
        assert found.between("maps.0", "maps.1") == pytest.approx(1, abs=1e-9)
    stretched = pl.CKA()(Views(a, torch.diag(torch.arange(1.0, 7.0) ** 2).double() @ a), x, ["maps.0", "maps.1"])
    assert stretched.between("maps.0", "maps.1") < 0.999


def test_independent_representations_are_unrelated_only_without_bias() -> None:
    one, other = torch.zeros(100, 200), torch.zeros(100, 200)
    one[:, :100], other[:, 100:] = torch.eye(100), torch.eye(100)
    x = torch.randn(256, 200, dtype=torch.float64)
    unbiased = pl.CKA(batch=64)(Views(one, other), x, ["maps.0", "maps.1"])
    naive = pl.CKA(estimator="biased")(Views(one, other), x, ["maps.0", "maps.1"])
    assert abs(unbiased.between("maps.0", "maps.1")) < 0.05
    assert naive.between("maps.0", "maps.1") > 0.2


def test_the_size_of_minibatches_matters_little() -> None:
    model, digits = pl.load("demo:digits"), parts("digits").examples[:256]
    large, little = (pl.CKA(batch=size)(model, digits, ["stem", "block1", "block2"]).values for size in (256, 32))
    assert np.abs(large - little).max() < 0.05


def test_memory_and_batches_of_a_loader_do_not_change_it() -> None:
    model, digits = pl.load("demo:digits"), parts("digits").examples[:96]
    prepared = model.modality.prepare(digits)
    whole = pl.CKA(batch=32)(model, [prepared], ["stem", "block1", "block2", "head"])
    with pl.settings(memory="200 kB"):
        narrow = pl.CKA(batch=32)(model, list(prepared.split(20)), ["stem", "block1", "block2", "head"])
    np.testing.assert_allclose(narrow.values, whole.values, atol=1e-5)
    assert narrow.receipt.rows_forward > whole.receipt.rows_forward == 96
    assert parted({"a": 3, "b": 4, "c": 9, "d": 1}, 8) == [["a", "b"], ["c"], ["d"]]


def test_two_models_and_checkpoints() -> None:
    model, digits = pl.load("demo:digits"), parts("digits").examples[:128]
    fresh = model.with_module(lambda module: [each.reset_parameters() for each in module.modules()
                                              if hasattr(each, "reset_parameters")] and module)  # fmt: skip
    same = pl.CKA()(model, digits, ["stem", "block2"], other=model)
    np.testing.assert_allclose(np.diag(same.values), 1, atol=1e-9)
    generator = (batch for batch in model.modality.prepare(digits).split(40))
    found = pl.CKA()(model, generator, ["block1", "block2"], other=fresh, other_layers=["block2"])
    assert found.values.shape == (2, 1)
    assert found.rows == 128
    assert 0 < found.between("block2", "block2") < 0.9
    assert "two models" in found.figure().title
    with pytest.raises(InputError):
        pl.CKA()(model, digits, other=nn.Linear(3, 2))


def test_arrays_are_shuffled_so_that_sorted_data_do_no_harm() -> None:
    x = torch.cat([torch.randn(64, 3) + 8, torch.randn(64, 3) - 8]).double()
    module = Views(torch.randn(3, 3), torch.randn(3, 3))
    mixed = pl.CKA(batch=64)(module, x, ["maps.0", "maps.1"]).between("maps.0", "maps.1")
    whole = pl.CKA(batch=128)(module, x, ["maps.0", "maps.1"]).between("maps.0", "maps.1")
    assert mixed == pytest.approx(whole, abs=0.01)


def test_texts_of_any_length() -> None:
    model, sentences = pl.load("demo:sentences"), list(parts("sentences").examples[:24])
    found = pl.CKA(batch=8)(model, sentences)
    assert found.values.shape[0] == len(found.layers) > 2
    assert found.figure().html()


def test_what_cannot_be_compared() -> None:
    module, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.randn(12, 3)
    for n in (1, 3):
        with pytest.raises(InputError, match=f"at least 4 rows; got {n}"):
            pl.CKA()(module, x[:n])
    module[0].bias.data[:] = -99
    found = pl.CKA()(module, x)
    assert np.isnan(found.values[1]).all()
    assert "constant over the data: 1" in found.words()
    assert found.figure().plot() is not None
    with pytest.raises(LayerError):
        pl.CKA()(module, x, ["2"])
    with pytest.raises(OptionError):
        pl.CKA(batch=3)
    with pytest.raises(OptionError):
        pl.CKA(estimator="linear")
    module[0].weight.data[0] = torch.nan
    with pytest.raises(NonFiniteError):
        pl.CKA()(module, x)
    left = pl.CKA(batch=5)(Views(torch.eye(3)), x[:6].double(), ["maps.0"])
    assert (left.rows, left.notes) == (5, ("1 row left out",))
