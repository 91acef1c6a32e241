"""Rules for operations that are not linear, by their kind: softmax, activation, product, norm.

Without one an operation of its kind answers as ``operations`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pellucid.engines.rules.names import SQUASHING

KINDS: dict[str, str] = {
    **dict.fromkeys(["softmax", "_softmax", "log_softmax"], "softmax"),
    **dict.fromkeys(["relu", "relu_", *SQUASHING], "activation"),
    **dict.fromkeys(["mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"], "product"),
    **dict.fromkeys(["matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "baddbmm", "einsum", "bilinear"], "product"),
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
