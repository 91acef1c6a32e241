"""Conditional fills: hidden columns as they go with the shown ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pellucid.core.leaves import Leaves
from pellucid.core.modality import Modality, Table
from pellucid.core.probe import Probe
from pellucid.engines.fills.rows import check_variants, rows_of
from pellucid.engines.fills.seam import Around, Fill
from pellucid.engines.points import generator, noise
from pellucid.errors import OptionError, ShapeError

MOST_NUMBERS, MOST_ROWS, LARGEST_BLOCK, NO_VARIANCE = 1024, 2000, 2**22, 1e-8
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Conditional(Fill):
    r"""Hidden columns drawn from their distribution given the shown ones: what the model expects of a partial row.

    .. math:: x_H \mid x_S \sim \mathcal N\bigl(\mu_H + \Sigma_{HS} \Sigma_{SS}^{+} (x_S - \mu_S), \
        \Sigma_{HH} - \Sigma_{HS} \Sigma_{SS}^{+} \Sigma_{SH}\bigr)

    ``"gaussian"`` takes the mean and covariance of ``data`` (or of the table's background): ``variants`` draws in
    mirrored pairs, so that their mean is the conditional mean; one variant is the mean itself. Columns must be numbers.
    ``"neighbors"`` takes the ``variants`` background rows nearest to the example in the shown columns (in standard
    deviations; another category counts 1), of at most 2000 rows: categories are welcome.

    Source: Aas, Jullum & Løland 2021, arXiv:1903.10464, section 3.1; neighbors after section 3.3.

    Example:
        >>> import torch, pellucid as pl
        >>> data = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]])
        >>> fill = pl.Conditional(data, variants=1)
        >>> pl.Ablation(fill=fill)(torch.nn.Flatten(), torch.tensor([[1.0, 5.0]]), target=1).values
        tensor([[0., 3.]])
    """

    assumes: ClassVar[str] = "that the background rows show how columns go together"
    data: Any = None
    by: str = "gaussian"
    variants: int = 16

    def values(self, ask: Probe, leaves: Leaves) -> Tensor:
        self._check(ask, leaves)
        rows = rows_of(self.data, ask, leaves).flatten(1).cpu()
        found = gaussian(rows, self.variants, ask.seed) if self.by == "gaussian" else some(rows, ask.seed)
        shape = leaves.values.shape
        return found[: self.variants].to(leaves.values).reshape(-1, 1, *shape[1:]).expand(-1, *shape)

    def around(self, ask: Probe, hidden: Tensor) -> Around:
        if ask.site is not None:
            raise ShapeError(expected="the inputs", got=f"layer {ask.site}", do="Use Marginal at a hidden layer.")
        rows, x = rows_of(self.data, ask, ask.leaves).flatten(1).cpu(), ask.inputs.flatten(1).cpu()
        draws, found = hidden.flatten(2).cpu(), self.by == "neighbors"
        answer = nearest_rows(some(rows, ask.seed), x, len(draws), ask) if found else regressed(rows, x, draws)

        def fill(shown: Tensor, variants: Tensor) -> Tensor:
            wide = (shown > 0.5).expand(*shown.shape[:2], *hidden.shape[2:]).flatten(2)
            return answer(wide.cpu(), variants.cpu()).to(hidden).reshape(-1, *hidden.shape[1:])

        return fill

    def _check(self, ask: Probe, leaves: Leaves) -> None:
        """Refuse what cannot be conditioned on."""
        ways, width = ("gaussian", "neighbors"), leaves.values[0].numel()
        if self.by not in ways:
            raise OptionError(expected=f"one of {ways}", got=repr(self.by), do='Use by="gaussian".')
        if leaves.integer:
            raise ShapeError(expected="columns of numbers", got="token ids", do="Use MaskToken.")
        if width > MOST_NUMBERS:
            do = "Use Inpaint or Blur for pictures, Marginal for wide rows."
            raise ShapeError(expected=f"at most {MOST_NUMBERS} numbers a row", got=str(width), do=do)
        odd = check_variants(self.variants) % 2 and self.variants > 1
        if self.by == "neighbors":
            return
        if odd:
            do = "Draws come in mirrored pairs; one is the mean."
            raise OptionError(expected="1 variant, or an even number", got=str(self.variants), do=do)
        table = ask.model.modality
        if isinstance(table, Table) and table.categories:
            do = 'Use Conditional(by="neighbors") or Marginal.'
            raise OptionError(
                expected="numeric columns only", got=f"categories in {next(iter(table.categories))!r}", do=do
            )


def covariance(rows: Tensor) -> Tensor:
    """(width, width) the covariance of rows in double precision; zeros for one row."""
    centered = rows.double() - rows.double().mean(0)
    return centered.T @ centered / max(1, len(rows) - 1)


def gaussian(rows: Tensor, variants: int, seed: int) -> Tensor:
    """(variants, width) draws with the mean and covariance of rows, in mirrored pairs; one is the mean itself."""
    middle = rows.double().mean(0)
    if variants == 1:
        return middle[None].to(rows)
    values, vectors = torch.linalg.eigh(covariance(rows))
    draws = noise(torch.arange(variants // 2), rows.shape[1:], seed).to(values) * values.clamp_min(0).sqrt()
    away = draws @ vectors.T
    return (middle + torch.stack([away, -away], 1).flatten(0, 1)).to(rows)


def some(rows: Tensor, seed: int) -> Tensor:
    """At most so many rows, in random order: ties are then broken fairly."""
    order = torch.randperm(len(rows), generator=generator(seed, len(rows)))[:MOST_ROWS]
    return rows[order.to(rows.device)]


def regressed(rows: Tensor, x: Tensor, draws: Tensor) -> Around:
    """Draws (variants, batch, width) moved to where the shown columns put them: z + Σ Σ_SS⁺ (x − z)_S.

    A draw of all columns becomes a draw given the shown ones by this regression (Matheron's rule).
    """
    sigma = covariance(rows)
    scale = sigma.diagonal().sqrt()
    moving = scale > ROUNDING * rows.double().abs().amax(0)
    scale = torch.where(moving, scale, 1.0)
    likeness = sigma * moving * moving[:, None] / scale / scale[:, None]

    def answer(masks: Tensor, variants: Tensor) -> Tensor:
        z = draws[variants].double()
        gap = (x.double() - z) / scale * masks
        size = max(1, LARGEST_BLOCK // (masks.shape[1] * sigma.numel()))
        moved = [move(*each) for each in zip(gap.split(size), masks.split(size), strict=True)]
        return z + torch.cat(moved) * scale

    def move(gap: Tensor, masks: Tensor) -> Tensor:
        """Gaps (k, batch, width) at shown columns as moves of all columns, each mask solved once."""
        each, which = masks.flatten(0, 1).double().unique_consecutive(dim=0, return_inverse=True)
        within = each[:, :, None] * likeness * each[:, None, :]
        slopes = torch.linalg.pinv(within, rtol=NO_VARIANCE, hermitian=True) @ likeness
        if masks.shape[1] == 1:
            return gap @ slopes[which]
        return (gap.flatten(0, 1)[:, None] @ slopes[which])[:, 0].reshape(gap.shape)

    return answer


def nearest_rows(rows: Tensor, x: Tensor, count: int, ask: Probe) -> Around:
    """The rows nearest to each example (batch, width) in the shown columns."""
    scale = rows.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)

    def answer(masks: Tensor, variants: Tensor) -> Tensor:
        return torch.stack([near(i, masks[:, min(i, masks.shape[1] - 1)], variants) for i in range(len(x))], 1)

    def near(i: int, masks: Tensor, variants: Tensor) -> Tensor:
        """(k, width) each mask's chosen row for one example."""
        apart = differences(rows, x[i], scale, ask.model.modality)
        blocks = masks.to(apart).split(max(1, LARGEST_BLOCK // len(rows)))
        order = torch.cat(
            [(each @ apart.T).round(decimals=9).argsort(dim=1, stable=True)[:, :count] for each in blocks]
        )
        return rows[order.gather(1, variants[:, None])[:, 0]]

    return answer


def differences(rows: Tensor, x: Tensor, scale: Tensor, table: Modality) -> Tensor:
    """(rows, width) squared differences from one row: numbers in units of ``scale``, 1 for another category."""
    apart = ((rows - x) / scale).double().square()
    if isinstance(table, Table) and table.slots[-1].stop == len(x):
        for name in table.categories:
            slot = table.slots[table.columns.index(name)]
            other = ((rows[:, slot] - x[slot]).abs() > 0.5).any(1, keepdim=True)
            apart[:, slot] = other.to(apart) / (slot.stop - slot.start)
    return apart
