"""Explanations on disk: safetensors arrays with a JSON header. Reading one executes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pellucid.core.evidence import Check, Control, Evidence
from pellucid.core.leaves import named
from pellucid.core.modality import Images, Modality, Series, Table, Text
from pellucid.core.outputs import Outputs
from pellucid.core.result import Attribution, MethodNote
from pellucid.core.run import Receipt
from pellucid.core.target import Target
from pellucid.errors import LoadError

SCHEMA = 1
MOST_HEADER = 10 * 2**20
MODALITIES: dict[str, type[Modality]] = {
    "tensor": Modality,
    "image": Images,
    "table": Table,
    "text": Text,
    "series": Series,
}


@dataclass(frozen=True)
class SavedTarget(Target):
    """A target read from a file: its words for every example."""

    texts: tuple[str, ...] = ()

    def words(self, about: Outputs, row: int = 0) -> str:
        return self.texts[row] if self.texts else "saved target"


@dataclass(frozen=True, eq=False)
class SavedTokens:
    """Enough of a tokenizer to show a saved sentence."""

    names: Mapping[str, str]
    pad_token_id: int = 0
    all_special_ids: tuple[int, ...] = ()

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Tokens of ids."""
        return [self.names.get(str(i), str(i)) for i in ids]


def save(result: Attribution, path: Any) -> None:
    """Write a result; the file is complete or not there."""
    from safetensors.torch import save_file

    arrays: dict[str, Tensor] = {}
    for name in ("values", "inputs", "standard_error"):
        arrays |= flat(name, getattr(result, name))
    for name in ("score", "gap", "base_score"):
        if (value := getattr(result, name)) is not None:
            arrays[name] = value
    for name, each in result.extra.items():
        arrays |= flat(f"extra@{name}", each)
    for i, each in enumerate(result.asked):
        arrays |= {f"asked#{i}/{name}": array for name, array in each.items()}
    arrays = {name: each.detach().cpu().contiguous().clone() for name, each in arrays.items()}
    header = {
        "schema": SCHEMA,
        "arrays": list(arrays),
        "method": plain(result.method),
        "receipt": plain(result.receipt),
        "target": [result.target_words(row) for row in range(len(result))],
        "about": plain(result.about),
        "evidence": plain(result.evidence),
        "notes": list(result.notes),
        "at": result.at,
        "modality": modality_header(result),
        "extra": {name: plain(each) for name, each in result.extra.items() if told(each)},
    }
    target = Path(path)
    if not target.parent.is_dir():
        raise LoadError(expected="a folder that exists", got=repr(str(target.parent)), do="Make it first.")
    part = target.with_name(target.name + ".part")
    save_file(arrays, part, metadata={"pellucid": json.dumps(header)})
    part.replace(target)


def read_result(path: Any) -> Attribution:
    """Read a result that ``Attribution.save`` wrote.

    Raises: LoadError for a file that is missing, broken, or of a newer schema.

    Example:
        >>> import tempfile, os, torch, pellucid as pl
        >>> heat = pl.Saliency()(torch.nn.Linear(3, 1), torch.ones(1, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "heat.safetensors")
        ...     heat.save(file)
        ...     bool(torch.equal(pl.read_result(file).values, heat.values))
        True
    """
    from safetensors import SafetensorError, safe_open

    source, do = Path(path), "Pass a file that result.save(path) wrote."
    if not source.is_file():
        raise LoadError(expected="a saved explanation", got=f"no file named {source.name!r}", do=do)
    try:
        with source.open("rb") as raw:
            if int.from_bytes(raw.read(8), "little") > MOST_HEADER:
                raise LoadError(expected="a header of ordinary size", got="over 10 MB", do=do)
        with safe_open(source, "pt") as file:
            header = json.loads((file.metadata() or {})["pellucid"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if header.get("schema") != SCHEMA:
            got, newer = f"schema {header.get('schema')}", "Read it with the version that wrote it."
            raise LoadError(expected=f"schema {SCHEMA}", got=got, do=newer)
        return rebuilt(header, arrays)
    except LoadError:
        raise
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        got = f"{source.name!r}: {type(error).__name__} {error}"[:200]
        raise LoadError(expected="a saved explanation", got=got, do=do) from None


def rebuilt(header: dict[str, Any], arrays: dict[str, Tensor]) -> Attribution:
    """A result from its header and arrays."""
    arrays = {name: arrays[name] for name in header["arrays"]}
    method = header["method"] | {"laws": tuple(header["method"]["laws"])}
    about = header["about"]
    if tree("values", arrays) is None or tree("inputs", arrays) is None:
        raise KeyError("values, inputs")
    return Attribution(
        values=tree("values", arrays),
        inputs=tree("inputs", arrays),
        standard_error=tree("standard_error", arrays),
        target=SavedTarget(tuple(header["target"])),
        score=arrays["score"],
        gap=arrays.get("gap"),
        base_score=arrays.get("base_score"),
        method=MethodNote(**method),
        receipt=Receipt(**header["receipt"]),
        modality=modality_of(header["modality"]),
        about=Outputs(tuple(about["classes"]) if about["classes"] else None, about["kind"], about["rank"]),
        evidence=tuple(evidence_of(each) for each in header["evidence"]),
        notes=tuple(header["notes"]),
        at=header["at"],
        extra=extra(header, arrays),
        asked=asked(arrays),
    )


def extra(header: dict[str, Any], arrays: dict[str, Tensor]) -> dict[str, Any]:
    """What a method told beside its values: arrays, numbers, texts and lists of them."""
    marked = {re.split("[#/]", name.removeprefix("extra@"))[0] for name in arrays if name.startswith("extra@")}
    found = {name: by_parts(tree(f"extra@{name}", arrays)) for name in marked}
    said = {name: as_tuple(each) for name, each in header.get("extra", {}).items()}
    return {**said, **{name: list(each) if isinstance(each, tuple) else each for name, each in found.items()}}


def by_parts(value: Any) -> Any:
    """A dict whose keys were numbers of parts has them again."""
    if not isinstance(value, dict) or not all(re.fullmatch(r"\((\d+, )+\d+\)", key) for key in value):
        return value
    return {tuple(map(int, key[1:-1].split(", "))): each for key, each in value.items()}


def as_tuple(value: Any) -> Any:
    """Lists of JSON as they were: names as a tuple, those of several examples as a list of tuples."""
    if not isinstance(value, list):
        return value
    return [as_tuple(each) for each in value] if any(isinstance(each, list) for each in value) else tuple(value)


def told(value: Any) -> bool:
    """Whether a value can stand in a header as it is."""
    if isinstance(value, list | tuple):
        return all(told(each) for each in value)
    return isinstance(value, str | int | float | bool | type(None))


def asked(arrays: dict[str, Tensor]) -> tuple[dict[str, Tensor], ...]:
    """What a sampled method asked, one entry an example or one for all."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("asked#"):
            number, _, part = name.removeprefix("asked#").partition("/")
            found.setdefault(number, {})[part] = array
    return tuple(found[number] for number in sorted(found, key=int))


def flat(name: str, value: Any) -> dict[str, Tensor]:
    """A tensor, dict, list or tuple of tensors under names that ``tree`` understands."""
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, Mapping):
        return {f"{name}/{key}": each for key, each in named(value).items() if isinstance(each, Tensor)}
    if isinstance(value, list | tuple):
        return {f"{name}#{i}": each for i, each in enumerate(value) if isinstance(each, Tensor)}
    return {}


def tree(name: str, arrays: dict[str, Tensor]) -> Any:
    """What ``flat`` took apart."""
    if name in arrays:
        return arrays[name]
    named = {key.split("/", 1)[1]: each for key, each in arrays.items() if key.startswith(name + "/")}
    listed = [key for key in arrays if key.startswith(name + "#")]
    if named:
        return named
    return tuple(arrays[f"{name}#{i}"] for i in range(len(listed))) if listed else None


def modality_header(result: Attribution) -> dict[str, Any]:
    """What is needed to show the inputs again."""
    modality = result.modality
    header: dict[str, Any] = {"kind": modality.kind}
    if isinstance(modality, Text):
        ids = sorted({int(i) for row in range(len(result)) for i in result.input_array(row).ravel()})
        header["tokens"] = {str(i): token for i, token in zip(ids, modality.tokens(np.array(ids)), strict=True)}
        header["pad"] = modality.pad_id
        return header
    kept = [each.name for each in fields(modality) if each.name != "background"]
    return header | {name: plain(getattr(modality, name)) for name in kept}


def modality_of(header: dict[str, Any]) -> Modality:
    """The modality of a saved header."""
    header = dict(header)
    kind = header.pop("kind")
    if kind == "text":
        return Text(tokenizer=SavedTokens(header["tokens"], header["pad"]))
    lists: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in header.items()}
    if "categories" in lists:
        lists["categories"] = {name: tuple(levels) for name, levels in lists["categories"].items()}
    return MODALITIES[kind](**lists)


def evidence_of(header: dict[str, Any]) -> Evidence:
    """Evidence from its header."""
    checks = []
    for each in header["checks"]:
        each = dict(each)
        each["control"] = None if each["control"] is None else Control(**each["control"])
        each["interval"] = None if each["interval"] is None else tuple(each["interval"])
        checks.append(Check(**each))
    return Evidence(**{**header, "checks": tuple(checks)})


def plain(value: Any) -> Any:
    """A value as JSON can hold it; anything unknown as its text."""
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, MethodNote | Receipt | Outputs | Evidence | Check | Control):
            return plain({each.name: getattr(value, each.name) for each in fields(value)})
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Tensor | np.ndarray):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | type(None)) else repr(value)
