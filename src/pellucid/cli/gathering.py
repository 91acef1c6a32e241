"""Data sets from the command line: a folder of pictures, an array, a table, a file of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.cli.console import note
from pellucid.cli.reading import MOST_BYTES, PICTURES, READS, array, capped, missing, read, text_of
from pellucid.errors import EmptyError, InputError


def gathered(given: str, kind: str, rows: int) -> Any:
    """Rows of data for a model of that kind of input: at most ``rows`` of them, evenly spaced."""
    path = there(given)
    if path.is_dir():
        return thinned(folder(path, kind), rows)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return thinned(archive(path, kind), rows)
    if suffix == ".txt" and kind == "text":
        return thinned(lines(path), rows)
    if suffix not in READS[kind]:
        do = f"It reads {', '.join((*READS[kind], '.npz'))}" + (
            ", or a folder of pictures." if kind == "image" else "."
        )
        raise InputError(expected=f"data for a model of kind {kind!r}", got=repr(path.name), do=do)
    found = read(given, kind, "all")
    return thinned([found] if isinstance(found, str | Path) else found, rows)


def there(given: str) -> Path:
    """The path of a file or a folder that exists."""
    try:
        path = Path(given).expanduser()
        if path.exists():
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise missing(given, "a file or a folder of data")


def first_file(given: str | None) -> str | None:
    """What tells how inputs look: the file, or the first picture of a folder."""
    if given is None:
        return None
    path = there(given)
    if not path.is_dir():
        return given
    pictures = pictures_in(path)
    if not pictures and next(path.rglob("*.txt"), None) is None:
        do = f"Put pictures into it: {', '.join(PICTURES)}."
        raise EmptyError(expected="a folder with pictures or texts", got=f"none in {path.name!r}", do=do)
    return str(pictures[0]) if pictures else None


def colors(given: str | None) -> int:
    """How many colors the pictures of a file have, bytes (rows, height, width, colors); 0: it holds something else."""
    suffix = "" if given is None else Path(given).suffix.lower()
    if given is None or suffix not in (".npz", ".npy"):
        return 0
    found = largest(there(given))[1] if suffix == ".npz" else array(there(given), "image")
    pixels = str(found.dtype) == "uint8" and found.ndim == 4 and found.shape[-1] in (1, 3)
    return int(found.shape[-1]) if pixels else 0


def folder(path: Path, kind: str) -> list[Any]:
    """The pictures, or the texts, in a folder and below it, in the order of their names."""
    if kind not in ("image", "text"):
        do = f"It reads {', '.join((*READS[kind], '.npz'))}."
        raise InputError(
            expected=f"a file of data for a model of kind {kind!r}", got=f"the folder {path.name!r}", do=do
        )
    if kind == "text":
        texts = [text_of(each, MOST_BYTES).strip() for each in sorted(path.rglob("*.txt"))]
        found: list[Any] = [each for each in texts if each]
    else:
        found = list(pictures_in(path))
    if not found:
        what, ends = ("pictures", PICTURES) if kind == "image" else ("texts", (".txt",))
        do = f"Put {what} into it: {', '.join(ends)}."
        raise EmptyError(expected=f"a folder with {what}", got=f"none in {path.name!r}", do=do)
    return found


def pictures_in(path: Path) -> list[Path]:
    """The picture files in a folder and below it."""
    return sorted(each for each in path.rglob("*") if each.suffix.lower() in PICTURES and each.is_file())


def lines(path: Path) -> list[str]:
    """A text a line."""
    found = [each.strip() for each in text_of(path, MOST_BYTES).splitlines() if each.strip()]
    if not found:
        raise EmptyError(expected="at least one line of text", got=f"none in {path.name!r}", do="Write a text a line.")
    return found


def archive(path: Path, kind: str) -> Any:
    """The largest array of numbers in a .npz file, as a model of that kind of input takes it."""
    import numpy as np
    import torch

    name, found, many = largest(path)
    if many > 1:
        note(f"{path.name}: {name!r} of shape {found.shape} are taken for the inputs")
    if kind in ("table", "series") or (kind == "image" and found.dtype == np.uint8):
        return found
    whole = found.dtype.kind in "iu" and kind == "text"
    return torch.from_numpy(np.ascontiguousarray(found)) if whole else torch.tensor(found, dtype=torch.float32)


def largest(path: Path) -> tuple[str, Any, int]:
    """The largest array of numbers, its name, and how many there are; pickled objects are refused."""
    import zipfile

    import numpy as np

    capped(path, 10 * MOST_BYTES)
    do = "Save it with numpy.savez(path, inputs=array)."
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as store:
            arrays = {name: store[name] for name in store.files if _numbers(store, name)}
    except (ValueError, OSError, EOFError, SyntaxError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(expected="arrays of numbers", got=f"{path.name!r}: {error}", do=do) from None
    if not arrays:
        raise InputError(expected="an array of numbers", got=f"none in {path.name!r}", do=do)
    name = max(arrays, key=lambda each: arrays[each].size)
    return name, arrays[name], len(arrays)


def _numbers(store: Any, name: str) -> bool:
    """Whether an array of an archive holds numbers, a row at least."""
    try:
        return store[name].dtype.kind in "fiub" and store[name].ndim > 0
    except ValueError:
        return False


def thinned(found: Any, rows: int) -> Any:
    """At most so many rows, evenly spaced."""
    count = max((len(each) for each in found.values()), default=0) if isinstance(found, dict) else len(found)
    if count == 0:
        raise EmptyError(expected="at least one row of data", got="none", do="Give some data.")
    if count <= rows:
        return found
    note(f"{rows:,} of {count:,} rows of data are used, evenly spaced (see --rows)")
    picks = [i * count // rows for i in range(rows)]
    if isinstance(found, dict):
        return {name: [each[i] for i in picks] for name, each in found.items()}
    return [found[i] for i in picks] if isinstance(found, list) else found[picks]
