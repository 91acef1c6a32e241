"""The page as text: what is on it without scripts, what hostile texts can do to it, how large it is."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pellucid.core.figure import Heat, Picture
from pellucid.report import Content, MethodView
from pellucid.report.page import page
from tests.report.samples import VERDICTS, report
from tests.show.samples import PAYLOADS

MODALITIES = ("image", "text", "table", "series", "tensor")
VOID = {"meta", "input", "img", "br", "wbr", "link", "base"}


class Read(HTMLParser):
    """A page taken apart: tags with attributes, text by tag, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def every(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of every such tag; ``role="img"`` asks for a value, ``name=""`` for its presence."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(value in attrs.get(key, "").split() for key, value in wanted.items())
        ]

    def shape(self) -> list[tuple[str, ...]]:
        """The tags with the names of their attributes; where a name may be broken does not count."""
        return [(tag, *attrs) for tag, attrs in self.tags if tag != "wbr"]


@pytest.fixture(scope="module")
def plain() -> dict[str, list[tuple[str, ...]]]:
    return {modality: Read(page(report(modality))).shape() for modality in MODALITIES}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("modality", ["image", "text", "table"])
def test_hostile_texts_change_no_structure(plain: dict[str, Any], modality: str, payload: str) -> None:
    text = page(report(modality, payload + "x"))
    text.encode("utf-8")
    read = Read(text)
    assert read.shape() == plain[modality]
    assert not [name for _, attrs in read.tags for name in attrs if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_page_is_well_formed(modality: str) -> None:
    read = Read(page(report(modality)))
    assert not read.crossed
    assert not read.open
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in read.tags for name in attrs.get("aria-labelledby", "").split()}
    assert named <= set(ids)


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_comes_from_elsewhere(modality: str) -> None:
    text = page(report(modality))
    read = Read(text)
    ids = {attrs["id"] for _, attrs in read.tags if "id" in attrs}
    for _, attrs in read.tags:
        for name in ("href", "src", "srcset", "action", "data"):
            address = attrs.get(name, "data:")
            assert address.startswith("data:") or address[1:] in ids, f"{name}={address[:80]}"
    style = "".join(read.texts["style"])
    assert "@import" not in style
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)\)", style))
    assert "http://" not in text
    assert "https://" not in text


def test_the_policy_knows_exactly_what_the_page_holds() -> None:
    read = Read(page(report()))
    (policy,) = (attrs["content"] for attrs in read.every("meta") if attrs.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        assert len(read.every(tag)) == 1
        digest = hashlib.sha256("".join(read.texts[tag]).encode()).digest()
        assert rules[name] == f"'sha256-{b64encode(digest).decode()}'"


@pytest.mark.parametrize("modality", MODALITIES)
def test_all_is_there_without_scripts(modality: str) -> None:
    content = report(modality)
    text = page(content)
    read = Read(text)
    assert [attrs["id"] for attrs in read.every("article")] == [f"method-{i}" for i in range(1, 6)]
    assert not [attrs for attrs in read.every("article") if "hidden" in attrs]
    for attrs in read.every("div", class_="controls") + read.every("button"):
        assert "hidden" in attrs, "controls appear only with the script that serves them"
    if modality == "image":
        assert len(read.every("image", class_="pl-layer")) == 7
        assert len(read.every("use", class_="pl-under")) == 8
        assert text.count("data:image/png") == 8, "the picture stands once"
    for words in ("no", "This page contains your input", "What this cannot show", "Limits", "Make this report again"):
        assert words in text


def test_every_verdict_has_a_word_and_a_sign() -> None:
    read = Read(page(report()))
    marks = [attrs["class"] for attrs in read.every("span", class_="badge")]
    assert {each.split()[-1] for each in marks} == {"badge-check", "badge-half", "badge-cross", "badge-question"}
    assert set(VERDICTS) <= {each.strip() for each in read.texts["span"]}


def test_what_is_not_supported_is_hatched_and_says_why() -> None:
    read = Read(page(report()))
    assert len(read.every("div", class_="failing")) == 1
    assert len(read.every("p", class_="reason")) == 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_page_can_be_heard(modality: str) -> None:
    text = page(report(modality))
    read = Read(text)
    assert read.every("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for _, attrs in read.tags:
        if attrs.get("role") in ("img", "region", "group"):
            assert attrs.get("aria-label")
    assert all(attrs.get("scope") for attrs in read.every("th"))
    hidden = [attrs for attrs in read.every("svg") if attrs.get("aria-hidden") != "true" and attrs.get("role") != "img"]
    assert all(attrs.get("class") == "pl-lines" for attrs in hidden), "within a plot that has its own words"


def test_a_report_may_be_bare() -> None:
    bare = report()
    content = Content(
        title="Why?",
        modality="something else",
        input=bare.input,
        prediction=bare.prediction,
        prediction_words="",
        verdict="not testable",
        verdict_words="",
        sentences=(),
        methods=(),
        best=None,
    )
    read = Read(page(content))
    assert not read.every("section", id="methods")
    assert not read.every("section", id="evidence")
    assert len(read.every("h1")) == 1


def test_a_report_on_one_picture_is_small() -> None:
    """The worst case: noise that cannot be compressed, in the picture and in five maps."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    maps = [Heat(values=random.normal(size=(224, 224)), limit=3.0, under=picture) for _ in range(5)]
    views = tuple(MethodView(name=f"m{i}", figure=each) for i, each in enumerate(maps))
    plain = report()
    content = Content(
        title="noise",
        modality="image",
        input=Picture(pixels=picture),
        prediction=plain.prediction,
        prediction_words="",
        verdict="mixed",
        verdict_words="",
        sentences=(),
        methods=views,
    )
    assert len(page(content).encode()) < 1_000_000


def tones(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css))


def luminance(tone: str) -> float:
    tone = "".join(2 * each for each in tone[1:]) if len(tone) == 4 else tone[1:]
    parts = [int(tone[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(dark: bool) -> None:
    css = (files("pellucid.report") / "page.css").read_text("utf-8")
    light, night = (re.search(rf"{start}(.*?)\}}", css, re.DOTALL) for start in (r"^:root \{", r"dark\) \{\s*:root \{"))
    css = re.sub(r"^/\*.*?\*/\s*", "", css, flags=re.DOTALL)
    light = re.match(r":root \{(.*?)\}", css, re.DOTALL)
    assert light
    assert night
    tone = tones(night[1] if dark else light[1])
    pairs = [(ink, ground) for ink in ("ink", "quiet", "accent", "caution") for ground in ("paper", "raised")]
    pairs += [("accent", "soft"), ("on-accent", "accent"), ("ink", "stripe"), ("quiet", "stripe"), ("ink", "hair")]
    for ink, ground in pairs:
        low, high = sorted((luminance(tone[ink]), luminance(tone[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{ink} on {ground}"
