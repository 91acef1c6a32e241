"""Every attention is seen, with the weights the model itself computes, however it is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.attention import Attention, attentions
from pellucid.errors import LayerError

IDS = torch.tensor([[2, 5, 7, 9, 3], [2, 8, 4, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def seen(model: Any, given: Any, target: Any = None, *, grad: bool = True) -> tuple[Attention, ...]:
    return attentions(question(model, given, target), grad=grad)


def total(outputs: Any) -> Tensor:
    """A target that reads all of an answer, in several powers."""
    values = outputs[0] if isinstance(outputs, tuple) else getattr(outputs, "logits", outputs)
    return (values.sin() + values).flatten(1).sum(1)


# ---------------------------------------------------------------------------------------------------- written by hand


class Heads(nn.Module):
    """Attention of two heads over (batch, tokens, 6), the inner part written in some way."""

    def __init__(self, inner: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.query, self.key, self.value, self.out = (nn.Linear(6, 6) for _ in range(4))

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (2, 3)).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.heads(each(x)) for each in (self.query, self.key, self.value))
        return self.out(self.inner(q, k, v).transpose(1, 2).flatten(2)) + x


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def flat(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Batch and heads in one axis."""
    b, h = q.shape[:2]
    q, k, v = (each.flatten(0, 1) for each in (q, k, v))
    weights = F.dropout(torch.bmm(q, k.transpose(1, 2)).mul(3**-0.5).softmax(2), 0.1, training=False)
    return torch.bmm(weights, v).view(b, h, *v.shape[1:])


def letters(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    weights = torch.softmax(torch.einsum("bqhd,bkhd->bhqk", q, k) / 3**0.5, dim=-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).transpose(1, 2)


def keys_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The softmax runs along an axis that is not the last one."""
    weights = torch.softmax(torch.einsum("bhqd,bhkd->bkqh", q, k) / 3**0.5, dim=1)
    return torch.einsum("bkqh,bhkd->bhqd", weights, v)


def from_the_right(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Values on the left, weights turned around on the right."""
    return (v.mT @ scores(q, k).softmax(-1).permute(0, 1, 3, 2)).mT


def cast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = F.softmax(scores(q, k), dim=-1, dtype=torch.float64).to(q.dtype)
    return torch.matmul(weights.masked_fill(torch.zeros(1, dtype=torch.bool), 0.0), v)


HAND: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "matmul": lambda q, k, v: torch.softmax(scores(q, k), -1) @ v,
    "bmm": flat,
    "einsum": letters,
    "keys first": keys_first,
    "from the right": from_the_right,
    "cast": cast,
    "fused": F.scaled_dot_product_attention,
}


@pytest.mark.parametrize("way", HAND)
def test_attention_is_seen_however_it_is_written(way: str) -> None:
    torch.manual_seed(0)
    net, x = Heads(HAND[way]).double(), torch.randn(3, 4, 6, dtype=torch.float64)
    (found,) = seen(net, x, total)
    q, k, v = (net.heads(each(x)) for each in (net.query, net.key, net.value))
    expected = scores(q, k).softmax(-1).detach()
    torch.testing.assert_close(found.weights, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.values, v.detach())
    assert torch.equal(found.projection, net.out.weight)
    assert not found.cross
    assert found.windows == 1
    leaf = expected.clone().requires_grad_()
    score = total(net.out((leaf @ v).transpose(1, 2).flatten(2)) + x)
    torch.testing.assert_close(found.slope, torch.autograd.grad(score.sum(), leaf)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", HAND)
def test_what_the_model_computes_is_not_changed(way: str) -> None:
    torch.manual_seed(0)
    net, x = Heads(HAND[way]), torch.randn(3, 4, 6)
    answers: list[Tensor] = []

    def keep(outputs: Tensor) -> Tensor:
        answers.append(outputs.detach())
        return outputs.flatten(1).sum(1)

    seen(net, x, keep)
    assert len(answers) == 1
    if way == "from the right":  # a product is computed in another order where both factors are on the graph
        torch.testing.assert_close(answers[0], net(x), rtol=1e-5, atol=1e-6)
    else:
        assert torch.equal(answers[0], net(x))


class Gated(nn.Module):
    """Softmaxes that are no attention: of classes, of experts, of tokens by a fixed table, of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.table = nn.Linear(6, 3), nn.Parameter(torch.randn(3, 6))
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(-1)
        mixed = share @ self.table + x * x.softmax(-1)
        pooled = mixed.mean(1)
        each = torch.stack([expert(pooled) for expert in self.experts], 1)
        pooled = (self.gate(pooled).softmax(-1)[..., None] * each).sum(1)
        return self.head(pooled).softmax(-1)


def test_other_softmaxes_are_no_attention() -> None:
    torch.manual_seed(0)
    with pytest.raises(LayerError) as caught:
        seen(Gated(), torch.randn(2, 4, 6))
    assert "scaled_dot_product_attention" in caught.value.expected
    assert caught.value.got == "none in this pass"


def test_a_black_box_shows_no_attention() -> None:
    with pytest.raises(LayerError, match="BlackBox"):
        pl.AttentionWeights()(pl.BlackBox(lambda x: x.sum((1, 2))), torch.rand(2, 3, 4))


# ------------------------------------------------------------------------------------------------- torch's own modules


class Multihead(nn.Module):
    def __init__(self, need: bool, average: bool, batch_first: bool, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first, **options)
        self.need, self.average, self.first = need, average, batch_first

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        x, y = (each if self.first else each.transpose(0, 1) for each in (x, x if other is None else other))
        y = x if other is None else y
        out, _ = self.attention(x, y, y, need_weights=self.need, average_attn_weights=self.average)
        return out if self.first else out.transpose(0, 1)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_zero_attn": True}, {"add_bias_kv": True}], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_multihead_attention(grad: bool, need: bool, batch_first: bool, options: dict[str, bool]) -> None:
    torch.manual_seed(1)
    net, x = Multihead(need, False, batch_first, **options).double().eval(), torch.randn(3, 4, 6, dtype=torch.float64)
    (found,) = seen(net, x, total, grad=grad)
    turned = x if batch_first else x.transpose(0, 1)
    expected = net.attention(turned, turned, turned, average_attn_weights=False)[1]
    torch.testing.assert_close(found.weights, expected.detach(), rtol=1e-10, atol=1e-12)
    assert found.path == "attention"
    assert torch.equal(found.projection, net.attention.out_proj.weight)
    assert not found.cross
    assert (found.slope is not None) == grad
    if grad:
        assert float(found.slope.abs().max()) > 0


def test_multihead_attention_to_another_sequence() -> None:
    torch.manual_seed(1)
    net = Multihead(True, True, True, kdim=6).double().eval()
    x, y = torch.randn(3, 4, 6, dtype=torch.float64), torch.randn(3, 4, 6, dtype=torch.float64)
    (found,) = seen(net, (x, y), total)
    assert found.cross
    expected = net.attention(x, y, y, average_attn_weights=False)[1]
    torch.testing.assert_close(found.weights, expected.detach())


class Encoder(nn.Module):
    def __init__(self, nested: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.table = nn.Embedding(12, 8)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.body(self.table(input_ids), src_key_padding_mask=attention_mask == 0)[:, 0])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_an_encoder_with_padding(nested: bool, grad: bool) -> None:
    torch.manual_seed(2)
    net = Encoder(nested)
    given = {"input_ids": IDS, "attention_mask": MASK}
    found = seen(net, given, grad=grad)
    assert [each.path for each in found] == ["body.layers.0.self_attn", "body.layers.1.self_attn"]
    x = net.eval().table(IDS)
    expected = net.body.layers[0].self_attn(x, x, x, key_padding_mask=MASK == 0, average_attn_weights=False)[1]
    torch.testing.assert_close(found[0].weights, expected.detach())
    assert float(found[1].weights[1, ..., 4].abs().max()) == 0
    torch.testing.assert_close(found[1].weights.sum(-1), torch.ones(2, 2, 5))


def test_an_encoder_and_a_decoder_are_two_streams() -> None:
    torch.manual_seed(3)
    net = nn.Transformer(8, 2, 2, 2, 16, batch_first=True).double()
    found = seen(net, (torch.randn(2, 5, 8).double(), torch.randn(2, 5, 8).double()), total)
    assert [(each.queries, each.keys) for each in found] == [(0, 0), (0, 0), (1, 1), (1, 0), (1, 1), (1, 0)]
    assert found[3].path == "decoder.layers.0.multihead_attn"
    assert all(float(each.slope.abs().max()) > 0 for each in found)


class Fused(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options, self.one = options, nn.Parameter(torch.ones(()).double())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **self.options).flatten(1)


BIAS = torch.linspace(-1, 1, 12).reshape(3, 4).double()
SOME = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0]]).bool()


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"attn_mask": BIAS}, {"attn_mask": SOME}, {"enable_gqa": True}],
    ids=" ".join,
)
def test_fused_attention_with_every_option(options: dict[str, Any]) -> None:
    """The weights, times the values, are what it answers; its gradient by the queries is its own, too."""
    torch.manual_seed(4)
    heads = 2 if "enable_gqa" in options else 4
    q, k, v = (torch.randn(2, h, n, 5).double() for h, n in ((4, 3), (heads, 4), (heads, 4)))
    net = Fused(**options)
    (found,) = seen(net, (q, k, v), total)
    torch.testing.assert_close((found.weights @ found.values).flatten(1), net(q, k, v), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(2, 4, 3).double())
    assert found.cross


def test_a_query_that_sees_nothing_has_no_weights() -> None:
    blind = SOME.clone()
    blind[1] = False
    q, k, v = (torch.randn(2, 4, n, 5) for n in (3, 4, 4))
    (found,) = seen(Fused(attn_mask=blind), (q, k, v), lambda out: out.nan_to_num().sum(1))
    assert float(found.weights[:, :, 1].abs().max()) == 0
    assert bool(torch.isfinite(found.slope).all())


class Twice(nn.Module):
    """One attention used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Heads(HAND["fused"])

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.part(x)).mean(1)


def test_calls_of_one_module_are_told_apart() -> None:
    found = seen(Twice(), torch.randn(2, 4, 6))
    assert [each.path for each in found] == ["part", "part@2"]


def test_checkpointed_attention_is_seen() -> None:
    class Checkpointed(Twice):
        def forward(self, x: Tensor) -> Tensor:
            from torch.utils.checkpoint import checkpoint

            return self.part(checkpoint(self.part, x, use_reentrant=False)).mean(1)

    torch.manual_seed(0)
    net, x = Twice(), torch.randn(2, 4, 6)
    other = Checkpointed()
    other.load_state_dict(net.state_dict())
    for one, two in zip(seen(net, x, 0), seen(other, x, 0), strict=True):
        torch.testing.assert_close(one.slope, two.slope)


# -------------------------------------------------------------------------------------------------------- Hugging Face


def tiny(kind: str, how: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model of the Hugging Face kind with random weights, in eval mode, and inputs."""
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    text = {"input_ids": IDS, "attention_mask": MASK}
    picture = {"pixel_values": torch.randn(2, 3, 16, 24)}
    both = {"d_model": 16, "vocab_size": 20, "encoder_layers": 2, "decoder_layers": 2, "pad_token_id": 0}
    both |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
    two = text | {"decoder_input_ids": torch.tensor([[1, 4, 6], [1, 3, 8]])}
    made: dict[str, tuple[str, str, dict[str, Any], dict[str, Tensor]]] = {
        "bert": ("BertConfig", "BertForSequenceClassification", size | {"vocab_size": 20}, text),
        "gpt2": (
            "GPT2Config", "GPT2LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 20}, text,
        ),
        "llama": (
            "LlamaConfig", "LlamaForCausalLM", size | {"vocab_size": 20, "num_key_value_heads": 2}, text,
        ),
        "vit": (
            "ViTConfig", "ViTForImageClassification", size | {"image_size": (16, 24), "patch_size": 4}, picture,
        ),
        "t5": (
            "T5Config", "T5ForConditionalGeneration",
            {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 20}, two,
        ),
        "bart": (
            "BartConfig", "BartForConditionalGeneration",
            both | {"forced_eos_token_id": None, "eos_token_id": 3, "decoder_start_token_id": 1}, two,
        ),
    }  # fmt: skip
    config, model, options, given = made[kind]
    torch.manual_seed(5)
    made_config = getattr(transformers, config)(**options, attn_implementation=how)
    return getattr(transformers, model)(made_config).eval(), given


@pytest.mark.parametrize("how", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "vit", "t5", "bart"])
def test_hugging_face_models_agree_with_their_own_attentions(kind: str, how: str) -> None:
    if kind == "t5" and how == "sdpa" and not getattr(tiny_class(), "_supports_sdpa", False):
        pytest.skip("this version of the model is written with a softmax only")
    net, given = tiny(kind, how)
    eager, _ = tiny(kind, "eager")
    eager.load_state_dict(net.state_dict())
    with torch.no_grad():
        told = eager(**given, output_attentions=True)
    if kind in ("t5", "bart"):
        layers = zip(told.decoder_attentions, told.cross_attentions, strict=True)
        expected = [*told.encoder_attentions, *(each for pair in layers for each in pair)]
        streams = [(0, 0)] * 2 + [(1, 1), (1, 0)] * 2
    else:
        expected, streams = list(told.attentions), [(0, 0)] * 2
    found = seen(net, given, pl.Function(lambda out: out.logits.flatten(1).sum(1)))
    assert len(found) == len(expected)
    for mine, yours in zip(found, expected, strict=True):
        real = given.get("attention_mask", torch.ones(2, yours.shape[2])).bool()
        if real.shape[1] == yours.shape[2]:  # rows of padding tokens are nobody's business
            for row in range(2):
                torch.testing.assert_close(
                    mine.weights[row][:, real[row]], yours[row][:, real[row]], rtol=1e-4, atol=1e-6
                )
        else:
            torch.testing.assert_close(mine.weights, yours, rtol=1e-4, atol=1e-6)
    assert [(each.queries, each.keys) for each in found] == streams
    assert all(each.projection is not None for each in found)
    assert all(float(each.slope.abs().max()) > 0 for each in found)


def tiny_class() -> Any:
    return pytest.importorskip("transformers").T5ForConditionalGeneration


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_the_gradient_by_the_weights_is_that_of_eager_attention(kind: str) -> None:
    target = pl.Function(lambda out: out.logits.flatten(1).sin().sum(1))
    net, given = tiny(kind, "eager")
    fused, _ = tiny(kind, "sdpa" if kind != "t5" else "eager")
    fused.load_state_dict(net.state_dict())
    told = net(**given, output_attentions=True)
    weights = told.encoder_attentions if kind == "t5" else told.attentions
    slopes = torch.autograd.grad(target.function(told).sum(), weights)
    for mine, slope in zip(seen(fused, given, target), slopes, strict=False):
        torch.testing.assert_close(mine.slope[0], slope[0], rtol=1e-3, atol=1e-6)
