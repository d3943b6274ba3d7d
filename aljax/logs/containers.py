"""Documents of whatever kind of file: JSON, gzipped or not; the ZIP that Inspect writes; Parquet."""

import contextlib
import datetime
import importlib
import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aljax.errors import UserError, one_line, path_errors, plain, plain_path
from aljax.logs.documents import Document, documents
from aljax.logs.lines import opened

MOST = 16 * 2**30
"""Bytes that a member of a ZIP may unpack to."""
_ZSTD = 93
_LOCAL = struct.Struct("<26xHH")
_BATCH = 1_000


def documents_of(path: str | Path) -> Iterator[Document]:
    """Yields the documents of a file.

    Args:
      path: of the file; pipes hold JSON.

    Yields:
      Documents: of JSON see `aljax.logs.documents`; of a log of Inspect's a sample each, with what the log says of the
      whole; of Parquet a row each.

    Raises:
      UserError: one line with the file, and where: it cannot be read, is damaged, or needs a library that is not here.
    """
    begin = b""
    with path_errors(path):
        if Path(path).is_file():
            with Path(path).open("rb") as raw:
                begin = raw.read(4)
    if begin == b"PK\x03\x04":
        yield from _zipped(Path(path))
    elif begin == b"PAR1":
        yield from _rows_of_parquet(Path(path))
    else:
        with opened(path) as stream:
            yield from documents(stream, plain_path(path))


def _zipped(path: Path) -> Iterator[Document]:
    where = plain_path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            header = next((members[name] for name in ("header.json", "_journal/start.json") if name in members), None)
            samples = [
                member for name, member in members.items() if name.startswith("samples/") and name.endswith(".json")
            ]
            if header is None:
                raise UserError(
                    f"{where}: a ZIP without header.json or _journal/start.json: expected a log of Inspect's"
                )
            about = next((item.value for item in _member(archive, header, where)), None)
            log = about if isinstance(about, dict) else {}
            yield Document(1, {"version": log.get("version"), "eval": log.get("eval") or {}, "samples": []}, True)
            for member in samples:
                for item in _member(archive, member, where):
                    yield item._replace(value={"eval": log.get("eval") or {}, "samples": [item.value]})
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, struct.error) as error:
        raise UserError(f"{where}: damaged or unusual ZIP: {one_line(error)}") from None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Iterator[Document]:
    name = f"{where}, {plain(member.filename)}"
    if member.file_size > MOST:
        raise UserError(f"{name}: unpacks to {member.file_size:,} bytes, expected at most {MOST:,}")
    with _unpacked(archive, member, name) as stream:
        yield from documents(io.BufferedReader(stream), name)


@contextlib.contextmanager
def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Iterator[Any]:
    if member.compress_type != _ZSTD:
        with archive.open(member) as stream:
            yield stream
        return
    zstandard = library("zstandard", where, "zstd inside")
    with open(archive.filename or "", "rb") as raw:  # noqa: PTH123
        raw.seek(member.header_offset)
        name, extra = _LOCAL.unpack(raw.read(_LOCAL.size))
        raw.seek(name + extra, io.SEEK_CUR)
        try:
            yield zstandard.ZstdDecompressor().stream_reader(_Part(raw, member.compress_size))
        except zstandard.ZstdError as error:
            raise UserError(f"{where}: damaged: {one_line(error)}") from None


class _Part(io.RawIOBase):
    """So many bytes of a file from where it is."""

    def __init__(self, raw: Any, left: int):
        self.raw, self.left = raw, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self.raw.read(min(len(buffer), self.left))
        buffer[: len(found)] = found
        self.left -= len(found)
        return len(found)


def _rows_of_parquet(path: Path) -> Iterator[Document]:
    where = plain_path(path)
    arrow, parquet = (library(name, where, "Parquet") for name in ("pyarrow", "pyarrow.parquet"))
    number = itertools.count(1)
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    if arrow.types.is_timestamp(column.type):
                        to = arrow.timestamp("us", column.type.tz)
                        place = batch.schema.get_field_index(name)
                        batch = batch.set_column(place, name, column.cast(to, safe=False))
                for row in batch.to_pylist():
                    yield Document(next(number), {key: _plain(value) for key, value in row.items()}, True)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{where}, near row {next(number)}: damaged or unusual Parquet: {one_line(error)[:200]}"
        ) from None


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def library(name: str, where: str, what: str) -> Any:
    """A library that only some files need.

    Args:
      name: of the module.
      where: the file, for messages.
      what: in the file needs it.

    Returns:
      The module.

    Raises:
      UserError: it is not installed: which extra installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{where}: {what} needs {name.partition('.')[0]}: pip install 'aljax[traces]'") from None
