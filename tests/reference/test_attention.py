"""Attention methods against exact answers and slow references written from the papers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.figure import Heat, Matrix
from pellucid.errors import InputError, LayerError, OptionError, ShapeError
from tests.engines.test_attention_capture import IDS, MASK, tiny

METHODS = ("AttentionRollout", "AttentionFlow", "AttentionRelevance")


class Told(nn.Module):
    """Attention as it is told: (layers, heads, tokens, tokens); each token adds what its heads gather on average."""

    def __init__(self, weights: Any, reads: Any = None) -> None:
        super().__init__()
        self.weights = torch.as_tensor(np.asarray(weights)).double()
        self.reads, self.one = reads, nn.Parameter(torch.ones(()).double())

    def forward(self, x: Tensor) -> Tensor:
        for told in self.weights:
            nothing = 0 * (x @ x.mT)[:, None]
            x = x + ((told.log() + nothing).softmax(-1) @ x[:, None]).mean(1)
        x = x * self.one
        return x.mean(1) if self.reads is None else x[:, self.reads]


def rows(n: int, heads: int = 1, layers: int = 1, seed: int = 0) -> Tensor:
    """Random weights (layers, heads, n, n)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(layers, heads, n, n, generator=generator, dtype=torch.float64).softmax(-1)


def x_of(n: int, width: int = 3) -> Tensor:
    return torch.randn(2, n, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def same(one: Any, other: Any, tolerance: float = 1e-8) -> None:
    one, other = (torch.as_tensor(each, dtype=torch.float64) for each in (one, other))
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------------------------------------------------- weights


def test_weights_are_layers_heads_tokens_tokens() -> None:
    told = rows(4, 3, 2)
    result = pl.AttentionWeights()(Told(told), x_of(4))
    same(result.values, told.expand(2, 2, 3, 4, 4), 1e-12)
    assert result.receipt.rows_forward == 2
    assert result.receipt.rows_backward == 0
    assert "not why it answers" in result.words()


def test_one_layer_can_be_chosen_where_shapes_differ() -> None:
    net, given = tiny("bart", "sdpa")
    with pytest.raises(LayerError) as caught:
        pl.AttentionWeights()(net, given)
    assert "layers=" in caught.value.do
    assert "model.decoder.layers.0.encoder_attn (cross, 4 heads, 3 × 5)" in caught.value.do
    cross = pl.AttentionWeights(layers="encoder_attn")(net, given)
    assert cross.values.shape == (2, 2, 4, 3, 5)
    assert cross.extra["attentions"] == tuple(f"model.decoder.layers.{i}.encoder_attn" for i in (0, 1))
    with pytest.raises(LayerError, match="self_attn"):
        pl.AttentionWeights(layers="no such")(net, given)


# ------------------------------------------------------------------------------------------------------------- rollout


@drawn(layers=st.integers(1, 5), tokens=st.integers(2, 6), heads=st.integers(1, 3))
def test_rollout_of_even_attention(layers: int, tokens: int, heads: int) -> None:
    even = torch.full((layers, heads, tokens, tokens), 1 / tokens, dtype=torch.float64)
    result = pl.AttentionRollout(token=0)(Told(even), x_of(tokens))
    expected = 2.0**-layers * torch.eye(tokens).double() + (1 - 2.0**-layers) / tokens
    same(result.extra["matrix"][0], expected)
    same(result.values, expected[0].expand(2, -1))


def test_rollout_of_attention_to_oneself() -> None:
    result = pl.AttentionRollout(token=2)(Told(torch.eye(4).expand(3, 2, 4, 4)), x_of(4))
    same(result.extra["matrix"][1], torch.eye(4).double())
    same(result.values, torch.eye(4).double()[[2, 2]])


FIRST = [[0.6, 0.4, 0.0], [0.2, 0.2, 0.6], [0.0, 1.0, 0.0]]
SECOND = [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.25, 0.25, 0.5]]


def test_rollout_of_two_layers_by_hand() -> None:
    """½(A₂ + I) = [[½ ¼ ¼] …], ½(A₁ + I) = [[.8 .2 0] [.1 .6 .3] [0 ½ ½]]: row 0 of the product."""
    net = Told([[FIRST], [SECOND]])
    same(pl.AttentionRollout(token=0)(net, x_of(3)).values[0], [0.425, 0.375, 0.2])
    same(pl.AttentionRollout(token=-2)(net, x_of(3)).values[0], [0.45, 0.4, 0.15])
    same(pl.AttentionRollout()(net, x_of(3)).values.sum(1), torch.ones(2).double())


@pytest.mark.parametrize("fuse", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.4])
def test_rollout_is_that_of_a_slow_reference(fuse: str, discard: float) -> None:
    told = rows(5, 3, 3)
    whole = np.eye(5)
    for layer in told.numpy():
        one = {"mean": layer.mean(0), "max": layer.max(0), "min": layer.min(0)}[fuse]
        for row in one:
            row[np.argsort(row)[: int(5 * discard)]] = 0
        one = one / one.sum(1, keepdims=True)
        whole = (one + np.eye(5)) / 2 @ whole
    result = pl.AttentionRollout(heads=fuse, discard=discard)(Told(told), x_of(5))
    same(result.extra["matrix"][0], whole)
    same(result.values[0], whole.mean(0))


READ = {"first": (0, [0]), "last": (-1, [3]), "two": ([1, 2], [1, 2]), "all": (None, [0, 1, 2, 3])}


@pytest.mark.parametrize("where", READ)
@pytest.mark.parametrize("name", METHODS)
def test_the_token_that_is_read_is_found(name: str, where: str) -> None:
    """From what moves the score, not from a convention."""
    reads, expected = READ[where]
    net = Told(rows(4, 2, 2), reads)
    target = pl.Function(lambda out: out.flatten(1).sum(1))
    share = getattr(pl, name)()(net, x_of(4), target).extra["read"]
    wanted = torch.zeros(4).double()
    wanted[expected] = 1 / len(expected)
    same(share, wanted.expand(2, 4))


def test_rows_that_are_read_at_other_places_are_told_apart() -> None:
    """GPT-2 is read at the token that the target names; padding is not read by a masked mean."""
    net, given = tiny("gpt2", "sdpa")
    result = pl.AttentionRollout()(net, given, pl.Token(position=2))
    assert result.extra["read"].tolist() == [[0, 0, 1, 0, 0]] * 2
    assert float(result.values["input_ids"][:, 3:].abs().max()) == 0
    model = pl.load("demo:sentences")
    pair = pl.AttentionRollout()(model, ["good food", "the waitress was not rude"])
    assert (pair.extra["read"] > 0).sum(1).tolist() == [4, 7]
    assert float(pair.values["input_ids"][0, 4:].abs().max()) == 0


# ---------------------------------------------------------------------------------------------------------------- flow


def test_flow_of_two_layers_by_hand() -> None:
    """From token 0: ½ stays, ¼ goes to each other token; then the pipes of the first layer limit it."""
    net = Told([[FIRST], [SECOND]])
    same(pl.AttentionFlow(token=0)(net, x_of(3)).values[0], [0.5 + 0.1, 0.2 + 0.25 + 0.25, 0.25 + 0.25])


def test_flow_through_a_bottleneck() -> None:
    """All look at token 1, which looks at itself; in the layer below, it looks at token 2 by a pipe of width 0.05."""
    below = [[1.0, 0.0, 0.0], [0.0, 0.9, 0.1], [0.0, 1.0, 0.0]]
    above = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    values = pl.AttentionFlow(token=0)(Told([[below], [above]]), x_of(3)).values
    same(values[0], [0.5, 0.5, 0.05])


def flow_by_program(layers: list[np.ndarray], read: np.ndarray, sink: int) -> float:
    """The maximum flow as a linear program."""
    n, depth = len(read), len(layers)
    edges = [(depth, i, 0.0, float(share)) for i, share in enumerate(read)]
    pipes = [(l, i, j, layers[l][i, j]) for l in range(depth) for i in range(n) for j in range(n)]  # noqa: E741
    names = [("in", i) for _, i, _, _ in edges] + [(l, i, j) for l, i, j, _ in pipes]  # noqa: E741
    limits = [(0, each[3]) for each in edges] + [(0, each[3]) for each in pipes]
    balance = np.zeros((depth * n, len(names)))
    gain = np.zeros(len(names))
    for column, name in enumerate(names):
        if name[0] == "in":
            balance[(depth - 1) * n + name[1], column] += 1
            continue
        level, above, below = name
        balance[level * n + above, column] -= 1
        if level:
            balance[(level - 1) * n + below, column] += 1
        elif below == sink:
            gain[column] = -1
        else:
            limits[column] = (0, 0)
    solved = linprog(gain, A_eq=balance, b_eq=np.zeros(len(balance)), bounds=limits, method="highs")
    return float(-solved.fun)


@pytest.mark.parametrize("reads", [0, None])
def test_flow_is_that_of_a_linear_program(reads: int | None) -> None:
    told = rows(4, 2, 3, seed=5) ** 4
    told = told / told.sum(-1, keepdim=True)
    layers = [(layer.mean(0).numpy() + np.eye(4)) / 2 for layer in told]
    read = np.full(4, 0.25) if reads is None else np.eye(4)[reads]
    values = pl.AttentionFlow()(Told(told, reads), x_of(4)).values
    same(values[0], [flow_by_program(layers, read, sink) for sink in range(4)])


# ----------------------------------------------------------------------------------------------------------- relevance


def test_relevance_of_one_layer_and_one_head_by_hand() -> None:
    """f = w·(x₀ + Σⱼ A₀ⱼ xⱼ), so ∂f/∂A₀ⱼ = w·xⱼ and Ā₀ⱼ = (A₀ⱼ w·xⱼ)⁺; no other row moves f."""
    told, x = rows(4), x_of(4)
    w = torch.tensor([0.5, -1.0, 2.0]).double()
    result = pl.AttentionRelevance()(Told(told, 0), x, pl.Function(lambda out: out @ w))
    expected = (told[0, 0, 0] * (x @ w)).clamp(min=0)
    same(result.values, expected)
    whole = torch.eye(4).double().repeat(2, 1, 1)
    whole[:, 0] += expected
    same(result.extra["matrix"], whole)


def slopes(net: nn.Module, given: Any, target: pl.Target, *names: str) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """For each kind of attention the (weights, slopes) of the layers, by eager attention of the model's own."""
    told = net(**given, output_attentions=True)
    groups = [getattr(told, name) for name in names]
    flat = [each for group in groups for each in group]
    found = iter(torch.autograd.grad(target.score(told, torch.arange(2)).sum(), flat))
    return [[(each.detach().double().numpy(), next(found).double().numpy()) for each in group] for group in groups]


def heads_mean(pair: tuple[np.ndarray, np.ndarray], row: int) -> np.ndarray:
    return np.maximum(pair[0][row] * pair[1][row], 0).mean(0)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_relevance_of_two_layers_is_that_of_a_slow_reference(kind: str) -> None:
    net, given = tiny(kind, "eager")
    fused, _ = tiny(kind, "sdpa")
    fused.load_state_dict(net.state_dict())
    token = -1 if kind == "gpt2" else 0
    target = pl.Function(lambda out: out.logits[:, -1, 3] if kind == "gpt2" else out.logits[:, 1])
    (layers,) = slopes(net, given, target, "attentions")
    result = pl.AttentionRelevance()(fused, given, target)
    for row in range(2):
        whole = np.eye(layers[0][0].shape[-1])
        for layer in layers:
            whole = whole + heads_mean(layer, row) @ whole
        same(result.extra["matrix"][row][token], whole[token], 1e-4)
        own = np.eye(len(whole))[token]
        values = result.values if kind == "vit" else result.values["input_ids"]
        same(values[row].flatten().double(), (whole[token] - own)[1 if kind == "vit" else 0 :], 1e-4)


def balanced(whole: np.ndarray) -> np.ndarray:
    """Equations 8 and 9."""
    rest = whole - np.eye(len(whole))
    total = rest.sum(1, keepdims=True)
    return np.divide(rest, total, out=np.zeros_like(rest), where=total > 0) + np.eye(len(whole))


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_relevance_of_an_encoder_and_a_decoder_is_that_of_a_slow_reference(kind: str) -> None:
    net, given = tiny(kind, "eager")
    given = given | {"attention_mask": torch.ones_like(MASK)}
    target = pl.Function(lambda out: out.logits[:, 1, 7] * 10)
    encoder, decoder, cross = slopes(net, given, target, "encoder_attentions", "decoder_attentions", "cross_attentions")
    result = pl.AttentionRelevance()(tiny(kind, "eager")[0], given, target)
    assert result.extra["read"].tolist() == [[0, 1, 0]] * 2
    for row in range(2):
        ee, dd, de = np.eye(5), np.eye(3), np.zeros((3, 5))
        for layer in encoder:
            ee = ee + heads_mean(layer, row) @ ee
        for own, other in zip(decoder, cross, strict=True):
            mixed = heads_mean(own, row)
            dd, de = dd + mixed @ dd, de + mixed @ de
            de = de + balanced(dd).T @ heads_mean(other, row) @ balanced(ee)
        same(result.extra["matrix"][row], de, 1e-4)
        same(result.values["input_ids"][row].double(), de[1], 1e-4)
        same(result.extra["own"][row], dd[1] - np.eye(3)[1], 1e-4)


class Both(nn.Module):
    """Two streams that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = (nn.MultiheadAttention(4, 2, batch_first=True) for _ in range(3))

    def forward(self, words: Tensor, places: Tensor) -> Tensor:
        words = words + self.one(words, places, places)[0]
        places = places + self.two(places, words, words)[0]
        words = words + self.last(words, places, places)[0]
        return words[:, 0]


def test_streams_that_look_at_each_other() -> None:
    """Equations 10 and 11, in the order of the calls."""
    torch.manual_seed(6)
    net = Both().double()
    given = (torch.randn(1, 3, 4).double(), torch.randn(1, 5, 4).double())
    result = pl.AttentionRelevance()(net, given, 1)
    from pellucid.core.method import question
    from pellucid.engines.attention import attentions

    found = attentions(question(net, given, 1), grad=True)
    a, b, c = ((each.slope * each.weights).clamp(min=0).mean(1)[0].numpy() for each in found)
    ss, tt, stt, ts = np.eye(3), np.eye(5), np.zeros((3, 5)), np.zeros((5, 3))
    stt, ss = stt + balanced(ss).T @ a @ balanced(tt), ss + a @ ts
    ts, tt = ts + balanced(tt).T @ b @ balanced(ss), tt + b @ stt
    stt, ss = stt + balanced(ss).T @ c @ balanced(tt), ss + c @ ts
    same(result.extra["matrix"][0], stt)
    same(result.extra["own"][0], ss[0] - np.eye(3)[0])


# --------------------------------------------------------------------------------------------------------------- norms


def test_norms_are_those_of_a_slow_reference() -> None:
    net, given = tiny("bert", "eager")
    told = net(**given, output_attentions=True, output_hidden_states=True)
    model = pl.Model(tiny("bert", "sdpa")[0])
    result, apart = pl.AttentionNorms()(model, given), pl.AttentionNorms(heads="each")(model, given)
    assert len(result.notes) == 1
    for number, layer in enumerate(net.bert.encoder.layer):
        hidden = told.hidden_states[number].detach().double()
        value = layer.attention.self.value
        v = (hidden @ value.weight.double().T + value.bias).unflatten(2, (4, 4))
        out = layer.attention.output.dense.weight.double().unflatten(1, (4, 4))
        carried = torch.einsum("bhij,bjhd,ehd->bhije", told.attentions[number].double(), v, out)
        same(result.values[:, number].double(), carried.sum(1).norm(dim=-1), 1e-4)
        same(apart.values[:, number].double(), carried.norm(dim=-1), 1e-4)


def test_norms_without_an_output_projection_are_those_of_the_values() -> None:
    told, x = rows(4, 2), x_of(4)
    result = pl.AttentionNorms(heads="each")(Told(told), x)
    same(result.values[:, 0], told * x.norm(dim=2)[:, None, None])
    assert any("no output projection" in note for note in result.notes)
    together = pl.AttentionNorms()(Told(told), x).values[:, 0]
    same(together, result.values[:, 0].square().sum(1).sqrt())


# ------------------------------------------------------------------------------------------------------------ pictures


def vision(kind: str, **options: Any) -> pl.Model:
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    torch.manual_seed(8)
    config = getattr(transformers, f"{kind}Config")(**size, patch_size=4, **options)
    net = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    return pl.Model(net, inputs=pl.Images(mean=(0.0,) * 3, std=(1.0,) * 3))


@pytest.mark.parametrize(
    ("kind", "image", "shape", "prefix"),
    [
        ("ViT", (16, 24), (16, 24), 1),
        ("ViT", (16, 16), (16, 16), 1),
        ("DeiT", (16, 24), (16, 24), 2),
        ("Dinov2WithRegisters", 24, (16, 24), 5),
        ("Dinov2WithRegisters", 24, (24, 8), 5),
    ],
)
def test_tokens_of_a_picture_become_a_map(kind: str, image: Any, shape: tuple[int, int], prefix: int) -> None:
    model, x = vision(kind, image_size=image), torch.rand(2, 3, *shape)
    high, wide = shape[0] // 4, shape[1] // 4
    for name in ("AttentionRollout", "AttentionRelevance"):
        result = getattr(pl, name)()(model, x)
        assert result.values.shape == (2, 1, high, wide)
        assert isinstance(result.figure(), Heat)
        assert result.figure().under is not None
        whole = (result.extra["read"][:, None] @ result.extra["matrix"])[:, 0]
        whole = whole - (result.extra["read"] if name == "AttentionRelevance" else 0)
        same(result.values.flatten(1).double(), whole[:, prefix:], 1e-5)
    weights = pl.AttentionWeights()(model, x)
    assert weights.extra["grid"] == (prefix, high, wide)
    assert weights.figure(1).values.shape == (2 * high, 4 * wide)
    drawn_one = weights.attention_figure(layer=1, head=2)
    assert isinstance(drawn_one, Heat)
    same(drawn_one.values, weights.values[0, 1, 2, 0, prefix:].reshape(high, wide).double())


class Unfolded(nn.Module):
    """Patches without a convolution, no class token."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(16, 8), nn.Linear(8, 3)
        self.body = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.before = nn.Parameter(torch.randn(1, extra, 8))

    def forward(self, x: Tensor) -> Tensor:
        patches = nn.functional.unfold(x, 4, stride=4).transpose(1, 2)
        tokens = torch.cat([self.before.expand(len(x), -1, -1), self.embed(patches)], 1)
        return self.head(self.body(tokens).mean(1))


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_the_grid_is_found_without_a_convolution(extra: int) -> None:
    result = pl.AttentionRollout()(Unfolded(extra), torch.rand(2, 1, 8, 20))
    assert result.values.shape == (2, 1, 2, 5)


def test_tokens_without_a_grid_are_refused() -> None:
    with pytest.raises(ShapeError, match="grid"):
        pl.AttentionRollout()(Unfolded(17), torch.rand(2, 1, 8, 20))


def test_the_evidence_of_a_picture_is_measured() -> None:
    model, x = vision("ViT", image_size=(16, 24)), torch.rand(1, 3, 16, 24)
    explained = pl.explain(model, x, methods=["AttentionRollout", "AttentionRelevance"])
    kinds = {check.kind for check in explained.results[0].evidence[0].checks}
    assert "faithfulness" in kinds
    assert explained.verdict in ("supported", "mixed", "not supported")


def test_the_evidence_of_a_sentence_is_measured() -> None:
    model = pl.load("demo:sentences")
    result = pl.AttentionRollout()(model, ["The rice was sticky and the waitress was rude."])
    assert result.top(1)[0][0] in ("rude", "sticky")
    assert pl.check(result, model).verdict == "supported"


# ------------------------------------------------------------------------------------------------------ figures, errors


def test_figures_of_sentences_name_the_tokens() -> None:
    result = pl.AttentionWeights()(pl.load("demo:sentences"), ["good food", "the food was not so good"])
    whole = result.figure(1)
    assert isinstance(whole, Heat)
    assert whole.values.shape == (2 * 8, 4 * 8)
    assert float(whole.values.max()) == 1
    assert "2 layers down, 4 heads across" in whole.caption
    one = result.attention_figure(row=1, layer=0, head=3)
    assert isinstance(one, Matrix)
    assert one.row_names == one.column_names == ("[CLS]", "the", "food", "was", "not", "so", "good", "[SEP]")
    same(one.values, result.array(1)[0, 3])
    same(result.attention_figure(layer=0).values, result.array(0)[0].mean(0))
    norms = pl.AttentionNorms()(pl.load("demo:sentences"), ["good food"])
    assert norms.figure().values.shape == (4, 2 * 4)
    same(norms.attention_figure(layer=1).values, norms.array()[1])
    for figure in (whole, one, norms.figure()):
        assert figure.html()
        assert figure.text()
        figure.plot()


def test_figures_that_are_not_there_are_refused() -> None:
    result = pl.AttentionWeights()(Told(rows(3)), x_of(3))
    for options in ({"layer": 1}, {"head": 1}, {"layer": -2, "head": 0}):
        with pytest.raises(InputError):
            result.attention_figure(**options)
    with pytest.raises(InputError, match="AttentionWeights"):
        pl.AttentionRollout()(Told(rows(3)), x_of(3)).attention_figure()


def test_a_saved_result_is_drawn_as_before(tmp_path: Path) -> None:
    result = pl.AttentionWeights()(vision("ViT", image_size=(16, 24)), torch.rand(1, 3, 16, 24))
    result.save(tmp_path / "looked.safetensors")
    again = pl.read_result(tmp_path / "looked.safetensors")
    same(again.figure().values, result.figure().values, 1e-6)
    assert dataclasses.replace(result, notes=()).notes == ()


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_be_followed_is_refused(name: str) -> None:
    method = getattr(pl, name)
    with pytest.raises(OptionError, match="token"):
        method(token=4)(Told(rows(4)), x_of(4))
    with pytest.raises(OptionError, match="layers="):
        method()(nn.Sequential(Told(rows(4))), x_of(4), at="0")
    with pytest.raises(LayerError, match="BlackBox"):
        method()(pl.BlackBox(lambda x: x.sum((1, 2))), torch.rand(2, 3, 4))
    net, given = tiny("bart", "sdpa")
    if name == "AttentionRelevance":
        return
    with pytest.raises(LayerError) as caught:
        method()(net, given, pl.Token())
    assert "layers=" in caught.value.do
    encoder = method(layers=r"\.encoder\.")(net, given, pl.Token())
    assert encoder.values["input_ids"].shape == IDS.shape
    with pytest.raises(ShapeError, match="layers="):
        method(layers=r"decoder\.layers\.\d\.self_attn")(net, given, pl.Token())


def test_windows_are_refused_and_their_weights_given() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[2], num_heads=[2], window_size=4)
    net, x = transformers.SwinForImageClassification(config).eval(), torch.rand(2, 3, 16, 16)
    for name in ("AttentionRollout", "AttentionRelevance"):
        with pytest.raises(LayerError, match="windows"):
            getattr(pl, name)()(net, x)
    assert pl.AttentionWeights()(net, x).values.shape == (2, 2, 4 * 2, 16, 16)
