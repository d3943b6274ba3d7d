"""New folders: their places are reserved at the start and looked at again in the end."""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from aljax.errors import UserError, plain_path
from aljax.host.hidden import (
    NEW,
    OLD,
    checked,
    hidden_folder,
    hidden_name,
    in_one_line,
    names_beside,
    probe,
    put,
    put_beside,
    sweep,
)


@dataclasses.dataclass
class Place:
    """A folder that is being made, and where it will stand."""

    folder: Path
    """To fill; hidden until it is complete."""
    path: Path
    """Where it stands in the end; until then, the place that is reserved for it."""
    notice: str = ""
    """Why that is not where it was asked for, one line; empty where it is."""
    complete: bool = False
    """It stands there."""


@contextlib.contextmanager
def new_folder(
    path: str | Path, *, numbered: bool = False, refusal: Callable[[Path], str] = lambda _: "and it is not empty"
) -> Iterator[Place]:
    """A folder that appears under its name only when the block ends well.

    Its place is reserved at the start, for as long as this process lives, and looked at again in the end. If a living
    process has reserved it, or something has appeared there meanwhile, the folder gets a free name beside it.

    Args:
      path: where it will stand: nothing may be there, or an empty folder.
      numbered: not there, but at the first of ``path-1``, ``path-2``, ... that is free.
      refusal: why something else that stands at `path` will not be replaced; empty: it will be, if it is still there in
        the end and this still says so.

    Yields:
      The folder to fill; after the block, where it stands.

    Raises:
      UserError: the place is taken or cannot be written.
    """
    path = checked(path)
    if path.name in ("", ".."):
        raise UserError(f"{plain_path(path)}: already exists: expected the name of a folder to make")
    with in_one_line(path), contextlib.ExitStack() as stack:
        real = Path(os.path.realpath(path)) if path.is_symlink() else path
        names = names_beside(real, numbered)
        real.parent.mkdir(parents=True, exist_ok=True)
        sweep(real.parent)
        standing = None if numbered else _standing(path, refusal)
        for place in names:
            if place != real and os.path.lexists(place):
                continue
            try:
                hidden = stack.enter_context(hidden_folder(place.parent, place.name))
            except filelock.Timeout:  # a living process has reserved it
                continue
            if place == real:
                standing = _standing(path, refusal)
            elif os.path.lexists(place):  # another process finished just now
                stack.pop_all().close()
                continue
            break
        else:
            raise AssertionError("names do not end")
        probe(hidden / NEW)
        folder = hidden / NEW / place.name
        folder.mkdir()
        found = Place(folder, place)
        if not numbered and place != real:
            found.notice = (
                f"{plain_path(path)}: another process is at work on it: this one will write to {plain_path(place)}"
            )
            standing = None
        yield found
        _settle(found, names, standing, hidden / OLD, refusal)
        found.complete = True


def _settle(
    found: Place, names: Iterator[Path], standing: "_Standing | None", aside: Path,
    refusal: Callable[[Path], str],
) -> None:  # fmt: skip
    """Moves a complete folder to its place, or to the next that is free."""
    place = found.path
    if standing is not None and standing.stands(place):
        if standing.empty:
            with contextlib.suppress(OSError):  # it is empty no more
                place.rmdir()
        elif not refusal(place):
            aside.mkdir()
            old = aside / place.name
            place.rename(old)
            moved = False
            try:
                moved = put(found.folder, place)
            finally:
                if not moved:
                    put_beside(old, place)
            if moved:
                return
    if put(found.folder, place):
        return
    for name in names:
        if not os.path.lexists(name.parent / hidden_name(name.name)) and put(found.folder, name):
            found.path = name
            found.notice = f"{plain_path(place)} was taken meanwhile"
            return


@dataclasses.dataclass(frozen=True)
class _Standing:
    """What stood at a folder's place at the start."""

    identity: tuple[int, int]
    empty: bool
    """An empty folder; else one that will be replaced."""

    def stands(self, path: Path) -> bool:
        """It still does."""
        with contextlib.suppress(OSError):
            found = path.stat()
            return (found.st_dev, found.st_ino) == self.identity
        return False


def _standing(path: Path, refusal: Callable[[Path], str]) -> _Standing | None:
    """What stands at a place; None: nothing.

    Raises:
      UserError: something that will not be replaced.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    empty = stat.S_ISDIR(found.st_mode) and not any(path.iterdir())
    reason = "" if empty else refusal(path)
    if reason:
        raise UserError(f"{plain_path(path)}: already exists ({reason})")
    return _Standing((found.st_dev, found.st_ino), empty)
