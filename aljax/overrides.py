"""Overrides: changes to a scenario's file after reading, as values.

A change has a dotted key, in the order of `EnvParams` (``actions.failure.search``) or of the file
(``actions.search.failure``), and a value. A text ``key=value``, as ``--set`` takes it, is read once, here.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError, listed, plain, short
from aljax.fields import Declared, fields_of
from aljax.host import toml
from aljax.params import COMPONENTS, ActionTable, EnvParams
from aljax.rules import reading as rules

COLUMNS = fields_of(ActionTable)
"""The columns of the action table."""
FIELDS = fields_of(EnvParams)
"""The fields of the environment beside it."""
_OWN_FORM = ("horizon", "weights", "actions", "rules")
SETTABLE = (
    *_OWN_FORM,
    *(name for name, field in FIELDS.items() if field.axes and name not in _OWN_FORM),
    *(name for name, field in FIELDS.items() if not field.axes and name not in _OWN_FORM),
)
"""Keys of a file that can be changed: what holds numbers. Those with a form of their own, vectors, scalars."""

GONE: Mapping[str, str] = {
    "retry_failure": "is gone: write after_failed, the probability of failing when the row's own latest call failed",
}
"""Keys of files of former editions, and what to write instead."""


def field_of(key: str) -> Declared | None:
    """The declaration of the field that a dotted key is of, or of an entry of.

    Args:
      key: such as ``drift.evidence`` or ``actions.failure.search``.

    Returns:
      The declaration; None: there is no such field.
    """
    first, *rest = key.strip().split(".")
    if first == "actions":
        return next((COLUMNS[part] for part in rest[:2] if part in COLUMNS), None)
    if first == "rules":
        return rules.NUMBERS.get(rest[-1]) if rest else None
    return FIELDS.get(first)


@dataclasses.dataclass(frozen=True)
class Override:
    """One change."""

    key: str
    """Dotted."""
    value: toml.Value
    """What stands there instead. A NumPy array ``[N]``: N values, for N scenarios that are read together."""
    text: str = ""
    """As it was written; none: it was given as a value."""

    def __str__(self) -> str:
        """As ``--set`` takes it, and as files and tables say it."""
        return self.text or f"{self.key}={toml.dump(self.value)}"

    @property
    def first(self) -> str:
        """The field of `EnvParams`."""
        return self.key.partition(".")[0].strip()


Given = Mapping[str, Any] | Sequence["str | Override"]
"""Changes: values by key, or each a text ``key=value``."""


def overrides_of(given: Given, where: str) -> Iterator[Override]:
    """The changes that were given, one after another.

    Args:
      given: values by key, where arrays stand for lists; or texts.
      where: stands for the file in messages.

    Yields:
      Each change as a value.

    Raises:
      UserError: a text that is no ``key=value``, or a value that TOML does not have.
    """
    if isinstance(given, Mapping):
        for key, value in given.items():
            override = Override(str(key), _as_toml(value))
            toml.check(override.value, f"{where} with {plain(override.key)}")
            yield override
        return
    for each in given:
        yield each if isinstance(each, Override) else _parsed(each, f"{where} with {plain(each)}")


def _parsed(text: str, where: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError(f"{where}: expected key=value, for instance actions.failure.search=0.3")
    return Override(key, toml.parse_value(value, where), text)


def _as_toml(value: Any) -> Any:
    """Arrays and tuples as lists, numbers of NumPy's and JAX's as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _as_toml(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_toml(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def overridden(raw: Mapping[str, Any], override: Override, where: str) -> dict[str, Any]:
    """A file's contents with one change; those given stay as they are.

    Args:
      raw: the contents.
      override: the change.
      where: stands for the file in messages; the change is named beside it.

    Returns:
      The new contents, which share what was not changed.

    Raises:
      UserError: nothing of a scenario has this key.
    """

    def refuse(reason: str) -> UserError:
        return UserError(f"{where} with {plain(override)}: {reason}")

    parts = override.key.strip().split(".")
    if gone := next((part for part in parts[1:3] if part in GONE), None):
        raise refuse(f"{gone} {GONE[gone]}")
    parts = in_file_order(parts)
    if parts[0] == "actions":
        actions = raw.get("actions")
        if len(parts) < 3 or parts[2] not in (*COLUMNS, "kind"):
            raise refuse(f"expected actions.COLUMN.ACTION, COLUMN one of {', '.join(COLUMNS)}")
        if not isinstance(actions, dict) or parts[1] not in actions:
            names = listed(actions, 160) if isinstance(actions, dict) else "none, for the file has no table [actions]"
            raise refuse(f"no action {short(parts[1])}: expected one of {names}")
    elif parts[0] == "rules" and len(parts) > 1:
        try:
            return {**raw, "rules": rules.changed(raw.get("rules"), ".".join(parts[1:-1]), parts[-1], override.value)}
        except UserError as error:
            raise refuse(str(error)) from None
    elif parts[0] not in SETTABLE:
        raise refuse(f"unknown key {short(override.key.strip())}: expected one of {', '.join(SETTABLE)}")
    found = target = dict(raw)
    if isinstance(raw.get("intervals"), dict):  # who sets a number knows it
        found["intervals"] = _without(raw["intervals"], parts)
    named = raw.get("coordinates")
    coordinates = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    names = COMPONENTS if parts[0] == "weights" else coordinates
    for depth, part in enumerate(parts[:-1]):
        inner: Any = target.get(part)
        if isinstance(inner, list) and depth == len(parts) - 2 and len(inner) == len(names):
            inner = dict(zip(names, inner, strict=True))  # one entry of a vector given as a list
        elif isinstance(inner, (int, float, np.ndarray)) and depth == len(parts) - 2 and parts[-1] in coordinates:
            inner = dict.fromkeys(coordinates, inner)
        elif inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise refuse(f"{plain('.'.join(parts[: depth + 1]))} has no entry {short(parts[depth + 1])}")
        target[part] = dict(inner)
        target = target[part]
    target[parts[-1]] = override.value
    return found


def in_file_order(parts: Sequence[str]) -> list[str]:
    """A dotted key in a file's order, row first.

    Args:
      parts: of the key, in that order or in `EnvParams`', column first.

    Returns:
      The parts.
    """
    first, *rest = parts
    if first == "actions" and len(rest) > 1 and rest[0] in ("kind", *COLUMNS):
        rest[:2] = rest[1], rest[0]
    return [first, *rest]


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table whose tables are written out: their entries under dotted keys.

    Args:
      table: of values and tables.
      prefix: of all keys.

    Returns:
      The values by dotted key.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _without(intervals: Mapping[str, Any], changed: list[str]) -> dict[str, Any]:
    """Intervals but for those of a number that is changed, of its entries, or of the number that it is an entry of."""
    found = {}
    for key, ends in flattened(intervals).items():
        parts = in_file_order(key.split("."))
        shared = min(len(parts), len(changed))
        if parts[:shared] != changed[:shared]:
            found[key] = ends
    return found
