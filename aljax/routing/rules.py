"""A scenario's rules as a router's data: tables that a few lines of plain Python can go through."""

from typing import Any

import numpy as np

from aljax.rules.joint import joint_of
from aljax.rules.templates import FIRST, OTHER, TEMPLATES, Rule, automaton, symbol
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
    seconds = [] if rules.seconds is None else np.asarray(rules.seconds, np.float64).tolist()
    lasts = dict(zip(rules.structure.timed, seconds, strict=True))
    each = [
        _rule(scenario, rule, name, lasts.get(i))
        for i, (rule, name) in enumerate(zip(rules.structure.each, scenario.rule_names, strict=True))
    ]
    found: dict[str, Any] = {"rules": each}
    if rules.structure.hard:
        joint = joint_of(rules.structure)
        parts = [(i, automaton(rules.structure.each[i]).live - 1) for i in rules.structure.hard]
        parts += [(-1 - row, most) for row, most in rules.structure.counted]
        words = joint.keepable.astype(object)
        found["joint"] = {
            "parts": [[stride, *part] for stride, part in zip(joint.strides, parts, strict=True)],
            "classes": [
                int(word) * _BITS + int(bit).bit_length() - 1 for word, bit in zip(joint.word, joint.bit, strict=True)
            ],
            "keepable": np.sum([words[..., w] << (_BITS * w) for w in range(words.shape[-1])], axis=0).tolist(),
        }
    return found


def _rule(scenario: Scenario, rule: Rule, name: str, seconds: float | None) -> dict[str, Any]:
    """One rule; how long it lasts, if it is a cooldown in seconds."""
    found, names = automaton(rule), scenario.action_names
    row = {"a": names[rule.a], "b": "" if rule.b is None else names[rule.b]}
    span = f"{rule.n} steps" if rule.template == "cooldown" else rule.n
    says = TEMPLATES[rule.template].says.format(**row, n=span if seconds is None else f"{seconds:g} s")
    told = {
        "name": name,
        "says": says,
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
