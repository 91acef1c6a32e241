"""Texts and numbers as painters print them: harmless, short, and with their sign."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

TOWARDS = "+\u00a0pushes\u00a0towards, −\u00a0pushes\u00a0away"
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
TURNS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u2028\u2029")
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def clean(text: Any) -> str:
    r"""Text without terminal escapes, control characters and marks that turn the direction of writing.

    >>> clean("tabby\x1b[31m cat\n\u202e")
    'tabby cat '
    """
    text = ESCAPES.sub("", str(text))
    text = re.sub(r"[\t\n\r\f\v]+", " ", text)
    return "".join(each for each in text if each not in TURNS and unicodedata.category(each) not in ("Cc", "Cs"))


def short(text: Any, most: int = 120) -> str:
    """Clean text of at most ``most`` characters.

    >>> short("a long name", 6)
    'a lon…'
    """
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: Any, digits: int = 3) -> str:
    """A number as people write it.

    >>> number(0.30000001), number(-12345678.0), number(float("nan")), number(2019.0, 4)
    ('0.3', '−1.23 × 10⁷', 'not a number', '2019')
    """
    value = float(value)
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" in text:
        size, power = text.split("e")
        whole = f"{value:,.0f}".replace(",", "\u202f" if abs(value) >= 1e4 else "")
        text = whole if 0 < int(power) < 6 else f"{size} × 10{str(int(power)).translate(RAISED)}"
    return text.replace("-", "−") if text != "-0" else "0"


def signed(value: Any, digits: int = 3) -> str:
    """A number with its sign always shown, zero without.

    >>> signed(0.421), signed(-3), signed(0)
    ('+0.421', '−3', '0')
    """
    text = number(value, digits)
    return "+" + text if float(value) > 0 else text


def percent(value: Any) -> str:
    r"""A share in percent.

    >>> percent(0.8714), percent(0.00042), percent(1)
    ('87.1\xa0%', '0.042\xa0%', '100\xa0%')
    """
    part = 100 * float(value)
    if not math.isfinite(part):
        return number(part)
    if 0 < part < 0.01:
        return "<\u00a00.01\u00a0%"
    text = f"{part:g}" if part in (0, 100) else f"{part:.1f}" if abs(part) >= 0.1 else f"{part:.2g}"
    return text + "\u00a0%"


def written(value: float, unit: str, signs: bool, largest: float) -> str:
    r"""A value of a figure, with as many decimals as the largest needs; probabilities in percent.

    >>> written(0.2, "", True, 1.42), written(-0.00012, "", True, 1.42), written(0.5, "probability", False, 1.0)
    ('+0.20', '−0.00012', '50.0\xa0%')
    """
    if unit == "probability":
        return percent(value)
    fine = 2 - math.floor(math.log10(largest)) if 0.001 <= largest < 1000 else 0
    if not fine or not math.isfinite(value) or 0 < abs(value) < 0.5 * 10.0**-fine:
        return signed(value) if signs else number(value)
    text = f"{value:+.{fine}f}" if signs and value else f"{value:.{fine}f}"
    return text.replace("-", "−")


def cell(value: Any) -> str:
    """A cell of a table.

    >>> cell(0.12345), cell(7), cell(None), cell(True)
    ('0.123', '7', '–', 'yes')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else clean(value)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> columns("ab"), columns("日本"), columns("e\u0301")
    (2, 4, 1)
    """
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
