"""A scenario's rules as a router's data: tables that a few lines of plain Python can go through."""

from typing import Any

import numpy as np

from aljax.rules.chain import digits_of
from aljax.rules.joint import Part, joint_of
from aljax.rules.templates import FIRST, OTHER, Rule, automaton, symbol
from aljax.rules.words import says, seconds_of
from aljax.scenario import Scenario

_BITS = 31
"""Classes of rows in a word of the table (`aljax.rules.joint`)."""


def rules_of(scenario: Scenario) -> dict[str, Any]:
    """What a router must know of the rules.

    Args:
      scenario: that a policy was trained in.

    Returns:
      ``rules``, each with its automaton's moves by symbol, the symbol of each row (and, last, of calls that are no
      row's), and ``bars``: what it forbids at once, of rows that go on and rows that end, by state and symbol; and
      ``joint``, by which rows are found after which all hard rules can still be kept. Nothing where there are none.
    """
    rules = scenario.params.rules
    if rules is None:
        return {}
    each = zip(rules.structure.each, scenario.rule_names, strict=True)
    found: dict[str, Any] = {
        "rules": [_rule(scenario, rule, name, seconds_of(scenario, i)) for i, (rule, name) in enumerate(each)]
    }
    if rules.structure.hard:
        joint = joint_of(rules.structure)
        classes = zip(joint.word.tolist(), joint.bit.tolist(), strict=True)
        found["joint"] = {
            "classes": [word * _BITS + bit.bit_length() - 1 for word, bit in classes],
            "tables": [_table(part, digits_of(rules.structure)) for part in joint.parts],
        }
    return found


def _table(part: Part, digits: list[tuple[int, int]]) -> list[Any]:
    """Of a part, how its states are numbered (stride, rule or, below 0, row, largest value), and its table."""
    places = zip(part.strides, part.digits, strict=True)
    words = part.keepable.astype(object)
    keepable = np.sum([words[..., w] << (_BITS * w) for w in range(words.shape[-1])], axis=0)
    return [[[stride, digits[place][1], digits[place][0] - 1] for stride, place in places], keepable.tolist()]


def _rule(scenario: Scenario, rule: Rule, name: str, seconds: float | None) -> dict[str, Any]:
    """One rule; how long it lasts, if it is a cooldown in seconds."""
    found, names = automaton(rule), scenario.action_names
    told = {
        "name": name,
        "says": says(rule, names, seconds),
        "hard": rule.hard,
        "on_call": rule.on_call,
        "symbols": [symbol(rule, number) for number in range(len(names))] + [OTHER],
        "moves": found.moves.tolist(),
        "broken": found.broken.tolist(),
        "accepting": found.accepting.tolist(),
    }
    if seconds is not None:  # its clock says when it bars what it is about
        bars = np.zeros((2, *found.moves.shape), bool)
        bars[..., FIRST] = rule.hard
        return told | {"seconds": seconds, "bars": bars.tolist()}
    after, broken = found.moves, found.broken[:, None]
    goes = found.broken[after] & ~broken
    bars = np.stack([goes, goes | (~found.accepting[after] & ~broken)]) & rule.hard
    return told | {"bars": bars.tolist()}
