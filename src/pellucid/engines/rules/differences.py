"""How operations answer a pass that is held against a reference: ``handler(meeting, func, args, kwargs)``.

Three kinds cover most: elementwise ones (Rescale), quadratic ones (products, squares and variances, whose slope in the
middle is exact), and choices of the largest. What is made of these stands in ``decomposed``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils import _pytree as pytree

from pellucid.engines.rules.decomposed import DECOMPOSED, valued
from pellucid.engines.rules.meeting import Handler
from pellucid.engines.rules.multipliers import (
    Midpoint,
    Selected,
    absolutely_near,
    exactly_there,
    rectified,
    relatively_near,
    rescaled,
)
from pellucid.engines.rules.names import PLAIN

PIECEWISE = """
    leaky_relu rrelu threshold _threshold abs __abs__ absolute clamp clip clamp_min clamp_max hardtanh relu6
    hardsigmoid hardshrink softshrink round floor ceil trunc sign sgn nan_to_num prelu
    """.split()  # noqa: SIM905
AT_SCALE_OF_X = """
    log log2 log10 log1p sqrt rsqrt reciprocal pow __pow__ float_power logit
    """.split()  # noqa: SIM905
AT_SCALE_OF_ONE = """
    elu celu selu gelu silu mish sigmoid special_expit tanh softplus hardswish softsign logsigmoid log_sigmoid
    tanhshrink exp exp2 expm1 erf erfc sin cos tan sinh cosh asin acos atan arctan asinh acosh atanh sinc special_entr
    special_erfinv erfinv lgamma digamma
    """.split()  # noqa: SIM905

# Degree two in everything that comes from the inputs, whatever the arguments.
QUADRATIC = """
    mul multiply __mul__ __rmul__ __imul__ matmul __matmul__ __rmatmul__ mm bmm mv dot vdot inner outer ger
    addmm addmv addbmm baddbmm addr addcmul lerp tensordot linear square var var_mean cov mse_loss
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    """.split()  # noqa: SIM905
POOLS = ("max_pool", "adaptive_max_pool")
AT_MOST_TWO = ["einsum", "bilinear", "chain_matmul", "linalg_multi_dot"]


def plain_of(func: Any) -> Any:
    """An operation without its change in place."""
    name = func.__name__
    if name.startswith("__i"):
        return getattr(torch.Tensor, f"__{name[3:]}")
    if not name.endswith("_") or name.endswith("__"):
        return func
    return getattr(torch.Tensor, name[:-1], None) or getattr(torch, name[:-1], None) or getattr(functional, name[:-1])


def grown(args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors of a call that come from the inputs."""
    leaves = pytree.tree_leaves((args, kwargs))
    return [each for each in leaves if isinstance(each, Tensor) and each.requires_grad]


def unnamed(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """A call with its first argument by position."""
    if args:
        return args, kwargs
    first = next(name for name in ("input", "self") if name in kwargs)
    return (kwargs[first],), {name: value for name, value in kwargs.items() if name != first}


def elementwise(near: Any) -> Handler:
    """One number in, one number out: Δy/Δx."""

    def handler(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = unnamed(args, kwargs)
        name, (x, *rest) = func.__name__, args
        if len(grown(args, kwargs)) > 1 or not (isinstance(x, Tensor) and x.requires_grad):
            raise meeting.unknown(name)
        meeting.note(name, "exact", "rescale")
        there = meeting.against(x)
        if there is None:
            return func(*args, **kwargs)
        plain = plain_of(func)
        options = {key: value for key, value in kwargs.items() if key != "inplace"}

        def function(value: Tensor) -> Tensor:
            return plain(value, *rest, **options)

        by = near if near is rectified else rescaled(function, near)
        return meeting.rescale(x, there[0], lambda value: func(value, *rest, **kwargs), function, by)

    return handler


def quadratic(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Quadratic in what comes from the inputs: the slope in the middle of the way hands back Δy exactly."""
    tensors, name = grown(args, kwargs), func.__name__
    if len(tensors) < 2 and name not in ("square", "square_", "var", "var_mean", "cov", "mse_loss"):
        meeting.note(name, "linear")
        return func(*args, **kwargs)
    meeting.note(name, "exact", "product")
    there = meeting.against(*tensors)
    if there is None:
        return func(*args, **kwargs)
    middles = iter([Midpoint.apply(x, base) for x, base in zip(tensors, there, strict=True)])

    def middle(each: Any) -> Any:
        return next(middles) if isinstance(each, Tensor) and each.requires_grad else each

    def frozen(each: Any) -> Any:
        return each.detach() if isinstance(each, Tensor) else each

    plain = plain_of(func)
    slope_args, slope_kwargs = pytree.tree_map(middle, (args, kwargs))
    value_args, value_kwargs = pytree.tree_map(frozen, (args, kwargs))
    out = valued(plain(*slope_args, **slope_kwargs), plain(*value_args, **value_kwargs))
    return out if meeting.changing is None else args[0].copy_(out)


def at_most_two(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A product of as many factors as it is given; of two from the inputs it is quadratic."""
    if len(grown(args, kwargs)) > 2:
        raise meeting.unknown(f"{func.__name__} of three factors")
    return quadratic(meeting, func, args, kwargs)


def power(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """xⁿ, elementwise; a square is quadratic."""
    args, kwargs = unnamed(args, kwargs)
    n = args[1] if len(args) > 1 else kwargs.get("exponent")
    if isinstance(n, Tensor) and n.requires_grad:
        if isinstance(args[0], Tensor) and args[0].requires_grad:
            raise meeting.unknown(f"{func.__name__} of two varying numbers")
        base = args[0]
        return EXPONENTIAL(meeting, exponential(base), (n,), {})
    return ELEMENTWISE(meeting, func, args, kwargs)


def exponential(base: Any) -> Any:
    """The function that raises a constant to a power."""

    def pow(x: Tensor) -> Tensor:  # noqa: A001 - the ledger shows the name
        return torch.pow(base, x)

    return pow


def reversed_power(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """2 ** x: the exponent comes first."""
    return EXPONENTIAL(meeting, exponential(args[1]), (args[0],), {})


EXPONENTIAL, ELEMENTWISE = elementwise(absolutely_near), elementwise(relatively_near)


def chosen(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Linear once it is known what is chosen; where the choice is another one than at the reference, approximated."""
    leaves = pytree.tree_leaves((args, kwargs))
    choices = [each for each in leaves if isinstance(each, Tensor) and not each.is_floating_point()]
    there = meeting.against(*choices)
    same = there is None or all(torch.equal(*pair) for pair in zip(choices, there, strict=True))
    meeting.note(func.__name__, "linear" if same else "approximated", "" if same else "another choice")
    return func(*args, **kwargs)


def pooled(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Max-pooling of any rank, overlapping or adaptive, with or without indices."""
    name = func.__name__
    core = name.removesuffix("_with_indices")
    args, kwargs = unnamed(args, kwargs)
    (x, *rest), rank = args, int(core[-2])
    both = bool(kwargs.get("return_indices", False)) or core != name
    meeting.note(name, "exact", "largest")
    there = meeting.against(x)
    if there is None:
        return func(*args, **kwargs)
    pool = getattr(functional, core)
    options = {key: value for key, value in kwargs.items() if key != "return_indices"} | {"return_indices": True}
    rest = [each for each in rest if not isinstance(each, bool)]
    (y, at), (before, was) = (pool(each, *rest, **options) for each in (x.detach(), there[0]))
    flat = [each.flatten(-rank).flatten(0, -2) for each in (x, there[0], y, before, at, was)]
    out = Selected.apply(*flat).reshape(y.shape)
    return (out, at) if both else out


def along(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The given axes last, as one."""
    return x.movedim(dims, tuple(range(-len(dims), 0))).flatten(-len(dims)) if dims else x.unsqueeze(-1)


def extremes(sign: int) -> Handler:
    """The largest (or, with −1, the smallest) of all elements, of some axes, or of two tensors."""

    def handler(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = unnamed(args, kwargs)
        x, name = args[0], func.__name__
        dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("other"))
        keepdim = bool(args[2] if len(args) > 2 else kwargs.get("keepdim", False))
        if isinstance(dim, Tensor):
            return larger(meeting, func, (x, dim), sign)
        meeting.note(name, "exact", "largest")
        there = meeting.against(x)
        if there is None:
            return func(*args, **kwargs)
        axes = tuple(range(x.ndim)) if dim is None or dim == () else (dim,) if isinstance(dim, int) else tuple(dim)
        sides = [along(each * sign, axes) for each in (x, there[0])]
        (y, at), (before, was) = (each.detach().max(-1, keepdim=True) for each in sides)
        out = (Selected.apply(*sides, y, before, at, was) * sign).squeeze(-1)
        if keepdim:
            for axis in sorted(axis % x.ndim for axis in axes):
                out = out.unsqueeze(axis)
        if name in ("amax", "amin") or dim is None:
            return out
        kind = torch.return_types.max if sign > 0 else torch.return_types.min
        return kind((out, at.squeeze(-1).reshape(out.shape)))

    return handler


def larger(meeting: Any, func: Any, pair: tuple[Tensor, Tensor], sign: int) -> Tensor:
    """max(a, b) = a + relu(b − a)."""
    a, b = pair
    with meeting:
        made = a + torch.relu((b - a) * sign) * sign
    return valued(made, func(a.detach(), b.detach()))


def maximum(sign: int) -> Handler:
    """The larger (or, with −1, the smaller) of two tensors."""

    def handler(meeting: Any, func: Any, args: Any, kwargs: Any) -> Any:
        a, b = (*args, *kwargs.values())[:2]
        return larger(meeting, func, (a, b), sign)

    return handler


def table(names: list[str], handler: Handler) -> dict[str, Handler]:
    """A handler for operations and what they are called in place."""
    inplace = [f"{name}_" for name in names if not name.startswith("_")]
    return dict.fromkeys([*names, *inplace], handler)


CHOOSING = """
    where masked_fill masked_fill_ __getitem__ index_select gather take_along_dim masked_select take index_fill
    masked_scatter scatter scatter_ scatter_add index_add nll_loss nll_loss_nd
    """.split()  # noqa: SIM905

HANDLERS: dict[str, Handler] = {
    **table(PIECEWISE, elementwise(exactly_there)),
    **table(AT_SCALE_OF_ONE, elementwise(absolutely_near)),
    **table(AT_SCALE_OF_X, ELEMENTWISE),
    **table(["relu"], elementwise(rectified)),
    **table(["pow", "__pow__", "__ipow__", "float_power"], power),
    "__rpow__": reversed_power,
    **table(QUADRATIC, quadratic),
    **dict.fromkeys(AT_MOST_TWO, at_most_two),
    **dict.fromkeys(CHOOSING, chosen),
    **dict.fromkeys([f"{kind}{d}d{i}" for kind in POOLS for d in "123" for i in ("", "_with_indices")], pooled),
    **dict.fromkeys(["max", "amax"], extremes(1)),
    **dict.fromkeys(["min", "amin"], extremes(-1)),
    **dict.fromkeys(["maximum", "fmax"], maximum(1)),
    **dict.fromkeys(["minimum", "fmin"], maximum(-1)),
    **DECOMPOSED,
}

LINEAR = (PLAIN - HANDLERS.keys()) | {"rot90", "meshgrid", "cumulative_trapezoid", "diff", "view_copy", "moveaxis"}
