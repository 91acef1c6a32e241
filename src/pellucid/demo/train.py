"""Training of the demo: fixed seeds, data that ships with scikit-learn, sentences written for the project."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.demo import data, grammar, tokenizer
from pellucid.demo.data import HERE, Split

SEED = 0
WRITTEN = 50_000
VOCABULARY = 1500


def train(name: str, folder: Path = HERE) -> float:
    """Train one demo, write its weights, and return the held-out score."""
    torch.manual_seed(SEED)
    if name == "sentences":
        module, score, more = train_sentences(folder)
    elif name == "digits":
        module, score, more = train_digits()
    else:
        module, score, more = train_table(name)
    save(module, folder / f"{name}.safetensors", {"schema": 1, "seed": SEED, "score": round(score, 4), **more})
    return score


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


def fit(module: nn.Module, inputs: Tensor, answers: Tensor, loss: Any, **how: Any) -> None:
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
            value = loss(module(x), answers[rows])
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


def train_digits() -> tuple[nn.Module, float, dict[str, Any]]:
    """The digits network and its held-out accuracy."""
    split, about = data.digits_split(), data.digits()
    module = data.build("digits", {})
    scale = lambda pictures: ((torch.tensor(pictures)[:, None] / 255) - about["mean"][0]) / about["std"][0]  # noqa: E731
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    fit(module, scale(split.train), torch.tensor(split.train_labels), loss, epochs=30, rate=4e-3, change=shifted)
    return module, accuracy(rounded(module)(scale(split.held_out)), split.held_out_labels), {}


def train_table(name: str) -> tuple[nn.Module, float, dict[str, Any]]:
    """A table's network: accuracy for breast cancer, R² for diabetes."""
    split, about = (
        (data.cancer_split(), data.cancer()) if name == "breast-cancer" else (data.diabetes_split(), data.diabetes())
    )
    module = data.build(name, {})
    rows, held = (standardized(each, about) for each in (split.train, split.held_out))
    answers = torch.tensor(split.train_labels)
    if name == "breast-cancer":
        fit(module, rows, answers, nn.CrossEntropyLoss(label_smoothing=0.02), epochs=60, rate=3e-3, decay=0.05)
        return module, accuracy(rounded(module)(held), split.held_out_labels), {}
    middle, width = float(answers.mean()), float(answers.std())
    loss = lambda out, true: nn.functional.mse_loss(out[:, 0], (true - middle) / width)  # noqa: E731
    fit(module, rows, answers, loss, epochs=40, rate=2e-3, decay=0.1)
    with torch.no_grad():
        module[-1].weight.mul_(width)
        module[-1].bias.mul_(width).add_(middle)
    out = rounded(module)(held)[:, 0].detach().numpy()
    true = np.asarray(split.held_out_labels)
    return module, float(1 - ((out - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()), {}


def standardized(rows: Any, about: dict[str, Any]) -> Tensor:
    """Rows in the units of the network."""
    return ((torch.tensor(rows) - torch.tensor(about["mean"])) / torch.tensor(about["std"])).float()


def train_sentences(folder: Path) -> tuple[nn.Module, float, dict[str, Any]]:
    """The sentence network: on sentences of the grammar, and on most of those written by hand; none is held out."""
    split = data.sentence_split()
    known = set(split.held_out)
    written = [(label, text) for label, text in grammar.write(WRITTEN, SEED) if text not in known]
    pairs = [*written, *list(zip(split.train_labels, split.train, strict=True)) * 25]
    words = tokenizer.learn([text for _, text in written[:10_000]] + list(split.train) * 4, VOCABULARY)
    words.save(folder / "vocabulary.json")
    header = {"tokens": len(words), "width": 48}
    module = data.build("sentences", header)
    torch.nn.init.normal_(module.token.weight, std=0.05)
    torch.nn.init.normal_(module.position.weight, std=0.02)
    epochs(module, pairs, words, batch=48, rate=2e-3)
    free = sentence_accuracy(rounded(module), words, data.free_split())
    return module, sentence_accuracy(module, words, split), header | {"by_hand": round(free, 4)}


def epochs(module: Any, pairs: list[tuple[int, str]], words: Any, *, batch: int, rate: float) -> None:
    """One pass over shuffled sentences, one token in ten masked."""
    random.Random(SEED).shuffle(pairs)  # noqa: S311 - no cryptography here
    steps = math.ceil(len(pairs) / batch)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    module.train()
    for start in range(0, len(pairs), batch):
        some = pairs[start : start + batch]
        given = words([text for _, text in some], return_tensors="pt", padding=True)
        ids = given["input_ids"]
        hide = (torch.rand(ids.shape) < 0.1) & ~torch.isin(ids, torch.tensor(words.all_special_ids))
        ids = torch.where(hide, words.mask_token_id, ids)
        value = loss(module(ids, given["attention_mask"]).logits, torch.tensor([label for label, _ in some]))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def sentence_accuracy(module: nn.Module, words: Any, split: Split) -> float:
    """Accuracy on the held-out sentences."""
    given = words(list(split.held_out), return_tensors="pt", padding=True)
    with torch.no_grad():
        return accuracy(module(given["input_ids"], given["attention_mask"]).logits, split.held_out_labels)


def accuracy(answers: Tensor, labels: Any) -> float:
    """The share of rows whose largest answer is the true class."""
    return float((answers.argmax(1) == torch.as_tensor(np.asarray(labels))).float().mean())
