"""Attention as it happens: weights, values and output projection of every attention of a pass, however it is written.

A softmax counts as attention when it later weighs values in a product: of the rows' own tensors, summed over the axis
that the softmax runs along. Fused attention is seen, too, and ``nn.MultiheadAttention`` is opened into its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pellucid.core.bound import Read, full
from pellucid.core.model import Model
from pellucid.core.probe import Probe
from pellucid.engines.layouts import Lay, axis_after, operands, weighing
from pellucid.engines.rules.meeting import Meeting, kept, packed, same_function
from pellucid.errors import LayerError

SOFTMAX = frozenset({"softmax", "_softmax", "_safe_softmax", "special_softmax"})
WEIGHING = frozenset({"mul", "mul_", "__mul__", "__rmul__", "div", "div_", "__truediv__", "nan_to_num", "where"})
WEIGHING |= {"masked_fill", "masked_fill_"}
FUSED = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
PROJECTING = {"linear": (0, 1), "addmm": (1, 2), "matmul": (0, 1), "__matmul__": (0, 1), "mm": (0, 1)}


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention of a pass, in order of the calls.

    ``weights`` (batch, heads, queries, keys); ``slope`` the target's gradient by them, where it was asked for;
    ``values`` (batch, heads, keys, dim); ``projection`` (features, heads × dim) the weight applied to what the heads
    gather, where one is. ``queries`` and ``keys`` number the streams they come from: cross-attention where they
    differ. ``windows`` counts the windows that stand among the heads.
    """

    path: str
    weights: Tensor
    slope: Tensor | None
    values: Tensor
    projection: Tensor | None
    queries: int
    keys: int
    windows: int

    @property
    def cross(self) -> bool:
        """Whether queries and keys come from different places."""
        return self.queries != self.keys

    def __str__(self) -> str:
        _, heads, queries, keys = self.weights.shape
        kind = "cross, " if self.cross else ""
        return f"{self.path or 'the model itself'} ({kind}{heads} heads, {queries} × {keys})"


Roots = frozenset[int]


@dataclass(frozen=True)
class Mark:
    """What is known of a tensor: the ``roots`` it was made of, token by token; for scores, those of queries and keys.

    ``axis`` is the axis of keys (counted from the last) of attention weights, ``out`` the number of the attention that
    a tensor is the output of.
    """

    roots: Roots = frozenset()
    pair: tuple[Roots, Roots] | None = None
    axis: int | None = None
    out: int | None = None


@dataclass(eq=False)
class Seen:
    """An attention as it was met: ``tensor`` is on the graph, ``lay`` puts it in the order (…, queries, keys)."""

    path: str
    tensor: Tensor
    lay: Lay
    values: Tensor
    pair: tuple[Roots, Roots]
    projection: Tensor | None = None


class Attentions(Meeting):
    """While entered, every attention of a pass is seen; what it computes stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[int, tuple[Tensor, Mark]] = {}
        self.weights: set[int] = set()
        self.seen: list[Seen] = []
        self.last_root = 0

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[Read]:
        """In force for one pass of a module; gives what reads the attentions off its scores."""
        self.weights = {id(each) for each in [*module.parameters(), *module.buffers()]}
        with self.on(module):
            yield self.read
        self.marks = {}

    def refuse_foreign(self, values: Any) -> None:
        """Nothing is refused: what somebody else's function computes is only looked at."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", str(func))
        if not self.stack:
            return func(*args, **kwargs)
        with kept() if torch.is_grad_enabled() and packed() else nullcontext():
            if name == "multi_head_attention_forward" and (opened := same_function(func)) is not None:
                with self:
                    return opened(*args, **kwargs)
            if name == "scaled_dot_product_attention":
                return self.fused(func, args, kwargs)
            return self.followed(func, name, args, kwargs)

    # ------------------------------------------------------------------ marks

    def mark(self, tensor: Tensor) -> Mark:
        """What is known of a tensor; one that comes from outside is a root of its own, a weight is none."""
        if id(tensor) in self.marks:
            return self.marks[id(tensor)][1]
        if isinstance(tensor, nn.Parameter) or id(tensor) in self.weights:
            return Mark()
        return self.put(tensor, Mark(self.root()))

    def put(self, tensor: Tensor, mark: Mark) -> Mark:
        """Remember a tensor, which is kept alive so that its identity stays its own."""
        self.marks[id(tensor)] = (tensor, mark)
        return mark

    def root(self) -> Roots:
        """A new root."""
        self.last_root += 1
        return frozenset({self.last_root})

    def followed(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Any operation: what comes out inherits what is known of what went in."""
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_floating_point()]
        marks = [self.mark(x) for x in given]
        shapes = [x.shape for x in given]
        out = func(*args, **kwargs)
        if isinstance(out, Tensor) and out.is_floating_point() and name in SOFTMAX:
            out = self.softmax(out, marks, args, kwargs)
            return out
        roots = frozenset[int]().union(*[each.roots for each in marks])
        pair = next((each.pair for each in marks if each.pair is not None), None)
        if name == "__setitem__" and given:
            self.put(given[0], replace(marks[0], roots=roots))
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                axis, number = self.carried(func, name, args, kwargs, shapes, marks, tensor)
                self.put(tensor, Mark(roots or self.root(), pair, axis, number))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.project(name, args, kwargs)
            self.multiplied(name, args, kwargs, out)
        return out

    def carried(
        self, func: Any, name: str, args: Any, kwargs: Any, shapes: list[Any], marks: list[Mark], out: Tensor
    ) -> tuple[int | None, int | None]:
        """The axis of keys after an operation that moves or scales weights; the attention whose output it moves."""
        for shape, mark in zip(shapes, marks, strict=True):
            if mark.axis is None and mark.out is None:
                continue
            if name in WEIGHING:
                return (mark.axis if shape == out.shape else None), None
            moved, axis = axis_after(func, name, args, kwargs, tuple(shape), mark.axis, tuple(out.shape))
            return axis, (mark.out if moved else None)
        return None, None

    # ------------------------------------------------------------------ attention

    def softmax(self, out: Tensor, marks: list[Mark], args: Any, kwargs: Any) -> Tensor:
        """What may be attention: from here on it is on the graph, if gradients are asked for."""
        if torch.is_grad_enabled() and not out.requires_grad:
            out = out.detach().requires_grad_()
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        axis = None if not isinstance(dim, int) else dim - out.ndim if dim >= 0 else dim
        self.put(out, Mark(marks[0].roots or self.root(), marks[0].pair, axis))
        return out

    def multiplied(self, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
        """A product of two tensors: attention where one of them is weights, maybe scores where none is."""
        found = operands(name, args, kwargs)
        if found is None:
            return
        pair, equation = found
        marks = [self.mark(each) for each in pair]
        if min(each.ndim for each in pair) < 3 or not all(each.roots for each in marks):
            return
        for side in (0, 1):
            axis = marks[side].axis
            laid = None if axis is None else weighing(pair[side], pair[1 - side], axis, side, equation)
            if laid is not None:
                roots = marks[side].pair or (marks[side].roots, marks[1 - side].roots)
                self.seen.append(Seen(self.at[0], pair[side], laid[0], laid[1], roots))
                self.put(out, Mark(roots[0] or self.mark(out).roots, out=len(self.seen) - 1))
                return
        self.put(out, replace(self.mark(out), pair=(marks[0].roots, marks[1].roots)))

    def fused(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Fused attention: its own output, with the gradient of the parts it is written from."""
        given = dict(zip(FUSED, args, strict=False)) | kwargs
        q, k, v = given["query"], given["key"], given["value"]
        roots = (self.mark(q).roots, self.mark(k).roots)
        out = func(*args, **kwargs)
        if given.get("enable_gqa"):
            k, v = (each.repeat_interleave(q.shape[-3] // each.shape[-3], -3) for each in (k, v))
        weights = probabilities(q, k, given)
        if torch.is_grad_enabled():
            weights = weights if weights.requires_grad else weights.detach().requires_grad_()
            parts = weights @ v
            out = out.detach() + (parts - parts.detach())
        self.seen.append(Seen(self.at[0], weights, lambda tensor: tensor, v.detach(), roots))
        self.put(out, Mark(roots[0] or self.root(), out=len(self.seen) - 1))
        return out

    def project(self, name: str, args: Any, kwargs: Any) -> None:
        """The first dense layer that an attention's output meets."""
        if name not in PROJECTING or len(args) <= PROJECTING[name][0]:
            return
        x, weight = args[PROJECTING[name][0]], [*args, kwargs.get("weight")][PROJECTING[name][1]]
        number = self.mark(x).out if isinstance(x, Tensor) else None
        if number is None or not isinstance(weight, Tensor) or weight.ndim != 2 or weight.requires_grad:
            return
        if self.seen[number].projection is None:
            self.seen[number].projection = weight.detach() if name == "linear" else weight.detach().t()

    # ------------------------------------------------------------------ what was seen

    def read(self, score: Tensor) -> list[Attention]:
        """The attentions of the pass, with the gradient of the scores by their weights if those are on the graph."""
        seen = [each for each in self.seen if each.lay(each.tensor).shape[:-2].numel() % len(score) == 0]
        if not seen:
            expected = "a model with attention: scaled_dot_product_attention, nn.MultiheadAttention, or a softmax"
            do = "Ask a method that needs no attention: GradCAM, IntegratedGradients, KernelSHAP."
            got = "none in this pass" + (f" of {len(score)} rows" if self.seen else "")
            raise LayerError(expected=f"{expected} that weighs values in a product", got=got, do=do)
        slopes: Any = [None] * len(seen)
        if score.requires_grad:
            slopes = torch.autograd.grad(score.sum(), [each.tensor for each in seen], allow_unused=True)
        streams: list[set[int]] = []
        found: list[Attention] = []
        for each, slope in zip(seen, slopes, strict=True):
            again = 1 + sum(other.path.partition("@")[0] == each.path for other in found)
            path = each.path + (f"@{again}" if again > 1 else "")
            slope = torch.zeros_like(each.tensor) if slope is None else slope
            found.append(attention(each, path, slope if torch.is_grad_enabled() else None, len(score), streams))
        return found


def probabilities(q: Tensor, k: Tensor, given: dict[str, Any]) -> Tensor:
    """(…, queries, keys): the weights that fused attention gives its values; rows that see nothing get zeros."""
    scale, mask = given.get("scale"), given.get("attn_mask")
    scores = (full(q) @ full(k).transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if given.get("is_causal"):
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0).to(q.dtype)


def attention(seen: Seen, path: str, slope: Tensor | None, rows: int, streams: list[set[int]]) -> Attention:
    """What was seen, in the order (rows, heads, queries, keys)."""
    weights = seen.lay(seen.tensor.detach())
    lead = weights.shape[:-2]
    values = seen.values.detach().expand(*lead, *seen.values.shape[-2:])
    values = full(values).reshape(rows, -1, *values.shape[-2:])
    wide = values.shape[1] * values.shape[3]
    fits = seen.projection is not None and seen.projection.shape[1] == wide
    return Attention(
        path=path,
        weights=full(weights).reshape(rows, -1, *weights.shape[-2:]),
        slope=None if slope is None else full(seen.lay(slope)).reshape(rows, -1, *weights.shape[-2:]),
        values=values,
        projection=full(seen.projection) if fits and seen.projection is not None else None,
        queries=stream(seen.pair[0], streams),
        keys=stream(seen.pair[1], streams),
        windows=lead[0] // rows if len(lead) > 1 else 1,
    )


def stream(roots: Roots, streams: list[set[int]]) -> int:
    """The number of the stream that some roots belong to."""
    for number, known in enumerate(streams):
        if known & roots:
            known |= roots
            return number
    streams.append(set(roots))
    return len(streams) - 1


def attentions(ask: Probe, *, grad: bool) -> tuple[Attention, ...]:
    """Every attention of a clean pass, for all rows; with the target's gradient by the weights where asked for.

    Raises LayerError for a model without attention, or one that attends another number of times for some rows.
    """
    if not isinstance(ask.model, Model):
        do = "Use KernelSHAP or Occlusion."
        raise LayerError(expected="a model with attention", got="a BlackBox, which shows nothing inside", do=do)
    look: Callable[[nn.Module], Any] = lambda module: Attentions().watching(module)  # noqa: E731
    pieces, _ = ask.watch(look, grad=grad)
    if len({len(piece) for piece in pieces}) > 1:
        got = ", ".join(str(len(piece)) for piece in pieces)
        do = "Explain one row at a time."
        raise LayerError(expected="the same attentions for every row", got=f"{got} of them", do=do)
    return tuple(joined(same) for same in zip(*pieces, strict=True))


def joined(pieces: tuple[Attention, ...]) -> Attention:
    """One attention of consecutive rows."""
    if len(pieces) == 1:
        return pieces[0]
    slopes = [each.slope for each in pieces if each.slope is not None]
    return replace(
        pieces[0],
        weights=torch.cat([each.weights for each in pieces]),
        slope=torch.cat(slopes) if slopes else None,
        values=torch.cat([each.values for each in pieces]),
    )
