"""Which rows may be chosen so that all hard rules can still be kept together: worked out on the host, as one table.

The hard rules' automata run side by side; a *joint state* is one live state of each, and how often those rows were
called that may be called so many times only. With δ(s, a) the joint state once row a has worked in s, the rules can be
kept from s with r steps left if

    K(s, 0) = all rules hold in s
    K(s, r) = some row a that may be chosen, which breaks none, has: a ends the episode and all rules hold in δ(s, a),
              or a does not end it and K(δ(s, a), r − 1)

and a row is legal with r steps left if it is such an a. An episode that ends by itself is not counted on. K(·, r) stays
what it is from some r on, mostly soon, so that the table has a column for few r.
"""

import dataclasses
import functools

import numpy as np

from aljax.rules.data import Structure
from aljax.rules.templates import NOTHING, automaton, symbol

MOST_STATES = 20_000
"""Joint states of an environment."""
MOST_ENTRIES = 4_000_000
"""Of the table: joint states times columns times words."""
_FAR = 4096
"""So many steps are looked ahead for a number of steps from which on it does not matter how many are left."""
_BITS = 31
"""Classes of rows in a word, which is an int32."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """The table, and how to look a row up in it. Rows to which the hard rules and the end are alike are one class."""

    strides: tuple[int, ...]
    """Of each hard rule, and then of each counted row, in the number of a joint state."""
    keepable: np.ndarray
    """A bit for each class of rows: it is legal, as far as the rules go. Integer ``[C, S, W]``, C numbers of steps that
    are left after it, from 0 on."""
    harmless: tuple[np.ndarray, ...]
    """The same of each hard rule alone and for now: once the row has worked, the rule is not broken, and holds if that
    ends the episode. Integer ``[states, W]``, with all bits where the rule is broken already."""
    word: np.ndarray
    """Where a row's bit stands. Integer ``[A]``"""
    bit: np.ndarray
    """The bit. Integer ``[A]``"""
    always: bool
    """Whatever happens, some row is legal, as far as the rules go."""
    possible: np.ndarray
    """The rules can be kept from the start in 0, 1, 2, … steps. Boolean ``[C + 1]``, the last one for more too"""


def size_of(structure: Structure) -> int:
    """Joint states.

    Args:
      structure: of an environment's rules.

    Returns:
      How many there are.
    """
    return int(np.prod([size for size, _ in _digits(structure)], dtype=object))


def _digits(structure: Structure) -> list[tuple[int, int]]:
    """Of what a joint state is made: how many values each part has, and which rule (from 0) or row (below 0) it is."""
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
    chain = _Chain(structure)
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


class _Chain:
    """The joint states and their moves."""

    def __init__(self, structure: Structure) -> None:
        self.digits = _digits(structure)
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
        moves = [self._moves(each) for each in self.classes]
        self.after = np.stack([after for after, _ in moves])
        self.sound = np.stack([sound for _, sound in moves])
        self.ends = np.array([each[1] for each in self.classes])

    def _signature(self, structure: Structure, row: int) -> tuple[bool, bool, tuple[int, ...], int]:
        """What of a row matters: may it be chosen, does it end, what is it to the rules, which counted row is it."""
        counted = next((place for place, (other, _) in enumerate(structure.counted) if other == row), -1)
        symbols = tuple(symbol(structure.each[i], row) for i in structure.hard)
        return structure.allowed[row], structure.ends[row], symbols, counted

    def _moves(self, signature: tuple[bool, bool, tuple[int, ...], int]) -> tuple[np.ndarray, np.ndarray]:
        """The joint states once rows of a class have worked, and where they may be chosen and break nothing."""
        allowed, _, symbols, counted = signature
        after, sound = np.zeros_like(self.states), np.full(len(self.states), allowed)
        for place, (values, (size, part)) in enumerate(zip(self.values, self.digits, strict=True)):
            if part >= 0:
                moved = self.automata[part].moves[values, symbols[place]]
                sound = sound & ~self.automata[part].broken[moved]
            else:
                moved = values + (place - len(symbols) == counted)
                sound = sound & (moved < size)
            after += self.strides[place] * np.minimum(moved, size - 1)
        return after, sound

    def back(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of K(·, r): the rows that are legal with r + 1 steps left, ``[classes, S]``, and K(·, r + 1), ``[S]``."""
        legal = self.sound & np.where(self.ends[:, None], self.accepting[self.after], kept[self.after])
        return legal, np.logical_or.reduce(legal, axis=0)


@functools.lru_cache(maxsize=64)
def joint_of(structure: Structure) -> Joint:
    """The table of an environment's rules.

    Args:
      structure: the rules, of which at least one is hard.

    Returns:
      The table.
    """
    chain = _Chain(structure)
    kept, columns, possible = chain.accepting, [], [chain.accepting[0]]
    for _ in range(structure.columns):
        legal, kept = chain.back(kept)
        columns.append(_words(legal))
        possible.append(kept[0])
    keepable = np.stack(columns)
    harmless = tuple(_harmless(structure, i, chain) for i in structure.hard)
    return Joint(
        strides=tuple(chain.strides),
        keepable=keepable,
        harmless=harmless,
        word=(chain.class_of // _BITS).astype(np.int32),
        bit=(1 << (chain.class_of % _BITS)).astype(np.int32),
        always=_always(structure, chain, keepable),
        possible=np.array(possible),
    )


def _words(flags: np.ndarray) -> np.ndarray:
    """Flags of classes ``[classes, S]`` as bits. Integer ``[S, W]``"""
    count = -(-len(flags) // _BITS)
    found = np.zeros((flags.shape[1], count), np.int32)
    for number, flag in enumerate(flags):
        found[:, number // _BITS] |= flag.astype(np.int32) << (number % _BITS)
    return found


def _harmless(structure: Structure, i: int, chain: _Chain) -> np.ndarray:
    """See `Joint.harmless`."""
    rule, place = structure.each[i], structure.hard.index(i)
    found = automaton(rule)
    after = np.stack([found.moves[:, symbols[place]] for _, _, symbols, _ in chain.classes])
    fine = ~found.broken[after] & (found.accepting[after] | ~chain.ends[:, None])
    if rule.timed:  # whether its row would break it, the clock says
        fine[:] = True
    return _words(fine | found.broken)


def _always(structure: Structure, chain: _Chain, keepable: np.ndarray) -> bool:
    """See `Joint.always`.

    What may happen is that legal rows work or fail; a row that is not legal, played all the same, fails, which is an
    occurrence to rules on calls.
    """
    hard = [structure.each[i] for i in structure.hard]
    if any(rule.on_call or rule.timed for rule in hard) or structure.counted:
        return False
    reached = np.zeros(len(chain.states), bool)
    reached[0] = True
    passing = np.zeros_like(chain.states)
    for place, (values, (_, part)) in enumerate(zip(chain.values, chain.digits, strict=True)):
        passing += chain.strides[place] * chain.automata[part].moves[values, NOTHING]
    while True:
        further = reached.copy()
        further[passing[reached]] = True
        for after, sound in zip(chain.after, chain.sound, strict=True):
            further[after[reached & sound]] = True
        if np.array_equal(further, reached):
            return bool(keepable[:, reached].any(-1).all())
        reached = further


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
