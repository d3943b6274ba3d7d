"""Rows of JSON-lines files as they come and go: files, devices and pipes, gzipped or not, in bounded memory."""

import contextlib
import gzip
import hashlib
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from aljax.errors import UserError, one_line, path_errors, plain_path, short
from aljax.host.files import whole_file

LONGEST = 64 * 2**20
"""Bytes of a row at most: a file without line ends, or one that unzips to such, may not fill the memory."""
_CHUNK = 2**18
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


class Lines:
    """The rows of one file, to be iterated once, and what its bytes hash to after the last."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._hash = hashlib.sha256()
        self._rows = self._read()

    @property
    def sha256(self) -> str:
        """Of the bytes that were read."""
        return self._hash.hexdigest()

    def first(self) -> dict[str, Any] | None:
        """The row to come, which stays to be iterated.

        Returns:
          The row, without its number; None: there is none.

        Raises:
          UserError: as iterating does.
        """
        found = next(self._rows, None)
        if found is None:
            return None
        self._rows = itertools.chain([found], self._rows)
        return found[1]

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Gives rows with their numbers, from 1; blank ones count and are left out.

        Raises:
          UserError: one line with file and row: no such file, damaged, no JSON object, longer than `LONGEST`.
        """
        return self._rows

    def _read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields rows with their numbers, from 1; blank ones count and are left out.

        Raises:
          UserError: one line with file and row: no such file, damaged, no JSON object, longer than `LONGEST`.
        """
        number = 0
        with path_errors(self.path), self.path.open("rb", buffering=0) as raw:
            try:
                for number, line in enumerate(_lines(raw, self._hash), 1):
                    if len(line) > LONGEST:
                        raise UserError(f"{self}, row {number}: longer than {LONGEST / 2**20:g} MiB")
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")  # what some editors begin UTF-8 files with
                    if line and not line.isspace():
                        yield number, self._row(number, line)
            except _DAMAGED as error:
                raise UserError(f"{self}, after row {number}: damaged or truncated gzip: {one_line(error)}") from None

    def __str__(self) -> str:
        """The path, for messages."""
        return plain_path(self.path)

    def _row(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"{self}, row {number}: not JSON: {one_line(error)}") from None
        if not isinstance(row, dict):
            raise UserError(f"{self}, row {number}: expected a JSON object, got {short(row)}")
        return row


def _lines(raw: io.RawIOBase, sha256: Any) -> Iterator[bytes]:
    """Lines of a file, unzipped; one that is too long is cut where that shows."""
    stream = _unzipped(_Source(raw, sha256))
    while line := stream.readline(LONGEST + 1):
        yield line


def _unzipped(source: "_Source") -> BinaryIO:
    """The bytes of a file, or what they unzip to."""
    stream: Any = io.BufferedReader(source, _CHUNK)
    if source.begin == b"\x1f\x8b":
        unzipped: Any = gzip.GzipFile(fileobj=stream)
        stream = io.BufferedReader(unzipped, _CHUNK)
    return stream


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file, device or pipe to be read as bytes, unzipped where it is gzipped.

    Args:
      path: of the file.

    Yields:
      Its bytes.

    Raises:
      UserError: one line: no such file, or damaged where it is read.
    """
    with path_errors(path), Path(path).open("rb", buffering=0) as raw:
        try:
            yield _unzipped(_Source(raw, hashlib.sha256()))
        except _DAMAGED as error:
            raise UserError(f"{plain_path(path)}: damaged or truncated gzip: {one_line(error)}") from None


@contextlib.contextmanager
def created(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file to write rows to, gzipped if its name ends in ``.gz``, whole or not at all.

    Args:
      path: where.

    Yields:
      What takes bytes.

    Raises:
      UserError: the place cannot be written.
    """
    with whole_file(path) as place, place.open("wb") as raw:
        if Path(path).suffix != ".gz":
            yield raw
            return
        # No time of day and no name inside: the same rows give the same bytes.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
            yield cast(BinaryIO, stream)


class _Source(io.RawIOBase):
    """A file's bytes, hashed as they pass; its first two were looked at, which pipes cannot do without reading."""

    def __init__(self, raw: io.RawIOBase, sha256: Any):
        self.raw, self.sha256 = raw, sha256
        self.begin = self.waiting = raw.read(1) or b""
        if self.begin:
            self.begin = self.waiting = self.begin + (raw.read(1) or b"")
        sha256.update(self.begin)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.waiting:
            found, self.waiting = self.waiting[: len(buffer)], self.waiting[len(buffer) :]
            buffer[: len(found)] = found
            return len(found)
        count = self.raw.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count
