"""Who may work in a sweep's folder: one process alone, or several that share the work out among them."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from aljax.errors import UserError, path_errors, plain_path
from aljax.sweeps.identity import ABOUT, LOCK, recorded_lanes
from aljax.sweeps.space import Spec
from aljax.sweeps.store import Store

_FINISHING = ".finishing"
_WORKER = ".worker-"
"""How the locks begin that processes hold which share a folder, one each."""
_PATIENCE = 60
"""Seconds to wait for a lock that is only held for a moment."""


class SharedStore(Store):
    """The folder of a sweep that several processes work on, whose study deals the work out."""

    def begin(self, spec: Spec, lanes: int) -> None:
        """See `Store.begin`; the folder is made if it is not there."""
        with path_errors(self.folder, "cannot be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
        with _held(self.folder / LOCK, _PATIENCE):
            super().begin(spec, lanes)

    @contextlib.contextmanager
    def joined(self, first: Callable[[], None]) -> Iterator[None]:
        """At work on it from here on.

        Args:
          first: called if no other process is: then whatever is at work was left by one that was stopped.
        """
        mine = self.folder / f"{_WORKER}{secrets.token_hex(8)}"
        with contextlib.ExitStack() as stack:
            with _held(self.folder / LOCK, _PATIENCE):
                alive = [_is_alive(path) for path in self.folder.glob(f"{_WORKER}*")]
                if not any(alive):
                    self.clear()
                    first()
                stack.enter_context(_held(mine, 0))
            try:
                yield
            finally:
                mine.unlink(missing_ok=True)

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """One of the processes at a time."""
        with _held(self.folder / _FINISHING, -1):
            yield


@contextlib.contextmanager
def opened(folder: Path, spec: Spec) -> Iterator[Store]:
    """The folder of a sweep, made if it is new, for this process alone.

    Args:
      folder: where.
      spec: what the sweep is.

    Yields:
      The folder's store; what killed processes left in it is removed.

    Raises:
      UserError: it cannot be written, holds something else, or another process is at work on it.
    """
    recorded_lanes(folder, spec)  # before anything is made
    with _made(folder), _held(folder / LOCK, 0):
        recorded_lanes(folder, spec)  # it may have been made meanwhile
        store = Store(folder)
        store.clear()
        yield store


@contextlib.contextmanager
def shared(folder: Path, spec: Spec) -> Iterator[SharedStore]:
    """The folder of a sweep, made if it is new, for this process and others like it.

    Args:
      folder: where.
      spec: what the sweep is.

    Yields:
      The folder's store.

    Raises:
      UserError: it cannot be written, holds something else, or a process works on it that shares it with none.
    """
    recorded_lanes(folder, spec)
    with _made(folder):
        with _held(folder / LOCK, _PATIENCE):
            recorded_lanes(folder, spec)
        yield SharedStore(folder)


def _is_alive(worker: Path) -> bool:
    """Whether the process that made a lock lives; else the lock is removed."""
    try:
        with _held(worker, 0):
            worker.unlink(missing_ok=True)
    except BusyError:
        return True
    return False


class BusyError(UserError):
    """Another process holds the lock."""


@contextlib.contextmanager
def _held(path: Path, wait: float) -> Iterator[None]:
    """Holds a lock file. Seconds to wait; below 0: as long as it takes."""
    lock = filelock.FileLock(path)
    with path_errors(path, "cannot be locked"):
        try:
            lock.acquire(timeout=wait)
        except filelock.Timeout:
            raise BusyError(f"{plain_path(path.parent)}: another process is at work on this sweep") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes a folder; one that was made for nothing is removed again."""
    with path_errors(folder, "cannot be written"):
        there = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not there and not os.path.lexists(folder / ABOUT):
            with contextlib.suppress(OSError):  # something else is in it now
                (folder / LOCK).unlink()
                folder.rmdir()
