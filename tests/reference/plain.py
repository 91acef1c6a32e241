"""A small network in plain NumPy with a gradient worked out by hand, and the same network in torch.

Nothing here calls pellucid: the references are slow loops that follow the papers' formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


class Tanh3:
    """y = W₃ tanh(W₂ tanh(W₁ x + b₁) + b₂) + b₃, one example at a time."""

    def __init__(self, inputs: int = 5, hidden: int = 6, outputs: int = 3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        sizes = [(hidden, inputs), (hidden, hidden), (outputs, hidden)]
        self.weights = [random.normal(size=size) / np.sqrt(size[1]) * 1.5 for size in sizes]
        self.biases = [random.normal(size=size[0]) * 0.3 for size in sizes]

    def module(self) -> nn.Sequential:
        """The same in torch, layers "0" … "4"."""
        layers: list[nn.Module] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
            layers += [layer, nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    def forward(self, x: Array) -> tuple[Array, Array, Array]:
        """Both hidden activations and the outputs."""
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        one = np.tanh(w1 @ x + b1)
        two = np.tanh(w2 @ one + b2)
        return one, two, w3 @ two + b3

    def score(self, x: Array, c: int) -> float:
        return float(self.forward(x)[2][c])

    def gradient(self, x: Array, c: int) -> Array:
        """∂y_c/∂x by the chain rule, written out."""
        one = self.forward(x)[0]
        return self.weights[0].T @ ((1 - one**2) * self.hidden_gradient(x, c))

    def hidden_gradient(self, x: Array, c: int) -> Array:
        """∂y_c/∂ of the first activation."""
        two = self.forward(x)[1]
        return self.weights[1].T @ ((1 - two**2) * self.weights[2][c])

    def predicted(self, x: Array) -> int:
        return int(self.forward(x)[2].argmax())


def differences(function: Callable[[Array], float], x: Array, step: float = 1e-6) -> Array:
    """Central differences, one coordinate at a time."""
    slope = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        slope[index] = (function(up) - function(down)) / (2 * step)
    return slope


def rows(count: int = 3, width: int = 5, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(count, width))


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """A tensor equals an array to ``tolerance`` of its largest number."""
    mine, theirs = np.asarray(found.detach() if hasattr(found, "detach") else found, dtype=float), np.asarray(expected)
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).max() <= tolerance * max(np.abs(theirs).max(), 1e-12), (mine, theirs)
