"""What readers of traces give: spans, what is known of whole traces besides, and what they had to leave out.

Every format is read into these and nothing else; one way leads from here to an agent log (`aljax.logs.assembly`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from aljax.errors import UserError
from aljax.logs.values import amount, moment, text

ODD = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError, RecursionError)
"""What reading something of another shape than its format has comes to."""
NOTES = ("session", "task", "logger", "root", "reason", "seconds", "events")
"""What may be known of a trace besides its spans; ``root`` is a logger's name that any other precedes; ``events``: its
spans, those of messages aside, are all there is."""
MESSAGE = "message "
"""How the ids of spans begin that stand for messages of a conversation."""


class Span(NamedTuple):
    """Something that took place in a trace: a call, or what holds calls."""

    trace: str
    id: str
    """A trace has each once; several spans of one id are one span, told in parts."""
    parent: str | None = None
    start: int | None = None
    """Nanoseconds since 1970."""
    end: int | None = None
    """None: it did not end, or nobody saw it."""
    kind: str | None = None
    """``tool``, ``llm``, ``clarify``, ``escalate`` as in an agent log; none: it holds others."""
    name: str | None = None
    failed: bool | None = None
    """None: nobody says."""
    error: str | None = None
    """Its class."""
    in_tokens: float | None = None
    out_tokens: float | None = None
    dollars: float | None = None
    model: str | None = None
    agent: str | None = None
    """Who acted, if the span says."""
    by: str | None = None
    """``user``: a tool that the user ran."""


class Store(Protocol):
    """Where spans and notes are kept until all have been read."""

    def add_span(self, span: Span) -> None:
        """Keeps a span."""
        ...

    def add_note(self, trace: str, what: str, value: str) -> None:
        """Keeps what is known of a trace."""
        ...

    def add_score(self, trace: str, name: str, value: float) -> None:
        """Keeps a score of a trace, from 0 to 1."""
        ...


class Intake:
    """Takes what a reader finds in documents, and counts what has to be left out."""

    def __init__(self, store: Store, task: str | None = None):
        """Keeps what it takes in a store; ``task`` is the attribute that names a trace's task, none: as readers say."""
        self._store, self.task = store, task
        self.spans = 0
        self.skipped: Counter[str] = Counter()
        # Of late: spans say again and again what their trace's session is.
        self._told: set[tuple[str, str, Any]] = set()

    def span(self, span: Span) -> None:
        """Takes a span."""
        self.spans += 1
        self._store.add_span(span)

    def note(self, trace: str | None, what: str, value: Any) -> None:
        """Takes what is known of a trace: one of `NOTES`; nothing where the value is none."""
        if what == "task" and self.task is not None:
            return
        self._note(trace, what, value)

    def about(self, trace: str | None, *tables: Mapping[str, Any]) -> None:
        """Takes a trace's task from the attribute that was said to name it, out of the first table that has it."""
        if self.task is not None:
            found = (text(table.get(self.task)) for table in tables)
            self._note(trace, "task", next(filter(None, found), None))

    def _note(self, trace: str | None, what: str, value: Any) -> None:
        if not trace or value is None or value == "" or (trace, what, value) in self._told:
            return
        if len(self._told) > 10_000:
            self._told.clear()
        self._told.add((trace, what, value))
        self._store.add_note(trace, what, str(value)[:500])

    def score(self, trace: str | None, name: Any, value: Any) -> None:
        """Takes a score: true or false, a number from 0 to 1, or a word for either."""
        found = truth(value)
        if not trace or not isinstance(name, str) or found is None:
            self.skip("scores that are neither true nor false nor from 0 to 1")
        else:
            self._store.add_score(trace, name[:200], found)

    def amount(self, value: Any) -> float | int | None:
        """See `aljax.logs.values.amount`; what is there and no number is counted."""
        found = amount(value)
        if found is None and value is not None and value != "":
            self.skip("numbers that are none, or below 0")
        return found

    def moment(self, value: Any) -> int | None:
        """See `aljax.logs.values.moment`; what is there and no moment is counted."""
        found = moment(value)
        if found is None and value is not None and value != "":
            self.skip("times that are none")
        return found

    def skip(self, reason: str, number: int = 1) -> None:
        """Counts what is left out."""
        self.skipped[reason] += number

    def each(self, rows: Any, take: Callable[[Any], None], what: str = "spans") -> None:
        """Takes every row of a list; a row that is none is left out and counted.

        What cannot be kept, as on a full disk, is no matter of the row: that is raised.

        Args:
          rows: of a document; no list counts as one odd row.
          take: reads one.
          what: the rows are, for the count.
        """
        if rows is None:
            return
        if not isinstance(rows, Iterable) or isinstance(rows, str | dict):
            self.skip(f"{what} of a wrong type")
            return
        for row in rows:
            try:
                take(row)
            except UserError:
                raise
            except ODD:
                self.skip(f"{what} of a wrong type")


TRUE = frozenset({"true", "yes", "pass", "passed", "correct", "success", "succeeded", "c", "resolved", "complete"})
"""Words for a success."""
FALSE = frozenset(
    {"false", "no", "fail", "failed", "incorrect", "failure", "wrong", "i", "n", "unresolved", "incomplete"}
)
"""Words for none."""


def truth(value: Any) -> float | None:
    """How far a score says that it succeeded.

    Args:
      value: true or false, a number from 0 to 1, or a word; ``P`` is half.

    Returns:
      From 0 to 1; none: it says nothing of the kind.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE or word in FALSE:
            return float(word in TRUE)
        return 0.5 if word in ("p", "partial") else None
    if isinstance(value, bool | int | float) and 0 <= value <= 1:
        return float(value)
    return None
