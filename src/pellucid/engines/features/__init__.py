"""Features: what counts as one part. A feature set makes players: parts that are shown or hidden together."""

from __future__ import annotations

from typing import Any

import torch

from pellucid.core.modality import Table, Text
from pellucid.core.probe import Probe
from pellucid.engines.features.named import Columns as Columns
from pellucid.engines.features.named import Elements as Elements
from pellucid.engines.features.named import Groups as Groups
from pellucid.engines.features.named import Inputs as Inputs
from pellucid.engines.features.players import Boxes as Boxes
from pellucid.engines.features.players import Features as Features
from pellucid.engines.features.players import Parts as Parts
from pellucid.engines.features.players import Players as Players
from pellucid.engines.features.segments import Superpixels as Superpixels
from pellucid.engines.features.space import Patches as Patches
from pellucid.engines.features.space import Windows as Windows
from pellucid.engines.features.text import Sentences as Sentences
from pellucid.engines.features.text import Tokens as Tokens
from pellucid.engines.features.text import Words as Words
from pellucid.errors import OptionError


def as_features(given: Any, ask: Probe) -> Features:
    """A feature set as it is; the usual one for None."""
    if given is None:
        return usual_features(ask)
    if not isinstance(given, Features):
        do = "Use e.g. Elements(), Patches(7), Columns(), Words(), Groups({…})."
        raise OptionError(expected="a feature set", got=repr(given)[:60], do=do)
    return given


def usual_features(ask: Probe) -> Features:
    """What counts as one part where nothing is said: columns, words, patches of a picture, or elements."""
    if ask.site is not None:
        return (
            Elements()
            if ask.inputs.ndim == 2
            else Groups(torch.arange(ask.inputs.shape[1]).reshape(-1, *[1] * (ask.inputs.ndim - 2)))
        )
    if ask.leaves.integer or isinstance(ask.model.modality, Text):
        return Words()
    if isinstance(ask.model.modality, Table):
        return Columns()
    if ask.inputs.ndim < 3:
        return Elements()
    return Patches(min(7, max(2, min(ask.inputs.shape[2:]) // 2))) if ask.inputs.ndim > 3 else Patches(16)
