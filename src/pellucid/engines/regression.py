"""Weighted linear regression with an intercept, in float64, and which columns it may use.

A design is (b, k, n): k samples of n columns, one for each example, or one (b = 1) that all examples share; weights are
(b, k), responses (k, batch). What is kept is (batch, n) of yes and no.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted line: slopes (n, batch) with standard errors, intercept and weighted R² (batch,)."""

    slopes: Tensor
    error: Tensor
    intercept: Tensor
    r2: Tensor


def weighted_ridge(z: Tensor, y: Tensor, w: Tensor, penalty: float = 0.0) -> Linear:
    """Minimizes Σ w (y − β₀ − z·β)² + penalty ‖β‖²; the shortest β where several do, so a column of zeros gets 0.

    Standard errors are the sandwich for residuals of unequal variance (HC3: each residual over 1 − leverage). They
    speak of what repeated sampling would change, not of the bias that the penalty brings.

    >>> z = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    >>> line = weighted_ridge(z, 3 + 2 * z[0, :, :1] - z[0, :, 1:], torch.ones(1, 4))
    >>> [round(float(each), 6) + 0.0 for each in (*line.slopes, line.intercept, line.r2)]
    [2.0, -1.0, 3.0, 1.0]
    """
    z, w, noise = z.double(), w.double(), 8 * torch.finfo(y.dtype).eps * y.abs().amax(0)
    first = y[0].double()  # differences to one sample: a constant response is exactly zero then
    response = grouped(y.double() - first, len(z))
    total = w.sum(1)[:, None, None]
    middle, average = ((w[..., None] * each).sum(1, keepdim=True) / total for each in (z, response))
    root, centered, response = w.sqrt()[..., None], z - middle, response - average
    u, s, v = torch.linalg.svd(root * centered, full_matrices=False)
    size = (w[..., None] * z.square()).sum(1).amax(1, keepdim=True).sqrt()
    least = size * max(z.shape[1:]) * torch.finfo(torch.float64).eps
    pulled = torch.where(s > least, s / (s.square() + penalty), 0.0)
    inverse = (v.mT * pulled[:, None]) @ (u * root).mT
    slopes = inverse @ response
    left = response - centered @ slopes
    leverage = (u.square() * (s * pulled)[:, None]).sum(-1, keepdim=True) + w[..., None] / total
    error = (inverse.square() @ (left / (1 - leverage).clamp_min(1e-3)).square()).sqrt()
    missed, spread = ((w[..., None] * each.square()).sum(1) for each in (left, response))
    flat = spread.reshape(-1) <= w.sum(1) * noise.double().square()
    r2 = torch.where(flat, 1.0, 1 - (missed / spread).reshape(-1))
    intercept = (average - middle @ slopes).reshape(-1) + first
    return Linear(by_example(slopes), by_example(error), intercept, r2)


def grouped(y: Tensor, designs: int) -> Tensor:
    """Responses (k, batch) beside their designs: (b, k, examples that share one)."""
    return y.reshape(len(y), designs, -1).transpose(0, 1)


def by_example(values: Tensor) -> Tensor:
    """Values (b, n, examples that share a design) as (n, batch)."""
    return values.transpose(0, 1).flatten(1)


def scaled(z: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, k, n) and (batch, k): centered and multiplied by √w, so that plain regression is the weighted one."""
    batch = y.shape[1]
    z, y, w = z.double().expand(batch, -1, -1), y.double().T, w.double().expand(batch, -1)
    total, root = w.sum(1, keepdim=True), w.sqrt()
    x = (z - (w[..., None] * z).sum(1, keepdim=True) / total[..., None]) * root[..., None]
    return x, (y - (w * y).sum(1, keepdim=True) / total) * root


def forward_selection(z: Tensor, y: Tensor, w: Tensor, count: int) -> Tensor:
    """Columns added one at a time, each the one that raises the weighted R² the most.

    >>> z = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    >>> forward_selection(z, z[0] @ torch.tensor([[1.0], [2.0]]), torch.ones(1, 4), 1)
    tensor([[False,  True]])
    """
    x, left = scaled(z, y, w)
    size, rows = x.square().sum(1), torch.arange(len(x))
    kept = torch.zeros_like(size, dtype=torch.bool)
    for _ in range(count):
        norm = x.square().sum(1)
        gain = (x.mT @ left[..., None])[..., 0].square() / norm
        gain = torch.where(norm > 1e-10 * size, gain, 0.0).masked_fill(kept, -1.0)
        best = gain.argmax(1)
        kept[rows, best] = True
        step = x[rows, :, best] / norm[rows, best].sqrt().clamp_min(1e-150)[:, None]
        left = left - step * (step * left).sum(1, keepdim=True)
        x = x - step[..., None] * (step[:, None] @ x)
    return kept


def highest_weights(z: Tensor, y: Tensor, w: Tensor, count: int) -> Tensor:
    """The columns of the largest slopes in a lightly penalized regression on all of them.

    >>> z = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    >>> highest_weights(z, z[0] @ torch.tensor([[1.0], [-2.0]]), torch.ones(1, 4), 1)
    tensor([[False,  True]])
    """
    slopes = weighted_ridge(z, y, w, 0.01).slopes.T.abs()
    best = slopes.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(slopes, dtype=torch.bool).scatter(1, best, True)


def lasso_path(z: Tensor, y: Tensor, w: Tensor, count: int) -> Tensor:
    """The columns of the last model on the lasso path that uses no more than ``count``; it may use fewer.

    >>> z = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    >>> lasso_path(z, z[0] @ torch.tensor([[1.0], [2.0]]), torch.ones(1, 4), 1)
    tensor([[False,  True]])
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path

    kept = []
    for x, left in zip(*scaled(z, y, w), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # columns that are alike: one of them stands for both
            path = torch.from_numpy(lars_path(x.numpy(), left.numpy(), method="lasso")[2]) != 0
        kept.append(path[:, int((path.sum(0) <= count).nonzero().max())])
    return torch.stack(kept)
