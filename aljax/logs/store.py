"""Spans of many traces on disk, until their traces can be read whole: memory does not grow with them.

Spans of one trace may lie anywhere in any number of files, and sessions join traces in the end; so all are kept, small,
in a temporary database that the operating system forgets with the process, and come back episode by episode.
"""

import itertools
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from aljax.errors import UserError
from aljax.logs.spans import Span

_BATCH = 5_000
_COLUMNS = ", ".join(Span._fields)
_SCHEMA = f"""
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -32768;
CREATE TABLE spans ({_COLUMNS.replace("end", '"end"')});
CREATE TABLE notes (trace, what, value);
CREATE TABLE scores (trace, name, value);
"""
# What a trace is said to be several times over is the least of it: the order of files and rows does not matter.
_GROUP = """
CREATE INDEX notes_of ON notes (trace, what, value); CREATE INDEX scores_of ON scores (trace);
CREATE TABLE traces (trace PRIMARY KEY, first, episode) WITHOUT ROWID;
INSERT INTO traces SELECT trace, MIN(COALESCE(start, "end")), COALESCE(
  (SELECT MIN(value) FROM notes WHERE notes.trace = spans.trace AND what = 'session'), trace) FROM spans GROUP BY trace;
CREATE TABLE episodes (episode PRIMARY KEY, began) WITHOUT ROWID;
INSERT INTO episodes SELECT episode, MIN(first) FROM traces GROUP BY episode;
"""
_READ = f"""
SELECT t.episode, {", ".join(f's."{name}"' for name in Span._fields)}
FROM spans s JOIN traces t USING (trace) JOIN episodes e USING (episode)
ORDER BY e.began IS NULL, e.began, t.episode, t.first IS NULL, t.first, s.trace, s.id
"""


class Trace(NamedTuple):
    """A trace, whole."""

    id: str
    spans: list[Span]
    """Each id once."""
    notes: dict[str, str]
    """Of `aljax.logs.spans.NOTES`."""
    scores: list[tuple[str, float]]
    """Name and value, from 0 to 1."""


class DiskStore:
    """Keeps spans, and gives them back trace by trace; a context manager."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # no name: a file that nobody else sees
        self._base.executescript(_SCHEMA + "BEGIN;")
        self._spans: list[tuple] = []
        self._places = f"INSERT INTO spans VALUES ({', '.join('?' * len(Span._fields))})"
        self._scored = False
        self.repeated = 0
        """Spans that were told again."""

    def __enter__(self) -> "DiskStore":
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()

    def add_span(self, span: Span) -> None:
        """See `aljax.logs.spans.Store.add_span`."""
        self._spans.append(tuple(span))  # exact tuples are bound faster
        if len(self._spans) >= _BATCH:
            self._flush()

    def add_note(self, trace: str, what: str, value: str) -> None:
        """See `aljax.logs.spans.Store.add_note`."""
        self._execute("INSERT INTO notes VALUES (?, ?, ?)", (trace, what, value))

    def add_score(self, trace: str, name: str, value: float) -> None:
        """See `aljax.logs.spans.Store.add_score`."""
        self._scored = True
        self._execute("INSERT INTO scores VALUES (?, ?, ?)", (trace, name, value))

    def episodes(self) -> Iterator[tuple[str, list[Trace]]]:
        """Gives back what was kept; nothing can be added any more.

        Yields:
          Episodes' names with their traces, by when they began.

        Raises:
          UserError: the disk is full.
        """
        self._flush()
        try:
            self._base.executescript(_GROUP)
            rows = self._base.execute(_READ)
            for episode, of_episode in itertools.groupby(rows, lambda row: row[0]):
                traces = []
                for trace, of_trace in itertools.groupby(of_episode, lambda row: row[1]):
                    traces.append(Trace(trace, self._merged(of_trace), self._notes(trace), self._scores(trace)))
                if episode != traces[-1].id:
                    traces[-1].scores.extend(self._scores(episode))  # of the session
                yield episode, traces
        except sqlite3.Error as error:
            raise _refuse(error) from None

    def _merged(self, rows: Iterator[tuple]) -> list[Span]:
        """Spans, each id once."""
        found: list[Span] = []
        for row in rows:
            span = Span._make(row[1:])
            if found and found[-1].id == span.id:
                found[-1] = merged(found[-1], span)
                self.repeated += 1
            else:
                found.append(span)
        return found

    def _notes(self, trace: str) -> dict[str, str]:
        query = "SELECT what, MIN(value) FROM notes WHERE trace = ? GROUP BY what"
        return dict(self._base.execute(query, (trace,)))

    def _scores(self, trace: str) -> list[tuple[str, float]]:
        if not self._scored:
            return []
        query = "SELECT DISTINCT name, value FROM scores WHERE trace = ? ORDER BY 1, 2"
        return list(self._base.execute(query, (trace,)))

    def _flush(self) -> None:
        try:
            self._base.executemany(self._places, self._spans)
        except sqlite3.Error as error:
            raise _refuse(error) from None
        self._spans.clear()

    def _execute(self, query: str, values: tuple) -> None:
        try:
            self._base.execute(query, values)
        except sqlite3.Error as error:
            raise _refuse(error) from None


def merged(one: Span, other: Span) -> Span:
    """Two accounts of one span as one: what either says, and of what both say the later end, the failure, the larger.

    Args:
      one: a span.
      other: of the same trace and id.

    Returns:
      The span, whichever of them came first.
    """
    return Span._make(_either(*pair) for pair in zip(one, other, strict=True))


def _either(one, other):
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _refuse(error: sqlite3.Error) -> UserError:
    return UserError(f"spans cannot be kept in the folder for temporary files (TMPDIR, SQLITE_TMPDIR): {error}")
