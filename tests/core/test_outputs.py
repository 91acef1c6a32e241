"""What a model's answer is about: its main tensor, its classes."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.outputs import by_class, check_index, class_index, class_name, main_output
from pellucid.errors import OutputError, TargetError
from tests.nets import Answer

NAMES = ("cat", "dog", "bird", "fish")


def test_the_main_output() -> None:
    y = torch.rand(2, 3)
    assert main_output(y) is y
    assert main_output((torch.tensor([1, 2]), y)) is y
    assert main_output({"loss": torch.rand(()), "logits": y}) is y
    assert main_output(Answer(logits=y, hidden=torch.rand(1))) is y
    assert main_output([None, "text", y]) is y
    assert main_output(y > 0.5).is_floating_point()
    for nothing in (None, "text", [], {"a": "b"}, (1, 2)):
        with pytest.raises(OutputError):
            main_output(nothing)
    with pytest.raises(OutputError, match="complex"):
        main_output(y + 0j)


def test_classes_by_index_and_name() -> None:
    assert class_index("dog", 4, NAMES) == 1
    assert class_index(-1, 4, NAMES) == 3
    assert class_name(1, NAMES) == "dog"
    assert class_name(9, NAMES) == "class 9"
    assert class_name(1, None) == "class 1"
    for wrong in ("", "Dog", 4, -5):
        with pytest.raises(TargetError):
            class_index(wrong, 4, NAMES)


def test_the_axis_of_classes() -> None:
    assert by_class(torch.rand(2, 5, 3)).shape == (2, 3, 5)
    assert by_class(torch.rand(2, 3)).shape == (2, 3)
    assert by_class(torch.rand(2, 3, 4, 4)).shape == (2, 3, 4, 4)


def test_indexes_outside_of_a_shape() -> None:
    check_index((1, -2), (2, 3), "place")
    for wrong in ((2,), (0, 3), (0, 0, 0), (-3,)):
        with pytest.raises(TargetError, match="place"):
            check_index(wrong, (2, 3), "place")
