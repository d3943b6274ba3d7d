"""Reads a scenario file's rules; a complaint names the file, the rule and the reason."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from aljax.errors import UserError, listed, plain, short
from aljax.fields import Declared, Numbers, fields_of
from aljax.rules.chain import MOST_STATES, counted_rows, possible_of, size_of, with_columns
from aljax.rules.data import Rules, Structure
from aljax.rules.joint import MOST_ENTRIES
from aljax.rules.templates import TEMPLATES, Rule, automaton

NUMBERS = fields_of(Rules)
"""The numbers of rules that are traced."""
DOTTED = {f"rules.{name}": field for name, field in NUMBERS.items()}
"""The same by the names under which they are kept among an environment's numbers."""
SETTABLE = ("weight", "seconds", "n", "steps", "on", "mode")
"""What of a rule can be changed, by its name."""
MOST_RULES = 64
"""Rules of an environment."""
MOST_COUNT = 1_000
"""Of ``n`` and of ``steps``."""
_KEYS = ("name", "template", "a", "b", *SETTABLE)


class Reader(Protocol):
    """What reads the rest of the file (`aljax.reading`)."""

    def fail(self, key: str, reason: str) -> NoReturn:
        """Refuses the file."""
        ...

    def known(self, table: Mapping[str, Any], keys: Sequence[str], prefix: str) -> None:
        """Refuses keys that there are not."""
        ...

    def value(self, value: Any, key: str, field: Declared) -> Any:
        """One number, or an array of them."""
        ...

    def refuse(self, wrong: np.ndarray, why: Callable[[], tuple[str, str]]) -> None:
        """Notes which of many environments cannot be; of one, tells why."""
        ...


class Read(NamedTuple):
    """The rules of a file."""

    names: tuple[str, ...]
    """Of each rule."""
    structure: Structure
    """What is fixed of them."""
    numbers: dict[str, list[Any]]
    """What is not: by field of `Rules`, a number or an array ``[N]`` for each."""


def name_of(rule: Any) -> str:
    """By which name a rule is known: its own, or one made of its template and its rows.

    Args:
      rule: as a file has it.

    Returns:
      The name; nothing where it has neither.
    """
    if not isinstance(rule, dict):
        return ""
    parts = [rule["name"]] if "name" in rule else [rule.get(key) for key in ("template", "a", "b")]
    return "_".join(part for part in parts if isinstance(part, str))


def changed(rules: Any, name: str, key: str, value: Any) -> list[Any]:
    """A file's rules with one change.

    Args:
      rules: as the file has them.
      name: of the rule.
      key: of what is changed.
      value: what stands there instead.

    Returns:
      The rules, which share what was not changed.

    Raises:
      UserError: there is no such rule, or nothing of that key can be changed; only the reason.
    """
    names = [name_of(rule) for rule in rules] if isinstance(rules, list) else []
    if name not in names:
        raise UserError(f"no rule {short(name)}: expected one of {listed(names, 160) or 'none, for the file has none'}")
    if key not in SETTABLE:
        raise UserError(f"unknown key {short(key)} of a rule: expected one of {', '.join(SETTABLE)}")
    return [rule | {key: value} if name == found else rule for rule, found in zip(rules, names, strict=True)]


def read_rules(reader: Reader, given: Any, rows: Sequence[str], others: Numbers) -> Read | None:
    """The rules of a file, which can be kept.

    Args:
      reader: of the rest.
      given: what the file has under ``rules``.
      rows: names of the actions.
      others: the other numbers of the environment.

    Returns:
      The rules; None: there are none.
    """
    if not isinstance(given, list) or not all(isinstance(rule, dict) for rule in given):
        reader.fail("rules", f"expected tables [[rules]], got {short(given)}")
    if len(given) > MOST_RULES:
        reader.fail("rules", f"{len(given):,} rules, expected at most {MOST_RULES}")
    if not given:
        return None
    names: list[str] = []
    each: list[Rule] = []
    numbers: dict[str, list[Any]] = {"weight": [], "seconds": []}
    for number, body in enumerate(given, 1):
        name = _name(reader, body, number)
        if name in names:
            reader.fail(f"rules.{name}", "two rules of this name: give them names of their own (name = ...)")
        names.append(name)
        each.append(_rule(reader, f"rules.{name}", body, rows, numbers))
    allowed, ends = (tuple(map(bool, others[key][:, 0])) for key in ("allowed", "ends"))
    read = Read(tuple(names), Structure(tuple(each), allowed, ends), numbers)
    if not read.structure.timed:
        del numbers["seconds"]
    return _together(reader, read, others) if read.structure.hard else read


def _together(reader: Reader, read: Read, others: Numbers) -> Read:
    """Refuses hard rules that cannot be kept together, or of which that would be too long a table."""
    horizons, structure = others["horizon"].tolist(), read.structure
    calls = others.get("max_calls", np.full((len(structure.allowed), 1), np.inf))[:, 0]
    most = {row: int(calls[row]) for row in np.flatnonzero(calls < max(horizons)).tolist()}
    structure = dataclasses.replace(structure, counted=counted_rows(structure, most))
    size = size_of(structure)
    if size > MOST_STATES:
        reader.fail("rules", f"the hard rules have {size:,} states together, expected at most {MOST_STATES:,}")
    structure = with_columns(structure, max(horizons))
    if structure.columns * size > MOST_ENTRIES:
        made = f"{size:,} states together × {structure.columns:,} numbers of steps that may be left"
        reader.fail("rules", f"the hard rules have {made}, expected at most {MOST_ENTRIES:,}")
    read = read._replace(structure=structure)
    why = {steps: why_impossible(read, steps) for steps in dict.fromkeys(horizons)}
    wrong = np.array([why[steps] is not None for steps in horizons])
    reader.refuse(wrong, lambda: ("rules", next(reason for reason in why.values() if reason)))
    return read


def _name(reader: Reader, body: Mapping[str, Any], number: int) -> str:
    """A rule's name, checked."""
    if not isinstance(body.get("template"), str) or body["template"] not in TEMPLATES:
        near = f"expected one of {', '.join(TEMPLATES)}, got {short(body.get('template'))}"
        reader.fail(f"rules, number {number}: template", near)
    name = body.get("name", "")
    if "name" in body and (not isinstance(name, str) or not name or any(mark in name for mark in ".= \t\n")):
        reader.fail(f"rules, number {number}: name", "a rule's name is a text without dots, blanks or equals signs")
    return name_of(body)


def _rule(
    reader: Reader, key: str, body: Mapping[str, Any], rows: Sequence[str], numbers: dict[str, list[Any]]
) -> Rule:
    """One rule; its numbers are appended to those of the others."""
    reader.known(body, _KEYS, f"{key}.")
    template = body["template"]
    own = TEMPLATES[template].keys
    for other in ("b", "n", "steps", "seconds"):
        if other in body and other not in own:
            reader.fail(f"{key}.{other}", f"{template} has none")
    places = [_row(reader, f"{key}.{each}", body.get(each), rows) for each in ("a", "b") if each == "a" or each in own]
    hard = _one_of(reader, f"{key}.mode", body.get("mode", "hard"), ("hard", "soft")) == "hard"
    on_call = _one_of(reader, f"{key}.on", body.get("on", "success"), ("call", "success")) == "call"
    if hard and "weight" in body:
        reader.fail(f"{key}.weight", 'a hard rule has none: write mode = "soft"')
    numbers["weight"].append(reader.value(body.get("weight", 1.0), f"{key}.weight", NUMBERS["weight"]))
    count, timed = 1, False
    if template == "cooldown":
        if ("steps" in body) == ("seconds" in body):
            reader.fail(key, "a cooldown has either steps or seconds")
        timed = "seconds" in body
        if timed:
            numbers["seconds"].append(reader.value(body["seconds"], f"{key}.seconds", NUMBERS["seconds"]))
        else:
            count = _count(reader, f"{key}.steps", body["steps"])
    elif "n" in own:
        count = _count(reader, f"{key}.n", body.get("n", 1))
    return Rule(template, places[0], places[1] if len(places) > 1 else None, count, on_call, hard, timed)


def _row(reader: Reader, key: str, name: Any, rows: Sequence[str]) -> int:
    if name not in rows:
        what = "missing" if name is None else f"no action {short(name)}"
        reader.fail(key, f"{what}: expected one of {listed(rows, 160)}")
    return list(rows).index(name)


def _one_of(reader: Reader, key: str, value: Any, names: Sequence[str]) -> str:
    if value not in names:
        reader.fail(key, f"expected {' or '.join(names)}, got {short(value)}")
    return value


def _count(reader: Reader, key: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_COUNT:
        reader.fail(key, f"expected a whole number from 1 to {MOST_COUNT:,}, got {short(value)}")
    return value


def stacked(numbers: Mapping[str, list[Any]]) -> Numbers:
    """The numbers of rules as those of the environment are kept: under dotted names, with a last axis of environments.

    Args:
      numbers: as `read_rules` gives them.

    Returns:
      Arrays ``[R, N]`` or ``[R, 1]``.
    """
    return {
        f"rules.{name}": np.stack(np.broadcast_arrays(*(np.atleast_1d(value) for value in values)))
        for name, values in numbers.items()
    }


def why_impossible(read: Read, horizon: int) -> str | None:
    """Why the hard rules cannot be kept in an episode of so many steps, if they cannot.

    Args:
      read: the rules.
      horizon: its steps.

    Returns:
      A few words with the rules that contradict each other, as few as that takes; None: they can be kept.
    """
    structure = read.structure
    if not structure.hard or _possible(structure, structure.hard, horizon):
        return None
    needed = list(structure.hard)
    for i in structure.hard:
        fewer = [other for other in needed if other != i]
        if not _possible(structure, fewer, horizon):
            needed = fewer
    names = listed([plain(read.names[i]) for i in needed], 160)
    steps = f"in {horizon:,} steps" if horizon > 1 else "in one step"
    if not needed:
        return f"no rows are left to play {steps} (max_calls)"
    return f"{names} cannot be kept {steps}" if len(needed) == 1 else f"{names} cannot be kept together {steps}"


def _possible(structure: Structure, which: Sequence[int], horizon: int) -> bool:
    """Whether some hard rules can be kept."""
    some = Structure(tuple(structure.each[i] for i in which), structure.allowed, structure.ends, structure.counted)
    possible = possible_of(with_columns(some, horizon))
    return bool(possible[min(horizon, len(possible) - 1)])


def states_of(structure: Structure) -> tuple[int, int]:
    """How many numbers of an observation rules are: their states, and their cooldowns in seconds.

    Args:
      structure: of an environment's rules.

    Returns:
      Both.
    """
    return sum(automaton(rule).states for rule in structure.each), len(structure.timed)
