"""Models from names and files. Whatever runs code when it is loaded needs ``trust=True``, by the user's own word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pellucid.core.modality import Modality
from pellucid.core.model import Model
from pellucid.demo import NAMES
from pellucid.errors import LoadError, OptionError, nearest
from pellucid.loading import demos, factory, files, hub, keras, zoo
from pellucid.loading.request import Request

SOURCES: dict[str, Callable[[Request], Model]] = {
    "demo": demos.build,
    "torchvision": zoo.from_torchvision,
    "timm": zoo.from_timm,
    "hf": hub.build,
}
WAYS = (
    "demo:digits, package.module:factory (with weights=file), a Hugging Face folder or owner/name, torchvision:name, "
    "timm:name, or a .keras, .pt2 or TorchScript file (with trust)"
)


def load(
    name: Any,
    weights: Any = None,
    inputs: Modality | None = None,
    classes: Sequence[str] | None = None,
    trust: bool = False,
    **options: Any,
) -> Model:
    """A model, ready to be explained, from a name.

    ``name`` is ``"demo:digits"`` (or breast-cancer, diabetes, sentences); ``"package.module:factory"``, a function or
    class of yours that is called and gives a torch module, with ``weights`` from a .safetensors or .pt file that must
    fit exactly; a Hugging Face folder, or an id such as ``"owner/name"``; ``"torchvision:resnet50"`` or
    ``"timm:…"`` with the weights of that name (``weights="random"`` for none); a Keras 3 model on its torch backend; or
    a module. What these know of inputs and class names is taken over unless ``inputs`` and ``classes`` say it.

    Formats that run code when loaded (.pt2, TorchScript, pickled modules, .keras, a folder with its own Python) are
    refused without ``trust=True``. ``task``, ``output`` and ``copy`` go to ``pl.Model``, other ``options`` to the
    factory.

    Raises: LoadError for a name, file or package that cannot be loaded; for weights that do not fit, with their names.

    Example:
        >>> import pellucid as pl
        >>> model = pl.load("torch.nn:Linear", in_features=3, out_features=2, classes=["cat", "dog"])
        >>> model.classes
        ('cat', 'dog')
    """
    if classes is not None and isinstance(classes, str):
        raise OptionError(expected="a list of class names", got="one text", do='Use e.g. classes=["cat", "dog"].')
    request = Request(
        name=str(name) if isinstance(name, str | Path) else "",
        weights=weights,
        inputs=inputs,
        classes=None if classes is None else tuple(classes),
        trust=trust,
        options=options,
    )
    if isinstance(name, nn.Module):
        return from_module(name, request)
    if not request.name:
        raise LoadError(expected=f"the name of a model: {WAYS}", got=type(name).__name__, do="Pass a str, or a module.")
    return opener(request)(request)


def opener(request: Request) -> Callable[[Request], Model]:
    """Who opens a name: the source before its colon, else what kind of file or folder it names."""
    source, colon, _ = request.name.partition(":")
    if colon and source in SOURCES:
        return SOURCES[source]
    path = request.path
    if path.is_dir():
        return hub.build
    if path.is_file() or path.suffix.lower() in files.SUFFIXES:
        return files.build
    if colon:
        return factory.build
    if hub.is_id(request.name):
        return hub.build
    if path.name != request.name:
        return files.build
    raise unknown(request.name)


def from_module(module: nn.Module, request: Request) -> Model:
    """A live module; weights go into a copy of it."""
    if keras.is_keras(module):
        return keras.wrapped(module, request)
    if request.weights is not None:
        import copy

        module = copy.deepcopy(module)
    return request.model(request.filled(module))


def unknown(name: str) -> LoadError:
    """The error for a name that no source knows."""
    near = nearest(name, [f"demo:{each}" for each in NAMES])
    return LoadError(expected=f"the name of a model: {WAYS}", got=repr(name), do=near)
