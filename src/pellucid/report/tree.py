"""The tree of a model's parts, as the page shows it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

MOST = 3000
OPEN = 14


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """A line of the tree, with the lines inside of it."""

    last: str
    kind: str
    shape: str
    calls: int
    parameters: str
    cost: str
    share: float | None
    sees: str
    dead: int
    idle: str
    open: bool
    inside: tuple[Node, ...]


def tree_of(inspection: Any) -> tuple[tuple[Node, ...], str]:
    """The root with all that is inside, and how to read it; of very many parts, the upper ones."""
    parts = inspection.anatomy.parts
    deepest = depth_of(parts)
    inside: dict[str, list[Any]] = defaultdict(list)
    for each in parts[1:]:
        if each.name.count(".") < deepest:
            inside[each.name.rpartition(".")[0]].append(each)
    left = sum(each.name.count(".") >= deepest for each in parts[1:])
    dead = dead_of(inspection)
    root = node(inspection, parts[0], inside, dead, 0)
    told = "Open a part to see what is inside. Parameters and multiply–adds of a part are those of all that is inside."
    if any(inspection.sees.values()):
        told += " “sees” is the receptive field of a unit, in places of the input."
    if dead:
        told += " “dead” counts units that were never active on the data; those of a part, of all inside."
    return (root,), told + (f" {left:,} parts at the lowest levels are left out." if left else "")


def depth_of(parts: Any) -> int:
    """How many levels can be shown."""
    depths = [each.name.count(".") for each in parts[1:]]
    for level in range(1, max(depths, default=0) + 1):
        if sum(depth < level + 1 for depth in depths) > MOST:
            return max(level, 1)
    return max(depths, default=0) + 1


def dead_of(inspection: Any) -> dict[str, int]:
    """Dead units by the name of a module; what goes in where a function rectified counts for the layer it goes into."""
    from pellucid.features.symptoms import unique

    found: dict[str, int] = defaultdict(int)
    for name, each in unique(inspection.statistics) if inspection.statistics is not None else ():
        layer = name.partition(":")[0].partition("@")[0]
        found[layer] += int(each.dead.sum())
    return found


def node(inspection: Any, part: Any, inside: dict[str, list[Any]], dead: dict[str, int], depth: int) -> Node:
    """A part and what is inside."""
    children = inside[part.name] if part.name or depth == 0 else []
    whole = inspection.anatomy.whole.multiply_adds
    cost = part.multiply_adds
    below = [n for name, n in dead.items() if not part.name or name == part.name or name.startswith(f"{part.name}.")]
    never = inspection.anatomy.met and not part.calls
    return Node(
        last=(part.name.rpartition(".")[2] if part.name else inspection.name),
        kind=part.kind,
        shape="not called" if never and part.leaf else "" if part.shape is None else " × ".join(map(str, part.shape)),
        calls=part.calls,
        parameters=f"{part.parameters:,}" if part.parameters else "",
        cost=short_number(cost) if cost else "",
        share=round(100 * cost / whole, 1) if cost and whole else None,
        sees=" × ".join("all" if each is None else str(each) for each in sees_of(inspection, part)),
        dead=sum(below),
        idle="0" if below else "",
        open=depth == 0 or (depth == 1 and len(inside[""]) <= 3 and len(children) <= OPEN),
        inside=tuple(node(inspection, each, inside, dead, depth + 1) for each in children),
    )


def sees_of(inspection: Any, part: Any) -> tuple[int | None, ...]:
    """The receptive field, once where all axes are alike and nothing is seen of less."""
    found = inspection.sees.get(part.name, ())
    return (None,) if found and all(each is None for each in found) else tuple(found)


def short_number(n: int) -> str:
    """A large number in a narrow column.

    >>> short_number(950), short_number(13824), short_number(68862592)
    ('950', '13.8 k', '68.9 M')
    """
    for size, name in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {name}"
    return str(n)
