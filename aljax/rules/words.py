"""Rules in words: for tables, for files that must say what a scenario is, and what is odd about them."""

from collections.abc import Mapping

import numpy as np

from aljax.rules.chain import MOST_STATES, reached_unkept, size_of
from aljax.rules.templates import TEMPLATES, Rule
from aljax.scenario import Scenario


def described(scenario: Scenario) -> Mapping[str, str]:
    """What each rule of a scenario says, all of it.

    Args:
      scenario: which may have none.

    Returns:
      By the rule's name one line.
    """
    rules, names = scenario.params.rules, scenario.action_names
    if rules is None:
        return {}
    weights, found = np.asarray(rules.weight, float), {}
    for i, (name, rule) in enumerate(zip(scenario.rule_names, rules.structure.each, strict=True)):
        occurs = "calls count, failed or not" if rule.on_call else "calls that work count"
        kept = "hard" if rule.hard else f"soft, {weights[i]:.6g} units of violation"
        found[name] = f"{says(rule, names, seconds_of(scenario, i))}; {occurs}; {kept}"
    return found


def says(rule: Rule, names: tuple[str, ...], seconds: float | None) -> str:
    """A rule as a sentence.

    Args:
      rule: which.
      names: of the rows.
      seconds: how long it lasts, of a cooldown in seconds.

    Returns:
      Words without a full stop.
    """
    many = f"{rule.n} step" + "s" * (rule.n > 1) if seconds is None else f"{seconds:.6g} s"
    n = many if rule.template == "cooldown" else str(rule.n)
    return TEMPLATES[rule.template].says.format(a=names[rule.a], b="" if rule.b is None else names[rule.b], n=n)


def seconds_of(scenario: Scenario, i: int) -> float | None:
    """How long a cooldown in seconds lasts.

    Args:
      scenario: with rules.
      i: which rule.

    Returns:
      Seconds; None: the rule is none.
    """
    rules = scenario.params.rules
    if rules is None or rules.seconds is None or not rules.structure.each[i].timed:
        return None
    return float(np.asarray(rules.seconds)[rules.structure.timed.index(i)])


def idle_rules(scenario: Scenario) -> tuple[str, ...]:
    """The rules that can never bind: whatever is played that keeps the hard ones among the others keeps them, too.

    Args:
      scenario: which may have no rules.

    Returns:
      Their names; none where there are too many joint states to see.
    """
    rules = scenario.params.rules
    if rules is None:
        return ()
    structure = rules.structure
    if size_of(structure) > MOST_STATES // 8:
        return ()
    return tuple(
        name for i, name in enumerate(scenario.rule_names) if not reached_unkept(structure, i, scenario.horizon)
    )


def warnings(scenario: Scenario) -> list[str]:
    """What is odd about a scenario's rules, a line each.

    Args:
      scenario: which may have none.

    Returns:
      Sentences without a full stop.
    """
    return [
        f"rule {name} of {scenario.name} can never bind: nothing that the other rules and {scenario.horizon:,} steps "
        "leave room for breaks it"
        for name in idle_rules(scenario)
    ]
