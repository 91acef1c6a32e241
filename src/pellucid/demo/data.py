"""The demo's data, split by a fixed seed, and its networks with the weights that ``train.py`` made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("digits", "breast-cancer", "diabetes", "sentences")
SPLIT_SEED = 0
HERE = Path(__file__).parent
SENTENCE_CLASSES = ("negative", "positive")


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoParts:
    """A trained module with all that is needed to ask it: names, units, normalization, background, held-out examples.

    ``examples`` and ``background`` are in original units: pictures (n, 8, 8) uint8, rows (n, columns) float32, or
    sentences; ``labels`` are the true answers to the examples, ``score`` the held-out accuracy (R² for diabetes).
    """

    name: str
    module: Any
    kind: str
    task: str
    classes: tuple[str, ...] | None
    examples: Any
    labels: Any
    score: float
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    background: Any = None
    tokenizer: Any = None
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Split:
    """Raw inputs and true answers for training and held out."""

    train: Any
    train_labels: Any
    held_out: Any
    held_out_labels: Any


def parts(name: str) -> DemoParts:
    """The parts of a demo by its name; LoadError for another name.

    >>> parts("digits").examples.shape[1:]
    (8, 8)
    """
    if name not in NAMES:
        from pellucid.errors import LoadError, nearest

        raise LoadError(expected="the name of a demo", got=repr(name), do=nearest(name, NAMES))
    return _parts(name)


@lru_cache(maxsize=len(NAMES))
def _parts(name: str) -> DemoParts:
    weights, header = read_weights(name)
    module = build(name, header)
    module.load_state_dict(weights)
    module.eval().requires_grad_(False)
    given = {"digits": digits, "breast-cancer": cancer, "diabetes": diabetes, "sentences": sentences}[name]()
    return DemoParts(name=name, module=module, score=header["score"], **given)


def build(name: str, header: Mapping[str, Any]) -> Any:
    """The untrained module of a demo."""
    from pellucid.demo import nets

    if name == "digits":
        return nets.DigitsNet()
    if name == "sentences":
        return nets.SentenceNet(header["tokens"], width=header["width"])
    return nets.TableNet(30, 2) if name == "breast-cancer" else nets.TableNet(10, 1, dropout=0.35)


def read_weights(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights and the header of a demo's file; half precision on disk, float32 in memory."""
    from safetensors import safe_open

    with safe_open(HERE / f"{name}.safetensors", "pt") as file:
        header = json.loads(file.metadata()["pellucid"])
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    return {key: each.float() if each.is_floating_point() else each for key, each in weights.items()}, header


def split_of(inputs: Any, labels: Any, share: float = 0.25) -> Split:
    """The fixed split: a quarter held out."""
    from sklearn.model_selection import train_test_split

    stratify = labels if len(np.unique(labels)) <= 10 else None
    train, held, train_labels, held_labels = train_test_split(
        inputs, labels, test_size=share, random_state=SPLIT_SEED, stratify=stratify
    )
    return Split(train, train_labels, held, held_labels)


def digits_split() -> Split:
    """Pictures (n, 8, 8) uint8, 0 … 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return split_of((data.images * 255 / 16).round().astype(np.uint8), data.target)


def cancer_split() -> Split:
    """Rows of 30 measurements of cell nuclei."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return split_of(data.data.astype(np.float32), data.target)


def diabetes_split() -> Split:
    """Rows of 10 measurements in their own units; sex as 0 or 1 (the data set does not say which is which)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    rows = data.data.astype(np.float32)
    rows[:, 1] -= 1
    return split_of(rows, data.target.astype(np.float32))


def sentence_split() -> Split:
    """Sentences written for the project and their judgment (0 negative, 1 positive).

    Held out are 300 new sentences of the grammar, then three in ten of those written by hand, which are harder.
    """
    from pellucid.demo import grammar

    free = free_split()
    new = grammar.write(300, seed=1)
    held = [text for _, text in new] + list(free.held_out)
    return Split(free.train, free.train_labels, held, [label for label, _ in new] + list(free.held_out_labels))


def free_split() -> Split:
    """The sentences written by hand, three in ten held out."""
    lines = (HERE / "free.tsv").read_text("utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    texts = [text for _, text in pairs]
    labels = [SENTENCE_CLASSES.index(label) for label, _ in pairs]
    return split_of(texts, labels, share=0.3)


def moments(rows: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column."""
    mean, std = np.asarray(rows, float).mean(0), np.asarray(rows, float).std(0)
    return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())


def digits() -> dict[str, Any]:
    """What belongs to the digits."""
    split = digits_split()
    scaled = split.train / 255
    return {
        "kind": "image",
        "task": "classification",
        "classes": tuple(str(digit) for digit in range(10)),
        "mean": (round(float(scaled.mean()), 4),),
        "std": (round(float(scaled.std()), 4),),
        "examples": split.held_out,
        "labels": split.held_out_labels,
        "background": split.train[:50],
    }


def cancer() -> dict[str, Any]:
    """What belongs to the breast-cancer rows."""
    from sklearn.datasets import load_breast_cancer

    split = cancer_split()
    mean, std = moments(split.train)
    columns = tuple(str(name) for name in load_breast_cancer().feature_names)
    return {
        "kind": "table",
        "task": "classification",
        "classes": ("malignant", "benign"),
        "columns": columns,
        "mean": mean,
        "std": std,
        "examples": split.held_out,
        "labels": split.held_out_labels,
        "background": split.train[:100],
    }


def diabetes() -> dict[str, Any]:
    """What belongs to the diabetes rows."""
    split = diabetes_split()
    mean, std = moments(split.train)
    names = ("age", "sex", "body mass index", "blood pressure", "total cholesterol", "LDL", "HDL")
    return {
        "kind": "table",
        "task": "regression",
        "classes": None,
        "columns": (*names, "cholesterol / HDL", "log triglycerides", "blood sugar"),
        "categories": {"sex": ("first", "second")},
        "units": {"age": "years", "body mass index": "kg/m²", "blood pressure": "mmHg", "blood sugar": "mg/dL"},
        "mean": mean,
        "std": std,
        "examples": split.held_out,
        "labels": split.held_out_labels,
        "background": split.train[:100],
        "unit": "disease progression after one year",
    }


def sentences() -> dict[str, Any]:
    """What belongs to the sentences."""
    from pellucid.demo.tokenizer import WordPiece

    split = sentence_split()
    return {
        "kind": "text",
        "task": "classification",
        "classes": SENTENCE_CLASSES,
        "examples": split.held_out,
        "labels": np.asarray(split.held_out_labels),
        "tokenizer": WordPiece.load(HERE / "vocabulary.json"),
    }
