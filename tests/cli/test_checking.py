"""`pellucid check --fail-under`: what a build may ask of explanations of ours, of saved ones, and of others'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli.limits import Limit, limits
from pellucid.errors import OptionError

Pellucid = Callable[..., Any]
CANCER = ("check", "--model", "demo:breast-cancer")


@pytest.fixture
def explained(folder: Path) -> pl.Attribution:
    """A right explanation of a bundled model, saved as a result and as arrays; the row it explains."""
    model = pl.load("demo:breast-cancer")
    demo = model.modality
    row = np.asarray(demo.background)[2:3]
    np.save("row.npy", row)
    heat = pl.IntegratedGradients()(model, row)
    heat.save("heat.safetensors")
    np.save("heat.npy", heat.array()[None])
    np.save("wrong.npy", -heat.array()[None])
    np.savez("heat.npz", values=heat.array()[None], names=np.arange(3))
    return heat


def target(heat: pl.Attribution) -> str:
    """The explained class by number."""
    return str(next(i for i, name in enumerate(("malignant", "benign")) if name in heat.target_words()))


def test_a_saved_result_is_checked_against_its_model(explained: pl.Attribution, pellucid: Pellucid) -> None:
    ran = pellucid(*CANCER, "--explanation", "heat.safetensors", "--fail-under", "MuFidelity=0.5", "--json")
    assert ran.code == 0, ran.err
    (answer,) = ran.json["evidence"]
    assert answer["method"] == "heat.safetensors"
    assert answer["metrics"]["MuFidelity"] > 0.5
    assert answer["verdict"] == pl.check(explained, pl.load("demo:breast-cancer")).verdict


@pytest.mark.parametrize("file", ["heat.npy", "heat.npz"])
def test_maps_from_elsewhere(explained: pl.Attribution, pellucid: Pellucid, file: str) -> None:
    ran = pellucid(*CANCER, "--input", "row.npy", "--explanation", file, "--target", target(explained), "--json")
    assert ran.code == 0, ran.err
    assert ran.json["evidence"][0]["verdict"] in ("supported", "mixed")


def test_a_wrong_map_fails_the_build(explained: pl.Attribution, pellucid: Pellucid) -> None:
    asked = (*CANCER, "--input", "row.npy", "--explanation", "wrong.npy", "--target", target(explained))
    ran = pellucid(*asked, "--fail-under", "mixed", "--fail-under", "0.3", "--json")
    assert ran.code == 1
    assert ran.json["passed"] is False
    assert ran.json["evidence"][0]["missed"] == ["mixed", "0.3"]
    told = pellucid(*asked, "--fail-under", "MuFidelity=0.3")
    assert told.code == 1
    assert "failed: 1 of 1" in told.out
    assert "wrong.npy, row 0: below MuFidelity=0.3" in told.out
    assert pellucid(*asked, "--fail-under", "not-supported").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--explanation", "nowhere.npy", "--input", "row.npy"), "no file"),
        (("--explanation", "heat.npy"), "Say --input"),
        (("--method", "Saliency"), "Say --input"),
        (("--explanation", "rows.csv"), ".safetensors"),
        (("--explanation", "heat.npy", "--input", "row.npy", "--at", "0"), "--at with --method"),
        (("--explanation", "heat.safetensors", "--fail-under", "MuFidelty=1"), "MuFidelity"),
        (("--explanation", "heat.safetensors", "--fail-under", "MuFidelity=high"), "a verdict, or METRIC=NUMBER"),
        (("--explanation", "heat.safetensors", "--fail-under", "nan"), "a verdict, or METRIC=NUMBER"),
    ],
)
def test_what_cannot_be_answered(
    explained: pl.Attribution, pellucid: Pellucid, arguments: tuple[str, ...], words: str
) -> None:
    ran = pellucid(*CANCER, *arguments)
    assert ran.code == 2
    assert words in ran.err


def test_a_limit() -> None:
    supported, number = limits(("not-testable", "MuFidelity=0.3"))
    assert [supported.reached(each, {}) for each in ("supported", "not testable", "not supported")] == [
        True,
        True,
        False,
    ]
    assert [number.reached("supported", {"MuFidelity": each}) for each in (0.3, 0.29, None)] == [True, False, False]
    with pytest.raises(OptionError):
        limits(("suported",))


def test_a_metric_whose_less_is_better() -> None:
    class Roughness:
        better = "lower"

    limit = Limit("Roughness=0.2", metric=Roughness, number=0.2)
    assert [limit.reached("supported", {"Roughness": each}) for each in (0.1, 0.3)] == [True, False]
