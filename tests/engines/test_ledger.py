"""The ledger and its audit: what was met, what arrived at each operation, and what it handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from pellucid.attribution.propagation.lrp import PRESETS
from tests.nets import BY_NAME, CASES


def audit(net: nn.Module, x: Any, composite: Any = "epsilon", target: Any = 1) -> tuple[pl.Attribution, dict[Any, Any]]:
    result = pl.LRP(composite, audit=True)(net, x, target=target)
    plain = pl.LRP(composite)(net, x, target=target)
    torch.testing.assert_close(result.values, plain.values, rtol=1e-12, atol=1e-14)
    assert result.extra["ledger"] == plain.extra["ledger"]
    return result, {(row[0], row[1]): row[2:] for row in result.extra["audit"]}


class Free(nn.Module):
    """Residual, in-place, reused, concatenated and multiplied parts, and no bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.again = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(2 * 6 * 16, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for _ in range(2):
            y = self.again(x)
            y += x
            x = functional.relu(y, inplace=True)
        x = x + x * torch.sigmoid(x) + x.mul(x)
        x = functional.max_pool2d(x, 3, 2, 1)
        one, two = x.chunk(2, 1)
        return self.head(torch.cat([two, one, x], 1).flatten(1))


X = torch.rand(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("memory", ["400 MB", 1])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_without_biases_nothing_is_lost_anywhere(preset: str, memory: Any) -> None:
    with pl.settings(memory=memory):
        result, rows = audit(Free().double(), X, preset)
    assert {"conv2d", "relu", "add_", "mul", "cat", "chunk", "max_pool2d", "linear"} <= {name for name, _ in rows}
    for (name, path), (arrived, handed, lost) in rows.items():
        assert abs(lost) < 1e-4, (name, path)
        assert arrived == pytest.approx(handed, rel=1e-3, abs=1e-4)
    assert rows["linear", "head"][0] == pytest.approx(float(result.score.sum()), rel=1e-9)
    assert rows["conv2d", "stem"][1] == pytest.approx(float(result.values.sum()), rel=1e-6)


def test_a_bias_keeps_its_share_where_it_stands() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2)).double()
    x = torch.rand(1, 4, dtype=torch.float64)
    result, rows = audit(net, x, "zero")
    bias, score = float(net[2].bias[1].detach()), float(result.score)
    assert rows["linear", "2"] == pytest.approx((score, score - bias, bias / abs(score)))
    assert rows["linear", "0"][2] == pytest.approx(0, abs=1e-12)
    assert rows["relu", "1"][2] == pytest.approx(0, abs=1e-12)
    assert result.extra["audit"][0][:2] == ("linear", "2")
    assert 1 - float(result.extra["conserved"]) == pytest.approx(bias / score)


def test_a_batch_norm_is_booked_with_the_convolution_it_is_folded_into() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2, bias=False)
    ).double()
    result, rows = audit(net, torch.rand(2, 2, 8, 8).double(), "z-plus")
    assert rows["batch_norm", "1"][1] == pytest.approx(float(result.values.sum()), rel=1e-9)
    assert ("conv2d", "0") not in rows
    assert sum(lost for _, _, lost in rows.values()) == pytest.approx(
        float((result.score - result.values.flatten(1).sum(1)).sum() / result.score.abs().sum()), rel=1e-6
    )


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_the_losses_add_up_to_what_does_not_reach_the_inputs(case: str) -> None:
    """Every operation on the way is seen, attention's parts one by one, whatever leaks."""
    net, given = BY_NAME[case].net(), BY_NAME[case].given()
    result, rows = audit(net, given, "epsilon", target=0)
    values = sum(float(each.sum()) for each in torch.utils._pytree.tree_leaves(result.values))
    lost = sum(arrived - handed for arrived, handed, _ in rows.values())
    assert lost == pytest.approx(float(result.score.sum()) - values, rel=1e-6, abs=1e-9)
    if case == "attention":
        leaks = {name for (name, _), row in rows.items() if abs(row[2]) > 1e-3}
        assert "softmax" in leaks
        assert "scaled_dot_product_attention" not in {name for name, _ in rows}


def test_layer_norm_loses_what_it_centers_away() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.LayerNorm(6), nn.Linear(6, 2, bias=False)).double()
    nn.init.uniform_(net[1].bias, 0.2, 0.4)
    _, rows = audit(net, torch.rand(2, 4).double(), "zero")
    bias = float((net[2].weight[1] @ net[1].bias).detach()) * 2
    assert rows["layer_norm", "1"][0] - rows["layer_norm", "1"][1] == pytest.approx(bias, rel=1e-6)


def test_several_targets_have_audits_of_their_own() -> None:
    net, method = Free().double(), pl.LRP(audit=True)
    for target, mine in enumerate(method.each(net, X, [0, 1, 2])):
        alone = method(net, X, target)
        assert [row[:2] for row in mine.extra["audit"]] == [row[:2] for row in alone.extra["audit"]]
        for a, b in zip(mine.extra["audit"], alone.extra["audit"], strict=True):
            assert a[2:] == pytest.approx(b[2:], rel=1e-9, abs=1e-9)


def test_the_ledger_and_the_audit_are_kept_in_files(tmp_path: Path) -> None:
    result, _ = audit(Free().double(), X)
    result.save(tmp_path / "heat.safetensors")
    again = pl.read_result(tmp_path / "heat.safetensors")
    for name in ("ledger", "audit"):
        assert [tuple(row) for row in again.extra[name]] == [tuple(row) for row in result.extra[name]]
    torch.testing.assert_close(again.extra["conserved"], result.extra["conserved"])


def test_the_report_shows_the_books_as_small_tables(tmp_path: Path) -> None:
    from pellucid.report.books import met

    net = BY_NAME["attention"].model()
    explained = pl.explain(net, BY_NAME["attention"].given()[:1], 1, methods=[pl.LRP(audit=True), pl.Saliency()])
    result = explained.results[0]
    ledger, audit = met(result)
    assert ("softmax", "approximated", "gradient", 1) in ledger.rows
    assert ledger.caption.endswith("kinds approximated.")
    assert all(row[4].endswith("\u00a0%") for row in audit.rows)
    assert met(explained.results[1]) == ()
    page = explained.html()
    assert page.count('<details class="met">') == 1
    assert "What it went back through" in page
    result.save(tmp_path / "heat.safetensors")
    again = met(pl.read_result(tmp_path / "heat.safetensors"))
    assert [sheet.rows for sheet in again] == [ledger.rows, audit.rows]


def test_a_run_without_losses_says_so() -> None:
    from pellucid.report.books import audit as losses

    sheet = losses([("relu_", "act", 1.0, 1.0, 0.0)])
    assert sheet.rows == (("all", "–", "–", "–", "0.0\u00a0%"),)
    assert "No relevance stays" in sheet.caption
