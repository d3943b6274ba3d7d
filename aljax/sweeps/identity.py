"""What a sweep folder says that it is, and whether that is the sweep that is to be done.

``sweep.json`` holds the sweep, the lanes, the versions and settings that numbers depend on, and its own hash.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aljax.errors import UserError, path_errors, plain_path, short
from aljax.host import files
from aljax.host.numerics import difference, numerics
from aljax.sweeps.space import Spec

FORMAT = 2
"""Version of a sweep folder's layout."""
ABOUT = "sweep.json"
"""The file that says what the sweep is."""
LOCK = ".lock"
"""The file that is locked."""


def about(folder: str | Path) -> dict[str, Any]:
    """What a folder's ``sweep.json`` says.

    Args:
      folder: of a sweep.

    Returns:
      The file's contents; ``sweep`` is the fingerprint, ``lanes`` the runs side by side on each device.

    Raises:
      UserError: no sweep folder, or one of another version, or damaged.
    """
    file = Path(folder) / ABOUT
    if not os.path.lexists(file):
        raise UserError(f"{plain_path(folder)}: not a sweep folder: {ABOUT} is missing")
    found = files.read_json(file)
    version = found.get("format")
    if version != FORMAT:
        hint = "give another --out, or use the version of aljax that wrote it"
        raise UserError(f"{plain_path(folder)}: sweep folder of format {short(version)}, expected {FORMAT}: {hint}")
    what, lanes = found.get("sweep"), found.get("lanes")
    if not isinstance(what, dict) or type(lanes) is not int or found.get("sha256") != _digest(what, lanes):
        raise UserError(
            f"{plain_path(file)}: changed or damaged: which sweep this is cannot be told; give another --out"
        )
    try:
        return found | {"sweep": _restored(what)}
    except (RecursionError, TypeError, ValueError):
        raise UserError(f"{plain_path(file)}: damaged: holds what no sweep has") from None


def record(folder: Path, spec: Spec, lanes: int) -> None:
    """Writes what the sweep of a folder is.

    Args:
      folder: where; it is there.
      spec: the sweep.
      lanes: runs side by side on each device.

    Raises:
      UserError: it cannot be written.
    """
    what = _jsonable(spec.fingerprint())
    described = {"format": FORMAT, "sha256": _digest(what, lanes), "lanes": lanes, "sweep": what}
    files.write_json(folder / ABOUT, described | numerics())


def recorded_lanes(folder: Path, spec: Spec, texts: Mapping[str, str] | None = None) -> int | None:
    """The lanes of the sweep that a folder holds, if it holds this one.

    Args:
      folder: where.
      spec: the sweep that it should hold.
      texts: see `Spec.fingerprint`.

    Returns:
      Runs side by side on each device; None: the folder is free to be a new sweep's.

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
        if not folder.is_dir() or not os.path.lexists(folder / ABOUT):
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

    Args:
      where: stands for what was begun.
      recorded: those that it was begun with; None: it is new.
      lanes: those asked for; None: any.

    Returns:
      Runs side by side on each device; None: it is new, and none were asked for.

    Raises:
      UserError: they differ.
    """
    if recorded is not None and lanes is not None and lanes != recorded:
        raise UserError(f"{where}: begun with {recorded} lanes, not {lanes}: rows would not be comparable")
    return recorded or lanes


def _is_ours(name: str) -> bool:
    """Of a process that was stopped before it had written what the sweep is."""
    return name == LOCK or name.startswith(".sweep.")


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
