"""The page of a model: whole without scripts, light, escaped, no wider than its window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.demo import parts
from pellucid.report.portrait import portrait_of
from pellucid.report.tree import MOST, tree_of
from tests.report.browser import CHROMIUM, Browser
from tests.show.samples import PAYLOADS

DEMOS = ("digits", "breast-cancer", "sentences")


def inspected(name: str, **options: Any) -> Any:
    chosen = {"units": 2, "layers": 2, "steps": 2, "examples": 3, "name": f"demo:{name}", **options}
    return pl.inspect(pl.load(f"demo:{name}"), parts(name).examples[:40], **chosen)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: inspected(name).html() for name in DEMOS}


def hostile(text: str) -> Any:
    """A network whose layers, kinds and classes are named like this, with a finding that names a layer."""
    named = text.replace(".", "_")[:300]
    kind = type(named, (nn.Linear,), {})
    net = nn.Sequential()
    net.add_module(named, kind(3, 4))
    net.add_module("relu", nn.ReLU())
    net.add_module(f"{named} last", kind(4, 2))
    with torch.no_grad():
        net[0].bias[1] = -99.0
    model = pl.Model(net, inputs=pl.Table(columns=(text, "b", "c")), classes=(text, "other"))
    return pl.inspect(model, torch.randn(30, 3), units=2, steps=2, name=text, command=text)


def test_the_first_screen_says_what_the_model_is(pages: dict[str, str]) -> None:
    page = pages["digits"]
    first = page[page.index("<h1") : page.index("First-layer filters")]
    for words in ("This DigitsNet reads pictures of 1 × 8 × 8", "63,346 parameters", "multiply–adds", "dead units"):
        assert words in first
    assert "synthesized" in page
    assert "natural" in page


@pytest.mark.parametrize("name", DEMOS)
def test_the_page_is_alone_and_light(pages: dict[str, str], name: str) -> None:
    page = pages[name]
    assert len(page) < 400_000
    assert "default-src 'none'" in unescape(page)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert page.count("<script") == 1
    assert not re.search(r"\son\w+=|\sstyle=", page.split("</style>")[1])


@pytest.mark.parametrize("text", [each for each in PAYLOADS if each], ids=range(len([p for p in PAYLOADS if p])))
def test_hostile_names_are_text(text: str) -> None:
    try:
        page = hostile(text).html()
    except (KeyError, ValueError) as error:  # torch and Python themselves refuse some names
        pytest.skip(str(error))
    body = page.split("</head>")[1]
    assert body.count("<script") == 1
    assert not re.search(
        r"<(?:img|iframe|base|object|embed|meta|body on|a href=.?javascript)", body.partition("<body>")[2]
    )
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_the_tree_has_every_part_once_and_its_numbers(pages: dict[str, str]) -> None:
    found = inspected("digits")
    (root,), _ = tree_of(found)

    def count(node: Any) -> int:
        return 1 + sum(map(count, node.inside))

    assert count(root) == len(found.anatomy.parts)
    assert root.parameters == "63,346"
    assert [each.last for each in root.inside] == ["stem", "block1", "down", "block2", "pool", "head"]
    assert root.inside[0].inside[0].sees == "3 × 3"
    page = pages["digits"]
    assert page.count('class="part part-leaf"') == len(found.anatomy.layers)


def test_a_very_large_tree_is_cut_and_says_so() -> None:
    net = nn.Sequential(*(nn.Sequential(*(nn.Identity() for _ in range(40))) for _ in range(MOST // 20)))
    found = pl.inspect(net, torch.rand(3, 2), layers=0, steps=0)
    (root,), told = tree_of(found)
    assert len(root.inside) == MOST // 20
    assert "6,000 parts at the lowest levels are left out" in told


def test_a_table_shows_the_columns_that_matter() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 2), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, 7] = 1.0
        net[0].weight[1, 2] = -1.0
    model = pl.Model(net, inputs=pl.Table(columns=tuple("abcdefghijkl")))
    content = portrait_of(pl.inspect(model, torch.randn(200, 12), layers=1, steps=0))
    first, second = (unit.examples.rows for unit in content.layers[0].units)
    assert first[0][0] == "h"
    assert first[0][3].startswith("+")
    assert second[0][0] == "c"
    assert second[0][3].startswith("−")


def test_findings_stand_with_their_evidence() -> None:
    page = hostile("plain").html()
    assert "dead units" in page
    assert "largest activation" in page
    assert "Nothing odd" not in page


def test_save_writes_whole_files_and_notebooks_show_sentences(tmp_path: Path) -> None:
    found = inspected("digits", steps=0)
    assert found.save(tmp_path / "model.html").read_text("utf-8") == found.html()
    assert not list(tmp_path.glob("*.part"))
    assert "This DigitsNet" in found._repr_html_()
    assert "<script>" not in hostile("<script>x</script>")._repr_html_()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.mark.parametrize("name", DEMOS)
def test_nothing_complains_and_nothing_sticks_out(
    browser: Browser, tmp_path: Path, pages: dict[str, str], name: str
) -> None:
    path = tmp_path / "model.html"
    path.write_text(pages[name], encoding="utf-8")
    for width in (1280, 400):
        for dark in (False, True):
            browser.open(path, width=width, dark=dark)
            wide, window = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert (window, browser.messages) == (width, [])
            assert wide <= window, f"{name} at {width} pixels"


def test_hostile_names_do_nothing_in_a_browser_and_parts_open_without_scripts(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "model.html"
    path.write_text(hostile(" ".join(each for each in PAYLOADS if len(each) < 300)).html(), encoding="utf-8")
    browser.open(path, width=400)
    assert browser.messages == []
    assert browser.evaluate("document.querySelectorAll('script, iframe, img, base, a[href^=j]').length") == 1
    wide, window = browser.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window
    browser.open(path, scripts=False)
    seen = "[...document.querySelectorAll('.part-leaf')].filter(each => each.getClientRects().length).length"
    assert browser.evaluate(seen) == 3
