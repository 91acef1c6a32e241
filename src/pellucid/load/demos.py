"""The bundled models with their modality, class names and data."""

from __future__ import annotations

from typing import Any

from pellucid.core.modality import Images, Modality, Table, Text
from pellucid.core.model import Model
from pellucid.errors import LoadError, nearest
from pellucid.load.request import Request

NAMES = ("digits", "breast-cancer", "diabetes", "sentences")


def build(request: Request) -> Model:
    """A bundled model."""
    if request.local not in NAMES:
        near = nearest(request.local, NAMES)
        raise LoadError(expected="the name of a demo", got=repr(request.local), do=near)
    request.no_options("a demo")
    from pellucid.demo import parts

    demo = parts(request.local)
    classes = None if demo.classes is None else tuple(demo.classes)
    return request.model(request.filled(demo.module), inputs=modality(demo), classes=classes, task=demo.task)


def modality(demo: Any) -> Modality:
    """What the demo's model reads."""
    if demo.kind == "image":
        return Images(mean=demo.mean, std=demo.std, size=tuple(demo.examples.shape[-2:]))
    if demo.kind == "text":
        return Text(tokenizer=demo.tokenizer)
    return Table(
        columns=demo.columns,
        categories=demo.categories or {},
        mean=demo.mean,
        std=demo.std,
        background=demo.background,
    )
