"""What was asked to be loaded, and how a module becomes the model that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from pellucid.core.modality import Modality
from pellucid.core.model import Model
from pellucid.errors import OptionError, nearest
from pellucid.loading.weights import fill, read

ABOUT = ("task", "output", "copy")


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The arguments of ``load``; what the caller says goes before what a source knows."""

    name: str
    weights: Any = None
    inputs: Modality | None = None
    classes: tuple[str, ...] | None = None
    trust: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The name as a path."""
        return Path(self.name).expanduser()

    @property
    def local(self) -> str:
        """The name without the source before its colon."""
        return self.name.partition(":")[2]

    @property
    def rest(self) -> dict[str, Any]:
        """Options for the factory: those that are not the model's."""
        return {name: value for name, value in self.options.items() if name not in ABOUT}

    def filled(self, module: nn.Module) -> nn.Module:
        """The module with the weights that were asked for."""
        if self.weights is not None:
            fill(module, read(self.weights, trust=self.trust), Path(self.weights).name)
        return module

    def model(
        self,
        module: nn.Module,
        *,
        inputs: Modality | None = None,
        classes: tuple[str, ...] | None = None,
        task: str | None = None,
    ) -> Model:
        """The model around a module, with what its source knows of it."""
        about: dict[str, Any] = {"task": task} | {key: self.options[key] for key in ABOUT if key in self.options}
        return Model(module, inputs=self.inputs or inputs, classes=self.classes or classes, **about)

    def no_options(self, what: str) -> None:
        """Refuse options where there is nobody to take them."""
        for name in self.rest:
            raise OptionError(expected=f"no option for {what}", got=repr(name), do=nearest(name, ABOUT))
