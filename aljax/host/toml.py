"""TOML as the project takes it: bounded files, bounded values, and one line for whatever is wrong with either.

Scenarios, sweeps and ``--set`` are read here. What comes out holds nothing but text, numbers, booleans, lists and
tables, not nested deeper than anything asks for: whoever checks it further needs no guard against sizes and types.
"""

import datetime
import json
import math
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from aljax.errors import UserError, one_line, path_errors, plain, plain_path, short

MOST_BYTES = 4 * 2**20
"""Of one file."""
_MOST_DEPTH = 16
"""Tables and lists in one another. The reader is recursive, and takes quadratic time in the parts of a dotted key."""
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]*+\.[ \t]*+){{{_MOST_DEPTH}}}")
_LEAST, _MOST = -(2**63), 2**63 - 1
"""Whole numbers that TOML promises."""

Value = Any
"""Text, a number, a boolean, or a list or a table of them."""


def read(path: str | Path) -> str:
    """The text of a file, its lines ended by a line feed alone and without a byte order mark.

    Args:
      path: the file.

    Returns:
      Its text.

    Raises:
      UserError: no regular file (which could be without end, or could be read once only), one too large, or one that
        cannot be read.
    """
    with path_errors(path):
        path = Path(path)
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{plain_path(path)}: expected a regular file with TOML")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(
                f"{plain_path(path)}: larger than {MOST_BYTES // 2**20} MiB, which no file here needs to be"
            )
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str, where: str) -> dict[str, Value]:
    """The tables of a text.

    Args:
      text: a file's.
      where: stands for the file in messages.

    Returns:
      The tables, as Python has them.

    Raises:
      UserError: no TOML, or a value that nothing here takes; one line naming the place.
    """
    try:
        raw = _loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not valid TOML: {plain(one_line(error), 160)}") from None
    check(raw, where)
    return raw


def parse_value(text: str, where: str) -> Value:
    """The value that stands behind a key, in one line.

    Args:
      text: the value as TOML writes it.
      where: stands for the place in messages.

    Returns:
      The value.

    Raises:
      UserError: it is none; naming `where`.
    """
    try:
        if "\n" in text or "\r" in text:
            raise tomllib.TOMLDecodeError("two lines")
        raw = _loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        message = f'{where}: {short(text.strip())} is not a TOML value (number, true, [..], "text")'
        raise UserError(message) from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    check(raw["value"], where)
    return raw["value"]


def dump(value: Value) -> str:
    """A value as TOML writes it, in one line.

    Args:
      value: what `parse_value` gives.

    Returns:
      Text that `parse_value` reads back.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        entries = (f"{dump(str(key))} = {dump(inner)}" for key, inner in value.items())
        return f"{{ {', '.join(entries)} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(dump, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _loads(text: str) -> dict[str, Value]:
    """`tomllib.loads`, with a ValueError in words for nesting and for numbers without end."""
    if any(line.count(".") >= _MOST_DEPTH and _DEEP_KEY.search(line) for line in text.split("\n")):
        raise ValueError(f"a dotted key of more than {_MOST_DEPTH} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("lists or tables nested too deeply") from None
    except ValueError:  # more digits than Python reads
        raise ValueError("a whole number must lie within ±2^63, got one of thousands of digits") from None


def check(value: Value, where: str, key: tuple[str, ...] = ()) -> None:
    """Refuses what no key takes, wherever it stands.

    Args:
      value: a file's contents, or what stands behind one key of it.
      where: stands for the file in messages.
      key: of the value, its parts.

    Raises:
      UserError: one line naming the key.
    """
    if isinstance(value, (dict, list)):
        if len(key) > _MOST_DEPTH:
            _refuse(where, key, f"nested deeper than {_MOST_DEPTH} tables or lists")
        entries = value.items() if isinstance(value, dict) else ((str(i), x) for i, x in enumerate(value))
        for name, inner in entries:
            if type(inner) is not float and type(inner) is not str:  # most are
                check(inner, where, (*key, name))
    elif isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            _refuse(where, key, f"a whole number must lie within ±2^63, got {short(value)}")
    elif not isinstance(value, (float, str)):
        got = f"the time {short(str(value))}" if isinstance(value, (datetime.date, datetime.time)) else short(value)
        _refuse(where, key, f"expected a number, text, true or false, a list or a table, got {got}")


def _refuse(where: str, key: tuple[str, ...], reason: str) -> None:
    raise UserError(f"{where}: {plain('.'.join(key))}: {reason}" if key else f"{where}: {reason}")
