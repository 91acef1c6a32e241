"""Strata of words: those that carry meaning, and those that hold a sentence together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.evaluate.thresholds import WORDS_A_KIND

LISTED = """
a about after all also am an and any are as at be because been before being but by can could did do does doing
for from had has have having he her here hers him his how i if in into is it its itself just me more most my of
on once only or other our out over own s same she should so some such t than that the their them then there
these they this those through to too up us was we were what when where which while who whom why will with would
you your
"""
STOP = frozenset(LISTED.split())
"""Common English words without a meaning of their own; negations are left out, since they decide."""


def kinds(names: Sequence[str]) -> Tensor:
    """(n,) 1 for words that carry meaning, 0 for stop words and punctuation; all 0 where either kind has few.

    >>> kinds("the film was a joy to watch again .".split()).tolist()
    [0, 1, 0, 0, 1, 0, 1, 1, 0]
    """
    content = torch.tensor([name.lower() not in STOP and any(map(str.isalnum, name)) for name in names]).long()
    few = min(int(content.sum()), len(content) - int(content.sum())) < WORDS_A_KIND
    return torch.zeros_like(content) if few else content
