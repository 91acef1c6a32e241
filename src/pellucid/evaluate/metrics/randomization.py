"""Metrics of randomization: whether a map changes when what the model learned, or what is asked of it, changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.core.bound import Studied
from pellucid.core.method import option
from pellucid.core.outputs import by_class
from pellucid.core.target import Class
from pellucid.engines.points import noisy, spread
from pellucid.evaluate.metrics.again import Again, answers, map_of
from pellucid.evaluate.metrics.layers import Layers, layers_of, steps_of
from pellucid.evaluate.metrics.measure import Better, Untestable
from pellucid.evaluate.metrics.similarity import SIMILARITIES, similarity
from pellucid.evaluate.question import Case

ORDERS = ("top-down", "bottom-up", "independent")


@dataclass(frozen=True, kw_only=True)
class ParameterRandomization(Again):
    r"""How similar the map stays while the model's weights are scrambled, layer by layer.

    .. math:: \frac 1 L \sum_{l = 1}^{L} \operatorname{sim}\bigl(a(x; \theta),\; a(x; \tilde\theta_l)\bigr)

    In θ̃ₗ the weights of the top l layers are permuted, each tensor within itself ("top-down"); of the bottom l layers
    ("bottom-up"); of layer l only ("independent"). Layers come in the order in which a pass uses them; a bare parameter
    (a class token, a position embedding, a layer scale) counts as a layer. ``similarities`` gives the whole curve.

    Shapes: one number in [−1, 1] a row.
    Cost:   the method once a layer, and one forward pass; two copies of the weights.
    Source: Adebayo et al. 2018, arXiv:1810.03292; the mean over layers as in Hedström et al. 2023, arXiv:2401.06465.

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> heat = pl.InputXGradient()(net, torch.rand(1, 8))
        >>> -1 <= pl.metrics.ParameterRandomization(order="independent")(heat, net).value <= 1
        True
    """

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "randomization"
    paper: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292"
    units: ClassVar[str] = "similarity"

    order: str = option("top-down", choices=ORDERS, help="which layers are scrambled together")
    similarity: str = option("rank of sizes", choices=SIMILARITIES, help="how maps are compared")

    def measure(self, case: Case) -> float:
        each = list(self.similarities(case).values())
        return sum(each) / len(each)

    def similarities(self, case: Case) -> dict[str, float]:
        """The similarity to the map after each step, by the name of the layer scrambled in it."""
        _ = map_of(case)
        own, shape = self.own(case), tuple(case.values.shape)
        maker = self.maker(case)
        key = f"scrambled maps {id(case)} {id(maker)} {self.made_with()}"
        kept = case.question.once(key, lambda: (case, maker, dict(self.walk(case))))
        return {name: similarity(self.similarity, own, each, shape) for name, each in kept[2].items()}

    def made_with(self) -> tuple[object, ...]:
        """The options that the maps depend on."""
        return (type(self).__name__, self.order)

    def walk(self, case: Case) -> Iterator[tuple[str, Tensor]]:
        """(layer, map) of each step."""
        layers = steps_of(case.question)
        steps = layers.steps[::-1] if self.order == "top-down" else layers.steps
        with layers.lent():
            for names in steps:
                layers.scramble(names)
                yield names[0].rpartition(".")[0] or names[0], self.one(case, layers.model)
                if self.order == "independent":
                    layers.restore(names)

    def own(self, case: Case) -> Tensor:
        """(elements,) the map that those of scrambled models are compared with."""
        return map_of(case)

    def one(self, case: Case, model: Studied | None) -> Tensor:
        """(elements,) the map of a model."""
        return self.maps(case, model=model)[0]


@dataclass(frozen=True, kw_only=True)
class SmoothParameterRandomization(ParameterRandomization):
    r"""Parameter randomization of maps averaged over noisy inputs, so that noise in them is not read as change.

    .. math:: \hat a(x; \theta) = \frac 1 n \sum_{k = 1}^{n} a(x + \eta_k; \theta), \quad
        \eta_k \sim \mathcal N(0, \sigma^2 (\max x - \min x)^2)

    The same noise is used for all models.

    Shapes: one number in [−1, 1] a row.
    Cost:   ``draws`` times the method for the trained model, and once a layer.
    Source: Hedström et al. 2023, arXiv:2401.06465 (sMPRT).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> heat = pl.InputXGradient()(net, torch.rand(1, 8))
        >>> -1 <= pl.metrics.SmoothParameterRandomization(draws=4)(heat, net).value <= 1
        True
    """

    paper: ClassVar[str] = "Hedström et al. 2023, arXiv:2401.06465"

    draws: int = option(50, at_least=1, help="how many noisy inputs are averaged")
    sigma: float = option(0.1, above=0, help="width of the noise, as a share of the input's range")

    def made_with(self) -> tuple[object, ...]:
        return (*super().made_with(), self.draws, self.sigma)

    def own(self, case: Case) -> Tensor:
        key = f"averaged map {id(case)} {id(self.maker(case))} {self.draws} {self.sigma}"
        return case.question.once(key, lambda: (case, self.maker(case), self.one(case, None)))[2]

    def one(self, case: Case, model: Studied | None) -> Tensor:
        embedded, question = self.movable(case), case.question
        ask = question.ask(model=model, discrete=not embedded, outside=True)
        points = noisy(ask.inputs, self.sigma * spread(ask.inputs), question.seed)(torch.arange(self.draws))
        return self.maps(case, model=model, points=points).mean(0)


@dataclass(frozen=True, kw_only=True)
class EfficientParameterRandomization(Again):
    r"""By what share the map's complexity rises when all weights are scrambled at once.

    .. math:: \frac{H(a(x; \tilde\theta)) - H(a(x; \theta))}{H(a(x; \theta))}, \quad H = -\sum_{b} p_b \ln p_b

    p is the histogram of a map's values over ``bins`` equal bins of its own range. It takes for granted that the map of
    a scrambled model is the more disordered one.

    Shapes: one number ≥ −1 a row.
    Cost:   the method once; two copies of the weights.
    Source: Hedström et al. 2023, arXiv:2401.06465 (eMPRT).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(8, 1)
        >>> pl.metrics.EfficientParameterRandomization()(pl.InputXGradient()(net, torch.rand(1, 8)), net).value >= -1
        True
    """

    better: ClassVar[Better] = "higher"
    kind: ClassVar[str] = "randomization"
    paper: ClassVar[str] = "Hedström et al. 2023, arXiv:2401.06465"
    units: ClassVar[str] = "share of the map's entropy"

    bins: int = option(100, at_least=2, help="bins of the histogram")

    def measure(self, case: Case) -> float:
        own, layers = entropy(map_of(case), self.bins), layers_of(case.question)
        if not own:
            raise Untestable("all values of the map lie in one bin: there is no entropy to compare with")
        other = entropy(self.scrambled(case, layers), self.bins)
        return (other - own) / own

    def scrambled(self, case: Case, layers: Layers) -> Tensor:
        """(elements,) the map of the model with all its weights scrambled."""
        with layers.lent():
            layers.scramble(list(layers.random))
            return self.maps(case, model=layers.model)[0]


@dataclass(frozen=True, kw_only=True)
class RandomLogit(Again):
    r"""How similar the map is to that of another class.

    .. math:: \operatorname{sim}\bigl(a(x; c),\; a(x; c')\bigr)

    c′ is the "least likely" class, or the "runner-up". Classes that share evidence have similar maps for good reason,
    the runner-up most of all: read both.

    Shapes: one number in [−1, 1] a row.
    Cost:   the method once, and one forward pass.
    Source: Sixt, Granz & Landgraf 2020, arXiv:1912.09818, section 5 (there with a random class).

    Example:
        >>> import torch, pellucid as pl
        >>> net = torch.nn.Linear(8, 3)
        >>> -1 <= pl.metrics.RandomLogit()(pl.InputXGradient()(net, torch.rand(1, 8)), net).value <= 1
        True
    """

    better: ClassVar[Better] = "lower"
    kind: ClassVar[str] = "randomization"
    paper: ClassVar[str] = "Sixt, Granz & Landgraf 2020, arXiv:1912.09818"
    units: ClassVar[str] = "similarity"

    other: str = option("least likely", choices=("least likely", "runner-up"), help="which other class")
    similarity: str = option("rank", choices=SIMILARITIES, help="how maps are compared")

    def measure(self, case: Case) -> float:
        own, question, target = map_of(case), case.question, case.question.target
        if not isinstance(target, Class) or len(target.index) != 1:
            raise Untestable("what is explained is not a class")
        told = by_class(question.once("answers", lambda: answers(question)))
        if told.ndim < 2 or told.shape[1] < 2:
            raise Untestable("the model has no other class")
        index = self.another(told[0].flatten(1).mean(1) if told.ndim > 2 else told[0], target.index[0])
        maps = self.maps(case, target=replace(target, which=None, index=(index,)))
        return similarity(self.similarity, own, maps[0], tuple(case.values.shape))

    def another(self, scores: Tensor, index: int) -> int:
        """The other class, of scores (classes,)."""
        least = self.other == "least likely"
        order = scores.argsort(descending=not least, stable=True).tolist()
        return int(next(each for each in order if each != index))


def entropy(values: Tensor, bins: int) -> float:
    """The entropy of the histogram of values (elements,) over ``bins`` equal bins of their range."""
    if bool(values.max() <= values.min()):
        return 0.0
    share = torch.histc(values, bins) / len(values)
    return float(torch.special.entr(share).sum())
