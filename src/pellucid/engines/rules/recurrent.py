"""Recurrent layers, written with plain operations that are met one by one: LSTM, GRU, RNN and their cells.

``gate`` is what happens to the numbers that only open and close: the identity keeps gates as functions of the inputs,
``as_given`` takes them as given, so that in a product of gate and signal the signal takes all (Arras et al. 2017,
arXiv:1706.07206, "LRP-all"). Arguments are those of torch's own functions, padded or packed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Gating = Callable[[Tensor], Tensor]
Cell = Callable[[Tensor, State], State]
Maker = Callable[[Gating, Sequence[Tensor]], Cell]


def as_given(x: Tensor) -> Tensor:
    """Taken as given: the same numbers, no way back."""
    with torch._C.DisableTorchFunction():
        return x.detach()


def identity(x: Tensor) -> Tensor:
    """A gate is a function of the inputs like any other number."""
    return x


def summed(biases: Sequence[Tensor]) -> Tensor | None:
    """What is added, where anything is."""
    return biases[0] + biases[1] if len(biases) == 2 else None


def lstm_step(gate: Gating, weights: Sequence[Tensor]) -> Cell:
    """c = f c + i g, h = o tanh c, and its projection where there is one."""
    wide, biases = torch.cat(list(weights[:2]), 1), weights[2:4] if len(weights) > 3 else ()
    bias, project = summed(biases), weights[-1] if len(weights) in (3, 5) else None
    i, f, g, o = (slice(k * len(wide) // 4, (k + 1) * len(wide) // 4) for k in range(4))
    opening, opened = torch.cat([wide[i], wide[f], wide[o]]), wide[g]
    opening_bias = None if bias is None else torch.cat([bias[i], bias[f], bias[o]])
    opened_bias = None if bias is None else bias[g]

    def step(x: Tensor, state: State) -> State:
        h, c = state
        both = torch.cat([x, h], -1)
        write, keep, show = functional.linear(gate(both), opening, opening_bias).sigmoid().chunk(3, -1)
        c = keep * c + write * functional.linear(both, opened, opened_bias).tanh()
        h = show * c.tanh()
        return (h if project is None else functional.linear(h, project)), c

    return step


def gru_step(gate: Gating, weights: Sequence[Tensor]) -> Cell:
    """n = tanh(W x + r (V h)), h = (1 − z) n + z h."""
    wide, bias, third = torch.cat(list(weights[:2]), 1), summed(weights[2:]), len(weights[0]) // 3
    opening, opening_bias = wide[: 2 * third], None if bias is None else bias[: 2 * third]
    from_x, from_h = (each[2 * third :] for each in weights[:2])
    bias_x, bias_h = (each[2 * third :] for each in weights[2:]) if bias is not None else (None, None)

    def step(x: Tensor, state: State) -> State:
        (h,) = state
        reset, keep = functional.linear(gate(torch.cat([x, h], -1)), opening, opening_bias).sigmoid().chunk(2, -1)
        new = (functional.linear(x, from_x, bias_x) + reset * functional.linear(h, from_h, bias_h)).tanh()
        return ((1 - keep) * new + keep * h,)

    return step


def rnn_step(squash: Gating, _gate: Gating, weights: Sequence[Tensor]) -> Cell:
    """h = tanh(W x + V h + b), or a ReLU of it: there are no gates."""
    wide, bias = torch.cat(list(weights[:2]), 1), summed(weights[2:])

    def step(x: Tensor, state: State) -> State:
        return (squash(functional.linear(torch.cat([x, state[0]], -1), wide, bias)),)

    return step


@dataclass(frozen=True)
class Layers:
    """How a recurrent function of torch was called."""

    steps: list[Tensor]
    start: State
    weights: list[Tensor]
    bias: bool
    count: int
    dropout: float
    both_ways: bool
    packed: bool = False
    batch_first: bool = False

    @staticmethod
    def called(args: tuple[Any, ...]) -> Layers:
        """Padded: (input, state, weights, …, batch_first); packed: (data, batch sizes, state, weights, …)."""
        packed = isinstance(args[3], list | tuple)
        state, weights, bias, count, dropout, train, both_ways = args[2:9] if packed else args[1:8]
        batch_first = not packed and bool(args[8])
        if packed:
            steps = list(args[0].split(args[1].tolist()))
        else:
            steps = list(args[0].unbind(1 if batch_first else 0))
        start = tuple(state) if isinstance(state, list | tuple) else (state,)
        dropout = dropout if train else 0.0
        return Layers(steps, start, list(weights), bias, count, dropout, both_ways, packed, batch_first)

    def run(self, make: Maker, gate: Gating) -> tuple[Tensor, ...]:
        """The outputs of all steps and the last state, as torch gives them."""
        ways = 2 if self.both_ways else 1
        each, steps, last = len(self.weights) // (self.count * ways), self.steps, []
        for layer in range(self.count):
            if layer and self.dropout:
                steps = [functional.dropout(x, self.dropout) for x in steps]
            sides = []
            for way in range(ways):
                number = layer * ways + way
                cell = make(gate, self.weights[number * each : (number + 1) * each])
                outs, state = walk(steps, tuple(s[number] for s in self.start), cell, -1 if way else 1)
                sides.append(outs)
                last.append(state)
            steps = sides[0] if ways == 1 else [torch.cat(pair, -1) for pair in zip(*sides, strict=True)]
        out = torch.cat(steps) if self.packed else torch.stack(steps, 1 if self.batch_first else 0)
        return (out, *(torch.stack(parts) for parts in zip(*last, strict=True)))


def walk(steps: list[Tensor], start: State, cell: Cell, direction: int) -> tuple[list[Tensor], State]:
    """A layer over time, forwards or backwards; packed sequences end (or begin) at different steps."""
    way = steps[::direction]
    state, ended, outs = tuple(each[: len(way[0])] for each in start), [], []
    for x in way:
        rows, before = len(x), len(state[0])
        if rows < before:
            ended.append(tuple(each[rows:] for each in state))
            state = tuple(each[:rows] for each in state)
        elif rows > before:
            state = tuple(torch.cat([each, first[before:rows]]) for each, first in zip(state, start, strict=True))
        state = cell(x, state)
        outs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outs[::direction], state


def layers(make: Maker, meeting: Any, gate: Gating, *args: Any) -> tuple[Tensor, ...]:
    """A recurrent function of torch, every operation met by ``meeting``."""
    with meeting:
        return Layers.called(args).run(make, gate)


def one_step(make: Maker, meeting: Any, gate: Gating, x: Tensor, state: Any, *weights: Any) -> Any:
    """A recurrent cell of torch, every operation met by ``meeting``."""
    start = tuple(state) if isinstance(state, list | tuple) else (state,)
    with meeting:
        end = make(gate, [each for each in weights if each is not None])(x, start)
    return end if len(end) > 1 else end[0]


MAKERS: dict[str, Maker] = {
    "lstm": lstm_step,
    "gru": gru_step,
    "rnn_tanh": partial(rnn_step, torch.tanh),
    "rnn_relu": partial(rnn_step, torch.relu),
}

# By their names in torch: ``RECURRENT[name](meeting, gate, *args)``.
RECURRENT: dict[str, Callable[..., Any]] = {
    **{name: partial(layers, make) for name, make in MAKERS.items()},
    **{f"{name}_cell": partial(one_step, make) for name, make in MAKERS.items()},
}
