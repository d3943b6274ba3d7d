"""What rules do in an episode: how they move, what they forbid, what is paid for them. All of it is traced.

Shapes are written for one episode, as in `aljax.env`; every function takes trailing axes of episodes as well.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.constraint import SLACK
from aljax.layout import FEW, lift
from aljax.rules.data import Rules, Structure
from aljax.rules.joint import joint_of
from aljax.rules.templates import BOTH, FIRST, NOTHING, SECOND, Automaton, Rule, symbols_of


class Kept(NamedTuple):
    """Where the rules of an episode stand."""

    state: jax.Array
    """The state of each rule's automaton. Integer ``[R]``"""
    left: jax.Array | None = None
    """Seconds left of each cooldown in seconds. ``[K]``"""


def begin(rules: Rules, batch: tuple[int, ...]) -> Kept:
    """Where rules stand at the start of an episode.

    Args:
      rules: of the environment.
      batch: trailing axes; none for one episode.

    Returns:
      State 0 of each, and no seconds left.
    """
    left = None if rules.seconds is None else jnp.zeros((rules.seconds.shape[0], *batch))
    return Kept(jnp.zeros((len(rules.structure.each), *batch), jnp.int32), left)


def move(rules: Rules, kept: Kept, action: jax.Array, failed: jax.Array, seconds: jax.Array) -> Kept:
    """Where rules stand after a step.

    Args:
      rules: of the environment.
      kept: where they stood.
      action: the row that was played. Integer scalar
      failed: whether that call failed. Boolean scalar
      seconds: what it took. Scalar

    Returns:
      Where they stand.
    """
    structure, states, left, steps = rules.structure, [], [], _Step(action, failed)
    for i, (rule, automaton) in enumerate(zip(structure.each, structure.automata, strict=True)):
        state = kept.state[i]
        if rule.timed:
            assert kept.left is not None and rules.seconds is not None
            k, again = structure.timed.index(i), steps.was(rule, FIRST)
            states.append(jnp.where(again & (kept.left[k] > SLACK), 1, state))
            left.append(jnp.where(again, rules.seconds[k], jnp.maximum(kept.left[k] - seconds, 0.0)))
        else:
            states.append(_moved(automaton, rule, state, steps))
    return Kept(_stacked(states), _stacked(left) if left else None)


class _Step:
    """What was played in a step, and what that is to each rule."""

    def __init__(self, action: jax.Array, failed: jax.Array) -> None:
        self._action, self._failed = action, failed
        self.worked = ~failed
        self._found: dict[tuple[int, bool], jax.Array] = {}

    def was(self, rule: Rule, symbol: int) -> jax.Array:
        """The step was this to a rule. Boolean scalar"""
        if symbol == NOTHING:
            return jnp.zeros_like(self._failed) if rule.on_call else self._failed
        if symbol in (FIRST, BOTH):
            return self._of(rule.a, rule.on_call)
        rows = [rule.a] if rule.b is None else [rule.a, rule.b]
        if symbol == SECOND:
            return self._of(rows[-1], rule.on_call)
        another = functools.reduce(jnp.logical_and, [self._action != row for row in rows])
        return another if rule.on_call else another & self.worked

    def _of(self, row: int, on_call: bool) -> jax.Array:
        """There was an occurrence of a row. Boolean scalar"""
        if (row, on_call) not in self._found:
            called = self._action == row
            self._found[row, on_call] = called if on_call else called & self.worked
        return self._found[row, on_call]


def _moved(automaton: Automaton, rule: Rule, state: jax.Array, step: _Step) -> jax.Array:
    """The state of a rule after a step. Integer scalar"""
    moves, found, possible = automaton.moves, state, symbols_of(rule)
    if len(moves) > FEW:  # it counts
        for symbol in possible:
            found = jnp.where(step.was(rule, symbol), look_up(moves[:, symbol], state), found)
        return found
    for before, symbol in np.argwhere(moves != np.arange(len(moves))[:, None]).tolist():
        if symbol in possible:
            found = jnp.where((state == before) & step.was(rule, symbol), jnp.int32(moves[before, symbol]), found)
    return found


def _stacked(values: Sequence[jax.Array]) -> jax.Array:
    """Along a first axis."""
    return jnp.concatenate([value[None] for value in values])


def owed(rules: Rules, kept: Kept) -> jax.Array:
    """How many hard rules do not hold: units of violation if the episode ended here. Scalar

    Args:
      rules: of the environment.
      kept: where they stand.

    Returns:
      A whole number, as a real one.
    """
    return _total(rules, kept, [~automaton.accepting for automaton in rules.structure.automata], rules.structure.hard)


def charged(rules: Rules, before: Kept, after: Kept, done: jax.Array) -> jax.Array:
    """What a step costs for soft rules, in units of violation: once each, where it is broken or in the end not kept.

    Args:
      rules: of the environment.
      before: where they stood.
      after: where they stand.
      done: the step has ended the episode. Boolean scalar

    Returns:
      Scalar.
    """
    automata = rules.structure.automata
    soft = tuple(i for i in range(len(automata)) if i not in rules.structure.hard)
    paid = _total(rules, before, [each.broken for each in automata], soft)
    broken = _total(rules, after, [each.broken for each in automata], soft)
    unkept = _total(rules, after, [~each.accepting for each in automata], soft)
    return jnp.where(done, unkept, broken) - paid


def _total(rules: Rules, kept: Kept, flags: list[np.ndarray], which: tuple[int, ...]) -> jax.Array:
    """The weights, summed, of the rules whose state has a flag. Scalar"""
    found = jnp.zeros(kept.state.shape[1:])
    for i in which:
        found = found + jnp.where(_any_of(kept.state[i], np.flatnonzero(flags[i])), rules.weight[i], 0.0)
    return found


def _any_of(state: jax.Array, states: np.ndarray) -> jax.Array:
    """Whether an automaton is in one of some states that follow one another. Boolean scalar"""
    if not len(states):
        return jnp.zeros(state.shape, bool)
    return (state >= int(states[0])) & (state <= int(states[-1]))


def legal(rules: Rules, kept: Kept, free: jax.Array, remaining: jax.Array, calls: jax.Array | None) -> jax.Array:
    """The rows that no hard rule forbids.

    A row is legal if, once it has worked, all hard rules can still be kept in the steps that remain
    (`aljax.rules.chain`), and if no cooldown in seconds of its own is running. Where there is no such row, because
    calls failed, those are legal that do not break a rule that is not broken yet; where there are none of these either,
    all.

    Args:
      rules: of the environment.
      kept: where they stand.
      free: rows that may be chosen but for the rules. Boolean ``[A]``
      remaining: steps until the horizon. Integer scalar
      calls: how often each row was called, where the environment counts them. Integer ``[A]``

    Returns:
      Boolean ``[A]``.
    """
    structure = rules.structure
    if not structure.hard:
        return free
    joint, ndim = joint_of(structure), remaining.ndim
    rows = lift(jnp.arange(len(structure.allowed), dtype=jnp.int32), ndim)
    calm = free
    for k, i in enumerate(structure.timed):
        if structure.each[i].hard:
            assert kept.left is not None
            calm = calm & ~((rows == structure.each[i].a) & (kept.left[k] > SLACK))
    found = calm & _flags(joint.word, joint.bit, _keepable(structure, kept, remaining, calls))
    if joint.always:
        return found
    whole = ~functools.reduce(jnp.logical_or, [_broken(structure, kept, i) for i in structure.hard])
    harmless = functools.reduce(
        jnp.bitwise_and,
        [_rows_of(words, kept.state[i]) for words, i in zip(joint.harmless, structure.hard, strict=True)],
    )
    found = found & whole
    cautious = calm & _flags(joint.word, joint.bit, harmless)
    cautious = jnp.where(jnp.any(cautious, axis=0), cautious, free)
    return jnp.where(jnp.any(found, axis=0), found, cautious)


def _keepable(structure: Structure, kept: Kept, remaining: jax.Array, calls: jax.Array | None) -> jax.Array:
    """The tables' words for where an episode stands, joined. Integer ``[W]``"""
    digits = [jnp.minimum(kept.state[i], structure.automata[i].live - 1) for i in structure.hard]
    for row, most in structure.counted:
        assert calls is not None
        digits.append(jnp.minimum(calls[row], most))
    found = []
    for part in joint_of(structure).parts:
        scaled = [stride * digits[digit] for stride, digit in zip(part.strides, part.digits, strict=True)]
        number = functools.reduce(jnp.add, scaled)
        columns, states, words = part.keepable.shape
        if columns > 1:
            number = number + states * jnp.clip(remaining - 1, 0, columns - 1)
        found.append(_rows_of(part.keepable.reshape(-1, words), number))
    return functools.reduce(jnp.bitwise_and, found)


def _rows_of(table: np.ndarray, number: jax.Array) -> jax.Array:
    """A row of a table with few columns. Integer ``[W]``"""
    return jnp.concatenate([look_up(column, number)[None] for column in table.T])


def look_up(values: np.ndarray, number: jax.Array) -> jax.Array:
    """The entry of a table that is known when the program is made.

    Args:
      values: integers. ``[n]``
      number: which entry. Integer scalar

    Returns:
      Integer scalar. Of few entries they are written out, for which CPUs have vector instructions.
    """
    if len(values) > FEW:
        return jnp.take(jnp.asarray(values, jnp.int32), number, mode="clip")
    usual = np.bincount(values - values.min()).argmax() + values.min() if np.ptp(values) < 4 * FEW else values[0]
    found = jnp.full(number.shape, usual, jnp.int32)
    for place in np.flatnonzero(values != usual).tolist():
        found = jnp.where(number == place, jnp.int32(values[place]), found)
    return found


def _flags(word: np.ndarray, bit: np.ndarray, words: jax.Array) -> jax.Array:
    """The bits of all rows. Boolean ``[A]``"""
    ndim = words.ndim - 1
    spread = words if len(words) == 1 else words[word]
    return (spread & lift(jnp.asarray(bit), ndim)) != 0


def _broken(structure: Structure, kept: Kept, i: int) -> jax.Array:
    return _any_of(kept.state[i], np.flatnonzero(structure.automata[i].broken))


def observed(rules: Rules, kept: Kept, dtype: jnp.dtype) -> list[jax.Array]:
    """What an agent sees of the rules: one-hots of their states, in the file's order, then seconds left.

    Args:
      rules: of the environment.
      kept: where they stand.
      dtype: of the observation.

    Returns:
      ``[R states]`` and, where there are cooldowns in seconds, ``[K]``, over those seconds.
    """
    ndim = kept.state.ndim - 1
    hots = [
        (kept.state[i][None] == lift(jnp.arange(automaton.states, dtype=jnp.int32), ndim)).astype(dtype)
        for i, automaton in enumerate(rules.structure.automata)
    ]
    found = [jnp.concatenate(hots)]
    if rules.seconds is not None and kept.left is not None:
        found.append(kept.left / lift(rules.seconds, ndim))
    return found


def seen(rules: Rules, hots: jax.Array, left: jax.Array | None) -> Kept:
    """Where rules stand, of what an agent sees of them: the reverse of `observed`.

    Args:
      rules: of the environment.
      hots: the one-hots. ``[R states]``
      left: seconds left over those of the cooldowns. ``[K]``

    Returns:
      Where they stand.
    """
    states, at = [], 0
    for automaton in rules.structure.automata:
        part = hots[at : at + automaton.states]
        states.append(jnp.argmax(part, axis=0).astype(jnp.int32))
        at += automaton.states
    seconds = None if rules.seconds is None or left is None else left * lift(rules.seconds, left.ndim - 1)
    return Kept(_stacked(states), seconds)
