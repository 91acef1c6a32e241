"""Relevance that passes a layer through chosen channels only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from pellucid.core.site import Site, meet, uncalled
from pellucid.errors import LayerError, OptionError

Keep = Callable[[Site, Tensor, int], Tensor]
"""(site, relevance (rows, channels), turn) → what is kept of each channel, (rows or 1, channels)."""


def only(channels: Mapping[Site, Sequence[int]]) -> Keep:
    """The given channels of each layer."""

    def keep(site: Site, relevance: Tensor, _turn: int) -> Tensor:
        mask, wanted = torch.zeros_like(relevance[:1]), list(channels[site])
        if wanted and max(wanted) >= mask.shape[1]:
            got = f"channel {max(wanted)}"
            raise OptionError(expected=f"one of the {mask.shape[1]} channels of {site}", got=got, do="Count from 0.")
        mask[:, wanted] = 1
        return mask

    return keep


def one_by_one(channels: Sequence[int]) -> Keep:
    """Another channel each turn."""
    return lambda site, relevance, turn: only({site: (channels[turn],)})(site, relevance, 0)


def strongest(_site: Site, relevance: Tensor, _turn: int) -> Tensor:
    """Each example's most relevant channel."""
    return ranked(_site, relevance, 0)


def ranked(_site: Site, relevance: Tensor, turn: int) -> Tensor:
    """Each example's most relevant channel, then its second, and so on."""
    return torch.zeros_like(relevance).scatter_(1, order(relevance)[:, turn : turn + 1], 1.0)  # nothing after the last


def order(relevance: Tensor) -> Tensor:
    """(rows, channels): channels from the most relevant to the least."""
    return relevance.argsort(dim=1, descending=True, stable=True)


class Concepts:
    """A way back on which layers let pass what ``keep`` says, and book what each channel bears before.

    Of ``candidates`` only the last layer that relevance reaches is cut.
    """

    def __init__(self, sites: Sequence[Site], keep: Keep, *, batch: int, rank: int, candidates: bool = False) -> None:
        self.sites, self.keep, self.batch, self.rank, self.candidates = tuple(sites), keep, batch, rank, candidates
        self.layers = tuple(site.layer for site in sites)
        self.rows = torch.arange(batch)
        self.number = 0
        self.booked: dict[tuple[int, Site], Tensor] = {}
        self.cut: Site | None = None

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """In force for calls of a module."""
        seen: set[Site] = set()
        with ExitStack() as stack:
            for site in self.sites:
                stack.enter_context(meet(module, site, lambda tensor, site=site: self.look(site, tensor, seen)))  # type: ignore[misc]
            yield
        missing = [site for site in self.sites if site not in seen]
        if missing and not self.candidates:
            raise uncalled(missing[0])

    def look(self, site: Site, tensor: Tensor, seen: set[Site]) -> None:
        """Wait at a layer's output for the relevance that comes back."""
        seen.add(site)
        with torch._C.DisableTorchFunction():
            if torch.is_grad_enabled() and tensor.requires_grad:
                value, rows = tensor.detach().clone(), self.rows  # what comes next may write into the output
                tensor.register_hook(lambda g: self.passed(site, value, g, rows))

    def axis(self, tensor: Tensor) -> int:
        """Where channels lie: second in maps, last in tokens and plain vectors."""
        return 1 if tensor.ndim >= 4 or (tensor.ndim == 3 and self.rank == 1) else tensor.ndim - 1

    def passed(self, site: Site, value: Tensor, g: Tensor, rows: Tensor) -> Tensor | None:
        """What a layer lets pass."""
        if self.candidates and self.cut not in (None, site):
            return None
        self.cut, axis = site, self.axis(value)
        relevance = (g * value).sum([i for i in range(1, g.ndim) if i != axis]) if g.ndim > 2 else g * value
        books = self.booked.setdefault((self.number, site), relevance.new_zeros(self.batch, relevance.shape[1]))
        books[rows.to(books.device)] = relevance
        mask = self.keep(site, relevance, self.number)
        shape = [1] * g.ndim
        shape[0], shape[axis] = mask.shape
        return g * mask.reshape(shape)

    def piece(self, rows: Tensor) -> None:
        """The rows of the pass that begins."""
        self.rows, self.number = rows, 0

    def turn(self, number: int) -> None:
        """The answer backwards that comes next."""
        self.number = number

    def retell(self, first: Concepts, number: int) -> None:
        """Take over what another one booked on a pass that served both."""
        self.cut = first.cut
        self.booked = {(0, site): books for (turn, site), books in first.booked.items() if turn == number}

    def channels(self, turn: int = 0) -> Tensor | None:
        """(batch, channels): what each channel of the last layer bears; None where no relevance came by."""
        return self.booked.get((turn, self.where))

    @property
    def where(self) -> Site:
        """The last layer, or the candidate that was cut."""
        return self.cut if self.candidates and self.cut else self.sites[-1]

    def refuse_unmet(self) -> None:
        """Relevance reached the inputs: raise where it did not go through the layers."""
        if self.candidates:
            return
        for site in self.sites:
            if not any(each == site for _, each in self.booked):
                do = "Name a later layer: a batch-norm right after a convolution is taken as one with it."
                raise LayerError(expected="a layer that relevance passes on its way", got=str(site), do=do)
