"""The table and the picture of the gauntlet, made when the pages are built and kept until the catalogue changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid import __version__, catalogue

FOLDER = Path(__file__).parents[1] / "reference"


def stamp() -> str:
    """What the table was made from: a first line that HTML does not show."""
    return f"% pellucid {__version__}: " + " ".join(row.name for row in catalogue.METHODS)


def cell(text: str) -> str:
    """Text that cannot end a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def section(sheet: Any) -> list[str]:
    """A heading, what the task is, and its table."""
    header = ["| " + " | ".join(sheet.header) + " |", "| --- " * len(sheet.header) + "|"]
    rows = ["| " + " | ".join(cell(str(each)) for each in row) + " |" for row in sheet.rows]
    return [f"## {sheet.title.capitalize()}", "", sheet.caption, "", *header, *rows, ""]


def page(made: Any, folder: Path) -> str:
    """The picture of a gauntlet, put into ``folder`` of the reference, and its tables as Markdown."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    drawn = made.figure().plot()
    drawn.savefig(folder / "gauntlet.png", dpi=110, bbox_inches="tight")
    plt.close(drawn)
    tasks = dict.fromkeys(each.task for each in made.scores)
    picture = f"{folder.parent.name}/{folder.name}/gauntlet.png"
    figure = [f"![Methods by planted tasks: AUC above or below chance]({picture})", ""]
    return "\n".join([stamp(), "", *figure, *[line for task in tasks for line in section(made.sheet(task))]])


def generate(app: Any) -> None:
    path = FOLDER / "gauntlet.inc"
    if path.exists() and path.read_text("utf-8").partition("\n")[0] == stamp():
        return
    from pellucid.gauntlet import gauntlet

    path.parent.mkdir(exist_ok=True)
    path.write_text(page(gauntlet(), FOLDER / "pictures"), "utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
