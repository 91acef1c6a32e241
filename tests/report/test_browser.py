"""The page in a real browser: nothing complains, nothing sticks out, controls work, colors are the scale's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.core.figure import Heat
from pellucid.report import Content, MethodView
from pellucid.report.page import page
from pellucid.show.color import index, table
from tests.report.browser import CHROMIUM, Browser
from tests.report.samples import report
from tests.show.samples import PAYLOADS, big

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

WIDTHS = (1280, 400)
SCROLLS = "[document.documentElement.scrollWidth, innerWidth]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


def written(folder: Path, content: Content) -> Path:
    path = folder / "why.html"
    path.write_text(page(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("modality", ["image", "text", "table", "series"])
def test_nothing_complains_and_nothing_sticks_out(browser: Browser, tmp_path: Path, modality: str) -> None:
    path = written(tmp_path, report(modality))
    for width in WIDTHS:
        for dark in (False, True):
            browser.open(path, width=width, dark=dark)
            wide, window = browser.evaluate(SCROLLS)
            assert (window, browser.messages) == (width, [])
            assert wide <= window, f"{modality} at {width} pixels"


def test_a_complaint_would_be_heard(browser: Browser, tmp_path: Path) -> None:
    for wrong in ('<p style="color:red">x</p>', "<img src=x onerror=alert(1)>", "<script>alert(1)</script>"):
        path = tmp_path / "wrong.html"
        path.write_text(page(report("text")).replace("</main>", wrong + "</main>"), encoding="utf-8")
        browser.open(path)
        assert browser.messages, wrong


@pytest.mark.parametrize("modality", ["image", "text", "table"])
def test_hostile_texts_do_nothing_in_a_browser(browser: Browser, tmp_path: Path, modality: str) -> None:
    text = " ".join(each for each in PAYLOADS if len(each) < 500)
    path = written(tmp_path, report(modality, text))
    browser.open(path, width=400)
    wide, window = browser.evaluate(SCROLLS)
    assert browser.messages == []
    assert wide <= window
    assert browser.evaluate("document.querySelectorAll('script, iframe, img, base, a[href^=j]').length") == 1


def test_a_long_word_does_not_widen_the_page(browser: Browser, tmp_path: Path) -> None:
    for modality in ("image", "text", "table", "series"):
        browser.open(written(tmp_path, report(modality, "W" * 400)), width=400)
        wide, window = browser.evaluate(SCROLLS)
        assert wide <= window, modality


def test_without_scripts_all_methods_are_shown(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, report()), scripts=False)
    seen = "[...document.querySelectorAll('{}')].filter(each => each.getClientRects().length).length"
    assert browser.evaluate(seen.format("article")) == 5
    assert browser.evaluate(seen.format(".controls, button")) == 0
    assert browser.messages == []


def set_to(name: str, value: str) -> str:
    """A visitor moves a slider."""
    field = f"document.querySelector('input[name={name}]')"
    return f"{field}.value = '{value}', {field}.dispatchEvent(new Event('input', {{bubbles: true}}))"


def test_sliders_work_and_the_address_remembers(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path, report())
    browser.open(path)
    browser.evaluate(set_to("map", "80"))
    browser.evaluate(set_to("top", "10"))
    browser.evaluate(set_to("zoom", "2"))
    layer = "getComputedStyle(document.querySelector('.method .pl-layer'))"
    assert "pl-cut-0-light" in browser.evaluate(f"{layer}.filter")
    under = "Number(getComputedStyle(document.querySelector('.method .pl-under')).opacity)"
    assert browser.evaluate(under) == pytest.approx(0.2, abs=1e-3)
    assert browser.evaluate("location.hash") == "#map=80&top=10&zoom=2"
    boxes = browser.evaluate(
        "[...document.querySelectorAll('article .pl-map')].map(each => each.getAttribute('viewBox'))"
    )
    assert len(set(boxes)) == 1
    assert boxes[0].split()[2:] == ["140", "140"]
    browser.open(path, part="#top=10&only=2")
    shown = "[...document.querySelectorAll('article')].filter(each => !each.hidden).map(each => each.id)"
    assert browser.evaluate(shown) == ["method-2"]
    assert browser.evaluate("document.querySelector('input[name=top]').value") == "10"
    assert browser.messages == []


def test_only_the_strongest_words_stay_colored(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, report("text")), part="#top=20")
    chips = "[...document.querySelectorAll('#method-1 .pl-chip')].map(each => each.classList.contains('faint'))"
    assert browser.evaluate(chips) == [False, True, True, True]


def test_the_copy_button_copies_or_selects(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, report(text="pellucid explain")))
    browser.evaluate(
        "document.querySelector('pellucid-copy button').click(); new Promise(done => setTimeout(done, 50))"
    )
    assert browser.evaluate("document.querySelector('pellucid-copy button').textContent") in ("Copied", "Selected")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("signed", [True, False])
def test_the_filters_give_the_colors_of_the_scale(browser: Browser, tmp_path: Path, signed: bool, dark: bool) -> None:
    values = np.linspace(-1, 1, 8)[None].repeat(8, 0) if signed else np.linspace(0, 1, 8)[None].repeat(8, 0)
    plain = report()
    content = Content(
        title="x",
        modality="image",
        input=plain.input,
        prediction=plain.prediction,
        prediction_words="x",
        verdict="mixed",
        verdict_words="x",
        sentences=(),
        methods=(MethodView(name="x", figure=Heat(values=values, limit=1.0, signed=signed, under=big(8))),),
    )
    browser.open(written(tmp_path, content), dark=dark, part="#map=100")
    x, y, wide, high = browser.evaluate(
        "(box => [box.x + scrollX, box.y + scrollY, box.width, box.height])"
        "(document.querySelector('article .pl-map').getBoundingClientRect())"
    )
    pixels = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB"))
    row = round(y + high * 7.2 / 8)
    seen = np.array([pixels[row, round(x + wide * (i + 0.15) / 8)] for i in range(8)])
    wanted = 255 * table(signed, dark)[index(values[0], 1.0, signed)]
    assert np.abs(seen - wanted).max() <= 5


def test_it_can_be_printed(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, report()), dark=True)
    assert browser.printed().startswith(b"%PDF")
