"""Rules for operations that are not linear, by their kind: softmax, activation, product, norm, gating.

Without one an operation of its kind answers as ``operations`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.engines.rules.names import SQUASHING
from pellucid.engines.rules.products import gated
from pellucid.engines.rules.recurrent import RECURRENT, as_given, identity

KINDS: dict[str, str] = {
    **dict.fromkeys(["softmax", "_softmax", "log_softmax"], "softmax"),
    **dict.fromkeys(["relu", "relu_", *SQUASHING], "activation"),
    **dict.fromkeys(["mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"], "product"),
    **dict.fromkeys(["matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "einsum", "bilinear"], "product"),
    **dict.fromkeys(["glu", "lstm", "gru", "lstm_cell", "gru_cell"], "gating"),
    **dict.fromkeys(["layer_norm", "rms_norm", "group_norm", "instance_norm"], "norm"),
}


@dataclass(frozen=True)
class Gate:
    """How an operation of a kind answers backwards."""

    kind: ClassVar[str] = ""

    def __call__(self, rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class SoftmaxAsGiven(Gate):
    """Attention weights are taken as given: no relevance goes to queries and keys (CP-LRP)."""

    kind: ClassVar[str] = "softmax"

    def __call__(self, rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
        rules.note(func.__name__, "approximated", "taken as given")
        return func(*args, **kwargs).detach()


@dataclass(frozen=True)
class GatesAsGiven(Gate):
    """The gates of GLU, LSTM and GRU are taken as given: the signal takes all ("LRP-all", what LSTM and GRU do alone).

    Source: Arras et al. 2019, arXiv:1909.12114, section 3.
    """

    kind: ClassVar[str] = "gating"

    def __call__(self, rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
        rules.note(func.__name__, "approximated", "gates taken as given")
        if func.__name__ == "glu":
            return gated(rules, as_given, args, kwargs)
        return RECURRENT[func.__name__](rules, as_given, *args, **kwargs)


@dataclass(frozen=True)
class GatesShare(Gate):
    """Gate and signal get half each ("LRP-half", what GLU does alone), in LSTM and GRU, too.

    In a GRU the 1 of (1 − z) n keeps a share.

    Source: Arras et al. 2019, arXiv:1909.12114, section 3.
    """

    kind: ClassVar[str] = "gating"

    def __call__(self, rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
        if func.__name__ == "glu":
            return gated(rules, identity, args, kwargs)
        rules.note(func.__name__, "exact", "gates share")
        return RECURRENT[func.__name__](rules, identity, *args, **kwargs)
