"""``torchvision:name`` and ``timm:name``: networks with published weights, their preprocessing and class names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from pellucid.core.modality import Images
from pellucid.core.model import Model
from pellucid.errors import LoadError, nearest
from pellucid.loading.request import Request
from pellucid.loading.weights import PICKLED, SAFE, first_line

RANDOM = ("random", "none")


def from_torchvision(request: Request) -> Model:
    """A torchvision model: published weights by name, the default ones without, or those of a file."""
    zoo = package("torchvision").models
    known = zoo.list_models()
    if request.local not in known:
        raise no_model("torchvision", request.local, known)
    entry = None if from_file(request) or request.weights in RANDOM else published(zoo, request)
    module = made(lambda: zoo.get_model(request.local, weights=entry, **request.rest), request)
    if entry is None:
        return placed(request, module)
    return placed(request, module, inputs=pictures(entry.transforms()), classes=entry.meta.get("categories"))


def published(zoo: Any, request: Request) -> Any:
    """The published weights of that name."""
    choices = zoo.get_model_weights(request.local)
    name = str(request.weights or "DEFAULT").rpartition(".")[2]
    if name not in choices.__members__:
        near = nearest(name, [*choices.__members__, *RANDOM])
        raise LoadError(expected=f"weights of {request.name}, or a file", got=repr(request.weights), do=near)
    return choices[name]


def pictures(preset: Any) -> Images | None:
    """The modality of a torchvision preset, where it normalizes pictures."""
    mean, std = getattr(preset, "mean", None), getattr(preset, "std", None)
    if mean is None or std is None:
        return None
    side = getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None)
    return Images(mean=tuple(mean), std=tuple(std), size=square(side))


def square(side: Any) -> tuple[int, int] | None:
    """(height, width) from a number or a list of one or two."""
    if side is None:
        return None
    sides = [int(each) for each in (side if isinstance(side, list | tuple) else [side])]
    return sides[0], sides[-1]


def from_timm(request: Request) -> Model:
    """A timm model: its published weights, or those of a file."""
    timm = package("timm")
    if not timm.is_model(request.local.partition(".")[0]) and not request.local.startswith(("hf-hub:", "hf_hub:")):
        raise no_model("timm", request.local, timm.list_models())
    if request.weights is not None and request.weights not in RANDOM and not from_file(request):
        do = 'Name them with the model: "timm:resnet50.a1_in1k"; or pass a file, or "random".'
        raise LoadError(expected=f"weights of {request.name}", got=repr(request.weights), do=do)
    pretrained = request.weights is None
    module = made(lambda: timm.create_model(request.local, pretrained=pretrained, **request.rest), request)
    asked = timm.data.resolve_model_data_config(module)
    images = Images(mean=tuple(asked["mean"]), std=tuple(asked["std"]), size=square(asked["input_size"][1:]))
    return placed(request, module, inputs=images, classes=label_names(timm, module))


def label_names(timm: Any, module: Any) -> list[str] | None:
    """The class names of a timm model, where it says them or they are ImageNet's."""
    names = (getattr(module, "pretrained_cfg", None) or {}).get("label_names")
    if names:
        return list(names)
    subset = timm.data.infer_imagenet_subset(module)
    return list(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else None


def placed(request: Request, module: Any, inputs: Images | None = None, classes: Any = None) -> Model:
    """The model, with weights of a file where one was named."""
    filled = request.filled(module) if from_file(request) else module
    return request.model(filled, inputs=inputs, classes=tuple(classes) if classes else None)


def from_file(request: Request) -> bool:
    """Whether the weights are a file rather than a name."""
    given = request.weights
    return given is not None and (isinstance(given, Path) or Path(given).suffix.lower() in (*SAFE, *PICKLED))


def package(name: str) -> Any:
    """The package, or LoadError with the command that installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        do = f"Install it: pip install {name}"
        missing = "it is not installed" if error.name == name else first_line(error)
        raise LoadError(expected=f"the package {name}", got=missing, do=do) from None
    except Exception as error:
        do = f"Install the {name} that fits this torch: pip install --upgrade {name}"
        got = f"one that fails: {first_line(error)}"
        raise LoadError(expected=f"a {name} that can be imported", got=got, do=do) from error


def made(build: Any, request: Request) -> Any:
    """What the zoo builds; downloads that fail and options it does not know become LoadError."""
    try:
        return build()
    except Exception as error:
        do = "Weights are downloaded unless you pass a file or weights='random'; see the cause above."
        got = f"{type(error).__name__}: {first_line(error)}"
        raise LoadError(expected=f"{request.name} to be built", got=got, do=do) from error


def no_model(zoo: str, name: str, known: list[str]) -> LoadError:
    """The error for a name that a zoo does not know."""
    return LoadError(expected=f"the name of a {zoo} model", got=repr(name), do=nearest(name, known))
