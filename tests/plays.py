"""Plays in the environment as the library plays them, for tests beside the oracle."""

import functools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import settings

from aljax import env

import oracle
from strategies import Play, env_luck, env_params, env_state

# Derandomized: a failure is then a change of the code and never of the draw.
everywhere = settings(deadline=None, max_examples=100, derandomize=True)


def dotted(path: Any) -> str:
    """A leaf's path as the fields' names."""
    return ".".join(entry.name for entry in path)


LEAVES = (
    *(f"actions.{name}" for name in (*oracle.TABLE_FIELDS, *oracle.TABLE_OPTIONAL)),
    *(*oracle.PARAM_FIELDS, *oracle.PARAM_OPTIONAL),
)


def body(params, state, chosen):
    state, costs = env.transition(state, *chosen, params)
    legal = env.legal(state, params)
    legal = jnp.broadcast_to(legal, (len(legal), *state.time.shape))
    return state, (state, costs, env.observe(state, params), legal)


def play(state, actions, luck, params):
    """The library's `oracle.play`: states, costs, observations and legal rows after each step, stacked in front."""
    return jax.lax.scan(functools.partial(body, params), state, (actions, luck))[1]


jitted_play = jax.jit(play)
vmapped_play = jax.jit(jax.vmap(play, in_axes=(0, 0, 0, None), out_axes=-1))
transition = jax.jit(env.transition)
observe = jax.jit(env.observe)
reset = jax.jit(env.reset)
step = jax.jit(env.step)
resets = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
steps = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))


def arrays(case: Play) -> tuple[Any, ...]:
    """A plain play, or a stack of plays, as the arguments of `play`."""
    return env_state(case.state, case.params), jnp.asarray(case.actions), env_luck(case), env_params(case.params)


def stack(trees: list[Any], axis: int = 0) -> Any:
    """Stacked by NumPy: for hundreds of small arrays, much faster than on the device."""
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis), *trees)


def assert_same_bits(one: Any, other: Any) -> None:
    one, other = jax.tree.leaves(one), jax.tree.leaves(other)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        if not np.array_equal(a, b):
            worst = np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))
            raise AssertionError(f"{np.sum(a != b)} of {a.size} entries differ, by at most {worst}")


def after(plain, z=(4.0, 4.0), action=0, u=0.5, eps=(0.0, 0.0), n=0.0, v=None, **state):
    """Plays one action in a simple environment: the state after (with NumPy fields) and the five costs."""
    before = oracle.start(z, params=plain) | state
    A = oracle.rows(plain)
    luck = Play(plain, before, action, u, np.asarray(eps), n, np.full(A, 0.5) if v is None else np.asarray(v))
    moved, costs = env.transition(env_state(before, plain), action, env_luck(luck), env_params(plain))
    fields = {name: np.asarray(getattr(moved, name)) for name in (*oracle.STATE_FIELDS, *oracle.used(plain))}
    return types.SimpleNamespace(**fields), np.asarray(costs)
