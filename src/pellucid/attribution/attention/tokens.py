"""From attentions to values of tokens: which attentions count, which token is read, and where a token stands."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.method import Attributor, Found, option
from pellucid.core.modality import Series
from pellucid.core.model import Model
from pellucid.core.probe import Probe
from pellucid.core.site import Site
from pellucid.engines.attention import Attention, attentions
from pellucid.engines.grids import token_grid
from pellucid.errors import LayerError, OptionError, ShapeError

CAVEAT = "attention shows where the model looks, not why it answers: look at the evidence"
MOST_PREFIXED = 16
LAYERS = "a regular expression that the module paths of the attentions to use contain; all of them without"


@dataclass(frozen=True, kw_only=True)
class AttentionMethod(Attributor):
    """A method on the attentions of one pass, those whose paths contain ``layers``."""

    layers: str | None = option(None, help=LAYERS)

    def attended(self, ask: Probe, *, grad: bool) -> tuple[Attention, ...]:
        """The attentions that count, in the order of their calls."""
        if isinstance(ask.site, Site):
            do = "Ask without at=; choose attentions by layers=."
            raise OptionError(expected="attention of the whole pass", got=f"at={str(ask.site)!r}", do=do)
        found = attentions(ask, grad=grad)
        chosen = tuple(each for each in found if self.layers is None or re.search(self.layers, each.path))
        if not chosen:
            got, do = f"layers={self.layers!r}", f"The attentions are {listed(found)}."
            raise LayerError(expected="a pattern that some attention's path contains", got=got, do=do)
        return chosen


@dataclass(frozen=True, kw_only=True)
class TokenMethod(AttentionMethod):
    """A method that follows attention from the token that the answer is read from, back to those of the input."""

    token: int | None = option(None, help="the token the answer is read from; found from the slopes without")

    notes: ClassVar[tuple[str, ...]] = (CAVEAT,)

    def attribute(self, ask: Probe) -> Found:
        found = self.attended(ask, grad=True)
        read = reading(found[-1], self.token)
        values, extra = self.followed(found, read)
        said = {"attentions": tuple(each.path for each in found), "read": read, **extra}
        return Found(placed(ask, values.to(found[-1].weights)), notes=self.notes, extra=said)

    def followed(self, found: tuple[Attention, ...], read: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(batch, tokens) of the input, from the share (batch, tokens) that the answer is read from; in float64."""
        raise NotImplementedError


def listed(found: tuple[Attention, ...], most: int = 12) -> str:
    """Attentions in words."""
    names = [str(each) for each in found]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def alike(found: tuple[Attention, ...], *, square: bool) -> None:
    """Refuse attentions of different shapes; with ``square``, those that do not lead from all tokens to all tokens."""
    shapes = Counter(tuple(each.weights.shape[-2:] if square else each.weights.shape[1:]) for each in found)
    do = f"Choose some by layers=. The attentions are {listed(found)}."
    if len(shapes) > 1:
        raise LayerError(expected="attentions of one shape", got=", ".join(map(str, shapes)), do=do)
    if not square:
        return
    if any(each.windows > 1 for each in found):
        raise LayerError(expected="attention over all tokens", got="attention inside of windows", do=do)
    (queries, keys), cross = next(iter(shapes)), [each.path for each in found if each.cross]
    if cross or queries != keys:
        got = f"cross-attention in {cross[0]}" if cross else f"{queries} queries and {keys} keys"
        raise LayerError(expected="self-attention", got=got, do=do)


def reading(last: Attention, token: int | None) -> Tensor:
    """(batch, queries): the share of the answer that is read from each token that the last attention writes.

    Without a ``token``, the answer is read evenly from those whose attention moves the score at all: the class token,
    the last one, or all that are pooled. None is where nothing moves it; then all shares are zero.
    """
    n = last.weights.shape[-2]
    if token is not None:
        if not -n <= token < n:
            do = "Count tokens from 0, or from -1 at the end."
            raise OptionError(expected=f"a token of {n}", got=str(token), do=do)
        share = torch.zeros(len(last.weights), n, dtype=torch.float64, device=last.weights.device)
        share[:, token] = 1
        return share
    slope = torch.zeros_like(last.weights) if last.slope is None else last.slope
    moved = (slope != 0).any(-1).any(1).double()
    return moved / moved.sum(1, keepdim=True).clamp_min(1)


def placed(ask: Probe, values: Tensor) -> Tensor:
    """Values of tokens (batch, tokens) where the tokens stand: one an id, a map (batch, 1, …) on pictures and series.

    Raises ShapeError where tokens are not those of the input, or have no grid.
    """
    n, given = values.shape[1], ask.leaves.values
    if ask.leaves.integer:
        if n != given.shape[1]:
            do = "Choose the attentions over the tokens of the input by layers=."
            raise ShapeError(expected=f"attention over the {given.shape[1]} tokens given", got=f"{n} tokens", do=do)
        return values
    if given.ndim == 4:
        prefix, height, width = grid(ask, n)
        return values[:, prefix:].unflatten(1, (1, height, width))
    return values[:, None] if isinstance(ask.model.modality, Series) else values


def grid(ask: Probe, tokens: int) -> tuple[int, int, int]:
    """How many tokens stand before those of a picture (class token, registers), and the picture's (height, width).

    Raises ShapeError where no grid fits.
    """
    found = token_grid(ask.model, ask.leaves, tokens) if isinstance(ask.model, Model) else None
    if found is not None and len(found) == 3:
        return found[0], found[1], found[2]
    height, width = ask.leaves.values.shape[2:]
    got = f"{tokens} tokens of a picture {height} × {width}"
    do = "Choose the attentions over the patches of the picture by layers=."
    raise ShapeError(expected="tokens on a grid", got=got, do=do)
