"""The weights of a model, layer by layer: a private copy in which each can be scrambled and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from pellucid.core.model import Model
from pellucid.evaluate.metrics.measure import Untestable
from pellucid.evaluate.question import Question
from pellucid.evaluate.scrambled import fixed_weights, movable, reordered

COPIES = 2
"""A private copy of the weights, and the scrambled ones."""


@dataclass(eq=False)
class Layers:
    """``model`` is a private copy, ``trained`` the weights it was copied from, ``random`` the same ones permuted.

    ``steps`` are the names of weights that are scrambled together, in the order in which the model uses them: those of
    a module, or a bare parameter of a module with parts.
    """

    model: Model
    trained: dict[str, Tensor]
    random: dict[str, Tensor]
    steps: list[tuple[str, ...]] = field(default_factory=list)

    def scramble(self, names: Sequence[str]) -> None:
        """Scramble these weights of the private copy."""
        self._write(names, self.random)

    def restore(self, names: Sequence[str]) -> None:
        """Put these weights of the private copy back."""
        self._write(names, self.trained)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """All weights are put back at the end, whatever happens."""
        with self.model.lock:
            try:
                yield
            finally:
                self.restore(list(self.random))

    def _write(self, names: Sequence[str], weights: dict[str, Tensor]) -> None:
        own = dict(self.model.module.named_parameters())
        with torch.no_grad():
            for name in names:
                own[name].copy_(weights[name])


class Uses(TorchFunctionMode):
    """Notes in which order tensors are first used; ``numbers`` are their names by id."""

    def __init__(self, numbers: dict[int, str]) -> None:
        super().__init__()
        self.numbers, self.seen = numbers, dict[str, None]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "__get__":
            for each in pytree.tree_leaves((args, kwargs)):
                if id(each) in self.numbers:
                    self.seen.setdefault(self.numbers[id(each)])
        return func(*args, **kwargs)


def layers_of(question: Question) -> Layers:
    """The layers of the model in question, made once for all inputs; Untestable where there are none."""
    if "layers" not in question.common:
        question.common["layers"] = layers(question)
    made: Layers | str = question.common["layers"]
    if isinstance(made, str):
        raise Untestable(made)
    return made


def steps_of(question: Question) -> Layers:
    """The layers, if each can be scrambled without another one."""
    made = layers_of(question)
    if reason := tied(made.model.module):
        raise Untestable(reason)
    if not made.steps:
        with made.lent():
            made.steps = steps(made, question)
    return made


def layers(question: Question) -> Layers | str:
    """A private copy of the model and its scrambled weights, or why they cannot be scrambled."""
    if reason := fixed_weights(question.model, COPIES):
        return reason
    model = question.model
    if not isinstance(model, Model):
        return "a black box has no weights that could be scrambled"
    if reason := quantized(model.module):
        return reason
    trained = dict(model.module.named_parameters())
    random = {
        name: reordered(weight, question.seed, k) for k, (name, weight) in enumerate(trained.items()) if movable(weight)
    }
    return Layers(model.with_module(lambda module: module), trained, random)


def steps(made: Layers, question: Question) -> list[tuple[str, ...]]:
    """Weights that are scrambled together, in the order in which one pass forward uses them first."""
    module, names = made.model.module, {}
    for name, weight in module.named_parameters():
        names[id(weight)] = name
    ask = question.ask(model=made.model, outside=True)
    with Uses(names) as uses:
        _ = ask.score
    together: dict[str, list[str]] = {}
    for name in uses.seen:
        owner = name.rpartition(".")[0]
        bare = name in made.random and any(module.get_submodule(owner).children())
        if name in made.random:
            together.setdefault(name if bare else owner, []).append(name)
    if not together:
        raise Untestable("the order in which the model uses its weights cannot be seen")
    return [tuple(each) for each in together.values()]


def tied(module: nn.Module) -> str | None:
    """Why weights cannot be scrambled one layer at a time: two layers share one."""
    owner: dict[tuple[int, int], str] = {}
    for name, weight in module.named_parameters(remove_duplicate=False):
        place = (weight.data_ptr(), weight.numel())
        if weight.numel() and place in owner:
            return f"the weights {owner[place]} and {name} are tied: one layer cannot be scrambled without the other"
        owner[place] = name
    return None


def quantized(module: nn.Module) -> str | None:
    """Why weights cannot be permuted: some are quantized."""
    for name, part in module.named_modules():
        if ".quantized." in type(part).__module__ and not isinstance(part, nn.Identity):
            return f"the weights of {name or 'the model'} are quantized"
    for name, weight in module.named_parameters():
        if not weight.is_floating_point() or type(weight.data) is not Tensor:
            return f"the weights {name} are quantized"
    return None
