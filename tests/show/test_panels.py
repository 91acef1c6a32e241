"""Forces, dots, matrices and borders: what they say, how they are laid out, and that text stays text."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.figure import Bars, Figure, Force, Grid, Heat, Matrix, Points
from pellucid.engines.swarm import ACROSS, HIGH, swarm
from pellucid.show.html import fragment
from pellucid.show.layers import pictures
from pellucid.show.panels import segments, shade
from pellucid.show.pixels import borders
from tests.show.samples import PAYLOADS, big
from tests.show.test_painters import ON, Structure


def panels(text: str = "word") -> dict[str, Figure]:
    """One figure of every new kind; ``text`` stands wherever a text can stand."""
    random = np.random.default_rng(0)
    said = {"title": text, "caption": text, "alt": text}
    names = tuple(f"{text} {i}" for i in range(4))
    x, y, shades = random.normal(size=(3, 12))
    rows = np.repeat(np.arange(4.0), 3)
    force = {"labels": names, "details": names, "values": np.array([2.0, -1.0, 0.5, 0.0]), "unit": text}
    return {
        "force": Force(**force, base=0.5, total=2.0, **said),
        "force with a gap": Force(**force, base=0.5, total=9.0, **said),
        "rows": Points(x=x, y=rows, shades=shades, rows=names, shade_label=text, x_label=text, y_label=text, **said),
        "scatter": Points(x=x, y=y, shades=shades, shade_ends=(text, text), shade_label=text, **said),
        "levels": Points(x=rows, y=y, columns=names, x_label=text, y_label=text, **said),
        "matrix": Matrix(
            values=random.normal(size=(4, 4)), row_names=names, column_names=names, limit=1.0, sense=text, **said
        ),
        "thin matrix": Matrix(
            values=random.normal(size=(40, 4)),
            row_names=(names[0], *[""] * 19, names[1], *[""] * 19),
            column_names=names,
            limit=1.0,
            breaks=(20,),
            **said,
        ),
        "edges": Heat(
            values=random.normal(size=(8, 8)), limit=1.0, under=big(), edges=np.arange(64).reshape(8, 8), **said
        ),
        "sense": Bars(labels=names, values=np.array([1.0, -1.0, 0.5, 0.1]), sense=text, **said),
    }


KINDS = list(panels())


@pytest.mark.parametrize("kind", KINDS)
def test_html_has_no_scripts_and_no_style_attributes(kind: str) -> None:
    found = Structure(panels()[kind].html())
    assert found.tags
    for tag, *names in found.tags:
        assert tag not in ("script", "iframe", "object", "embed", "link", "img", "base", "meta", "form")
        assert "style" not in names
        assert not [name for name in names if ON.match(name)]
    assert all(address.startswith("data:image/") for address in found.addresses)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_changes_no_structure(payload: str) -> None:
    long = {kind: Structure(figure.html()).tags for kind, figure in panels("a" * 200).items()}
    for kind, figure in panels(payload + "x" * 200).items():
        drawn = figure.html()
        drawn.encode("utf-8")
        assert Structure(drawn).tags == long[kind], kind
    for kind, figure in panels(payload).items():
        text = figure.text()
        assert {unicodedata.category(each) for each in text if each != "\n"}.isdisjoint({"Cc", "Cs", "Cf"}), kind


@pytest.mark.parametrize("text", ["word", PAYLOADS[0], PAYLOADS[14], PAYLOADS[17]])
def test_matplotlib_draws(text: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph|constrained_layout|There are no gridspecs")
        for figure in panels(text).values():
            file = io.BytesIO()
            figure.plot().savefig(file, format="png", dpi=30)
            assert file.getvalue().startswith(b"\x89PNG")
        Grid(figures=tuple(panels().values())).plot()


def test_a_force_leads_from_the_baseline_to_the_score() -> None:
    values = np.array([0.5, -1.0, 2.0, 0.25, -0.125, 0.0])
    force = Force(labels=tuple("abcdef"), values=values, base=1.0, total=1.0 + values.sum())
    parts = segments(force)
    assert [each.label for each in parts] == ["c", "a", "d", "b", "e"], "up by size, then down by size"
    assert parts[0].start == 1.0
    assert all(one.end == two.start for one, two in pairwise(parts))
    assert parts[-1].end == pytest.approx(force.total)
    text = force.text()
    assert "3 parts push up, +2.75 together: c (+2.00), a (+0.50), d (+0.25)" in text
    assert "2 parts push down" in text
    assert "not accounted for" not in text
    assert "not accounted for: +1" in Force(labels=("a",), values=np.array([1.0]), base=0.0, total=2.0).html()


def test_many_parts_of_a_force_stand_together() -> None:
    values = np.r_[np.arange(1.0, 21.0), -1.0]
    force = Force(labels=tuple(f"part {i}" for i in range(21)), values=values, base=0.0, total=values.sum())
    assert "20 parts push up, +210.0 together" in force.text().replace("\n  ", " ")
    assert "12 others together" in force.text()
    assert sum(each.value for each in segments(force)) == pytest.approx(values.sum())


def test_what_is_not_a_number_and_what_is_nothing() -> None:
    empty, nan = np.zeros(0), np.full(3, np.nan)
    for each in (
        Force(labels=(), values=empty, base=0.0, total=0.0),
        Force(labels=tuple("abc"), values=nan, base=1.0, total=1.0),
        Points(x=empty, y=empty),
        Points(x=nan, y=nan, shades=nan),
        Points(x=nan, y=nan, rows=tuple("abc")),
        Points(x=empty, y=empty, rows=("a",)),
        Matrix(values=np.full((2, 2), np.nan), row_names=("a", "b"), column_names=("a", "b"), limit=1.0),
    ):
        assert each.html()
        assert isinstance(each.text(), str)
        each.plot().savefig(io.BytesIO(), format="png", dpi=30)


def test_a_matrix_prints_numbers_where_it_is_small_and_its_limits_always() -> None:
    small, large = panels()["matrix"], panels()["thin matrix"]
    assert isinstance(small, Matrix)
    cells = re.findall(r'<td class="pl-[pnz]\d*">([^<]*)</td>', small.html())
    assert len(cells) == 16
    assert all(cells)
    assert not any(re.findall(r'<td class="pl-[pnz]\d*">([^<]*)</td>', large.html()))
    assert large.html().count("rowspan") == 2
    for each in (small, large):
        assert "−1" in each.html()
        assert "+1" in each.html()
    hole = Matrix(values=np.array([[np.nan, 1.0]]), row_names=("a",), column_names=("x", "y"), limit=1.0)
    assert '<td class="pl-none"></td>' in hole.html()


def test_signs_say_what_they_mean() -> None:
    bars = Bars(labels=("a", "b"), values=np.array([1.0, -1.0]), sense="+ lowers the loss, − raises it")
    for drawn in (bars.html(), bars.text()):
        assert "+ lowers the loss" in drawn
        assert "towards" not in drawn
    assert "towards" in Bars(labels=("a",), values=np.array([1.0])).text()


def test_no_dot_is_too_pale_to_be_seen() -> None:
    assert [shade(each) for each in (-1.0, 0.0, 0.5, 1.0, 2.0)] == ["u3", "u3", "u9", "u16", "u16"]


def test_borders_are_where_labels_change() -> None:
    labels = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    lines, rows, across = borders(labels)
    assert (rows, across) == (3, 3)
    assert sorted(lines) == [(0, 2, 3, 2), (2, 0, 2, 2)]
    assert borders(np.zeros((5, 4), dtype=int))[0] == []
    assert borders(np.arange(1000 * 500).reshape(1000, 500) // 250_000)[1] == 256


def test_borders_are_drawn_alone_and_on_pages() -> None:
    figure = panels()["edges"]
    paper, _ = pictures([figure])
    assert 'class="pl-edge"' in figure.html()
    assert 'class="pl-edge"' in fragment(figure, paper)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40))
def test_dots_do_not_lie_on_each_other(numbers: list[float]) -> None:
    x = np.array(numbers)
    offsets = swarm(x[:, None])[:, 0]
    assert (np.abs(offsets) <= 0.42 + 1e-9).all()
    width = max(np.ptp(np.append(x, 0.0)), 1e-300) / ACROSS
    pressed = np.isclose(np.abs(offsets).max(), 0.42)
    if not pressed:
        apart = np.hypot((x[:, None] - x) / width, (offsets[:, None] - offsets) * HIGH)
        assert apart[np.triu_indices(len(x), 1)].min(initial=9) >= 1 - 1e-6
    np.testing.assert_array_equal(offsets, swarm(x[:, None])[:, 0])
