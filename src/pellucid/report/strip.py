"""A check as a drawing: where the value stands on an axis with its controls."""

from __future__ import annotations

import math

from markupsafe import Markup

from pellucid.core.evidence import Check
from pellucid.show.charts import line
from pellucid.show.words import number


def strip(check: Check) -> Markup:
    """The value with its interval as a dot with a whisker, the controls as a band from their median to their 95 %."""
    control = check.control
    if control is None or check.value is None:
        return Markup()
    ends = [check.value, control.median, control.q95, *(check.interval or ())]
    if not all(map(math.isfinite, ends)):
        return Markup()
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 0.5

    def at(value: float) -> str:
        return f"{100 * (value - low + room) / (high - low + 2 * room):.2f}%"

    parts = [line("0%", "50%", "100%", "50%", "strip-axis")]
    left, right = sorted((control.median, control.q95))
    wide = f"{max(100 * (right - left) / (high - low + 2 * room), 0.5):.2f}%"
    parts.append(Markup('<rect class="strip-control" x="{}" y="20%" width="{}" height="60%"/>').format(at(left), wide))
    parts.append(line(at(control.median), "12%", at(control.median), "88%", "strip-median"))
    if check.interval:
        parts.append(line(at(check.interval[0]), "50%", at(check.interval[1]), "50%", "strip-whisker"))
    parts.append(Markup('<circle class="strip-value" cx="{}" cy="50%" r="5.5"/>').format(at(check.value)))
    words = f"value {number(check.value)}; controls: median {number(control.median)}, 95 % below {number(control.q95)}"
    return Markup('<svg class="strip" role="img" aria-label="{}">{}</svg>').format(words, Markup().join(parts))
