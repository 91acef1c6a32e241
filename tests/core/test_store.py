"""Results on disk: what is written comes back; files that are broken, hostile or newer are one clear error."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import pellucid as pl
from pellucid.core.evidence import Check, Control, Evidence
from pellucid.errors import LoadError
from tests.nets import BY_NAME
from tests.small import at_of, pairs, small


def saved(result: pl.Attribution, path: Path) -> pl.Attribution:
    result.save(path)
    return pl.read_result(path)


def equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            equal(a, b)
    elif one is None:
        assert other is None
    else:
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "case"), pairs())
def test_a_result_comes_back(name: str, case: str, tmp_path: Path) -> None:
    kept = BY_NAME[case]
    result = small(name)(kept.model(classes=("a", "b", "c")), kept.given(), at=at_of(name, kept))
    again = saved(result, tmp_path / "result.safetensors")
    for part in ("values", "inputs", "score", "base_score", "gap", "standard_error"):
        equal(getattr(result, part), getattr(again, part))
    for part in ("receipt", "about", "at", "notes", "evidence"):
        assert getattr(again, part) == getattr(result, part)
    assert again.method.name == result.method.name
    assert again.method.laws == result.method.laws
    assert [again.target_words(i) for i in range(3)] == [result.target_words(i) for i in range(3)]
    assert again.words(1) == result.words(1)
    assert again.top(3) == result.top(3)
    assert again.figure().html()
    assert [path.name for path in tmp_path.iterdir()] == ["result.safetensors"]
    saved(again, tmp_path / "again.safetensors")


def test_evidence_comes_back(tmp_path: Path) -> None:
    check = Check(
        name="n",
        kind="k",
        question="q?",
        value=0.5,
        better="higher",
        passed=True,
        reason="r",
        interval=(0.1, 0.9),
        control=Control(kind="c", n=9, median=0.1, q95=0.2),
        p=0.01,
        options={"a": 1},
    )
    evidence = Evidence(verdict="mixed", words="w", checks=(check, replace(check, control=None, interval=None)))
    case = BY_NAME["mlp"]
    result = replace(pl.Saliency()(case.net(), case.given()), evidence=(evidence,) * 3)
    assert saved(result, tmp_path / "x").evidence == result.evidence


MODALITIES = {
    "image": (pl.Images(mean=(0.5,), std=(0.25,), size=(4, 4)), np.full((4, 4), 100, np.uint8), (1, 4, 4)),
    "series": (pl.Series(channels=("left",), rate=10.0), np.ones(6), (1, 6)),
    "table": (
        pl.Table(columns=("a", "b"), categories={"b": ("x", "y")}, mean=(1.0, 0.0), std=(2.0, 1.0), units={"a": "kg"}),
        [[3.0, "y"]],
        (2,),
    ),
}


@pytest.mark.parametrize("kind", MODALITIES)
def test_the_kind_of_input_comes_back(kind: str, tmp_path: Path) -> None:
    modality, given, shape = MODALITIES[kind]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(torch.Size(shape).numel(), 2))
    result = pl.InputXGradient()(pl.Model(net, inputs=modality), given)
    again = saved(result, tmp_path / "x.safetensors")
    assert type(again.modality) is type(modality)
    assert again.top() == result.top()
    assert again.figure().html() == result.figure().html()
    if kind == "table":
        assert again.modality.details(again.input_array()) == ("3 kg", "y")


def test_a_sentence_comes_back(tmp_path: Path) -> None:
    def good(texts: list[str]) -> list[float]:
        return [float("good" in each) for each in texts]

    result = pl.KernelSHAP()(pl.BlackBox(good, inputs=pl.Text()), "a <b>good</b> film")
    again = saved(result, tmp_path / "x")
    assert again.top(4) == result.top(4)
    assert "<b>" not in again._repr_html_()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    case = BY_NAME["mlp"]
    path = tmp_path / "good.safetensors"
    pl.IntegratedGradients()(case.net(), case.given()).save(path)
    return path


def changed(path: Path, *, drop: str = "", **header: Any) -> Path:
    """The same file with some of its header or arrays replaced."""
    with safe_open(path, "pt") as file:
        whole = json.loads(file.metadata()["pellucid"])
        arrays = {name: file.get_tensor(name) for name in file.keys() if name != drop}  # noqa: SIM118
    other = path.with_name("changed.safetensors")
    save_file(arrays, other, metadata={"pellucid": json.dumps(whole | header)})
    return other


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": None},
        {"schema": "1"},
        {"method": {}},
        {"method": []},
        {"method": {"name": "x", "laws": 3}},
        {"receipt": {"rows": 1}},
        {"receipt": None},
        {"modality": {}},
        {"modality": {"kind": "os.system"}},
        {"modality": {"kind": "image", "mean": "x"}},
        {"modality": {"kind": "table"}},
        {"modality": {"kind": "text"}},
        {"evidence": [1]},
        {"evidence": [{"checks": [{}]}]},
        {"evidence": None},
        {"target": 3},
        {"about": None},
        {"notes": 4},
        {"drop": "score"},
        {"drop": "values"},
        {"drop": "inputs"},
    ],
    ids=str,
)
def test_headers_that_lie(written: Path, change: dict[str, Any]) -> None:
    with pytest.raises(LoadError) as caught:
        pl.read_result(changed(written, **change))
    assert caught.value.expected
    assert caught.value.got
    assert caught.value.do


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3", '"x"', "{", "[" * 50_000, '{"schema":1}', "\x00"])
def test_headers_that_are_no_header(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    save_file({"values": torch.zeros(1)}, path, metadata={"pellucid": text})
    with pytest.raises(LoadError):
        pl.read_result(path)


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    save_file({"values": torch.zeros(1)}, path)
    with pytest.raises(LoadError):
        pl.read_result(path)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(LoadError):
            pl.read_result(missing)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    torch.save(Evil(), tmp_path / "x.safetensors")
    with pytest.raises(LoadError):
        pl.read_result(tmp_path / "x.safetensors")
    assert not ran.exists()


@given(cut=st.floats(0, 0.999), flip=st.integers(0, 10**6))
def test_files_that_were_cut_or_damaged(tmp_path_factory: pytest.TempPathFactory, cut: float, flip: int) -> None:
    """Cut: an error. One byte changed: an error, or a result; never anything else."""
    folder = tmp_path_factory.mktemp("files")
    case = BY_NAME["mlp"]
    path = folder / "good"
    pl.Saliency()(case.net(), case.given()).save(path)
    whole = path.read_bytes()
    (folder / "cut").write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(LoadError):
        pl.read_result(folder / "cut")
    damaged = bytearray(whole)
    damaged[flip % len(damaged)] ^= 0xFF
    (folder / "damaged").write_bytes(damaged)
    with contextlib.suppress(LoadError):
        assert isinstance(pl.read_result(folder / "damaged"), pl.Attribution)


def test_a_header_that_claims_to_be_huge(written: Path) -> None:
    whole = written.read_bytes()
    for size in (2**40, 2**63, 11 * 2**20):
        written.write_bytes(size.to_bytes(8, "little") + whole[8:])
        with pytest.raises(LoadError, match="header"):
            pl.read_result(written)


def test_saving_where_nothing_can_be_saved(tmp_path: Path) -> None:
    case = BY_NAME["mlp"]
    result = pl.Saliency()(case.net(), case.given())
    with pytest.raises(LoadError):
        result.save(tmp_path / "no" / "folder" / "x")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_file(written: Path) -> None:
    case = BY_NAME["mlp"]
    result = pl.Saliency()(case.net(), case.given())
    assert saved(result, written).method.name == "Saliency"


def test_what_a_method_tells_beside_its_values_is_kept(tmp_path: Path) -> None:
    """Pairs that act together, names of parts, also of sentences that were asked one by one."""
    model = pl.load("demo:breast-cancer")
    rows = torch.randn(2, 30, generator=torch.Generator().manual_seed(0))
    pairs = pl.ShapleyInteractions(budget=300)(model, rows)
    pairs.save(tmp_path / "pairs.safetensors")
    again = pl.read_result(tmp_path / "pairs.safetensors")
    assert torch.equal(again.extra["interactions"], pairs.extra["interactions"])
    assert again.extra["names"] == pairs.extra["names"]
    assert again.interactions_figure().text() == pairs.interactions_figure().text()
    words = pl.KernelSHAP()(pl.load("demo:sentences"), ["A good film.", "Not a very good film at all."])
    words.save(tmp_path / "words.safetensors")
    told = pl.read_result(tmp_path / "words.safetensors").extra
    assert [len(each.ravel()) for each in told["players"]] == [len(each) for each in told["names"]]
    assert told["names"][0] == words.extra["names"][0]


def test_terms_of_three_parts_keep_their_parts(tmp_path: Path) -> None:
    result = pl.ShapleyInteractions(order=3).play(lambda z: 6.0 * z[:, 0] * z[:, 1] * z[:, 2] + z[:, 3], 4)
    result.save(tmp_path / "terms.safetensors")
    terms = pl.read_result(tmp_path / "terms.safetensors").extra["terms"]
    assert float(terms[0, 1, 2]) == pytest.approx(6.0)
    assert set(terms) == set(result.extra["terms"])
