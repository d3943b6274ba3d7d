"""The environment: one episode of tool orchestration as pure state transitions.

Everything that an agent can do is one row of an action table, and what a row does follows from its columns,
so the step has no branches and every number of it can be traced, vmapped and swept.

Shapes are written for one episode: ``[d]`` is one entry a coordinate of the task, ``[A]`` one a row of the
table. Batches come from ``jax.vmap``; besides, every function here takes episodes stacked along *trailing*
axes (state ``[d, B]``, actions ``[B]``, costs ``[5, B]``), which is what the library itself uses: with the
episode axis last, the short axes stay outside and CPUs vectorise over episodes.

References: Bamigbade and Oni (2026), sections 3 and 4; the numbered steps in `transition` are those of the
transition f(S, A, ξ).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.errors import UserError
from aljax.keys import one_key
from aljax.layout import FEW, entry, lift, rows_of, stored, total
from aljax.params import COMPONENTS, ActionTable, EnvParams, num_actions, num_coordinates, present
from aljax.shapes import check_array, check_params

__all__ = [
    "COMPONENTS", "FEW", "SLACK", "ActionTable", "EnvParams", "EnvState", "Luck", "always_legal", "begin", "draw_luck",
    "exceeds", "legal", "legal_varies", "num_actions", "num_coordinates", "observation_size", "observe", "over",
    "played", "present", "reset", "step", "transition", "transition_apart", "violation",
]  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EnvState:
    """Where one episode stands."""

    z: jax.Array
    """The task vector: what is still wrong with the task. ``[d]``"""
    misread: jax.Array
    """What the agent's view of the task adds to it. ``[d]``"""
    latency: jax.Array
    """Seconds taken so far. Scalar"""
    money: jax.Array
    """Dollars spent so far. Scalar"""
    time: jax.Array
    """Steps taken so far. Integer scalar"""
    last_failed: jax.Array
    """The row that failed in the step before, −1 if none did. Integer scalar"""
    done: jax.Array
    """The episode has ended. Boolean scalar"""


SLACK = 1e-5
"""How far beyond a bound still counts as on it: this much for bounds up to 1, this share of larger ones; see `over`."""


class Luck(NamedTuple):
    """ξ: all the chance of one step, drawn whichever action is taken, so that policies can share it."""

    u: jax.Array
    """Uniform on [0, 1): the action fails if it lies under the row's probability. Scalar"""
    epsilon: jax.Array
    """Standard normal, scaled by the row's noise. ``[d]``"""


def observation_size(params: EnvParams) -> int:
    """Length of `observe`'s vector.

    Args:
      params: the environment.

    Returns:
      2 d + A + 3.
    """
    return 2 * num_coordinates(params) + num_actions(params) + 3


def legal(state: EnvState, params: EnvParams) -> jax.Array:
    """Which rows may be chosen now: what masks every policy's choice. A row that is played all the same fails.

    Args:
      state: where the episode stands.
      params: the environment.

    Returns:
      Boolean ``[A]``; for a batch of episodes with its trailing axes, of length 1 where all episodes are alike.
    """
    return lift(always_legal(params), state.time.ndim)


def always_legal(params: EnvParams) -> jax.Array:
    """The rows that some state lets an agent choose: those of `legal` where that is the same in every state.

    Whoever has no state at hand (the solver, logs) asks this, and refuses what `legal_varies` is true of.

    Args:
      params: the environment.

    Returns:
      Boolean ``[A]``.
    """
    return params.actions.allowed


def legal_varies(params: EnvParams) -> bool:
    """Whether `legal` depends on the state; where it does not, rollouts need not keep it.

    Args:
      params: the environment.

    Returns:
      A Python Boolean, so that what is not needed is not compiled.
    """
    del params
    return False


def draw_luck(key: jax.Array, params: EnvParams, batch: tuple[int, ...] = ()) -> Luck:
    """Draws ξ for one step, or for `batch` of them along trailing axes.

    Args:
      key: a PRNG key.
      params: the environment.
      batch: trailing axes; none for one step.

    Returns:
      u ``[*batch]`` and ε ``[d, *batch]``.
    """
    u_key, epsilon_key = jax.random.split(one_key(key))
    return Luck(
        u=jax.random.uniform(u_key, batch),
        epsilon=jax.random.normal(epsilon_key, (num_coordinates(params), *batch)),
    )


def reset(key: jax.Array, params: EnvParams, batch: tuple[int, ...] = ()) -> tuple[jax.Array, EnvState]:
    """Starts an episode, or `batch` of them along trailing axes.

    The task starts uniform in the box, its misreading normal; the start is never tested for success.

    Args:
      key: a PRNG key.
      params: the environment.
      batch: trailing axes; none for one episode.

    Returns:
      The observation ``[2 d + A + 3, *batch]`` and the state.
    """
    start_key, misread_key = jax.random.split(one_key(key))
    shape = (num_coordinates(params), *batch)
    state = begin(jax.random.uniform(start_key, shape), jax.random.normal(misread_key, shape), params)
    return observe(state, params), state


def begin(uniform: jax.Array, normal: jax.Array, params: EnvParams) -> EnvState:
    """The start state, once its chance is drawn: `reset` without a key.

    Args:
      uniform: where in the box the task starts, on [0, 1). ``[d]``
      normal: the misreading in standard deviations. ``[d]``
      params: the environment.

    Returns:
      The state at time 0.
    """
    check_params(params)
    batch = uniform.shape[1:]
    for name, drawn in (("uniform", uniform), ("normal", normal)):
        check_array(name, drawn, (num_coordinates(params), *batch), float, "[d]")
    low, high = lift(params.start_low, len(batch)), lift(params.start_high, len(batch))
    return EnvState(
        z=low + (high - low) * uniform,
        misread=lift(params.misread, len(batch)) * normal,
        latency=jnp.zeros(batch),
        money=jnp.zeros(batch),
        time=jnp.zeros(batch, jnp.int32),
        last_failed=jnp.full(batch, -1, jnp.int32),
        done=jnp.zeros(batch, bool),
    )


def step(
    key: jax.Array, state: EnvState, action: jax.Array, params: EnvParams
) -> tuple[jax.Array, EnvState, jax.Array, jax.Array]:
    """Draws the step's luck and plays one action.

    Args:
      key: a PRNG key.
      state: where the episode stands.
      action: the row played, see `played`.
      params: the environment.

    Returns:
      The observation ``[2 d + A + 3]``, the next state, the five unweighted costs ``[5]`` in the order of
      `COMPONENTS`, and whether the episode has ended.
    """
    state, costs = transition(state, action, draw_luck(key, params, jnp.shape(action)), params)
    return observe(state, params), state, costs, state.done


def transition(
    state: EnvState, action: jax.Array, xi: tuple[jax.Array, jax.Array], params: EnvParams
) -> tuple[EnvState, jax.Array]:
    """f(S, A, ξ): the next state and the costs of one action, once its luck is drawn.

    A finished episode stays as it is, at no cost, whatever is played. Differentiable nowhere that matters:
    the learning uses score functions.

    Args:
      state: where the episode stands.
      action: the row played, see `played`.
      xi: (u, ε), see `Luck`; u a scalar, ε ``[d]``.
      params: the environment.

    Returns:
      The next state and the unweighted costs ``[5]``, in the order of `COMPONENTS`.
    """
    moved, costs = transition_apart(state, action, xi, params)
    return moved, jnp.stack(costs)


def transition_apart(
    state: EnvState, action: jax.Array, xi: tuple[jax.Array, jax.Array], params: EnvParams
) -> tuple[EnvState, tuple[jax.Array, ...]]:
    """`transition` with the five costs as five scalars: for loops that add them up or keep them apart.

    Args:
      state: where the episode stands.
      action: the row played, see `played`.
      xi: (u, ε), see `Luck`.
      params: the environment.

    Returns:
      The next state and five unweighted costs, in the order of `COMPONENTS`.

    Raises:
      UserError: arrays that do not go together.
    """
    u, epsilon = xi
    action = played(action, params)
    _check_step(state, action, u, epsilon, params)
    ndim = action.ndim
    row = rows_of(params.actions, action)
    drift = lift(params.drift, ndim)
    one = jnp.minimum(params.horizon, 1).astype(params.drift.dtype)

    # 1. Does it fail? For certain if it is not legal.
    probability = jnp.where(state.last_failed == action, row.retry_failure, row.failure)
    may = entry(legal(state, params), action) if legal_varies(params) else row.allowed
    failed = u < stored(jnp.where(may, probability, 2.0), one)

    # 2. Planned: the planner expects success and knows neither noise nor drift.
    worked = row.gain * state.z + row.shift
    planned = jnp.where(row.resolves, 0.0, jnp.where(row.ends, state.z, worked))

    # 3. Realized.
    closed = jnp.where(row.resolves, 0.0, state.z)
    succeeded = jnp.where(row.ends, closed, worked + row.noise * epsilon + drift)
    z = stored(jnp.where(failed, state.z + drift, succeeded), one)
    misread = jnp.where(~failed & row.reveals, 0.0, state.misread)

    # 4. Clocks and bills run on failures too.
    latency, money = state.latency + row.latency, state.money + row.money
    time = state.time + 1

    # 5. Is it over? The violation is charged once, in the state in which the episode ends.
    excess = stored(violation(z, latency, money, params), one)
    done = (excess == 0.0) | (row.ends & ~failed) | (time >= params.horizon)
    divergence = jnp.sqrt(total((planned - z) ** 2))
    costs = (row.latency, row.money, jnp.where(done, excess, 0.0), failed.astype(latency.dtype), divergence)
    moved = EnvState(z, misread, latency, money, time, jnp.where(failed, action, -1), done)

    # 6. A finished episode absorbs.
    moved = jax.tree.map(lambda old, new: jnp.where(state.done, old, new), state, moved)
    return moved, tuple(jnp.where(state.done, 0.0, cost) for cost in costs)


def _check_step(state: EnvState, action: jax.Array, u: jax.Array, epsilon: jax.Array, params: EnvParams) -> None:
    """Refuses what does not go together, while the step is traced."""
    check_params(params)
    batch = state.time.shape
    each = (num_coordinates(params), *batch)
    check_array("action", action, batch, int)
    for name, value, shape, kind in (
        ("state.z", state.z, each, float),
        ("state.misread", state.misread, each, float),
        ("state.latency", state.latency, batch, float),
        ("state.money", state.money, batch, float),
        ("state.last_failed", state.last_failed, batch, int),
        ("state.done", state.done, batch, bool),
        ("u", u, batch, float),
        ("epsilon", epsilon, each, float),
    ):
        check_array(name, value, shape, kind)


def played(action: jax.Array, params: EnvParams) -> jax.Array:
    """The row that an action stands for: itself, or the nearest there is, row 0 or A − 1.

    Args:
      action: integers of any shape.
      params: the environment.

    Returns:
      Integers of that shape.

    Raises:
      UserError: an action is not an integer.
    """
    action = jnp.asarray(action)
    if not jnp.issubdtype(action.dtype, jnp.integer):
        raise UserError(f"action: expected an integer, the number of a row, got {action.dtype}")
    highest = min(num_actions(params) - 1, int(jnp.iinfo(action.dtype).max))
    return jnp.clip(action, 0, highest).astype(jnp.int32)


def over(x: jax.Array, c: jax.Array) -> jax.Array:
    """By how much x exceeds a bound c: x − c where x > c + `SLACK` max(1, ``|c|``), else 0.

    Decimal fractions are not exact in binary, and their sums in single precision less so: seven calls of 0.1 s take
    0.70000005 s. The slack is wider than that (docs/reference/scenario_files.md says up to which horizon), so that a
    bound that is exactly met is met. Simulator, exact solver and bounds all compare with tolerances and budgets by
    this function.

    Args:
      x: what is bounded.
      c: the bound, not below 0; inf: none. Broadcasts with `x`.

    Returns:
      The excess, never NaN where `x` is finite.
    """
    return jnp.where(exceeds(x, c), x - c, 0.0)


def exceeds(x: jax.Array, c: jax.Array) -> jax.Array:
    """Whether `over` is above 0.

    Args:
      x: what is bounded.
      c: the bound.

    Returns:
      Booleans, of the shape that both broadcast to.
    """
    return x > c + SLACK * jnp.maximum(1.0, jnp.abs(c))


def violation(z: jax.Array, latency: jax.Array, money: jax.Array, params: EnvParams) -> jax.Array:
    """g: by how much a task vector ``[d]`` and what was spent exceed tolerance and budgets.

    Args:
      z: the task vector. ``[d]``
      latency: seconds taken. Scalar
      money: dollars spent. Scalar
      params: the environment.

    Returns:
      A scalar, 0 where all are met.
    """
    return (
        total(over(jnp.abs(z), lift(params.tolerance, z.ndim - 1)))
        + over(latency, params.latency_budget) / params.latency_budget
        + over(money, params.money_budget) / params.money_budget
    )


def observe(state: EnvState, params: EnvParams) -> jax.Array:
    """What the policy sees, ``[2 d + A + 3]``: the paper's section 4.3 (a) to (e), and the row that failed last.

    In this order: the task as read over its scale [d]; latency and money over theirs; which coordinates read
    as out of tolerance [d]; time over the horizon; one-hot of the row that failed in the step before [A].

    Args:
      state: where the episode stands.
      params: the environment.

    Returns:
      ``[2 d + A + 3]``.
    """
    ndim = state.time.ndim
    seen = state.z + state.misread
    rows = lift(jnp.arange(num_actions(params), dtype=jnp.int32), ndim)
    return jnp.concatenate(
        [
            seen / lift(params.z_scale, ndim),
            (state.latency / params.latency_scale)[None],
            (state.money / params.money_scale)[None],
            exceeds(jnp.abs(seen), lift(params.tolerance, ndim)).astype(seen.dtype),
            (state.time / params.horizon).astype(seen.dtype)[None],
            (rows == state.last_failed).astype(seen.dtype),
        ]
    )
