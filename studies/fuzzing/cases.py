"""One input: files and options, how it is kept, and what came of it."""

import dataclasses
import json
import os
import re
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aljax.errors import UserError

LONGEST_MESSAGE = 500
"""Characters of a message that a person still reads."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What the library is given."""

    files: Mapping[str, bytes]
    """Contents by name; names may have folders."""
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Symbolic links by name, and where they lead; ``fifo``: a named pipe instead."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Everything else, as JSON has it."""

    def put(self, place: Path) -> None:
        """Writes the files into an empty folder."""
        for name, data in self.files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name, target in self.links.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if target == "fifo":
                os.mkfifo(path)
            else:
                path.symlink_to(target)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What must not be."""

    cause: str
    """The same for findings with one cause: the exception and where it was raised, or what was accepted."""
    detail: str
    """For people."""


class Hang(BaseException):
    """An input took too long. No `Exception`, so that no reader takes it for a damaged file."""


class Kind:
    """A kind of input: how one is made, what reads it, and what an accepted one must be."""

    name: str

    def case(self, rng: Any) -> Case:
        """Draws an input."""
        raise NotImplementedError

    def read(self, case: Case, place: Path) -> Any:
        """Has the library read what lies in a folder; raises its `UserError` where it refuses."""
        raise NotImplementedError

    def check(self, case: Case, found: Any) -> list[str]:
        """What is wrong with an accepted input."""
        raise NotImplementedError

    def environment(self, found: Any) -> Any:
        """What of an accepted input can be rolled out, if anything."""
        del found


def outcome(kind: Kind, case: Case, place: Path) -> tuple[Any, Finding | None]:
    """Reads and checks an input in a folder of its own.

    Args:
      kind: whose it is.
      case: the input.
      place: a folder that is made, and removed.

    Returns:
      What was accepted, or the `UserError`; and what must not be, if something is.
    """
    place.mkdir(parents=True)
    try:
        case.put(place)
        found = kind.read(case, place)
        faults = kind.check(case, found)
    except UserError as error:
        return error, _message(error)
    except Exception as error:  # every other exception is what this is all about
        return error, Finding(cause(error), _shortened("".join(traceback.format_exception(error)), 4000))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found, Finding(f"accepted: {_general(faults[0])}", "; ".join(faults)[:1000]) if faults else None


def _message(error: UserError) -> Finding | None:
    """A refusal that nobody can read."""
    text = str(error)
    if text.strip() and len(text.splitlines()) == 1 and len(text) <= LONGEST_MESSAGE:
        return None
    fault = "too long" if len(text) > LONGEST_MESSAGE else "not one line"
    return Finding(f"message {fault}: {cause(error)}", f"{len(text)} characters: {text[:2000]!r}")


def cause(error: BaseException) -> str:
    """The exception's type and the last two places in the library that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/aljax/" in frame.filename]
    places = [f"{frame.filename.rpartition('/aljax/')[2]} {frame.name}" for frame in frames[-2:]]
    return f"{type(error).__name__} in {' > '.join(places) or 'no part of the library'}"


def _general(text: str) -> str:
    """A sentence without what differs from input to input."""
    return re.sub(r"\d+", "N", re.sub(r"'[^']*'", "'…'", text))[:100]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def keep(folder: Path, case: Case, finding: Finding, about: Mapping[str, Any]) -> None:
    """Writes an input and what came of it into a new folder."""
    folder.mkdir(parents=True)
    case.put(folder)
    about = {**about, "cause": finding.cause, "detail": finding.detail, "options": case.options}
    (folder / "finding.json").write_text(json.dumps(about, indent=2) + "\n")


def smaller(case: Case, finding: Finding, read: Callable[[Case], Finding | None], tries: int = 200) -> Case:
    """The same finding from fewer lines.

    Args:
      case: the input.
      finding: what came of it.
      read: says what comes of another input.
      tries: how often it is asked at most.

    Returns:
      An input of the same cause.
    """
    for name, data in case.files.items():
        parts = data.split(b"\n")
        size = len(parts) // 2
        while size and tries > 0 and len(parts) > 1:
            start = 0
            while start < len(parts) and tries > 0:
                tries -= 1
                fewer = [*parts[:start], *parts[start + size :]]
                candidate = dataclasses.replace(case, files={**case.files, name: b"\n".join(fewer)})
                found = read(candidate)
                if found is not None and found.cause == finding.cause:
                    parts, case = fewer, candidate
                else:
                    start += size
            size //= 2
    return case
