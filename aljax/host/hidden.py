"""Hidden folders, in which everything stands that is being written: ``.NAME.partial``, beside the place of NAME.

Each holds a lock file that is locked for as long as its process lives. So a place can be reserved, two processes never
write under the same name at once, and what a killed process left is known for what it is: the next one to write there
removes it.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from aljax.errors import UserError, one_line, plain_path, short

NEW, OLD = "new", "old"
"""In a hidden folder: what is being written, and what it will replace, each under its name in a folder of its own."""
_LOCK = "aljax.lock"
_PROBE = 64 * 1024
"""Bytes that are written to see whether there is room."""
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EBUSY})
"""Why a folder cannot be moved to a place: something stands there."""


def sweep(folder: str | Path) -> None:
    """Removes what killed processes left half-written in a folder, and puts back what they had moved aside.

    Args:
      folder: in which something was written.
    """
    with contextlib.suppress(OSError):
        for hidden in Path(folder).glob(hidden_name("*")):
            _clear(hidden)


def _clear(hidden: Path) -> None:
    """Removes a hidden folder, if no living process has it and it is one of ours."""
    with contextlib.suppress(OSError):
        if (hidden / _LOCK).exists():
            with _locked(hidden):
                pass
        elif not hidden.is_symlink():
            hidden.rmdir()  # ended before it was locked; fails if there is anything in it


def hidden_name(name: str) -> str:
    """The name of the hidden folder of what will be called so.

    Args:
      name: of what is written.

    Returns:
      ``.NAME.partial``; of a long name, its beginning and a hash.
    """
    if len(os.fsencode(name)) > 120:
        name = f"{name[:20]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}.partial"


@contextlib.contextmanager
def hidden_folder(parent: Path, name: str) -> Iterator[Path]:
    """The hidden folder of what will be called so, for this process alone; removed in the end.

    Args:
      parent: where it will stand.
      name: what it will be called there.

    Yields:
      The hidden folder, with an empty folder `NEW` in it.

    Raises:
      filelock.Timeout: a living process has it.
      OSError: it cannot be made.
    """
    folder = parent / hidden_name(name)
    with _locked(folder):
        (folder / NEW).mkdir()
        yield folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Takes a hidden folder, empties it before and removes it after.

    Raises:
      filelock.Timeout: a living process has it.
      OSError: it cannot be made.
    """
    if folder.is_symlink():
        raise FileExistsError(errno.EEXIST, f"{folder.name} is a symbolic link")
    file = folder / _LOCK
    lock = filelock.FileLock(file, timeout=0)
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        lock.acquire()  # if another process removed the folder just now, this makes it again
    except filelock.Timeout:
        raise
    except BaseException:  # a signal, for instance
        lock.release()
        _clear(folder)
        raise
    try:
        _restore(folder)
        _empty(folder)
        yield
    finally:
        try:
            _restore(folder)
            _empty(folder)
        finally:
            with contextlib.suppress(OSError):  # another process may want it, and take it over
                if os.name != "nt":
                    file.unlink()  # before it is free: nobody can lock a file that is no longer there
                    folder.rmdir()
            lock.release()
            if os.name == "nt":
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
                    folder.rmdir()


def _restore(folder: Path) -> None:
    """Puts back what was moved aside for something that never came."""
    if (folder / NEW).is_dir() and (folder / OLD).is_dir():
        for old in (folder / OLD).iterdir():
            if os.path.lexists(folder / NEW / old.name):
                put_beside(old, folder.parent / old.name)


def _empty(folder: Path) -> None:
    """Removes everything but the lock."""
    for item in (NEW, OLD):
        shutil.rmtree(folder / item, ignore_errors=True)


def names_beside(path: Path, numbered: bool) -> Iterator[Path]:
    """Names for a folder, the first choice first.

    Args:
      path: where it was asked for.
      numbered: ``path-1`` comes first, and `path` itself is none of them.

    Yields:
      Paths in the same folder, without end: `path`, ``path-2``, ``path-3``, ...
    """
    if not numbered:
        yield path
    for number in itertools.count(1 if numbered else 2):
        yield path.with_name(f"{path.name}-{number}")


def put(folder: Path, place: Path) -> bool:
    """Moves a folder to where nothing stands; False: something does.

    Where a rename replaces an empty folder, it replaces one that was made for it just before: only one process can.

    Args:
      folder: what is moved.
      place: where to.

    Returns:
      Whether it stands there now.
    """
    with _unless_taken():
        if os.name == "nt":  # where a rename replaces nothing
            folder.rename(place)
            return True
        place.mkdir()
        try:
            folder.rename(place)
        except OSError:
            with contextlib.suppress(OSError):
                place.rmdir()
            raise
        return True
    return False


def put_beside(folder: Path, place: Path) -> None:
    """Moves a folder to a place, or to the first beside it that is free.

    Args:
      folder: what is moved.
      place: where to, if that is free.
    """
    for name in names_beside(place, numbered=False):
        if put(folder, name):
            return


@contextlib.contextmanager
def _unless_taken() -> Iterator[None]:
    """Goes on after the block if a place was taken."""
    try:
        yield
    except OSError as error:
        if error.errno not in _TAKEN:
            raise


def probe(folder: Path) -> None:
    """Fails where there is no room to write.

    Args:
      folder: in which something will be written.
    """
    file = folder / "probe"
    with file.open("wb") as opened:
        opened.write(bytes(_PROBE))
        opened.flush()
        os.fsync(opened.fileno())
    file.unlink()


@contextlib.contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """Says in one line that a place cannot be written.

    Args:
      path: the place that the block writes to.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"{plain_path(path)}: cannot be written: {one_line(error.strerror or error)}") from None


def checked(path: str | Path) -> Path:
    """A path that can be one.

    Args:
      path: as the user gave it.

    Returns:
      The same as a `Path`.

    Raises:
      UserError: it holds what no name can hold, such as a NUL.
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UserError(f"{short(str(path))}: cannot be the name of a file")
    return Path(path)
