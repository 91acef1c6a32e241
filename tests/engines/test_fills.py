"""What takes the place of a hidden part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.method import question
from pellucid.engines.fills import as_fill, baseline, blurred
from pellucid.errors import OptionError, PellucidError, ShapeError
from tests.nets import BY_NAME

PICTURES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FLAT = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))


def ask(x: Any = PICTURES, net: nn.Module = FLAT, **options: Any) -> Any:
    return question(pl.Model(net, **options), x)


def test_constants() -> None:
    assert torch.equal(pl.Zeros()(ask()), torch.zeros(1, 2, 3, 8, 8))
    assert torch.equal(pl.Constant(0.5)(ask()), torch.full((1, 2, 3, 8, 8), 0.5))
    channel = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    assert torch.equal(pl.Constant(channel)(ask())[0, 1], channel.expand(3, 8, 8))
    assert torch.equal(as_fill(PICTURES * 2)(ask())[0], PICTURES * 2)
    assert torch.equal(as_fill(np.ones(8))(ask()), torch.ones(1, 2, 3, 8, 8))
    assert as_fill(None) == pl.Zeros()
    assert pl.Constant(1) == pl.Constant(1.0)
    assert pl.Constant(1) != pl.Constant(2)


def test_a_number_keeps_its_digits() -> None:
    x = torch.zeros(1, 5, dtype=torch.float64)
    found = as_fill(0.1)(question(pl.Model(BY_NAME["mlp"].net()), x))
    assert float(found[0, 0, 0]) == 0.1


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("blur", OptionError),
        ({"a": 1}, OptionError),
        (float("nan"), OptionError),
        (torch.tensor(float("inf")), OptionError),
        (torch.zeros(3, 8, 9), ShapeError),
        (torch.zeros(4, 3, 8, 8), ShapeError),
        (torch.zeros(1, 2, 3, 8, 8), ShapeError),
        (pl.Marginal(), OptionError),
        (pl.Marginal(torch.zeros(4, 3, 8, 9)), PellucidError),
        (pl.MaskToken(), ShapeError),
    ],
    ids=str,
)
def test_fills_that_do_not_fit(given: Any, kind: type[Exception]) -> None:
    for method in (pl.KernelSHAP(fill=given), pl.IntegratedGradients(baseline=given)):
        with pytest.raises(kind) as caught:
            method(FLAT, PICTURES)
        error: Any = caught.value
        assert error.expected
        assert error.do


def test_channel_means_and_table_means() -> None:
    torch.testing.assert_close(pl.Mean()(ask())[0], PICTURES.mean((2, 3), keepdim=True).expand(2, 3, 8, 8))
    assert torch.equal(pl.Mean()(ask(torch.rand(2, 3), nn.Linear(3, 1))), torch.zeros(1, 2, 3))
    table = pl.Table(columns=("a", "b"), categories={"b": ("x", "y")}, background=[[1.0, "y"], [3.0, "y"], [8.0, "x"]])
    probe = question(pl.Model(nn.Linear(2, 1), inputs=table), [[0.0, "x"]])
    assert pl.Mean()(probe).tolist() == [[[4.0, 1.0]]]
    assert pl.Marginal()(probe).tolist() == [[[1.0, 1.0]], [[3.0, 1.0]], [[8.0, 0.0]]]
    assert len(pl.Marginal(most=2)(probe)) == 2


def test_blur() -> None:
    found = pl.Blur(1.5)(ask())[0]
    assert found.shape == PICTURES.shape
    assert float(found.std()) < float(PICTURES.std())
    flat = torch.full((1, 1, 6, 7), 3.0)
    torch.testing.assert_close(blurred(flat, 2.0), flat)
    torch.testing.assert_close(blurred(PICTURES, 0.0), PICTURES)
    torch.testing.assert_close(blurred(PICTURES, 1.0).mT, blurred(PICTURES.mT, 1.0))
    narrow = torch.rand(1, 2, 1, 9)
    assert blurred(narrow, 3.0).shape == narrow.shape
    assert blurred(torch.rand(1, 2, 1), 3.0).shape == (1, 2, 1)
    with pytest.raises(ShapeError):
        pl.Blur()(ask(torch.rand(2, 3), nn.Linear(3, 1)))


def test_noise_belongs_to_the_seed_and_to_each_row() -> None:
    first = pl.Noise(variants=3)(ask())
    assert first.shape == (3, 2, 3, 8, 8)
    assert torch.equal(first, pl.Noise(variants=3)(ask()))
    torch.testing.assert_close(pl.Noise(variants=3)(ask(PICTURES[1:])), first[:, 1:])
    with pl.settings(seed=1):
        assert not torch.equal(first, pl.Noise(variants=3)(ask()))
    many = pl.Noise(variants=300)(ask())
    torch.testing.assert_close(many.mean((0, 3, 4)), PICTURES.mean((2, 3)), atol=0.02, rtol=0)


def test_a_fill_is_carried_to_a_hidden_layer() -> None:
    case = BY_NAME["mlp"]
    net, x = case.net(), case.given()
    inside = question(pl.Model(net), x, at="1")
    torch.testing.assert_close(pl.Zeros()(inside)[0], net[:2](torch.zeros_like(x)).detach())
    torch.testing.assert_close(pl.Constant(0.5)(inside)[0], net[:2](torch.full_like(x, 0.5)).detach())
    unit = torch.arange(6.0).double()
    torch.testing.assert_close(pl.Constant(unit)(inside)[0], unit.expand(3, 6))
    assert baseline(pl.Marginal(x), inside).shape == (3, 6)


def test_tokens_are_replaced_by_padding_or_the_mask() -> None:
    case = BY_NAME["ids"]
    probe = question(pl.Model(case.net()), case.given(), discrete=True)
    assert torch.equal(pl.Zeros()(probe), torch.zeros(1, 3, 5, dtype=torch.long))
    embedded = question(pl.Model(case.net()), case.given())
    assert torch.equal(pl.Zeros()(embedded), torch.zeros(1, 3, 5, 4, dtype=torch.float64))  # the padding row is zero


@pytest.mark.parametrize(
    "fill", [pl.Zeros(), pl.Constant(0.3), pl.Mean(), pl.Blur(), pl.Noise(), pl.Marginal(PICTURES)]
)
def test_every_fill_says_what_it_assumes_and_serves_every_game(fill: Any) -> None:
    assert fill.assumes
    result = pl.KernelSHAP(fill=fill, features=pl.Patches(2), budget=64)(FLAT, PICTURES)
    torch.testing.assert_close(result.values.flatten(1).sum(1), result.score - result.base_score, rtol=1e-4, atol=1e-5)
    assert result.extra["hidden_by"] == type(fill).__name__


def test_a_deleted_token_is_seen_by_no_other() -> None:
    """The score with words deleted is that of the text whose words are masked out, its places kept."""
    model, text = pl.load("demo:sentences"), "Not a very good film."
    given = model.modality.prepare(text)
    game = pl.Ablation(fill=pl.DeleteToken(), features=pl.Tokens()).game(model, text, target="positive")
    shown = np.ones((1, game.n), dtype=bool)
    shown[0, 0] = False
    ids, mask = given["input_ids"].clone(), given["attention_mask"].clone()
    place = int((~model.modality.special(ids[0])).nonzero()[0])
    ids[0, place], mask[0, place] = model.modality.pad_id, 0
    with torch.no_grad():
        answer = model({"input_ids": ids, "attention_mask": mask})
    score = pl.Ablation()(model, {"input_ids": ids, "attention_mask": mask}, target="positive").score
    assert answer is not None
    assert game(shown)[0] == pytest.approx(float(score[0]), abs=1e-5)
    masked = pl.Ablation(fill=pl.MaskToken(), features=pl.Tokens()).game(model, text, target="positive")(shown)
    assert abs(masked[0] - game(shown)[0]) > 1e-4
    with pytest.raises(ShapeError, match="attention_mask"):
        pl.Ablation(fill=pl.DeleteToken())(model, {"input_ids": given["input_ids"]})


@pytest.mark.parametrize("fill", [pl.Zeros(), pl.Mean(), pl.Marginal()])
def test_a_report_says_what_a_fill_assumes(fill: Any) -> None:
    model = pl.load("demo:breast-cancer")
    rows = np.asarray(model.modality.background)[:1]
    page = pl.explain(model, rows, methods=[pl.Ablation(fill=fill)]).html()
    assert f"hides parts by {type(fill).__name__}, which assumes {fill.assumes}" in " ".join(page.split())
