"""The model that the options of a command ask for."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.backing import Sheet, sheet, table_of, truths
from pellucid.cli.console import note
from pellucid.cli.predicting import Predictor, is_onnx, predictor
from pellucid.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pellucid.core.modality import Modality, Table

MOST_NAMES = 10**6
SOURCES = ("demo", "torchvision", "timm", "hf")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options that say which model, and what it reads."""

    model: str | None = None
    weights: str | None = None
    predict: str | None = None
    classes: str | None = None
    mean: str | None = None
    std: str | None = None
    size: str | None = None
    columns: str | None = None
    background: str | None = None
    task: str | None = None
    trust: bool = False


def opened(wanted: Wanted, given: str | None) -> Any:
    """The model or black box; what it reads is taken from the options, from the model, or from the kind of input."""
    if (wanted.model is None) == (wanted.predict is None):
        do = "Say --model NAME (try demo:digits), or --predict module:thing."
        raise OptionError(
            expected="one of --model and --predict", got="none" if wanted.model is None else "both", do=do
        )
    classes = None if wanted.classes is None else names_in(wanted.classes, "--classes")
    look_here(wanted.predict or wanted.model or "")
    if is_onnx(wanted.model):
        wanted = replace(wanted, model=None, predict=wanted.model)
    inputs = declared(wanted)
    return black_box(wanted, inputs, classes, given) if wanted.predict else network(wanted, inputs, classes, given)


def look_here(name: str) -> None:
    """Let Python find the user's own module in the working folder, as ``python -m`` does."""
    source, colon, _ = name.partition(":")
    if colon and source not in SOURCES and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def network(wanted: Wanted, inputs: Modality | None, classes: list[str] | None, given: str | None) -> Any:
    """A loaded model; one that does not say what it reads is given what the input looks like."""
    from pellucid.loading import load

    options = {} if wanted.task is None else {"task": wanted.task}
    model = load(wanted.model, wanted.weights, inputs, classes, wanted.trust, **options)
    if model.modality.kind == "tensor":
        model.modality = implied(given) or model.modality
    if wanted.background is not None:
        model.modality = backed(model.modality, wanted.background)
    return model


def backed(modality: Any, given: str) -> Modality:
    """What a network reads, with the rows of a file for its hidden columns."""
    if modality.kind != "table":
        raise no_table(given)
    rows = background(given, modality.columns)
    rows.has(modality.columns)
    return replace(modality, background=rows.whole(modality.columns, modality.categories))


def black_box(wanted: Wanted, inputs: Modality | None, classes: list[str] | None, given: str | None) -> Any:
    """A predict function as a black box."""
    from pellucid.core.blackbox import BlackBox
    from pellucid.core.modality import Text

    if wanted.weights is not None:
        do = "Load them inside the function's module."
        raise OptionError(expected="no --weights beside --predict", got=repr(wanted.weights), do=do)
    asked = predictor(str(wanted.predict))
    table = (
        None if given is None or getattr(inputs, "kind", "table") != "table" else tabled(asked, inputs, wanted, given)
    )
    if table is None and wanted.background is not None:
        raise no_table(given)
    if table is not None:
        asked = replace(asked, truths=truths(table))
    elif inputs is None and given is not None:
        inputs = implied(given) or (Text() if is_text(given) else None)
    box = BlackBox(asked, inputs=table or inputs, classes=classes or asked.classes, task=wanted.task or asked.task)
    if box.classes is None and asked.named is not None and table is not None:
        import numpy as np

        box.classes = asked.named(asked.shown(table.decode(np.zeros((1, len(table.columns))))))
    return box


def tabled(asked: Predictor, inputs: Modality | None, wanted: Wanted, given: str) -> Table | None:
    """The table that the input and the background make; None where the input is none."""
    from pellucid.cli.reading import as_file

    path, columns = as_file(given), getattr(inputs, "columns", None)
    rows = None if path is None else sheet(path, columns or asked.columns)
    if rows is None:
        return None
    behind = None if wanted.background is None else background(wanted.background, columns or asked.columns)
    return table_of(asked, rows, behind, columns)


def background(given: str, names: Sequence[str] | None) -> Sheet:
    """The rows of a file for --background."""
    from pellucid.cli.reading import as_file, missing

    path = as_file(given)
    if path is None:
        raise missing(given, "a file of background rows")
    found = sheet(path, names)
    if found is None:
        raise no_table(given)
    return found


def no_table(given: str | None) -> OptionError:
    """The error for a background of what is no table."""
    do = "Give rows with named columns: .csv, .tsv or .json."
    return OptionError(expected="a table with --background", got=repr(given), do=do)


def declared(wanted: Wanted) -> Modality | None:
    """What the options say the model reads."""
    pictures = [each for each in (wanted.mean, wanted.std, wanted.size) if each is not None]
    if pictures and wanted.columns is not None:
        do = "--mean, --std and --size are for pictures, --columns for tables."
        raise OptionError(expected="options of one kind of input", got="those of pictures and of tables", do=do)
    if pictures:
        return images(wanted)
    if wanted.columns is None:
        return None
    from pellucid.core.modality import Table

    return Table(columns=tuple(names_in(wanted.columns, "--columns")))


def images(wanted: Wanted) -> Modality:
    """Pictures as --mean, --std and --size say."""
    from pellucid.core.modality import Images

    mean = None if wanted.mean is None else numbers("--mean", wanted.mean)
    std = None if wanted.std is None else numbers("--std", wanted.std)
    channels = len(mean or std or (0, 0, 0))
    size = None if wanted.size is None else sides(wanted.size)
    return Images(mean=mean or (0.0,) * channels, std=std or (1.0,) * channels, size=size)


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers from a comma list."""
    try:
        return tuple(float(each) for each in text.replace(",", " ").split())
    except ValueError:
        raise OptionError(expected=f"numbers for {option}", got=repr(text), do="Use e.g. 0.485,0.456,0.406.") from None


def sides(text: str) -> tuple[int, int]:
    """(height, width) from "224" or "224x320"."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*(?:[x×,]\s*(\d{1,5})\s*)?", text)
    if not found or not int(found[1]) or found[2] == "0":
        raise OptionError(expected="--size in pixels", got=repr(text), do="Use e.g. 224, or height x width: 224x320.")
    return int(found[1]), int(found[2] or found[1])


def names_in(text: str, option: str) -> list[str]:
    """Names from a file (a line each, or JSON: a list, or a dict from numbers to names), or from a comma list."""
    from pellucid.cli.reading import as_file, missing, parsed_json, text_of

    path = as_file(text)
    if path is None:
        if Path(text).suffix.lower() in (".txt", ".json"):
            raise missing(text, f"a file of names for {option}")
        return [each.strip() for each in text.split(",") if each.strip()]
    content = text_of(path, MOST_NAMES)
    if path.suffix.lower() != ".json":
        return [line.strip() for line in content.splitlines() if line.strip()]
    found = parsed_json(path, content)
    if isinstance(found, dict) and all(str(key).isdigit() for key in found):
        return [str(found[key]) for key in sorted(found, key=int)]
    if isinstance(found, list):
        return [str(each) for each in found]
    raise OptionError(expected=f"a list of names for {option}", got=path.name, do="Write one name a line.")


def implied(given: str | None) -> Modality | None:
    """What an input file looks like, for a model that does not say what it reads."""
    from pellucid.cli.reading import PICTURES, as_file, column_names

    path = None if given is None else as_file(given)
    if path is None:
        return None
    from pellucid.core.modality import Images, Table

    if path.suffix.lower() in PICTURES:
        note("the model does not say how pictures are normalized: pixels go in as 0 … 1 (see --mean, --std, --size)")
        return Images()
    columns = column_names(path)
    return None if columns is None else Table(columns=columns)


def is_text(given: str) -> bool:
    """Whether an input is a sentence or a file of one."""
    from pellucid.cli.reading import as_file, looks_like_file

    path = as_file(given)
    return not looks_like_file(given) if path is None else path.suffix.lower() == ".txt"
