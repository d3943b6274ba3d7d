"""Which rows may be chosen so that all hard rules can still be kept together: worked out on the host, as tables.

A row is legal with r steps left if all hard rules can be kept once it has worked, in the r − 1 steps that remain
(`aljax.rules.chain`). Mostly one rule does not make another one harder to keep. So instead of a table over all joint
states there are several over parts of them, whose verdicts are joined by "and"; that they say the same everywhere is
checked when they are made, and parts that do not are put together.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from aljax.rules.chain import Chain, legal_of
from aljax.rules.data import Structure
from aljax.rules.templates import automaton

MOST_ENTRIES = 4_000_000
"""Joint states, times numbers of steps left, times classes of rows."""
_MOST_COMPARED = 400_000
"""Of these, where it is tried how joint states can be taken apart."""
_BITS = 31
"""Classes of rows in a word, which is an int32."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What some of the rules say."""

    digits: tuple[int, ...]
    """Of which parts of a joint state: hard rules in their order, then counted rows."""
    strides: tuple[int, ...]
    """Of each, in the number of a row of the table."""
    keepable: np.ndarray
    """A bit for each class of rows: it is legal, as far as these rules go. Integer ``[C, S, W]``, C numbers of steps
    that are left after it, from 0 on, of which the last stands for more, too."""


@dataclasses.dataclass(frozen=True)
class Joint:
    """The tables, and how to look a row up in them. Rows that are alike to the hard rules and the end are one class."""

    parts: tuple[Part, ...]
    """A row is legal if all of them say so."""
    harmless: tuple[np.ndarray, ...]
    """Of each hard rule alone and for now: once the row has worked, the rule is not broken, and holds if that ends the
    episode. Integer ``[states, W]``, with all bits where the rule is broken already."""
    word: np.ndarray
    """Where a row's bit stands. Integer ``[A]``"""
    bit: np.ndarray
    """The bit. Integer ``[A]``"""
    always: bool
    """Whatever happens, some row is legal, as far as the rules go."""


@functools.lru_cache(maxsize=64)
def joint_of(structure: Structure) -> Joint:
    """The tables of an environment's rules.

    Args:
      structure: the rules, of which at least one is hard.

    Returns:
      The tables.
    """
    chain, legal = legal_of(structure)
    return Joint(
        parts=tuple(_part(structure, each) for each in _apart(structure, chain, legal)),
        harmless=tuple(_harmless(structure, i, chain) for i in structure.hard),
        word=(chain.class_of // _BITS).astype(np.int32),
        bit=(1 << (chain.class_of % _BITS)).astype(np.int32),
        always=_always(structure, chain, legal),
    )


def _apart(structure: Structure, chain: Chain, legal: np.ndarray) -> list[tuple[int, ...]]:
    """Parts of joint states whose tables, joined by "and", say all that the whole one does."""
    parts: list[tuple[int, ...]] = [(digit,) for digit in range(len(chain.digits))]
    if legal.size > _MOST_COMPARED:
        return [tuple(range(len(parts)))]

    @functools.cache
    def says(part: tuple[int, ...]) -> np.ndarray:
        found = Chain(structure, part)
        number = sum((stride * chain.values[digit] for stride, digit in zip(found.strides, part, strict=True)), 0)
        return found.legal(structure.columns)[:, :, number]

    def amiss(parts: Sequence[tuple[int, ...]]) -> int:
        return int((functools.reduce(np.logical_and, map(says, parts)) != legal).sum())

    while amiss(parts):
        joined = [
            [*(part for part in parts if part not in pair), tuple(sorted((*pair[0], *pair[1])))]
            for pair in itertools.combinations(parts, 2)
        ]
        parts = min(joined, key=amiss)
    return parts


def _part(structure: Structure, digits: tuple[int, ...]) -> Part:
    """The table of some parts of joint states, without columns that repeat the one before them."""
    chain = Chain(structure, digits)
    columns = [_words(legal) for legal in chain.legal(structure.columns)]
    while len(columns) > 1 and np.array_equal(columns[-1], columns[-2]):
        columns.pop()
    return Part(digits, tuple(chain.strides), np.stack(columns))


def _words(flags: np.ndarray) -> np.ndarray:
    """Flags of classes ``[classes, S]`` as bits. Integer ``[S, W]``"""
    count = -(-len(flags) // _BITS)
    found = np.zeros((flags.shape[1], count), np.int32)
    for number, flag in enumerate(flags):
        found[:, number // _BITS] |= flag.astype(np.int32) << (number % _BITS)
    return found


def _harmless(structure: Structure, i: int, chain: Chain) -> np.ndarray:
    """See `Joint.harmless`."""
    rule, place = structure.each[i], structure.hard.index(i)
    found = automaton(rule)
    after = np.stack([found.moves[:, symbols[place]] for _, _, symbols, _ in chain.classes])
    fine = ~found.broken[after] & (found.accepting[after] | ~chain.ends[:, None])
    if rule.timed:  # whether its row would break it, the clock says
        fine[:] = True
    return _words(fine | found.broken)


def _always(structure: Structure, chain: Chain, legal: np.ndarray) -> bool:
    """See `Joint.always`.

    What may happen is that legal rows work or fail; a row that is not legal, played all the same, fails, which only
    lets a step pass, but to rules on calls.
    """
    hard = [structure.each[i] for i in structure.hard]
    if any(rule.on_call or rule.timed for rule in hard) or structure.counted:
        return False
    reached = np.zeros(len(chain.states), bool)
    reached[0] = True
    while True:
        further = reached.copy()
        for after, failed, sound in zip(chain.after, chain.failed, chain.sound, strict=True):
            further[after[reached & sound]] = True
            further[failed[reached & sound]] = True
        if np.array_equal(further, reached):
            return bool(legal[:, :, reached].any(1).all())
        reached = further
