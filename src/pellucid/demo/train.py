"""Training of the demo's networks: a fixed seed, data that ships with scikit-learn, sentences of the project's own."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.demo import data, grammar, tokenizer
from pellucid.demo.data import HERE, Split

SEED = 0
WRITTEN = 200_000
COPIES = 100
VOCABULARY = 1500
NEGATION = re.compile(r"n't\b|\b(not|never|no|nothing|nobody)\b", re.IGNORECASE)
CONTRAST = re.compile(r"\b(but|yet|although|despite)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Trained:
    """A trained module, its score on the examples, scores on other held-out data, examples worth a look, its sizes."""

    module: nn.Module
    score: float
    scores: dict[str, float] = field(default_factory=dict)
    picks: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


def train(name: str, folder: Path = HERE) -> dict[str, Any]:
    """Train one demo, write its weights, and return the header of their file, held-out scores included."""
    torch.manual_seed(SEED)
    if name == "sentences":
        trained = train_sentences(folder)
    else:
        trained = train_digits() if name == "digits" else train_table(name)
    header = {
        "schema": 1,
        "seed": SEED,
        "measure": "R2" if name == "diabetes" else "accuracy",
        "score": round(trained.score, 4),
        "scores": {kind: round(score, 4) for kind, score in trained.scores.items()},
        "picks": trained.picks,
        "scikit-learn": version("scikit-learn"),
        "torch": version("torch"),
        **trained.sizes,
    }
    save(trained.module, folder / f"{name}.safetensors", header)
    return header


def save(module: nn.Module, path: Path, header: dict[str, Any]) -> None:
    """Weights in half precision with a JSON header."""
    from safetensors.torch import save_file

    state = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata={"pellucid": json.dumps(header)})


def rounded(module: nn.Module) -> nn.Module:
    """The module with the weights that will be read back: rounded to half precision."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.half().float()
    return module.eval()


def fit(module: nn.Module, inputs: Tensor, true: Tensor, loss: Any, **how: Any) -> None:
    """AdamW with a one-cycle rate over shuffled batches."""
    epochs, batch, rate = how["epochs"], how.get("batch", 64), how["rate"]
    order = torch.Generator().manual_seed(SEED)
    steps = epochs * math.ceil(len(inputs) / batch)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=how.get("decay", 0.01))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=order).split(batch):
            x = how["change"](inputs[rows], order) if "change" in how else inputs[rows]
            value = loss(module(x), true[rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()


def shifted(pictures: Tensor, random_numbers: torch.Generator) -> Tensor:
    """Pictures moved by up to one pixel."""
    down, across = torch.randint(-1, 2, (2,), generator=random_numbers).tolist()
    return torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate")[
        :, :, 1 + down : 9 + down, 1 + across : 9 + across
    ]


def train_digits() -> Trained:
    """The digits network and its held-out accuracy."""
    split, about = data.digits_split(), data.digits()
    module = data.build("digits", {})
    scale = lambda pictures: ((torch.tensor(pictures)[:, None] / 255) - about["mean"][0]) / about["std"][0]  # noqa: E731
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    fit(module, scale(split.train), torch.tensor(split.train_labels), loss, epochs=30, rate=4e-3, change=shifted)
    logits = answers(rounded(module), scale(split.held_out))
    return Trained(module, accuracy(logits, split.held_out_labels), picks=chosen(logits, split.held_out_labels))


def train_table(name: str) -> Trained:
    """A table's network: accuracy for breast cancer, R² for diabetes."""
    split, about = (
        (data.cancer_split(), data.cancer()) if name == "breast-cancer" else (data.diabetes_split(), data.diabetes())
    )
    module = data.build(name, {})
    rows, held = (standardized(each, about) for each in (split.train, split.held_out))
    true = torch.tensor(split.train_labels)
    if name == "breast-cancer":
        fit(module, rows, true, nn.CrossEntropyLoss(label_smoothing=0.02), epochs=60, rate=3e-3, decay=0.05)
        logits = answers(rounded(module), held)
        return Trained(module, accuracy(logits, split.held_out_labels), picks=chosen(logits, split.held_out_labels))
    middle, width = float(true.mean()), float(true.std())
    loss = lambda out, true: nn.functional.mse_loss(out[:, 0], (true - middle) / width)  # noqa: E731
    fit(module, rows, true, loss, epochs=40, rate=2e-3, decay=0.1)
    with torch.no_grad():
        module[-1].weight.mul_(width)
        module[-1].bias.mul_(width).add_(middle)
    error = answers(rounded(module), held)[:, 0].numpy() - split.held_out_labels
    order = np.abs(error).argsort().tolist()
    score = 1 - float((error**2).mean() / split.held_out_labels.var())
    return Trained(module, score, picks={"close": order[:4], "far": order[:-5:-1]})


def standardized(rows: Any, about: dict[str, Any]) -> Tensor:
    """Rows in the units of the network."""
    return ((torch.tensor(rows) - torch.tensor(about["mean"])) / torch.tensor(about["std"])).float()


def train_sentences(folder: Path) -> Trained:
    """The sentence network, trained on sentences of the grammar and on those of the training split written by hand."""
    plain, implied = data.sentence_split("plain"), data.sentence_split("implied")
    texts = [*plain.train, *implied.train]
    by_hand = list(zip([*plain.train_labels, *implied.train_labels], texts, strict=True))
    written = unlike(grammar.write(WRITTEN, SEED), [*plain.held_out, *implied.held_out])
    words = tokenizer.learn([text for _, text in written[:10_000]] + texts * 4, VOCABULARY)
    words.save(folder / "vocabulary.json")
    sizes = {"tokens": len(words), "width": 48}
    module = data.build("sentences", sizes)
    nn.init.normal_(module.token.weight, std=0.05)
    nn.init.normal_(module.position.weight, std=0.02)
    one_pass(module, written + by_hand * COPIES, words)
    rounded(module)
    logits = read(module, words, plain.held_out)
    new = Split([], [], *zip(*((text, label) for label, text in grammar.write(500, SEED + 1)), strict=True))
    others = {"implied": implied, "grammar": new}
    scores = {kind: accuracy(read(module, words, each.held_out), each.held_out_labels) for kind, each in others.items()}
    right = [row for row in range(len(plain.held_out)) if int(logits[row].argmax()) == plain.held_out_labels[row]]
    kinds = {"negation": NEGATION, "contrast": CONTRAST}
    picks = {kind: [row for row in right if has.search(plain.held_out[row])][:4] for kind, has in kinds.items()}
    picks |= chosen(logits, plain.held_out_labels)
    return Trained(module, accuracy(logits, plain.held_out_labels), scores, picks, sizes)


def unlike(pairs: list[tuple[int, str]], texts: Sequence[str]) -> list[tuple[int, str]]:
    """The pairs whose text shares no five words in a row with any of ``texts``."""
    known = {five for text in texts for five in runs(text)}
    return [(label, text) for label, text in pairs if known.isdisjoint(runs(text))]


def runs(text: str, length: int = 5) -> Iterator[tuple[str, ...]]:
    """Every so many words in a row."""
    words = re.findall(r"[\w']+", text.lower())
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


def one_pass(module: Any, pairs: list[tuple[int, str]], words: Any, rate: float = 2e-3) -> None:
    """Every sentence once, in batches of about one length, one token in twenty masked."""
    lots = list(batches([(words(text)["input_ids"], label) for label, text in pairs]))
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=len(lots), pct_start=0.1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    module.train()
    for rows, labels in lots:
        hidden = (torch.rand(rows.shape) < 0.05) & ~torch.isin(rows, torch.tensor(words.all_special_ids))
        ids = torch.where(hidden, words.mask_token_id, rows)
        value = loss(module(ids, (rows != words.pad_token_id).long()).logits, labels)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def batches(rows: list[tuple[list[int], int]], size: int = 32, lot: int = 1600) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids (size, tokens) and labels in a random order; each lot of rows is sorted by length before it is cut."""
    order = random.Random(SEED)  # noqa: S311 - a shuffle
    order.shuffle(rows)
    lots = [sorted(rows[start : start + lot], key=lambda row: len(row[0])) for start in range(0, len(rows), lot)]
    cut = [some[start : start + size] for some in lots for start in range(0, len(some), size)]
    order.shuffle(cut)
    for some in cut:
        longest = len(some[-1][0])
        yield (
            torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in some]),
            torch.tensor([label for _, label in some]),
        )


def read(module: nn.Module, words: Any, texts: Sequence[str]) -> Tensor:
    """The logits (texts, 2) of sentences."""
    with torch.no_grad():
        logits: Tensor = module(**words(list(texts), return_tensors="pt", padding=True)).logits
    return logits


def answers(module: nn.Module, rows: Tensor) -> Tensor:
    """What the module answers, without gradients."""
    with torch.no_grad():
        out: Tensor = module(rows)
    return out


def accuracy(logits: Tensor, labels: Any) -> float:
    """The share of rows whose largest logit is the true class."""
    return float((logits.argmax(1) == torch.as_tensor(np.asarray(labels))).float().mean())


def chosen(logits: Tensor, labels: Any) -> dict[str, list[int]]:
    """Rows worth a look: right and sure, right and unsure, wrong (the surest first)."""
    chances = logits.softmax(1)
    right = (chances.argmax(1) == torch.as_tensor(np.asarray(labels))).tolist()
    order = chances.amax(1).argsort(descending=True, stable=True).tolist()
    good = [row for row in order if right[row]]
    return {"clear": good[:4], "unsure": good[:-5:-1], "wrong": [row for row in order if not right[row]][:4]}
