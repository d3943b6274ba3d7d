"""JSON documents of any file, in memory that does not grow with it.

A file may hold one document a line, one over many lines, several after each other, or one as large as itself. One
larger than `PIECE` is handed out in pieces of its own shape: what holds a long list comes again and again, each time
with the next part of the list beside what stood before it. So a reader sees ``{"resourceSpans": [...]}`` either way.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from aljax.errors import UserError, one_line, short

PIECE = 4 * 2**20
"""Bytes of a document that are read at once, about; it takes some ten times as much memory as objects."""
LONGEST = 64 * 2**20
"""Bytes of a single text or number at most."""
SMALL = 2**16
"""Bytes of a member of an object at most that stays beside what comes after a piece."""
DEEPEST = 12
"""Levels at which a document that is too large may be taken apart."""
_CHUNK = 2**18
_TRIES = 4
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[{}\[\]]', re.DOTALL)
_BLANK = b" \t\r\n"
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")
_PLAIN_END = re.compile(rb"[ \t\r\n,\]}]")


class Document(NamedTuple):
    """One JSON value of a file, or a piece of it."""

    row: int
    """Of the line on which it begins, from 1."""
    value: Any
    whole: bool
    """Not a piece of a larger one."""


def documents(stream: Any, where: str) -> Iterator[Document]:
    """Yields the documents of a stream of bytes as they come.

    Args:
      stream: buffered, with ``read`` and ``readline``; unzipped already.
      where: the file, for messages.

    Yields:
      Documents; blank lines are left out.

    Raises:
      UserError: one line with file and row: no JSON, a text longer than `LONGEST`, nested too deeply.
    """
    row = 1
    while line := stream.readline(PIECE):
        if row == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # what some editors begin UTF-8 files with
        if line.endswith(b"\n") or len(line) < PIECE:
            try:
                if not line.isspace():
                    yield Document(row, orjson.loads(line), True)
                row += 1
                continue
            except orjson.JSONDecodeError:
                pass
        source = _Source(stream, line, where, row)
        while source.skip_blanks():  # a document over several lines, or several on one
            begin = source.row
            whole = source.take()
            if whole is not None:
                yield Document(begin, source.loads(whole, begin), True)
            else:
                yield from (Document(begin, piece, False) for piece in _pieces(source, lambda value: value, 0))
            if source.at_line_end():
                break
        row = source.row


def _pieces(source: "_Source", wrap: Callable[[Any], Any], depth: int) -> Iterator[Any]:
    """Takes a value apart that is too large: its parts, each in what it lies in."""
    if depth > DEEPEST:
        raise source.refuse("too large, and nested too deeply to be taken apart")
    if source.peek() == b"[":
        yield from _list_pieces(source, wrap, depth)
    elif source.peek() == b"{":
        yield from _object_pieces(source, wrap, depth)
    else:
        raise source.refuse(f"a text longer than {LONGEST / 2**20:g} MiB")


def _list_pieces(source: "_Source", wrap: Callable[[Any], Any], depth: int) -> Iterator[Any]:
    source.expect(b"[")
    if source.peek() == b"]":
        source.expect(b"]")
        return
    batch: list[Any] = []
    size, many = 0, True
    while True:
        parts = source.take_many() if many else None
        if parts is not None:
            yield wrap(parts)
        else:
            many = False  # values of another kind, or few are left: one by one, from here on
            part = source.take()
            if part is not None:
                batch.append(source.loads(part, source.row))
                size += len(part)
            if batch and (part is None or size > PIECE):
                yield wrap(batch)
                batch, size = [], 0
            if part is None:
                yield from _pieces(source, lambda value: wrap([value]), depth + 1)
        if source.expect(b",]") == b"]":
            break
    if batch:
        yield wrap(batch)


def _object_pieces(source: "_Source", wrap: Callable[[Any], Any], depth: int) -> Iterator[Any]:
    source.expect(b"{")
    before: dict[str, Any] = {}
    small: dict[str, Any] = {}
    size = kept = new = 0
    while source.peek() != b"}":
        key_bytes = source.take() if source.peek() == b'"' else None
        if key_bytes is None:
            raise source.refuse("not JSON: expected a key of an object")
        key = source.loads(key_bytes, source.row)
        source.expect(b":")
        part = source.take()
        if part is None:
            context = dict(before)
            yield from _pieces(source, lambda value, key=key, context=context: wrap(context | {key: value}), depth + 1)
            new = 0
        else:
            before[key] = source.loads(part, source.row)
            size += len(part)
            new += 1
            if len(part) <= SMALL and kept + len(part) <= PIECE // 4:
                small[key] = before[key]
                kept += len(part)
            if size > PIECE:
                yield wrap(before)
                before, size, new = dict(small), kept, 0
        if source.expect(b",}") == b"}":
            break
    else:
        source.expect(b"}")
    if new:
        yield wrap(before)


def _mended(data: bytes) -> Any:
    """What JSON says that has half characters in its texts, as models' answers that were cut do, or NaN for numbers.

    Raises:
      ValueError: it is none all the same.
    """
    found = json.loads(data.decode(errors="replace"), strict=False, parse_constant=lambda word: None)
    return orjson.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))


class _Source:
    """Bytes of a stream from where they are on, of which values can be taken."""

    def __init__(self, stream: Any, data: bytes, where: str, row: int):
        self.stream, self.where, self.row = stream, where, row
        self.data, self.at, self.ended = data, 0, False

    def refuse(self, text: str, row: int | None = None) -> UserError:
        """A complaint about where it is."""
        return UserError(f"{self.where}, row {self.row if row is None else row}: {text}")

    def loads(self, data: bytes, row: int) -> Any:
        """What JSON says.

        Raises:
          UserError: it is none.
        """
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            try:
                return _mended(data)
            except (ValueError, RecursionError):
                raise self.refuse(f"not JSON: {one_line(error)}", row) from None

    def fill(self, most: int) -> bool:
        """Reads on; false: the stream has ended."""
        if self.ended:
            return False
        more = self.stream.read(most)
        self.data, self.at, self.ended = self.data[self.at :] + more, 0, not more
        return bool(more)

    def advance(self, end: int) -> bytes:
        """The bytes up to a place, which are behind it from then on."""
        passed = self.data[self.at : end]
        self.row += passed.count(b"\n")
        self.at = end
        return passed

    def skip_blanks(self) -> bool:
        """Goes to the next byte that is not blank; false: there is none."""
        while True:
            found = _NOT_BLANK.search(self.data, self.at)
            self.advance(found.start() if found else len(self.data))
            if found:
                return True
            if not self.fill(_CHUNK):
                return False

    def at_line_end(self) -> bool:
        """Whether nothing is left of what was read up to a line's end, which is then behind it."""
        while self.at < len(self.data) and self.data[self.at : self.at + 1] in (b" ", b"\t", b"\r"):
            self.at += 1
        if self.at < len(self.data) - 1 or self.data[self.at : self.at + 1] not in (b"\n", b""):
            return False
        self.advance(len(self.data))
        return True

    def peek(self) -> bytes:
        """The next byte that is not blank.

        Raises:
          UserError: there is none: the document is cut short.
        """
        if not self.skip_blanks():
            raise self.refuse("not JSON: cut short")
        return self.data[self.at : self.at + 1]

    def expect(self, of: bytes) -> bytes:
        """Takes one of some bytes.

        Raises:
          UserError: another one is there.
        """
        found = self.peek()
        if found not in of:
            raise self.refuse(f"not JSON: expected {' or '.join(map(chr, of))}, got {short(found.decode('latin-1'))}")
        self.advance(self.at + 1)
        return found

    def take(self) -> bytes | None:
        """Takes the value that begins here; none: it is larger than `PIECE`, and stays.

        Raises:
          UserError: it is cut short, or a text longer than `LONGEST`.
        """
        first, begin, depth = self.peek(), self.row, 0
        limit = LONGEST if first == b'"' else PIECE
        place = self.at
        if first not in b'{["':
            return self._take_plain()
        while True:
            for token in _TOKEN.finditer(self.data, place):
                sign = self.data[token.start()]
                if sign == 0x22:
                    if not token[1]:
                        place = token.start()
                        break
                else:
                    depth += 1 if sign in b"{[" else -1
                if depth <= 0:
                    return self.advance(token.end())
            else:
                place = len(self.data)
            done = place - self.at
            if len(self.data) - self.at > limit:
                if first == b'"':
                    raise self.refuse(f"a text longer than {LONGEST / 2**20:g} MiB", begin)
                return None
            if not self.fill(max(_CHUNK, len(self.data) - self.at)):
                raise self.refuse("not JSON: cut short", begin)
            place = self.at + done

    def _take_plain(self) -> bytes:
        """Takes a number or a word."""
        while True:
            end = _PLAIN_END.search(self.data, self.at)
            if end:
                return self.advance(end.start())
            if len(self.data) - self.at > 10_000 or not self.fill(_CHUNK):
                return self.advance(len(self.data))

    def take_many(self) -> list[Any] | None:
        """Takes as many of a list's values as make about a piece, if it can see where one ends; none: it cannot.

        Most lists hold objects that begin alike. Where the last such beginning is one in truth, what stands before it
        is a list of values; JSON, read from its beginning, can be cut in no other place.
        """
        while len(self.data) - self.at < PIECE and self.fill(PIECE):
            pass
        self.peek()
        key = self.data.find(b":", self.at, self.at + 200)
        if key < 0 or self.data[self.at : self.at + 1] != b"{":
            return None
        sign, last = self.data[self.at : key + 1], len(self.data)
        for _ in range(_TRIES):
            last = self.data.rfind(sign, self.at + 1, last)
            end = len(self.data[self.at : last].rstrip(_BLANK)) + self.at - 1 if last > self.at else -1
            if end <= self.at:
                return None
            if self.data[end : end + 1] == b",":
                with contextlib.suppress(orjson.JSONDecodeError):
                    found = orjson.loads(b"[" + self.data[self.at : end] + b"]")
                    self.advance(end)
                    return found
        return None
