"""Model files that bring their own code: refused unless trusted, with the reason."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.core.model import Model
from pellucid.errors import LoadError
from pellucid.loading import keras
from pellucid.loading.request import Request
from pellucid.loading.weights import PICKLED, TRUST, archive, existing, first_line, read_pickle

KERAS = (".keras", ".h5", ".hdf5")
SUFFIXES = (".safetensors", ".pt2", ".onnx", ".joblib", ".pkl", ".pickle", *PICKLED, *KERAS)
NEEDS_NETWORK = "Say which network they belong to: package.module:factory, with weights={!r}."
PREDICT = (
    "Open it with its own library and wrap its predict function: pl.BlackBox(predict), or --predict module:predict."
)


class Closed(nn.Module):
    """A module that shows its weights and nothing else of its inside, in the mode it was saved in."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.__dict__["net"] = net
        for name, each in net.named_parameters():
            self.register_parameter(name.replace(".", "/"), nn.Parameter(each.detach(), requires_grad=False))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module answers."""
        return self.__dict__["net"](*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Closed:
        return Closed(copy.deepcopy(self.__dict__["net"]))


def build(request: Request) -> Model:
    """The model in a file, by what kind of file it is."""
    source = existing(request.path, "a model file")
    request.no_options(f"{source.name!r}")
    if request.weights is not None:
        do = "Leave weights out, or name the network: package.module:factory."
        raise LoadError(expected="a model file with its own weights", got="weights beside it", do=do)
    suffix = source.suffix.lower()
    if suffix in KERAS:
        return keras.from_file(source, request)
    if suffix == ".safetensors":
        do = NEEDS_NETWORK.format(source.name)
        raise LoadError(expected="a model", got=f"{source.name!r}, weights without a network", do=do)
    if suffix in PICKLED or suffix == ".pt2":
        return request.model(opened(source, request.trust))
    got = f"{source.name!r}, which pellucid cannot open"
    raise LoadError(expected="a model file", got=got, do=PREDICT if suffix else "Pass a model file.")


def opened(source: Path, trust: bool) -> nn.Module:
    """A TorchScript archive, an exported program or a pickled module."""
    kind = "an exported program (torch.export)" if source.suffix == ".pt2" else archive(source)
    if kind == "pickle":
        return unpickled(source, trust)
    if not trust:
        got = f"{source.name!r}, {kind}, which can run any code when it is loaded"
        raise LoadError(expected="a model that is safe to open", got=got, do=TRUST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            script = kind == "TorchScript"
            net = torch.jit.load(source, map_location="cpu").eval() if script else torch.export.load(source).module()
    except Exception as error:
        got = f"{source.name!r}: {type(error).__name__}: {first_line(error)}"
        raise LoadError(expected=f"{kind} that this torch can open", got=got, do="Write it again with it.") from error
    for each in net.parameters():
        each.requires_grad_(False)
    return Closed(net)


def unpickled(source: Path, trust: bool) -> nn.Module:
    """The module in a pickle; a file of weights alone is named as such."""
    found = read_pickle(source, trust=trust)
    if isinstance(found, nn.Module):
        return found
    do = NEEDS_NETWORK.format(source.name)
    raise LoadError(expected="a model", got=f"{source.name!r}, weights without a network", do=do)
