"""Inputs as trees: what is explained, how rows are put together, what comes back in which shape."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.leaves import Leaves, leaves_of, named
from pellucid.errors import DtypeError, EmptyError, NonFiniteError, ShapeError
from tests.nets import BY_NAME, TokenNet

CPU = torch.device("cpu")


def take_apart(tree: Any, dtype: torch.dtype = torch.float32) -> Leaves:
    return leaves_of(tree, CPU, dtype)


def test_a_tensor_is_one_argument() -> None:
    x = torch.rand(2, 3)
    leaves = take_apart(x)
    assert (leaves.batch, leaves.explained, leaves.integer) == (2, (0,), False)
    args, kwargs = leaves.arguments(None, torch.tensor([1, 0, 1]), torch.float32)
    assert torch.equal(args[0], x[[1, 0, 1]])
    assert kwargs == {}
    assert torch.equal(leaves.tree(x), x)


def test_a_tuple_is_several_arguments_explained_side_by_side() -> None:
    a, b, ids = torch.rand(2, 3), torch.rand(2, 2, 2), torch.tensor([[1], [2]])
    leaves = take_apart((a, ids, b))
    assert leaves.explained == (0, 2)
    assert leaves.values.shape == (2, 7)
    args, _ = leaves.arguments(leaves.values * 2, torch.arange(2), torch.float32)
    assert torch.equal(args[0], a * 2)
    assert torch.equal(args[1], ids)
    assert torch.equal(args[2], b * 2)
    back = leaves.tree(leaves.values)
    assert isinstance(back, tuple)
    assert torch.equal(back[0], a)
    assert torch.equal(back[1], b)
    listed = take_apart([a, b])
    assert isinstance(listed.tree(listed.values), tuple)


def test_names_are_keywords() -> None:
    a, b = torch.rand(2, 3), torch.rand(2)
    leaves = take_apart({"a": a, "flag": True, "nothing": None, "b": b})
    args, kwargs = leaves.arguments(None, torch.tensor([1]), torch.float32)
    assert args == ()
    assert kwargs["flag"] is True
    assert kwargs["nothing"] is None
    assert torch.equal(kwargs["b"], b[[1]])
    back = leaves.tree(leaves.values)
    assert list(back) == ["a", "b"]
    assert torch.equal(back["b"], b)


def test_trees_in_trees_have_names() -> None:
    tree = {"image": {"left": torch.rand(2, 3), "right": torch.rand(2, 3)}, "rest": [torch.rand(2, 1)]}
    assert list(named(tree)) == ["image.left", "image.right", "rest.0"]

    class Nested(nn.Module):
        def forward(self, image: dict[str, Tensor], rest: list[Tensor]) -> Tensor:
            return (image["left"] * image["right"]).sum(1, keepdim=True) + rest[0]

    result = pl.Saliency()(Nested(), tree)
    assert torch.equal(result.values["image.left"], tree["image"]["right"])
    assert torch.equal(result.values["rest.0"], torch.ones(2, 1))
    assert result.array(1).shape == result.input_array(1).shape == (3,)
    assert result.figure().html()


def test_ids_win_over_floats_beside_them() -> None:
    ids = torch.tensor([[1, 2], [3, 4]])
    leaves = take_apart({"attention_mask": torch.ones(2, 2), "input_ids": ids})
    assert leaves.integer
    assert torch.equal(leaves.values, ids)
    assert leaves.names[leaves.explained[0]] == "input_ids"
    only = take_apart((ids, torch.ones(2, 2, dtype=torch.long)))
    assert only.explained == (0,)


def test_what_has_no_rows_goes_along_as_a_copy() -> None:
    a, scale, table = torch.rand(2, 3), torch.tensor(2.0), torch.rand(5, 5)
    leaves = take_apart((a, scale, table.long()))
    args, _ = leaves.arguments(None, torch.tensor([0]), torch.float32)
    assert args[1].shape == ()
    assert args[2].shape == (5, 5)
    args[1].add_(1)
    assert float(scale) == 2
    assert float(leaves.tensors[1]) == 2


def test_inputs_are_copied_and_cast() -> None:
    x = torch.rand(2, 3, dtype=torch.float64)
    leaves = take_apart(x, torch.float64)
    x.zero_()
    assert float(leaves.values.abs().max()) > 0
    assert take_apart(torch.rand(2, 3, dtype=torch.float16)).values.dtype == torch.float32
    assert take_apart(torch.rand(2, 3), torch.float16).values.dtype == torch.float32  # gradients need the room
    assert take_apart(np.ones((2, 3))).values.dtype == torch.float32
    assert take_apart(np.float64(1.5) * np.ones((2, 1))).values.shape == (2, 1)
    grad = torch.rand(2, 3, requires_grad=True)
    assert not take_apart(grad * 2).values.requires_grad


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (torch.empty(0, 3), EmptyError),
        (torch.empty(2, 0), EmptyError),
        ((), EmptyError),
        ({}, EmptyError),
        (None, EmptyError),
        (torch.tensor(1.0), EmptyError),
        (torch.tensor([[1.0, float("nan")]]), NonFiniteError),
        (np.array([[1.0, np.inf]]), NonFiniteError),
        ((torch.rand(2, 3), torch.rand(3, 3)), ShapeError),
        (torch.rand(2, 3) + 1j, DtypeError),
        ("a picture", DtypeError),
        (object(), DtypeError),
        (np.array([["a", "b"]]), DtypeError),
        (np.array([[None, 1]], dtype=object), DtypeError),
        (torch.rand(2, 3).to_sparse(), DtypeError),
    ],
)
def test_inputs_that_are_refused(given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        take_apart(given)
    error: Any = caught.value
    assert error.expected
    assert error.got
    assert error.do


def test_an_error_names_the_input_it_is_about() -> None:
    with pytest.raises(NonFiniteError, match="'right'"):
        take_apart({"left": torch.rand(2, 2), "right": torch.full((2, 2), float("inf"))})
    with pytest.raises(ShapeError, match="right"):
        take_apart({"left": torch.rand(2, 2), "right": torch.rand(3, 2)})


def test_rows_are_taken_and_put() -> None:
    leaves = take_apart((torch.rand(3, 2), torch.arange(3)[:, None]))
    some = leaves.take(torch.tensor([2, 2]))
    assert some.batch == 2
    assert torch.equal(some.tensors[1], torch.tensor([[2], [2]]))
    other = leaves.with_values(torch.zeros(3, 2))
    assert torch.equal(other.tensors[0], torch.zeros(3, 2))
    assert torch.equal(other.tensors[1], leaves.tensors[1])


@pytest.mark.parametrize("wrap", [dict, OrderedDict, type("Encoding", (dict,), {})])
def test_any_mapping_of_ids_is_explained_at_the_embedding(wrap: Any) -> None:
    """Also the kind of mapping a tokenizer gives; keyword calls of the embedding, dataclass answers."""
    case = BY_NAME["ids"]
    net, given = case.net(), wrap(case.given())
    result = pl.Saliency()(net, given)
    table = net.table(given["input_ids"]).detach()
    x = table.requires_grad_()

    def ahead(x: Tensor) -> Tensor:
        inner = net.attention(x + net.place(torch.arange(5)), given["attention_mask"])
        return net.head(torch.tanh(inner).mean(1))

    (slope,) = torch.autograd.grad(ahead(x).max(1).values.sum(), x)
    torch.testing.assert_close(result.values["input_ids"], slope.norm(dim=2))
    product = pl.InputXGradient()(net, given).values["input_ids"]
    torch.testing.assert_close(product, (slope * table).sum(2).detach())


def test_ids_that_reach_no_embedding() -> None:
    class Floats(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float().sum(1, keepdim=True)

    with pytest.raises(DtypeError, match="embedding"):
        pl.Saliency()(Floats(), torch.tensor([[1, 2, 3]]))
    assert pl.KernelSHAP()(Floats(), torch.tensor([[1, 2, 3]])).values.tolist() == [[1, 2, 3]]


def test_the_embedding_is_found_among_others_and_ids_outside_of_it_are_named() -> None:
    net = TokenNet()
    model = pl.Model(net)
    leaves = model.read({"input_ids": torch.tensor([[3, 1, 2]])})
    assert model.embedding(leaves).call == 1
    with pytest.raises(pl.errors.ModelError, match="index out of range"):
        pl.Saliency()(net, {"input_ids": torch.tensor([[3, 1, 99]])})


def test_numbers_and_ids_may_stand_before_what_is_explained() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 2)

        def forward(self, factor: float, kind: Tensor, x: Tensor) -> Tensor:
            return self.head(factor * x + self.table(kind))

    result = pl.InputXGradient()(Scaled(), (2.0, torch.tensor([1, 4]), torch.rand(2, 3)))
    assert result.values.shape == (2, 3)
    assert len(result.top(2)) == 2
    assert result.figure(1).html()
