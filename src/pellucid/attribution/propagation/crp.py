"""Concept relevance propagation: the part of an explanation that goes through chosen channels of hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.attribution.cam import MOST_TRIED, map_layers
from pellucid.attribution.propagation.lrp import LRP
from pellucid.core.figure import Figure, Grid, robust_limit
from pellucid.core.method import Found, as_studied, option, question
from pellucid.core.model import Layer, Model
from pellucid.core.probe import Probe
from pellucid.core.result import Attribution, main_tensor
from pellucid.core.run import Run, undisturbed
from pellucid.core.several import FirstQuestion
from pellucid.core.site import Site, site_of
from pellucid.engines.rules.concepts import Concepts, Keep, one_by_one, only, order, ranked, strongest
from pellucid.engines.sweep import chunks
from pellucid.errors import LayerError, OptionError

MOST_NAMED = 6


@dataclass(frozen=True, kw_only=True)
class CRP(LRP):
    r"""The part of the LRP map that goes through chosen channels of hidden layers: where a concept is seen.

    .. math:: R_j(x \mid c) = \sum_k \frac{z_{jk}}{z_k} \, \delta_{k \in c} \, R_k

    Relevance is masked at the output of each layer of ``concepts``: ``{"layer3": (3, 17), "layer2": 5}``. A layer's
    name alone, or nothing, takes each example's most relevant channel, of that layer or of the last one with maps (the
    last hidden one without). Channels are the second axis of maps and the last one of tokens. The maps of all channels
    add up to that of LRP where everything passes the layer; what goes around it, over a skip connection, is in each of
    them. ``extra["channels"]`` (batch, channels) is the relevance of every channel of the last layer named, and
    ``conditional`` gives one map for each of several channels in one pass.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target.
    Cost:   that of LRP.
    Raises: what LRP raises; LayerError for a layer that relevance does not pass; OptionError for no such channel.
    Source: Achtibat et al. 2023, doi:10.1038/s42256-023-00711-8 (arXiv:2206.03208), section "Concept relevance
            propagation".

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> x = torch.rand(1, 3)
        >>> one = [pl.CRP("epsilon", concepts={"1": channel})(net, x).values for channel in range(4)]
        >>> bool(torch.allclose(sum(one), pl.LRP("epsilon")(net, x).values, atol=1e-6))
        True
    """

    paper: ClassVar[str] = "Achtibat et al. 2023, arXiv:2206.03208"
    laws: ClassVar = ()  # type: ignore[assignment]  # which channel is the most relevant depends on the target
    concepts: Any = option(
        None, help="layer → channel or channels; a layer's name, or nothing, for its most relevant channel"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given, do = self.concepts, 'Use concepts={"layer3": (3, 17)}.'
        fits = given is None or isinstance(given, str) or (isinstance(given, Mapping) and len(given) > 0)
        if not fits or not all(map(is_channels, given.values() if isinstance(given, Mapping) else ())):
            raise OptionError(expected="channels by layer", got=repr(given)[:60], do=do)

    def attribute(self, ask: Probe) -> Found:
        way = self.way(ask)
        return self.through(ask.along(way.on), way)

    def through(self, ask: Probe, way: Concepts, turn: int = 0) -> Found:
        """What LRP finds on a way through concepts."""
        found = super().attribute(ask)
        if bool(found.values.any()):
            way.refuse_unmet()
        relevance = way.channels(turn)
        extra = {**found.extra, "layer": str(way.where)}
        if relevance is not None:
            extra["channels"] = relevance
        return replace(found, extra=extra, notes=(*self.told(way, relevance), *found.notes))

    def told(self, way: Concepts, relevance: Tensor | None) -> tuple[str, ...]:
        """What passed, in words."""
        if isinstance(self.concepts, Mapping):
            return tuple(f"through {words_of(channels)} of {layer}" for layer, channels in self.concepts.items())
        if relevance is None:
            return ("relevance passes no hidden layer on its way: this is the whole map",)
        chosen = order(relevance)[:, 0].tolist()
        return (f"through the most relevant channel of {way.where}: {listed(chosen)}",)

    def way(self, ask: Probe) -> Concepts:
        """The way back through the concepts."""
        if isinstance(self.concepts, Mapping):
            sites = {site_of(module_of(ask), layer): several(each) for layer, each in self.concepts.items()}
            return through_layers(ask, tuple(sites), only(sites))
        return through_last(ask, self.concepts, strongest)

    def conditional(
        self,
        model: Any,
        inputs: Any,
        target: Any = None,
        *,
        layer: str | None = None,
        channels: Sequence[int] | None = None,
        top: int = 8,
    ) -> ConceptMaps:
        """One map for each of several channels of a layer: one pass forward, one backward for each channel.

        Without ``channels`` the ``top`` most relevant of each example; without ``layer`` the last one with maps.
        """
        check_top(top)
        with undisturbed():
            ask = question(as_studied(model), inputs, target)
            with ask.model.session(), ask.run.progress(type(self).__name__):
                given = None if channels is None else several(tuple(channels))
                way = through_last(ask, layer, ranked if given is None else one_by_one(given))
                asks = [ask.along(way.on)]
                for _ in range(1, top if given is None else len(given)):
                    asks.append(replace(asks[0], run=Run(ask.run.options, ask.run.device)))
                found = [(one, self.through(one, way, turn)) for turn, one in enumerate(FirstQuestion().of(asks))]
            relevance = way.channels()
            if relevance is None:
                do = "Name a layer on the way, or use LRP."
                raise LayerError(expected="a layer that relevance passes", got="none", do=do)
            ranks = order(relevance)[:, :top] if given is None else torch.tensor([given]).expand(ask.batch, -1)
            results = [
                self.result(one, replace(each, notes=(passing(ranks[:, i], way), *each.notes[1:])), None)
                for i, (one, each) in enumerate(found[: ranks.shape[1]])
            ]
        return ConceptMaps(results=tuple(results), layer=str(way.where), channels=ranks, relevance=relevance)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConceptMaps:
    """Maps of single channels of a ``layer``: ``results`` one a channel, ``channels`` (batch, maps) their numbers.

    ``relevance`` (batch, all channels) is what each channel bears of the explained number.

    Example:
        >>> import pellucid as pl
        >>> from pellucid.demo import parts
        >>> maps = pl.CRP().conditional(pl.load("demo:digits"), parts("digits").examples[:1], top=3)
        >>> len(maps.results), maps.channels.shape
        (3, torch.Size([1, 3]))
    """

    results: tuple[Attribution, ...]
    layer: str
    channels: Tensor
    relevance: Tensor

    def figure(self, row: int = 0) -> Grid:
        """The input and the maps of one row, side by side on one scale."""
        first = self.results[0]
        maps = [np.asarray(getattr(each.figure(row), "values", each.array(row))) for each in self.results]
        limit = max(map(robust_limit, maps))
        drawn: list[Figure] = [replace(first.modality.input_figure(first.input_array(row)), title="input")]
        total = float(self.relevance[row].abs().sum()) or 1.0
        for result, channel in zip(self.results, self.channels[row].tolist(), strict=True):
            share = f"{100 * float(self.relevance[row, channel]) / total:+.0f} %".replace("-", "−")
            drawn.append(replace(result.figure(row, limit), title=f"channel {channel}: {share}"))
        words = f"{self.layer}, for the {first.target_words(row)}; shares of the relevance of all its channels"
        return Grid(title=f"What channels of {self.layer} see", caption=words, figures=tuple(drawn))

    def _repr_html_(self) -> str:
        return self.figure().html()


@dataclass(frozen=True, kw_only=True, eq=False)
class RelevantExamples:
    """For each channel of a ``layer`` its most relevant examples, best first.

    ``rows`` (channels, k) number the examples in the order they came; ``relevance`` (channels, k) is what the channel
    bore in them. Fewer than k examples: fewer columns.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
        >>> pl.relevant_examples(net, torch.rand(5, 2), "0", k=2).rows.shape
        torch.Size([3, 2])
    """

    layer: str
    rows: Tensor
    relevance: Tensor


def relevant_examples(
    model: Any, data: Any, layer: str, *, target: Any = None, method: LRP | None = None, k: int = 8, by: str = "max"
) -> RelevantExamples:
    """The examples in which each channel of a layer bears most relevance: relevance maximization.

    ``data`` is what the model takes, or an iterable of batches (labels are left out); only the best is kept. ``by`` is
    what a channel bears in an example: the "max" over its places, or their "sum".

    Cost:   that of ``method`` (LRP) above the layer, for each example.
    Source: Achtibat et al. 2023, arXiv:2206.03208, section "Relevance maximization".

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> _ = torch.nn.init.eye_(net[0].weight), torch.nn.init.ones_(net[1].weight)
        >>> pl.relevant_examples(net, torch.tensor([[1.0, 0.0], [0.0, 3.0]]), "0", k=1).rows.tolist()
        [[0], [1]]
    """
    check_top(k)
    if by not in ("max", "sum"):
        raise OptionError(expected='by="max" or by="sum"', got=repr(by), do="Use one of them.")
    studied, asked, seen = as_studied(model), method or LRP(), 0
    if not isinstance(studied, Model):
        raise LayerError(expected="a model with layers", got="a BlackBox", do="Use pl.Model(module).")
    best = torch.zeros(0, 0)
    rows = torch.zeros(0, 0, dtype=torch.long)
    for inputs in chunks(studied, data):
        heat = asked(studied, inputs, target, at=layer)
        values = channels_first(main_tensor(heat.values).detach(), heat.about.rank)
        own = values.amax(2).T if by == "max" else values.sum(2).T
        numbers = torch.arange(seen, seen + own.shape[1], device=own.device).expand_as(own)
        seen += own.shape[1]
        own = own if best.numel() == 0 else torch.cat([best, own], 1)
        numbers = numbers if rows.numel() == 0 else torch.cat([rows, numbers], 1)
        best, places = own.sort(dim=1, descending=True, stable=True)
        best, rows = best[:, :k].clone(), numbers.gather(1, places)[:, :k].clone()
    if not seen:
        raise OptionError(expected="at least one example", got="no data", do="Pass some.")
    return RelevantExamples(layer=layer, rows=rows, relevance=best)


def channels_first(values: Tensor, rank: int) -> Tensor:
    """(batch, channels, places)."""
    maps = values.ndim >= 4 or (values.ndim == 3 and rank == 1)
    return (values if maps else values.movedim(-1, 1)).reshape(len(values), values.shape[1 if maps else -1], -1)


def through_layers(ask: Probe, sites: tuple[Site, ...], keep: Keep, *, candidates: bool = False) -> Concepts:
    """A way back through layers."""
    return Concepts(sites, keep, batch=ask.batch, rank=ask.bound.about.rank, candidates=candidates)


def through_last(ask: Probe, layer: str | None, keep: Keep) -> Concepts:
    """A way back through one layer: the named one, or the last with maps that relevance reaches."""
    if layer is not None:
        return through_layers(ask, (site_of(module_of(ask), layer),), keep)
    sites = tuple(Site(each.name) for each in hidden_layers(ask))
    return through_layers(ask, sites, keep, candidates=True)


def hidden_layers(ask: Probe) -> list[Layer]:
    """The last layers with maps; where there are none, the last before the head; the head where it is alone."""
    module = module_of(ask)
    fits = [each for each in map_layers(ask) if each.name]
    if not fits:
        called = [each for each in ask.model.layers(ask.leaves) if each.shape is not None and each.name]  # type: ignore[union-attr]
        called.sort(key=lambda each: each.order)
        leaves = [each for each in called if not any(module.get_submodule(each.name).children())]
        fits = [each for each in called if leaves and each.order < leaves[-1].order] or leaves[-1:]
    if not fits:
        raise LayerError(expected="a model with layers", got="a module without parts", do="Use LRP.")
    once = [each for each in fits if each.calls == 1] or fits
    return once[-MOST_TRIED:]


def module_of(ask: Probe) -> Any:
    """The twin whose layers are named."""
    if not isinstance(ask.model, Model):
        raise LayerError(expected="a model with layers", got="a BlackBox", do="Use Occlusion or KernelSHAP.")
    return ask.model.module


def is_channels(given: Any) -> bool:
    """Whether something is a channel's number, or several."""
    each = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    return all(isinstance(one, Integral) and not isinstance(one, bool) and int(one) >= 0 for one in each)


def several(given: Any) -> tuple[int, ...]:
    """A channel's number, or several, as a tuple."""
    if not is_channels(given):
        raise OptionError(expected="numbers of channels", got=repr(given)[:60], do="Count them from 0.")
    return tuple(map(int, given)) if isinstance(given, Sequence) else (int(given),)


def words_of(given: Any) -> str:
    """Channels in words."""
    numbers = several(given)
    return ("channel " if len(numbers) == 1 else "channels ") + listed(numbers) if numbers else "no channel"


def passing(channels: Tensor, way: Concepts) -> str:
    """Which channel of a layer each example's map is of."""
    numbers = channels.tolist()
    return f"through channel {listed(numbers[:1] if len(set(numbers)) == 1 else numbers)} of {way.where}"


def listed(numbers: Sequence[int]) -> str:
    """Numbers in a row, the first few of many."""
    return ", ".join(map(str, numbers[:MOST_NAMED])) + (", …" if len(numbers) > MOST_NAMED else "")


def check_top(top: int) -> None:
    """Refuse no maps at all."""
    if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
        raise OptionError(expected="a whole number, at least 1", got=repr(top)[:60], do="Ask for some.")
