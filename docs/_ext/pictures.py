"""A picture for every method: its explanation of a bundled model's example, drawn when the pages are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
