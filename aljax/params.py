"""One environment as data: its action table and its other numbers, each field with all that there is to say of it.

``[d]`` is one entry a coordinate of the task, ``[A]`` one a row of the table. See `aljax.env` for what happens there.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from aljax.fields import Numbers, Same, declared, fields_of
from aljax.rules.data import Rules

COMPONENTS = ("latency", "money", "violation", "failure", "divergence")
"""The five cost components C_k, in the order of every array that has a component axis."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ActionTable:
    """What each of A actions costs and does, one array a column. A field is declared by `aljax.fields`."""

    latency: jax.Array = declared("A", "not negative", unit="s", heading="latency s")
    """Seconds that a call takes on average. ``[A]``"""
    money: jax.Array = declared("A", "not negative", unit="$", heading="money $")
    """Dollars that it costs. ``[A]``"""
    failure: jax.Array = declared("A", "probability", 0.0, heading="failure")
    """Probability that a call fails when the row has not been called in this episode. ``[A]``"""
    after_ok: jax.Array | None = declared("A", "probability", Same("failure"), heading="after ok", optional=True)
    """The same when the row's own latest call in this episode worked, whatever was played in between. ``[A]``"""
    after_failed: jax.Array | None = declared(
        "A", "probability", Same("failure"), heading="after failed", optional=True
    )
    """The same when the row's own latest call failed. ``[A]``"""
    failure_latency: jax.Array | None = declared(
        "A", "not negative", Same("latency"), unit="s", heading="failed s", optional=True
    )
    """Seconds that a failed call takes on average. ``[A]``"""
    failure_money: jax.Array | None = declared(
        "A", "not negative", Same("money"), unit="$", heading="failed $", optional=True
    )
    """Dollars that a failed call costs. ``[A]``"""
    latency_growth: jax.Array | None = declared(
        "A", "not negative", 0.0, unit="s", heading="s more a step", optional=True
    )
    """Seconds added to a call, failed or not, for every step played before it in the episode. ``[A]``"""
    money_growth: jax.Array | None = declared(
        "A", "not negative", 0.0, unit="$", heading="$ more a step", optional=True
    )
    """Dollars added likewise: a conversation that gets longer. ``[A]``"""
    latency_spread: jax.Array | None = declared("A", "not negative", 0.0, heading="log spread of s", optional=True)
    """σ of the log of the seconds: with mean L a call takes L exp(σ n − σ²/2), n standard normal. ``[A]``"""
    timeout: jax.Array | None = declared("A", "positive", math.inf, unit="s", heading="time-out s", optional=True)
    """A call that would take longer ends after so many seconds and has failed. ``[A]``"""
    mean_uptime: jax.Array | None = declared(
        "A", "positive", math.inf, unit="s", heading="up s", optional=True, group="outages"
    )
    """Mean seconds for which what is behind the row is up, before it goes down; inf: it never does. ``[A]``"""
    mean_downtime: jax.Array | None = declared(
        "A", "not negative", 0.0, unit="s", heading="down s", optional=True, group="outages"
    )
    """Mean seconds for which it is down; meanwhile every call fails. ``[A]``"""
    rate_limit: jax.Array | None = declared(
        "A", "positive", math.inf, unit="calls/s", heading="calls a s", optional=True, group="bucket"
    )
    """Tokens that flow into the row's bucket in a second; a call that finds less than one fails; inf: none. ``[A]``"""
    rate_burst: jax.Array | None = declared("A", "at least 1", 1.0, heading="burst", optional=True, group="bucket")
    """Tokens that wait at most. ``[A]``"""
    max_calls: jax.Array | None = declared("A", "calls", math.inf, heading="calls at most", optional=True)
    """After so many calls in an episode the row is not legal; inf: no such limit. ``[A]``"""
    requires: jax.Array | None = declared("A d", "flag", False, heading="requires", optional=True)
    """Coordinates that must be within tolerance before the call, or it fails. Boolean ``[A, d]``"""
    gain: jax.Array = declared("A d", "number", 1.0, heading="success does")
    """Factor on each coordinate of the task when it succeeds. ``[A, d]``"""
    shift: jax.Array = declared("A d", "number", 0.0)
    """What success adds to each coordinate. ``[A, d]``"""
    noise: jax.Array = declared("A", "not negative", 0.0, heading="noise")
    """Standard deviation of what success adds besides, the same for every coordinate. ``[A]``"""
    ends: jax.Array = declared("A", "flag", False, kinds=("escalate", "terminate"))
    """Success ends the episode (hand over, stop). Boolean ``[A]``"""
    resolves: jax.Array = declared("A", "flag", False, kinds=("escalate",))
    """Ending by this row leaves nothing wrong with the task (a supervisor solves it). Boolean ``[A]``"""
    reveals: jax.Array = declared("A", "flag", False, kinds=("clarify",))
    """Success clears the misreading of the task (asking the user). Boolean ``[A]``"""
    allowed: jax.Array = declared("A", "flag", True)
    """The row may be chosen; one that may not fails for certain. Boolean ``[A]``"""


def farthest_start(given: Numbers) -> np.ndarray:
    """How far from 0 a task starts, or may end where that is more: `EnvParams.z_scale` by default.

    Args:
      given: the other fields of N environments.

    Returns:
      Distances ``[d, N]``.
    """
    return np.maximum(np.max(np.abs(start_corners(given)), axis=0), given["tolerance"])


def start_corners(given: Numbers) -> np.ndarray:
    """The least and the greatest start of each coordinate.

    Args:
      given: the other fields of N environments.

    Returns:
      Task vectors ``[2, d, N]``.
    """
    low, high = np.broadcast_arrays(given["start_low"], given["start_high"])
    if "start_points" in given:
        low, high = low + given["start_points"].min(0), high + given["start_points"].max(0)
    return np.stack(np.broadcast_arrays(low, high))


def dearest_episode(column: str) -> Callable[[Numbers], np.ndarray]:
    """What an episode of the dearest row alone comes to: the scale of what is spent, by default.

    Args:
      column: ``latency`` or ``money``.

    Returns:
      A function of the other fields of N environments that gives seconds or dollars ``[N]``.
    """

    def found(given: Numbers) -> np.ndarray:
        horizon, growth = given["horizon"], given.get(f"{column}_growth", np.zeros(1))
        dearest = np.maximum(given[column], given.get(f"failure_{column}", 0.0))
        return (dearest + growth * (horizon - 1) / 2).max(0) * horizon

    return found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EnvParams:
    """One environment. Every leaf is an array, traced by every function that takes it, and may be vmapped."""

    actions: ActionTable
    """The action table, A rows."""
    drift: jax.Array = declared("d", "number", 0.0, heading="drift a step")
    """What every step adds to the task, whatever is done. ``[d]``"""
    start_low: jax.Array = declared("d", "number")
    """Lower corner of the box from which the task vector starts. ``[d]``"""
    start_high: jax.Array = declared("d", "number")
    """Upper corner of that box. ``[d]``"""
    start_points: jax.Array | None = declared("N d", "number", optional=True)
    """Points of which one, drawn by weight, is added to the start. ``[N, d]``"""
    start_weights: jax.Array | None = declared("N", "not negative", 1.0, optional=True)
    """Their weights, of any positive sum; none: all are equally likely. ``[N]``"""
    misread: jax.Array = declared("d", "not negative", 0.0, heading="misread std")
    """Standard deviation of the agent's misreading of each coordinate. ``[d]``"""
    blind: jax.Array | None = declared("d", "flag", False, heading="blind", optional=True)
    """The agent sees what such tasks need on average instead of what this one needs, until a row reveals. ``[d]``"""
    tolerance: jax.Array = declared("d", "not negative", heading="tolerance")
    """How far from 0 each coordinate may end. ``[d]``"""
    tolerance_low: jax.Array | None = declared(
        "d", "not negative", Same("tolerance"), heading="tolerance below", optional=True, boundless=True
    )
    """How far below 0; inf: there is no such thing as too much done. ``[d]``"""
    latency_budget: jax.Array = declared("", "positive", math.inf, unit="s", heading="latency budget")
    """Seconds after which more time is a violation; inf: none. Scalar"""
    money_budget: jax.Array = declared("", "positive", math.inf, unit="$", heading="money budget")
    """Dollars after which more money is a violation; inf: none. Scalar"""
    latency_limit: jax.Array | None = declared(
        "", "positive", math.inf, unit="s", heading="latency limit", optional=True
    )
    """Seconds at which the episode ends; inf: none. Scalar"""
    money_limit: jax.Array | None = declared("", "positive", math.inf, unit="$", heading="money limit", optional=True)
    """Dollars at which the episode ends; inf: none. Scalar"""
    auto_end: jax.Array = declared("", "flag", True, heading="ends by itself")
    """The episode ends by itself once nothing is violated; false: the agent must decide when. Boolean scalar"""
    horizon: jax.Array = declared("", "count", unit="steps", heading="horizon")
    """Steps H after which the episode ends. Integer scalar"""
    weights: jax.Array = declared("k", "not negative")
    """λ, the weight of each of `COMPONENTS` in the total cost. ``[5]``"""
    z_scale: jax.Array = declared("d", "positive", farthest_start)
    """What the observation divides the task vector by. ``[d]``"""
    latency_scale: jax.Array = declared("", "positive", dearest_episode("latency"), unit="s")
    """What the observation divides the latency by, seconds. Scalar"""
    money_scale: jax.Array = declared("", "positive", dearest_episode("money"), unit="$")
    """What the observation divides the money by, dollars. Scalar"""
    rules: Rules | None = dataclasses.field(default=None, kw_only=True)
    """What may not be called, or must be, in which order."""


def num_actions(params: EnvParams) -> int:
    """A, the rows of the action table.

    Args:
      params: an environment, or several along leading axes.

    Returns:
      How many there are.
    """
    return params.actions.latency.shape[-1]


def num_coordinates(params: EnvParams) -> int:
    """d, the coordinates of the task.

    Args:
      params: an environment, or several along leading axes.

    Returns:
      How many there are.
    """
    return params.drift.shape[-1]


def present(params: EnvParams) -> tuple[str, ...]:
    """Which of the optional fields an environment has: two that have the same are trees of one structure.

    Args:
      params: the environment.

    Returns:
      Their names, columns of the table first; of rules, what is fixed of them, too.
    """
    parts = (params.actions, params)
    optional = ((part, name) for part in parts for name, field in fields_of(type(part)).items() if field.optional)
    found = tuple(name for part, name in optional if getattr(part, name) is not None)
    return found if params.rules is None else (*found, *params.rules.structure.names)
