"""Keras 3 models on the torch backend: they are torch modules, with a tree of their own."""

from __future__ import annotations

import copy
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pellucid.core.modality import Images
from pellucid.core.model import Model
from pellucid.errors import LoadError
from pellucid.loading.request import Request
from pellucid.loading.weights import TRUST, first_line


class Tap(nn.Module):
    """Where the answer of a Keras layer can be read and changed, maps channels first; it holds the layer's weights."""

    def __init__(self, layer: Any, *, turn: bool) -> None:
        super().__init__()
        for name, each in layer.named_parameters():
            self.register_parameter(name.rpartition(".")[2], each)
        self.turn = turn
        layer.register_forward_hook(self.passed)

    def passed(self, _layer: Any, _args: Any, answer: Any) -> Any:
        """The layer's answer, led through this module."""
        if not isinstance(answer, Tensor):
            return answer
        if not self.turn or answer.ndim != 4:
            return self(answer)
        return self(answer.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def forward(self, answer: Tensor) -> Tensor:
        """The answer itself."""
        return answer


class KerasNet(nn.Module):
    """A Keras model of our own, its layers under their names; pictures come channels first."""

    def __init__(self, net: Any, *, turn: bool) -> None:
        super().__init__()
        self.__dict__["net"] = net
        self.turn = turn
        for layer in net.layers:
            tap = type(type(layer).__name__, (Tap,), {})
            name = layer.name.replace(".", "_")
            self.add_module(name if not hasattr(self, name) else name + "_", tap(layer, turn=last_channel()))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the Keras model answers in inference."""
        given = args[0] if len(args) == 1 else list(args)
        if self.turn and isinstance(given, Tensor) and given.ndim == 4:
            given = given.permute(0, 2, 3, 1)
        return self.__dict__["net"](kwargs or given, training=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> KerasNet:
        return KerasNet(copy.deepcopy(self.__dict__["net"]), turn=self.turn)


def last_channel() -> bool:
    """Whether Keras stores pictures channels last."""
    return bool(import_module("keras").config.image_data_format() == "channels_last")


def is_keras(module: Any) -> bool:
    """Whether it is a Keras model; keras is not imported to find out."""
    kind = getattr(sys.modules.get("keras"), "Model", None)
    return kind is not None and isinstance(module, kind)


def wrapped(net: Any, request: Request) -> Model:
    """The model around a live Keras model; its copy has weights of its own."""
    if not isinstance(net, nn.Module):
        raise wrong_backend()
    if request.weights is not None:
        do = "Call net.load_weights(path) first."
        raise LoadError(expected="a Keras model with its weights in it", got="separate weights", do=do)
    try:
        own = copy.deepcopy(net)
    except Exception as error:
        do = "Register its custom layers: keras.saving.register_keras_serializable()."
        got = f"{type(error).__name__}: {first_line(error)}"
        raise LoadError(expected="a Keras model that can be copied", got=got, do=do) from error
    return request.model(KerasNet(own, turn=last_channel() and isinstance(request.inputs, Images)))


def from_file(source: Path, request: Request) -> Model:
    """The model in a .keras or .h5 file: code, since Lambda layers are."""
    if not request.trust:
        got = f"{source.name!r}, a Keras file, whose Lambda and custom layers are code that runs when it is loaded"
        raise LoadError(expected="a model that is safe to open", got=got, do=TRUST)
    if find_spec("keras") is None:
        raise LoadError(expected="the package keras", got="it is not installed", do="Install it: pip install keras")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = import_module("keras")
    if keras.backend.backend() != "torch":
        raise wrong_backend()
    try:
        net = keras.saving.load_model(source, compile=False, safe_mode=False)
    except Exception as error:
        got = f"{source.name!r}: {type(error).__name__}: {first_line(error)}"
        raise LoadError(expected="a Keras 3 model", got=got, do="Save it again with model.save(path).") from error
    return wrapped(net, request)


def wrong_backend() -> LoadError:
    """The error for a Keras that runs on something else."""
    do = "Set KERAS_BACKEND=torch in the environment before keras is imported."
    return LoadError(expected="Keras on its torch backend", got="another backend", do=do)
