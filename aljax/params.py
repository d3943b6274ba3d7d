"""One environment as data: its action table and its other numbers, each field with all that there is to say of it.

``[d]`` is one entry a coordinate of the task, ``[A]`` one a row of the table. See `aljax.env` for what happens there.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from aljax.fields import Numbers, Same, declared, fields_of

COMPONENTS = ("latency", "money", "violation", "failure", "divergence")
"""The five cost components C_k, in the order of every array that has a component axis."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ActionTable:
    """What each of A actions costs and does, one array a column. A field is declared by `aljax.fields`."""

    latency: jax.Array = declared("A", "not negative", unit="s", heading="latency s")
    """Seconds that the action takes, failed or not. ``[A]``"""
    money: jax.Array = declared("A", "not negative", unit="$", heading="money $")
    """Dollars that it costs, failed or not. ``[A]``"""
    failure: jax.Array = declared("A", "probability", 0.0, heading="failure")
    """Probability that it fails. ``[A]``"""
    retry_failure: jax.Array = declared("A", "probability", Same("failure"), heading="after failing")
    """Probability that it fails when the step before was this same action and failed. ``[A]``"""
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
    start_low, start_high = (np.abs(given[name]) for name in ("start_low", "start_high"))
    return np.maximum(np.maximum(start_low, start_high), given["tolerance"])


def dearest_episode(column: str) -> Callable[[Numbers], np.ndarray]:
    """What an episode of the dearest row alone comes to: the scale of what is spent, by default.

    Args:
      column: ``latency`` or ``money``.

    Returns:
      A function of the other fields of N environments that gives seconds or dollars ``[N]``.
    """
    return lambda given: given[column].max(0) * given["horizon"]


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
    misread: jax.Array = declared("d", "not negative", 0.0, heading="misread std")
    """Standard deviation of the agent's misreading of each coordinate. ``[d]``"""
    tolerance: jax.Array = declared("d", "not negative", heading="tolerance")
    """How far from 0 each coordinate may end. ``[d]``"""
    latency_budget: jax.Array = declared("", "positive", math.inf, unit="s", heading="latency budget")
    """Seconds after which more time is a violation; inf: none. Scalar"""
    money_budget: jax.Array = declared("", "positive", math.inf, unit="$", heading="money budget")
    """Dollars after which more money is a violation; inf: none. Scalar"""
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
      Their names, columns of the table first.
    """
    parts = (params.actions, params)
    optional = ((part, name) for part in parts for name, field in fields_of(type(part)).items() if field.optional)
    return tuple(name for part, name in optional if getattr(part, name) is not None)
