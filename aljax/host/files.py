"""Files: written whole or not at all, into whatever the path is, and read no further than is sensible."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from aljax.errors import UserError, one_line, plain, plain_path, short
from aljax.host.hidden import NEW, checked, hidden_folder, in_one_line, probe, sweep

_UNMOVABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV})
"""Why a file may be writable where nothing can be moved into its place: its folder is not, or it is a mount point."""


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A file that appears under its name only when the block ends well.

    Symbolic links are followed; a file that is replaced keeps its mode, and its owner where that is allowed; a new one
    gets what the umask says. What cannot be replaced is written into at the end: a device, a pipe, an open file of this
    process such as ``/dev/stdout``, or a file in whose folder nothing can be moved.

    Args:
      path: where it will stand.

    Yields:
      Where to write it: elsewhere, under the same name.

    Raises:
      UserError: the place cannot be written.
    """
    path = checked(path)
    with in_one_line(path):
        target = _Target.of(path)
        with target.room() as folder:
            file = folder / NEW / target.real.name
            file.touch(0o666)
            yield file
            target.put(file)


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file whole or not at all.

    Args:
      path: the file.
      value: what JSON can say: tables, lists, text, numbers, truths, nothing.

    Raises:
      UserError: the place cannot be written, or a number is not finite, which JSON cannot say.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    except ValueError:
        raise UserError(f"{plain_path(path)}: not written: {_not_finite(value)}") from None
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")


def _not_finite(value: Any, key: str = "") -> str:
    """The first number in a tree that is not finite, with its key; empty: there is none."""
    if isinstance(value, (dict, list, tuple)):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        found = (_not_finite(inner, f"{key}.{name}" if key else str(name)) for name, inner in entries)
        return next(filter(None, found), "")
    return f"{key} is {value}, not finite" if isinstance(value, float) and not math.isfinite(value) else ""


def check_writable(path: str | Path) -> None:
    """Refuses a file's place before the work that would fill it is done, and clears what killed processes left there.

    Nothing is written into what stands there, and a pipe is not opened.

    Args:
      path: the file that will be written.

    Raises:
      UserError: the folder is missing, full or cannot be written, or the path is a folder.
    """
    path = checked(path)
    with in_one_line(path):
        target = _Target.of(path)
        sweep(target.parent)
        with target.room() as folder:
            probe(folder / NEW)


@dataclasses.dataclass(frozen=True)
class _Target:
    """What a file's path stands for."""

    real: Path
    """Behind all symbolic links."""
    found: os.stat_result | None
    """What stands there, if anything does."""
    descriptor: int | None
    """The open file of this process that it is."""

    @classmethod
    def of(cls, path: Path) -> "_Target":
        """Looks at a path.

        Raises:
          UserError: a folder stands there.
          OSError: it cannot be written.
        """
        descriptor = _descriptor(path)
        if descriptor is not None:
            found = os.fstat(descriptor)
            if not stat.S_ISSOCK(found.st_mode):
                os.write(descriptor, b"")  # tells whether it is open for writing
            return cls(path, found, descriptor)
        real = Path(os.path.realpath(path))
        try:
            found = path.stat()
        except FileNotFoundError:
            return cls(real, None, None)
        if stat.S_ISDIR(found.st_mode):
            raise UserError(f"{plain_path(path)}: is a folder, expected the name of a file to write")
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return cls(real, found, None)

    @property
    def replaceable(self) -> bool:
        """A new file can take its place."""
        return self.descriptor is None and (self.found is None or stat.S_ISREG(self.found.st_mode))

    @property
    def parent(self) -> Path:
        """Where what is not complete is kept."""
        return self.real.parent if self.replaceable else Path(tempfile.gettempdir())

    @contextlib.contextmanager
    def room(self) -> Iterator[Path]:
        """A hidden folder to write in: beside the place, if a file can be moved from there."""
        name = f"{self.real.name}.{secrets.token_hex(4)}"
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(hidden_folder(self.parent, name))
            except OSError as error:
                if self.found is None or not self.replaceable or error.errno not in _UNMOVABLE:
                    raise
                folder = stack.enter_context(hidden_folder(Path(tempfile.gettempdir()), name))
            yield folder

    def put(self, file: Path) -> None:
        """Moves or writes a finished file to its place."""
        with file.open("r+b") as written:
            os.fsync(written.fileno())
        if self.replaceable:
            self._match(file)
            try:
                os.replace(file, self.real)
                return
            except OSError as error:
                if self.found is None or error.errno not in _UNMOVABLE:
                    raise
        try:
            with file.open("rb") as source, self._stream() as target:
                shutil.copyfileobj(source, target)
        except BrokenPipeError:
            raise UserError(f"{plain_path(self.real)}: cannot be written: nobody reads from it any more") from None

    def _match(self, file: Path) -> None:
        """Gives a new file the owner and mode of the one that it replaces."""
        if self.found is None:
            return
        mine = file.stat()
        if (mine.st_uid, mine.st_gid) != (self.found.st_uid, self.found.st_gid):
            with contextlib.suppress(OSError):  # of another user: only the superuser may
                os.chown(file, self.found.st_uid, self.found.st_gid)
        file.chmod(stat.S_IMODE(self.found.st_mode))

    def _stream(self) -> BinaryIO:
        """Opens what is written into."""
        if self.descriptor is None:
            regular = self.found is not None and stat.S_ISREG(self.found.st_mode)
            flags = os.O_WRONLY | (os.O_TRUNC if regular else getattr(os, "O_NOCTTY", 0))
            return os.fdopen(os.open(self.real, flags), "wb")
        for stream in filter(None, (sys.stdout, sys.stderr)):  # what was printed before stands before it
            stream.flush()
        return os.fdopen(os.dup(self.descriptor), "wb")


def _descriptor(path: Path) -> int | None:
    """The number of the open file of this process that a path stands for, as ``/dev/stdout`` or ``/dev/fd/3`` does."""
    for _ in range(40):
        parent = os.path.realpath(path.parent)
        if path.name.isdecimal() and re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}/(task/\d+/)?fd", parent):
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(parent, path.readlink())
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


_LIMIT = 64 * 2**20
"""Bytes of the largest file that is read at once: far more than any of ours has."""


def digests(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Size and hash of every file in a folder and below, by its path from there, for a manifest.

    Args:
      folder: which.

    Returns:
      For each file ``size`` in bytes and ``sha256``.
    """
    folder = Path(folder)
    found = sorted(item for item in folder.rglob("*") if item.is_file())
    return {item.relative_to(folder).as_posix(): fingerprint(item) for item in found}


def fingerprint(file: str | Path) -> dict[str, Any]:
    """Size and hash of a file, for manifests.

    Args:
      file: its path.

    Returns:
      ``size`` in bytes and ``sha256``.

    Raises:
      UserError: it is no file.
      OSError: it cannot be read.
    """
    with open_regular(file) as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return {"bytes": opened.tell(), "sha256": digest}


def check_digests(folder: str | Path, listed: Any, needed: Iterable[str] = ()) -> None:
    """Compares the files of a folder with what its manifest lists.

    Args:
      folder: where.
      listed: what `digests` gave, as it was read back; may be anything.
      needed: files that must be listed.

    Raises:
      UserError: one line naming the file that is missing, damaged, changed or not listed.
    """
    folder = Path(folder)
    if not isinstance(listed, Mapping):
        raise UserError(f"{plain_path(folder)}: its manifest lists no files: damaged")
    for name in needed:
        if name not in listed:
            raise UserError(f"{plain_path(folder / name)}: not listed in the manifest: missing or damaged")
    for name, expected in listed.items():
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name or not parts.parts:
            raise UserError(f"{plain_path(folder)}: its manifest lists {short(name)}, which is not in the folder")
        if not isinstance(expected, Mapping) or not {"bytes", "sha256"} <= set(expected):
            raise UserError(f"{plain_path(folder / name)}: the manifest says neither its size nor its hash: damaged")
        file = folder / name
        try:
            found = fingerprint(file) if file.stat().st_size == expected["bytes"] else {"bytes": file.stat().st_size}
        except FileNotFoundError:
            raise UserError(f"{plain_path(file)}: missing") from None
        except OSError as error:
            raise UserError(f"{plain_path(file)}: cannot be read: {error.strerror}") from None
        if found["bytes"] != expected["bytes"]:
            raise UserError(
                f"{plain_path(file)}: {found['bytes']} bytes, expected {short(expected['bytes'])}: truncated or changed"
            )
        if found["sha256"] != expected["sha256"]:
            raise UserError(f"{plain_path(file)}: contents differ from the manifest: changed or damaged")


def open_regular(file: str | Path) -> io.BufferedReader:
    """Opens a file to read; a device or a pipe, which may never end, is refused.

    Args:
      file: its path.

    Returns:
      The open file, of bytes.

    Raises:
      UserError: it is no regular file.
      OSError: it cannot be read.
    """

    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    opened = open(file, "rb", opener=without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise UserError(f"{plain_path(file)}: expected a regular file")
    return opened


def read_bytes(file: str | Path, limit: int = _LIMIT) -> bytes:
    """What a regular file holds.

    Args:
      file: its path.
      limit: bytes that it may have.

    Returns:
      Its bytes.

    Raises:
      UserError: it is no regular file, is larger than `limit` bytes, or cannot be read.
    """
    try:
        with open_regular(checked(file)) as opened:
            # No more than there is: a buffer of all that there might be may be more than the memory has.
            data = opened.read(min(limit, os.fstat(opened.fileno()).st_size) + 1)
    except OSError as error:
        raise UserError(f"{plain_path(file)}: cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise UserError(f"{plain_path(file)}: more than {limit:,} bytes: expected a file of ours")
    return data


def _finite(text: str) -> float:
    """A number that JSON has, and double precision holds."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{short(text)} is not finite")
    return value


def read_json(file: str | Path, limit: int = _LIMIT) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
      file: its path.
      limit: bytes that it may have.

    Returns:
      The object, as Python has it.

    Raises:
      UserError: see `read_bytes`, or it is no JSON object.
    """
    data = read_bytes(file, limit)
    try:
        found = json.loads(data.decode("utf-8"), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{plain_path(file)}: no valid JSON: {plain(one_line(error), 200)}") from None
    if not isinstance(found, dict):
        raise UserError(f"{plain_path(file)}: expected a JSON object")
    return found
