"""A sweep's folder: what it is, every finished chunk of it, and in the end its results.

Chunks are files of their own, each written whole; a sweep that was stopped anywhere goes on with what is not in one.
When all results are written they are removed, and the manifest, written last before that, says that it is complete.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax import files, runs
from aljax.errors import UserError, one_line
from aljax.sweeps.space import Spec

_FORMAT = 1
_ABOUT, _CHUNKS, _LOCK, _COMPLETE = "sweep.json", "chunks", ".lock", "manifest.json"


class Store:
    """The folder of one sweep."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.chunks = folder / _CHUNKS

    @property
    def complete(self) -> bool:
        """All results are there."""
        return (self.folder / _COMPLETE).is_file()

    def about(self) -> dict[str, Any]:
        """What ``sweep.json`` says.

        Raises:
          UserError: no sweep folder, or one of another version.
        """
        return about(self.folder)

    def write_chunk(self, kind: str, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a finished chunk, whole or not at all."""
        with files.whole_file(self.chunks / f"{kind}-{int(items[0]):09d}.npz") as file:
            np.savez(file, allow_pickle=False, items=items, **arrays)

    def read_chunks(self, kind: str) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """All finished chunks of a kind.

        Raises:
          UserError: a file that cannot be read.
        """
        for path in sorted(self.chunks.glob(f"{kind}-*.npz")):
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    found = {name: arrays[name] for name in arrays.files}
                yield found.pop("items"), found
            except Exception as error:  # zipfile, zlib and numpy raise a wide variety
                reason = f"cannot be read ({one_line(error)}); delete it, and its runs will be done again"
                raise UserError(f"{path}: {reason}") from None

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Says that the results are complete, and drops the chunks that they were made of."""
        files.write_json(self.folder / _COMPLETE, {"format": _FORMAT, **summary})
        self.tidy()

    def tidy(self) -> None:
        """Drops the chunks of complete results, which a kill may have left there."""
        shutil.rmtree(self.chunks, ignore_errors=True)


def about(folder: str | Path) -> dict[str, Any]:
    """What a folder's ``sweep.json`` says.

    Raises:
      UserError: no sweep folder, or one of another version.
    """
    try:
        found = json.loads((Path(folder) / _ABOUT).read_text(encoding="utf-8"))
        version = found["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: not a sweep folder: {_ABOUT} is missing or damaged") from None
    if version != _FORMAT:
        raise UserError(f"{folder}: sweep folder of format {version}, expected {_FORMAT}")
    return found


def recorded_lanes(folder: Path, spec: Spec, texts: Mapping[str, str] | None = None) -> int | None:
    """The lanes of the sweep that a folder holds; None: it is free to be a new sweep's.

    Args:
      folder: where.
      spec: the sweep that it should hold.
      texts: see `Spec.fingerprint`.

    Raises:
      UserError: the folder holds something else, or another sweep, or this one begun under other versions.
    """
    if not folder.exists() or (folder.is_dir() and all(_is_left_over(path.name) for path in folder.iterdir())):
        return None
    if not folder.is_dir() or not (folder / _ABOUT).is_file():
        raise UserError(f"{folder}: already exists, and it is not a sweep folder")
    held, wanted = about(folder), _described(spec, texts)
    for key, value in wanted["sweep"].items():
        if held["sweep"].get(key) != value:
            raise UserError(f"{folder}: holds the results of another sweep ({key} differs): give another --out")
    for key in here():
        if held[key] != wanted[key]:
            was = shown(held[key])
            raise UserError(f"{folder}: begun with {was}, this is {shown(wanted[key])}: rows would not be comparable")
    return int(held["lanes"])


def _is_left_over(name: str) -> bool:
    """Of a process that was killed before it had written what the sweep is."""
    return name == _LOCK or (name.startswith(".sweep.") and name.endswith(".json"))


def agreed_lanes(where: str, recorded: int | None, lanes: int | None) -> int | None:
    """The lanes that are recorded, or asked for.

    Raises:
      UserError: they differ.
    """
    if recorded is not None and lanes is not None and lanes != recorded:
        raise UserError(f"{where}: begun with {recorded} lanes, not {lanes}: rows would not be comparable")
    return recorded or lanes


def _described(spec: Spec, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
    return json.loads(json.dumps({"sweep": spec.fingerprint(texts), **here()}))


def here() -> dict[str, Any]:
    """What must be equal for rows to be comparable, beside the sweep and the lanes."""
    return {"platform": jax.default_backend(), "versions": runs.versions()}


def shown(value: Any) -> str:
    """A value of `here` in words."""
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


@contextlib.contextmanager
def opened(folder: Path, spec: Spec, lanes: int, *, shared: bool = False) -> Iterator[Store]:
    """The folder of a sweep, made if it is new, for this process alone.

    Args:
      folder: where; checked with `recorded_lanes` before.
      spec: what the sweep is.
      lanes: recorded in a new folder.
      shared: other processes may work on it too (adaptive search, whose study deals the work out).

    Raises:
      UserError: it cannot be written, or another process is at work on it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: another process is at work on this sweep") from None
        try:
            store = Store(folder)
            if not (folder / _ABOUT).exists():
                files.write_json(folder / _ABOUT, {"format": _FORMAT, "lanes": lanes, **_described(spec)})
            if not store.complete:
                store.chunks.mkdir(exist_ok=True)
                for left in store.chunks.glob(".*.npz"):  # of a process that was killed while it wrote
                    if not shared:
                        left.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror}") from None
        yield store
