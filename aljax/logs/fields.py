"""Values of a log's rows: which of them can be what, and how it is said of one that cannot."""

import math
from collections.abc import Mapping
from typing import Any

import orjson

from aljax.errors import short

DEAREST = 1e14
"""Of any number of seconds, dollars or tokens: as much as an episode of the simulator may cost."""


def known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the fields that are null: they are as if absent, unknown and never 0.

    Args:
      row: of a log.

    Returns:
      What it tells.
    """
    return {key: value for key, value in row.items() if value is not None}


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none.

    Args:
      value: of a field.

    Returns:
      Whether it is one.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_cost(value: Any) -> bool:
    """Whether it is a number of seconds, dollars, tokens or the like: not below 0, at most `DEAREST`.

    Args:
      value: of a field.

    Returns:
      Whether it is one.
    """
    return is_number(value) and 0 <= value <= DEAREST


def a_cost(value: Any) -> str:
    """What was expected in the place of a value that is no cost.

    Args:
      value: of a field.

    Returns:
      In words, for `expected`.
    """
    return f"at most {DEAREST:g}" if is_number(value) and value > 0 else "a number not below 0"


def expected(row: Mapping[str, Any], field: str, what: str) -> str:
    """A complaint about a field of a row.

    Args:
      row: the row.
      field: the field's name; the row may lack it.
      what: what was expected there.

    Returns:
      One line, without file and row.
    """
    got = f"got {shown(row[field])}" if field in row else "but it is missing"
    return f"{field}: expected {what}, {got}"


def shown(value: Any) -> str:
    """A value, shortened, as in JSON where Python's form differs.

    Args:
      value: of a field.

    Returns:
      For messages.
    """
    return orjson.dumps(value).decode() if value is None or isinstance(value, bool) else short(value)
