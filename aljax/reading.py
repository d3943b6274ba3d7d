"""Checks a scenario file's contents and turns them into numbers; a complaint names the file, the key and the reason.

Each field is read as it is declared in `aljax.params`. A number may stand for many: where a change to the file holds an
array ``[N]``, N environments are read at once, and which of them cannot be is noted instead of told.
"""

import dataclasses
import difflib
import math
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from aljax import intervals, limits
from aljax.errors import UserError, listed, one_line, plain, short
from aljax.fields import Declared, Numbers, Same
from aljax.observation import blocks
from aljax.overrides import COLUMNS, FIELDS, GONE, SETTABLE
from aljax.params import COMPONENTS
from aljax.rules import reading as rules

KINDS: Mapping[str, frozenset[str]] = {
    kind: frozenset(name for name, column in COLUMNS.items() if kind in column.kinds)
    for kind in ("tool", "reason", "clarify", "escalate", "terminate")
}
"""Kinds of action, and which flag columns each sets unless the file says otherwise."""

_TEXTS = ("title", "description")
_KEYS = ("coordinates", *SETTABLE[:4], "intervals", "sources", *_TEXTS, *SETTABLE[4:])
_MOST_NAME = 100  # characters
_JOINERS = str.maketrans("", "", "\u200c\u200d")  # invisible, but part of words and of emoji


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file holds, checked."""

    texts: Mapping[str, str]
    """Title and description."""
    rows: tuple[str, ...]
    """The actions' names."""
    kinds: tuple[str, ...]
    """The actions' kinds."""
    covers: Mapping[str, tuple[str, ...]]
    """Of actions that stand for calls of other names in a log, the patterns of those names."""
    coordinates: tuple[str, ...]
    """Their names."""
    sources: Mapping[str, str]
    """Where numbers come from."""
    numbers: Numbers
    """Every field of the environment and column of its table that is there, in double precision; those of rules under
    dotted names."""
    rules: rules.Read | None
    """The rules."""
    doubts: tuple[intervals.Doubt, ...]
    """The numbers that are not known for certain."""
    wrong: np.ndarray
    """Which of the environments that were read together cannot be. Boolean ``[N]``, or ``[1]`` and false"""


def read(raw: Mapping[str, Any], where: str, many: int = 0) -> Contents:
    """Reads a file's contents, or many that differ in numbers.

    Args:
      raw: as parsed, changes made.
      where: stands for the file in messages.
      many: how many environments are read together: so many numbers has every array in `raw`; 0: one, without arrays.

    Returns:
      What there is.

    Raises:
      UserError: it cannot be; of environments that are read together, none of them can.
    """
    return _Reader(raw, where, many).contents()


class _Reader:
    """See `read`."""

    def __init__(self, raw: Mapping[str, Any], where: str, many: int):
        self.raw, self.where, self.many = raw, where, many
        self.wrong = np.zeros(many or 1, bool)

    def contents(self) -> Contents:
        raw = self.raw
        self.known(raw, _KEYS, "")
        self.names = self.coordinates()
        texts = {key: self.text(raw.get(key, ""), key) for key in _TEXTS}
        texts["title"] = one_line(texts["title"])
        rows = self.table(raw.get("actions"), "actions")
        if not rows:
            self.fail("actions", "at least one table [actions.NAME] is needed")
        bodies = {row: self.table(body, f"actions.{row}") for row, body in rows.items()}
        columns = _there(COLUMNS, {name for body in bodies.values() for name in body})
        horizon = self.whole(raw.get("horizon"), "horizon", limits.MOST_HORIZON)
        self.size(len(rows), horizon, columns)
        self.distinct(list(rows), "actions")
        parsed = {row: self.row(row, body) for row, body in bodies.items()}
        numbers = {name: _stacked([row[name] for row in parsed.values()]) for name in columns}
        if not numbers["allowed"].any():
            self.fail("actions", "no action is allowed")
        numbers |= {name: _stacked(value) for name, value in self.fields().items()}
        ruled = rules.read_rules(self, raw.get("rules", []), tuple(rows), numbers)
        if ruled is not None:
            numbers |= rules.stacked(ruled.numbers)
            self.size(len(rows), horizon, columns, *rules.states_of(ruled.structure))
        numbers = self.together(numbers, tuple(rows))
        sources = self.table(raw.get("sources", {}), "sources")
        return Contents(
            texts=texts,
            rows=tuple(rows),
            kinds=tuple(row["kind"] for row in parsed.values()),
            covers={row: self.patterns(row, body["covers"]) for row, body in bodies.items() if "covers" in body},
            coordinates=tuple(self.names),
            sources={key: self.text(value, f'sources."{plain(key)}"') for key, value in sources.items()},
            numbers=numbers,
            rules=ruled,
            doubts=intervals.read_intervals(self, bodies, numbers),
            wrong=self.wrong,
        )

    def fail(self, key: str, reason: str) -> NoReturn:
        raise UserError(f"{self.where}: {plain(key, 80)}: {reason}")

    def refuse(self, wrong: np.ndarray, why: Callable[[], tuple[str, str]]) -> None:
        """Notes which of many environments cannot be; of one, tells why. `wrong`: boolean ``[N]`` or ``[1]``."""
        if self.many:
            self.wrong |= wrong
        elif wrong.any():
            self.fail(*why())

    def known(self, table: Mapping[str, Any], keys: Sequence[str], prefix: str) -> None:
        for key in table:
            if key in GONE:
                self.fail(prefix + key, GONE[key])
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f" (did you mean {plain(near[0])}?)" if near else ""
                self.fail(prefix + key, f"unknown key{hint}: expected one of {listed(keys, 200)}")

    def table(self, value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(key, "expected a table, found none" if value is None else f"expected a table, got {short(value)}")
        return value

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            self.fail(key, f"expected text, got {short(value)}")
        return value.strip()

    def coordinates(self) -> list[str]:
        names: Any = self.raw.get("coordinates")
        valid = isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)
        if not valid or len(set(names)) != len(names):
            self.fail("coordinates", f"expected a list of different names, at least one, got {short(names)}")
        if len(names) <= limits.MOST_COORDINATES:  # else they are refused as too many
            self.distinct(names, "coordinates")
        return names

    def distinct(self, names: Sequence[str], key: str) -> None:
        """Refuses names that cannot be shown, or that look the same."""
        seen: dict[str, str] = {}
        for name in names:
            if len(name) > _MOST_NAME:
                self.fail(key, f"a name has at most {_MOST_NAME} characters, got {len(name):,}: {short(name)}")
            if name.strip() != name or not name.translate(_JOINERS).isprintable():
                self.fail(key, f"a name has no blanks around it and nothing that cannot be seen, got {short(name)}")
            before = seen.setdefault(name if name.isascii() else unicodedata.normalize("NFKC", name), name)
            if before != name:
                self.fail(key, f"{before!a} and {name!a} look the same")

    def size(self, rows: int, horizon: Any, columns: Collection[str], *ruled: int) -> None:
        """Refuses arrays that are too large; `ruled`: what rules add to an observation."""
        sizes, given = {"d": len(self.names), "A": rows, "": 1}, self.raw.get("start_points")
        seen, points = (
            sum(sizes[axis] for axis in blocks(columns).values()) + sum(ruled),
            len(given) if isinstance(given, list) else 0,
        )
        for steps in np.unique(horizon).tolist():
            found = limits.too_large(rows, len(self.names), steps, seen, points)
            if found is not None:
                self.refuse(np.equal(horizon, steps), lambda found=found: found)

    # One value, by what its field takes.

    def value(self, value: Any, key: str, field: Declared) -> Any:
        """One value of a field: a number or a truth, or an array of them ``[N]``."""
        if field.check == "flag":
            return self.truth(value, key)
        if field.check in ("count", "calls"):
            return self.whole(value, key, limits.MOST_HORIZON, field.endless)
        return self.number(value, key, field)

    def number(self, value: Any, key: str, field: Declared) -> Any:
        least, most = limits.BOUNDS[field.check]
        if isinstance(value, np.ndarray):
            right = (least <= value) & (value <= most) | ((value == math.inf) & field.endless)
            self.wrong |= ~right
            return np.where(right, value, 1.0) + 0.0
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(key, f"expected a number, got {short(value)}")
        if not (least <= value <= most or (field.endless and value == math.inf)):
            self.fail(key, _trouble(value, field))
        return float(value) + 0.0  # of −0, 0

    def whole(self, value: Any, key: str, most: int, endless: bool = False) -> Any:
        if isinstance(value, np.ndarray):
            right = (value >= 1) & (value <= most) & (value == np.floor(value)) | ((value == math.inf) & endless)
            self.wrong |= ~right
            return np.where(right, value, 1).astype(float if endless else int)
        if endless and isinstance(value, float) and value == math.inf:
            return value
        if type(value) is not int or not 1 <= value <= most:
            end = ", or inf" if endless else ""
            self.fail(key, f"expected a whole number from 1 to {most:,}{end}, got {short(value)}")
        return value

    def truth(self, value: Any, key: str) -> bool:
        if not isinstance(value, bool):
            self.fail(key, f"expected true or false, got {short(value)}")
        return value

    # Vectors and rows.

    def entries(self, value: Any, key: str, field: Declared, like: Sequence[Any] | None = None) -> list[Any]:
        """A vector from one number, a list, or a table by coordinate name; of flags also from a list of those names.

        Where a table leaves a name out, `like` says what stands there, or else the field's default.
        """
        count = len(self.names)
        absent = like or [field.neutral] * count
        if field.check == "flag" and isinstance(value, list) and value and all(isinstance(x, str) for x in value):
            value = dict.fromkeys(value, True)
        if isinstance(value, dict):
            self.known(value, self.names, f"{key}.")
            missing = [
                name for name, usual in zip(self.names, absent, strict=True) if name not in value and usual is None
            ]
            if missing:
                self.fail(key, f"no entry for {listed(missing, 160)}")
            value = [value.get(name, usual) for name, usual in zip(self.names, absent, strict=True)]
        elif not isinstance(value, list):
            return [self.value(value, f"{key}.{self.names[0]}", field)] * count
        if len(value) != count:
            self.fail(key, f"expected {count} numbers, one a coordinate, got {len(value)}")
        return [self.value(x, f"{key}.{name}", field) for x, name in zip(value, self.names, strict=True)]

    def weights(self, value: Any, field: Declared) -> list[Any]:
        """An entry a component of the cost, from a list or a table by component."""
        if isinstance(value, list):
            if len(value) != len(COMPONENTS):
                self.fail("weights", f"expected {len(COMPONENTS)} numbers, one a component, got {len(value)}")
            value = dict(zip(COMPONENTS, value, strict=True))
        table = self.table(value, "weights")
        self.known(table, COMPONENTS, "weights.")
        missing = [name for name in COMPONENTS if name not in table]
        if missing:
            self.fail("weights", f"no entry for {', '.join(missing)}")
        return [self.value(table[name], f"weights.{name}", field) for name in COMPONENTS]

    def fields(self) -> dict[str, Any]:
        """What the file gives of each field beside the table, or its default where that is a value."""
        found: dict[str, Any] = {}
        pointed = self.raw.get("start_points") is not None
        for name, field in FIELDS.items():
            value = self.raw.get(name, None if field.optional else field.neutral)
            if name in ("start_points", "start_weights"):
                if pointed:
                    found |= {name: self.points(value) if name == "start_points" else self.shares(value, field, found)}
                elif value is not None:
                    self.fail(name, "there are no start_points to weigh")
                continue
            if value is None and name in ("start_low", "start_high") and pointed:
                value = 0.0
            if value is None and (field.optional or field.neutral != field.default):
                continue  # there is none, or it follows from others
            like = found[field.default.as_field] if isinstance(field.default, Same) else None
            if field.axes == ("k",):
                found[name] = self.weights(value, field)
            elif value is None and field.check != "count":
                self.fail(name, "missing")
            else:
                found[name] = self.entries(value, name, field, like) if field.axes else self.value(value, name, field)
        return found

    def points(self, value: Any) -> list[list[Any]]:
        """Points of the start, each a vector."""
        if not isinstance(value, list) or not value:
            self.fail("start_points", f"expected a list of points, at least one, got {short(value)}")
        field = FIELDS["start_points"]
        return [self.entries(point, f"start_points.{number}", field) for number, point in enumerate(value)]

    def shares(self, value: Any, field: Declared, found: Mapping[str, Any]) -> list[Any]:
        """A weight a point of the start."""
        count = len(found["start_points"])
        given = [field.default] * count if value is None else value
        if not isinstance(given, list) or len(given) != count:
            got = len(given) if isinstance(given, list) else short(given)
            self.fail("start_weights", f"expected {count} numbers, one a point, got {got}")
        weights = [self.value(weight, f"start_weights.{number}", field) for number, weight in enumerate(given)]
        self.refuse(np.atleast_1d(sum(weights)) <= 0, lambda: ("start_weights", "at least one weight must be above 0"))
        return weights

    def row(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """One action's columns, defaults filled in."""
        key = f"actions.{name}"
        if name in COLUMNS or name in ("kind", "covers") or not name or any(mark in name for mark in ".= \t\n"):
            self.fail(key, "an action's name may not be a column's, and has no dots, blanks or equals signs")
        self.known(body, ("kind", "covers", *COLUMNS), f"{key}.")
        kind = body.get("kind", "tool")
        if not isinstance(kind, str) or kind not in KINDS:
            self.fail(f"{key}.kind", f"expected one of {', '.join(KINDS)}, got {short(kind)}")
        row: dict[str, Any] = {"kind": kind}
        for column, field in COLUMNS.items():
            default = field.default
            if default is None and column not in body:
                self.fail(f"{key}.{column}", "missing")
            if isinstance(default, Same) and column not in body:
                row[column] = row[default.as_field]
                continue
            value = body.get(column, kind in field.kinds if field.kinds else default)
            read = self.entries if "d" in field.axes else self.value
            row[column] = read(value, f"{key}.{column}", field)
        if row["resolves"] and not row["ends"]:
            self.fail(f"{key}.resolves", "a row that resolves the task must also end the episode (ends = true)")
        return row

    def patterns(self, row: str, value: Any) -> tuple[str, ...]:
        """Which names in a log an action stands for."""
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            self.fail(
                f"actions.{row}.covers", f"expected a list of names or patterns such as get_*, got {short(value)}"
            )
        return tuple(value)

    def together(self, numbers: dict[str, np.ndarray], rows: Sequence[str]) -> Numbers:
        """All numbers, with those that follow from others; what they come to together is checked."""
        low, high = numbers["start_low"], numbers["start_high"]
        if "max_calls" in numbers:
            calls, horizon = np.where(numbers["allowed"], numbers["max_calls"], 0).sum(0), numbers["horizon"]
            self.refuse(calls < horizon, lambda: (
                "actions", f"rows may be called {calls[0]:g} times together (max_calls), fewer than {horizon[0]} steps"
            ))  # fmt: skip
        for i, name in enumerate(self.names):
            above = low[i] > high[i]
            self.refuse(above, lambda i=i, name=name: (
                f"start_low.{name}", f"{low[i, 0]:g} is above start_high's {high[i, 0]:g}"
            ))  # fmt: skip
        self.refuse(limits.too_far(numbers), lambda: limits.why_too_far(numbers, rows, self.names))
        for name, field in FIELDS.items():
            if isinstance(field.default, Same) and name not in numbers and not field.optional:
                numbers[name] = numbers[field.default.as_field]
            elif callable(field.default) and name not in numbers:
                found = field.default(numbers)
                numbers[name] = np.where(found >= limits.LEAST, found, 1.0)  # divided by, where it hardly leaves 0
        return numbers


def _there(fields: Mapping[str, Declared], given: Collection[str]) -> list[str]:
    """Names of the fields that an environment has, of which a file gives some."""
    groups = {field.group for name, field in fields.items() if name in given and field.group}
    return [name for name, field in fields.items() if not field.optional or name in given or field.group in groups]


def _trouble(value: float, field: Declared) -> str:
    """Why a number is out of bounds."""
    least, most = limits.BOUNDS[field.check]
    if not math.isfinite(value):
        return f"expected a finite number, got {value!r}"
    if field.check == "probability":
        return f"a probability must lie in [0, 1], got {value:g}"
    if field.check == "at least 1":
        return f"must be at least 1, got {value:g}"
    if field.check == "positive" and value <= 0:
        return f"must be above 0, got {value:g}"
    if field.check == "positive" and value < least:
        return f"must be at least {least:g}, because it is divided by; got {value:g}"
    if least == 0 and value < 0:
        return f"must not be negative, got {value:g}"
    return f"must lie within ±{most:g}, got {value:g}"


def _stacked(values: Any) -> np.ndarray:
    """Numbers, or lists of them, as an array with a last axis over environments: of length 1 where all share them."""
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list):
        return np.array([values])
    if values and not isinstance(values[0], list) and not any(isinstance(value, np.ndarray) for value in values):
        return np.array(values)[:, None]
    return np.stack(np.broadcast_arrays(*map(_stacked, values)))
