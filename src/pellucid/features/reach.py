"""What each number inside a network can see of the input: intervals that follow every operation of a forward pass.

Beside each tensor go two more for every axis of the input: the last place that each number can see, and the first one,
negated, so that both are joined by a maximum; what sees nothing has minus infinity. Operations that move numbers are
done to these tensors as they are, sums and products take maxima, convolutions are max-pools.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.engines.rules.meeting import same_function
from pellucid.features.units import Place

NOTHING = -float("inf")
MOVES = frozenset(
    """
    __get__ __getitem__ bfloat16 cat channel_shuffle chunk clone concat concatenate contiguous detach double
    expand expand_as flatten flip float half hstack index_select moveaxis movedim narrow permute pixel_shuffle
    pixel_unshuffle ravel repeat repeat_interleave reshape reshape_as roll select split squeeze stack swapaxes
    swapdims t tensor_split tile to transpose type unbind unflatten unfold unsqueeze view view_as vstack
    """.split()  # noqa: SIM905 - names read better as words
)
POINTWISE = frozenset(
    """
    abs add add_ addcmul alpha_dropout batch_norm celu clamp clamp_max clamp_min clip copy cos div divide dropout
    dropout1d dropout2d dropout3d elu erf exp expm1 feature_dropout fill gelu hardshrink hardsigmoid hardswish
    hardtanh iadd imul isub itruediv leaky_relu lerp log log1p log2 logsigmoid masked_fill maximum minimum mish
    mul multiply mvlgamma nan_to_num neg negative positive pow prelu radd reciprocal relu relu6 rmul rpow rrelu
    rsqrt rsub rsub rtruediv selu sigmoid sign silu sin softplus softshrink softsign sqrt square sub subtract tanh
    tanhshrink threshold true_divide truediv where zero
    """.split()  # noqa: SIM905
)
REDUCING = frozenset(
    ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "logsumexp", "prod", "median", "vector_norm")
)
ALONG = frozenset(("softmax", "log_softmax", "softmin", "cumsum", "cumprod", "logcumsumexp"))
Shadows = list[Tensor]


@dataclass(frozen=True, eq=False)
class Boxes:
    """The first and last place (axes, \\*positions) that each position of a layer sees, of inputs of size ``space``."""

    first: NDArray[np.floating]
    last: NDArray[np.floating]
    space: tuple[int, ...]

    @classmethod
    def of(cls, shadows: Shadows, place: Place, unit: int | None, space: tuple[int, ...]) -> Boxes:
        """Of one unit, or of all of them together."""
        maps = [place.maps(each)[0] for each in shadows]
        joined = torch.stack([each.amax(0) if unit is None else each[unit] for each in maps]).double().cpu().numpy()
        return cls(-joined[len(space) :], joined[: len(space)], space)

    def at(self, position: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """(first, end) of each axis."""
        ends = [(low[position], high[position]) for low, high in zip(self.first, self.last, strict=True)]
        return tuple((int(low), int(high) + 1) if np.isfinite(high) else (0, 0) for low, high in ends)

    def steps(self, axis: int) -> tuple[int | None, float | None, float]:
        """Size, stride and start along an axis of the input, from positions whose boxes touch no border."""
        low, high = self.first[axis], self.last[axis]
        if low.ndim != len(self.space):
            size = int((high - low).max()) + 1 if np.isfinite(high).any() else 0
            return (size if size < self.space[axis] else None), None, float(low.min())
        middle = tuple(slice(None) if i == axis else n // 2 for i, n in enumerate(low.shape))
        low, high = low[middle], high[middle]
        inside = np.flatnonzero((low > 0) & (high < self.space[axis] - 1) & np.isfinite(low))
        if not len(inside):
            return None, None, 0.0
        size = int((high - low)[inside].max()) + 1
        a, b = int(inside[0]), int(inside[-1])
        if a == b:
            return size, None, float(low[a])
        stride = float((low[b] + high[b] - low[a] - high[a]) / 2 / (b - a))
        return size, stride, float(low[a] - a * stride)


@dataclass(eq=False)
class Reach(TorchFunctionMode):
    """While entered, follows what was made from the tensor it began with; ``unknown`` names what it cannot follow."""

    known: dict[int, tuple[Tensor, Shadows]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    space: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__init__()

    def begin(self, inputs: Tensor) -> Tensor:
        """Inputs (1, channels, *space), or ids (1, tokens)."""
        lead = 2 if inputs.is_floating_point() else 1
        self.space = tuple(inputs.shape[lead:])
        places = []
        for axis, size in enumerate(self.space):
            shape = [1] * inputs.ndim
            shape[lead + axis] = size
            places.append(torch.arange(float(size)).view(shape).expand(inputs.shape))
        self.known[id(inputs)] = (inputs, [*places, *(-each for each in places)])
        return inputs

    def at(self, value: Tensor) -> Shadows:
        """What a tensor sees; nothing if it was not made from the inputs."""
        if id(value) in self.known:
            return self.known[id(value)][1]
        return [torch.full(value.shape, NOTHING)] * (2 * len(self.space))

    def sees(self, value: Any) -> bool:
        """Whether a tensor is followed."""
        return isinstance(value, Tensor) and id(value) in self.known

    def put(self, out: Any, shadows: Shadows) -> None:
        """Remember what a tensor sees."""
        if isinstance(out, Tensor):
            self.known[id(out)] = (out, [each.expand(out.shape) for each in shadows])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        plain = name.strip("_") if name.startswith("__") and name not in MOVES else name.rstrip("_") or name
        given = [each for each in pytree.tree_leaves((args, kwargs)) if self.sees(each)]
        if not given or name.endswith("_like") or name.startswith("new_"):  # these read the shape only
            return func(*args, **kwargs)
        if name == "__setitem__":
            return self.written(func, args)
        handler = HANDLERS.get(name) or HANDLERS.get(plain)
        known = handler is not None or name in MOVES or plain in MOVES | POINTWISE | REDUCING | ALONG
        if not known and (opened := same_function(func)) is not None:
            with self:
                return opened(*args, **kwargs)
        before = {id(each): self.at(each) for each in given}
        out = func(*args, **kwargs)
        outs = [each for each in pytree.tree_leaves(out) if isinstance(each, Tensor)]
        if name in MOVES or plain in MOVES:
            self.moved(func, args, kwargs, before, outs)
        elif outs and (outs[0].is_floating_point() or outs[0].is_complex()):
            self.made(plain, handler, (args, kwargs), [before[id(each)] for each in given], outs[0])
        return out

    def made(self, name: str, handler: Any, call: Any, shadows: list[Shadows], out: Tensor) -> None:
        """What a tensor sees that was computed from others."""
        args, kwargs = call
        if handler is not None:
            self.put(out, [handler(one, out, args, kwargs) for one in zip(*self.operands(args, kwargs), strict=True)])
        elif name in POINTWISE and all(each.ndim <= out.ndim for one in shadows for each in one):
            self.put(out, [joined(one, out.shape) for one in zip(*shadows, strict=True)])
        elif name in REDUCING | ALONG and len(shadows) == 1:
            dims = dims_of(args, kwargs)
            self.put(out, [reduced(one, dims, out.shape) for one in shadows[0]])
        else:
            if name not in REDUCING:
                self.unknown.add(name)
            self.put(out, [joined([each.amax().view([1] * out.ndim) for each in one], out.shape)
                           for one in zip(*shadows, strict=True)])  # fmt: skip

    def operands(self, args: Any, kwargs: Any) -> list[Shadows]:
        """What the tensors among the first three arguments see."""
        given = [each for each in [*args, *kwargs.values()][:3] if isinstance(each, Tensor)]
        return [self.at(each) for each in given]

    def moved(self, func: Any, args: Any, kwargs: Any, before: dict[int, Shadows], outs: list[Tensor]) -> None:
        """Do the same to what the tensors see."""
        count = 2 * len(self.space)
        results: list[list[Tensor]] = []
        for i in range(count):

            def swap(each: Any, i: int = i) -> Any:
                if isinstance(each, Tensor) and id(each) in before:
                    return before[id(each)][i]
                return torch.full(each.shape, NOTHING) if floating(each) else each

            done = func(*pytree.tree_map(swap, args), **pytree.tree_map(swap, kwargs))
            results.append([each for each in pytree.tree_leaves(done) if isinstance(each, Tensor)])
        for j, out in enumerate(outs):
            self.put(out, [results[i][j].float() for i in range(count)])

    def written(self, func: Any, args: Any) -> Any:
        """Numbers written into a tensor."""
        into, where, value = args
        new = []
        for i, each in enumerate(self.at(into)):
            changed = each.clone()
            changed[where] = self.at(value)[i] if isinstance(value, Tensor) else NOTHING
            new.append(changed)
        out = func(*args)
        self.put(into, new)
        return out


def floating(value: Any) -> bool:
    """Whether something is a floating tensor."""
    return isinstance(value, Tensor) and value.is_floating_point()


def joined(parts: Any, shape: torch.Size) -> Tensor:
    """The maximum of several, each broadcast."""
    whole = [each.expand(shape) for each in parts]
    return whole[0] if len(whole) == 1 else torch.stack(whole).amax(0)


def dims_of(args: Any, kwargs: Any) -> Any:
    """The dimensions that a reduction is over; None for all."""
    given = kwargs.get("dim", kwargs.get("axis", next((each for each in args[1:] if is_dims(each)), None)))
    return tuple(given) if isinstance(given, list | tuple) else given


def is_dims(value: Any) -> bool:
    """Whether an argument is a dimension or several."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, list | tuple) and all(isinstance(each, int) for each in value))


def reduced(shadow: Tensor, dims: Any, shape: torch.Size) -> Tensor:
    """The maximum over dimensions, kept or not as the shape says."""
    over = tuple(range(shadow.ndim)) if dims is None else dims
    kept = shadow.amax(over, keepdim=True)
    return kept.expand(shape) if len(shape) == kept.ndim else shadow.amax(over).expand(shape)


def tuple_of(value: Any, n: int) -> tuple[int, ...]:
    """A number for each axis."""
    return tuple(value) * (n if len(value) == 1 else 1) if isinstance(value, list | tuple) else (value,) * n


def pooled(shadow: Tensor, kernel: Any, stride: Any, dilation: Any) -> Tensor:
    """The maximum over windows, axis by axis."""
    for axis, (size, step, apart) in enumerate(zip(kernel, stride, dilation, strict=True)):
        dim, n = 2 + axis, shadow.shape[2 + axis]
        count = (n - apart * (size - 1) - 1) // step + 1
        taps = [shadow.narrow(dim, i * apart, (count - 1) * step + 1) for i in range(size)]
        steps = [slice(None)] * dim + [slice(None, None, step)]
        shadow = torch.stack([each[tuple(steps)] for each in taps]).amax(0)
    return shadow


def padded(shadow: Tensor, low: Any, high: Any) -> Tensor:
    """Nothing is seen beyond the border."""
    sides = [each for pair in zip(reversed(low), reversed(high), strict=True) for each in pair]
    return functional.pad(shadow, sides, value=NOTHING)


def bound(names: str, args: Any, kwargs: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name."""
    return {**defaults, **dict(zip(names.split(), args, strict=False)), **kwargs}


def mixed(shadow: Tensor, groups: int, out: int) -> Tensor:
    """The maximum over the channels of each group, for every channel that is made of it."""
    apart = shadow.unflatten(1, (groups, -1)).amax(2)
    return apart.repeat_interleave(out // groups, 1)


def convolved(one: Any, out: Tensor, args: Any, kwargs: Any) -> Tensor:
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    given = bound("input weight bias stride padding dilation groups", args, kwargs, defaults)
    size = tuple(given["weight"].shape[2:])
    n = len(size)
    apart, step = tuple_of(given["dilation"], n), tuple_of(given["stride"], n)
    if given["padding"] == "same":
        both = [d * (k - 1) for d, k in zip(apart, size, strict=True)]
        low = tuple(each // 2 for each in both)
        high = tuple(each - each // 2 for each in both)
    else:
        low = high = (0,) * n if given["padding"] == "valid" else tuple_of(given["padding"], n)
    shadow = mixed(one[0], given["groups"], out.shape[1])
    return pooled(padded(shadow, low, high), size, step, apart)


def transposed(one: Any, out: Tensor, args: Any, kwargs: Any) -> Tensor:
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
    given = bound("input weight bias stride padding output_padding groups dilation", args, kwargs, defaults)
    size = tuple(given["weight"].shape[2:])
    n = len(size)
    names = ("stride", "padding", "output_padding", "dilation")
    step, pad, more, apart = (tuple_of(given[name], n) for name in names)
    shadow = mixed(one[0], given["groups"], out.shape[1])
    spread = torch.full((*shadow.shape[:2], *((k - 1) * s + 1 for k, s in zip(shadow.shape[2:], step, strict=True))),
                        NOTHING)  # fmt: skip
    spread[(slice(None), slice(None), *(slice(None, None, each) for each in step))] = shadow
    low = tuple(d * (k - 1) - p for d, k, p in zip(apart, size, pad, strict=True))
    high = tuple(each + extra for each, extra in zip(low, more, strict=True))
    return pooled(padded(spread, low, high), size, (1,) * n, apart)


def pool(one: Any, out: Tensor, args: Any, kwargs: Any) -> Tensor:
    given = bound("input kernel_size stride padding", args, kwargs, {"stride": None, "padding": 0})
    n = out.ndim - 2
    size = tuple_of(given["kernel_size"], n)
    step = tuple_of(given["stride"], n) if given["stride"] not in (None, [], ()) else size
    pad, apart = tuple_of(given["padding"], n), tuple_of(kwargs.get("dilation", 1), n)
    wanted = [
        (count - 1) * s + d * (k - 1) + 1 for count, s, k, d in zip(out.shape[2:], step, size, apart, strict=True)
    ]
    high = tuple(max(p, need - p - have) for p, need, have in zip(pad, wanted, one[0].shape[2:], strict=True))
    whole = pooled(padded(one[0], pad, high), size, step, apart)
    return whole[(slice(None), slice(None), *(slice(count) for count in out.shape[2:]))]


def adaptive(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    shadow = one[0]
    for dim in range(2, out.ndim):
        have, want = shadow.shape[dim], out.shape[dim]
        ends = [(i * have // want, -(-(i + 1) * have // want)) for i in range(want)]
        shadow = torch.cat([shadow.narrow(dim, a, b - a).amax(dim, keepdim=True) for a, b in ends], dim)
    return shadow


def linear(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    return torch.as_tensor(one[0].amax(-1, keepdim=True).expand(out.shape))


def product(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    a, b = one[-2:]
    if a.ndim < 2 or b.ndim < 2:
        return torch.maximum(a.amax(), b.amax()).expand(out.shape)
    return joined([a.amax(-1, keepdim=True), b.amax(-2, keepdim=True)], out.shape)


def attention(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    query, key, value = one[:3]
    others = torch.maximum(key.amax((-2, -1), keepdim=True), value.amax((-2, -1), keepdim=True))
    return joined([query.amax(-1, keepdim=True), others], out.shape)


def normed(one: Any, out: Tensor, args: Any, kwargs: Any) -> Tensor:
    shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else out.shape[-1:])
    return one[0].amax(tuple(range(-len(shape), 0)), keepdim=True).expand(out.shape)


def by_channel(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    return torch.as_tensor(one[0].amax(tuple(range(2, out.ndim)), keepdim=True).expand(out.shape))


def by_row(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    return torch.as_tensor(one[0].amax(tuple(range(1, out.ndim)), keepdim=True).expand(out.shape))


def looked_up(one: Any, out: Tensor, _args: Any, _kwargs: Any) -> Tensor:
    return torch.as_tensor(one[0].unsqueeze(-1).expand(out.shape))


def bordered(one: Any, _out: Tensor, args: Any, kwargs: Any) -> Tensor:
    given = bound("input pad mode value", args, kwargs, {"mode": "constant", "value": None})
    value = NOTHING if given["mode"] == "constant" else None
    return functional.pad(one[0], given["pad"], given["mode"], value)


def resized(one: Any, out: Tensor, args: Any, kwargs: Any) -> Tensor:
    given = bound("input size scale_factor mode", args, kwargs, {"mode": "nearest"})
    shadow, n = one[0], out.ndim - 2
    if not given["mode"].startswith("nearest"):
        shadow = pooled(padded(shadow, (1,) * n, (1,) * n), (3,) * n, (1,) * n, (1,) * n)
    near = given["mode"] if given["mode"].startswith("nearest") else "nearest"
    return functional.interpolate(shadow, size=tuple(out.shape[2:]), mode=near)


Handler = Callable[[Any, Tensor, Any, Any], Tensor]
AXES = ("1d", "2d", "3d")
HANDLERS: dict[str, Handler] = {
    **{f"conv{each}": convolved for each in AXES},
    **{f"conv_transpose{each}": transposed for each in AXES},
    **{f"{kind}_pool{each}": pool for each in AXES for kind in ("max", "avg")},
    **{f"max_pool{each}_with_indices": pool for each in AXES},
    **{f"adaptive_{kind}_pool{each}": adaptive for each in AXES for kind in ("max", "avg")},
    "linear": linear,
    **dict.fromkeys(("matmul", "bmm", "mm", "baddbmm", "rmatmul"), product),
    "scaled_dot_product_attention": attention,
    **dict.fromkeys(("layer_norm", "rms_norm"), normed),
    "instance_norm": by_channel,
    "group_norm": by_row,
    "embedding": looked_up,
    "pad": bordered,
    **dict.fromkeys(("interpolate", "upsample"), resized),
}
