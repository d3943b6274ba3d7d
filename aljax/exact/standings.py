"""How the rules of an episode can stand together, as far as that matters to the exact solution.

A *standing* is one state of each rule's automaton (`aljax.rules.templates`). Of all of them only those are kept that
legal rows can lead to, and of those that no continuation tells apart only one: rows that are legal now and ever after,
and what would be owed and paid if the episode ended, are the same. Cooldowns in seconds, which only bounds take, stand
where they begin.
"""

import dataclasses
import functools
import itertools
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from aljax.rules.chain import legal_of
from aljax.rules.data import Structure
from aljax.rules.joint import joint_of
from aljax.rules.templates import NOTHING, symbol

MOST = 20_000
"""Standings that are looked at."""


@dataclasses.dataclass(frozen=True)
class Standings:
    """Where the rules can stand, and where calls lead."""

    states: np.ndarray
    """Of each rule, in one standing of those that are alike; the first is where episodes begin. Integer ``[R, J]``"""
    after: np.ndarray
    """Where a row's call leads if it works, and if it fails; where it cannot be chosen, to itself.
    Integer ``[A, 2, J]``"""
    overrun: bool
    """A hard cooldown in seconds may be broken, for want of another row."""


class _Choice(NamedTuple):
    """What may be chosen where hard rules stand."""

    rows: np.ndarray
    """Rows that are legal, whatever else there is to know. Boolean ``[A]``"""
    cornered: bool
    """It may be that only rows are left that break a rule, or run into a cooldown in seconds."""
    mark: Hashable
    """Equal where the same is legal for all steps left and calls made."""


@functools.lru_cache(maxsize=64)
def standings(structure: Structure) -> Standings | None:
    """The standings of an environment's rules.

    Args:
      structure: of the rules.

    Returns:
      The standings; None: there are more than `MOST`.
    """
    found = _reached(structure, anything=False)
    timed = any(structure.each[i].hard for i in structure.timed)
    overrun = timed and found is not None and any(choice.cornered for _, choice in found)
    if overrun:  # once a cooldown is broken, all is legal that breaks no other rule
        found = _reached(structure, anything=True)
    if found is None:
        return None
    number = {states: j for j, (states, _) in enumerate(found)}
    rows, nowhere = range(len(structure.allowed)), -1
    after = np.full((len(rows), 2, len(found)), nowhere)
    marks = []
    for j, (states, choice) in enumerate(found):
        closing = []
        for row in np.flatnonzero(choice.rows).tolist():
            for failed in (False, True):
                leads = _after(structure, states, row, failed)
                if structure.ends[row] and not failed:
                    closing.append(_unkept(structure, leads))
                else:
                    after[row, int(failed), j] = number[leads]
        marks.append((choice.mark, _unkept(structure, states), tuple(closing)))
    alike, first = _alike(after, marks)
    after = np.where(after[:, :, first] == nowhere, np.arange(len(first)), alike[after[:, :, first]])
    return Standings(np.array([found[j][0] for j in first]).T, after, overrun)


def _reached(structure: Structure, anything: bool) -> list[tuple[tuple[int, ...], _Choice]] | None:
    """All standings that choices lead to, with those choices; `anything`: also where legal rows are left."""

    @functools.cache
    def choose(hard: tuple[int, ...]) -> _Choice:
        return _choice(structure, hard, anything)

    start: tuple[int, ...] = (0,) * len(structure.each)
    found: list[tuple[int, ...]] = [start]
    seen = set(found)
    for states in found:  # which grows
        chosen = choose(tuple(states[i] for i in structure.hard))
        for row, failed in itertools.product(np.flatnonzero(chosen.rows).tolist(), (False, True)):
            leads = _after(structure, states, row, failed)
            if leads not in seen and (failed or not structure.ends[row]):
                seen.add(leads)
                found.append(leads)
        if len(found) > MOST:
            return None
    return [(states, choose(tuple(states[i] for i in structure.hard))) for states in found]


def _after(structure: Structure, states: Sequence[int], row: int, failed: bool) -> tuple[int, ...]:
    """Where rules stand after a call."""
    found = []
    for rule, automaton, state in zip(structure.each, structure.automata, states, strict=True):
        what = NOTHING if failed and not rule.on_call else symbol(rule, row)
        found.append(int(automaton.moves[state, what]))
    return tuple(found)


def _unkept(structure: Structure, states: Sequence[int]) -> tuple[int, tuple[bool, ...]]:
    """How many hard rules are owed, and which soft ones are not kept, if the episode ends."""
    each = zip(structure.each, structure.automata, states, strict=True)
    flags = [(rule.hard, not automaton.accepting[state]) for rule, automaton, state in each]
    return sum(unkept for hard, unkept in flags if hard), tuple(bool(unkept) for hard, unkept in flags if not hard)


def _choice(structure: Structure, hard: tuple[int, ...], anything: bool) -> _Choice:
    """What may be chosen where hard rules stand so: `aljax.rules.playing.legal`, for all steps left and calls made."""
    count = len(structure.allowed)
    if not hard:
        return _Choice(np.ones(count, bool), False, None)
    chain, legal = legal_of(structure)
    strides = chain.strides
    joint, automata = joint_of(structure), [structure.automata[i] for i in structure.hard]
    lives = [automaton.live for automaton in automata]
    place = sum(min(state, live - 1) * s for state, live, s in zip(hard, lives, strides, strict=False))
    counted = zip(structure.counted, strides[len(hard) :], strict=True)
    made = [range(0, (most + 1) * stride, stride) for (_, most), stride in counted]
    places = np.array([place + sum(each) for each in itertools.product(*made)])
    keepable = np.moveaxis(legal[:, :, places][:, chain.class_of], 1, -1)
    broken = any(automaton.broken[state] for automaton, state in zip(automata, hard, strict=True))
    words = [harmless[state] for harmless, state in zip(joint.harmless, hard, strict=True)]
    harmless = (functools.reduce(np.bitwise_and, words)[joint.word] & joint.bit) != 0
    calm, uncounted = np.ones(count, bool), np.ones(count, bool)
    calm[[structure.each[i].a for i in structure.timed if structure.each[i].hard]] = False
    uncounted[[row for row, _ in structure.counted]] = False
    mark = keepable.tobytes(), broken, harmless.tobytes()
    rows = np.asarray(keepable.any((0, 1)))
    if not anything and not broken and (keepable & calm).any(-1).all():
        return _Choice(rows, False, mark)
    rows = rows | harmless
    # What is harmless and not counted here never runs out of calls, or there is another such row that does not.
    cornered = not (harmless & calm & uncounted & np.array(structure.allowed)).any()
    return _Choice(rows | cornered, cornered, mark)


def _alike(after: np.ndarray, marks: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Standings that no continuation tells apart (Moore, 1956, "Gedanken-experiments on sequential machines").

    Returns:
      The class of each standing, numbered by their first members. Integer ``[J]``; and those members
    """
    numbers: dict[Hashable, int] = {}
    labels = np.array([numbers.setdefault(mark, len(numbers)) for mark in marks])
    while True:
        leads = np.where(after < 0, -1, labels[after]).reshape(-1, len(labels))
        _, first, found = np.unique(np.vstack([labels, leads]), axis=1, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        found = rank[found.reshape(-1)]
        if len(first) == labels.max() + 1:
            return found, np.sort(first)
        labels = found
