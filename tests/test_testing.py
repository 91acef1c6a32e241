"""The plugin of pytest: references are written, compared with, and told apart from what moved."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pellucid as pl
from pellucid.core.result import MethodNote
from pellucid.evaluate.verdict import WORST_FIRST
from pellucid.testing import Explanations, assert_ignores, assert_verdict, fits

pytest_plugins = ("pytester",)
PLUGIN = ("-p", "pellucid.testing", "-p", "no:cacheprovider")
WEIGHTS = [3.0, -2.0, 1.5, 0.5, -1.0, 0.2, 4.0, -0.7]
SUITE = """
import torch, pellucid as pl

def test_same(explanations):
    heat = pl.InputXGradient()(torch.nn.Linear(3, 1), torch.ones(1, 3))
    explanations.assert_same(heat, "weights")
    explanations.update = False
    explanations.assert_same(heat, "weights")
    explanations.assert_ignores(heat, [True] * 3)
"""


def heat(weights: list[float], x: float = 1.0) -> pl.Attribution:
    """The exact map of a linear model."""
    net = torch.nn.Linear(8, 1).requires_grad_(False)
    net.weight[:] = torch.tensor(weights)
    made: pl.Attribution = pl.InputXGradient()(net, torch.full((1, 8), x))
    return made


def test_the_plugin_in_a_run_of_its_own(pytester: pytest.Pytester) -> None:
    """In a process of its own: modules imported anew in this one would be other ones."""
    pytester.makeini("[pytest]\npellucid_references = kept/here\nfilterwarnings = error")
    pytester.makepyfile(test_suite=SUITE)
    ran = pytester.runpytest_subprocess(*PLUGIN, "--pellucid-update")
    ran.assert_outcomes(passed=0, failed=1)
    ran.stdout.fnmatch_lines(["*the explanation looks where it should not: row 0: 100.0%, above 5.0%*"])
    assert [each.name for each in (pytester.path / "kept" / "here").iterdir()] == ["weights.safetensors"]


def test_a_reference_is_written_and_compared_with(tmp_path: Path) -> None:
    kept, right = Explanations(tmp_path / "kept"), heat(WEIGHTS)
    with pytest.raises(pytest.fail.Exception, match=r"no reference 'weights' yet\. Run pytest --pellucid-update"):
        kept.assert_same(right, "weights")
    assert not (tmp_path / "kept").exists()
    Explanations(tmp_path / "kept", update=True).assert_same(right, "weights")
    kept.assert_same(right, "weights")
    kept.assert_same(heat([*WEIGHTS[:-1], -0.71]), "weights")
    kept.assert_same(heat([*WEIGHTS[:-1], 0.71]), "weights", rank_correlation=0.6)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (heat(WEIGHTS[::-1]), "weights moved: rank correlation row 0: .*, below 0.9. If this is meant"),
        (heat(WEIGHTS, 2.0), "its inputs are not those of the reference"),
        (replace(heat(WEIGHTS), method=MethodNote(name="Other")), "made by Other, the reference by InputXGradient"),
        (replace(heat(WEIGHTS), target=pl.Class(1)), "the reference"),
        (replace(heat(WEIGHTS), values=torch.ones(1, 7)), r"\(1, 7\), those of the reference \(1, 8\)"),
        (replace(heat(WEIGHTS), values=torch.ones(1, 8)), "row 0: 0.000"),
    ],
)
def test_what_moved_is_said(made: pl.Attribution, words: str, tmp_path: Path) -> None:
    Explanations(tmp_path, update=True).assert_same(heat(WEIGHTS), "weights")
    with pytest.raises(pytest.fail.Exception, match=words):
        Explanations(tmp_path).assert_same(made, "weights")


def test_a_reference_lies_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="named by letters"):
        Explanations(tmp_path, update=True).assert_same(heat(WEIGHTS), "../weights")


def test_the_plugin_imports_nothing_heavy() -> None:
    script = "import pellucid.testing, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_a_map_ignores_what_it_has_no_values_in() -> None:
    values = torch.zeros(2, 1, 4, 4)
    values[:, :, 2:, 2:] = -1.0
    corner = torch.zeros(4, 4, dtype=torch.bool)
    corner[:2, :2] = True
    assert_ignores(values, corner)
    assert_ignores(torch.zeros(2, 1, 4, 4), corner)
    with pytest.raises(pytest.fail.Exception, match=r"row 1: 50\.0%"):
        assert_ignores(torch.cat([values[:1], values[:1] + values[:1].flip(2, 3)]), corner)
    with pytest.raises(pytest.fail.Exception, match="shape of the values"):
        assert_ignores(values, torch.ones(3, 3))


@pytest.mark.parametrize(
    ("mask", "values", "right"),
    [((4, 4), (2, 3, 4, 4), True), ((2, 1, 4, 4), (2, 3, 4, 4), True), ((2, 3, 4, 4), (2, 3, 4, 4), True),
     ((3, 4, 4), (2, 3, 4, 4), True), ((2, 4, 4), (2, 3, 4, 4), False), ((5,), (2, 5), True), ((), (2, 5), False)],
)  # fmt: skip
def test_shapes_of_masks(mask: tuple[int, ...], values: tuple[int, ...], right: bool) -> None:
    assert fits(mask, values) is right


def test_verdicts_are_ordered() -> None:
    made = {word: pl.Evidence(verdict=word, words="so it is", checks=()) for word in WORST_FIRST}
    assert_verdict(made["supported"])
    assert_verdict([made["supported"], made["mixed"]], "mixed")
    assert_verdict(made["not testable"], "not supported")
    for evidence, wanted in ((made["mixed"], "supported"), ((made["supported"], made["not supported"]), "mixed")):
        with pytest.raises(pytest.fail.Exception, match="so it is"):
            assert_verdict(evidence, wanted)
    with pytest.raises(pytest.fail.Exception, match="a verdict is one of"):
        assert_verdict(made["mixed"], "good")
    with pytest.raises(pytest.fail.Exception, match="no evidence"):
        assert_verdict(())
