"""The joint states of hard rules: their automata side by side, and from where all of them can still be kept.

A *joint state* is one live state of each hard rule, and how often those rows were called that may be called so many
times only. With δ(s, a) the joint state once row a has worked in s, the rules can be kept from s with r steps left if

    K(s, 0) = all rules hold in s
    K(s, r) = some row a that may be chosen, which breaks none, has: a ends the episode and all rules hold in δ(s, a),
              or a does not end it and K(δ(s, a), r − 1)

An episode that ends by itself is not counted on. K(·, r) stays what it is from some r on, mostly soon.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from aljax.rules.data import Structure
from aljax.rules.templates import NOTHING, Rule, automaton, symbol

MOST_STATES = 20_000
"""Joint states of an environment."""
_FAR = 4096
"""So many steps are looked ahead for a number of steps from which on it does not matter how many are left."""


class Chain:
    """The joint states and their moves. Rows to which all hard rules and the end are alike are one class, K in all."""

    def __init__(self, structure: Structure, parts: Sequence[int] | None = None) -> None:
        """Of all rules, or of some of the parts that a joint state has, as if the others were not there."""
        digits = digits_of(structure)
        self.parts = tuple(range(len(digits)) if parts is None else parts)
        self.digits = [digits[part] for part in self.parts]
        sizes = [size for size, _ in self.digits]
        self.strides = [int(np.prod(sizes[:place], dtype=int)) for place in range(len(sizes))]
        self.states = np.arange(int(np.prod(sizes, dtype=int)))
        self.values = [self.states // stride % size for stride, size in zip(self.strides, sizes, strict=True)]
        signatures = [self._signature(structure, row) for row in range(len(structure.allowed))]
        self.classes = list(dict.fromkeys(signatures))
        self.class_of = np.array([self.classes.index(signature) for signature in signatures])
        automata = structure.automata
        self.automata = {i: automata[i] for i in structure.hard}
        self.accepting = np.ones(len(self.states), bool)
        for values, (_, part) in zip(self.values, self.digits, strict=True):
            if part >= 0:
                self.accepting &= automata[part].accepting[values]
        moves = [self._moves(structure, each, True) for each in self.classes]
        self.after = np.stack([after for after, _ in moves])
        self.sound = np.stack([sound for _, sound in moves])
        self.failed = np.stack([self._moves(structure, each, False)[0] for each in self.classes])
        self.ends = np.array([each[1] for each in self.classes])

    def _signature(self, structure: Structure, row: int) -> tuple[bool, bool, tuple[int, ...], int]:
        """What of a row matters: may it be chosen, does it end, what is it to the rules, which counted row is it."""
        counted = next((place for place, (other, _) in enumerate(structure.counted) if other == row), -1)
        symbols = tuple(symbol(structure.each[i], row) for i in structure.hard)
        return structure.allowed[row], structure.ends[row], symbols, counted

    def _moves(
        self, structure: Structure, signature: tuple[bool, bool, tuple[int, ...], int], worked: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The joint states once rows of a class have worked, or failed; where they may be chosen and break nothing."""
        allowed, _, symbols, counted = signature
        after, sound = np.zeros_like(self.states), np.full(len(self.states), allowed)
        for place, (values, (size, part)) in enumerate(zip(self.values, self.digits, strict=True)):
            if part >= 0:
                what = symbols[self.parts[place]] if worked or structure.each[part].on_call else NOTHING
                moved = self.automata[part].moves[values, what]
                sound = sound & ~self.automata[part].broken[moved]
            else:
                moved = values + (self.parts[place] - len(symbols) == counted)
                sound = sound & (moved < size)
            after += self.strides[place] * np.minimum(moved, size - 1)
        return after, sound

    def back(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A step back from K(·, r).

        Args:
          kept: K(·, r). Boolean ``[S]``

        Returns:
          The rows that are legal with r + 1 steps left, ``[K, S]``, and K(·, r + 1), ``[S]``.
        """
        legal = self.sound & np.where(self.ends[:, None], self.accepting[self.after], kept[self.after])
        return legal, np.logical_or.reduce(legal, axis=0)

    def legal(self, columns: int) -> np.ndarray:
        """The rows that are legal with so many steps left after them.

        Args:
          columns: C, how many numbers of steps, from 0 on.

        Returns:
          Boolean ``[C, K, S]``.
        """
        kept, found = self.accepting, []
        for _ in range(columns):
            legal, kept = self.back(kept)
            found.append(legal)
        return np.stack(found)


@functools.lru_cache(maxsize=8)
def legal_of(structure: Structure) -> tuple[Chain, np.ndarray]:
    """All joint states, and the rows that are legal in them.

    Args:
      structure: of an environment's rules, `with_columns`.

    Returns:
      The joint states; and by classes of rows, with so many steps left after them, which are legal. Boolean
      ``[C, K, S]``
    """
    chain = Chain(structure)
    return chain, chain.legal(structure.columns)


def size_of(structure: Structure) -> int:
    """Joint states.

    Args:
      structure: of an environment's rules.

    Returns:
      How many there are.
    """
    return int(np.prod([size for size, _ in digits_of(structure)], dtype=object))


def digits_of(structure: Structure) -> list[tuple[int, int]]:
    """Of what a joint state is made.

    Args:
      structure: of an environment's rules.

    Returns:
      Of each part how many values it has, and which rule (from 0) or which counted row (below 0, from −1) it is.
    """
    rules = [(automaton(structure.each[i]).live, i) for i in structure.hard]
    return rules + [(most + 1, -1 - row) for row, most in structure.counted]


def with_columns(structure: Structure, horizon: int) -> Structure:
    """A structure that knows for how many numbers of steps it matters how many are left.

    Args:
      structure: of an environment's rules.
      horizon: the longest episode's steps.

    Returns:
      The structure.
    """
    chain = Chain(structure)
    kept, seen = chain.accepting, set[bytes]()
    for columns in range(1, max(horizon, _FAR) + 1):
        # The number of columns follows from the rules alone where that is possible, so that horizons share shapes.
        seen.add(kept.tobytes())
        after = chain.back(kept)[1]
        if np.array_equal(after, kept):
            return dataclasses.replace(structure, columns=columns)
        if after.tobytes() in seen:  # it goes round
            break
        kept = after
    return dataclasses.replace(structure, columns=horizon)


@functools.lru_cache(maxsize=256)
def possible_of(structure: Structure) -> np.ndarray:
    """Whether all hard rules can be kept from the start.

    Args:
      structure: of an environment's rules, `with_columns`.

    Returns:
      K(0, r) for r = 0, 1, …, of which the last holds for more steps, too. Boolean ``[C + 1]``
    """
    chain = Chain(structure)
    kept, found = chain.accepting, [chain.accepting[0]]
    for _ in range(structure.columns):
        kept = chain.back(kept)[1]
        found.append(kept[0])
    return np.array(found)


def counted_rows(structure: Structure, most: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """Rows of which it matters to the rules that they may be called so many times only.

    Those that a hard rule is about; and, where no other row could be played for want of something better, all.

    Args:
      structure: of the rules.
      most: calls at most, by row.

    Returns:
      Rows and their calls.
    """
    hard = [structure.each[i] for i in structure.hard]
    named = {row for rule in hard for row in (rule.a, rule.b) if row is not None}
    rows = zip(structure.allowed, structure.ends, strict=True)
    idle = any(
        allowed and not ends and row not in named and row not in most for row, (allowed, ends) in enumerate(rows)
    )
    return tuple((row, calls) for row, calls in most.items() if structure.allowed[row] and (row in named or not idle))


def reached_unkept(structure: Structure, watched: int, horizon: int) -> bool:
    """Whether an episode in which all other hard rules are kept may leave a rule unkept.

    Args:
      structure: of an environment's rules.
      watched: the rule, hard or soft; it forbids nothing here.
      horizon: most steps, any of which may fail.

    Returns:
      Whether there is such an episode.
    """
    rule = structure.each[watched]
    if rule.timed:  # one call soon after another
        rule = Rule("absence", rule.a, n=2, on_call=rule.on_call)
    others = tuple(each for i, each in enumerate(structure.each) if each.hard and i != watched)
    chain = Chain(dataclasses.replace(structure, each=others))
    found = automaton(rule)
    symbols = [symbol(rule, row) for row in range(len(structure.allowed))]
    pairs = sorted({(int(chain.class_of[row]), symbols[row]) for row in range(len(symbols))})
    reached = np.zeros((len(chain.states), found.states), bool)
    reached[0, 0] = True
    unkept = ~found.accepting
    for _ in range(horizon):
        if (chain.accepting[:, None] & reached & unkept).any():
            return True
        further = reached.copy()
        for number, what in pairs:
            from_, to = np.nonzero(reached & chain.sound[number][:, None])
            after = chain.after[number][from_], found.moves[to, what]
            further[chain.failed[number][from_], found.moves[to, what if rule.on_call else NOTHING]] = True
            if not chain.ends[number]:
                further[after] = True
            elif (chain.accepting[after[0]] & unkept[after[1]]).any():
                return True
        if np.array_equal(further, reached):
            return False
        reached = further
    return bool((chain.accepting[:, None] & reached & unkept).any())
