"""A faster twin with the same answers: channels-last, folded batch-norm, prepacked linear weights.

Every lever is checked on the module's own inputs before it is used, and told in the receipt. ``settings(exact=True)``
runs the plain twin instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
WORTH = 200_000
LINEAR_WORTH = 128 * 128


@dataclass(frozen=True)
class Fast:
    """A twin with levers pulled: ``changed`` layers differ inside, ``path`` says which levers are in use."""

    module: nn.Module
    changed: frozenset[str]
    path: str
    channels_last: bool


Call = Callable[[nn.Module], Tensor]


def faster_twin(twin: nn.Module, make: Callable[[], nn.Module], call: Call) -> Fast | None:
    """Pull the levers on a second twin (made by ``make``); None where nothing is to be gained or answers differ.

    ``call(module)`` runs the module on sample inputs and returns its main output.
    """
    weights = sum(each.numel() for each in twin.parameters())
    some = next(twin.parameters(), None)
    if weights < WORTH or some is None or some.device.type != "cpu" or some.dtype != torch.float32:
        return None
    if any(isinstance(part, torch.jit.ScriptModule) for part in twin.modules()):
        return None
    with torch.no_grad():
        reference = call(twin)
        module, changed, words = make(), set(), []
        pairs = foldable(module, call)
        for conv, norm in pairs:
            fold(module, conv, norm)
            changed |= {conv, norm}
        last = any(isinstance(part, nn.Conv2d) for part in module.modules())
        if last:
            own_storage(module)
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            words.append("channels-last")
        if pairs:
            words.append("folded batch-norm")
        if pack_linears(module):
            words.append("prepacked linear")
        if not words or not close(call(module), reference):
            return None
    return Fast(module, frozenset(changed), ", ".join(words), last)


def close(one: Tensor, other: Tensor) -> bool:
    """Equal to 1e-5 of the largest output."""
    scale = float(other.abs().max()) or 1.0
    return one.shape == other.shape and float((one - other).abs().max()) <= 1e-5 * scale


def own_storage(module: nn.Module) -> None:
    """Give four-dimensional weights their own storage, so that another layout does not reach the user's module."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None and weight.ndim == 4:
                part._parameters[name] = nn.Parameter(weight.detach().clone(), requires_grad=False)


def foldable(module: nn.Module, call: Call) -> list[tuple[str, str]]:
    """Pairs (convolution, batch-norm) where the norm reads exactly the convolution's output, each called once."""
    made: dict[int, tuple[str, Tensor]] = {}
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    handles = []

    def watch(name: str) -> Any:
        def after(part: nn.Module, args: Any, output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(part, CONVOLUTIONS):
                made[id(output)] = (name, output)
            elif args and id(args[0]) in made and part.track_running_stats:
                pairs.append((made[id(args[0])][0], name))

        return after

    for name, part in module.named_modules():
        rewritten = hasattr(part, "parametrizations") or part._forward_pre_hooks  # weight norm, new or old
        if isinstance(part, CONVOLUTIONS + NORMS) and not rewritten:
            handles.append(part.register_forward_hook(watch(name)))
    try:
        call(module)
    finally:
        for handle in handles:
            handle.remove()
    convs = [conv for conv, _ in pairs]
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == convs.count(conv) == 1]


def fold(module: nn.Module, conv_name: str, norm_name: str) -> None:
    """Replace a convolution and its batch-norm by one convolution with scaled weights."""
    conv: Any = module.get_submodule(conv_name)
    norm: Any = module.get_submodule(norm_name)
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift * norm.weight.double() + norm.bias.double()
        scale = scale * norm.weight.double()
    weight = conv.weight.double() * scale.reshape(-1, *[1] * (conv.weight.ndim - 1))
    bias = shift + (0 if conv.bias is None else conv.bias.double() * scale)
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    parent, _, last = norm_name.rpartition(".")
    module.get_submodule(parent)._modules[last] = nn.Identity()


class PackedLinear(nn.Module):
    """A linear layer whose weight and its transpose were reordered once for the CPU's matrix kernels."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        reorder = torch.ops.mkldnn._reorder_linear_weight
        self.there = reorder(linear.weight.detach(), None)
        self.back = reorder(linear.weight.detach().t().contiguous(), None)

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._len_torch_function_stack():  # somebody watches operations: an ordinary one for them to see
            return functional.linear(x, self.weight, self.bias)
        return PackedProduct.apply(x, self.there, self.back, self.bias)


class PackedProduct(torch.autograd.Function):
    """x ↦ x Wᵀ + b and its gradient by x, both with prepacked weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor, bias: Tensor | None) -> Tensor:
        ctx.back = back
        return torch.ops.mkldnn._linear_pointwise(x, there, bias, "none", [], "")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return (
            torch.ops.mkldnn._linear_pointwise(grads[0].contiguous(), ctx.back, None, "none", [], ""),
            None,
            None,
            None,
        )


def pack_linears(module: nn.Module) -> bool:
    """Replace the linear layers that are large enough, where this CPU gains by it (timed once a process)."""
    large = [
        (name, part)
        for name, part in module.named_modules()
        if type(part) is nn.Linear
        and part.weight.numel() >= LINEAR_WORTH
        and not part._forward_hooks
        and not part._forward_pre_hooks
    ]
    if not large or not packing_pays():
        return False
    for name, part in large:
        parent, _, last = name.rpartition(".")
        module.get_submodule(parent)._modules[last] = PackedLinear(part)
    return True


PAYS: list[bool] = []


def packing_pays() -> bool:
    """Whether prepacked products exist here, agree, and are at least a tenth faster."""
    if not PAYS:
        try:
            PAYS.append(_packing_gain() > 1.1)
        except (AttributeError, RuntimeError, NotImplementedError):
            PAYS.append(False)
    return PAYS[0]


def _packing_gain() -> float:
    generator = torch.Generator().manual_seed(0)
    linear = nn.utils.skip_init(nn.Linear, 384, 1536, bias=False).requires_grad_(False)
    with torch.no_grad():
        linear.weight.normal_(generator=generator)
        x = torch.randn(512, 384, generator=generator)
        packed = PackedLinear(linear)
        if not close(packed(x), linear(x)):
            return 0.0
        return _best_time(lambda: linear(x)) / _best_time(lambda: packed(x))


def _best_time(work: Callable[[], object], times: int = 7) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
