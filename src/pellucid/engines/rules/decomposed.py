"""Operations written with others that are met one by one: normalizations, attention, quotients, norms, recurrence.

The value is always that of the operation itself.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from pellucid.engines.rules.dot_product import dot_product
from pellucid.engines.rules.meeting import Handler
from pellucid.engines.rules.multipliers import Softened, Through
from pellucid.engines.rules.operations import GROUP_NAMES, INSTANCE_NAMES
from pellucid.engines.rules.recurrent import RECURRENT, identity

LAYER_NAMES = ["input", "normalized_shape", "weight", "bias", "eps"]
RMS_NAMES = ["input", "normalized_shape", "weight", "eps"]
CROSS_NAMES = ["input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"]
MASKED = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def valued(made: Any, values: Any) -> Any:
    """The values of an operation, and the way back of what was made in its place."""
    return pytree.tree_map(lambda x, value: Through.apply(x, value) if x.is_floating_point() else value, made, values)


def frozen(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation gives, without a way back."""
    with torch.no_grad():
        return func(*args, **kwargs)


def written(handler: Handler) -> Handler:
    """The handler's way back with the operation's own value."""

    def valued_by_func(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
        made = handler(meeting, func, args, kwargs)
        return made if not meeting.playing else valued(made, frozen(func, args, kwargs))

    return valued_by_func


def softened(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """log Σ exp of what is centered, by exp, sum and log; x − that; and exp of it."""
    names = ("input", "dim", "keepdim" if "sumexp" in func.__name__ else "dtype")
    given = dict(zip(names, args, strict=False)) | {key: each for key, each in kwargs.items() if key != "_stacklevel"}
    x, dim, name = given["input"] if "input" in given else given["self"], given.get("dim"), func.__name__
    meeting.note(name, "exact", "rescale")
    there = meeting.against(x)
    if there is None:
        return func(*args, **kwargs)
    value = frozen(func, args, kwargs)
    dims = (dim,) if isinstance(dim, int) else tuple(dim) if dim is not None else (-1 if x.ndim > 2 else x.ndim - 1,)
    last = tuple(range(-len(dims), 0))
    here, base = (each.movedim(dims, last).flatten(-len(dims)) for each in (x, there[0]))
    if "sumexp" in name:
        keepdim = bool(given.get("keepdim", False))
        flat = Softened.apply(here, base, "logsumexp", value.reshape(*here.shape[:-1], 1).to(x.dtype))
        return flat.reshape(value.shape) if keepdim else flat.squeeze(-1)
    kind = "log_softmax" if "log" in name else "softmax"
    made = Softened.apply(here, base, kind, value.movedim(dims, last).flatten(-len(dims)).to(x.dtype))
    sizes = [x.shape[each] for each in dims]
    return made.unflatten(-1, sizes).movedim(last, dims).to(value.dtype)


def normalized(x: Tensor, dims: tuple[int, ...], eps: float, *, centered: bool = True) -> Tensor:
    """(x − mean) / √(mean square + ε) over some axes."""
    left = x - x.mean(dims, keepdim=True) if centered else x
    return left * (left.square().mean(dims, keepdim=True) + eps).rsqrt()


def scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """w x + b."""
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@written
def layer_norm(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Centered (layer norm) or not (RMS norm), over the last axes."""
    centered = func.__name__ == "layer_norm"
    given = dict(zip(LAYER_NAMES if centered else RMS_NAMES, args, strict=False)) | kwargs
    x, shape, eps = given["input"], given["normalized_shape"], given.get("eps")
    dims = tuple(range(-1 if isinstance(shape, int) else -len(shape), 0))
    eps = eps if eps is not None else (1e-5 if centered else torch.finfo(x.dtype).eps)
    with meeting:
        return scaled(normalized(x, dims, eps, centered=centered), given.get("weight"), given.get("bias"))


def batch_norm(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A scale and a shift a channel: linear, as long as its statistics are its own."""
    if kwargs.get("training", args[5] if len(args) > 5 else False):
        raise meeting.unknown("batch_norm over the batch")
    meeting.note(func.__name__, "linear")
    return func(*args, **kwargs)


def group_norm(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Over groups of channels; an instance norm is one of single channels, or linear with statistics of its own."""
    instance = func.__name__ == "instance_norm"
    given = dict(zip(INSTANCE_NAMES if instance else GROUP_NAMES, args, strict=False)) | kwargs
    if instance and not given.get("use_input_stats", True):
        meeting.note(func.__name__, "linear")
        return func(*args, **kwargs)
    return grouped(meeting, func, args, kwargs)


@written
def grouped(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """(rows, channels, *space) normalized in groups of channels."""
    instance = func.__name__ == "instance_norm"
    given = dict(zip(INSTANCE_NAMES if instance else GROUP_NAMES, args, strict=False)) | kwargs
    x, eps = given["input"], given.get("eps", 1e-5)
    wide = [given.get(name) for name in ("weight", "bias")]
    weight, bias = (None if each is None else each.reshape(1, -1, *[1] * (x.ndim - 2)) for each in wide)
    with meeting:
        flat = x.reshape(len(x), given.get("num_groups", x.shape[1]), -1)
        return scaled(normalized(flat, (-1,), eps).reshape(x.shape), weight, bias)


@written
def attention(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Scaled dot-product attention: two products and a softmax."""
    return dot_product(meeting, args, kwargs)


def division(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a / b = a · (1/b)."""
    a, b = (*args, *(kwargs[name] for name in ("input", "other") if name in kwargs))[:2]
    if kwargs.get("rounding_mode") is not None:
        raise meeting.unknown(f"{func.__name__} with rounding")
    if func.__name__ in ("__rtruediv__", "__rdiv__"):
        a, b = b, a
    if not (isinstance(b, Tensor) and b.requires_grad):
        meeting.note(func.__name__, "linear")
        return func(*args, **kwargs)
    changing = meeting.changing is not None
    with meeting:
        made = a * b.reciprocal()
    if changing:
        meeting.loans.before("copy_", (a,), {})
    if not meeting.playing:
        return func(*args, **kwargs)
    value = torch.div(*(each.detach() if isinstance(each, Tensor) else each for each in (a, b)))
    made = valued(made, value)
    return a.copy_(made) if changing else made


@written
def glu(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a · sigmoid(b)."""
    x, dim = (*args, *(kwargs[name] for name in ("input", "dim") if name in kwargs), -1)[:2]
    with meeting:
        a, b = x.chunk(2, dim)
        return a * b.sigmoid()


@written
def std(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """The root of the variance."""
    with meeting:
        return torch.var(*args, **kwargs).sqrt()


@written
def p_norm(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """‖x‖ₚ over some axes."""
    x, *rest = args or (kwargs.get("input", kwargs.get("x")),)
    names = ("ord", "dim", "keepdim") if "vector" in func.__name__ else ("p", "dim", "keepdim")
    given = dict(zip(names, rest, strict=False)) | kwargs
    p, dim, keepdim = given.get(names[0], 2), given.get("dim"), bool(given.get("keepdim", False))
    p = 2 if p in (None, "fro") else p
    if not isinstance(p, int | float) or p <= 0:
        raise meeting.unknown(f"{func.__name__} of order {p}")
    dim = tuple(range(x.ndim)) if dim is None else dim
    with meeting:
        if p == float("inf"):
            return x.abs().amax(dim, keepdim)
        if p == 1:
            return x.abs().sum(dim, keepdim)
        powers = x.square() if p == 2 else x.abs().pow(p)
        total = powers.sum(dim, keepdim)
        return total.sqrt() if p == 2 else total.pow(1 / p)


@written
def prod(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """One factor after the other."""
    x, *rest = args or (kwargs["input"],)
    given = dict(zip(("dim", "keepdim"), rest, strict=False)) | kwargs
    dim, keepdim = given.get("dim"), bool(given.get("keepdim", False))
    with meeting:
        parts = x.flatten().unbind(0) if dim is None else x.unbind(dim)
        made = reduce(torch.mul, parts)
        return made.unsqueeze(dim) if keepdim else made


@written
def cosine(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """a · b / (‖a‖ ‖b‖)."""
    names = ("x1", "x2", "dim", "eps")
    given = dict(zip(names, args, strict=False)) | kwargs
    a, b, dim, eps = given["x1"], given["x2"], given.get("dim", 1), given.get("eps", 1e-8)
    with meeting:
        sizes = [each.square().sum(dim).sqrt().clamp_min(eps) for each in (a, b)]
        return (a * b).sum(dim) * (sizes[0] * sizes[1]).reciprocal()


def cross_entropy(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """−log softmax at the true class."""
    given = dict(zip(CROSS_NAMES, args, strict=False)) | kwargs
    if given.get("label_smoothing") or given["target"].is_floating_point():
        raise meeting.unknown("cross_entropy with soft labels")
    rest = {name: given[name] for name in ("weight", "ignore_index", "reduction") if name in given}
    with meeting:
        return functional.nll_loss(functional.log_softmax(given["input"], 1), given["target"], **rest)


@written
def logits_loss(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """softplus(x) − x y."""
    given = dict(zip(("input", "target", "weight"), args, strict=False)) | kwargs
    if given.get("pos_weight") is not None:
        raise meeting.unknown(f"{func.__name__} with pos_weight")
    x = given["input"]
    with meeting:
        loss = functional.softplus(x) - x * given["target"]
        loss = loss if given.get("weight") is None else loss * given["weight"]
        how = given.get("reduction", "mean")
        return loss if how == "none" else loss.mean() if how == "mean" else loss.sum()


def recurrent(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """LSTM, GRU, RNN and their cells, step by step."""
    made = RECURRENT[func.__name__](meeting, identity, *args, **kwargs)
    return made if not meeting.playing else valued(made, frozen(func, args, kwargs))


DECOMPOSED: dict[str, Handler] = {
    **dict.fromkeys(["softmax", "_softmax", "special_softmax", "log_softmax", "logsumexp"], softened),
    **dict.fromkeys(["special_log_softmax", "special_logsumexp"], softened),
    **dict.fromkeys(["layer_norm", "rms_norm"], layer_norm),
    "batch_norm": batch_norm,
    **dict.fromkeys(["group_norm", "instance_norm"], group_norm),
    "scaled_dot_product_attention": attention,
    **dict.fromkeys(["div", "div_", "true_divide", "true_divide_", "divide", "divide_"], division),
    **dict.fromkeys(["__truediv__", "__rtruediv__", "__itruediv__", "__div__", "__rdiv__"], division),
    "glu": glu,
    "std": std,
    **dict.fromkeys(["norm", "linalg_vector_norm"], p_norm),
    "prod": prod,
    "cosine_similarity": cosine,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy_with_logits": logits_loss,
    **dict.fromkeys(RECURRENT, recurrent),
}
