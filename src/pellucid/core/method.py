"""Method: frozen options and one verb. ``method(model, inputs, target=None, at=None)`` gives a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pellucid.core.blackbox import BlackBox
from pellucid.core.bound import Bound, Studied
from pellucid.core.law import COMPLETE, Law
from pellucid.core.model import Model
from pellucid.core.outputs import Outputs
from pellucid.core.probe import Probe
from pellucid.core.result import Attribution, MethodNote
from pellucid.core.run import Run, current_settings, undisturbed
from pellucid.core.several import several
from pellucid.core.site import EmbeddingSite
from pellucid.core.target import as_target
from pellucid.errors import DtypeError, NonFiniteError, OptionError


def option(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002 - the word users of the command line know
    above: float | None = None,
    at_least: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A method's option: its default, its bounds and its sentence; docs and command line read them here."""
    meta = {"help": help, "above": above, "at_least": at_least, "choices": choices}
    return field(default=default, metadata=meta) if default is not MISSING else field(metadata=meta)


@dataclass(frozen=True, eq=False)
class Found:
    """What a method's own mathematics gives: values, and what it knows of their error."""

    values: Tensor
    standard_error: Tensor | None = None
    base_score: Tensor | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[Mapping[str, Tensor], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Method:
    """Frozen options; subclasses say the paper, what a value means (``units``) and which laws they keep."""

    paper: ClassVar[str] = ""
    units: ClassVar[str] = ""
    laws: ClassVar[tuple[Law, ...]] = ()

    def __post_init__(self) -> None:
        for each in fields(self):
            check_option(type(self).__name__, each, getattr(self, each.name))

    def note(self) -> MethodNote:
        """The description that results keep: the name and the options that differ from their defaults."""
        changed = {each.name: getattr(self, each.name) for each in fields(self) if not is_default(each, self)}
        laws = tuple(law.name for law in self.laws)
        return MethodNote(
            name=type(self).__name__,
            options=changed,
            paper=self.paper,
            units=self.units,
            laws=laws,
            folding=getattr(self, "folding", "sum"),
        )


@dataclass(frozen=True, kw_only=True)
class Attributor(Method):
    """A method that gives each part of the inputs a value. Subclasses write ``attribute`` only.

    ``discrete`` methods ask about token ids themselves, the others at the embedding the ids reach, where the values of
    a token are folded into one: their sum, or their Euclidean norm.
    """

    discrete: ClassVar[bool] = False
    folding: ClassVar[Literal["sum", "norm"]] = "sum"

    def __call__(
        self, model: Studied | nn.Module, inputs: Any, target: Any = None, at: str | None = None
    ) -> Attribution:
        """Explain ``target`` (the predicted class without one) for ``inputs``, or for the layer named by ``at``."""
        studied = as_studied(model)
        with undisturbed():
            return self.explained(question(studied, inputs, target, at, discrete=self.discrete), at)

    def each(
        self, model: Studied | nn.Module, inputs: Any, targets: Any = "all", at: str | None = None
    ) -> tuple[Attribution, ...]:
        """Explain several ``targets`` of the same inputs: a list of whatever a target may be, or "all" classes.

        The same as asking one by one. Methods whose first question is the gradient at the inputs share the pass
        forward: it stands in the first receipt, so that receipts add up to what all of them cost together.
        """
        studied = as_studied(model)
        with undisturbed():
            asks = several(question(studied, inputs, None, at, discrete=self.discrete), targets)
            return tuple(self.explained(ask, at) for ask in asks)

    def explained(self, ask: Probe, at: str | None) -> Attribution:
        """The answer to a bound question."""
        with ask.model.session(), ask.run.progress(type(self).__name__):
            found = self.attribute(ask)
        return self.result(ask, found if isinstance(found, Found) else Found(found), at)

    def attribute(self, ask: Probe) -> Tensor | Found:
        """The method's own mathematics: a probe in, values of the probed shape out."""
        raise NotImplementedError

    def result(self, ask: Probe, found: Found, at: str | None) -> Attribution:
        """Put values, error and receipt together; values that are not finite are an error."""
        values, error = self._folded(ask, found.values), found.standard_error
        if not bool(torch.isfinite(values).all()):
            do = "The model's gradient is not finite here; look for sqrt(0), log(0) or division in it."
            raise NonFiniteError(expected="finite values", got="NaN or infinity in the explanation", do=do)
        gap = None
        if COMPLETE in self.laws and found.base_score is not None and COMPLETE.gap is not None:
            gap = COMPLETE.gap(values, ask.score, found.base_score)
        inside = at is not None or values.shape != ask.leaves.values.shape
        shape = (lambda tensor: tensor) if inside else ask.leaves.tree
        tree = shape(values)
        return Attribution(
            values=tree,
            inputs=whole_tree(ask),
            target=ask.target,
            score=ask.score,
            method=self.note(),
            receipt=ask.run.receipt(),
            modality=ask.model.modality,
            about=ask.bound.about,
            standard_error=None if error is None else shape(self._folded(ask, error)),
            gap=gap,
            base_score=found.base_score,
            at=at,
            notes=found.notes,
            extra=found.extra,
            asked=found.asked,
            maker=self,
        )

    def _folded(self, ask: Probe, values: Tensor) -> Tensor:
        if not isinstance(ask.site, EmbeddingSite) or values.shape != ask.inputs.shape:
            return values
        return values.sum(-1) if self.folding == "sum" else values.norm(dim=-1)


def whole_tree(ask: Probe) -> Any:
    """All inputs in their structure, extra ones included."""
    from torch.utils import _pytree as pytree

    return pytree.tree_unflatten(list(ask.leaves.tensors), ask.leaves.spec)


def question(model: Any, inputs: Any, target: Any = None, at: str | None = None, *, discrete: bool = False) -> Probe:
    """Bind model, inputs and target into a probe, under the settings in force."""
    studied = as_studied(model)
    wanted = as_target(target)
    leaves = studied.read(inputs)
    ask = Probe(
        studied,
        leaves,
        Bound(wanted, leaves.batch, about=Outputs(rank=rank_of(studied, leaves.values))),
        Run(current_settings(), studied.device),
    )
    if leaves.integer and isinstance(studied, Model) and not discrete:
        ask = ask.embedded()
    return ask if at is None else ask.at(at)


def rank_of(studied: Studied, values: Tensor) -> int:
    """How many spatial axes the inputs have; (batch, a, b) is a series only for a model with convolutions along it."""
    if values.ndim != 3:
        return max(values.ndim - 2, 0)
    parts = studied.module.modules() if isinstance(studied, Model) else ()
    return int(any(isinstance(part, nn.Conv1d) for part in parts))


def as_studied(model: Any) -> Studied:
    """A Model or BlackBox as it is; a bare module in a Model."""
    if isinstance(model, Model | BlackBox):
        return model
    if isinstance(model, nn.Module):
        return Model(model)
    do = "Use pl.Model(module) or pl.BlackBox(predict)."
    raise DtypeError(expected="a model", got=type(model).__name__, do=do)


def is_default(each: Field[Any], method: Method) -> bool:
    """Whether an option has its default value."""
    value = getattr(method, each.name)
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return type(value) is type(default) and not isinstance(value, Tensor) and bool(value == default)


def check_option(method: str, each: Field[Any], value: Any) -> None:
    """Refuse an option outside of its bounds."""
    above, at_least, choices = (each.metadata.get(key) for key in ("above", "at_least", "choices"))
    name, got = f"{method}({each.name}=…)", repr(value)[:60]
    do = str(each.metadata.get("help", "See the method's documentation.")).capitalize() + "."
    if choices is not None and value not in choices:
        raise OptionError(expected=f"{name} one of {choices}", got=got, do=do)
    if value is None or (above is None and at_least is None):
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(expected=f"{name} a number", got=got, do=do)
    if "float" not in str(each.type) and not isinstance(value, Integral):
        raise OptionError(expected=f"{name} a whole number", got=got, do=do)
    if above is not None and not value > above:
        raise OptionError(expected=f"{name} above {above}", got=got, do=do)
    if at_least is not None and not value >= at_least:
        raise OptionError(expected=f"{name} at least {at_least}", got=got, do=do)
