"""Every number that decides a check: fixed before any result was seen, in one place, and none of them an option.

What was measured with them (false alarms, power) is in ``tests/evaluate`` and in the docs.
"""

from __future__ import annotations

from typing import Final

ALPHA: Final = 0.05
"""A faithfulness check passes if p, corrected by Holm for all explanations checked together, is at most this."""

STRONG: Final = 0.7
"""An agreement of at least this that wrong maps reach too often is not held against a map: the parts are too few."""

CONTROLS: Final = 999
"""Wrong maps that an explanation is compared with; no p-value can be below 1 / (this + 1)."""

FEWEST_CONTROLS: Final = 20
"""With fewer different wrong maps than this, p cannot come down to 5 %: the check is not testable."""

MASKS: Final = {"quick": 128, "full": 512}
"""Hidings in the bank of one input."""

SCRAMBLED_MASKS: Final = {"quick": 64, "full": 512}
"""Of these, how many each scrambled model is asked, too."""

SHARES: Final = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
"""Shares of the parts that are hidden together, each by a quarter of the masks; compared within a share only."""

PARTS_A_SIDE: Final = {1: 32, 2: 7, 3: 4}
"""Parts along each axis of a series, a picture, a volume; each place by itself where there are at most two more."""

FINER: Final = 4
"""Cells along each axis of a part on which wrong maps are made and maps are compared."""

WORDS_A_HALF: Final = 20
"""Words are dealt within each half of a text if both have at least this many, else in all of it."""

WORDS_A_KIND: Final = 4
"""Words that carry meaning are dealt apart from the others if there are at least this many of both."""

GLOBAL_ROWS: Final = 8
"""Background rows on which the average importance of a table's columns is measured, once a model and class."""

ROUNDING: Final = 32.0
"""Differences below this many rounding errors of the largest score are no differences."""

BANK_NOISE: Final = 2.0
"""Not testable if |f(x) − f(all hidden)| is within this many standard errors of the bank's mean drop."""

SATURATED: Final = 0.01
"""Not testable if a probability moves by less than this, whatever is hidden."""

COMPLETE_WITHIN: Final = 0.05
"""Values that claim to add up may miss this share of f(x) − f(baseline)."""

SCRAMBLES: Final = 2
"""Models with scrambled weights."""

MOST_COPIED: Final = 4 * 10**9
"""Bytes that the weights of all scrambled models may take together; larger models are not testable in this way."""

CALIBRATION: Final = 8
"""Inputs (whole, empty and hidden in parts) on which batch-norms of a scrambled model are set."""

ALIKE: Final = 0.8
"""A map that is this similar (rank correlation of sizes) to maps of scrambled models does not show what was learned."""

FEWEST_PLACES: Final = 5
"""With fewer places that are not zero, similarity to maps of scrambled models is chance."""

STEADY: Final = 0.7
"""Maps of hardly changed inputs must be at least this similar (rank correlation) to the map."""

NEIGHBORS: Final = 4
"""Hardly changed inputs."""

NOISE_OF_RANGE: Final = 0.02
"""Width of the change for pictures, series and embedded words, as a share of the input's range."""

NOISE_OF_COLUMN: Final = 0.1
"""Width of the change for a table's column, as a share of its standard deviation in the background rows."""

NOISE_OF_SIZE: Final = 0.05
"""Width of the change for other numbers, as a share of their own size."""

QUIETER: Final = (1.0, 0.25, 0.0625)
"""The change is made smaller by these factors, one after the other, until the top class stays."""

MOVED: Final = 0.1
"""If the answer moves by more than this share of f(x) − f(all hidden), an unsteady map is not held against it."""

RESAMPLES: Final = 400
"""Bootstrap samples of the masks for an interval of 95 %."""

QUICK_NUMBERS: Final = 1_200_000
"""In the quick tier an explanation is repeated only if each repetition sends at most this many numbers through the
model (8 pictures of 224 × 224), or an eighth of the rows of the explanation itself; else with fewer draws or steps."""

TOKEN_WIDTH: Final = 512
"""Numbers that a token id stands for in that count."""

MOST_ELEMENTS: Final = 1024
"""Inputs without spatial axes or columns and with more elements than this are hidden in that many runs of neighbors."""

KINDS: Final = ("faithfulness", "weights", "stability")
"""Kinds of checks that can speak for an explanation; two are needed. Completeness can only speak against it."""
