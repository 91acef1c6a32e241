"""``package.module:name``: the user's own code, imported and called because the user named it."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from pellucid.core.model import Model
from pellucid.errors import LoadError, PellucidError, nearest
from pellucid.loading import keras
from pellucid.loading.request import Request
from pellucid.loading.weights import first_line

PREFIXES = ("demo:", "torchvision:", "timm:", "hf:")
SHAPE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def build(request: Request) -> Model:
    """The model that a factory gives, filled with weights."""
    made = called(attribute(request.name), request)
    if isinstance(made, Model):
        return overridden(made, request)
    if not isinstance(made, nn.Module):
        do = "Return a torch.nn.Module; a predict function goes into pl.BlackBox (--predict on the command line)."
        raise LoadError(expected=f"a torch module from {request.name}", got=type(made).__name__, do=do)
    if keras.is_keras(made):
        return keras.wrapped(made, request)
    return request.model(request.filled(made))


def called(thing: Any, request: Request) -> Any:
    """What the named thing gives when called; a module or model is taken as it is."""
    if isinstance(thing, nn.Module | Model):
        request.no_options(f"{request.name}, which is not called")
        return thing
    if not callable(thing):
        do = "Name a function or class that builds the network."
        raise LoadError(expected=f"{request.name} to be a factory", got=type(thing).__name__, do=do)
    try:
        return thing(**request.rest)
    except PellucidError:
        raise
    except Exception as error:
        do = f"Its arguments are {arguments(thing)}; call it yourself to see where it fails."
        got = f"{type(error).__name__}: {first_line(error)}"
        raise LoadError(expected=f"{request.name} to build a network", got=got, do=do) from error


def arguments(thing: Callable[..., Any]) -> str:
    """The arguments a factory takes."""
    try:
        return str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "not known"


def overridden(made: Model, request: Request) -> Model:
    """A factory's own pl.Model, with what the caller says about it."""
    request.filled(made.module)
    made.modality = request.inputs or made.modality
    made.classes = request.classes or made.classes
    made.task = request.options.get("task", made.task)
    return made


def attribute(name: str) -> Any:
    """The object that ``package.module:name`` names."""
    if not SHAPE.fullmatch(name):
        near = nearest(name.partition(":")[0], PREFIXES)
        raise LoadError(expected="package.module:factory, or demo:, torchvision:, timm:, hf:", got=repr(name), do=near)
    place, _, path = name.partition(":")
    found: Any = imported(place)
    for part in path.split("."):
        if not hasattr(found, part):
            do = nearest(part, [each for each in dir(found) if not each.startswith("_")])
            raise LoadError(expected=f"{part!r} in {place}", got="nothing of that name", do=do)
        found = getattr(found, part)
    return found


def imported(place: str) -> ModuleType:
    """The module of that name; errors say whether it is missing, needs something missing, or fails itself."""
    try:
        return import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            do = f"{nearest(place, neighbors(place))} Python looks in the folders of PYTHONPATH."
            raise LoadError(expected=f"a Python module {place!r}", got=f"no {error.name!r}", do=do) from None
        do = f"Install {error.name}."
        raise LoadError(expected=f"{place} to be importable", got=str(error), do=do) from error
    except Exception as error:
        got = f"{type(error).__name__}: {first_line(error)}"
        raise LoadError(expected=f"{place} to be importable", got=got, do=f"Run: python -c 'import {place}'") from error


def neighbors(place: str) -> list[str]:
    """Modules that could have been meant: those beside it in its package, or in the working folder, and the sources."""
    package, dot, _ = place.rpartition(".")
    parent = sys.modules.get(package)
    if dot and parent is not None and hasattr(parent, "__path__"):
        return [f"{package}.{each.name}" for each in pkgutil.iter_modules(parent.__path__)]
    return [*PREFIXES, *(each.name for each in pkgutil.iter_modules([str(Path.cwd())]))]
