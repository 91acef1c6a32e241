"""The bundled models with their modality, class names and data."""

from __future__ import annotations

import copy

from pellucid.core.modality import Images, Modality, Table, Text
from pellucid.core.model import Model
from pellucid.demo import NAMES, DemoParts, parts
from pellucid.errors import LoadError, nearest
from pellucid.loading.request import Request


def build(request: Request) -> Model:
    """A bundled model."""
    if request.local not in NAMES:
        near = nearest(request.local, NAMES)
        raise LoadError(expected="the name of a demo", got=repr(request.local), do=near)
    request.no_options("a demo")
    demo = parts(request.local)
    module = demo.module if request.weights is None else request.filled(copy.deepcopy(demo.module))
    return request.model(module, inputs=modality(demo), classes=demo.classes, task=demo.task)


def modality(demo: DemoParts) -> Modality:
    """What the demo's model reads."""
    if demo.kind == "image":
        return Images(mean=demo.mean, std=demo.std, size=demo.examples.shape[1:3])
    if demo.kind == "text":
        return Text(tokenizer=demo.tokenizer)
    return Table(
        columns=demo.columns,
        categories=demo.categories,
        mean=demo.mean,
        std=demo.std,
        background=demo.background,
        units=demo.units,
    )
