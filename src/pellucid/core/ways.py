"""Ways back: what a change of the backward pass may be told, beside being entered.

A way is called with the module and gives a context for one pass. It, or the object whose method it is, may also have:
``layers``, the names of layers it looks into, which must then be as the user wrote them; ``piece(rows)``, told before a
pass which rows go through it; where one pass serves several targets, ``reading(number)``, told before each is read,
``turn(number)``, told before each answer backwards, and ``retell(first, number)``, which takes over what another way
noted on such a pass, for the target of that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def owner(way: Any) -> Any:
    """The object that keeps a way's books."""
    return getattr(way, "__self__", way)


def tell(ways: Sequence[Any], verb: str, *told: Any) -> None:
    """Tell those that listen."""
    for way in ways:
        listens = getattr(owner(way), verb, None)
        if listens is not None:
            listens(*told)


def layers_of(ways: Sequence[Any]) -> list[str]:
    """The layers that ways look into."""
    return [name for way in ways for name in getattr(owner(way), "layers", ())]


def can_share(ways: Sequence[Any]) -> bool:
    """Whether one pass may serve several questions: every way can say afterwards what it noted for which."""
    return all(hasattr(owner(way), "retell") for way in ways)
