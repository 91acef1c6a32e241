"""A plugin of pytest: explanations as regression tests. Nothing heavy is imported before a test asks for it.

``pytest --pellucid-update`` writes the references that ``explanations.assert_same`` compares with.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = "explanations"
NAME = re.compile(r"[\w][\w.\-]*")
MEANT = "If this is meant, run pytest --pellucid-update and look at what changed."


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes references, and where they lie."""
    group = parser.getgroup("pellucid")
    text = "write the references of explanations instead of comparing with them"
    group.addoption("--pellucid-update", action="store_true", default=False, help=text)
    where = f"folder of the references of explanations, from the root; without, {FOLDER!r} beside each test file"
    parser.addini("pellucid_references", where, default="")


@pytest.fixture
def explanations(request: pytest.FixtureRequest) -> Explanations:
    """Explanations as regression tests: did they move, do they ignore what they should, can they be believed?"""
    given = str(request.config.getini("pellucid_references"))
    folder = request.config.rootpath / given if given else request.path.parent / FOLDER
    return Explanations(folder, update=bool(request.config.getoption("--pellucid-update")))


class Explanations:
    """What a test may say of explanations; references are saved results in ``folder``.

    Example:
        >>> import tempfile, torch, pellucid as pl
        >>> heat = pl.InputXGradient()(torch.nn.Linear(3, 1), torch.ones(1, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Explanations(Path(folder), update=True).assert_same(heat, "heat")
        ...     Explanations(Path(folder)).assert_same(heat, "heat")
    """

    def __init__(self, folder: Path, *, update: bool = False) -> None:
        self.folder, self.update = folder, update

    def assert_same(self, result: Any, name: str, *, rank_correlation: float = 0.9) -> None:
        """Fail if a result moved: if the rank correlation with its reference is below this for any row.

        The reference is the file ``name`` in the folder. It must be of the same inputs, target and kind of values.
        """
        if not NAME.fullmatch(name):
            pytest.fail(f"a reference is named by letters, digits, '.', '-' and '_'; got {name!r}", pytrace=False)
        path = self.folder / f"{name}.safetensors"
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            result.save(path)
            return
        if not path.is_file():
            pytest.fail(f"no reference {name!r} yet. Run pytest --pellucid-update to write it.", pytrace=False)
        from pellucid.core.store import read_result

        reference = read_result(path)
        if why := differs(result, reference):
            pytest.fail(f"{name}: {why}. {MEANT}", pytrace=False)
        found = similarity(result, reference)
        if low := {row: value for row, value in enumerate(found) if not value >= rank_correlation}:
            told = ", ".join(f"row {row}: {value:.3f}" for row, value in low.items())
            pytest.fail(f"{name} moved: rank correlation {told}, below {rank_correlation:g}. {MEANT}", pytrace=False)

    def assert_ignores(self, result: Any, mask: Any, share: float = 0.05) -> None:
        """Fail if more than a share of the sizes of the values lies in ``mask``."""
        assert_ignores(result, mask, share)

    def assert_verdict(self, evidence: Any, verdict: str = "supported") -> None:
        """Fail if evidence is worse than a verdict."""
        assert_verdict(evidence, verdict)


def assert_ignores(result: Any, mask: Any, share: float = 0.05) -> None:
    """Fail if, in any row, more than ``share`` of the sizes of the values lies where ``mask`` is True.

    ``mask`` has the shape of one row's values, or of all; for maps (rows, channels, height, width) that of a picture
    will do. A map without any value looks nowhere and passes.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(3, 1).requires_grad_(False)
        >>> net.weight[:] = torch.tensor([1.0, 2.0, 0.0])
        >>> assert_ignores(pl.InputXGradient()(net, torch.ones(1, 3)), [False, False, True])
    """
    import torch

    from pellucid.evaluate.values import numbers

    sizes = numbers(result).abs()
    where = torch.as_tensor(mask, dtype=torch.bool, device="cpu")
    if not fits(tuple(where.shape), tuple(sizes.shape)):
        got = f"{tuple(where.shape)} for values {tuple(sizes.shape)}"
        pytest.fail(f"the mask must have the shape of the values; got {got}", pytrace=False)
    inside = torch.where(where, sizes, 0).flatten(1).sum(1)
    shares = (inside / sizes.flatten(1).sum(1).clamp_min(1e-300)).tolist()
    if high := {row: value for row, value in enumerate(shares) if value > share}:
        told = ", ".join(f"row {row}: {value:.1%}" for row, value in high.items())
        pytest.fail(f"the explanation looks where it should not: {told}, above {share:.1%}", pytrace=False)


def assert_verdict(evidence: Any, verdict: str = "supported") -> None:
    """Fail if evidence, or any of several, is worse than ``verdict``.

    "supported" is better than "mixed", "mixed" than "not testable", and that than "not supported".

    Example:
        >>> import pellucid as pl
        >>> assert_verdict(pl.Evidence(verdict="supported", words="it is", checks=()), "mixed")
    """
    from pellucid.evaluate.verdict import WORST_FIRST

    if verdict not in WORST_FIRST:
        pytest.fail(f"a verdict is one of {', '.join(WORST_FIRST)}; got {verdict!r}", pytrace=False)
    several = evidence if isinstance(evidence, tuple | list) else (evidence,)
    worse = [each for each in several if WORST_FIRST.index(each.verdict) < WORST_FIRST.index(verdict)]
    if worse or not several:
        told = "\n".join(map(str, worse)) or "there is no evidence"
        pytest.fail(f"wanted {verdict!r}:\n{told}", pytrace=False)


def fits(mask: tuple[int, ...], values: tuple[int, ...]) -> bool:
    """Whether a mask is one for all rows, or one a row, with or without channels.

    >>> fits((8, 8), (2, 1, 8, 8)), fits((3,), (2, 3)), fits((1,), (2, 3))
    (True, True, False)
    """
    pictures = {values[2:], (1, *values[2:]), (values[0], 1, *values[2:])} if len(values) > 2 else set()
    return mask in {values, values[1:]} | pictures


def differs(result: Any, reference: Any) -> str | None:
    """Why two results cannot be compared, in words; None where they can."""
    if type(result.main()) is not type(reference.main()) or result.main().shape != reference.main().shape:
        return f"its values are {tuple(result.main().shape)}, those of the reference {tuple(reference.main().shape)}"
    if result.method.name != reference.method.name:
        return f"it was made by {result.method.name}, the reference by {reference.method.name}"
    said = [tuple(each.target_words(row) for row in range(len(each))) for each in (result, reference)]
    if said[0] != said[1]:
        return f"it explains {said[0][0]}, the reference {said[1][0]}"
    if any((result.input_array(row) != reference.input_array(row)).any() for row in range(len(result))):
        return "its inputs are not those of the reference"
    return None


def similarity(result: Any, reference: Any) -> list[float]:
    """The rank correlation of each row of two results; 1 where they are equal."""
    from pellucid.evaluate.ranks import rank_correlation
    from pellucid.evaluate.values import numbers

    one, other = (numbers(each).flatten(1) for each in (result, reference))
    found = rank_correlation(one, other).tolist()
    equal = (one == other).all(1).tolist()
    return [1.0 if same else value for value, same in zip(found, equal, strict=True)]
