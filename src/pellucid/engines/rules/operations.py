"""What is done with each operation, by its name in torch: ``handler(rules, func, args, kwargs)``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from pellucid.engines.rules.answers import LinearAnswer, NormAnswer, Ratio
from pellucid.engines.rules.dot_product import dot_product
from pellucid.engines.rules.lent import Lent
from pellucid.engines.rules.linear import Epsilon, Gradient, LinearOp, Rule
from pellucid.engines.rules.meeting import Handler
from pellucid.engines.rules.names import SQUASHING
from pellucid.engines.rules.products import PRODUCTS, dynamic_linear, product, sum_and_product
from pellucid.engines.rules.recurrent import RECURRENT, as_given

REMEMBERED = 8
CONVOLUTION_NAMES = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
TRANSPOSED_NAMES = ["input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"]
GROUP_NAMES = ["input", "num_groups", "weight", "bias", "eps"]
INSTANCE_NAMES = ["input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"]


def linear(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """y = x Wᵀ + b."""
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    if weight.requires_grad or not x.requires_grad or (bias is not None and bias.requires_grad):
        return dynamic_linear(rules, func, args, kwargs)
    op = LinearOp(Lent(x.detach()), weight, bias, functional.linear, dense_back)
    return obeying(rules, func.__name__, op, x, lambda: func(*args, **kwargs))


def convolution(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Convolutions of any rank, transposed ones included."""
    transposed = "transpose" in func.__name__
    names = TRANSPOSED_NAMES if transposed else CONVOLUTION_NAMES
    given = dict(zip(names, args, strict=False)) | kwargs
    x, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias", None)
    if weight.requires_grad or not x.requires_grad or (bias is not None and bias.requires_grad):
        return dynamic_linear(rules, func, args, kwargs)
    there = Convolution(weight.ndim - 2, transposed, tuple(weight.shape[2:]), **given)
    op = LinearOp(Lent(x.detach()), weight, bias, there, there.back)
    return obeying(rules, func.__name__, op, x, lambda: func(*args, **kwargs))


class Convolution:
    """A convolution's geometry: forwards, and backwards to its input."""

    def __init__(
        self,
        rank: int,
        transposed: bool,
        kernel: tuple[int, ...],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        output_padding: Any = 0,
        groups: int = 1,
    ) -> None:
        self.rank, self.transposed, self.groups = rank, transposed, groups
        self.stride, self.dilation, self.output_padding = (
            self.axes(each) for each in (stride, dilation, output_padding)
        )
        self.around = (0,) * 2 * rank
        if padding == "same":
            spans = [d * (k - 1) for d, k in zip(self.dilation, kernel, strict=True)]
            self.around = tuple(each for span in reversed(spans) for each in (span // 2, span - span // 2))
        self.padding = self.axes(0 if isinstance(padding, str) else padding)

    def axes(self, given: Any) -> list[int]:
        """One number an axis."""
        several = list(given) if isinstance(given, list | tuple) else [given]
        return several * self.rank if len(several) == 1 else several

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if any(self.around):
            x = functional.pad(x, self.around)
        shape = (self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups)
        return torch.convolution(x, weight, bias, *shape)

    def back(self, s: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        """The gradient by an input like x, for a gradient of the output."""
        like, shape = functional.pad(x, self.around) if any(self.around) else x, x.shape
        rest = (self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups)
        wanted = [True, False, False]
        slope = torch.ops.aten.convolution_backward(s, like, weight, None, *rest, wanted)[0]
        for axis in range(self.rank):
            before = self.around[2 * (self.rank - 1 - axis)]
            slope = slope.narrow(slope.ndim - self.rank + axis, before, shape[len(shape) - self.rank + axis])
        return slope


def dense_back(s: Tensor, weight: Tensor, _x: Tensor) -> Tensor:
    """The gradient by the input of a dense layer."""
    return s @ weight


def obeying(rules: Any, name: str, op: LinearOp, x: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """The output of a linear operation under the rule of its place; remembered for a batch-norm that may follow."""
    rule = rules.choose(rules.place(name))
    rules.number += 1
    rules.note(name, "exact", type(rule).__name__)
    z, handle = answered(rules, op, rule, x, compute)
    rules.linear[id(z)] = (z, op, rule, x, handle)
    for old in list(rules.linear)[:-REMEMBERED]:
        del rules.linear[old]
    return z


def answered(
    rules: Any, op: LinearOp, rule: Rule, x: Tensor, compute: Callable[[], Tensor]
) -> tuple[Tensor, RemovableHandle | None]:
    """An output that obeys a rule, and the handle of the hook that makes it where there is one."""
    if isinstance(rule, Gradient):
        return compute(), None
    if isinstance(rule, Epsilon):  # the plain gradient of scaled relevance: nothing is computed twice
        z = compute()
        value = Lent(z.detach())
        rules.lend(value)
        return z, z.register_hook(lambda g: rule.scaled(value.tensor, g))
    op, value = op.to(at_least_single(x)), Lent()
    z = LinearAnswer.apply(x, op, rule, value, lambda: compute().detach())
    rules.lend(op.lent)
    rules.lend(value)
    return z, None


def at_least_single(tensor: Tensor) -> torch.dtype:
    """Single precision for halves, in which small numbers vanish."""
    return torch.float32 if tensor.dtype.itemsize < 4 else tensor.dtype


def batch_norm(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A scale and a shift a channel; one that follows a linear operation is folded into its rule."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = dict(zip(names, args, strict=False)) | kwargs
    z, eps = given["input"], given.get("eps", 1e-5)
    before = rules.linear.pop(id(z), None)
    if before is None or before[0] is not z or given.get("training"):
        rules.note("batch_norm", "linear")
        return func(*args, **kwargs)
    _, op, rule, x, handle = before
    if handle is not None:
        handle.remove()
    factor = (given["running_var"] + eps).rsqrt()
    factor = factor if given.get("weight") is None else factor * given["weight"]
    shift = -given["running_mean"] * factor
    shift = shift if given.get("bias") is None else shift + given["bias"]
    rules.note("batch_norm", "exact", type(rule).__name__)
    return answered(rules, op.scaled(factor, shift), rule, x, lambda: func(*args, **kwargs))[0]


def squashing(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """An elementwise non-linearity: relevance passes through."""
    x, *rest = args
    rules.note(func.__name__, "exact", "pass")
    options = {name: value for name, value in kwargs.items() if name != "inplace"}
    inplace = bool(kwargs.get("inplace")) or func.__name__.endswith("_")
    plain: Any = getattr(torch.Tensor, func.__name__.rstrip("_")) if func.__name__.endswith("_") else func
    return Ratio.apply(x, lambda value: plain(value, *rest, **options), inplace)


def layer_norm(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear in what is left when the spread is taken as given."""
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    given = dict(zip(names, args, strict=False)) | kwargs
    x, dims = given["input"], tuple(range(-len(given["normalized_shape"]), 0))
    value = x.detach()
    rules.note(func.__name__, "exact", "spread taken as given")
    centered = func.__name__ == "layer_norm"
    eps = given.get("eps") or (torch.finfo(x.dtype).eps if not centered else 1e-5)
    mean = value.mean(dims, keepdim=True) if centered else 0.0
    inverse = ((value - mean).square().mean(dims, keepdim=True) + eps).rsqrt()
    return NormAnswer.apply(x, given.get("weight"), inverse, dims if centered else None, lambda: func(*args, **kwargs))


def group_norm(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Layer-norm over groups of channels; an instance norm is one of single channels."""
    names = INSTANCE_NAMES if func.__name__ == "instance_norm" else GROUP_NAMES
    given = dict(zip(names, args, strict=False)) | kwargs
    x, weight = given["input"], given.get("weight")
    groups = given.get("num_groups", x.shape[1])
    value = x.detach().reshape(len(x), groups, -1)
    rules.note(func.__name__, "exact", "spread taken as given")
    inverse = (value.var(-1, correction=0, keepdim=True) + given.get("eps", 1e-5)).rsqrt()
    wide = None if weight is None else weight.reshape(1, -1, *[1] * (x.ndim - 2))
    return NormAnswer.apply(x, wide, inverse, (-1,), lambda: func(*args, **kwargs))


def attention(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Scaled dot-product attention, by its parts."""
    return dot_product(rules, args, kwargs)


def recurrent(call: Callable[..., Any], rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """LSTM, GRU and RNN, written with their parts; in a product of gate and signal the signal takes all."""
    if not func.__name__.startswith("rnn"):
        rules.note(func.__name__, "approximated", "gates taken as given")
    return call(rules, as_given, *args, **kwargs)


def addmm(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """b + x W with constant b and W is a dense layer."""
    if kwargs or len(args) != 3 or args[0].requires_grad or args[2].requires_grad:
        return sum_and_product(rules, func, args, kwargs)
    bias, x, weight = args
    op = LinearOp(Lent(x.detach()), weight.t(), bias, functional.linear, dense_back)
    return obeying(rules, "addmm", op, x, lambda: func(*args))


def matmul(rules: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """x W with a constant matrix W is a dense layer; anything else a product."""
    x, weight = args[0], args[1] if len(args) > 1 else kwargs.get("other")
    constant = isinstance(weight, Tensor) and weight.ndim == 2 and not weight.requires_grad and x.requires_grad
    if not constant or x.ndim < 2:
        return product(rules, func, args, kwargs)
    op = LinearOp(Lent(x.detach()), weight.t(), None, functional.linear, dense_back)
    return obeying(rules, "matmul", op, x, lambda: func(*args, **kwargs))


HANDLERS: dict[str, Handler] = {
    "linear": linear,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": group_norm,
    "scaled_dot_product_attention": attention,
    "addmm": addmm,
    **dict.fromkeys([f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)], convolution),
    **dict.fromkeys(SQUASHING, squashing),
    **dict.fromkeys(["matmul", "__matmul__", "__rmatmul__", "mm"], matmul),
    **PRODUCTS,
    **{name: partial(recurrent, call) for name, call in RECURRENT.items()},
}
