"""Signals over time, and plain tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.core.figure import Bars, Curve, Grid, Heat
from pellucid.errors import DtypeError, ShapeError
from tests.nets import BY_NAME


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (np.zeros(9), (1, 1, 9)),
        (np.zeros((2, 9)), (1, 2, 9)),
        (np.zeros((4, 2, 9)), (4, 2, 9)),
        (torch.zeros(9), (1, 1, 9)),
        ([0.0] * 9, (1, 1, 9)),
        ([[0] * 9, [1] * 9], (1, 2, 9)),
    ],
)
def test_signals_however_they_come(given: Any, shape: tuple[int, ...]) -> None:
    found = pl.Series().prepare(given)
    assert found.shape == shape
    assert found.is_floating_point()


@pytest.mark.parametrize("given", [[[1.0, 2.0], [1.0]], np.array(["a"]), [["a"]], np.array([None])])
def test_what_is_no_signal(given: Any) -> None:
    with pytest.raises(DtypeError) as caught:
        pl.Series().prepare(given)
    assert caught.value.do


def test_too_many_axes() -> None:
    with pytest.raises(ShapeError):
        pl.Series().prepare(np.zeros((1, 1, 1, 3)))


def test_the_signal_is_not_rounded() -> None:
    assert pl.Series().prepare(np.full(3, 1 / 3)).dtype == torch.float64


def test_channels_seconds_and_maps() -> None:
    series = pl.Series(channels=("left", "right"), rate=100.0)
    figure = series.input_figure(np.ones((2, 50)))
    assert isinstance(figure, Curve)
    assert list(figure.lines) == ["left", "right"]
    assert figure.x[-1] == pytest.approx(0.49)
    case = BY_NAME["series"]
    result = pl.InputXGradient()(pl.Model(case.net(), inputs=series), case.given())
    assert isinstance(result.figure(), Grid)
    assert pl.Series().names(np.zeros((2, 3))) == ("channel 0", "channel 1")


def test_plain_tensors_are_shown_as_maps_or_bars() -> None:
    plain = pl.Modality()
    assert isinstance(plain.map_figure(np.ones((4, 5)), np.ones((4, 5))), Heat)
    assert isinstance(plain.map_figure(np.ones((3, 4, 5)), np.ones((3, 4, 5))), Heat)
    bars = plain.map_figure(np.arange(40.0), np.arange(40.0))
    assert isinstance(bars, Bars)
    assert bars.labels[0] == "39"
    assert bars.labels[-1] == "25 others together"
    assert float(bars.values.sum()) == pytest.approx(np.arange(40.0).sum())
    assert plain.labels(np.zeros((2, 2))) == ("0 0", "0 1", "1 0", "1 1")
