"""What the environment makes of calls whose outcomes are known: the observations, divergence and violation of a replay.

The environment itself is played, `aljax.env.transition`, with the logged outcomes in the place of luck. What an agent
cannot see (a blind coordinate's need) stays at its mean on the way; what an episode leaves undone in the end is
averaged over the starts of the scenario that agree with whether it succeeded.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.calls import expected_call
from aljax.errors import UserError
from aljax.rules import playing
from aljax.scenario import Scenario

_DRAWN = 512
"""Starts that are drawn where there are more than can be counted."""
_VIOLATION = env.COMPONENTS.index("violation")
_OF_COSTS = (
    "failure_latency", "failure_money", "latency_growth", "money_growth", "latency_spread", "timeout",
)  # fmt: skip
"""Columns that have no say where seconds and dollars are known."""


class Calls(NamedTuple):
    """Calls of N episodes, at most T each; after an episode's last they mean nothing."""

    action: jax.Array
    """Rows. Integer ``[N, T]``"""
    failed: jax.Array
    """Boolean ``[N, T]``"""
    known: jax.Array
    """Seconds and dollars that are known. ``[N, T, 2]``"""
    partly: jax.Array
    """A part of them is unknown, and what the scenario expects beyond `usual` stands in. Boolean ``[N, T, 2]``"""
    usual: jax.Array
    """What the known part of such calls comes to on average. ``[N, T, 2]``"""


class Ends(NamedTuple):
    """How these N episodes ended."""

    length: jax.Array
    """Calls, which may be more than T. Integer ``[N]``"""
    moved: jax.Array
    """What all their calls did to the task. ``[N, d]``"""
    success: jax.Array
    """Whether all was done then. Boolean ``[N]``"""


class Starts(NamedTuple):
    """How tasks may start."""

    apart: jax.Array
    """From the mean start. ``[K, d]``"""
    weights: jax.Array
    """How likely, in all 1. ``[K]``"""


class Booked(NamedTuple):
    """N episodes as the scenario has them."""

    observation: jax.Array
    """Before each call. ``[N, T, O]``"""
    costs: jax.Array
    """``[N, T, 5]``"""
    steps: jax.Array
    """How long they are: cut where the scenario ends them. Integer ``[N]``"""
    success: jax.Array
    """All was done in the end, and nothing over budget. Boolean ``[N]``"""
    ruled_out: jax.Array
    """How many of the calls were not legal. Integer ``[N]``"""


def check_replayable(scenario: Scenario) -> None:
    """Refuses a scenario in which an agent sees what no log of calls tells.

    Args:
      scenario: under which agents' logs are to be read.

    Raises:
      UserError: one line: a row, or a coordinate, and why.
    """
    params, table = jax.tree.map(np.asarray, scenario.params), scenario.params.actions

    def refuse(key: str, why: str) -> UserError:
        return UserError(
            f"{scenario.name}: {key}: {why}, so what an agent saw there cannot be had from its log of calls"
        )

    allowed = np.asarray(table.allowed)
    blind = np.zeros(len(scenario.coordinate_names), bool) if params.blind is None else params.blind
    low, high = (np.asarray(params.start_low), np.asarray(params.start_high))
    points = np.zeros((1, len(low))) if params.start_points is None else params.start_points
    known = (low == high) & (points == points[0]).all(0) & (params.misread == 0)
    for row, name in enumerate(scenario.action_names):
        if not allowed[row]:
            continue
        if table.noise[row] != 0:
            raise refuse(f"actions.noise.{name}", "what success does is a matter of chance")
        if (table.gain[row] != 1).any() and not table.ends[row]:
            raise refuse(f"actions.gain.{name}", "what success does depends on what the task needs")
        if table.reveals[row] and blind.any() and not table.ends[row]:
            raise refuse(f"actions.reveals.{name}", "success shows what the task needs")
    for i, name in enumerate(scenario.coordinate_names):
        if not blind[i] and not known[i]:
            raise refuse(f"start of {name}", "the coordinate is not blind, and tasks differ in it")


def starts_of(params: env.EnvParams) -> Starts:
    """The starts of a scenario's tasks as points: those that there are, or so many drawn.

    Args:
      params: the environment.

    Returns:
      The points and their weights.
    """
    mean, low = np.asarray(env.expected_start(params)), np.asarray(params.start_low)
    if (low == np.asarray(params.start_high)).all():
        points = np.zeros((1, len(low))) if params.start_points is None else np.asarray(params.start_points)
        weights = np.ones(1) if params.start_weights is None else np.asarray(params.start_weights)
        return Starts(jnp.asarray(low + points - mean, jnp.float32), jnp.asarray(weights / weights.sum(), jnp.float32))
    drawn = jax.vmap(lambda key: env.reset(key, params)[1].z)(jax.random.split(jax.random.key(0), _DRAWN))
    return Starts(drawn - mean, jnp.full(_DRAWN, 1 / _DRAWN))


@jax.jit
def book(params: env.EnvParams, starts: Starts, calls: Calls, ends: Ends) -> Booked:
    """Plays calls whose outcomes are known.

    Args:
      params: a scenario that `check_replayable` takes.
      starts: how its tasks may start.
      calls: of N episodes.
      ends: how these ended.

    Returns:
      What the environment shows before each call, and what it makes of it.
    """
    d, rows = env.num_coordinates(params), env.num_actions(params)
    chance = env.Start(jnp.zeros(d), jnp.zeros(d), jnp.float32(0), jnp.ones(rows))
    begin = dataclasses.replace(env.begin(chance, params), z=env.expected_start(params), misread=jnp.zeros(d))
    by_itself = params.auto_end if params.blind is None else params.auto_end & ~params.blind.any()

    def step(state: env.EnvState, call: Calls) -> tuple[env.EnvState, tuple[jax.Array, ...]]:
        row = jax.tree.map(lambda column: column[call.action], params.actions)
        likely = expected_call(row, state.time, call.failed.astype(jnp.float32))
        rest = jnp.maximum(jnp.stack([likely.latency, likely.money]) - call.usual, 0.0)
        seconds, dollars = call.known + jnp.where(call.partly, rest, 0.0)
        table = dataclasses.replace(
            params.actions, latency=jnp.full(rows, seconds), money=jnp.full(rows, dollars), **dict.fromkeys(_OF_COSTS)
        )
        known = dataclasses.replace(params, actions=table, auto_end=by_itself)
        # Under 0 every call fails, and from 2 on none does, whatever the environment thinks of it.
        luck = env.Luck(jnp.where(call.failed, -1.0, 3.0), jnp.zeros(d), None, jnp.ones(rows))
        legal = env.legal(state, params)[call.action]
        moved, costs = env.transition(state, call.action, luck, known)
        found = (env.observe(state, params), costs, state.done, legal, *_ruled(params, state, moved))
        return moved, (*found, moved.z, moved.latency, moved.money)

    def episode(calls: Calls, ends: Ends) -> Booked:
        observation, costs, over, legal, broken, unkept, owed, *after = jax.lax.scan(step, begin, calls)[1]
        alive = ~over & (jnp.arange(len(over)) < ends.length)
        steps = alive.sum()
        last = jnp.arange(len(over)) == steps - 1
        z, latency, money = (values[steps - 1] for values in after)
        failed, row = calls.failed[steps - 1], calls.action[steps - 1]

        # Which starts agree with how it ended, and what is left of them where the scenario ends it.
        cut = steps < ends.length
        final = jnp.where(cut, begin.z + ends.moved, z)
        agrees = starts.weights * ((_undone(params, starts, final) == 0) == ends.success)
        likely = jnp.where(agrees.sum() > 0, agrees, starts.weights)
        undone = likely @ _undone(params, starts, z) / likely.sum()
        resolved = params.actions.resolves[row] & ~failed
        undone = jnp.where(resolved | (ends.success & ~cut), 0.0, undone)
        excess = undone + env.violation(jnp.zeros(d), latency, money, params) + owed[steps - 1]
        costs = costs.at[:, _VIOLATION].set(jnp.where(last, excess + unkept, broken))
        success = (excess == 0) & (ends.success | (cut & ~resolved))
        return Booked(observation, costs, steps, success, (alive & ~legal).sum())

    return jax.vmap(episode)(calls, ends)


def _ruled(params: env.EnvParams, before: env.EnvState, after: env.EnvState) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What soft rules cost in a step, and if it is the last one; and what hard ones are owed then. Scalars"""
    if params.rules is None:
        return jnp.zeros(()), jnp.zeros(()), jnp.zeros(())
    broken, unkept = (playing.charged(params.rules, before.kept, after.kept, jnp.bool_(last)) for last in (False, True))
    return broken, unkept, playing.owed(params.rules, after.kept)


def _undone(params: env.EnvParams, starts: Starts, seen: jax.Array) -> jax.Array:
    """What is out of tolerance for each start, where a task is read so. ``[K]``"""
    free = dataclasses.replace(params, latency_budget=jnp.float32(jnp.inf), money_budget=jnp.float32(jnp.inf))
    nothing = jnp.zeros(len(starts.weights))
    return env.violation((seen + starts.apart).T, nothing, nothing, free)
