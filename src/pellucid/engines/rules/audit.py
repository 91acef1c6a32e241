"""The audit of a run: how much relevance arrives at each operation, how much it hands on, and so where some is lost.

What an operation hands on is read at the nodes of autograd it made, edge by edge: a tensor that is used several times
has one edge a use, and nothing is put between operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.utils import _pytree as pytree

from pellucid.engines.rules.blind import OFF
from pellucid.engines.rules.linear import stable
from pellucid.engines.rules.meeting import moves_numbers
from pellucid.engines.rules.mode import Rules

Edge = tuple[Any, int]
Row = tuple[str, str, float, float, float]


class Audited(Rules):
    """Rules in force, and what each operation does with the relevance that arrives at it."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.values: dict[Edge, Tensor] = {}
        self.first_row, self.turn_number, self.met = 0, 0, 0
        self.sums: dict[tuple[int, int], dict[tuple[str, str], list[float]]] = {}

    def piece(self, rows: Tensor) -> None:
        """The rows of the pass that begins; one that is repeated counts once."""
        self.first_row, self.turn_number = int(rows[0]), 0
        self.sums = {key: each for key, each in self.sums.items() if key[1] != self.first_row}

    def turn(self, number: int) -> None:
        """The answer backwards that comes next."""
        self.turn_number = number

    def retell(self, first: Any, number: int) -> None:
        super().retell(first, number)
        self.sums = {(0, row): each for (turn, row), each in first.sums.items() if turn == number}

    def begin(self) -> None:
        super().begin()
        self.values = {}

    def answered(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if not moves_numbers(name):
            return super().answered(func, name, args, kwargs)
        given = [(each, each._version) for each in flowing((args, kwargs))]
        for each, _ in given:
            self.values.setdefault(edge_of(each), each.detach().clone())
        start, met = torch._C._autograd._get_sequence_nr(), self.met
        out = super().answered(func, name, args, kwargs)
        if self.met == met:  # otherwise its parts were met one by one
            written = [each for each, version in given if each._version != version]
            self.watch(name, [*flowing(out), *written], start)
        return out

    def watch(self, name: str, outputs: list[Tensor], start: int) -> None:
        """Wait for the relevance that arrives at the outputs and that goes on from the nodes made since ``start``."""
        self.met += 1
        place, made = (name, self.at[0]), {edge_of(each): each for each in outputs}
        made = {edge: each for edge, each in made.items() if edge not in self.values}
        for edge, output in made.items():
            value = self.values[edge] = output.detach().clone()
            hooks: Any = output._backward_hooks or {}
            rules = list(hooks.items())
            output.register_hook(lambda g, value=value: self.book(place, 0, g, value))
            for key, hook in rules:  # rules have hooks of their own: this one comes before, and sees what arrives
                del hooks[key]
                hooks[key] = hook
        for node, number, edge in leaving([node for node, _ in made], start):
            if edge in self.values:
                node.register_hook(
                    lambda handed, _, number=number, value=self.values[edge]: self.book(place, 1, handed[number], value)
                )

    def book(self, place: tuple[str, str], side: int, g: Tensor | None, value: Tensor) -> None:
        """Add relevance that arrives (0) or goes on (1)."""
        if g is not None:
            with torch._C.DisableTorchFunction():
                sums = self.sums.setdefault((self.turn_number, self.first_row), {}).setdefault(place, [0.0, 0.0])
                sums[side] += float((g.double() * stable(value.double(), OFF)).sum())

    def rows(self, scores: Tensor) -> tuple[Row, ...]:
        """(operation, module, relevance that arrived, that was handed on, share lost), the greatest loss first.

        The share is that of ``scores`` (batch,), by their sizes.
        """
        together: dict[tuple[str, str], list[float]] = {}
        for (turn, _), sums in self.sums.items():
            for place, (arrived, handed) in sums.items() if turn == 0 else ():
                known = together.setdefault(place, [0.0, 0.0])
                known[0], known[1] = known[0] + arrived, known[1] + handed
        whole = float(scores.double().abs().sum()) or 1.0
        made = [(*place, arrived, handed, (arrived - handed) / whole) for place, (arrived, handed) in together.items()]
        return tuple(sorted(made, key=lambda row: -abs(row[4])))


def flowing(tree: Any) -> list[Tensor]:
    """The tensors of a call that are on the way from the inputs, each once."""
    found = [each for each in pytree.tree_leaves(tree) if isinstance(each, Tensor)]
    return list({id(each): each for each in found if each.requires_grad and each.is_floating_point()}.values())


def edge_of(tensor: Tensor) -> Edge:
    """Where a tensor's gradient goes."""
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def leaving(nodes: list[Any], start: int) -> Iterator[tuple[Any, int, Edge]]:
    """(node, number, edge): the edges that lead out of the nodes made since ``start``."""
    seen: set[Any] = set()
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        for number, (after, output) in enumerate(node.next_functions):
            if after is None:
                continue
            if "AccumulateGrad" in after.name() or after._sequence_nr() < start:
                yield node, number, (after, output)
            else:
                nodes.append(after)
