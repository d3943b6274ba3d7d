"""Scenarios: TOML files that name an environment's actions, give its numbers, and say where each comes from.

The keys of a file are the fields of `EnvParams`; each action is a table of its own, ``[actions.NAME]``. A vector
may be one number (for every coordinate), a list, or a table by coordinate name. See
``docs/reference/scenario_files.md``.
"""

import dataclasses
import difflib
import math
import os
import unicodedata
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from aljax import limits
from aljax.env import COMPONENTS, ActionTable, EnvParams
from aljax.errors import UserError, listed, one_line, plain, plain_path, short
from aljax.host import toml

KINDS = {
    "tool": frozenset(),
    "reason": frozenset(),
    "clarify": frozenset({"reveals"}),
    "escalate": frozenset({"ends", "resolves"}),
    "terminate": frozenset({"ends"}),
}
"""Kinds of action, and which flag columns each sets unless the file says otherwise."""

_FLAGS = ("ends", "resolves", "reveals", "allowed")
_COLUMNS = tuple(field.name for field in dataclasses.fields(ActionTable))
_VECTORS = ("drift", "start_low", "start_high", "misread", "tolerance", "z_scale")
_SCALARS = ("latency_budget", "money_budget", "latency_scale", "money_scale")
_TEXTS = ("title", "description")
_KEYS = ("coordinates", "horizon", "weights", "actions", "sources", *_TEXTS, *_VECTORS, *_SCALARS)
_MOST_NAME = 100  # characters
_JOINERS = str.maketrans("", "", "\u200c\u200d")  # invisible, but part of words and of emoji


@dataclasses.dataclass(frozen=True)
class Scenario:
    """An environment with its names. The arrays are in `params`; everything else is for people and files."""

    name: str
    """The shipped file's name without ending, or a user's file's."""
    title: str
    """One line."""
    description: str
    """What it models, and what about it was measured, calibrated or assumed."""
    params: EnvParams
    """The environment."""
    action_names: tuple[str, ...]
    """A names, in the order of the table's rows."""
    coordinate_names: tuple[str, ...]
    """d names, in the order of the task vector."""
    kinds: tuple[str, ...]
    """A kinds, each one of `KINDS`."""
    sources: Mapping[str, str]
    """Where numbers come from: a key, or the beginning of several, to a text. The longest match holds."""
    text: str
    """The file as read."""
    overrides: tuple[str, ...] = ()
    """What was changed after reading, each ``key=value``."""

    @property
    def horizon(self) -> int:
        """H as a Python number: the length of the scan that plays this scenario."""
        return int(self.params.horizon)

    @property
    def tools(self) -> np.ndarray:
        """Which rows are of kind ``tool``; the heuristics choose among these. Boolean ``[A]``"""
        return np.array([kind == "tool" for kind in self.kinds])

    def source_of(self, key: str) -> str | None:
        """Where the number under a dotted key of the file comes from, or None if the file does not say."""
        parts = key.split(".")
        prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        return next((self.sources[prefix] for prefix in prefixes if prefix in self.sources), None)


def scenario_names() -> list[str]:
    """The scenarios that ship with the package, sorted."""
    folder = resources.files("aljax") / "scenarios"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_scenario(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Loads a shipped scenario by name, or a user's own file by path.

    Args:
      name_or_path: a name from `scenario_names`, or the path of a TOML file.
      overrides: changes made after reading, each ``key=value`` with a TOML value, for instance
        ``actions.failure.search=0.3`` (the path in `EnvParams`) or ``horizon=20``.

    Returns:
      The scenario.

    Raises:
      UserError: no such scenario, broken TOML, or a key or number that cannot be; one line naming file, key
        and reason.
    """
    name, where, text = read_scenario(name_or_path)
    return parse_scenario(text, name=name, where=where, overrides=overrides)


def parse_scenario(text: str, *, name: str, where: str, overrides: Sequence[str] = ()) -> Scenario:
    """Makes a scenario of a TOML text; `where` stands for the file in messages. See `load_scenario`."""
    raw = toml.parse(text, where)
    for override in overrides:
        _override(raw, override, f"{where} with {plain(override)}")
    if overrides:
        where = f"{where} with {listed(overrides, 160)}"
    return _Reader(raw, where).scenario(name, text, tuple(overrides))


def read_scenario(name_or_path: str | Path) -> tuple[str, str, str]:
    """Name, place and text of a scenario, for `parse_scenario`. See `load_scenario`."""
    asked, names = str(name_or_path), scenario_names()
    if asked in names:
        return asked, f"{asked}.toml", shipped_text(asked)
    if not os.path.exists(asked):  # noqa: PTH110  (Path.exists raises where no file could have this name)
        near = difflib.get_close_matches(asked, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"unknown scenario {short(asked, 200)}{hint}: expected one of {', '.join(names)}, "
            "or the path of a TOML file"
        )
    return Path(asked).stem, plain_path(asked), toml.read(asked)


def shipped_text(name: str) -> str:
    """The file of a scenario that ships with the package."""
    return (resources.files("aljax") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


def _override(raw: dict[str, Any], override: str, where: str) -> None:
    """Applies one ``key=value`` to the file's contents, in place."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"{where}: expected key=value, for instance actions.failure.search=0.3")
    value = toml.parse_value(text, where)
    if parts[0] == "actions" and len(parts) > 2 and parts[1] in ("kind", *_COLUMNS):
        parts[1], parts[2] = parts[2], parts[1]  # EnvParams' order, column first, to the file's, row first
    if parts[0] == "actions":
        actions = raw.get("actions")
        if len(parts) < 3 or parts[2] not in (*_COLUMNS, "kind"):
            raise UserError(f"{where}: expected actions.COLUMN.ACTION, COLUMN one of {', '.join(_COLUMNS)}")
        if not isinstance(actions, dict) or parts[1] not in actions:
            names = listed(actions, 160) if isinstance(actions, dict) else "none, for the file has no table [actions]"
            raise UserError(f"{where}: no action {short(parts[1])}: expected one of {names}")
    elif parts[0] not in _KEYS or parts[0] in ("sources", "coordinates", *_TEXTS):
        settable = ("horizon", "weights", "actions", *_VECTORS, *_SCALARS)
        raise UserError(f"{where}: unknown key {short(key.strip())}: expected one of {', '.join(settable)}")
    target: Any = raw
    coordinates = raw.get("coordinates")
    names = [name for name in coordinates if isinstance(name, str)] if isinstance(coordinates, list) else []
    for depth, part in enumerate(parts[:-1]):
        inner = target.get(part)
        if isinstance(inner, list) and depth == len(parts) - 2 and len(inner) == len(names):
            inner = dict(zip(names, inner, strict=True))  # one entry of a vector given as a list
        elif isinstance(inner, (int, float)) and depth == len(parts) - 2 and parts[-1] in names:
            inner = dict.fromkeys(names, inner)
        elif inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise UserError(f"{where}: {plain('.'.join(parts[: depth + 1]))} has no entry {short(parts[depth + 1])}")
        target[part] = inner
        target = inner
    target[parts[-1]] = value


class _Reader:
    """Checks a parsed file and turns it into arrays; every complaint names the file, the key and the reason."""

    def __init__(self, raw: dict[str, Any], where: str):
        self.raw, self.where = raw, where

    def scenario(self, name: str, text: str, overrides: tuple[str, ...]) -> Scenario:
        raw = self.raw
        self.known(raw, _KEYS, "")
        self.names = self.coordinates()
        texts = {key: self.text(raw.get(key, ""), key) for key in _TEXTS}
        texts["title"] = one_line(texts["title"])
        rows = self.table(raw.get("actions"), "actions")
        if not rows:
            self.fail("actions", "at least one table [actions.NAME] is needed")
        horizon = raw.get("horizon")
        if type(horizon) is not int or not 1 <= horizon <= limits.MOST_HORIZON:
            self.fail("horizon", f"expected a whole number from 1 to {limits.MOST_HORIZON:,}, got {short(horizon)}")
        self.refuse(limits.too_large(len(rows), len(self.names), horizon))
        self.distinct(list(rows), "actions")
        parsed = {row: self.row(row, self.table(body, f"actions.{row}")) for row, body in rows.items()}
        columns = {column: [row[column] for row in parsed.values()] for column in _COLUMNS}
        if not any(columns["allowed"]):
            self.fail("actions", "no action is allowed")

        low, high = self.vector("start_low"), self.vector("start_high")
        for coordinate, below, above in zip(self.names, low, high, strict=True):
            if below > above:
                self.fail(f"start_low.{coordinate}", f"{below:g} is above start_high's {above:g}")
        tolerance, drift, weights = self.vector("tolerance", least=0), self.vector("drift", absent=0.0), self.weights()
        budgets = {key: self.scalar(f"{key}_budget", math.inf) for key in ("latency", "money")}
        vectors = {"drift": drift, "start_low": low, "start_high": high}
        self.refuse(limits.too_far(columns, vectors, weights, budgets, horizon, tuple(rows), self.names))
        reach = [_scale(max(abs(a), abs(b), t)) for a, b, t in zip(low, high, tolerance, strict=True)]
        params = EnvParams(
            actions=ActionTable(**{c: _array(v, bool if c in _FLAGS else np.float32) for c, v in columns.items()}),
            drift=_floats(drift),
            start_low=_floats(low),
            start_high=_floats(high),
            misread=_floats(self.vector("misread", absent=0.0, least=0)),
            tolerance=_floats(tolerance),
            latency_budget=_floats(budgets["latency"]),
            money_budget=_floats(budgets["money"]),
            horizon=_array(horizon, np.int32),
            weights=_floats(weights),
            z_scale=_floats(self.vector("z_scale", default=reach, positive=True)),
            latency_scale=_floats(self.scalar("latency_scale", _scale(max(columns["latency"]) * horizon))),
            money_scale=_floats(self.scalar("money_scale", _scale(max(columns["money"]) * horizon))),
        )
        sources = self.table(raw.get("sources", {}), "sources")
        kinds = tuple(row["kind"] for row in parsed.values())
        return Scenario(
            name=name,
            params=jax.device_put(params),
            action_names=tuple(rows),
            coordinate_names=tuple(self.names),
            kinds=kinds,
            sources={key: self.text(value, f'sources."{plain(key)}"') for key, value in sources.items()},
            text=text,
            overrides=overrides,
            **texts,
        )

    def fail(self, key: str, reason: str) -> NoReturn:
        raise UserError(f"{self.where}: {plain(key, 80)}: {reason}")

    def refuse(self, trouble: tuple[str, str] | None) -> None:
        if trouble is not None:
            self.fail(*trouble)

    def known(self, table: Mapping[str, Any], keys: Sequence[str], prefix: str) -> None:
        for key in table:
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

    def number(self, value: Any, key: str, *, least: float = -limits.LARGEST, most: float = limits.LARGEST,
               positive: bool = False) -> float:  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(key, f"expected a number, got {short(value)}")
        if not math.isfinite(value):
            self.fail(key, f"expected a finite number, got {value!r}")
        if least == 0 and most == 1 and not least <= value <= most:
            self.fail(key, f"a probability must lie in [0, 1], got {value:g}")
        if positive and value <= 0:
            self.fail(key, f"must be above 0, got {value:g}")
        if positive and value < limits.LEAST:
            self.fail(key, f"must be at least {limits.LEAST:g}, because it is divided by; got {value:g}")
        if least == 0 and value < 0:
            self.fail(key, f"must not be negative, got {value:g}")
        if not least <= value <= most:
            self.fail(key, f"must lie within ±{limits.LARGEST:g}, got {value:g}")
        return float(value) + 0.0  # of −0, 0

    def scalar(self, key: str, default: float) -> float:
        value = self.raw.get(key, default)
        if key not in self.raw or (key.endswith("_budget") and value == math.inf):
            return value
        return self.number(value, key, positive=True)

    def entries(self, value: Any, key: str, *, absent: float | None = None, **bounds: Any) -> list[float]:
        """A vector from one number, a list, or a table by coordinate name."""
        count = len(self.names)
        if isinstance(value, dict):
            self.known(value, self.names, f"{key}.")
            missing = [name for name in self.names if name not in value]
            if missing and absent is None:
                self.fail(key, f"no entry for {listed(missing, 160)}")
            value = [value.get(name, absent) for name in self.names]
        elif not isinstance(value, list):
            return [self.number(value, f"{key}.{self.names[0]}", **bounds)] * count
        if len(value) != count:
            self.fail(key, f"expected {count} numbers, one a coordinate, got {len(value)}")
        return [self.number(x, f"{key}.{name}", **bounds) for x, name in zip(value, self.names, strict=True)]

    def vector(self, key: str, *, default: Any = None, absent: float | None = None, **bounds: Any) -> list[float]:
        value = self.raw.get(key, absent if default is None else default)
        if value is None:
            self.fail(key, "missing")
        return self.entries(value, key, absent=absent, **bounds)

    def weights(self) -> list[float]:
        table = self.table(self.raw.get("weights"), "weights")
        self.known(table, COMPONENTS, "weights.")
        missing = [name for name in COMPONENTS if name not in table]
        if missing:
            self.fail("weights", f"no entry for {', '.join(missing)}")
        return [self.number(table[name], f"weights.{name}", least=0) for name in COMPONENTS]

    def row(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """One action's columns, defaults filled in."""
        key = f"actions.{name}"
        if name in _COLUMNS or name == "kind" or not name or any(mark in name for mark in ".= \t\n"):
            self.fail(key, "an action's name may not be a column's, and has no dots, blanks or equals signs")
        self.known(body, ("kind", *_COLUMNS), f"{key}.")
        kind = body.get("kind", "tool")
        if not isinstance(kind, str) or kind not in KINDS:
            self.fail(f"{key}.kind", f"expected one of {', '.join(KINDS)}, got {short(kind)}")
        for column in ("latency", "money"):
            if column not in body:
                self.fail(f"{key}.{column}", "missing")
        failure = self.number(body.get("failure", 0.0), f"{key}.failure", least=0, most=1)
        row: dict[str, Any] = {
            "kind": kind,
            "latency": self.number(body["latency"], f"{key}.latency", least=0),
            "money": self.number(body["money"], f"{key}.money", least=0),
            "failure": failure,
            "retry_failure": self.number(body.get("retry_failure", failure), f"{key}.retry_failure", least=0, most=1),
            "gain": self.entries(body.get("gain", 1.0), f"{key}.gain", absent=1.0),
            "shift": self.entries(body.get("shift", 0.0), f"{key}.shift", absent=0.0),
            "noise": self.number(body.get("noise", 0.0), f"{key}.noise", least=0),
        }
        for flag in _FLAGS:
            row[flag] = body.get(flag, flag == "allowed" or flag in KINDS[kind])
            if not isinstance(row[flag], bool):
                self.fail(f"{key}.{flag}", f"expected true or false, got {short(row[flag])}")
        if row["resolves"] and not row["ends"]:
            self.fail(f"{key}.resolves", "a row that resolves the task must also end the episode (ends = true)")
        return row


def _scale(reach: float) -> float:
    """What observations are divided by where a number gets so far; 1 where it hardly leaves 0."""
    return reach if reach >= limits.LEAST else 1.0


def _floats(values: Any) -> Any:
    return _array(values, np.float32)


def _array(values: Any, dtype: Any) -> Any:
    """An array for `jax.device_put`, which puts all of them at once: ``jnp.asarray`` compiles for each shape."""
    return np.asarray(values, dtype)
