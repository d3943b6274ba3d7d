"""The templates of rules, each a small automaton that moves with what occurs in an episode.

They are DECLARE's (Pesic, Schonenberg and van der Aalst, 2007, "DECLARE: Full support for loosely-structured
processes"; Di Ciccio and Montali, 2022, "Declarative process specifications"), and `cooldown`, which is ours. Every
automaton begins in state 0. The state in which its rule is broken for good, where there is one, is its last and is
never left.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

NOTHING, OTHER, FIRST, SECOND, BOTH = range(5)
"""What a step is to a rule of rows a and b: no occurrence, one of another row, of a, of b, of a row that is both."""
SYMBOLS = 5


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is fixed of a rule while programs run. Two that are equal share one compilation."""

    template: str
    """One of `TEMPLATES`."""
    a: int
    """A row of the action table."""
    b: int | None = None
    """Another, of templates that have two."""
    n: int = 1
    """How often; of a cooldown, its steps."""
    on_call: bool = False
    """Every call of a row is an occurrence, or else only one that works."""
    hard: bool = True
    """No row is legal that would break it; a soft rule is paid for."""
    timed: bool = False
    """A cooldown in seconds, which count in `aljax.env.EnvState.cooldown`: two states, kept and broken."""


class Automaton(NamedTuple):
    """What a rule remembers of an episode."""

    moves: np.ndarray
    """The next state, by what a step is to the rule. Integer ``[n, SYMBOLS]``"""
    accepting: np.ndarray
    """The rule is kept if the episode ends here. Boolean ``[n]``"""
    broken: np.ndarray
    """It is broken for good. Boolean ``[n]``"""

    @property
    def states(self) -> int:
        """How many there are."""
        return len(self.accepting)

    @property
    def live(self) -> int:
        """How many are not broken for good; they come first."""
        return int((~self.broken).sum())


def _table(states: int, **moves: Mapping[int, int]) -> np.ndarray:
    """The moves of `states` states: each stays where it is, but for those given, by state, of a symbol."""
    symbols = {"nothing": NOTHING, "other": OTHER, "a": FIRST, "b": SECOND, "both": BOTH}
    found = np.repeat(np.arange(states)[:, None], SYMBOLS, axis=1)
    for name, ways in moves.items():
        for state, after in ways.items():
            found[state, symbols[name]] = after
    return found


def _never(moves: np.ndarray) -> Automaton:
    """A rule that is kept as long as it is not broken, which its last state is."""
    broken = np.arange(len(moves)) == len(moves) - 1
    return Automaton(moves, ~broken, broken)


def _owing(rule: Rule, moves: np.ndarray, breaks: bool) -> Automaton:
    """A rule that is kept in state 0, and owes something in state 1. What only itself could answer, nothing answers."""
    if rule.a == rule.b:
        return _never(_table(2, both={0: 1}))
    states = np.arange(len(moves))
    return Automaton(moves, states == 0, (states == len(moves) - 1) & breaks)


def _absence(rule: Rule) -> Automaton:
    return _never(_table(rule.n + 1, a={count: count + 1 for count in range(rule.n)}))


def _existence(rule: Rule) -> Automaton:
    states = np.arange(rule.n + 1)
    moves = _table(rule.n + 1, a={count: count + 1 for count in range(rule.n)})
    return Automaton(moves, states == rule.n, np.zeros(rule.n + 1, bool))


def _precedence(rule: Rule) -> Automaton:
    return _never(_table(3, a={0: 1}, b={0: 2}, both={0: 1}))


def _alternate_precedence(rule: Rule) -> Automaton:
    return _never(_table(3, a={0: 1}, b={0: 2, 1: 0}, both={0: 2}))


def _chain_precedence(rule: Rule) -> Automaton:
    return _never(_table(3, a={0: 1}, b={0: 2, 1: 0}, other={1: 0}, both={0: 2}))


def _response(rule: Rule) -> Automaton:
    return _owing(rule, _table(2, a={0: 1}, b={1: 0}), breaks=False)


def _alternate_response(rule: Rule) -> Automaton:
    return _owing(rule, _table(3, a={0: 1, 1: 2}, b={1: 0}), breaks=True)


def _chain_response(rule: Rule) -> Automaton:
    return _owing(rule, _table(3, a={0: 1, 1: 2}, b={1: 0}, other={1: 2}), breaks=True)


def _not_succession(rule: Rule) -> Automaton:
    return _never(_table(3, a={0: 1}, b={1: 2}, both={0: 1, 1: 2}))


def _not_chain_succession(rule: Rule) -> Automaton:
    return _never(_table(3, a={0: 1}, b={1: 2}, other={1: 0}, both={0: 1, 1: 2}))


def _not_coexistence(rule: Rule) -> Automaton:
    return _never(_table(4, a={0: 1, 2: 3}, b={0: 2, 1: 3}, both={0: 3}))


def _cooldown(rule: Rule) -> Automaton:
    if rule.timed:  # how long ago the last one was is counted elsewhere
        return _never(_table(2))
    fewer, broken = {left: left - 1 for left in range(1, rule.n + 1)}, rule.n + 1
    again = {0: rule.n} | dict.fromkeys(fewer, broken)
    return _never(_table(rule.n + 2, a=again, b=fewer, other=fewer, nothing=fewer))


class Template(NamedTuple):
    """One kind of rule."""

    make: Callable[[Rule], Automaton]
    """The automaton of such a rule."""
    says: str
    """What it says, with ``{a}``, ``{b}`` and ``{n}``."""
    keys: tuple[str, ...]
    """What a file must or may say of one, beside what all rules have."""


TEMPLATES: Mapping[str, Template] = {
    "absence": Template(_absence, "{a} occurs fewer than {n} times", ("n",)),
    "existence": Template(_existence, "{a} occurs at least {n} times", ("n",)),
    "precedence": Template(_precedence, "no {b} before the first {a}", ("b",)),
    "alternate_precedence": Template(
        _alternate_precedence, "before every {b} there is a {a} since the {b} before it", ("b",)
    ),
    "chain_precedence": Template(_chain_precedence, "every {b} comes right after a {a}", ("b",)),
    "response": Template(_response, "after every {a} there is a {b} later", ("b",)),
    "alternate_response": Template(_alternate_response, "after every {a} there is a {b} before the next {a}", ("b",)),
    "chain_response": Template(_chain_response, "right after every {a} comes a {b}", ("b",)),
    "not_succession": Template(_not_succession, "no {b} after a {a}", ("b",)),
    "not_chain_succession": Template(_not_chain_succession, "no {b} right after a {a}", ("b",)),
    "not_coexistence": Template(_not_coexistence, "not both {a} and {b} occur", ("b",)),
    "cooldown": Template(_cooldown, "no {a} within {n} of the {a} before it", ("steps", "seconds")),
}
"""By name: what rules can be."""


@functools.lru_cache(maxsize=1024)
def automaton(rule: Rule) -> Automaton:
    """The automaton of a rule.

    Args:
      rule: which.

    Returns:
      Its states and moves.
    """
    return TEMPLATES[rule.template].make(rule)


def symbol(rule: Rule, row: int) -> int:
    """What an occurrence of a row is to a rule.

    Args:
      rule: which.
      row: of the action table.

    Returns:
      `OTHER`, `FIRST`, `SECOND`, or, of templates with two rows that are the same one, `BOTH`.
    """
    if row == rule.a:
        return BOTH if row == rule.b else FIRST
    return SECOND if row == rule.b else OTHER


def symbols_of(rule: Rule) -> tuple[int, ...]:
    """What a step can be to a rule.

    Args:
      rule: which.

    Returns:
      Symbols, of which every step is just one.
    """
    rows = (FIRST,) if rule.b is None else (BOTH,) if rule.b == rule.a else (FIRST, SECOND)
    return (OTHER, *rows) if rule.on_call else (NOTHING, OTHER, *rows)
