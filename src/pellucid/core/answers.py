"""Answers: what a predict function said, found by the content of the rows it was shown; in memory, or in a file."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import LoadError

Array = NDArray[Any]
Shape = tuple[int, ...]
MARK = int.from_bytes(b"plcd", "big")
SCHEMA = "1"
ENTRY_BYTES = 250
PATIENCE = 30.0


class Answers:
    """Answers in memory: at most ``most`` bytes of them, the oldest go first.

    >>> answers = Answers(10**6)
    >>> answers.add([b"a"], np.array([[0.25, 0.75]]))
    >>> np.frombuffer(answers.known([b"a", b"b"])[b"a"])
    array([0.25, 0.75])
    """

    where = ""

    def __init__(self, most: int) -> None:
        self.most = most
        self.shape: Shape | None = None
        self.kept: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self.kept)

    def known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The answers to those keys that were asked before, as bytes of doubles."""
        return {key: self.kept[key] for key in keys if key in self.kept}

    def add(self, keys: Sequence[bytes], answers: Array) -> None:
        """Keep answers (rows, *shape)."""
        self.shape = answers.shape[1:]
        self.kept.update(zip(keys, cut(answers), strict=True))
        many = self.most // (ENTRY_BYTES + answers[0].nbytes)
        while len(self.kept) > many:
            self.kept.popitem(last=False)


class AnswersFile(Answers):
    """Answers in an SQLite file, of one function only. Every ``add`` is on the disk when it returns."""

    def __init__(self, path: Any, function: str) -> None:
        self.path = Path(path).expanduser()
        self.where = f" in {self.path.name!r}"
        if not self.path.parent.is_dir():
            raise LoadError(expected="a folder that is there", got=repr(str(self.path.parent)), do="Make it first.")
        with self._open() as file:
            self.shape = self._claimed(file, function)

    def __len__(self) -> int:
        with self._open() as file:
            return int(file.execute("SELECT count(*) FROM answers").fetchone()[0])

    def known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if self.shape is None:
            return {}
        size = 8 * int(np.prod(self.shape))
        with self._open() as file:
            asked = ((key, file.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()) for key in keys)
            found = {key: row[0] for key, row in asked if row is not None}
        if not all(isinstance(each, bytes) and len(each) == size for each in found.values()):
            raise self._broken("answers of other shapes")
        return found

    def add(self, keys: Sequence[bytes], answers: Array) -> None:
        rows = list(zip(keys, cut(answers), strict=True))
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")
            file.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
            if self.shape is None:
                shape = json.dumps(list(answers.shape[1:]))
                file.execute("INSERT OR REPLACE INTO about VALUES ('shape', ?)", (shape,))
        self.shape = answers.shape[1:]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: nothing stays open between calls, in no thread and no process."""
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as file, file:
                yield file
        except sqlite3.Error as error:
            raise self._broken(str(error)) from error

    def _claimed(self, file: sqlite3.Connection, function: str) -> Shape | None:
        """Make a new file this function's; refuse another's. The shape of the answers in it, if there are any."""
        file.execute("BEGIN IMMEDIATE")
        if file.execute("PRAGMA application_id").fetchone()[0] != MARK:
            if file.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise self._broken("the data of another program")
            file.execute(f"PRAGMA application_id = {MARK}")
            file.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)")
            file.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, answer BLOB) WITHOUT ROWID")
            file.executemany("INSERT INTO about VALUES (?, ?)", [("schema", SCHEMA), ("function", function)])
        about = dict(file.execute("SELECT name, value FROM about").fetchall())
        if about.get("schema") != SCHEMA:
            raise self._broken(f"schema {about.get('schema')}")
        if about.get("function") != function:
            raise self._foreign(str(about.get("function")), function)
        return shape_of(about["shape"]) if "shape" in about else None

    def _broken(self, what: str) -> LoadError:
        do = "Name a file that is not there yet, or one that cache= made."
        return LoadError(expected="a file of answers", got=f"{self.path.name!r}: {what}", do=do)

    def _foreign(self, theirs: str, ours: str) -> LoadError:
        name, other = (each.partition(" ")[0] for each in (ours, theirs))
        got = f"{self.path.name!r} with those of " + (f"{other!r}" if other != name else f"another {name!r}")
        do = "Name a file of its own for each function; one whose code or weights have changed is another function."
        return LoadError(expected=f"the answers of {name!r}", got=got, do=do)


def cut(answers: Array) -> list[bytes]:
    """The bytes of each row's answer."""
    size, memory = answers[0].nbytes, answers.tobytes()
    return [memory[i : i + size] for i in range(0, len(memory), size)]


def shape_of(text: str) -> Shape:
    """The shape that a file says its answers have."""
    try:
        return tuple(int(size) for size in json.loads(text))
    except (ValueError, TypeError):
        do = "Name a file that is not there yet."
        raise LoadError(expected="the shape of the answers", got=repr(text)[:60], do=do) from None


def contents(shown: Any) -> list[bytes] | None:
    """A key for each row of what a predict function is shown: an array, a frame or texts; None for anything else.

    >>> one, two, again = contents(np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 2.0]]))
    >>> one == again, one == two
    (True, False)
    """
    if isinstance(shown, np.ndarray) and shown.dtype.kind in "fiub":
        return digests(shown)
    if hasattr(shown, "columns") and hasattr(shown, "iloc"):
        columns = [column_bits(np.asarray(shown[name])) for name in shown.columns]
        return digests(np.stack(columns, 1), repr([str(name) for name in shown.columns]))
    if isinstance(shown, list) and all(isinstance(each, str) for each in shown):
        return [blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest() for each in shown]
    return None


def column_bits(cells: Array) -> Array:
    """(rows,) 64 bits a cell: those of a number, or a digest of a text."""
    if cells.dtype.kind in "fiub":
        return cells.astype(np.float64).view(np.uint64)
    texts = [str(cell) for cell in cells]
    bits = {text: int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") for text in set(texts)}
    return np.array([bits[text] for text in texts], dtype=np.uint64)


def digests(rows: Array, about: str = "") -> list[bytes]:
    """A digest of each row's bytes, and of what they mean: their type, shape and names."""
    meant = blake2b(f"{rows.dtype.str} {rows.shape[1:]} {about}".encode(), digest_size=16).digest()
    size, memory = rows.nbytes // max(len(rows), 1), rows.tobytes()
    return [
        blake2b(memory[i : i + size], digest_size=16, person=meant).digest() for i in range(0, len(memory), size or 1)
    ]


def name_of(predict: Callable[..., Any]) -> str:
    """What a predict function calls itself: its ``fingerprint`` where it has one, else its name."""
    said = getattr(predict, "fingerprint", None)
    if isinstance(said, str):
        return said
    inside = predict.func if isinstance(predict, partial) else predict
    if (owner := owner_of(inside)) is not None:
        return f"{type(owner).__name__}.{inside.__name__}"
    return str(getattr(inside, "__qualname__", type(inside).__name__))


def owner_of(predict: Callable[..., Any]) -> Any:
    """The object that a function is a method of, or None."""
    owner = getattr(predict, "__self__", None)
    return None if isinstance(owner, ModuleType) else owner


def identity(predict: Callable[..., Any]) -> str:
    """A predict function's name with a digest of its code, or of the object that it is a method of.

    What a function calls in turn is not looked into; one that says its own ``fingerprint`` is taken by its word.
    """
    name = name_of(predict).replace(" ", "-")
    if isinstance(getattr(predict, "fingerprint", None), str):
        return name
    code = getattr(predict, "__code__", None)
    owner = owner_of(predict)
    if owner is None and isinstance(code, CodeType):
        return f"{name} {code_digest(code)}"
    digest = object_digest(predict if owner is None else owner)
    return f"{name} {digest}".strip()


def code_digest(code: CodeType) -> str:
    """A digest of what a function does, wherever it stands."""
    digest = blake2b(digest_size=8)
    left = [code]
    while left:
        each = left.pop()
        inner = [const for const in each.co_consts if isinstance(const, CodeType)]
        consts = [
            sorted(map(repr, const)) if isinstance(const, frozenset) else const
            for const in each.co_consts
            if const not in inner
        ]
        digest.update(each.co_code + repr((each.co_names, consts)).encode("utf-8", "surrogatepass"))
        left += inner
    return digest.hexdigest()


def object_digest(thing: Any) -> str:
    """A digest of an object's state, its weights included; empty where it cannot be taken apart."""
    from joblib import hash as digest

    try:
        return str(digest(thing))[:16]
    except Exception:  # noqa: BLE001 - objects may fail at this in any way, and then have their name alone
        return ""
