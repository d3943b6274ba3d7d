"""Where files are written: whole or not at all, and checked before the work that fills them."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aljax.errors import UserError


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A file that appears under its name only when the block ends well.

    Yields:
      Where to write it: beside its place, with the same ending.

    Raises:
      UserError: the place cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file whole or not at all.

    Raises:
      UserError: the place cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as file:
        file.write_text(text)


def check_writable(path: str | Path) -> None:
    """Refuses a file's place before the work that would fill it is done.

    Raises:
      UserError: the folder is missing or cannot be written, or the path is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def fingerprint(file: Path) -> dict[str, Any]:
    """Size and hash of a file, for manifests."""
    data = file.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
