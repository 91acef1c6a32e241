"""Inputs from the command line: pictures, tables, arrays, texts. Nothing in a file is executed; sizes are capped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pellucid.errors import EmptyError, InputError, nearest

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TABLES = (".csv", ".tsv")
KNOWN = (*PICTURES, *TABLES, ".json", ".npy", ".txt")
READS = {
    "image": (*PICTURES, ".npy"),
    "table": (*TABLES, ".json", ".npy"),
    "text": (".txt", ".json"),
    "series": (*TABLES, ".json", ".npy"),
    "tensor": (*TABLES, ".json", ".npy"),
}
MOST_BYTES = 100 * 10**6
MOST_TEXT = 10**6


def read(given: str, kind: str, row: str = "0") -> Any:
    """What a model of that kind of input is given; ``row`` picks from a table: a number, or "all"."""
    path = as_file(given)
    if path is None:
        if kind == "text" and not looks_like_file(given):
            return given
        raise missing(given, f"an input file ({', '.join(READS[kind])})")
    suffix = path.suffix.lower()
    if suffix not in READS[kind]:
        do = f"It reads {', '.join(READS[kind])}" + (", or a sentence itself." if kind == "text" else ".")
        raise InputError(expected=f"an input for a model of kind {kind!r}", got=repr(path.name), do=do)
    if suffix in PICTURES:
        return path
    if suffix == ".txt":
        return text_of(path, MOST_TEXT).strip()
    if suffix == ".npy":
        return array(path, kind)
    if suffix in TABLES:
        return table(path, kind, row)
    return from_json(path, kind, row)


def expected(given: str) -> None:
    """Refuse the name of a file that is not there, before a model is loaded."""
    if looks_like_file(given) and as_file(given) is None:
        raise missing(given, "an input file")


def as_file(given: str) -> Path | None:
    """The path of an existing file, or None."""
    try:
        path = Path(given).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def looks_like_file(given: str) -> bool:
    """Whether a text has the form of a file's name rather than of a sentence."""
    return Path(given).suffix.lower() in KNOWN


def missing(given: str, what: str) -> InputError:
    """The error for a file that is not there, with names near to it."""
    path = Path(given)
    try:
        beside = [each.name for each in path.parent.iterdir()]
    except (OSError, ValueError):
        beside = []
    do = nearest(path.name, sorted(beside)) if beside else "Check the path."
    return InputError(expected=what, got=f"no file {given[:200]!r}", do=do)


def text_of(path: Path, most: int) -> str:
    """The text of a file of at most ``most`` bytes."""
    capped(path, most)
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            expected="text in UTF-8", got=f"{path.name!r}: {error.reason}", do="Save it as UTF-8."
        ) from None


def capped(path: Path, most: int) -> None:
    """Refuse a file that is too large to be one input."""
    size = path.stat().st_size
    if size > most:
        got = f"{path.name!r} of {size / 1e6:.0f} MB"
        raise InputError(expected=f"at most {most / 1e6:g} MB", got=got, do="Cut out the rows you want explained.")


def array(path: Path, kind: str) -> Any:
    """A NumPy file; pickled objects in it are refused. Floats for a picture model are what its module takes."""
    import numpy as np
    import torch

    capped(path, 10 * MOST_BYTES)
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        got = f"{path.name!r}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise InputError(expected="an array of numbers", got=got, do="Save it with numpy.save(path, array).") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        got = f"{path.name!r} of {getattr(found, 'dtype', type(found).__name__)}"
        raise InputError(expected="an array of numbers", got=got, do="Save it with numpy.save(path, array).")
    if kind in ("table", "series") or (kind == "image" and found.dtype == np.uint8):
        return found
    return torch.from_numpy(np.ascontiguousarray(found.astype(found.dtype.newbyteorder("="))))


def table(path: Path, kind: str, row: str) -> Any:
    """Rows of a CSV file: by column name for a table, else as numbers."""
    header, rows = cells(path)
    chosen = picked(rows, row, path.name)
    if kind == "table":
        return {name: [each[i] for each in chosen] for i, name in enumerate(header)}
    import numpy as np
    import torch

    try:
        return torch.from_numpy(np.array(chosen, dtype=np.float32))
    except ValueError as error:
        raise InputError(
            expected="numbers in every column", got=f"{path.name!r}: {error}", do="Say --columns."
        ) from None


def cells(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """The header and the rows of a CSV file, each as long as the header."""
    text = text_of(path, MOST_BYTES)
    lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter(path, text), strict=False)
    header = [each.strip() for each in next(lines, [])]
    doubled = sorted({each for each in header if header.count(each) > 1})
    if not any(header) or doubled:
        got = f"{path.name!r} with {'no header' if not doubled else f'the column {doubled[0]!r} twice'}"
        raise InputError(expected="a header of different names", got=got, do="Name each column in the first line.")
    return header, checked(lines, len(header), path.name)


def checked(lines: Iterator[list[str]], width: int, name: str) -> Iterator[list[str]]:
    """Rows that are as long as the header; empty lines are skipped."""
    try:
        for number, line in enumerate(lines, 2):
            if line and len(line) != width:
                got = f"{len(line)} in line {number} of {name!r}"
                raise InputError(expected=f"{width} cells, as in the header", got=got, do="Quote cells with commas.")
            if line:
                yield [each.strip() for each in line]
    except csv.Error as error:
        raise InputError(expected="a readable table", got=f"{name!r}: {error}", do="Save it as plain CSV.") from None


def delimiter(path: Path, text: str) -> str:
    """Tab for .tsv; for .csv the comma, or the semicolon where the header has only that."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = text.partition("\n")[0]
    return ";" if ";" in header and "," not in header else ","


def picked(rows: Iterator[Any], row: str, name: str) -> list[Any]:
    """The asked rows."""
    if row == "all":
        found = list(rows)
        if not found:
            raise EmptyError(expected="at least one row", got=f"none in {name!r}", do="Add a row under the header.")
        return found
    if not row.isdecimal():
        raise InputError(expected="--row with a number, or all", got=repr(row), do="The first row is 0.")
    count = 0
    for count, each in enumerate(rows, 1):
        if count == int(row) + 1:
            return [each]
    do = f"The last row is {count - 1}." if count else "Add a row under the header."
    raise InputError(expected=f"row {row} in {name!r}", got=f"{count} rows", do=do)


def parsed_json(path: Path, content: str) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        got = f"{path.name!r}: {str(error)[:120]}"
        raise InputError(expected="valid JSON", got=got, do="Check the file with a JSON reader.") from None


def from_json(path: Path, kind: str, row: str) -> Any:
    """A row or rows, a sentence, or arrays from JSON."""
    found = parsed_json(path, text_of(path, MOST_BYTES))
    if isinstance(found, list) and found and all(isinstance(each, dict) for each in found):
        chosen = picked(iter(found), row, path.name)
        lacking = [name for name in chosen[0] if any(name not in each for each in chosen)]
        if lacking:
            do = "Give every row the same columns."
            raise InputError(expected=f"{lacking[0]!r} in every row", got=f"rows without it in {path.name!r}", do=do)
        return {name: [each[name] for each in chosen] for name in chosen[0]}
    if kind == "table" or isinstance(found, str):
        return found
    if kind == "text" and isinstance(found, list) and all(isinstance(each, str) for each in found):
        return picked(iter(found), row, path.name)
    return tensors(found, path.name)


def tensors(found: Any, name: str) -> Any:
    """Numbers, lists of numbers, or a dict of them, as tensors; whole numbers in a dict stay whole (token ids)."""
    import torch

    try:
        if isinstance(found, Mapping):
            return {str(key): torch.tensor(each) for key, each in found.items()}
        return torch.tensor(found, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        got = f"{name!r}: {str(error)[:120]}"
        raise InputError(
            expected="numbers in lists of equal length", got=got, do="Nest lists as the shape asks."
        ) from None


def column_names(path: Path) -> tuple[str, ...] | None:
    """The columns that a table file names, or None."""
    if path.suffix.lower() in TABLES:
        return tuple(cells(path)[0])
    if path.suffix.lower() != ".json":
        return None
    found = parsed_json(path, text_of(path, MOST_BYTES))
    first = found[0] if isinstance(found, list) and found else found
    scalars = isinstance(first, dict) and all(isinstance(each, str | int | float) for each in first.values())
    return tuple(map(str, first)) if scalars and first else None


def columns_of(path: Path, names: Sequence[str] | None = None) -> dict[str, list[Any]] | None:
    """All rows of a table file by column, those of an array by ``names``; None where columns have no names."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        found = table(path, "table", "all")
    elif suffix == ".json" and column_names(path):
        found = from_json(path, "table", "all")
    elif suffix == ".npy" and names is not None:
        cells = array(path, "table")
        if cells.ndim != 2 or cells.shape[1] != len(names):
            got = f"shape {cells.shape} in {path.name!r}"
            raise InputError(expected=f"rows of {len(names)} columns", got=got, do="Save rows, one column each.")
        found = dict(zip(names, cells.T.tolist(), strict=True))
    else:
        return None
    return {str(name): each if isinstance(each, list) else [each] for name, each in found.items()}
