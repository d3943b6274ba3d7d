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

import jax
import jax.numpy as jnp

from aljax.constraint import SLACK, exceeds, out_of_tolerance, over, reaches, violation
from aljax.errors import UserError
from aljax.keys import one_key
from aljax.layout import FEW, entry, lift, pick, rows_of, stored, total
from aljax.observation import observation_size, observe, places
from aljax.params import COMPONENTS, ActionTable, EnvParams, num_actions, num_coordinates, present
from aljax.rules import playing
from aljax.shapes import check_array, check_params
from aljax.state import (
    FAILED,
    NOT_CALLED,
    WORKED,
    EnvState,
    Luck,
    Start,
    begin,
    downtime_share,
    expected_start,
    fresh,
    keeps_status,
    outage_rate,
)
from aljax.target import Target, here

__all__ = [
    "COMPONENTS", "FAILED", "FEW", "NOT_CALLED", "SLACK", "WORKED", "ActionTable", "EnvParams", "EnvState", "Luck",
    "Start", "always_legal", "begin", "downtime_share", "draw_luck", "exceeds", "expected_start",
    "failure_after", "fresh", "legal", "legal_varies",
    "num_actions", "num_coordinates", "observation_size", "observe", "out_of_tolerance", "outage_rate", "over",
    "places", "played", "present", "reset", "step", "transition", "transition_apart", "violation",
]  # fmt: skip


def legal(state: EnvState, params: EnvParams) -> jax.Array:
    """Which rows may be chosen now: what masks every policy's choice. A row that is played all the same fails.

    Args:
      state: where the episode stands.
      params: the environment.

    Returns:
      Boolean ``[A]``; for a batch of episodes with its trailing axes, of length 1 where all episodes are alike.
    """
    allowed = lift(always_legal(params), state.time.ndim)
    if state.calls is not None and params.actions.max_calls is not None:
        allowed = allowed & (state.calls < lift(params.actions.max_calls, state.time.ndim))
    if params.rules is None:
        return allowed
    return playing.legal(params.rules, state.kept, allowed, params.horizon - state.time, state.calls)


def always_legal(params: EnvParams) -> jax.Array:
    """The rows that some state lets an agent choose: those of `legal` where that is the same in every state.

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
    return params.actions.max_calls is not None or (params.rules is not None and bool(params.rules.structure.hard))


def draw_luck(key: jax.Array, params: EnvParams, batch: tuple[int, ...] = ()) -> Luck:
    """Draws ξ for one step, or for `batch` of them along trailing axes.

    Args:
      key: a PRNG key.
      params: the environment.
      batch: trailing axes; none for one step.

    Returns:
      u ``[*batch]`` and ε ``[d, *batch]``; n ``[*batch]`` and v ``[A, *batch]`` where they are needed.
    """
    key, table = one_key(key), params.actions
    u_key, epsilon_key = jax.random.split(key)
    spread, outages = table.latency_spread is not None, table.mean_uptime is not None
    return Luck(
        u=jax.random.uniform(u_key, batch),
        epsilon=jax.random.normal(epsilon_key, (num_coordinates(params), *batch)),
        n=jax.random.normal(jax.random.fold_in(key, 2), batch) if spread else None,
        v=jax.random.uniform(jax.random.fold_in(key, 3), (num_actions(params), *batch)) if outages else None,
    )


def reset(key: jax.Array, params: EnvParams, batch: tuple[int, ...] = ()) -> tuple[jax.Array, EnvState]:
    """Starts an episode, or `batch` of them along trailing axes.

    The task starts uniform in the box, plus one of the points where there are any; its misreading is normal. The start
    is never tested for success.

    Args:
      key: a PRNG key.
      params: the environment.
      batch: trailing axes; none for one episode.

    Returns:
      The observation ``[O, *batch]`` and the state.
    """
    key = one_key(key)
    start_key, misread_key = jax.random.split(key)
    shape = (num_coordinates(params), *batch)
    points, outages = params.start_points is not None, params.actions.mean_uptime is not None
    start = Start(
        task=jax.random.uniform(start_key, shape),
        misread=jax.random.normal(misread_key, shape),
        point=jax.random.uniform(jax.random.fold_in(key, 2), batch) if points else None,
        down=jax.random.uniform(jax.random.fold_in(key, 3), (num_actions(params), *batch)) if outages else None,
    )
    state = begin(start, params)
    return observe(state, params), state


def step(
    key: jax.Array, state: EnvState, action: jax.Array, params: EnvParams, target: Target | None = None
) -> tuple[jax.Array, EnvState, jax.Array, jax.Array]:
    """Draws the step's luck and plays one action.

    Args:
      key: a PRNG key.
      state: where the episode stands.
      action: the row played, see `played`.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The observation ``[O]``, the next state, the five unweighted costs ``[5]`` in the order of
      `COMPONENTS`, and whether the episode has ended.
    """
    state, costs = transition(state, action, draw_luck(key, params, jnp.shape(action)), params, target)
    return observe(state, params), state, costs, state.done


def transition(
    state: EnvState,
    action: jax.Array,
    xi: Luck | tuple[jax.Array, ...],
    params: EnvParams,
    target: Target | None = None,
) -> tuple[EnvState, jax.Array]:
    """f(S, A, ξ): the next state and the costs of one action, once its luck is drawn.

    A finished episode stays as it is, at no cost, whatever is played. Differentiable nowhere that matters:
    the learning uses score functions.

    Args:
      state: where the episode stands.
      action: the row played, see `played`.
      xi: (u, ε, n, v), see `Luck`; n and v may be left out where nothing needs them.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The next state and the unweighted costs ``[5]``, in the order of `COMPONENTS`.
    """
    moved, costs = transition_apart(state, action, xi, params, target)
    return moved, jnp.stack(costs)


def transition_apart(
    state: EnvState,
    action: jax.Array,
    xi: Luck | tuple[jax.Array, ...],
    params: EnvParams,
    target: Target | None = None,
) -> tuple[EnvState, tuple[jax.Array, ...]]:
    """`transition` with the five costs as five scalars: for loops that add them up or keep them apart.

    Args:
      state: where the episode stands.
      action: the row played, see `played`.
      xi: (u, ε, n, v), see `Luck`.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The next state and five unweighted costs, in the order of `COMPONENTS`.

    Raises:
      UserError: arrays that do not go together.
    """
    target, luck = target or here(), xi if isinstance(xi, Luck) else Luck(*xi)
    action = played(action, params)
    _check_step(state, action, luck, params)
    ndim = action.ndim
    row = rows_of(params.actions, action, target)
    drift = lift(params.drift, ndim)
    one = jnp.minimum(params.horizon, 1).astype(params.drift.dtype) if target.stores_by_division else None

    # 1. and 2. Does it fail before any time-out?
    hopeless = _hopeless(state, action, row, params)
    failed = luck.u < stored(jnp.where(hopeless, 2.0, _failure(state, action, row)), one)

    # 3. Seconds and dollars.
    seconds, failed = _seconds(state, failed, row, luck.n)
    dollars = row.money if row.failure_money is None else jnp.where(failed, row.failure_money, row.money)
    if row.money_growth is not None:
        dollars = dollars + row.money_growth * state.time

    # 4. Planned: the planner expects success and knows neither noise nor drift.
    worked = row.gain * state.z + row.shift
    planned = jnp.where(row.resolves, 0.0, jnp.where(row.ends, state.z, worked))

    # 5. Realized.
    closed = jnp.where(row.resolves, 0.0, state.z)
    succeeded = jnp.where(row.ends, closed, worked + row.noise * luck.epsilon + drift)
    z = stored(jnp.where(failed, state.z + drift, succeeded), one)
    misread = jnp.where(~failed & row.reveals, 0.0, state.misread)

    # 6. Clocks and bills run on failures too.
    latency, money = state.latency + seconds, state.money + dollars
    time = state.time + 1

    # 7. and 8. Is it over? The violation is charged once, in the state in which the episode ends, and with it what
    # hard rules are still owed, as long as which it does not end by itself.
    excess, kept = violation(z, latency, money, params), None
    if params.rules is not None:
        kept = playing.move(params.rules, state.kept, action, failed, seconds)
        if one is not None:
            kept = kept._replace(state=stored(kept.state.astype(latency.dtype), one).astype(jnp.int32))
        excess = excess + playing.owed(params.rules, kept)
    excess = stored(excess, one)
    done = (params.auto_end & (excess == 0.0)) | (row.ends & ~failed) | (time >= params.horizon)
    if params.latency_limit is not None:
        done |= reaches(latency, params.latency_limit)
    if params.money_limit is not None:
        done |= reaches(money, params.money_limit)
    divergence = jnp.sqrt(total((planned - z) ** 2))
    charge = jnp.where(done, excess, 0.0)
    if params.rules is not None and kept is not None:
        charge = charge + playing.charged(params.rules, state.kept, kept, done)
    costs = (seconds, dollars, charge, failed.astype(latency.dtype), divergence)
    history = _history(state, action, failed, seconds, luck.v, params)
    moved = EnvState(z, misread, latency, money, time, done, *history, *(kept or ()))

    # 9. A finished episode absorbs.
    moved = jax.tree.map(lambda old, new: jnp.where(state.done, old, new), state, moved)
    return moved, tuple(jnp.where(state.done, 0.0, cost) for cost in costs)


def _hopeless(state: EnvState, action: jax.Array, row: ActionTable, params: EnvParams) -> jax.Array:
    """The call fails for certain: not legal, down, a required coordinate out of tolerance, no token. Scalar"""
    found = ~(entry(legal(state, params), action) if legal_varies(params) else row.allowed)
    if state.down is not None:
        found |= entry(state.down, action)
    if row.requires is not None:
        found |= jnp.any(row.requires & out_of_tolerance(state.z, params), axis=0)
    if state.tokens is not None and params.actions.rate_limit is not None:
        found |= entry(_limited(params.actions, action.ndim) & exceeds(1.0, state.tokens), action)
    return found


def _limited(table: ActionTable, ndim: int) -> jax.Array:
    """Which rows have a bucket. Boolean ``[A]``"""
    assert table.rate_limit is not None
    return lift(jnp.isfinite(table.rate_limit), ndim)


def _failure(state: EnvState, action: jax.Array, row: ActionTable) -> jax.Array:
    """The probability of failing where nothing makes it certain, by how the row's own latest call went. Scalar"""
    if row.after_ok is None and row.after_failed is None:
        return row.failure
    assert state.status is not None
    return failure_after(pick(state.status, action), row)


def failure_after(latest: jax.Array | None, row: ActionTable) -> jax.Array:
    """The probability that a call fails where nothing makes it certain, by how its row's own latest call went.

    Args:
      latest: `NOT_CALLED`, `WORKED` or `FAILED`, integers of any shape; None: the environment keeps no statuses.
      row: the row's columns, which broadcast with it.

    Returns:
      Probabilities.
    """
    found = row.failure
    if latest is None:
        return found
    if row.after_ok is not None:
        found = jnp.where(latest == WORKED, row.after_ok, found)
    if row.after_failed is not None:
        found = jnp.where(latest == FAILED, row.after_failed, found)
    return found


def _seconds(
    state: EnvState, failed: jax.Array, row: ActionTable, normal: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The seconds that a call takes, and whether it has failed once time-outs are counted. Scalars"""
    seconds = row.latency if row.failure_latency is None else jnp.where(failed, row.failure_latency, row.latency)
    if row.latency_growth is not None:
        seconds = seconds + row.latency_growth * state.time
    if row.latency_spread is not None:
        assert normal is not None
        seconds = seconds * jnp.exp(row.latency_spread * (normal - 0.5 * row.latency_spread))
    if row.timeout is not None:
        failed, seconds = failed | exceeds(seconds, row.timeout), jnp.minimum(seconds, row.timeout)
    return seconds, failed


def _history(
    state: EnvState, action: jax.Array, failed: jax.Array, seconds: jax.Array, v: jax.Array | None, params: EnvParams
) -> tuple[jax.Array | None, ...]:
    """What a step leaves behind for each row: status, down, calls and tokens, None where there is none. ``[A]``"""
    table, ndim = params.actions, action.ndim
    status, down, calls, tokens = state.status, state.down, state.calls, state.tokens
    this = lift(jnp.arange(num_actions(params), dtype=jnp.int32), ndim) == action
    if status is not None:
        status = jnp.where(this, jnp.where(failed, FAILED, WORKED), status)
    if down is not None:
        assert v is not None
        share = lift(downtime_share(table), ndim)
        forgotten = -jnp.expm1(-lift(outage_rate(table), ndim) * seconds)
        down = v < down + (share - down) * forgotten
    if calls is not None:
        calls = calls + this
    if tokens is not None:
        assert table.rate_limit is not None and table.rate_burst is not None
        limited = _limited(table, ndim)
        taken = this & limited & ~exceeds(1.0, tokens)
        flow = jnp.where(limited, lift(table.rate_limit, ndim), 0.0) * seconds
        tokens = jnp.minimum(jnp.maximum(tokens - taken, 0.0) + flow, lift(table.rate_burst, ndim))
    return status, down, calls, tokens


def _check_step(state: EnvState, action: jax.Array, luck: Luck, params: EnvParams) -> None:
    """Refuses what does not go together, while the step is traced."""
    check_params(params)
    batch, table = state.time.shape, params.actions
    each, a_row = (num_coordinates(params), *batch), (num_actions(params), *batch)
    outages, spread = table.mean_uptime is not None, table.latency_spread is not None
    check_array("action", action, batch, int)
    for name, value, shape, kind, there in (
        ("state.z", state.z, each, float, True),
        ("state.misread", state.misread, each, float, True),
        ("state.latency", state.latency, batch, float, True),
        ("state.money", state.money, batch, float, True),
        ("state.done", state.done, batch, bool, True),
        ("state.status", state.status, a_row, int, keeps_status(present(params))),
        ("state.down", state.down, a_row, bool, outages),
        ("state.calls", state.calls, a_row, int, table.max_calls is not None),
        ("state.tokens", state.tokens, a_row, float, table.rate_limit is not None),
        ("u", luck.u, batch, float, True),
        ("epsilon", luck.epsilon, each, float, True),
        ("n", luck.n, batch, float, spread),
        ("v", luck.v, a_row, float, outages),
    ):
        if there:
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
