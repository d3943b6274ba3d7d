"""Values as tracers write them: moments, counts, ids, classes of errors, of whichever form; none where it is none."""

import base64
import binascii
import datetime
import math
import re
from typing import Any

import orjson

from aljax.logs.fields import DEAREST

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_LAST = 2**62
_SCALES = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (1e8, 1_000_000_000))
_CLASS = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(?:[:(]|$)")


def moment(value: Any) -> int | None:
    """A moment in nanoseconds since 1970.

    Args:
      value: text as of ISO 8601, which without a zone is UTC; a number of seconds, milliseconds, microseconds or
        nanoseconds since 1970, told apart by their size; or ``[seconds, nanoseconds]``.

    Returns:
      Nanoseconds; none: it is no moment, or before 1973.
    """
    if isinstance(value, str):
        if not value.isdecimal():
            return _from_text(value)
        value = int(value) if len(value) < 25 else None
    if isinstance(value, list):
        return _inside(value[0] * 10**9 + value[1]) if len(value) == 2 and all(map(_whole, value)) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 2**63:
        return None
    scale = next((scale for least, scale in _SCALES if value >= least), None)
    if scale is None:
        return None
    # A float of seconds holds a moment to less than a microsecond.
    return _inside(value * scale if isinstance(value, int) else round(value * scale / 1_000) * 1_000)


def _from_text(text: str) -> int | None:
    try:
        found = datetime.datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
        return _inside((found - _EPOCH) // _MICROSECOND * 1_000)
    except (ValueError, OverflowError):
        return None


def _inside(nanoseconds: int) -> int | None:
    return nanoseconds if 0 < nanoseconds < _LAST else None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def iso(nanoseconds: int) -> str:
    """A moment as ISO 8601, to the microsecond, in UTC.

    Args:
      nanoseconds: since 1970.

    Returns:
      Text.
    """
    return (_EPOCH + nanoseconds // 1_000 * _MICROSECOND).isoformat()


def amount(value: Any) -> float | int | None:
    """A number of tokens or dollars, which some write as text.

    Args:
      value: any.

    Returns:
      The number, not below 0; none: it is none.
    """
    if value is None or (value.__class__ is int and 0 <= value <= DEAREST):
        return value
    if isinstance(value, str):
        try:
            value = float(value) if len(value) < 40 else None
        except ValueError:
            return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if math.isfinite(value) and 0 <= value <= DEAREST else None


def text(value: Any, most: int = 500) -> str | None:
    """A name or an id.

    Args:
      value: text, or a number that stands for it.
      most: characters that are kept.

    Returns:
      The text; none: there is none.
    """
    if isinstance(value, str):
        return value[:most] or None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    # Ids of 128 bits are read as floats, which tell them apart as well.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def hexadecimal(value: Any) -> str | None:
    """An id of a trace or span: as it is, without ``0x``, in hexadecimal digits where it is base64.

    Args:
      value: text of 16 or 32 digits, the base64 of so many bytes, or a number.

    Returns:
      The id; none: there is none.
    """
    if value.__class__ is str and len(value) in (16, 32):
        return value
    if isinstance(value, str) and value.endswith("="):
        try:
            found = base64.b64decode(value, validate=True)
            return found.hex() if len(found) in (8, 16) else value
        except binascii.Error:
            return value
    return value.removeprefix("0x") or None if isinstance(value, str) else text(value)


def error_class(message: Any) -> str:
    """The class of an error, where its message begins with one.

    Args:
      message: such as ``ValueError: no such row``; or the class itself, with its module or without.

    Returns:
      The class, such as ``ValueError``; ``error`` where the message tells none.
    """
    found = _CLASS.match(message) if isinstance(message, str) else None
    return found[1].rpartition(".")[2][:80] or "error" if found else "error"


def unpacked(value: Any) -> Any:
    """What a text says in JSON, as some keep it; anything else as it is.

    Args:
      value: any.

    Returns:
      The value.
    """
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def table(value: Any) -> dict[str, Any]:
    """A JSON object, be it in a text; an empty one where it is none.

    Args:
      value: any.

    Returns:
      The object.
    """
    found = unpacked(value)
    return found if isinstance(found, dict) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list.

    Args:
      value: any.

    Returns:
      The objects.
    """
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
