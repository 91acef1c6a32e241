"""Relevance through transformers: three answers to what attention weights, norms and gates hand back."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pellucid.attribution.propagation.lrp import LRP
from pellucid.core.law import LINEAR
from pellucid.core.method import Attributor, Found, option
from pellucid.core.probe import Probe
from pellucid.engines.rules import Composite, Epsilon, Gamma, Gradient, Rule, SoftmaxAsGiven, anywhere
from pellucid.engines.rules.linear import TINY


def epsilon(size: float) -> Rule:
    """The ε rule; the plain gradient where ε is 0."""
    return Epsilon(size) if size else Gradient()


@dataclass(frozen=True, kw_only=True)
class TransformerLRP(Attributor):
    """LRP by a composite that the options say; ``extra`` holds the ledger and what was conserved."""

    units: ClassVar[str] = "target"
    laws: ClassVar = (LINEAR,)

    @abstractmethod
    def composite(self) -> Composite:
        """The rules."""

    def attribute(self, ask: Probe) -> Found:
        return LRP(self.composite()).attribute(ask)


@dataclass(frozen=True, kw_only=True)
class AttnLRP(TransformerLRP):
    r"""Relevance through linear layers, attention, norms and gates of a transformer, queries and keys included.

    .. math:: R^{x}_i = x_i \left(R^{s}_i - s_i \sum_j R^{s}_j\right), \qquad
        R^{A}_{ji} = \sum_p A_{ji} V_{ip} \frac{R^{O}_{jp}}{2\,O_{jp} + \epsilon}

    The first is a softmax :math:`s = \mathrm{softmax}(x)`, which is not conservative: part of the relevance stays with
    its constant term. The second is a product :math:`O = A V` of two signals, which get half each; so do the factors
    of gated layers. Linear layers obey ε, or γ where ``gamma`` is positive, which makes vision transformers less noisy;
    activations pass all relevance on; layer and RMS norms take their spread as given. Token ids are explained at their
    embedding. ``extra["ledger"]`` lists what was met, ``extra["conserved"]`` (batch,) is the share of the score that
    reached the inputs; the rest stayed with biases (position embeddings among them) and softmax.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target; they add up to it where neither biases nor attention keep any.
    Cost:   one forward and one backward pass; with γ, linear layers run two to four times more.
    Raises: GradientError for an operation without a rule.
    Source: Achtibat et al. 2024, arXiv:2402.05602, propositions 3.1 to 3.4.

    Example:
        >>> import torch, pellucid as pl
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        >>> net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(24, 2))
        >>> pl.AttnLRP()(net, torch.randn(1, 3, 8)).values.shape
        torch.Size([1, 3, 8])
    """

    paper: ClassVar[str] = "Achtibat et al. 2024, arXiv:2402.05602"
    epsilon: float = option(TINY, help="the ε of linear layers", at_least=0)
    gamma: float = option(0.0, help="above 0, linear layers obey the γ rule instead of ε", at_least=0)

    def composite(self) -> Composite:
        return Composite(((anywhere, Gamma(self.gamma) if self.gamma else epsilon(self.epsilon)),))


@dataclass(frozen=True, kw_only=True)
class CPLRP(TransformerLRP):
    r"""Relevance through a transformer whose attention weights and norm spreads are taken as given.

    .. math:: R^{V}_{ip} = \sum_j A_{ji} V_{ip} \frac{R^{O}_{jp}}{O_{jp}}, \qquad
        R^{x}_i = \sum_k \frac{x_i (\delta_{ik} - \frac1n)}{\sum_j x_j (\delta_{jk} - \frac1n)} R^{y}_k

    Nothing goes to queries and keys, so attention hands on all it gets: only biases keep relevance, and position
    embeddings, where words or patches are explained. The second is a layer norm without its scale. Linear layers obey
    ε, activations pass all relevance on, gated products give half to each factor. ``extra["ledger"]`` lists what was
    met, ``extra["conserved"]`` (batch,) is the share of the score that reached the inputs.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target; they add up to it where the layers have no biases.
    Cost:   one forward and one backward pass.
    Raises: GradientError for an operation without a rule.
    Source: Ali et al. 2022, arXiv:2202.07304, section 4, rules AH and LN.

    Example:
        >>> import torch, pellucid as pl
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, bias=False)
        >>> net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(24, 2, bias=False))
        >>> heat = pl.CPLRP()(net, torch.randn(1, 3, 8))
        >>> bool(torch.allclose(heat.values.sum((1, 2)), heat.score, rtol=1e-2))
        True
    """

    paper: ClassVar[str] = "Ali et al. 2022, arXiv:2202.07304"
    epsilon: float = option(TINY, help="the ε of linear layers", at_least=0)

    def composite(self) -> Composite:
        return Composite(((anywhere, SoftmaxAsGiven()), (anywhere, epsilon(self.epsilon))))


@dataclass(frozen=True, kw_only=True)
class LibraGrad(TransformerLRP):
    r"""Gradient × input, where the ways back that unbalance a transformer's gradient are cut or scaled.

    .. math:: a = x \odot \tilde\nabla f(x), \qquad f(x) = \sum_i a_i + \text{what biases contribute}

    Attention weights, the spread of norms and the gates of activations :math:`x\,\sigma(x)` are constants on the way
    back; a product of two signals is scaled by one half. What is left is locally linear, and its gradient complete.
    ``extra["ledger"]`` lists what was met, ``extra["conserved"]`` (batch,) is the share of the score that reached the
    inputs.

    Shapes: inputs (batch, \*shape) → attribution (batch, \*shape).
    Units:  those of the target; they add up to it where the layers have no biases.
    Cost:   one forward and one backward pass.
    Raises: GradientError for an operation without a rule.
    Source: Mehri, Soleymani Baghshah & Pilehvar 2025, arXiv:2411.16760; of its attributions, input × gradient.

    Example:
        >>> import torch, pellucid as pl
        >>> layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, bias=False)
        >>> net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(24, 2, bias=False)).double()
        >>> heat = pl.LibraGrad()(net, torch.randn(1, 3, 8).double())
        >>> bool(torch.allclose(heat.values.sum((1, 2)), heat.score))
        True
    """

    paper: ClassVar[str] = "Mehri, Soleymani Baghshah & Pilehvar 2025, arXiv:2411.16760"

    def composite(self) -> Composite:
        return Composite(((anywhere, SoftmaxAsGiven()), (anywhere, Gradient())))
