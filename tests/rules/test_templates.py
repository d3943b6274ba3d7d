"""Every template's automaton says of every trace what DECLARE's definition says of it."""

import itertools

import numpy as np
import pytest

from aljax.rules.templates import NOTHING, SYMBOLS, TEMPLATES, Rule, automaton, symbol

import declare

ROWS = "abc"
COUNTS = (1, 2, 3)


def rules():
    """Every template, with every number that a trace of six can tell apart, and with one row in both places."""
    for template, kind in TEMPLATES.items():
        if "b" in kind.keys:
            yield {"template": template, "a": "a", "b": "b"}
            yield {"template": template, "a": "a", "b": "a"}
        else:
            yield from ({"template": template, "a": "a", ("steps" if "steps" in kind.keys else "n"): n} for n in COUNTS)


def fixed(rule, on_call=False):
    second = ROWS.index(rule["b"]) if "b" in rule else None
    n = rule.get("n", rule.get("steps", 1))
    return Rule(rule["template"], ROWS.index(rule["a"]), second, n, on_call)


def run(rule, steps):
    """The states that an automaton passes through."""
    found, states = automaton(rule), [0]
    for row, worked in steps:
        there = worked or rule.on_call
        states.append(int(found.moves[states[-1], symbol(rule, ROWS.index(row)) if there else NOTHING]))
    return states


every_rule = pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: "-".join(map(str, rule.values())))


@every_rule
def test_an_automaton_judges_all_short_traces_as_the_definition_does(rule):
    found = automaton(fixed(rule))
    for length in range(7):
        for trace in itertools.product(ROWS, repeat=length):
            steps = [(row, True) for row in trace]
            assert found.accepting[run(fixed(rule), steps)[-1]] == declare.kept(rule, steps), trace


@every_rule
@pytest.mark.parametrize("on", ["success", "call"])
def test_an_automaton_judges_long_random_episodes_as_the_definition_does(rule, on):
    rng = np.random.default_rng(0)
    found, fix = automaton(fixed(rule)), fixed(rule, on == "call")
    verdicts = set()
    for _ in range(300):
        # Rows are drawn unevenly, so that rules that some traces of this length nearly always break are kept in others.
        rows = rng.choice(list(ROWS), rng.integers(31), p=rng.dirichlet([0.3, 0.3, 0.3]))
        steps = [(str(row), bool(worked)) for row, worked in zip(rows, rng.random(len(rows)) < 0.6, strict=True)]
        verdict = declare.kept(rule | {"on": on}, steps)
        assert found.accepting[run(fix, steps)[-1]] == verdict, steps
        verdicts.add(verdict)
    trivial = rule["template"] == "precedence" and rule["a"] == rule["b"]
    assert verdicts == ({True} if trivial else {True, False})


@every_rule
def test_what_is_broken_for_good_is_no_trace_that_can_still_be_kept(rule):
    """Told apart by what can follow: broken exactly where no continuation of up to three rows is kept."""
    found, fix = automaton(fixed(rule)), fixed(rule)
    for trace in itertools.product(ROWS, repeat=3):
        steps = [(row, True) for row in trace]
        hopeful = any(
            declare.kept(rule, [*steps, *((row, True) for row in more)])
            for length in range(4)
            for more in itertools.product(ROWS, repeat=length)
        )
        assert found.broken[run(fix, steps)[-1]] == (not hopeful), trace


@every_rule
def test_an_automaton_is_well_formed(rule):
    found = automaton(fixed(rule))
    assert found.moves.shape == (found.states, SYMBOLS) and not found.broken[0]
    assert found.moves.min() >= 0 and found.moves.max() < found.states
    for state in np.flatnonzero(found.broken):
        assert state == found.states - 1 and not found.accepting[state] and (found.moves[state] == state).all()


def test_an_episode_in_which_nothing_happened_keeps_all_but_existence():
    for rule in rules():
        assert automaton(fixed(rule)).accepting[0] == (rule["template"] != "existence")
