"""The one exception for what a user can put right: its message is one line that names what, where and why.

What a message repeats of the user's own input goes through `short`, `plain` or `listed`: whatever that input is, the
message stays one line that can be read.
"""

import contextlib
import reprlib
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

_PATH = 300
"""Characters that a message repeats of a path, of which more is worth seeing than of other input."""


class UserError(ValueError):
    """Bad input: a file, an option or an array. The command line prints it alone and exits with status 2."""


def one_line(text: object) -> str:
    """Folds a message of several lines, such as another library's, into one.

    Args:
      text: anything that becomes text.

    Returns:
      Its words with single blanks between them.
    """
    return " ".join(str(text).split())


def short(value: Any, most: int = 60) -> str:
    """A value as a message quotes it: as Python writes it, in one line of about `most` characters at most.

    Args:
      value: any value, of any size and depth.
      most: characters.

    Returns:
      Text of one line.
    """
    shown = _Short(most).repr(value)
    return shown if len(shown) <= most else _cut(shown, most)


def plain(text: Any, most: int = 60) -> str:
    """A name or a key as a message says it: like `short`, but without quotation marks.

    Args:
      text: anything that becomes text.
      most: characters.

    Returns:
      Text of one line.
    """
    text = str(text)
    if len(text) > most:
        text = _cut(text, most)
    if text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= most else _cut(shown, most)


def plain_path(path: "str | PathLike[str]") -> str:
    """A path as a message says it.

    Args:
      path: of any length.

    Returns:
      Text of one line, long enough to find the file by.
    """
    return plain(path, _PATH)


def listed(names: Iterable[Any], most: int = 400) -> str:
    """Names with commas; of many, the first, and how many more there are.

    Args:
      names: any number of them.
      most: characters.

    Returns:
      Text of one line.
    """
    names, shown, length = [plain(name) for name in names], [], 0
    for name in names:
        length += len(name) + 2
        if length > most:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(name)
    return ", ".join(shown)


@contextlib.contextmanager
def path_errors(path: "str | PathLike[str]", trouble: str = "cannot be read") -> Iterator[None]:
    """Turns whatever can be wrong with a path into one line.

    A path may be missing, forbidden, a folder, too long for the file system, hold a NUL, or be no text that the file
    system takes; a file's text may be no UTF-8. Python has an exception of its own for each.

    Args:
      path: of what the block opens, reads or writes.
      trouble: what to say of it.

    Raises:
      UserError: naming the path and the reason.
    """
    try:
        yield
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{plain_path(path)}: {trouble}: not UTF-8 text (byte {error.start:,})") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else plain(one_line(error), 120)
        raise UserError(f"{plain_path(path)}: {trouble}: {reason}") from None


def _cut(text: str, most: int) -> str:
    """The beginning and the end of a text that is too long."""
    head = (most - 3) * 2 // 3
    return f"{text[:head]}...{text[head + 3 - most :]}"


class _Short(reprlib.Repr):
    """`repr` of values of any size and depth, in bounded time."""

    def __init__(self, most: int):
        super().__init__()
        self.maxstring = self.maxother = most
        self.maxlevel = 4

    def repr_int(self, x: int, level: int) -> str:
        """Whole numbers too long to read, or even for Python to write out, by how long they are."""
        del level
        if x.bit_length() <= 200:
            return repr(x)
        return f"a whole number of about {int(x.bit_length() * 0.30103):,} digits"
