"""Rules: how an operation answers backwards, in the gradient × input domain."""

from __future__ import annotations

from pellucid.engines.rules.blind import OFF as OFF
from pellucid.engines.rules.blind import Flat as Flat
from pellucid.engines.rules.blind import WSquare as WSquare
from pellucid.engines.rules.blind import ZBox as ZBox
from pellucid.engines.rules.composite import Composite as Composite
from pellucid.engines.rules.composite import anywhere as anywhere
from pellucid.engines.rules.composite import convolutional as convolutional
from pellucid.engines.rules.composite import first as first
from pellucid.engines.rules.composite import named as named
from pellucid.engines.rules.gates import Gate as Gate
from pellucid.engines.rules.gates import SoftmaxAsGiven as SoftmaxAsGiven
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
