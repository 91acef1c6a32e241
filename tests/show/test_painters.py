"""Every kind of figure is painted by every painter, and no text in it comes out as anything but text."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

from pellucid.core.figure import Bars, Curve, Grid, Heat, MarkedText, Picture, Sheet
from pellucid.show.html import fragment
from pellucid.show.pixels import composed, peaks, resized
from tests.show.samples import PAYLOADS, big, figures

KINDS = list(figures())
ON = re.compile(r"^on", re.IGNORECASE)


class Structure(HTMLParser):
    """The tags of a text with the names of their attributes, and its addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":
            self.tags.append((tag, *(name for name, _ in attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]


@pytest.mark.parametrize("kind", KINDS)
def test_html_has_no_scripts_and_no_style_attributes(kind: str) -> None:
    found = Structure(figures()[kind].html())
    assert found.tags
    for tag, *names in found.tags:
        assert tag not in ("script", "iframe", "object", "embed", "link", "img", "base", "meta", "form")
        assert "style" not in names
        assert not [name for name in names if ON.match(name)]
    assert all(address.startswith("data:image/") for address in found.addresses)


@pytest.fixture(scope="module")
def plain() -> dict[str, list[tuple[str, ...]]]:
    """The tags of every kind of figure when all its texts are harmless."""
    return {kind: Structure(figure.html()).tags for kind, figure in figures().items()}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_changes_no_structure(plain: dict[str, list[tuple[str, ...]]], payload: str) -> None:
    for kind, figure in figures(payload + "x").items():
        drawn = figure.html()
        drawn.encode("utf-8")
        assert Structure(drawn).tags == plain[kind], kind


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_holds_nothing_a_terminal_obeys(payload: str) -> None:
    for kind, figure in figures(payload).items():
        text = figure.text()
        assert text, kind
        assert {unicodedata.category(each) for each in text if each != "\n"}.isdisjoint({"Cc", "Cs", "Cf"}), kind


@pytest.mark.parametrize("kind", KINDS)
def test_matplotlib_draws(kind: str) -> None:
    file = io.BytesIO()
    figures()[kind].plot().savefig(file, format="png", dpi=40)
    assert file.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_matplotlib_draws_hostile_text(payload: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph|constrained_layout|There are no gridspecs")
        hostile = figures(payload[:200])
        for kind in ("waterfall", "curve", "text", "sheet"):
            hostile[kind].plot().savefig(io.BytesIO(), format="png", dpi=30)


def test_plot_needs_no_pyplot_state() -> None:
    canvas = figures()["heat"].plot()
    assert canvas.axes
    assert not hasattr(canvas, "number"), "pyplot does not know it"


def test_what_is_not_a_number_is_painted_neutral_and_told() -> None:
    values = np.array([[np.nan, np.inf], [-np.inf, 0.0]])
    figure = Heat(values=values, limit=1.0, under=big(8), title="map")
    assert "3 values are not numbers" in figure.html()
    zero = Heat(values=np.zeros((2, 2)), limit=1.0, under=big(8))
    assert (composed(figure)[:4, :4] == composed(zero)[:4, :4]).all()
    empty = np.full(3, np.nan)
    for each in (
        Bars(labels=("a", "b", "c"), values=empty),
        MarkedText(tokens=("a", "b", "c"), values=empty, limit=1.0),
        Curve(x=np.arange(3.0), lines={"a": empty}),
    ):
        assert each.html()
        assert each.text()
        assert each.plot()


def test_empty_figures_are_painted() -> None:
    none = np.zeros(0)
    for each in (
        Bars(labels=(), values=none),
        MarkedText(tokens=(), values=none, limit=1.0),
        Curve(x=none, lines={}),
        Curve(x=none, lines={"a": none}),
        Sheet(header=("a",), rows=()),
        Grid(figures=()),
    ):
        assert each.html()
        assert isinstance(each.text(), str)
        each.plot().savefig(io.BytesIO(), format="png", dpi=30)


def test_limits_and_signs_are_printed() -> None:
    drawn = Heat(values=np.array([[1.0, -0.5], [0.0, 0.2]]), limit=0.8125, under=big(8)).html()
    assert "−0.812" in drawn
    assert "+0.812" in drawn
    assert "pushes\u00a0towards" in drawn
    assert drawn.count("pl-mark") >= 2, "plus and minus stand on the map itself"
    assert "pushes" not in Heat(values=np.ones((2, 2)), limit=1.0, signed=False).html()


def test_a_coarse_map_says_so() -> None:
    assert "7 × 7 cells, smoothed for display" in Heat(values=np.ones((7, 7)), limit=1.0, under=big(224)).html()
    assert "× 96 cells" not in Heat(values=np.ones((96, 96)), limit=1.0, under=big(96)).html()


def test_smoothing_invents_no_signs_and_no_peaks() -> None:
    values = np.zeros((7, 7))
    values[3, 3], values[0, 0] = 1.0, -1.0
    large = resized(values, 140, 140)
    assert large.min() >= -1 - 1e-9
    assert large.max() <= 1 + 1e-9
    assert (large[60:80, 60:80] >= 0).all()
    assert resized(np.abs(values), 140, 140).min() >= -1e-12
    assert np.allclose(resized(np.arange(16.0).reshape(4, 4), 2, 2), [[2.5, 4.5], [10.5, 12.5]]), (
        "means when it shrinks"
    )


def test_peaks_are_where_the_map_is_strongest() -> None:
    values = np.zeros((8, 8))
    values[2, 5], values[6, 1] = 1.0, -0.7
    assert peaks(Heat(values=values, limit=1.0)) == [(5.5 / 8, 2.5 / 8, 1), (1.5 / 8, 6.5 / 8, -1)]


def test_a_waterfall_shows_what_is_missing() -> None:
    figure = Bars(labels=("a", "b"), values=np.array([1.0, 0.5]), base=1.0, total=3.0)
    for drawn in (figure.html(), figure.text()):
        assert "not accounted for" in drawn
        assert "+0.50" in drawn
        assert "baseline" in drawn
        assert "this input" in drawn
    exact = Bars(labels=("a", "b"), values=np.array([1.0, 0.5]), base=1.0, total=2.5)
    assert "not accounted for" not in exact.html()


def test_details_stand_beside_labels() -> None:
    drawn = Bars(labels=("worst area",), values=np.array([1.0]), details=("2019 mm²",)).html()
    assert "worst area" in drawn
    assert "= 2019 mm²" in drawn


def test_glued_tokens_stand_together() -> None:
    figure = MarkedText(tokens=("un", "like", "ly"), values=np.zeros(3), limit=1.0, glue=(False, True, False))
    assert "unlike ly" in figure.text()
    assert "unlike ly" in fragment(figure)


def test_tiny_pictures_are_shown_with_sharp_pixels() -> None:
    assert "pl-sharp" in fragment(Picture(pixels=big(8)))
    assert "pl-sharp" not in fragment(Picture(pixels=big(224)))
    assert 'viewBox="0 0 280 280"' in fragment(Picture(pixels=big(8)))


def test_large_pictures_are_made_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1000, 3), dtype=np.uint8)
    assert len(Picture(pixels=noise).html()) < 400_000
    assert len(Heat(values=np.random.default_rng(0).normal(size=(900, 900)), limit=1.0, under=noise).html()) < 400_000


def test_a_notebook_fragment_brings_only_the_colors_it_uses() -> None:
    drawn = MarkedText(tokens=("a",), values=np.array([1.0]), limit=1.0, signed=False).html()
    style = re.search(r"<style>(.*?)</style>", drawn, re.DOTALL)
    assert style
    assert ".pl-u16{" in style[1]
    assert ".pl-n5{" not in style[1]
    assert drawn.count("<style>") == 1
