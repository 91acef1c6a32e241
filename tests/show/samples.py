"""A figure of every kind, with a text of one's choice in every place that takes one."""

from __future__ import annotations

import numpy as np

from pellucid.core.figure import Bars, Curve, Figure, Grid, Heat, Maps, MarkedText, Picture, Sheet, Tiles

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title><body onload=alert(1)>",
    '" onmouseover="alert(1)" style="color:red" x="',
    "' autofocus onfocus=alert(1) x='",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<base href=//evil.example><meta http-equiv=refresh content=0>",
    "<!-- --!> <![CDATA[ ]]> <?php ?>",
    "&#60;script&#62; &lt;b&gt; &quot;",
    "{{ 7 * 7 }} {% raw %} ${7*7} #{7} %s {0} {name}",
    "x\x00\x08\x1b[31m\x1b]0;title\x07\x9b31m\x7f\r\n\u2028",
    "cat\u202egpj.exe\u2066\u200f",
    "lone \ud800 surrogate",
    r"$\frac{ _x ^y \undefined$ $",
    "'; DROP TABLE x; -- `id` $(id)",
    "a" * 3000,
)


def figures(text: str = "word", seed: int = 0) -> dict[str, Figure]:
    """One figure of every kind; ``text`` stands wherever a text can stand."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    said = {"title": text, "caption": text, "alt": text}
    x = np.linspace(0, 1, 12)
    heat = Heat(values=random.normal(size=(8, 8)), limit=2.0, under=pixels, **said)
    words = tuple(f"{text} {i}" for i in range(4))
    return {
        "picture": Picture(pixels=pixels, **said),
        "heat": heat,
        "smooth heat": Heat(values=np.abs(random.normal(size=(7, 7))), limit=1.0, signed=False, under=big(), **said),
        "bare heat": Heat(values=random.normal(size=(2, 40)), limit=1.0, **said),
        "bars": Bars(labels=words, values=np.array([2.0, -1.0, 0.5, 0.0]), details=words, unit=text, **said),
        "waterfall": Bars(
            labels=words,
            values=np.array([2.0, -1.0, 0.5, 0.1]),
            details=words,
            errors=np.array([0.1, 0.2, 0.0, 0.1]),
            base=-1.0,
            total=0.7,
            unit=text,
            **said,
        ),
        "probabilities": Bars(
            labels=words, values=np.array([0.7, 0.2, 0.1, 0.0]), signed=False, unit="probability", **said
        ),
        "curve": Curve(
            x=x,
            lines={text: x, f"{text} 2": 1 - x},
            bands={text: (x - 0.1, x + 0.1)},
            x_label=text,
            y_label=text,
            **said,
        ),
        "text": MarkedText(
            tokens=words, values=np.array([1.0, -0.5, 0.0, 0.01]), limit=1.0, glue=(False, True, False, False), **said
        ),
        "plain text": MarkedText(tokens=words, values=np.zeros(4), limit=1.0, **said),
        "sheet": Sheet(header=(text, text), rows=((text, 1.5), (text, None), (text, True)), **said),
        "maps": Maps(values=random.normal(size=(3, 4, 4)), names=words[:3], limit=2.0, **said),
        "curves in cells": Maps(values=random.normal(size=(3, 9)), names=words[:3], limit=2.0, own=True, **said),
        "tiles": Tiles(
            rows=((pixels, pixels), (pixels,)), labels=((text, text), (text,)), row_names=(text, text), **said
        ),
        "grid": Grid(figures=(heat, Picture(pixels=pixels, **said)), **said),
    }


def big(side: int = 72) -> np.ndarray:
    """A picture with some structure."""
    y, x = np.mgrid[:side, :side] / side
    return (255 * np.stack([x, y, (x + y) / 2], -1)).astype(np.uint8)
