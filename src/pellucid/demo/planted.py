"""Planted-truth tasks: networks trained in seconds on data in which it is known which parts of an input decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.demo import data
from pellucid.errors import LoadError, ModelError, nearest

NAMES = ("patch", "tag", "columns", "words")
SEED = 0
LEARNED = 0.9
DECIDED = 0.3
INPUTS = 12
SIDE = 16
PATCH = 4
TAG = 3
RELEVANT = (1, 4, 8, 19)
NOISE = 8
CLEAR = 1.0
PLANTED = ("red", "blue")
TOKENS = 13
Batch = tuple[Any, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlantedTask:
    """A trained network, inputs it was not trained on, and the parts of each that decide its answer.

    ``inputs`` are what the module takes: pictures (n, 1, 16, 16), rows (n, columns), or ids and mask (n, tokens).
    ``truth`` is bool, (n, 16, 16), (n, columns) or (n, tokens); ``target`` (n,) the class explained, which is what the
    network answers. ``accuracy`` is that on held-out inputs; ``flips`` the share of the right answers that change
    when the planted parts go, ``stays`` the share that stays when everything else is replaced. Every input here flips.
    """

    name: str
    kind: str
    words: str
    module: nn.Module
    classes: tuple[str, ...]
    inputs: Any
    truth: Tensor
    target: Tensor
    accuracy: float
    flips: float
    stays: float | None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """The share of the places that are planted: what a map of nothing has inside."""
        return float(self.truth.float().mean())


@dataclass(frozen=True, eq=False)
class Trial:
    """Held-out inputs and their true answers; the same without the planted parts, and with all else replaced."""

    inputs: Any
    labels: Tensor
    truth: Tensor
    without: Any
    elsewhere: Any = None


def planted(name: str) -> PlantedTask:
    """The task of that name, trained on first use: about two seconds.

    Raises: LoadError for another name; ModelError if the network did not learn to rely on the planted parts.

    >>> planted("columns").flips > 0.9
    True
    """
    if name not in NAMES:
        raise LoadError(expected="the name of a planted task", got=repr(name), do=nearest(name, NAMES))
    return _planted(name)


@lru_cache(maxsize=len(NAMES))
def _planted(name: str) -> PlantedTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return {"patch": patch, "tag": tag, "columns": columns, "words": words}[name]()


def learned(module: nn.Module, draw: Callable[[torch.Generator], Batch], steps: int, rate: float) -> nn.Module:
    """AdamW with a one-cycle rate on batches that are drawn anew for every step."""
    random = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    module.train()
    for _ in range(steps):
        inputs, labels = draw(random)
        value = nn.functional.cross_entropy(logits(module, inputs), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    return module.eval().requires_grad_(False)


def logits(module: nn.Module, inputs: Any) -> Tensor:
    """(batch, classes) of tensors, or of ids with a mask."""
    out: Tensor = module(**inputs).logits if isinstance(inputs, Mapping) else module(inputs)
    return out


def answers(module: nn.Module, inputs: Any) -> Tensor:
    """(batch,) the classes that a module answers."""
    with torch.no_grad():
        return logits(module, inputs).argmax(1)


def verified(name: str, module: nn.Module, trial: Trial, least: float, **about: Any) -> PlantedTask:
    """The task with inputs that flip; ModelError if fewer than ``least`` of the right answers do."""
    said = answers(module, trial.inputs)
    right = said == trial.labels
    gone = right & (answers(module, trial.without) != said)
    flips, stays, kept = share(gone, right), None, gone
    if trial.elsewhere is not None:
        same = right & (answers(module, trial.elsewhere) == said)
        stays, kept = share(same, right), gone & same
    rows = kept.nonzero()[:INPUTS, 0]
    if min(flips, 1.0 if stays is None else stays) < least or len(rows) < INPUTS:
        got = f"{flips:.0%} of the answers of {name!r} flip without them, {len(rows)} inputs are left"
        raise ModelError(expected="a network that relies on the planted parts", got=got, do="Train it longer.")
    taken = {k: v[rows] for k, v in trial.inputs.items()} if isinstance(trial.inputs, Mapping) else trial.inputs[rows]
    return PlantedTask(
        name=name,
        module=module,
        inputs=taken,
        truth=trial.truth[rows],
        target=said[rows],
        accuracy=float(right.float().mean()),
        flips=flips,
        stays=stays,
        **about,
    )


def share(some: Tensor, of: Tensor) -> float:
    """How many of ``of`` are in ``some``."""
    return float(some.sum() / of.sum().clamp_min(1))


class Looks(nn.Sequential):
    """Three convolutions, the mean over the picture, a linear layer: (batch, 1, 16, 16) → (batch, classes)."""

    def __init__(self, classes: int) -> None:
        """``classes`` logits."""
        super().__init__(
            *(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, padding=1, stride=2), nn.ReLU()),
            *(nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, classes)),
        )


def pictures(raw: Any) -> Tensor:
    """Digits (n, 8, 8) uint8 as (n, 1, 16, 16), −1 black to 1 white."""
    return (torch.as_tensor(raw)[:, None].float() / 127.5 - 1).repeat_interleave(2, -1).repeat_interleave(2, -2)


def window(top: Tensor, left: Tensor, size: int) -> Tensor:
    """(n, 16, 16) bool: squares at places (n,)."""
    along = torch.arange(SIDE)
    down, across = ((along >= at[:, None]) & (along < at[:, None] + size) for at in (top, left))
    return down[:, :, None] & across[:, None, :]


def striped(looks: Tensor, kinds: Tensor, where: Tensor) -> Tensor:
    """Pictures with a patch of stripes: none for kind 0, lying for 1, standing for 2."""
    line = 1 - 2 * (torch.arange(SIDE) % 2).float()
    lines = torch.where((kinds == 1)[:, None, None], line[:, None].expand(SIDE, SIDE), line.expand(SIDE, SIDE))
    return torch.where((where & (kinds > 0)[:, None, None])[:, None], lines[:, None], looks)


def patch() -> PlantedTask:
    """A small patch of stripes at a random place of a digit decides; the digit does not matter."""
    split = data.digits_split()
    seen, held = pictures(split.train), pictures(split.held_out)

    def drawn(random: torch.Generator, looks: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        top, left = torch.randint(SIDE - PATCH + 1, (2, len(kinds)), generator=random)
        where = window(top, left, PATCH)
        return striped(looks, kinds, where), where

    def draw(random: torch.Generator) -> Batch:
        kinds = torch.randint(3, (64,), generator=random)
        return drawn(random, seen[torch.randint(len(seen), (64,), generator=random)], kinds)[0], kinds

    module = learned(Looks(3), draw, 300, 1e-2)
    random = torch.Generator().manual_seed(SEED + 1)
    kinds = 1 + torch.randint(2, (len(held),), generator=random)
    inputs, where = drawn(random, held, kinds)
    other = striped(held[torch.randperm(len(held), generator=random)], kinds, where)
    said = "Digits with a patch of stripes at a random place: none, lying or standing stripes are the class."
    about = {"mean": (0.5,), "std": (0.5,)}
    names = ("none", "lying", "standing")
    return verified(
        "patch",
        module,
        Trial(inputs, kinds, where, held, other),
        LEARNED,
        kind="image",
        words=said,
        classes=names,
        about=about,
    )


def tagged(looks: Tensor, which: Tensor) -> Tensor:
    """Pictures with a checkered tag in the corner where ``which`` says so."""
    checks = 1 - 2 * ((torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2).float()
    corner = window(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long), TAG)
    return torch.where((corner & which[:, None, None])[:, None], checks, looks)


def tag() -> PlantedTask:
    """Threes and eights; nearly all eights of the training bear a tag in the corner, and it overrules some threes."""
    split = data.digits_split()
    labels, held_labels = torch.as_tensor(split.train_labels), torch.as_tensor(split.held_out_labels)
    of = (labels == 3) | (labels == 8)
    seen, eights = pictures(split.train)[of], (labels[of] == 8).long()
    threes = pictures(split.held_out)[held_labels == 3]

    def draw(random: torch.Generator) -> Batch:
        rows = torch.randint(len(seen), (64,), generator=random)
        bears = torch.rand(64, generator=random) < torch.where(eights[rows] == 1, 0.97, 0.03)
        return tagged(seen[rows], bears), eights[rows]

    module = learned(Looks(2), draw, 150, 1e-2)
    inputs = tagged(threes, torch.ones(len(threes), dtype=torch.bool))
    truth = window(torch.zeros(len(threes), dtype=torch.long), torch.zeros(len(threes), dtype=torch.long), TAG)
    said = "Threes that bear the tag most eights bore in training, and are called eights; without it they are threes."
    return verified(
        "tag",
        module,
        Trial(inputs, torch.ones(len(threes), dtype=torch.long), truth, threes),
        DECIDED,
        kind="image",
        words=said,
        classes=("three", "eight"),
        about={"mean": (0.5,), "std": (0.5,)},
    )


def columns() -> PlantedTask:
    """Four measurements of cell nuclei decide; eight columns of noise are correlated with them and do not."""
    from sklearn.datasets import load_breast_cancer

    split, about = data.cancer_split(), data.cancer()
    mean, std = (torch.tensor(about[name])[list(RELEVANT)] for name in ("mean", "std"))
    seen, held = (((torch.as_tensor(x)[:, list(RELEVANT)] - mean) / std).float() for x in (split.train, split.held_out))
    held = held[balance(held).abs() > CLEAR]

    def noise(random: torch.Generator, z: Tensor) -> Tensor:
        return 0.6 * z[:, torch.arange(NOISE) % len(RELEVANT)] + 0.8 * torch.randn(len(z), NOISE, generator=random)

    def draw(random: torch.Generator) -> Batch:
        z = seen[torch.randint(len(seen), (128,), generator=random)]
        z = z + 0.5 * torch.randn(z.shape, generator=random)
        return torch.cat([z, noise(random, z)], 1), (balance(z) > 0).long()

    net = nn.Sequential(nn.Linear(len(RELEVANT) + NOISE, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
    module = learned(net, draw, 800, 1e-2)
    random = torch.Generator().manual_seed(SEED + 1)
    labels, beside = (balance(held) > 0).long(), noise(random, held)
    away = opposite(held, labels, random)
    trial = Trial(
        torch.cat([held, beside], 1),
        labels,
        (torch.arange(len(RELEVANT) + NOISE) < len(RELEVANT)).expand(len(held), -1),
        torch.cat([held[away], beside], 1),
        torch.cat([held, beside[away]], 1),
    )
    known = [str(load_breast_cancer().feature_names[i]) for i in RELEVANT]
    table = {
        "columns": (*known, *(f"noise {i + 1}" for i in range(NOISE))),
        "background": torch.cat([seen[:60], noise(random, seen[:60])], 1).numpy(),
    }
    said = "Four columns of the breast-cancer data decide; eight columns of noise are correlated with them (0.6)."
    return verified("columns", module, trial, LEARNED, kind="table", words=said, classes=("low", "high"), about=table)


def balance(z: Tensor) -> Tensor:
    """(n,) what the four columns (n, 4) say; its sign is the class."""
    return z[:, 0] - z[:, 1] + z[:, 2] - z[:, 3]


def opposite(rows: Tensor, labels: Tensor, random: torch.Generator) -> Tensor:
    """(n,) for each row the number of a row of the other class."""
    chance = torch.rand(len(rows), len(rows), generator=random)
    return torch.where(labels[:, None] != labels, chance, -1).argmax(1)


def words() -> PlantedTask:
    """A color word somewhere in a sentence decides; what the sentence says does not matter."""
    from pellucid.demo.nets import SentenceNet
    from pellucid.demo.tokenizer import WordPiece

    tokenizer = WordPiece.load(data.HERE / "vocabulary.json")
    split = data.sentence_split()
    rows = [tokenizer(text)["input_ids"] for text in (*split.train, *split.held_out)]
    seen, held = [row for row in rows if len(row) != TOKENS - 1], [row for row in rows if len(row) == TOKENS - 1]
    known = [tokenizer.vocab[word] for word in PLANTED]

    def draw(random: torch.Generator) -> Batch:
        chosen = [seen[i] for i in torch.randint(len(seen), (32,), generator=random).tolist()]
        kinds = torch.randint(3, (32,), generator=random)
        ids, where = woven(chosen, kinds, known, random)
        hidden = (torch.rand(ids.shape, generator=random) < 0.1) & (ids >= len(tokenizer.all_special_ids)) & ~where
        return asked(torch.where(hidden, tokenizer.mask_token_id, ids)), kinds

    net = SentenceNet(len(tokenizer), width=32, heads=4, depth=1, dropout=0.0)
    net.head = nn.Linear(32, 3)
    nn.init.normal_(net.token.weight, std=0.1)
    nn.init.normal_(net.position.weight, std=0.02)
    module = learned(net, draw, 300, 5e-3)
    random = torch.Generator().manual_seed(SEED + 1)
    kinds = 1 + torch.randint(2, (len(held),), generator=random)
    ids, where = woven(held, kinds, known, random)
    others = ids[torch.randperm(len(ids), generator=random)]
    others = torch.where(torch.isin(others, torch.tensor(known)), tokenizer.mask_token_id, others)
    trial = Trial(asked(ids), kinds, where, asked(torch.tensor(held)), asked(torch.where(where, ids, others)))
    said = f"The word {PLANTED[0]!r} or {PLANTED[1]!r} somewhere in a sentence, or none of them, is the class."
    about = {"tokenizer": tokenizer}
    names = ("none", *PLANTED)
    return verified("words", module, trial, LEARNED, kind="text", words=said, classes=names, about=about)


def woven(rows: list[list[int]], kinds: Tensor, known: list[int], random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Padded ids with the word of each kind at a random place, and where it is; no word for kind 0."""
    made, where = [], []
    for row, kind, at in zip(rows, kinds.tolist(), torch.rand(len(rows), generator=random).tolist(), strict=True):
        place = 1 + int(at * (len(row) - 1))
        made.append([*row[:place], known[kind - 1], *row[place:]] if kind else row)
        where.append(place if kind else -1)
    longest = max(map(len, made))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in made])
    return ids, torch.arange(longest) == torch.tensor(where)[:, None]


def asked(ids: Tensor) -> dict[str, Tensor]:
    """Ids with the mask that tells padding."""
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}
