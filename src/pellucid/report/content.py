"""What a report says, as data. Every text in it may be hostile: the page escapes all of them."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.core.evidence import Evidence, Verdict
from pellucid.core.figure import Figure, Sheet


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodView:
    """One method's explanation: its picture, what it cost (``words``), and what is known about it (``evidence``).

    ``verdict`` defaults to that of the evidence. One that is not supported is shown hatched, with ``reason``: the words
    of the evidence unless given. ``units`` says what one value means. ``met`` are tables of the operations of the model
    that a method went back through.
    """

    name: str
    figure: Figure
    paper: str = ""
    words: str = ""
    units: str = ""
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    met: tuple[Sheet, ...] = ()

    def __post_init__(self) -> None:
        if self.evidence is not None:
            object.__setattr__(self, "verdict", self.verdict or self.evidence.verdict)
            object.__setattr__(self, "reason", self.reason or self.evidence.words)

    @property
    def fails(self) -> bool:
        """Whether the checks speak against it."""
        return self.verdict == "not supported"


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """Something more to say, with figures: why not another class, where the methods agree."""

    title: str
    words: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """A whole report on one input.

    First screen: ``input``, ``prediction`` (``prediction_words`` above its figure), the picture of the method number
    ``best``, ``verdict`` with ``verdict_words``, and ``sentences``. Then ``methods`` side by side with their evidence,
    ``more``, ``limits``, ``provenance`` (name, value), and ``reproduce``: the line that makes the report again.
    ``modality`` is the kind of input: image, text, table, series or tensor. ``best`` None: no picture is put forward.
    """

    title: str
    modality: str
    input: Figure
    prediction: Figure
    prediction_words: str
    verdict: Verdict
    verdict_words: str
    sentences: tuple[str, ...]
    methods: tuple[MethodView, ...]
    best: int | None = 0
    more: tuple[Section, ...] = ()
    limits: tuple[str, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()
    reproduce: str = ""

    @property
    def put_forward(self) -> MethodView | None:
        """The method whose picture stands on the first screen."""
        return None if self.best is None or not self.methods else self.methods[self.best]

    @property
    def figures(self) -> list[Figure]:
        """Every figure of the report."""
        more = [figure for section in self.more for figure in section.figures]
        return [self.input, self.prediction, *(each.figure for each in self.methods), *more]
