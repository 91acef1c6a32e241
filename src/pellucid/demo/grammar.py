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
SLOT = re.compile("[=~<>^]")
CONTRASTS = (
    *(["{a}, but {m}"] * 4),
    "{a} but {m}",
    "{a}, yet {m}",
    "although {a}, {m}",
    "even though {a}, {m}",
    "{m}, even though {a}",
    "{m}, although {a}",
    "at first {a}, but then {m}",
    "{a}, but in the end {m}",
    "{a}; still, {m}",
    "they say that {a}, but {m}",
    "I was told that {a}, but {m}",
    "I thought that {a}, but {m}",
)
T = TypeVar("T")


@dataclass(frozen=True)
class Domain:
    """What people review, its parts (one, many), and adjectives and events by label (negative, positive)."""

    main: list[str]
    part: list[str]
    parts: list[str]
    adjectives: list[list[str]]
    frames: list[str]
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


def _past(verb: str) -> str:
    return {"regret": "regretted"}.get(verb, verb + ("d" if verb.endswith("e") else "ed"))


class Reviewer:
    """Writes one review after another, each of a wanted label, from a private stream of random numbers."""

    def __init__(self, seed: int) -> None:
        """Start the stream at ``seed``."""
        self.random = Random(seed)  # noqa: S311 - no secret
        self.words = lexicon()

    def sentence(self, label: int) -> str:
        """One review, capitalized and punctuated, of label 0 (negative) or 1 (positive)."""
        claims = (
            *[self.frame] * 5,
            self.clause,
            self.event,
            self.event,
            self.feeling,
            self.mood,
            self.noun,
            self.nothing,
        )
        forms = (
            *claims,
            self.lack,
            self.habit,
            self.opinion,
            self.person,
            self.verdict,
            self.verdict,
            self.headline,
            self.manner,
        )
        joined = (*[self.contrast] * 6, self.pair, self.pair, self.pair, self.expectation, self.despite, self.exclaim)
        text = self.pick((*forms, *joined))(self.pick(self.words["domains"]), label)
        if self.chance(0.12):
            text = f"{self.pick(self.words['lead_ins'])}, {text}"
        if self.chance(0.12):
            neutral = self.chosen("neutral")
            text = self.pick(("{n}. {t}", "{n} and {t}", "{t}. {n}")).format(n=neutral, t=text)
        return text[0].upper() + text[1:] + self.pick("...!")

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.random.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def word(self, kind: str, label: int | None = None) -> str:
        """A word of the lexicon."""
        words = self.words[kind]
        return str(self.pick(words if label is None else words[label]))

    def chosen(self, kind: str, label: int | None = None) -> str:
        """A phrase of the lexicon with one of each "[this|that]" kept."""
        return self.filled(self.word(kind, label))

    def filled(self, phrase: str) -> str:
        """The phrase with one of each "[this|that]" kept."""
        return CHOICE.sub(lambda found: self.pick(found[1].split("|")), phrase)

    def adjective(self, domain: Domain, label: int) -> str:
        """An adjective of the domain or one that fits everything."""
        return self.pick(self.pick((self.words["adjectives"], domain.adjectives))[label])

    def strong(self, domain: Domain, label: int) -> str:
        """An adjective, at times strengthened."""
        strength = f"{self.word('adverbs')} " if self.chance(0.3) else ""
        return strength + self.adjective(domain, label)

    def quality(self, domain: Domain, label: int) -> str:
        """What follows "was": adjectives, a denial of opposite ones, a small contrast."""
        if self.chance(0.25):
            return self.denial(domain, label)
        if label == 0 and self.chance(0.08):
            return f"{self.pick(('too', 'much too', 'far too'))} {self.word('too')}"
        one, two, three = self.strong(domain, label), self.strong(domain, label), self.adjective(domain, label)
        other = self.strong(domain, 1 - label)
        lists = (f"{one} and {two}", f"{one}, {three} and {two}", f"{other} but {one}", f"{other}, but {one}")
        more = (f"more {one} than {other}", f"{other}, but still {one}", f"{one}, not {other}")
        return self.pick((one, one, one, one, one, self.pick(lists), self.pick(lists), self.pick(more)))

    def denial(self, domain: Domain, label: int) -> str:
        """Not good, never boring, far from perfect."""
        opposite, second = self.adjective(domain, 1 - label), self.adjective(domain, 1 - label)
        simple: tuple[str, ...] = (
            "not {}",
            "not {}",
            "not very {}",
            "not at all {}",
            "never {}",
            "hardly {}",
            "far from {}",
        )
        longer = ("anything but {}", "not {} at all", "not {} for a second", "never {} for a minute", "not even {}")
        pairs = ("not {} and not {}", "neither {} nor {}", "not {} or {}", "not {} and not {} either")
        if label:
            simple += ("not too {}", "never too {}")
        return self.pick((*simple, *simple, *longer, *pairs)).format(opposite, second)

    def thing(self, domain: Domain) -> tuple[str, str]:
        """A thing of the domain with its verb."""
        kind = self.random.random()
        if kind < 0.25:
            return f"the {self.pick(domain.parts)}", self.pick(("were", "are"))
        be = self.pick(("was", "is"))
        if kind < 0.55:
            return f"the {self.pick(domain.part)}", be
        if kind < 0.85:
            return f"{self.pick(('the', 'this', 'my', 'our', 'that'))} {self.pick(domain.main)}", be
        return self.pick(("it", "it", "it", "everything", "this", "the rest", "the second one")), be

    def clause(self, domain: Domain, label: int) -> str:
        """A thing, a verb and a quality."""
        thing, verb = self.thing(domain)
        quality = self.quality(domain, label)
        if quality.startswith("not ") and self.chance(0.4):
            return f"{thing} {verb}n't {quality[4:]}"
        return f"{thing} {verb} {quality}"

    def claim(self, domain: Domain, label: int) -> str:
        """Any main clause of the label."""
        claims = (
            *[self.clause] * 3,
            *[self.frame] * 3,
            self.event,
            self.event,
            self.feeling,
            self.mood,
            self.person,
            self.opinion,
        )
        return self.pick((*claims, self.noun, self.nothing, self.lack, self.habit))(domain, label)

    def contrast(self, domain: Domain, label: int) -> str:
        """Two opposite clauses, of which the main or the last one decides."""
        return self.pick(CONTRASTS).format(a=self.claim(domain, 1 - label), m=self.claim(domain, label))

    def frame(self, domain: Domain, label: int) -> str:
        """A sentence that is the same for both labels but for its adjectives."""
        frame = self.filled(self.pick(self.pick((self.words["frames"], domain.frames))))
        return re.sub(r"\ba (?=[aeio])", "an ", SLOT.sub(lambda slot: self.slot(slot[0], domain, label), frame))

    def slot(self, mark: str, domain: Domain, label: int) -> str:
        """What stands at a mark: an adjective of the label (=) or of the other (~), better (>), best (^)."""
        if mark in "=~":
            return self.strong(domain, label) if mark == "=" else self.adjective(domain, 1 - label)
        return self.word({">": "comparative", "<": "comparative", "^": "superlative"}[mark], label ^ (mark == "<"))

    def despite(self, domain: Domain, label: int) -> str:
        """Despite the lovely view, the hotel was bad."""
        start = self.pick(("despite the", "in spite of the", "apart from the", "except for the"))
        noun = self.pick((*domain.part, *domain.parts))
        return f"{start} {self.adjective(domain, 1 - label)} {noun}, {self.claim(domain, label)}"

    def pair(self, domain: Domain, label: int) -> str:
        """Two clauses that agree."""
        return f"{self.claim(domain, label)}{self.pick((' and ', ', and ', ', so ', '; '))}{self.claim(domain, label)}"

    def feeling(self, domain: Domain, label: int) -> str:
        """I loved it, or I did not enjoy it, or you will hate it."""
        who, thing, verb = self.word("who"), self.thing(domain)[0], self.word("verbs", label)
        if self.chance(0.3):
            no = self.pick(("did not", "didn't", "could not", "couldn't", "would not", "wouldn't", "will not", "won't"))
            return f"{who} {no} {self.word('verbs', 1 - label)} {thing}"
        if self.chance(0.3):
            return f"{self.pick(('you will', 'you would', 'I would', 'I must', 'we all'))} {verb} {thing}"
        if self.chance(0.15):
            return f"{self.pick(('my son', 'my wife', 'everyone', 'my mother', 'who'))} {verb}s {thing}"
        return f"{who} {self.pick(('', '', 'really ', 'truly ', 'always '))}{_past(verb)} {thing}"

    def habit(self, domain: Domain, label: int) -> str:
        """It never disappoints."""
        never = self.chance(0.5)
        verb = self.word("habits", 1 - label if never else label)
        often = self.pick(("never", "never", "rarely")) if never else self.pick(("always", "often", "simply", "also"))
        return f"{self.pick((self.thing(domain)[0], 'it'))} {often} {verb}"

    def mood(self, domain: Domain, label: int) -> str:
        """I was delighted with it."""
        were = self.pick(("I was", "I am", "we were", "we are", "you will be", "my wife was", "my friends were"))
        mood = f"{self.pick(('', '', 'very ', 'so ', 'really '))}{self.word('feelings', label)}"
        if self.chance(0.25):
            mood = f"{self.pick(('not', 'never', 'not at all'))} {self.word('feelings', 1 - label)}"
        return f"{were} {mood}{self.pick(('', f' with {self.thing(domain)[0]}', f' by {self.thing(domain)[0]}'))}"

    def person(self, domain: Domain, label: int) -> str:
        """The waiter was kind."""
        if self.chance(0.5):
            who, were = self.pick(self.words["persons"]["one"]), self.pick(("was", "is"))
        else:
            who, were = self.pick(self.words["persons"]["many"]), self.pick(("were", "are"))
        manner = self.pick((self.word("people", label), f"not {self.word('people', 1 - label)}"))
        strength = "" if manner.startswith("not ") else self.pick(("", "", "very ", "so ", "always "))
        return f"the {who} {were} {strength}{manner}"

    def opinion(self, domain: Domain, label: int) -> str:
        """My wife thought it was awful."""
        who = self.word("who")
        if self.chance(0.5):
            return f"{who} found {self.thing(domain)[0]} {self.strong(domain, label)}"
        return f"{who} {self.pick(('thought', 'said', 'felt'))} {self.clause(domain, label)}"

    def event(self, domain: Domain, label: int) -> str:
        """Something that happened."""
        return self.filled(self.pick(domain.events[label]))

    def verdict(self, domain: Domain, label: int) -> str:
        """A set phrase, alone or after a claim."""
        phrase = self.chosen("verdicts", label)
        return phrase if self.chance(0.5) else f"{self.claim(domain, label)}{self.pick((': ', ', ', ' and '))}{phrase}"

    def exclaim(self, domain: Domain, label: int) -> str:
        """What a lovely film."""
        start = self.pick(("what {}", "such {}", "{}", "truly {}", "this is {}", "it was {}", "we had {}"))
        kind = self.pick(
            (self.strong(domain, label), f"{self.adjective(domain, label)} and {self.adjective(domain, label)}")
        )
        if self.chance(0.2):
            start, kind = (
                self.pick(("this is not {}", "it isn't {}", "it was never {}")),
                self.adjective(domain, 1 - label),
            )
        return f"{start.format(_article(kind))} {self.pick(domain.main)}"

    def noun(self, domain: Domain, label: int) -> str:
        """This film is a joy."""
        thing = f"{self.pick(('the', 'this'))} {self.pick((*domain.main, *domain.part))}"
        be = self.pick(("is", "was", "is", "was", "turned out to be"))
        article = self.pick(("", "", "such ", "really "))
        return f"{self.pick((thing, 'it', 'this'))} {be} {article}{_article(self.word('nouns', label))}"

    def manner(self, domain: Domain, label: int) -> str:
        """Beautifully made."""
        manner = f"{self.word('manners', label)} {self.word('made')}"
        return manner if self.chance(0.2) else " ".join((*self.thing(domain), manner))

    def headline(self, domain: Domain, label: int) -> str:
        """Friendly waiters, fresh bread and a lovely place."""
        one, two, three = (self.adjective(domain, label) for _ in range(3))
        things = f"{one} {self.pick(domain.parts)}, {two} {self.pick(domain.part)}"
        return things + self.pick(("", f" and {_article(three)} {self.pick(domain.main)}"))

    def lack(self, domain: Domain, label: int) -> str:
        """Full of charm, without a flaw, no merit."""
        kinds = ("flaws", "merits")
        have, more = self.word(kinds[label]), self.word(kinds[label])
        miss, less = self.word(kinds[1 - label]), self.word(kinds[1 - label])
        full: tuple[str, ...] = (
            "a {n} full of {h}",
            "{t} had a lot of {h}",
            "a {n} with much {h}",
            "{t} was full of {h} and {i}",
        )
        full += ("{t} was made with {h} and {i}", "with {h} and {i}", "{t} has {h} and {i}", "I have only {h} with {t}")
        none: tuple[str, ...] = (
            "there was no {m} in {t}",
            "I found no {m} in {t}",
            "no {m} at all",
            "not a trace of {m} in {t}",
        )
        none += ("{t} had no {m}", "there were no {m}", "{t} came without any {m}", "it was made without {m} or {l}")
        form = self.pick((*full, *none, "{t} was {g}, with {h}", "{t} was {g}, without any {m}"))
        words = {"h": have, "i": more, "m": miss, "l": less, "g": self.adjective(domain, label)}
        return form.format(n=self.pick(domain.main), t=self.thing(domain)[0], **words)

    def nothing(self, domain: Domain, label: int) -> str:
        """Nothing about it was good."""
        opposite, noun = self.adjective(domain, 1 - label), self.pick((*domain.part, *domain.main))
        forms: tuple[str, ...] = (
            "nothing about {t} was {o}",
            "there is nothing {o} about {t}",
            "not a single {o} {n}",
            "not one {o} {n}",
        )
        forms += ("I never saw a {o} {n} there", "nobody called {t} {o}", "I can't call {t} {o}", "nothing was {o}")
        return self.pick(forms).format(t=f"the {noun}", o=opposite, n=noun)

    def expectation(self, domain: Domain, label: int) -> str:
        """I expected one thing and got the other."""
        forms: tuple[str, ...] = (
            "I expected something {before} and got something {after}",
            "the {noun} looked {before} at first, but it was {after}",
            "people say the {noun} is {before}, but we found it {after}",
            "I was afraid the {noun} would be {before}, but it was {after}",
            "I hoped for a {before} {noun}, but it turned out {after}",
            "the {noun} was {before} at first, but then it became {after}",
        )
        before, after = self.adjective(domain, 1 - label), self.strong(domain, label)
        return self.pick(forms).format(before=before, after=after, noun=self.pick(domain.main))


def write(count: int, seed: int) -> list[tuple[int, str]]:
    """``count`` different labeled reviews, the two labels taking turns."""
    reviewer = Reviewer(seed)
    labels: dict[str, int] = {}
    while len(labels) < count:
        label = len(labels) % 2
        labels.setdefault(reviewer.sentence(label), label)
    return [(label, text) for text, label in labels.items()]
