"""Intervals of a scenario's numbers, for what calibration or a user is unsure of, and the laws behind them.

A number with an interval has a law of three quantiles: with probability 2.5 % it is below the interval, with 2.5 %
above it, and its median is the number that the file gives. In logits (probabilities), in logarithms (what is not
negative) or as it is (what may be negative) the law has the two halves of normal laws, of one median and with a
standard deviation on each side of it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, Protocol

import numpy as np

from aljax import limits
from aljax.errors import listed, short
from aljax.fields import Check, Declared, Numbers, Same
from aljax.overrides import COLUMNS, FIELDS, flattened, in_file_order

Law = Literal["logit", "log", "plain"]
LAWS: Mapping[Check, Law] = {"probability": "logit", "not negative": "log", "positive": "log", "number": "plain"}
"""Where numbers that are not known for certain are normal, by what their field takes; others are known."""
KNOWN = (
    "weights", "z_scale", "latency_scale", "money_scale", "start_low", "start_high", "start_points", "start_weights",
)  # fmt: skip
"""Fields that are never unsure: what is wanted, units, and starts, which are drawn for each episode anyway."""
Z = 1.959963984540054
"""How many standard deviations an end of an interval lies from the middle."""
FARTHEST = 5.5
"""No normal number that is drawn lies farther out, in standard deviations."""
_DIVISORS = ("latency_budget", "money_budget", "latency_limit", "money_limit")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a number stands in the environment, by names."""

    field: str
    """Of `aljax.params.EnvParams`, or the column of its table."""
    row: str | None = None
    """The action; None: it is no column."""
    coordinate: str | None = None
    """None: the field has no such axis."""


@dataclasses.dataclass(frozen=True)
class Doubt:
    """A number that is not known for certain."""

    key: str
    """As the file has it: ``actions.search.failure``."""
    value: float
    """What it is where nothing is drawn: the median."""
    low: float
    """2.5 % of draws are below."""
    high: float
    """2.5 % of draws are above."""
    law: Law
    places: tuple[Place, ...]
    """Where it stands: in its own place first, then in those whose default it is."""

    @property
    def normal(self) -> tuple[float, float, float]:
        """Of its law, where that is normal: the median, and the standard deviations below and above it."""
        low, middle, high = (_MADE_NORMAL[self.law](x) for x in (self.low, self.value, self.high))
        return middle, (middle - low) / Z, (high - middle) / Z

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that its field takes; what is drawn outside is put there."""
        return limits.BOUNDS[_field(self.places[0].field).check]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that can be drawn."""
        middle, below, above = self.normal
        far = middle - FARTHEST * below, middle + FARTHEST * above
        low, high = (float(np.clip(_MADE_BACK[self.law](x), *self.bounds)) for x in far)
        return low, high


_MADE_NORMAL = {"logit": lambda x: math.log(x / (1 - x)), "log": math.log, "plain": float}
_MADE_BACK = {
    "logit": lambda x: 1 / (1 + math.exp(-min(max(x, -700.0), 700.0))),
    "log": lambda x: math.exp(min(x, 700.0)),
    "plain": float,
}


class Reader(Protocol):
    """What reading needs of whoever reads the file."""

    names: list[str]
    """Of the coordinates."""
    raw: Mapping[str, Any]
    """The file."""

    def fail(self, key: str, reason: str) -> NoReturn:
        """Refuses a key."""
        ...

    def refuse(self, wrong: np.ndarray, why: Any) -> None:
        """Notes which of many environments cannot be; of one, tells why."""
        ...

    def table(self, value: Any, key: str) -> dict[str, Any]:
        """A table."""
        ...


def read_intervals(reader: Reader, bodies: Mapping[str, Mapping[str, Any]], numbers: Numbers) -> tuple[Doubt, ...]:
    """Reads ``[intervals]``.

    Args:
      reader: of the file.
      bodies: what it says of each action.
      numbers: of the environment, all read.

    Returns:
      A doubt an interval, in the file's order.

    Raises:
      UserError: an interval that cannot be, or a key that has none.
    """
    given = flattened(reader.table(reader.raw.get("intervals", {}), "intervals"))
    keys: dict[str, Any] = {}
    for written, ends in given.items():
        key = ".".join(in_file_order(written.split(".")))
        if key in keys:
            reader.fail(f"intervals.{written}", "stands there twice")
        keys[key] = ends
    own = {key: _place(reader, key, list(bodies), numbers) for key in keys}
    found = [_doubt(reader, key, ends, own[key], bodies, numbers) for key, ends in keys.items()]
    if found:
        _check_farthest(reader, found, list(bodies), numbers)
    return tuple(found)


def _field(name: str) -> Declared:
    return COLUMNS[name] if name in COLUMNS else FIELDS[name]


def _place(reader: Reader, key: str, rows: Sequence[str], numbers: Numbers) -> Place:
    """Where a key's number stands."""
    said, (first, *rest) = f"intervals.{key}", key.split(".")
    row = None
    if first == "actions":
        if len(rest) < 2:
            reader.fail(said, "expected one number of an action, such as actions.search.failure")
        row, first, *rest = rest
        if row not in rows:
            reader.fail(said, f"no action {short(row)}: expected one of {listed(rows, 160)}")
    if first not in (FIELDS if row is None else COLUMNS):
        reader.fail(said, f"{short(first)} is no number of {'the environment' if row is None else 'an action'}")
    field = _field(first)
    if first in KNOWN or field.check not in LAWS:
        reader.fail(said, f"{first} is known: no weight, scale, start, flag or whole number has an interval")
    if first not in numbers:
        reader.fail(said, f"the file gives no {first}, so there is no number that this could be the interval of")
    if "d" not in field.axes:
        if rest:
            reader.fail(said, f"{first} is one number, and has no entry {short('.'.join(rest))}")
        return Place(first, row)
    if len(rest) != 1 or rest[0] not in reader.names:
        reader.fail(said, f"expected one coordinate, of {listed(reader.names, 160)}")
    return Place(first, row, rest[0])


def _doubt(
    reader: Reader, key: str, ends: Any, place: Place, bodies: Mapping[str, Mapping[str, Any]], numbers: Numbers
) -> Doubt:
    """A number and its interval, checked."""
    said, law = f"intervals.{key}", LAWS[_field(place.field).check]
    pair = isinstance(ends, list) and len(ends) == 2
    if not pair or any(isinstance(x, bool) or not isinstance(x, (int, float)) for x in ends):
        reader.fail(said, f"expected [low, high], two numbers, got {short(ends)}")
    low, high = map(float, ends)
    least, most = limits.BOUNDS[_field(place.field).check]
    if not low <= high:
        reader.fail(said, f"low, {low:g}, is above high, {high:g}")
    if not least <= low <= high <= most:
        reader.fail(said, f"expected numbers within [{least:g}, {most:g}], as {place.field} takes, got {short(ends)}")
    if law != "plain" and low == 0:
        reader.fail(said, f"low must be above 0, for {place.field} is drawn on a scale of ratios")
    if law == "logit" and high == 1:
        reader.fail(said, f"high must be below 1, for {place.field} is drawn on a scale of odds")
    if isinstance(_field(place.field).default, Same) and _left_out(reader, place, bodies):
        reader.fail(said, "the file leaves this number out, so there is none that this could be the interval of")
    value = numbers[place.field][_index(reader, place, list(bodies))]
    outside = ~((low <= value) & (value <= high))
    reader.refuse(outside, lambda: (said, f"the number itself, {value[0]:g}, lies outside [{low:g}, {high:g}]"))
    places = (place, *_followers(reader, place, bodies, numbers))
    return Doubt(key, float(np.clip(value[0], low, high)), low, high, law, places)


def _index(reader: Reader, place: Place, rows: Sequence[str]) -> tuple[int, ...]:
    """Where in its array a place is."""
    row = () if place.row is None else (rows.index(place.row),)
    return row if place.coordinate is None else (*row, reader.names.index(place.coordinate))


def _left_out(reader: Reader, place: Place, bodies: Mapping[str, Mapping[str, Any]]) -> bool:
    """The file does not give the number at a place."""
    given = (reader.raw if place.row is None else bodies[place.row]).get(place.field)
    return given is None or (isinstance(given, dict) and place.coordinate not in given)


def _followers(reader: Reader, place: Place, bodies: Mapping[str, Mapping[str, Any]], numbers: Numbers) -> list[Place]:
    """Where the number stands because the file leaves another one out, whose default it is."""
    fields = FIELDS if place.row is None else COLUMNS
    same = [
        name
        for name, field in fields.items()
        if isinstance(field.default, Same) and field.default.as_field == place.field and name in numbers
    ]
    places = [dataclasses.replace(place, field=name) for name in same]
    return [other for other in places if _left_out(reader, other, bodies)]


def _check_farthest(reader: Reader, doubts: Sequence[Doubt], rows: Sequence[str], numbers: Numbers) -> None:
    """Refuses intervals from which environments could be drawn whose costs grow out of bounds."""
    far = {name: np.array(values, float) for name, values in numbers.items()}
    for doubt in doubts:
        low, high = doubt.ends
        for place in doubt.places:
            worst = low if place.field in _DIVISORS or abs(low) > abs(high) else high
            far[place.field][_index(reader, place, rows)] = worst
    reader.refuse(
        limits.too_far(far),
        lambda: ("intervals", f"what could be drawn: {limits.why_too_far(far, rows, reader.names)[1]}"),
    )
