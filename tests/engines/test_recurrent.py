"""Recurrent layers written with their parts: torch's numbers, and relevance as the papers say."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.overrides import TorchFunctionMode

import pellucid as pl
from pellucid.engines.rules import Composite, Epsilon, Flat, GatesAsGiven, GatesShare, Gradient, anywhere, first
from pellucid.engines.rules.recurrent import RECURRENT, as_given

TANH, RELU = {"nonlinearity": "tanh"}, {"nonlinearity": "relu"}
KINDS: list[tuple[Any, dict[str, Any]]] = [(nn.LSTM, {}), (nn.GRU, {}), (nn.RNN, TANH), (nn.RNN, RELU)]
CELLS: list[tuple[Any, dict[str, Any]]] = [(nn.LSTMCell, {}), (nn.GRUCell, {}), (nn.RNNCell, TANH), (nn.RNNCell, RELU)]


class Written(TorchFunctionMode):
    """Recurrent functions are run both ways; ``gaps`` are the differences."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[float] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "")
        if name in RECURRENT:
            ours = RECURRENT[name](nullcontext(), as_given, *args)
            pairs = list(zip(*((each,) if isinstance(each, Tensor) else each for each in (out, ours)), strict=True))
            assert all(one.shape == other.shape for one, other in pairs)
            self.gaps += [float((one - other).abs().max()) for one, other in pairs]
        return out


@pytest.fixture(autouse=True)
def double() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(("bias", "both", "layers", "batch_first"), list(product([False, True], repeat=4)))
def test_the_numbers_are_torchs(
    kind: Any, options: Any, bias: bool, both: bool, layers: bool, batch_first: bool
) -> None:
    net = kind(3, 4, 1 + layers, bias=bias, bidirectional=both, batch_first=batch_first, **options)
    start = torch.rand((1 + layers) * (1 + both), 2 if batch_first else 5, 4)
    with torch.no_grad(), Written() as written:
        net(torch.randn(2, 5, 3), (start, start) if kind is nn.LSTM else start)
        net(torch.randn(5, 3))
        net(pack_padded_sequence(torch.randn(6, 4, 3), torch.tensor([6, 4, 4, 1])))
    assert len(written.gaps) == (9 if kind is nn.LSTM else 6)
    assert max(written.gaps) < 1e-12


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projections_and_cells() -> None:
    with torch.no_grad(), Written() as written:
        for bias, both in product([False, True], repeat=2):
            nn.LSTM(3, 4, 2, bias=bias, bidirectional=both, proj_size=2)(torch.randn(5, 2, 3))
        for kind, options in CELLS:
            for bias in (False, True):
                kind(3, 4, bias=bias, **options)(torch.randn(2, 3))
                kind(3, 4, bias=bias, **options)(torch.randn(3))
    assert len(written.gaps) == 4 * 3 + 2 * 2 * (2 + 1 + 1 + 1)
    assert max(written.gaps) < 1e-12


class Reader(nn.Module):
    """The last output of a recurrent layer, read linearly."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0][:, -1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(net: Reader, x: np.ndarray, target: int, epsilon: float) -> np.ndarray:
    """Arras et al. 2017: an LSTM step by step, R_j = Σ_k (w_jk x_j / (z_k + ε sign z_k)) R_k, signals take all."""
    body, h, c, steps = net.body, np.zeros(4), np.zeros(4), []
    w, v, b, d = (
        getattr(body, f"{name}_l0").detach().numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    for each in x:
        z = w @ each + v @ h + b + d
        i, f, o, g = sigmoid(z[:4]), sigmoid(z[4:8]), sigmoid(z[12:]), z[8:12]
        steps.append((each, h, c, i, f, g))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    head = net.head.weight.detach().numpy()[target]
    score = head @ h
    of_h, of_c, found = h * head * score / (score + epsilon * np.sign(score)), np.zeros(4), []
    for each, before, kept, i, f, g in reversed(steps):
        of_c = of_c + of_h
        c = f * kept + i * np.tanh(g)
        of_g, of_c = i * np.tanh(g) / c * of_c, f * kept / c * of_c
        share = of_g / (g + epsilon * np.where(g >= 0, 1, -1))
        found.append(each * (w[8:12].T @ share))
        of_h = before * (v[8:12].T @ share)
    return np.array(found[::-1])


@pytest.mark.parametrize("epsilon", [1e-6, 0.01])
def test_an_lstm_by_hand(epsilon: float) -> None:
    net, x = Reader(nn.LSTM(3, 4, batch_first=True), 4), torch.randn(1, 6, 3)
    found = pl.LRP(Composite(((anywhere, Epsilon(epsilon)),)))(net, x, target=1)
    np.testing.assert_allclose(found.values[0], by_hand(net, x[0].numpy(), 1, epsilon), rtol=1e-9, atol=1e-14)
    assert ("lstm", "approximated", "gates taken as given", 1) in found.extra["ledger"]


def test_one_step_by_hand() -> None:
    """One unit: c = i g, h = o tanh c; of the score 2h, all goes to x by way of g = tanh(3 x₀ + x₁)."""
    body = nn.LSTM(2, 1, batch_first=True, bias=False)
    with torch.no_grad():
        body.weight_ih_l0.copy_(torch.tensor([[1.0, 2.0], [5.0, 5.0], [3.0, 1.0], [-1.0, 0.5]]))
    net = Reader(body, 1)
    net.head.weight.data.fill_(2.0)
    found = pl.LRP("zero")(net, torch.tensor([[[0.5, -0.25]]]), target=pl.Output(0))
    c = 1 / (1 + np.exp(-0.0)) * np.tanh(1.25)
    score = 2 / (1 + np.exp(0.625)) * np.tanh(c)
    np.testing.assert_allclose(float(found.score), score, rtol=1e-12)
    np.testing.assert_allclose(found.values[0, 0], [1.5 / 1.25 * score, -0.25 / 1.25 * score], rtol=1e-9)


GATING = {"given": Composite(((anywhere, GatesAsGiven()), (anywhere, Gradient()))),
          "share": Composite(((anywhere, GatesShare()), (anywhere, Gradient()))),
          "alone": "zero"}  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("gating", GATING)
def test_without_biases_all_relevance_reaches_the_inputs(kind: Any, options: Any, gating: str) -> None:
    if (kind, gating) == (nn.GRU, "share"):
        pytest.skip("(1 − z) n: the one keeps a share")
    net = Reader(kind(3, 4, 2, bias=False, bidirectional=True, batch_first=True, **options), 8)
    found = pl.LRP(GATING[gating])(net, torch.randn(3, 5, 3), target=0)
    torch.testing.assert_close(found.values.sum((1, 2)), found.score, rtol=1e-8, atol=1e-12)


def test_what_gates_do_alone_is_taking_them_as_given() -> None:
    net, x = Reader(nn.GRU(3, 4, batch_first=True), 4), torch.randn(2, 5, 3)
    given, share, alone = (pl.LRP(GATING[name])(net, x, target=0).values for name in ("given", "share", "alone"))
    torch.testing.assert_close(given, alone)
    assert float((share - alone).abs().max()) > 1e-3


class Looped(nn.Module):
    """The same LSTM as a loop over a cell."""

    def __init__(self, body: nn.LSTM) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.cell.load_state_dict({name: getattr(body, f"{name}_l0") for name in names})

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        state, outs = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            outs.append(state[0])
        return torch.stack(outs, 1), None


def test_a_layer_is_a_loop_over_its_cell() -> None:
    layer, x = Reader(nn.LSTM(3, 4, batch_first=True), 4), torch.randn(2, 5, 3)
    loop = Reader(Looped(layer.body), 4)  # type: ignore[arg-type]
    loop.head = layer.head
    one, other = (pl.LRP("epsilon")(net, x, target=1) for net in (layer, loop))
    torch.testing.assert_close(one.values, other.values, rtol=1e-9, atol=1e-12)


class Packed(nn.Module):
    """A bidirectional LSTM over sequences that end where their zeros begin."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1).long()
        whole = self.body(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]
        return self.head(pad_packed_sequence(whole, batch_first=True)[0].sum(1))


def test_packed_sequences() -> None:
    """A short sequence has the relevance it has alone, without its padding; none goes to the padding."""
    net, x = Packed(), torch.randn(3, 5, 3)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
    found = pl.LRP("epsilon")(net, {"x": x, "mask": mask}, target=0).values
    values = found["x"] if not isinstance(found, Tensor) else found
    assert bool((values[mask == 0] == 0).all())
    for row, length in enumerate([3, 5, 1]):
        alone = pl.LRP("epsilon")(net, {"x": x[row : row + 1, :length], "mask": mask[row : row + 1, :length]}, target=0)
        there = alone.values["x"] if not isinstance(alone.values, Tensor) else alone.values
        torch.testing.assert_close(values[row, :length], there[0], rtol=1e-9, atol=1e-12)


def test_the_first_operation_of_a_recurrent_layer_obeys_its_rule() -> None:
    net = Reader(nn.RNN(3, 4, batch_first=True), 4)
    flat = pl.LRP(Composite(((first, Flat()), (anywhere, Epsilon()))))(net, torch.randn(1, 1, 3), target=0)
    torch.testing.assert_close(flat.values[0, 0, 0], flat.values[0, 0, 1])
