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
    sentences; ``labels`` are the true answers to the examples, ``score`` the held-out accuracy (R² for diabetes) on
    them. ``scores`` holds those on other held-out data, ``picks`` the places of examples worth a look ("wrong", …).
    """

    name: str
    module: Any
    kind: str
    task: str
    classes: tuple[str, ...] | None
    examples: Any
    labels: Any
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    picks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
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
    picks = {kind: tuple(rows) for kind, rows in header["picks"].items()}
    return DemoParts(name=name, module=module, score=header["score"], scores=header["scores"], picks=picks, **given)


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


def split_of(inputs: Any, labels: Any, strata: Any = None) -> Split:
    """The fixed split: a quarter held out, each class (or stratum) in its share."""
    from sklearn.model_selection import train_test_split

    train, held, train_labels, held_labels = train_test_split(
        inputs, labels, test_size=0.25, random_state=SPLIT_SEED, stratify=labels if strata is None else strata
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
    """Rows of 10 measurements in their own units; sex as 0 or 1 (the data set does not say which is which).

    The split takes a quarter of each quarter of the answers: held-out R² then depends less on the luck of the split
    (least squares, 100 seeds: 0.50 ± 0.05, against 0.48 ± 0.06 without).
    """
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    rows = data.data.astype(np.float32)
    rows[:, 1] -= 1
    quarters = np.digitize(data.target, np.quantile(data.target, (0.25, 0.5, 0.75)))
    return split_of(rows, data.target.astype(np.float32), strata=quarters)


def sentence_split(style: str = "plain") -> Split:
    """Sentences written by hand and their judgment (0 negative, 1 positive), split when they were written.

    A "plain" one says its opinion in plain words, an "implied" one may leave it to what the reader knows of the world.
    """
    lines = (HERE / "reviews.tsv").read_text("utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    kept = {part: [row for row in rows if row[:2] == [part, style]] for part in ("train", "held-out")}
    texts = {part: [row[3] for row in chosen] for part, chosen in kept.items()}
    labels = {part: [SENTENCE_CLASSES.index(row[2]) for row in chosen] for part, chosen in kept.items()}
    return Split(texts["train"], labels["train"], texts["held-out"], labels["held-out"])


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
    measured = ("total cholesterol", "LDL", "HDL", "blood sugar")
    return {
        "kind": "table",
        "task": "regression",
        "classes": None,
        "columns": (*names, "cholesterol / HDL", "log triglycerides", "blood sugar"),
        "categories": {"sex": ("first", "second")},
        "units": {
            "age": "years",
            "body mass index": "kg/m²",
            "blood pressure": "mmHg",
            **dict.fromkeys(measured, "mg/dL"),
        },
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
        "background": split.train[:100],
        "tokenizer": WordPiece.load(HERE / "vocabulary.json"),
    }
