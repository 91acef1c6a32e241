"""Products of signals, quotients, powers and norms: operations whose plain gradient would count relevance wrongly.

A product of n signals hands a part in n to each (AttnLRP, proposition 3.2); a divisor is taken as given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from pellucid.engines.rules.answers import Ratio
from pellucid.engines.rules.meeting import Handler

INNER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "addmm": torch.mm,
    "addmm_": torch.mm,
    "baddbmm": torch.bmm,
    "baddbmm_": torch.bmm,
    "addbmm": lambda a, b: torch.bmm(a, b).sum(0),
    "addmv": torch.mv,
    "addr": torch.outer,
}


def signals(*values: Any) -> int:
    """How many tensors are on the way from the inputs."""
    return sum(each.requires_grad for each in pytree.tree_leaves(values) if isinstance(each, Tensor))


def product(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """n factors that come from the inputs get a part in n of the relevance each; a constant factor is linear."""
    out, count = func(*args, **kwargs), signals(args, kwargs)
    if count < 2:
        rules.note(func.__name__, "linear")
        return out
    rules.note(func.__name__, "exact", "half each" if count == 2 else f"1/{count} each")
    out.register_hook(lambda g: g / count)
    return out


def dynamic_linear(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """x Wᵀ + b, or a convolution, where W or b come from the inputs: a product, and a sum."""
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    bias, weight = given.pop("bias", None), given["weight"]
    if bias is None or not bias.requires_grad:
        return product(rules, func, args, kwargs)
    wide = bias if func.__name__ == "linear" else bias.reshape(-1, *[1] * (weight.ndim - 2))
    options = {name: value for name, value in kwargs.items() if name not in ("input", "weight", "bias")}
    with rules:
        return func(given["input"], weight, None, *args[3:], **options) + wide


def sum_and_product(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """beta input + alpha a b, written with its parts."""
    names = ("input", "a", "b")
    given = dict(zip(names, args, strict=False)) | kwargs
    if any(name not in given for name in names) or func.__name__.endswith("_"):
        raise rules.unknown(func.__name__)
    with rules:
        inner = INNER[func.__name__](given["a"], given["b"])
        return given.get("beta", 1) * given["input"] + given.get("alpha", 1) * inner


def addcmul(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """input + value a b."""
    start, a, b = args
    with rules:
        return start + kwargs.get("value", 1) * (a * b)


def addcdiv(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """input + value a / b."""
    start, a, b = args
    with rules:
        return start + kwargs.get("value", 1) * (a / b)


def lerp(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """start + weight (end − start)."""
    start, end, weight = (dict(zip(("input", "end", "weight"), args, strict=False)) | kwargs).values()
    with rules:
        return start + weight * (end - start)


def glu(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a σ(b) of two halves, as if it were written so."""
    return gated(rules, lambda gate: gate, args, kwargs)


def gated(rules: Any, gate: Callable[[Tensor], Tensor], args: Any, kwargs: Any) -> Any:
    """a σ(b) of two halves; ``gate`` is what happens to b."""
    given = dict(zip(("input", "dim"), args, strict=False)) | kwargs
    with rules:
        a, b = given["input"].chunk(2, given.get("dim", -1))
        return a * gate(b).sigmoid()


def cosine_similarity(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a b over their norms, which are taken as given."""
    given = dict(zip(("x1", "x2", "dim", "eps"), args, strict=False)) | kwargs
    dim, eps = given.get("dim", 1), given.get("eps", 1e-8)
    with rules:
        one, other = (functional.normalize(given[name], dim=dim, eps=eps) for name in ("x1", "x2"))
        return (one * other).sum(dim)


def division(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a / b: linear in a; b is taken as given."""
    a, by = args[0], args[1] if len(args) > 1 else kwargs["other"]
    options = {name: value for name, value in kwargs.items() if name != "other"}
    if isinstance(by, Tensor) and by.requires_grad:
        rules.note(func.__name__, "approximated", "divisor taken as given")
        return func(a, by.detach(), *args[2:], **options)
    rules.note(func.__name__, "linear")
    return func(a, by, *args[2:], **options)


def power(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """xⁿ hands all its relevance to x; a negative power is a divisor; a constant to the power of x is refused."""
    x, n = args[0], args[1] if len(args) > 1 else kwargs.get("exponent", 2)
    if not isinstance(x, Tensor) or (isinstance(n, Tensor) and n.requires_grad):
        raise rules.unknown(func.__name__)
    if not isinstance(n, Tensor) and n < 0:
        rules.note(func.__name__, "approximated", "taken as given")
        return func(*args, **kwargs).detach()
    rules.note(func.__name__, "exact", "pass")
    return Ratio.apply(x, lambda value: value**n, func.__name__.endswith("_") and func.__name__ == "pow_")


def taken_as_given(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """1/x, 1/√x, a sign, a rounded number: no relevance goes back."""
    rules.note(func.__name__, "approximated", "taken as given")
    return func(*args, **kwargs).detach()


def degree_one(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A norm, a spread or a choice scales with its input, so its plain gradient conserves."""
    rules.note(func.__name__, "exact", "gradient")
    return func(*args, **kwargs)


def degree_two(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A variance (and its mean) is a product of the input with itself: half of the gradient conserves."""
    rules.note(func.__name__, "exact", "half each")
    out = func(*args, **kwargs)
    (out[0] if isinstance(out, tuple) else out).register_hook(lambda g: None if g is None else g / 2)
    return out


def gradient(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Its plain gradient: AttnLRP's rule for softmax."""
    rules.note(func.__name__, "approximated", "gradient")
    return func(*args, **kwargs)


def sampled(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A picture read at places that do not depend on the inputs is linear in it."""
    if args[1].requires_grad:
        raise rules.unknown(func.__name__)
    rules.note(func.__name__, "linear")
    return func(*args, **kwargs)


PRODUCTS: dict[str, Handler] = {
    **dict.fromkeys(
        ["mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__", "bmm", "einsum", "bilinear"], product
    ),
    **dict.fromkeys(["_grouped_mm", "grouped_mm"], product),
    **dict.fromkeys(["dot", "outer", "inner", "mv", "vdot", "kron", "tensordot", "linalg_vecdot"], product),
    **dict.fromkeys([name for name in INNER if name != "addmm"], sum_and_product),
    **dict.fromkeys(["pow", "__pow__", "square", "pow_"], power),
    **dict.fromkeys(["rsqrt", "reciprocal"], taken_as_given),
    **dict.fromkeys(["sign", "sgn", "round", "floor", "ceil", "trunc"], taken_as_given),
    **dict.fromkeys(["norm", "std", "std_mean", "linalg_vector_norm", "linalg_norm"], degree_one),
    **dict.fromkeys(["topk", "sort", "msort", "median", "kthvalue", "rrelu", "hardshrink"], degree_one),
    **dict.fromkeys(["var", "var_mean"], degree_two),
    **dict.fromkeys(["div", "div_", "true_divide", "__truediv__", "__itruediv__"], division),
    **dict.fromkeys(["softmax", "_softmax", "log_softmax", "logsumexp"], gradient),
    "glu": glu,
    "cosine_similarity": cosine_similarity,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "lerp": lerp,
    "grid_sampler": sampled,
}
