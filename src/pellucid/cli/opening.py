"""The model that the options of a command ask for."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.cli.console import note
from pellucid.errors import OptionError

if TYPE_CHECKING:
    from pellucid.core.modality import Modality

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
    trust: bool = False


def opened(wanted: Wanted, given: str | None) -> Any:
    """The model or black box; what it reads is taken from the options, from the model, or from the kind of input."""
    if (wanted.model is None) == (wanted.predict is None):
        do = "Say --model NAME (try demo:digits), or --predict module:function."
        raise OptionError(
            expected="one of --model and --predict", got="none" if wanted.model is None else "both", do=do
        )
    classes = None if wanted.classes is None else names_in(wanted.classes, "--classes")
    look_here(wanted.predict or wanted.model or "")
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

    model = load(wanted.model, wanted.weights, inputs, classes, wanted.trust)
    if model.modality.kind == "tensor":
        model.modality = implied(given) or model.modality
    return model


def black_box(wanted: Wanted, inputs: Modality | None, classes: list[str] | None, given: str | None) -> Any:
    """A predict function as a black box."""
    from pellucid.core.blackbox import BlackBox
    from pellucid.core.modality import Text
    from pellucid.loading.factory import attribute

    if wanted.weights is not None:
        do = "Load them inside the function's module."
        raise OptionError(expected="no --weights beside --predict", got=repr(wanted.weights), do=do)
    if inputs is None and given is not None:
        inputs = implied(given) or (Text() if is_text(given) else None)
    return BlackBox(attribute(str(wanted.predict)), inputs=inputs, classes=classes)


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
