"""A hand-written grammar of short reviews: it writes the training sentences of the ``sentences`` demo.

The label is the writer's overall verdict: in a contrast ("the food was cold, but the staff were wonderful") it is
that of the main or last clause, so single words, negation and contrast all decide. The words are in ``lexicon.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

LABELS = ("negative", "positive")
CHOICE = re.compile(r"\[([^\]]*)\]")
NEGATED = 0.2
T = TypeVar("T")


@dataclass(frozen=True)
class Domain:
    """What people review, its parts (one, many), and adjectives and events by label (negative, positive)."""

    main: list[str]
    part: list[str]
    parts: list[str]
    adjectives: list[list[str]]
    events: list[list[str]]


def _unpacked(entry: Any) -> Any:
    """A lexicon entry with its strings of words split and its labels as indices."""
    if isinstance(entry, str):
        return entry.split()
    if isinstance(entry, dict):
        values = {key: _unpacked(value) for key, value in entry.items()}
        return [values[label] for label in LABELS] if set(values) == set(LABELS) else values
    return entry


@cache
def lexicon() -> dict[str, Any]:
    """The words and phrases of the grammar."""
    words: dict[str, Any] = _unpacked(json.loads(Path(__file__).with_name("lexicon.json").read_text("utf-8")))
    words["domains"] = [Domain(**domain) for domain in words["domains"].values()]
    return words


def _article(adjective: str) -> str:
    return f"{'an' if adjective[0] in 'aeiou' else 'a'} {adjective}"


class Reviewer:
    """Writes one review after another, each of a wanted label, from a private stream of random numbers."""

    def __init__(self, seed: int) -> None:
        """Start the stream at ``seed``."""
        self.random = Random(seed)
        self.words = lexicon()

    def sentence(self, label: int) -> str:
        """One review, capitalized and punctuated, of label 0 (negative) or 1 (positive)."""
        common = (self.plain, self.contrast, self.verdict, self.expectation, self.pair, self.event)
        forms = (*common, *common, self.feeling, self.exclamation, self.lack, self.headline, self.noun, self.manner)
        text = self.pick((*forms, self.remark))(self.pick(self.words["domains"]), label)
        if self.chance(0.15):
            text = f"{self.pick(self.words['lead_ins'])}, {text}"
        if self.chance(0.3):
            text = self.beside(text)
        return text[0].upper() + text[1:] + self.pick("...!")

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.random.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def chosen(self, phrase: str) -> str:
        """The phrase with one of each "[this|that]" kept."""
        return CHOICE.sub(lambda found: self.pick(found[1].split("|")), phrase)

    def adjective(self, domain: Domain, label: int) -> str:
        """An adjective of the domain or one that fits everything."""
        return self.pick(self.pick((self.words["adjectives"], domain.adjectives))[label])

    def quality(self, domain: Domain, label: int) -> str:
        """What follows "was": an adjective, two, a strengthened one, or the denial of an opposite one."""
        if self.chance(NEGATED):
            denial = self.pick(("not", "not", "not at all", "never", "hardly", "far from", "anything but", "not very"))
            return f"{denial} {self.adjective(domain, 1 - label)}"
        if label == 0 and self.chance(0.1):
            return f"too {self.pick(self.words['too'])}"
        adjective = self.adjective(domain, label)
        strength = ("", "", "", f"{self.pick(self.words['adverbs'])} ", f"{self.adjective(domain, label)} and ")
        return self.pick(strength) + adjective

    def thing(self, domain: Domain) -> tuple[str, str]:
        """A thing of the domain with its verb."""
        if self.chance(0.3):
            return f"the {self.pick(domain.parts)}", self.pick(("were", "are"))
        if self.chance(0.6):
            return f"the {self.pick(domain.part)}", self.pick(("was", "is"))
        return f"{self.pick(('the', 'this'))} {self.pick(domain.main)}", self.pick(("was", "is"))

    def clause(self, domain: Domain, label: int) -> str:
        """A thing, a verb and a quality."""
        thing, verb = self.thing(domain)
        quality = self.quality(domain, label)
        if quality.startswith("not ") and self.chance(0.4):
            return f"{thing} {verb}n't {quality[4:]}"
        return f"{thing} {verb} {quality}"

    def plain(self, domain: Domain, label: int) -> str:
        """One clause, at times with a neutral tail."""
        tail = f" {self.pick(self.words['tails'])}" if self.chance(0.15) else ""
        return self.clause(domain, label) + tail

    def claim(self, domain: Domain, label: int) -> str:
        """Any main clause of the label."""
        return self.pick((self.clause, self.clause, self.event, self.event, self.feeling))(domain, label)

    def contrast(self, domain: Domain, label: int) -> str:
        """Two opposite clauses, of which the main or the last one decides."""
        aside, main = self.claim(domain, 1 - label), self.claim(domain, label)
        form = self.pick(("{a}, but {m}", "{a}, but {m}", "{a}, yet {m}", "although {a}, {m}", "{m}, even though {a}"))
        return form.format(a=aside, m=main)

    def pair(self, domain: Domain, label: int) -> str:
        """Two clauses that agree."""
        return f"{self.claim(domain, label)} and {self.claim(domain, label)}"

    def feeling(self, domain: Domain, label: int) -> str:
        """I loved it, or I did not enjoy it."""
        who, (thing, _) = self.pick(("I", "I", "we", "my friends")), self.thing(domain)
        if self.chance(0.6):
            return f"{who} {self.pick(('', 'really ', 'truly '))}{self.pick(self.words['verbs'][label])} {thing}"
        no = self.pick(("did not", "didn't", "could not", "couldn't"))
        return f"{who} {no} {self.pick(self.words['infinitives'][1 - label])} {thing}"

    def event(self, domain: Domain, label: int) -> str:
        """Something that happened."""
        return self.chosen(self.pick(domain.events[label]))

    def verdict(self, domain: Domain, label: int) -> str:
        """A set phrase, alone or after a claim."""
        phrase = self.chosen(self.pick(self.words["verdicts"][label]))
        return phrase if self.chance(0.5) else f"{self.claim(domain, label)}: {phrase}"

    def beside(self, text: str) -> str:
        """The text with a neutral remark before or after it."""
        neutral = self.chosen(self.pick(self.words["neutral"]))
        return self.pick(("{n}. {t}", "{n} and {t}", "{t}. {n}", "{t}, {n}", "{n}, {t}")).format(n=neutral, t=text)

    def noun(self, domain: Domain, label: int) -> str:
        """This film is a joy."""
        noun = self.pick(self.words["nouns"][label])
        if self.chance(0.2):
            return f"{self.pick(('such', 'what'))} {_article(noun)}"
        thing = f"{self.pick(('the', 'this'))} {self.pick((*domain.main, *domain.part))}"
        return f"{self.pick((thing, 'it', 'this'))} {self.pick(('is', 'was'))} {_article(noun)}"

    def manner(self, domain: Domain, label: int) -> str:
        """Beautifully made."""
        manner = f"{self.pick(self.words['adverbs_of'][label])} {self.pick(self.words['made'])}"
        return manner if self.chance(0.3) else " ".join((*self.thing(domain), manner))

    def remark(self, domain: Domain, label: int) -> str:
        """Words of the dictionary among neutral ones."""
        words = [self.pick(self.words["dictionary"][label]) for _ in range(self.pick((1, 2, 3)))]
        words += [self.chosen(self.pick(self.words["neutral"])) for _ in range(self.pick((0, 1)))]
        self.random.shuffle(words)
        return self.pick((" ", ", ")).join(words)

    def exclamation(self, domain: Domain, label: int) -> str:
        """What a lovely film."""
        return f"what {_article(self.adjective(domain, label))} {self.pick(domain.main)}"

    def headline(self, domain: Domain, label: int) -> str:
        """Friendly waiters, fresh bread and a lovely place."""
        one, two, three = (self.adjective(domain, label) for _ in range(3))
        things = f"{one} {self.pick(domain.parts)}, {two} {self.pick(domain.part)}"
        return f"{things} and {_article(three)} {self.pick(domain.main)}"

    def lack(self, domain: Domain, label: int) -> str:
        """No flaw, or no merit."""
        missing = self.pick(self.words[("merits", "flaws")[label]])
        form = self.pick(("there was no {} in {}", "not a trace of {} in {}", "I found no {} in {}"))
        return form.format(missing, self.thing(domain)[0])

    def expectation(self, domain: Domain, label: int) -> str:
        """I expected one thing and got the other."""
        forms = (
            "I expected something {before} and got something {after}",
            "the {noun} looked {before} at first, but it was {after}",
            "people say the {noun} is {before}, but we found it {after}",
            "the {noun} is more {after} than {before}",
            "I thought the {noun} would be {before}, but it turned out {after}",
        )
        before, after = self.adjective(domain, 1 - label), self.adjective(domain, label)
        return self.pick(forms).format(before=before, after=after, noun=self.pick(domain.main))


def write(count: int, seed: int) -> list[tuple[int, str]]:
    """``count`` different labeled reviews, the two labels taking turns."""
    reviewer = Reviewer(seed)
    labels: dict[str, int] = {}
    while len(labels) < count:
        label = len(labels) % 2
        labels.setdefault(reviewer.sentence(label), label)
    return [(label, text) for text, label in labels.items()]
