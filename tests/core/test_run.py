"""Settings, memory strings, receipts with exact counts, progress, and what happens when memory runs out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.run import Pace, bytes_of, out_of_memory
from pellucid.errors import OptionError, OutOfMemory
from tests.nets import BY_NAME
from tests.small import NAMES, at_of, fits, small


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2 GB", 2 * 10**9),
        ("2gb", 2 * 10**9),
        (" 1.5 MiB ", 3 * 2**19),
        ("512 KiB", 2**19),
        (".5 kB", 500),
        ("3. B", 3),
        ("1 TB", 10**12),
        ("1 B", 1),
        (1000, 1000),
        (1e6, 10**6),
    ],
)
def test_memory_strings(text: Any, size: int) -> None:
    assert bytes_of(text) == size
    with pl.settings(memory=text):
        assert pl.current_settings().memory == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "GB",
        "-1 GB",
        "0 GB",
        "1.2.3 GB",
        "two GB",
        "2 XB",
        "1 ib",
        0,
        -5,
        0.3,
        float("nan"),
        float("inf"),
        True,
        [],
        {},
    ],
)
def test_memory_that_is_refused(text: Any) -> None:
    with pytest.raises(OptionError) as caught:
        pl.settings(memory=text)
    assert "2 GB" in caught.value.do
    assert pl.current_settings().memory is None


@given(size=st.integers(1, 10**15))
def test_numbers_of_bytes_are_themselves(size: int) -> None:
    assert bytes_of(size) == size
    assert bytes_of(f"{size} B") == size


def test_settings_last_until_changed_or_as_long_as_their_block() -> None:
    with pl.settings(seed=7, exact=True):
        assert (pl.current_settings().seed, pl.current_settings().exact) == (7, True)
        with pl.settings(seed=8):
            assert (pl.current_settings().seed, pl.current_settings().exact) == (8, True)
        assert pl.current_settings().seed == 7
    assert pl.current_settings() == type(pl.current_settings())()
    pl.settings(seed=3)
    assert pl.current_settings().seed == 3
    with pytest.raises(ZeroDivisionError), pl.settings(seed=4):
        _ = 1 / 0
    assert pl.current_settings().seed == 3


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 1.5}, {"seed": "a"}, {"seed": True}, {"sed": 1}, {"stop": 3}, {"stop": True}],
)
def test_settings_that_are_refused(wrong: dict[str, Any]) -> None:
    before = pl.current_settings()
    with pytest.raises(OptionError) as caught:
        pl.settings(**wrong)
    assert caught.value.expected
    assert caught.value.do
    assert pl.current_settings() is before
    if "sed" in wrong:
        assert "'seed'" in caught.value.do


def test_a_seed_may_be_any_kind_of_whole_number() -> None:
    for seed in (np.int64(5), 2**70):
        with pl.settings(seed=seed):
            assert pl.current_settings().seed == int(seed)
            pl.SmoothGrad(draws=2)(BY_NAME["mlp"].net(), BY_NAME["mlp"].given())


def test_settings_of_one_thread_are_not_those_of_another() -> None:
    with pl.settings(seed=9), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: pl.current_settings().seed).result() == 0


class Counted(nn.Module):
    """Counts the rows and the calls that go through it, forward and backward."""

    tally: dict[str, int]

    def __init__(self, inner: nn.Module, tally: dict[str, int]) -> None:
        super().__init__()
        self.inner = inner
        object.__setattr__(self, "log", Log(tally))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        rows = len([*args, *kwargs.values()][0])
        self.log.tally["forward"] += rows
        self.log.tally["calls"] += 1
        out = self.inner(*args, **kwargs)
        tensor = getattr(out, "logits", out)
        if tensor.requires_grad:
            tensor.register_hook(lambda slope: self.log.add("backward", len(slope)))
        return out


class Log:
    """A dict that copies of a module share."""

    def __init__(self, tally: dict[str, int]) -> None:
        self.tally = tally

    def __deepcopy__(self, memo: Any) -> Log:
        return self

    def add(self, name: str, rows: int) -> None:
        self.tally[name] += rows


@pytest.mark.parametrize("memory", ["1 B", "1 GB"])
@pytest.mark.parametrize("name", NAMES)
def test_a_receipt_counts_every_row(name: str, memory: str) -> None:
    """As many as the network itself counts. Finding the layers of a CAM, or of biases, asks one row once."""
    case = BY_NAME["cnn"] if fits(name, BY_NAME["cnn"]) else BY_NAME["mlp"]
    tally = {"forward": 0, "backward": 0, "calls": 0}
    model, at = pl.Model(Counted(case.net(), tally), inputs=case.modality()), at_of(name, case)
    at = at and f"inner.{at}"
    model.layers(case.given())
    tally.update(forward=0, backward=0, calls=0)
    with pl.settings(memory=memory):
        receipt = small(name)(model, case.given(), at=at).receipt
    inside = receipt.rows_forward - tally["forward"]
    # Passes that stop at a layer are counted, the end is not met; those that begin at one bear rows in from there.
    assert inside == 0 if at is None and name != "AblationCAM" else inside >= 0
    assert receipt.rows_backward == tally["backward"]
    assert receipt.seconds > 0
    assert receipt.seed == 0
    assert receipt.path == "plain"
    if memory == "1 B" and not at and "layer" not in vars(small(name)):  # memory is measured where calls are sized
        assert receipt.peak_memory > 0


def test_receipts_of_known_methods() -> None:
    case = BY_NAME["mlp"]
    rows = 3

    def counts(method: Any, at: str | None = None) -> tuple[int, int]:
        receipt = method(case.net(), case.given(), at=at).receipt
        return receipt.rows_forward, receipt.rows_backward

    assert counts(pl.Saliency()) == (rows, rows)
    assert counts(pl.IntegratedGradients(steps=10)) == (rows * 12, rows * 10)
    assert counts(pl.SmoothGrad(draws=10)) == (rows * 11, rows * 10)
    assert counts(pl.Ablation()) == (rows * 6, 0)
    assert counts(pl.KernelSHAP()) == (rows * 32, 0)
    assert counts(pl.IDGI(steps=10)) == (rows * 12, rows * 11)
    assert "forward" in str(pl.Saliency()(case.net(), case.given()).receipt)


class Greedy(nn.Module):
    """Runs out of memory when more than some rows come at once."""

    def __init__(self, inner: nn.Module, most: int, how: str = "torch") -> None:
        super().__init__()
        self.inner, self.most, self.how = inner, most, how

    def forward(self, x: Tensor) -> Any:
        if len(x) > self.most:
            if self.how == "torch":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if self.how == "python":
                raise MemoryError
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return self.inner(x)


class BackwardGreedy(Greedy):
    """Runs out of memory on the way back only."""

    def forward(self, x: Tensor) -> Any:
        x = x.clone()
        if x.requires_grad:
            x.register_hook(self.refuse)
        return self.inner(x)

    def refuse(self, slope: Tensor) -> None:
        if len(slope) > self.most:
            raise torch.OutOfMemoryError("out of memory on the way back")


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("kind", [Greedy, BackwardGreedy])
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_halved_when_memory_runs_out(name: str, kind: type[Greedy], most: int) -> None:
    """The values are right and nothing is lost or counted twice, also when the target was not decided yet."""
    case = BY_NAME["cnn"] if fits(name, BY_NAME["cnn"]) else BY_NAME["mlp"]
    given = torch.cat([case.given()] * 4)
    at = at_of(name, case)
    usual = small(name)(case.model(), given, at=at)
    model = pl.Model(kind(case.net(), most), inputs=case.modality())
    for attempt in range(2):  # the second time sizes are known from the first
        result = small(name)(model, given, at=at and f"inner.{at}")
        torch.testing.assert_close(result.values, usual.values, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(result.score, usual.score)
        if not at:
            assert result.receipt.rows_forward == usual.receipt.rows_forward
        for pace in model.paces.values():
            pace.most, pace.size = 2048, 64  # as if more had been thought to fit
        assert attempt < 2


@pytest.mark.parametrize("how", ["torch", "python", "allocator"])
def test_a_row_that_does_not_fit_is_a_clear_error(how: str) -> None:
    case = BY_NAME["mlp"]
    net = Greedy(case.net(), 0, how)
    with pytest.raises(OutOfMemory) as caught:
        pl.Saliency()(net, case.given())
    assert caught.value.do
    with pytest.raises(OutOfMemory):
        pl.Conductance()(net, case.given(), at="inner.1")


def test_other_errors_are_not_taken_for_memory() -> None:
    assert not out_of_memory(RuntimeError("shape mismatch"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("CUDA out of memory."))


def test_a_size_that_ran_out_is_not_tried_again() -> None:
    pace = Pace(1000, 100, 64, {64: 0.1, 8: 0.2})
    pace.limit(16)
    assert (pace.size, pace.most) == (16, 16)
    assert list(pace.seconds) == [8]


def test_more_memory_means_larger_calls() -> None:
    case = BY_NAME["mlp"]
    calls = {}
    for memory in ("1 B", "100 kB", "1 GB"):
        tally = {"forward": 0, "backward": 0, "calls": 0}
        model = pl.Model(Counted(case.net(), tally))
        model.read(case.given())
        with pl.settings(memory=memory, exact=True):
            pl.SmoothGrad(draws=200)(model, case.given())
        calls[memory] = tally["calls"]
    assert calls["1 B"] >= 600
    assert calls["1 GB"] <= 20
    assert calls["1 B"] > calls["100 kB"] >= calls["1 GB"]


def test_progress_is_shown_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    case = BY_NAME["mlp"]
    with pl.settings(progress=True):
        shown = pl.SmoothGrad(draws=10)(case.net(), case.given()).values
        pl.IntegratedGradients()(case.net(), case.given())
    assert torch.equal(shown, pl.SmoothGrad(draws=10)(case.net(), case.given()).values)
    capsys.readouterr()


def test_two_threads_may_share_a_model() -> None:
    case = BY_NAME["cnn"]
    model, given = case.model(), case.given()
    expected = [small(name)(case.model(), given, at=at_of(name, case)).values for name in NAMES]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(small(name), model, given, at=at_of(name, case)) for name in NAMES]
        for result, values in zip(asked, expected, strict=True):
            torch.testing.assert_close(result.result().values, values, rtol=1e-8, atol=1e-12)
    assert threading.active_count() < 20
