"""Reads a sweep: from a file, from a mapping with the same keys, or from what a sweep folder says it holds."""

import contextlib
import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aljax import limits
from aljax.checks import check_protocol
from aljax.errors import UserError, listed, plain, plain_path, short
from aljax.host import toml
from aljax.options import Protocol
from aljax.overrides import SETTABLE, field_of
from aljax.promises import check_constraints
from aljax.sweeps.resolve import Resolver
from aljax.sweeps.space import CONFIG_FIELDS, METHODS, MOST_RUNS, NUMBER_FIELDS, Axis, Spec, Value

MOST_AXES = 100
"""Axes of one sweep at most."""

_KEYS = ("scenario", "method", "configurations", "seeds", "seed", "evaluation_episodes", "optimum", "set", "axes")
_AXIS_KEYS = ("low", "high", "log", "steps", "choice")


def read_spec(path: str | Path, changes: Mapping[str, Any] | None = None) -> Spec:
    """Reads a sweep file.

    Args:
      path: a TOML file; see docs/reference/sweep_files.md.
      changes: top-level keys, or ``set``, to put in place of the file's.

    Returns:
      The sweep, every value of it checked.

    Raises:
      UserError: one line naming the file, the key and the reason.
    """
    raw = toml.parse(toml.read(path), plain_path(path))
    changes = dict(changes or {})
    if isinstance(raw.get("set", {}), dict):
        changes["set"] = raw.get("set", {}) | changes.get("set", {})
    return make_spec(raw | changes, plain_path(path))


def parsed_setting(text: str) -> tuple[str, Value]:
    """Key and value of a ``key=value`` with a TOML value, as ``--set`` takes it.

    Args:
      text: the setting.

    Returns:
      The key, and the value as TOML reads it.

    Raises:
      UserError: it is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {plain(text)}: expected key=value, for instance batch=60")
    return key.strip(), toml.parse_value(value, f"--set {plain(text)}")


def make_spec(raw: Mapping[str, Any], where: str = "sweep") -> Spec:
    """Makes a sweep of a mapping with the keys of a sweep file.

    Args:
      raw: see docs/reference/sweep_files.md.
      where: stands for the file in messages.

    Returns:
      The sweep, every value of it checked.

    Raises:
      UserError: one line naming the key and the reason.
    """
    return _Reader(raw, where).spec()


def restored_spec(found: Mapping[str, Any], where: str) -> Spec:
    """The sweep that a fingerprint was taken of.

    Args:
      found: from `Spec.fingerprint`, or what a sweep folder says that it was.
      where: stands for it in messages.

    Returns:
      The sweep.

    Raises:
      UserError: a value that no sweep has.
      ValueError, TypeError, KeyError, AttributeError: it is no fingerprint.
    """
    reader, axes = _Reader({}, where), tuple(map(Axis.from_json, found["axes"]))
    for axis in axes:
        body = {"low": axis.low, "high": axis.high, "log": axis.log} | ({"steps": axis.steps} if axis.steps else {})
        if reader.axis(axis.key, list(axis.choices) or body) != axis and not axis.choices:
            raise ValueError(f"axes.{plain(axis.key)}: no axis of this version")
    fixed = dict(found["set"])
    for key, value in fixed.items():
        reader.value(f"set.{key}", key, value)
    protocol, count = Protocol(**found["protocol"]), found["configurations"]
    with reader.told():
        check_protocol(protocol)
    if found["method"] not in METHODS or not isinstance(found["scenario"], str):
        raise ValueError("no method or no scenario")
    if type(count) is not int or not 1 <= count * protocol.seeds <= MOST_RUNS or type(found["optimum"]) is not bool:
        raise ValueError("no number of configurations, or no word about the optimum")
    return Spec(axes, found["scenario"], fixed, found["method"], count, protocol, found["optimum"], where)


class _Reader:
    """Checks a sweep's contents; every complaint names the file, the key and the reason."""

    def __init__(self, raw: Mapping[str, Any], where: str):
        self.raw, self.where = raw, where

    def spec(self) -> Spec:
        raw = self.raw
        for key in raw:
            if key not in _KEYS:
                self.fail(key, f"unknown key{_near(key, _KEYS)}: expected one of {', '.join(_KEYS)}")
        method = raw.get("method", "grid")
        if method not in METHODS:
            self.fail("method", f"expected one of {', '.join(METHODS)}, got {short(method)}")
        protocol = Protocol(**{name: raw[name] for name in ("seeds", "seed", "evaluation_episodes") if name in raw})
        with self.told():
            check_protocol(protocol)
        scenario = raw.get("scenario", "paper")
        if not isinstance(scenario, str):
            self.fail("scenario", f"expected a name or the path of a TOML file, got {short(scenario)}")
        optimum = raw.get("optimum", True)
        if not isinstance(optimum, bool):
            self.fail("optimum", f"expected true or false, got {short(optimum)}")
        fixed = dict(self.flat(self.table("set"), "set", axes=False))
        for key, value in fixed.items():
            self.value(f"set.{key}", key, value)
        if "scenario" in fixed:
            self.fail("set.scenario", "write scenario = ... above the tables instead")
        axes = tuple(self.axis(key, value) for key, value in self.flat(self.table("axes"), "axes", axes=True))
        if not axes:
            self.fail("axes", "at least one axis is needed, for instance learning_rate = [0.01, 0.02]")
        if len(axes) > MOST_AXES:
            self.fail("axes", f"{len(axes):,} axes, expected at most {MOST_AXES}")
        for axis in axes:
            if axis.key in fixed:
                self.fail(f"set.{axis.key}", "is an axis as well")
        if method == "grid":
            for axis in axes:
                if not axis.choices and not axis.steps:
                    self.fail(f"axes.{axis.key}", "a grid needs steps = ..., or a list, or another method")
            count = math.prod(len(axis.choices) or axis.steps for axis in axes)
            if "configurations" in raw:
                self.fail("configurations", "a grid has its own number: leave it out, or choose another method")
        else:
            if "configurations" not in raw:
                self.fail("configurations", f"missing: how many points should {method} draw?")
            count = raw["configurations"]
            if type(count) is not int or count < 1:
                self.fail("configurations", f"expected a whole number of at least 1, got {short(count)}")
        runs = count * protocol.seeds
        if runs > MOST_RUNS:
            most = f"at most {MOST_RUNS:,} make one sweep"
            made = f"{_count(count)} configurations × {protocol.seeds:,} seeds = {_count(runs)} runs"
            raise UserError(f"{self.where}: {made}; {most}")
        if method == "grid":  # whole numbers of a range may coincide: then it has fewer than its steps
            axes = tuple(a if a.choices else dataclasses.replace(a, choices=a.grid()) for a in axes)
        spec = Spec(axes, scenario, fixed, method, 0 if method == "grid" else count, protocol, optimum, self.where)
        self.scenario_keys(spec)
        return spec

    def fail(self, key: str, reason: str) -> NoReturn:
        raise UserError(f"{self.where}: {plain(key, 80)}: {reason}")

    @contextlib.contextmanager
    def told(self, where: str = "", key: str = "") -> Iterator[None]:
        """Says of a refusal of an option in which file it is, and where there."""
        try:
            yield
        except UserError as error:
            message = str(error)
            raise UserError(f"{self.where}: {where}{message.removeprefix(key)}") from None

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.raw.get(key, {})
        if not isinstance(value, Mapping):
            self.fail(key, f"expected a table [{key}], got {short(value)}")
        return value

    def flat(self, table: Mapping[str, Any], where: str, *, axes: bool) -> Iterable[tuple[str, Any]]:
        """Dotted keys, which TOML reads as tables in tables, put together again."""
        for key, value in table.items():
            if isinstance(value, Mapping) and not (axes and (not value or set(value) & set(_AXIS_KEYS))):
                for inner, found in self.flat(value, f"{where}.{key}", axes=axes):
                    yield f"{key}.{inner}", found
            else:
                yield key, value

    def axis(self, key: str, body: Any) -> Axis:
        """One axis from a list, or a table with low and high, or with choice."""
        where = f"axes.{key}"
        self.known(where, key)
        if isinstance(body, Mapping):
            for entry in body:
                if entry not in _AXIS_KEYS:
                    self.fail(f"{where}.{entry}", f"unknown key: expected {', '.join(_AXIS_KEYS)}")
            if "choice" in body and len(body) > 1:
                self.fail(where, "choice stands alone")
        choices = body.get("choice") if isinstance(body, Mapping) else body
        if choices is not None:
            if not isinstance(choices, list) or not choices:
                self.fail(
                    where, f"expected a list of at least one value, or a table with low and high, got {short(choices)}"
                )
            if len(choices) > MOST_RUNS:
                self.fail(where, f"{len(choices):,} values, expected at most {MOST_RUNS:,}")
            for value in choices:
                self.value(where, key, value)
            if len({toml.dump(value) for value in choices}) < len(choices):
                self.fail(where, "a value stands twice")
            return Axis(key, tuple(choices))
        return self.range(where, key, body)

    def range(self, where: str, key: str, body: Mapping[str, Any]) -> Axis:
        field = field_of(key)
        counts = field is not None and field.check == "count"
        integer = CONFIG_FIELDS[key].type is int if key in CONFIG_FIELDS else counts
        if key == "scenario" or (key in CONFIG_FIELDS and not integer):
            self.fail(where, "is no number: expected a list of values")
        ends = []
        for end in ("low", "high"):
            value = body.get(end)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
                self.fail(f"{where}.{end}", "missing" if value is None else f"expected a number, got {short(value)}")
            if key not in CONFIG_FIELDS and key not in NUMBER_FIELDS and not abs(value) <= limits.LARGEST:
                self.fail(f"{where}.{end}", f"must lie within ±{limits.LARGEST:g}, got {short(value)}")
            self.value(f"{where}.{end}", key, value)
            ends.append(value)
        low, high = ends
        if not low < high:
            self.fail(where, f"an empty range: low {low:g} is not below high {high:g}")
        log, steps = body.get("log", False), body.get("steps", 0)
        if not isinstance(log, bool):
            self.fail(f"{where}.log", f"expected true or false, got {short(log)}")
        if log and low <= 0:
            self.fail(where, f"a logarithmic range starts above 0, got {low:g}")
        if type(steps) is not int or (steps < 2 and "steps" in body):
            self.fail(f"{where}.steps", f"expected a whole number of at least 2, got {short(steps)}")
        if steps > MOST_RUNS:
            self.fail(f"{where}.steps", f"expected a whole number of at most {MOST_RUNS:,}, got {short(steps)}")
        return Axis(key, low=low, high=high, log=log, integer=integer, steps=steps)

    def known(self, where: str, key: str) -> None:
        first = key.partition(".")[0]
        known = ("scenario", *CONFIG_FIELDS, *NUMBER_FIELDS, *SETTABLE)
        if key in ("scenario", *CONFIG_FIELDS, *NUMBER_FIELDS) or first in SETTABLE:
            return
        what = "axis" if where.startswith("axes") else "key"
        self.fail(where, f"unknown {what}{_near(key, known)}: expected one of {listed(known, 200)}")

    def value(self, where: str, key: str, value: Any) -> None:
        """Refuses a value of the wrong type or out of range. Whether a scenario takes a number is its own to say."""
        self.known(where, key)
        if key == "scenario":
            if not isinstance(value, str):
                self.fail(where, f"expected names or paths of scenarios, got {short(value)}")
        elif key == "hidden":
            if not isinstance(value, list) or not all(type(units) is int and units > 0 for units in value):
                self.fail(where, f"expected lists of units, such as [64] or [32, 32], got {short(value)}")
            with self.told(where, key):
                limits.check_hidden(value)
        elif key == "constraints":
            if not isinstance(value, list):
                self.fail(where, f"expected lists of texts, such as ['money<=0.02'], got {short(value)}")
            with self.told(f"{where}: "):
                check_constraints(tuple(value))
        elif key in CONFIG_FIELDS:
            wanted = CONFIG_FIELDS[key].type
            names = typing.get_args(wanted)
            if names and value not in names:
                self.fail(where, f"expected one of {', '.join(names)}, got {short(value)}")
            if not names and type(value) is not wanted:
                kind = "true or false" if wanted is bool else "a whole number"
                self.fail(where, f"expected {kind}, got {short(value)}")
            if wanted is int:
                with self.told(where, key):
                    limits.check_whole(key, value)
        elif key in NUMBER_FIELDS:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self.fail(where, f"expected a number, got {short(value)}")
            with self.told(where, key):
                limits.check_number(key, value)
        elif isinstance(value, float) and not (math.isfinite(value) or (value > 0 and _may_be_endless(key))):
            self.fail(where, f"expected a finite number, got {value}")
        elif not _writable(value):
            self.fail(where, f"expected a number, text, true or false, a list or a table, got {short(value)}")

    def scenario_keys(self, spec: Spec) -> None:
        """Tries one value of every axis of the scenario, so that a wrong key is told by its axis, before the work."""
        resolver = Resolver(spec)
        resolver.job([axis.choices[0] if axis.choices else axis.low for axis in spec.axes])


def _may_be_endless(key: str) -> bool:
    field = field_of(key)
    return field is not None and field.endless


def _near(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _count(number: int) -> str:
    """A count for people; of too many to imagine, how many digits it has."""
    return f"{number:,}" if number < 10**15 else f"more than 10^{int(math.log10(number))}"


def _writable(value: Value, depth: int = 0) -> bool:
    """TOML has it: what a scenario's key might take."""
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return depth < 4 and all(_writable(each, depth + 1) for each in inner)
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, (float, str))
