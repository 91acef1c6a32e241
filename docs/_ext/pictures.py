"""A picture for every method: its explanation of a bundled model's example, drawn when the pages are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pellucid
from pellucid import catalogue, load
from pellucid.demo import parts

# Where bars or words say more than a map of 64 pixels.
DEMOS = {"shapley": "diabetes", "lime": "breast-cancer", "attention": "sentences"}
READS = {"diabetes": "table", "breast-cancer": "table", "sentences": "text"}
AT = {"Conductance": "stem.0"}
EXAMPLE = 3


def demo_of(row: Any) -> str:
    """The bundled model that a method is shown on."""
    named = DEMOS.get(row.family, "digits")
    return named if READS.get(named) in row.modalities else "digits"


def explained(row: Any, **options: Any) -> Any:
    """A method's explanation of one example."""
    name = demo_of(row)
    example = parts(name).examples[EXAMPLE : EXAMPLE + 1]
    return catalogue.find(row.name)(**options)(load(f"demo:{name}"), example, at=AT.get(row.name))


def draw(row: Any, folder: Path, **options: Any) -> Path:
    """Write the picture of a method, once."""
    path = folder / f"{row.name}.png"
    if not path.exists():
        import matplotlib.pyplot as plt

        folder.mkdir(parents=True, exist_ok=True)
        result = explained(row, **options)
        drawn = result.interactions_figure().plot() if "interactions" in result.extra else result.plot()
        drawn.savefig(path, dpi=110, bbox_inches="tight")
        plt.close(drawn)
    return path


def shown(row: Any, folder: Path) -> list[str]:
    """The picture as reStructuredText."""
    path = draw(row, folder)
    name = demo_of(row)
    said = f"{row.name} of one example of ``demo:{name}``"
    return [f".. figure:: {path.parent.name}/{path.name}", f"   :alt: {row.name} on demo:{name}", "", f"   {said}.", ""]


def planted() -> dict[str, Any]:
    """Masks of what is bright, and of the upper half, for the digits."""
    import numpy as np

    pictures = parts("digits").examples[:200]
    bright, upper = pictures > 8, np.zeros((200, 8, 8), bool)
    upper[:, :4] = True
    return {"masks": np.stack([bright, upper], 1), "names": ("ink", "upper half")}


def checkpoints() -> tuple[Any, Any]:
    """The digits' network, and the same with one layer moved."""
    import copy

    import torch

    before = parts("digits").module
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.block2.conv1.weight.mul_(1.05).add_(0.01)
    return before, after


# How each look inside is drawn: from the digits' network, its examples and their labels.
VIEWS: dict[str, Any] = {
    "activations": lambda net, x, y: pellucid.activations(net, x[:1], ["stem", "block2"]),
    "unit_statistics": lambda net, x, y: pellucid.unit_statistics(net, x),
    "top_examples": lambda net, x, y: pellucid.top_examples(net, x, "block1", units=[0, 1, 2], k=8),
    "receptive_field": lambda net, x, y: pellucid.receptive_field(net, "down", x[:32]),
    "filters": lambda net, x, y: pellucid.filters(net),
    "weights": lambda net, x, y: pellucid.weights(net),
    "filter_similarity": lambda net, x, y: pellucid.filter_similarity(net),
    "compare_weights": lambda net, x, y: pellucid.compare_weights(*checkpoints()),
    "visualize": lambda net, x, y: pellucid.visualize(net, [pellucid.Class(k) for k in range(8)], data=x, steps=128),
    "dream": lambda net, x, y: pellucid.dream(net, x[3], "block1"),
    "caricature": lambda net, x, y: pellucid.caricature(net, x[3], "block1"),
    "dissect": lambda net, x, y: pellucid.dissect(net, x[:200], layers=["stem"], **planted()),
    "name_units": lambda net, x, y: pellucid.name_units(net, x, y, "block2"),
    "CKA": lambda net, x, y: pellucid.CKA()(net, x, ["stem", "block1", "down", "block2"]),
    "layer_map": lambda net, x, y: pellucid.layer_map(net, x, "block2", labels=y),
    "DeepFeatureFactorization": lambda net, x, y: pellucid.DeepFeatureFactorization(concepts=3)(net, x[:6]),
}


def view(name: str, folder: Path) -> Path:
    """Write the picture of a look inside, once."""
    path = folder / f"{name}.png"
    if not path.exists():
        import matplotlib.pyplot as plt

        folder.mkdir(parents=True, exist_ok=True)
        digits = parts("digits")
        drawn = VIEWS[name](load("demo:digits"), digits.examples, digits.labels).plot()
        drawn.savefig(path, dpi=110, bbox_inches="tight")
        plt.close(drawn)
    return path


def looked(name: str, folder: Path) -> list[str]:
    """The picture of a look inside as reStructuredText."""
    path = view(name, folder)
    return [
        f".. figure:: {path.parent.name}/{path.name}",
        f"   :alt: {name} on demo:digits",
        "",
        f"   {name} of ``demo:digits``.",
        "",
    ]
