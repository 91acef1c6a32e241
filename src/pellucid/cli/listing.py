"""``pellucid methods`` and ``pellucid layers``."""

from __future__ import annotations

from typing import Any

from pellucid.catalogue import EVERYTHING, METHODS, VIEWS
from pellucid.cli.console import emit, say, sheet
from pellucid.cli.opening import Wanted, opened
from pellucid.cli.reading import expected, read
from pellucid.errors import OptionError, nearest


def list_methods(family: str | None, modality: str | None, as_json: bool) -> None:
    """The catalogue, or a part of it."""
    one_of("family", family, sorted({each.family for each in METHODS}))
    one_of("modality", modality, EVERYTHING)
    chosen = [
        each for each in METHODS if family in (None, each.family) and (modality is None or modality in each.modalities)
    ]
    if as_json:
        names = ("name", "family", "modalities", "paper")
        emit([{name: getattr(each, name) for name in names} for each in chosen])
        return
    rows = [(each.name, each.family, reads(each.modalities), each.paper) for each in chosen]
    sheet(("method", "family", "reads", "paper"), rows)
    if family is None:
        views = [each for each in VIEWS if modality is None or modality in each.modalities]
        sheet(
            ("inside the network", "reads", "paper"),
            [(each.name, reads(each.modalities), each.paper) for each in views],
        )


def one_of(what: str, name: str | None, known: Any) -> None:
    """Refuse a name that is not known."""
    if name is not None and name not in known:
        raise OptionError(expected=f"a {what}", got=repr(name), do=nearest(name, known))


def reads(modalities: tuple[str, ...]) -> str:
    """Modalities in words."""
    return "everything" if set(modalities) == set(EVERYTHING) else ", ".join(modalities)


def list_layers(wanted: Wanted, given: str | None, as_json: bool) -> None:
    """The layers of a model in the order of their calls."""
    if given is not None:
        expected(given)
    model = opened(wanted, given)
    found = model.layers(sample(model.modality) if given is None else read(given, model.modality.kind))
    if as_json:
        names = ("name", "kind", "shape", "weights", "calls")
        emit([{name: getattr(each, name) for name in names} for each in found])
        return
    rows = [(each.name, each.kind, size(each.shape), f"{each.weights:,}") for each in found]
    sheet(("layer", "kind", "output", "weights"), rows, numbers=("weights",))
    total = sum(each.numel() for each in model.module.parameters())
    say(f"{len(rows)} layers, {total:,} weights")
    if all(each.shape is None for each in found):
        say("Pass --input to see the shapes.")


def size(shape: tuple[int, ...] | None) -> str:
    """A shape in words."""
    return "–" if shape is None else " × ".join(map(str, shape)) or "1"


def sample(modality: Any) -> Any:
    """Something that the model can read, to learn shapes from; None where that is not known."""
    import torch

    if modality.kind == "image" and modality.size is not None:
        return torch.zeros(1, len(modality.mean), *modality.size)
    if modality.kind == "table":
        return torch.zeros(1, modality.slots[-1].stop)
    return "a" if modality.kind == "text" and modality.tokenizer is not None else None
