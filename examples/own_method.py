"""A method of your own is a frozen dataclass with one verb; it works at every layer, for every target, in any batch."""

from dataclasses import dataclass

from torch import Tensor

import pellucid as pl
from pellucid.core.method import Attributor, option
from pellucid.core.probe import Probe
from pellucid.demo import parts
from pellucid.engines.points import noisy, spread


@dataclass(frozen=True, kw_only=True)
class NoisyInputXGradient(Attributor):
    """Input × gradient, the gradient averaged over noisy copies."""

    draws: int = option(16, at_least=1, help="noisy copies")

    def attribute(self, ask: Probe) -> Tensor:
        """x times the mean slope around x."""
        points = noisy(ask.inputs, 0.1 * spread(ask.inputs), ask.seed)
        return ask.inputs * ask.gradient(points, draws=self.draws)


model = pl.load("demo:digits")
pictures = parts("digits").examples[:3]
print(NoisyInputXGradient()(model, pictures))
print(NoisyInputXGradient()(model, pictures, at=model.layers(pictures)[-1].name))
