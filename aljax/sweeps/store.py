"""A sweep's folder: what it is, every finished chunk of it, and in the end its results.

Chunks are files of their own, each written whole; a sweep that was stopped anywhere goes on with what is not in one.
When all results are written they are removed, and the manifest, written last before that, says that it is complete.
Whatever is read back is compared with a hash that was taken when it was written: a chunk's is in its name, those of the
results are in the manifest, and ``sweep.json`` holds its own.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from aljax.errors import UserError, one_line, path_errors, plain, plain_path, short
from aljax.host import files
from aljax.host.hidden import sweep
from aljax.host.numerics import difference, numerics
from aljax.sweeps.space import Spec

TABLE, CURVES = "table.parquet", "curves.npz"
"""The results."""
_FORMAT = 2
_ABOUT, _CHUNKS, _COMPLETE = "sweep.json", "chunks", "manifest.json"
_LOCK, _FINISHING = ".lock", ".finishing"
_WORKER = ".worker-"
"""How the locks begin that processes hold which share a folder, one each."""
_PATIENCE = 60
"""Seconds to wait for a lock that is only held for a moment."""
_LARGEST_CHUNK = 2**32
"""Bytes that a chunk may have; more is none of ours."""

Put = Callable[[np.ndarray, Mapping[str, np.ndarray]], None]
"""Takes in what a chunk holds: items, and an array a figure."""


class Store:
    """The folder of one sweep."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.chunks = folder / _CHUNKS

    @property
    def complete(self) -> bool:
        """All results are there."""
        return os.path.lexists(self.folder / _COMPLETE)

    def begin(self, spec: Spec, lanes: int) -> None:
        """Records what the sweep is, unless that is recorded already.

        Raises:
          UserError: another process recorded another sweep, or other lanes, meanwhile.
        """
        recorded = recorded_lanes(self.folder, spec)
        if recorded is None:
            what = _jsonable(spec.fingerprint())
            described = {"format": _FORMAT, "sha256": _digest(what, lanes), "lanes": lanes, "sweep": what}
            files.write_json(self.folder / _ABOUT, described | numerics())
        agreed_lanes(plain_path(self.folder), recorded, lanes)
        if not self.complete:
            with path_errors(self.folder, "cannot be written"):
                self.chunks.mkdir(exist_ok=True)

    def write_chunk(self, kind: str, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a finished chunk, whole or not at all, under a name that holds its hash."""
        held = io.BytesIO()
        np.savez(held, allow_pickle=False, items=items, **arrays)
        data = held.getbuffer()
        with files.whole_file(self.chunks / f"{kind}-{int(items[0]):09d}-{_hash(data)}.npz") as file:
            file.write_bytes(data)

    def read_chunks(self, kind: str, put: Put) -> None:
        """Takes in all finished chunks of a kind.

        Raises:
          UserError: a file that is damaged, or does not belong to this sweep.
        """
        for path in sorted(self.chunks.glob(f"{kind}-*.npz")):
            try:
                data = files.read_bytes(path, _LARGEST_CHUNK)
                if not path.stem.endswith(f"-{_hash(data)}"):
                    raise ValueError("contents differ from the hash in its name: changed or damaged")
                with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                    found = {name: arrays[name] for name in arrays.files}
                put(found.pop("items"), found)
            except Exception as error:  # zipfile, zlib and numpy raise a wide variety
                reason = f"cannot be read ({plain(one_line(error), 200)}); delete it, and its runs will be done again"
                raise UserError(f"{plain_path(path)}: {reason}") from None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Says that the results are complete, and drops the chunks that they were made of."""
        hashes = {name: files.fingerprint(self.folder / name) for name in (_ABOUT, TABLE, CURVES)}
        files.write_json(self.folder / _COMPLETE, {"format": _FORMAT, "files": hashes, **summary})
        self.tidy()

    def verify(self) -> None:
        """Compares complete results with the manifest.

        Raises:
          UserError: one line naming the file that is damaged, and what to do.
        """
        try:
            manifest = files.read_json(self.folder / _COMPLETE)
            if manifest.get("format") != _FORMAT:
                raise UserError(f"{self.folder / _COMPLETE}: of format {short(manifest.get('format'))}: damaged")
            files.check_digests(self.folder, manifest.get("files"), (_ABOUT, TABLE, CURVES))
        except UserError as error:
            again = f"to do the sweep again, delete {plain_path(self.folder / _COMPLETE)} and repeat the command"
            raise UserError(f"{plain(one_line(error), 600)}; {again}") from None

    def clear(self) -> None:
        """Removes what processes left there that were killed while they wrote."""
        sweep(self.folder)
        sweep(self.chunks)

    def tidy(self) -> None:
        """Drops the chunks of complete results, which a kill may have left there."""
        shutil.rmtree(self.chunks, ignore_errors=True)


class SharedStore(Store):
    """The folder of a sweep that several processes work on, whose study deals the work out."""

    def begin(self, spec: Spec, lanes: int) -> None:
        """See `Store.begin`."""
        with path_errors(self.folder, "cannot be written"):
            self.folder.mkdir(parents=True, exist_ok=True)
        with _held(self.folder / _LOCK, _PATIENCE):
            super().begin(spec, lanes)

    @contextlib.contextmanager
    def joined(self, first: Callable[[], None]) -> Iterator[None]:
        """At work on it from here on.

        Args:
          first: called if no other process is: then whatever is at work was left by one that was stopped.
        """
        mine = self.folder / f"{_WORKER}{secrets.token_hex(8)}"
        with contextlib.ExitStack() as stack:
            with _held(self.folder / _LOCK, _PATIENCE):
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


def about(folder: str | Path) -> dict[str, Any]:
    """What a folder's ``sweep.json`` says.

    Raises:
      UserError: no sweep folder, or one of another version, or damaged.
    """
    file = Path(folder) / _ABOUT
    if not os.path.lexists(file):
        raise UserError(f"{plain_path(folder)}: not a sweep folder: {_ABOUT} is missing")
    found = files.read_json(file)
    version = found.get("format")
    if version != _FORMAT:
        hint = "give another --out, or use the version of aljax that wrote it"
        raise UserError(f"{plain_path(folder)}: sweep folder of format {short(version)}, expected {_FORMAT}: {hint}")
    what, lanes = found.get("sweep"), found.get("lanes")
    if not isinstance(what, dict) or type(lanes) is not int or found.get("sha256") != _digest(what, lanes):
        raise UserError(
            f"{plain_path(file)}: changed or damaged: which sweep this is cannot be told; give another --out"
        )
    try:
        return found | {"sweep": _restored(what)}
    except (RecursionError, TypeError, ValueError):
        raise UserError(f"{plain_path(file)}: damaged: holds what no sweep has") from None


def recorded_lanes(folder: Path, spec: Spec, texts: Mapping[str, str] | None = None) -> int | None:
    """The lanes of the sweep that a folder holds; None: it is free to be a new sweep's.

    Args:
      folder: where.
      spec: the sweep that it should hold.
      texts: see `Spec.fingerprint`.

    Raises:
      UserError: the folder holds something else, or another sweep, or this one begun where numbers come out otherwise.
    """
    with path_errors(folder):
        if not os.path.lexists(folder):
            return None
        if folder.is_symlink() and not folder.exists():
            raise UserError(f"{plain_path(folder)}: is a link to what is not there")
        if folder.is_dir() and all(_is_ours(path.name) for path in folder.iterdir()):
            return None
        if not folder.is_dir() or not os.path.lexists(folder / _ABOUT):
            raise UserError(f"{plain_path(folder)}: already exists, and it is not a sweep folder")
    held, wanted = about(folder), _jsonable(spec.fingerprint(texts))
    for key, value in wanted.items():
        if _jsonable(held["sweep"].get(key)) != value:
            raise UserError(
                f"{plain_path(folder)}: holds the results of another sweep ({key} differs): give another --out"
            )
    check_numerics(plain_path(folder), held)
    return held["lanes"]


def check_numerics(where: str, held: Mapping[str, Any]) -> None:
    """Refuses to go on where numbers come out otherwise.

    Args:
      where: stands for what was begun.
      held: the `numerics` that it was begun with, perhaps among other things.

    Raises:
      UserError: one line that says what differs.
    """
    now = numerics()
    differs = difference({name: held.get(name) for name in now}, now)
    if differs:
        raise UserError(f"{where}: {differs}: rows would not be comparable")


def agreed_lanes(where: str, recorded: int | None, lanes: int | None) -> int | None:
    """The lanes that are recorded, or asked for.

    Raises:
      UserError: they differ.
    """
    if recorded is not None and lanes is not None and lanes != recorded:
        raise UserError(f"{where}: begun with {recorded} lanes, not {lanes}: rows would not be comparable")
    return recorded or lanes


@contextlib.contextmanager
def opened(folder: Path, spec: Spec) -> Iterator[Store]:
    """The folder of a sweep, made if it is new, for this process alone.

    Args:
      folder: where.
      spec: what the sweep is.

    Raises:
      UserError: it cannot be written, holds something else, or another process is at work on it.
    """
    recorded_lanes(folder, spec)  # before anything is made
    with _made(folder), _held(folder / _LOCK, 0):
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

    Raises:
      UserError: it cannot be written, holds something else, or a process works on it that shares it with none.
    """
    recorded_lanes(folder, spec)
    with _made(folder):
        with _held(folder / _LOCK, _PATIENCE):
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
        if not there and not os.path.lexists(folder / _ABOUT):
            with contextlib.suppress(OSError):  # something else is in it now
                (folder / _LOCK).unlink()
                folder.rmdir()


def _is_ours(name: str) -> bool:
    """Of a process that was stopped before it had written what the sweep is."""
    return name == _LOCK or name.startswith(".sweep.")


def _jsonable(value: Any) -> Any:
    """What `json` gives back of a value; JSON has no infinity, so that is written as a table."""
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _restored(value: Any) -> Any:
    """What `_jsonable` was given."""
    if isinstance(value, dict):
        if set(value) == {"float"}:
            return float(value["float"])
        return {key: _restored(inner) for key, inner in value.items()}
    return [_restored(inner) for inner in value] if isinstance(value, list) else value


def _digest(what: Mapping[str, Any], lanes: int) -> str:
    """The hash of what makes it this sweep."""
    return hashlib.sha256(json.dumps([what, lanes], sort_keys=True).encode()).hexdigest()


def _hash(data: Any) -> str:
    """Enough of a chunk's hash for its name."""
    return hashlib.sha256(data).hexdigest()[:16]
