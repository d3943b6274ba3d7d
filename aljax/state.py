"""What an episode's state is made of, how it begins, and the chance of its start and of its steps.

Shapes are those of one episode, as in `aljax.env`. What a scenario does not use is None: no array, and nothing drawn.
"""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.layout import lift
from aljax.params import ActionTable, EnvParams, num_actions, num_coordinates, present
from aljax.rules import playing
from aljax.shapes import check_array, check_params

NOT_CALLED, WORKED, FAILED = range(3)
"""What `EnvState.status` says of a row."""


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
    done: jax.Array
    """The episode has ended. Boolean scalar"""
    status: jax.Array | None = None
    """Of each row: not called yet (0), its latest call worked (1) or failed (2). Integer ``[A]``"""
    down: jax.Array | None = None
    """What is behind the row is down, which no agent sees. Boolean ``[A]``"""
    calls: jax.Array | None = None
    """How often the row was called. Integer ``[A]``"""
    tokens: jax.Array | None = None
    """What waits in the row's bucket; always full where calls are not limited. ``[A]``"""
    rules: jax.Array | None = None
    """Where each rule stands: the state of its automaton (`aljax.rules.templates`). Integer ``[R]``"""
    cooldown: jax.Array | None = None
    """Seconds left of each cooldown in seconds. ``[K]``"""

    @property
    def kept(self) -> playing.Kept:
        """Where the rules stand, where there are any."""
        assert self.rules is not None
        return playing.Kept(self.rules, self.cooldown)


class Start(NamedTuple):
    """All the chance of an episode's start."""

    task: jax.Array
    """Where in the box the task starts, uniform on [0, 1). ``[d]``"""
    misread: jax.Array
    """The misreading in standard deviations, standard normal. ``[d]``"""
    point: jax.Array | None = None
    """Which point is added, uniform on [0, 1). Scalar"""
    down: jax.Array | None = None
    """Whether the row starts down, uniform on [0, 1). ``[A]``"""
    nearer: jax.Array | None = None
    """What the task vector is multiplied by, where episodes start nearer to what is asked. Scalar"""


class Luck(NamedTuple):
    """ξ: all the chance of one step, drawn whichever action is taken, so that policies can share it."""

    u: jax.Array
    """Uniform on [0, 1): the call fails if it lies under the row's probability. Scalar"""
    epsilon: jax.Array
    """Standard normal, scaled by the row's noise. ``[d]``"""
    n: jax.Array | None = None
    """Standard normal, scaled by the spread of the row's seconds. Scalar"""
    v: jax.Array | None = None
    """Uniform on [0, 1): each row is down after the step if it lies under that probability. ``[A]``"""


def keeps_status(names: Collection[str]) -> bool:
    """Whether an environment keeps the statuses of its rows.

    Args:
      names: the optional fields that it has (`aljax.params.present`).

    Returns:
      A Python Boolean.
    """
    return not {"after_ok", "after_failed", "mean_uptime"}.isdisjoint(names)


def begin(start: Start, params: EnvParams) -> EnvState:
    """The start state, once its chance is drawn: `reset` without a key.

    Args:
      start: the chance.
      params: the environment.

    Returns:
      The state at time 0.

    Raises:
      UserError: arrays that do not go together.
    """
    check_params(params)
    batch, table = start.task.shape[1:], params.actions
    each, a_row = (num_coordinates(params), *batch), (num_actions(params), *batch)
    check_array("task", start.task, each, float, "[d]")
    check_array("misread", start.misread, each, float, "[d]")
    ndim = len(batch)
    low, high = lift(params.start_low, ndim), lift(params.start_high, ndim)
    z = low + (high - low) * start.task
    if params.start_points is not None and params.start_weights is not None:
        check_array("point", start.point, batch, float)
        z = z + _point(start.point, params.start_points, params.start_weights)
    if start.nearer is not None:
        check_array("nearer", start.nearer, batch, float)
        z = z * start.nearer
    misread = lift(params.misread, ndim) * start.misread
    if params.blind is not None:
        misread = jnp.where(lift(params.blind, ndim), lift(expected_start(params), ndim) - z, misread)
    down = None
    if table.mean_uptime is not None:
        check_array("down", start.down, a_row, float, "[A]")
        down = jnp.asarray(start.down) < lift(downtime_share(table), ndim)
    return fresh(z, misread, down, params)


def fresh(z: jax.Array, misread: jax.Array, down: jax.Array | None, params: EnvParams) -> EnvState:
    """The start state of a task, once all that chance decides of it is known.

    Args:
      z: the task vector. ``[d]``
      misread: what the agent's view adds to it. ``[d]``
      down: which rows are down, where the environment has outages. Boolean ``[A]``
      params: the environment.

    Returns:
      The state at time 0.
    """
    batch, table = z.shape[1:], params.actions
    a_row = (num_actions(params), *batch)
    rules, cooldown = (None, None) if params.rules is None else playing.begin(params.rules, batch)
    return EnvState(
        z=z,
        misread=misread,
        latency=jnp.zeros(batch),
        money=jnp.zeros(batch),
        time=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
        status=jnp.full(a_row, NOT_CALLED, jnp.int32) if keeps_status(present(params)) else None,
        down=down,
        calls=None if table.max_calls is None else jnp.zeros(a_row, jnp.int32),
        tokens=None if table.rate_burst is None else jnp.broadcast_to(lift(table.rate_burst, len(batch)), a_row),
        rules=rules,
        cooldown=cooldown,
    )


def _point(uniform: jax.Array | None, points: jax.Array, weights: jax.Array) -> jax.Array:
    """The point ``[d]`` that a uniform number draws from N points ``[N, d]`` of given weights."""
    assert uniform is not None
    sums = jnp.cumsum(weights)
    drawn = jnp.searchsorted(sums, uniform * sums[-1], side="right")
    return jnp.moveaxis(points[jnp.minimum(drawn, len(points) - 1)], -1, 0)


def expected_start(params: EnvParams) -> jax.Array:
    """E[z_0]: what tasks need on average, which is all that is seen of a blind coordinate.

    Args:
      params: the environment.

    Returns:
      The mean start. ``[d]``
    """
    middle = 0.5 * (params.start_low + params.start_high)
    if params.start_points is None or params.start_weights is None:
        return middle
    weights = params.start_weights / params.start_weights.sum()
    return middle + jnp.tensordot(weights, params.start_points, 1, precision="highest")


def downtime_share(table: ActionTable) -> jax.Array:
    """The probability that a row is down, nothing else being known: a / (a + b), a and b one over the mean times.

    Args:
      table: the action table, with uptimes.

    Returns:
      Probabilities. ``[A]``
    """
    assert table.mean_uptime is not None and table.mean_downtime is not None
    return table.mean_downtime / (table.mean_uptime + table.mean_downtime)


def outage_rate(table: ActionTable) -> jax.Array:
    """How fast a row's chain forgets: a + b, a and b one over the mean times up and down.

    Args:
      table: the action table, with uptimes.

    Returns:
      Rates a second, finite also where nothing ever goes down. ``[A]``
    """
    assert table.mean_uptime is not None and table.mean_downtime is not None
    return 1.0 / table.mean_uptime + 1.0 / jnp.maximum(table.mean_downtime, 1e-9)
