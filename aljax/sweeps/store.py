"""A sweep's folder: every finished chunk of it, and in the end its results.

Chunks are files of their own, each written whole; a sweep that was stopped anywhere goes on with what is not in one.
When all results are written they are removed, and the manifest, written last before that, says that it is complete.
Whatever is read back is compared with a hash that was taken when it was written: a chunk's is in its name, those of the
results are in the manifest.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aljax.errors import UserError, one_line, path_errors, plain, plain_path, short
from aljax.host import files
from aljax.host.hidden import sweep
from aljax.sweeps.identity import ABOUT, FORMAT, agreed_lanes, record, recorded_lanes
from aljax.sweeps.space import Spec

TABLE, CURVES = "table.parquet", "curves.npz"
"""The results."""
_CHUNKS, _COMPLETE = "chunks", "manifest.json"
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

        Args:
          spec: the sweep.
          lanes: runs side by side on each device.

        Raises:
          UserError: another process recorded another sweep, or other lanes, meanwhile.
        """
        recorded = recorded_lanes(self.folder, spec)
        if recorded is None:
            record(self.folder, spec, lanes)
        agreed_lanes(plain_path(self.folder), recorded, lanes)
        if not self.complete:
            with path_errors(self.folder, "cannot be written"):
                self.chunks.mkdir(exist_ok=True)

    def write_chunk(self, kind: str, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a finished chunk, whole or not at all, under a name that holds its hash.

        Args:
          kind: ``train`` or ``optimal``.
          items: rows or pairs that are finished. ``[N]``
          arrays: a figure ``[N]`` or a curve ``[N, P, ...]`` by its name.

        Raises:
          UserError: it cannot be written.
        """
        held = io.BytesIO()
        np.savez(held, allow_pickle=False, items=items, **arrays)
        data = held.getbuffer()
        with files.whole_file(self.chunks / f"{kind}-{int(items[0]):09d}-{_hash(data)}.npz") as file:
            file.write_bytes(data)

    def read_chunks(self, kind: str, put: Put) -> None:
        """Takes in all finished chunks of a kind.

        Args:
          kind: ``train`` or ``optimal``.
          put: called with each chunk's items and arrays.

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
        """Says that the results are complete, and drops the chunks that they were made of.

        Args:
          summary: what the manifest says beside versions and hashes.

        Raises:
          UserError: it cannot be written.
        """
        hashes = {name: files.fingerprint(self.folder / name) for name in (ABOUT, TABLE, CURVES)}
        files.write_json(self.folder / _COMPLETE, {"format": FORMAT, "files": hashes, **summary})
        self.tidy()

    def verify(self) -> None:
        """Compares complete results with the manifest.

        Raises:
          UserError: one line naming the file that is damaged, and what to do.
        """
        try:
            manifest = files.read_json(self.folder / _COMPLETE)
            if manifest.get("format") != FORMAT:
                raise UserError(f"{self.folder / _COMPLETE}: of format {short(manifest.get('format'))}: damaged")
            files.check_digests(self.folder, manifest.get("files"), (ABOUT, TABLE, CURVES))
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


def _hash(data: Any) -> str:
    """Enough of a chunk's hash for its name."""
    return hashlib.sha256(data).hexdigest()[:16]
