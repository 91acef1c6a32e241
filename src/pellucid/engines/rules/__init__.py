"""Rules: how an operation answers backwards, in the gradient × input domain. ``pl.rules`` to users.

A composite of one's own is a list of places and rules, the first that fits decides::

    >>> import torch, pellucid as pl
    >>> from pellucid import rules
    >>> mine = rules.Composite((
    ...     (rules.first, rules.ZBox(0.0, 1.0)),
    ...     (rules.operation("conv*"), rules.Gamma(0.25)),
    ...     (rules.last, rules.Gradient()),
    ...     (rules.anywhere, rules.Epsilon(1e-6)),
    ... ))
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(6, 2))
    >>> pl.LRP(mine)(net, torch.rand(1, 1, 5)).values.shape
    torch.Size([1, 1, 5])

Places: ``first``, ``last``, ``before(n)``, ``from_end(n)``, ``operation("conv2d")``, ``named("layer4.*")``,
``typed("Conv2d")``, ``convolutional``, ``dense``, ``anywhere``, or any function of a ``Place``.
"""

from __future__ import annotations

from pellucid.engines.rules.audit import Audited as Audited
from pellucid.engines.rules.blind import OFF as OFF
from pellucid.engines.rules.blind import Flat as Flat
from pellucid.engines.rules.blind import WSquare as WSquare
from pellucid.engines.rules.blind import ZBox as ZBox
from pellucid.engines.rules.composite import Composite as Composite
from pellucid.engines.rules.composite import anywhere as anywhere
from pellucid.engines.rules.composite import before as before
from pellucid.engines.rules.composite import convolutional as convolutional
from pellucid.engines.rules.composite import dense as dense
from pellucid.engines.rules.composite import first as first
from pellucid.engines.rules.composite import from_end as from_end
from pellucid.engines.rules.composite import last as last
from pellucid.engines.rules.composite import named as named
from pellucid.engines.rules.composite import operation as operation
from pellucid.engines.rules.composite import typed as typed
from pellucid.engines.rules.contrast import Canceling as Canceling
from pellucid.engines.rules.contrast import Contrast as Contrast
from pellucid.engines.rules.conventions import Norm as Norm
from pellucid.engines.rules.conventions import Pass as Pass
from pellucid.engines.rules.conventions import PassNorm as PassNorm
from pellucid.engines.rules.conventions import WithoutBias as WithoutBias
from pellucid.engines.rules.conventions import unwrapped as unwrapped
from pellucid.engines.rules.gates import Gate as Gate
from pellucid.engines.rules.gates import GatesAsGiven as GatesAsGiven
from pellucid.engines.rules.gates import GatesShare as GatesShare
from pellucid.engines.rules.gates import SoftmaxAsGiven as SoftmaxAsGiven
from pellucid.engines.rules.ledger import Anew as Anew
from pellucid.engines.rules.ledger import Ledger as Ledger
from pellucid.engines.rules.linear import AlphaBeta as AlphaBeta
from pellucid.engines.rules.linear import Epsilon as Epsilon
from pellucid.engines.rules.linear import Gamma as Gamma
from pellucid.engines.rules.linear import Gradient as Gradient
from pellucid.engines.rules.linear import LinearOp as LinearOp
from pellucid.engines.rules.linear import Rule as Rule
from pellucid.engines.rules.linear import ZPlus as ZPlus
from pellucid.engines.rules.linear import stable as stable
from pellucid.engines.rules.meeting import Place as Place
from pellucid.engines.rules.mode import Rules as Rules
