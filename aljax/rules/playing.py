"""What rules do in an episode: how they move, what they forbid, what is paid for them. All of it is traced.

Shapes are written for one episode, as in `aljax.env`; every function takes trailing axes of episodes as well.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.layout import lift
from aljax.rules.data import Rules, Structure
from aljax.rules.joint import joint_of
from aljax.rules.templates import BOTH, FIRST, NOTHING, OTHER, SECOND, SYMBOLS, Rule

_SLACK = 1e-5
"""Seconds of a cooldown that may be left: what sums of decimal fractions need (`aljax.constraint.SLACK`)."""


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
    structure, states, left = rules.structure, [], []
    for i, (rule, automaton) in enumerate(zip(structure.each, structure.automata, strict=True)):
        symbol = _symbol(rule, action, failed)
        if rule.timed:
            assert kept.left is not None and rules.seconds is not None
            k = structure.timed.index(i)
            again, waits = symbol == FIRST, kept.left[k] > _SLACK
            states.append(jnp.where(again & waits, 1, kept.state[i]))
            left.append(jnp.where(again, rules.seconds[k], jnp.maximum(kept.left[k] - seconds, 0.0)))
        else:
            moves = jnp.asarray(automaton.moves.reshape(-1), jnp.int32)
            states.append(jnp.take(moves, kept.state[i] * SYMBOLS + symbol, mode="clip"))
    return Kept(jnp.stack(states), jnp.stack(left) if left else None)


def _symbol(rule: Rule, action: jax.Array, failed: jax.Array) -> jax.Array:
    """What a step is to a rule. Integer scalar"""
    if rule.b is None:
        found = jnp.where(action == rule.a, FIRST, OTHER)
    elif rule.b == rule.a:
        found = jnp.where(action == rule.a, BOTH, OTHER)
    else:
        found = jnp.where(action == rule.a, FIRST, jnp.where(action == rule.b, SECOND, OTHER))
    return found if rule.on_call else jnp.where(failed, NOTHING, found)


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
    (`aljax.rules.joint`), and if no cooldown in seconds of its own is running. Where there is no such row, because
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
            calm = calm & ~((rows == structure.each[i].a) & (kept.left[k] > _SLACK))
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
    """The table's words for where an episode stands. Integer ``[W]``"""
    joint = joint_of(structure)
    parts = [jnp.minimum(kept.state[i], structure.automata[i].live - 1) for i in structure.hard]
    for row, most in structure.counted:
        assert calls is not None
        parts.append(jnp.minimum(calls[row], most))
    number = functools.reduce(jnp.add, [s * part for s, part in zip(joint.strides, parts, strict=True)])
    columns, states, words = joint.keepable.shape
    if columns > 1:
        number = number + states * jnp.clip(remaining - 1, 0, columns - 1)
    return _rows_of(joint.keepable.reshape(-1, words), number)


def _rows_of(table: np.ndarray, number: jax.Array) -> jax.Array:
    """A row of a table with few columns. Integer ``[W]``"""
    return jnp.stack([jnp.take(jnp.asarray(column), number, mode="clip") for column in table.T])


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
    return Kept(jnp.stack(states), seconds)
