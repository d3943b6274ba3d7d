"""Scenarios: TOML files that name an environment's actions, give its numbers, and say where each comes from.

The keys of a file are the fields of `EnvParams`; each action is a table of its own, ``[actions.NAME]``. A vector
may be one number (for every coordinate), a list, or a table by coordinate name. See
``docs/reference/scenario_files.md``.
"""

import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError, listed, plain_path, short
from aljax.fields import Numbers
from aljax.host import toml
from aljax.intervals import Doubt
from aljax.overrides import COLUMNS, FIELDS, Given, Override, field_of, overridden, overrides_of
from aljax.params import ActionTable, EnvParams
from aljax.reading import Contents, read
from aljax.rules.data import Rules
from aljax.rules.reading import DOTTED

_TOGETHER = 1_000_000
"""Cells of the action tables that are read together."""


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
    """A kinds, each one of `aljax.reading.KINDS`."""
    sources: Mapping[str, str]
    """Where numbers come from: a key, or the beginning of several, to a text. The longest match holds."""
    text: str
    """The file as read."""
    rule_names: tuple[str, ...] = ()
    """R names, in the order of `EnvParams.rules`."""
    covers: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Of actions that stand for calls of other names in a log, patterns of those names, as a shell has them."""
    doubts: tuple[Doubt, ...] = ()
    """The numbers that are not known for certain, and their intervals."""
    changes: tuple[Override, ...] = ()
    """What was changed after reading."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """The changes as ``--set`` takes them and as files and tables say them, each ``key=value``."""
        return tuple(map(str, self.changes))

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


@dataclasses.dataclass(frozen=True)
class Source:
    """A scenario's file, parsed once, however many scenarios are made of it."""

    name: str
    """The scenario's."""
    where: str
    """Stands for the file in messages."""
    text: str
    """The file as read."""

    @functools.cached_property
    def raw(self) -> Mapping[str, Any]:
        """Its contents, not checked yet."""
        return toml.parse(self.text, self.where)

    def scenario(self, overrides: Given = ()) -> Scenario:
        """The scenario with some changes made. See `load_scenario`."""
        raw, changes = self.raw, []
        for change in overrides_of(overrides, self.where):
            raw = overridden(raw, change, self.where)
            changes.append(change)
        found = read(raw, f"{self.where} with {listed(changes, 160)}" if changes else self.where)
        leaves = {name: values[..., 0] for name, values in _typed(found.numbers).items()}
        # All arrays are put at once: ``jnp.asarray`` compiles for each shape.
        return self._named(found, jax.device_put(_environment(leaves, found)), tuple(changes))

    def scenarios(self, keys: Sequence[str], rows: Sequence[Sequence[toml.Value]]) -> list[Scenario | None]:
        """Scenarios that differ in what stands behind the same keys, as `scenario` would make them one by one.

        Those that differ in numbers only are read together, each check being made once, of arrays.

        Args:
          keys: what is changed, in this order.
          rows: for each scenario a value a key.

        Returns:
          A scenario a row, with NumPy's arrays; None where there can be none, and `scenario` says why.
        """
        numeric = [self._are_numbers(key, [row[i] for row in rows]) for i, key in enumerate(keys)]
        alike: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            rest = [value for value, number in zip(row, numeric, strict=True) if not number]
            alike.setdefault(repr(rest), []).append(index)
        found: list[Scenario | None] = [None] * len(rows)
        for indices in alike.values():
            for start in range(0, len(indices), self._most_together):
                some = indices[start : start + self._most_together]
                for index, scenario in zip(some, self._together(keys, numeric, [rows[i] for i in some]), strict=True):
                    found[index] = scenario
        return found

    @functools.cached_property
    def _most_together(self) -> int:
        """So many environments are read together at most, for what their tables take."""
        try:
            sizes = [len(self.raw.get(key, ())) for key in ("actions", "coordinates")]
        except (TypeError, UserError):  # it is refused where it is read
            return 1
        return max(1, _TOGETHER // max(1, sizes[0] * sizes[1]))

    def _are_numbers(self, key: str, values: Sequence[toml.Value]) -> bool:
        """All values of a key can stand in one array: whole numbers for a field that counts, or any numbers.

        What rules are made of cannot, nor calls at most, on which it depends whether rules can be kept.
        """
        field = field_of(key)
        if (field is None and key.strip().startswith("rules")) or (field and field.check == "calls" and self.ruled):
            return False
        return {type(value) for value in values} <= ({int} if field and field.check == "count" else {int, float})

    @functools.cached_property
    def ruled(self) -> bool:
        """The file has rules, and can be read."""
        try:
            return bool(self.raw.get("rules"))
        except UserError:  # it is refused where it is read
            return False

    def _together(
        self, keys: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[toml.Value]]
    ) -> list[Scenario | None]:
        """Scenarios that differ in numbers only. See `scenarios`."""
        try:
            raw = self.raw
            for i, key in enumerate(keys):
                value = np.array([row[i] for row in rows]) if numeric[i] else rows[0][i]
                raw = overridden(raw, Override(key, value, key), self.where)
            found = read(raw, self.where, many=len(rows))
        except UserError:
            return [None] * len(rows)
        # What is the same in all is one array; of what differs, each environment has its part.
        every = _typed(found.numbers)
        shared = {name: values[..., 0] for name, values in every.items()}
        own = {name: np.moveaxis(x, -1, 0).copy() for name, x in every.items() if x.shape[-1] > 1}
        columns, fields = own.keys() & COLUMNS.keys(), own.keys() & FIELDS.keys()
        ruled = {name.partition(".")[2]: values for name, values in own.items() if name.startswith("rules.")}
        base = self._named(found, _environment(shared, found), ())
        made: list[Scenario | None] = []
        for i, row in enumerate(rows):
            table = dataclasses.replace(base.params.actions, **{name: own[name][i] for name in columns})
            params = dataclasses.replace(base.params, actions=table, **{name: own[name][i] for name in fields})
            if params.rules is not None and ruled:
                rules = dataclasses.replace(params.rules, **{name: values[i] for name, values in ruled.items()})
                params = dataclasses.replace(params, rules=rules)
            changes = tuple(map(Override, keys, row))
            made.append(None if found.wrong[i] else dataclasses.replace(base, params=params, changes=changes))
        return made

    def _named(self, found: Contents, params: EnvParams, changes: tuple[Override, ...]) -> Scenario:
        return Scenario(
            name=self.name,
            params=params,
            action_names=found.rows,
            coordinate_names=found.coordinates,
            kinds=found.kinds,
            rule_names=found.rules.names if found.rules else (),
            covers=found.covers,
            doubts=found.doubts,
            sources=found.sources,
            text=self.text,
            changes=changes,
            **found.texts,
        )


def _typed(numbers: Numbers) -> dict[str, np.ndarray]:
    """Numbers as the environment's arrays have them."""
    declared = {**COLUMNS, **FIELDS, **DOTTED}
    return {name: values.astype(declared[name].dtype) for name, values in numbers.items()}


def _environment(leaves: Mapping[str, np.ndarray], found: Contents) -> EnvParams:
    """The environment of arrays by field; what is not among them it does not have."""
    columns: dict[str, Any] = {name: leaf for name, leaf in leaves.items() if name in COLUMNS}
    fields: dict[str, Any] = {name: leaf for name, leaf in leaves.items() if name in FIELDS}
    rules = None
    if found.rules is not None:
        numbers: dict[str, Any] = {name: leaves[f"rules.{name}"] for name in found.rules.numbers}
        rules = Rules(structure=found.rules.structure, **numbers)
    return EnvParams(actions=ActionTable(**columns), **fields, rules=rules)


def scenario_names() -> list[str]:
    """The scenarios that ship with the package.

    Returns:
      Their names, sorted.
    """
    folder = resources.files("aljax") / "scenarios"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_scenario(name_or_path: str | Path, overrides: Given = ()) -> Scenario:
    """Loads a shipped scenario by name, or a user's own file by path.

    Args:
      name_or_path: a name from `scenario_names`, or the path of a TOML file.
      overrides: changes made after reading: values by key, such as ``{"actions.failure.search": 0.3, "horizon": 20}``
        (the path in `EnvParams`), where arrays may stand for lists; or texts ``key=value`` with a TOML value.

    Returns:
      The scenario.

    Raises:
      UserError: no such scenario, broken TOML, or a key or number that cannot be; one line naming file, key
        and reason.
    """
    return read_scenario(name_or_path).scenario(overrides)


def parse_scenario(text: str, *, name: str, where: str, overrides: Given = ()) -> Scenario:
    """Makes a scenario of a TOML text. See `load_scenario`.

    Args:
      text: the file's.
      name: of the scenario.
      where: stands for the file in messages.
      overrides: changes made after reading.

    Returns:
      The scenario.

    Raises:
      UserError: as there.
    """
    return Source(name, where, text).scenario(overrides)


def read_scenario(name_or_path: str | Path) -> Source:
    """The file of a scenario, for many environments to be made of. See `load_scenario`.

    Args:
      name_or_path: as there.

    Returns:
      The file as read.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    asked, names = str(name_or_path), scenario_names()
    if asked in names:
        return Source(asked, f"{asked}.toml", shipped_text(asked))
    if not os.path.exists(asked):  # noqa: PTH110  (Path.exists raises where no file could have this name)
        near = difflib.get_close_matches(asked, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"unknown scenario {short(asked, 200)}{hint}: expected one of {', '.join(names)}, "
            "or the path of a TOML file"
        )
    return Source(Path(asked).stem, plain_path(asked), toml.read(asked))


def shipped_text(name: str) -> str:
    """The file of a scenario that ships with the package.

    Args:
      name: one of `scenario_names`.

    Returns:
      Its text.
    """
    return (resources.files("aljax") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
