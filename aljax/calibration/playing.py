"""A calibrated scenario played as its loggers play."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.calibration.behaviour import Behaviour
from aljax.calibration.features import END, ROW, Standing, end_features, row_features
from aljax.calibration.fitting import Calibration
from aljax.chance import draw_chance
from aljax.env import EnvParams, EnvState, num_actions
from aljax.layout import lift
from aljax.policy import Policy, masked
from aljax.rollout import play

_FAILURE = env.COMPONENTS.index("failure")


class Past(NamedTuple):
    """What the loggers' policy remembers of a run. See `aljax.calibration.features.Standing`."""

    calls: jax.Array
    """``[d]``"""
    done: jax.Array
    """``[d]``"""
    status: jax.Array
    """``[d]``"""
    last: jax.Array
    """The row played last; A: none yet. Integer scalar"""
    failed: jax.Array
    """Scalar"""
    failures: jax.Array
    """Scalar"""
    time: jax.Array
    """Scalar"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loggers(Policy):
    """Chooses as the agents of a log did. They have read the task: it sees what the task needs, which no other does."""

    constants: jax.Array
    """See `Behaviour`, as of the others. ``[A]``"""
    row: jax.Array
    """``[ROW]``"""
    ends: jax.Array
    """``[END, A − d]``"""
    loggers: jax.Array
    """Of the logger who acts in each of a batch of episodes. ``[3, B]``"""
    usual: jax.Array
    """``[A + 1, A]``"""
    company: jax.Array
    """``[d, d]``"""
    clarify: jax.Array
    """``[d]``"""
    name: ClassVar[str] = "loggers"

    @classmethod
    def of(cls, behaviour: Behaviour, runs: np.ndarray) -> "Loggers":
        """The policy of fitted coefficients, with the loggers of the runs that each episode is played like."""
        fields = {field.name: getattr(behaviour, field.name) for field in dataclasses.fields(cls)}
        fields["loggers"] = behaviour.loggers[:, behaviour.logger[runs]]
        return cls(**{name: jnp.asarray(value, jnp.float32) for name, value in fields.items()})

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """The calls that the task still needs, and those that are planned. ``[2 d]`` See `Policy.observe`."""
        del params
        d = len(self.clarify)
        return jnp.concatenate([state.z[:d], state.z[d + 1 :]])

    def begin(self, params: EnvParams, observation: jax.Array) -> Past:
        """Nothing has been called. See `Policy.begin`."""
        none, one = jnp.zeros_like(observation[: len(self.clarify)]), jnp.zeros(observation.shape[1:])
        last = jnp.full(observation.shape[1:], num_actions(params), jnp.int32)
        return Past(none, none, none, last, one, one, one)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Past) -> jax.Array:
        """See `Policy.logits`."""
        del params
        d, ndim = len(self.clarify), observation.ndim - 1
        last = (lift(jnp.arange(d), ndim) == memory.last) * 1.0
        at = Standing(
            observation[:d], observation[d:], memory.calls,
            memory.done, memory.status, last, memory.failed, memory.failures, memory.time,
            jnp.tensordot(self.clarify, last, 1), jnp.moveaxis(self.usual[memory.last], -1, 0),
        )  # fmt: skip
        x, y = row_features(jnp, at, self.company), end_features(jnp, at, d)
        rows = jnp.tensordot(self.row, x, 1) + self.loggers[0] * x[ROW.index("planned")]
        ends = jnp.sum(lift(self.ends, ndim) * y, axis=0) + self.loggers[1]
        ends = ends + self.loggers[2] * y[END.index("something planned"), 0]
        return masked(jnp.concatenate([rows, ends]) + lift(self.constants, ndim), legal)

    def remember(
        self, params: EnvParams, memory: Past, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Past:
        """See `Policy.remember`."""
        del params, observation
        this = lift(jnp.arange(len(self.clarify)), action.ndim) == action
        bad = failed * 1.0
        return Past(
            memory.calls + this, memory.done + this * (1 - bad), jnp.where(this, bad, memory.status),
            action.astype(jnp.int32), bad, memory.failures + bad, memory.time + 1,
        )  # fmt: skip


class Played(NamedTuple):
    """What B simulated runs came to."""

    steps: np.ndarray
    """``[B]``"""
    seconds: np.ndarray
    """``[B]``"""
    dollars: np.ndarray
    """``[B]``"""
    failures: np.ndarray
    """Failed steps. ``[B]``"""
    success: np.ndarray
    """``[B]``"""
    calls: np.ndarray
    """Of each row, over all runs. ``[A]``"""


def play_loggers(calibration: Calibration, behaviour: Behaviour, *, episodes: int, seed: int) -> Played:
    """Plays a scenario as its loggers would: each episode sets out for what some run of the log came to.

    Args:
      calibration: the scenario, and what its tasks need.
      behaviour: of the loggers.
      episodes: B.
      seed: of the episodes.

    Returns:
      What came of them.
    """
    rng = np.random.default_rng(seed)
    runs = rng.permutation(np.arange(episodes) % len(behaviour.plans))
    starts = np.concatenate([calibration.needs.drawn(rng, behaviour.task[runs]), behaviour.plans[runs]], 1)
    params = _with_plans(calibration.scenario.params, behaviour.plans.shape[1])
    policy = Loggers.of(behaviour, runs)
    found = _play(jax.random.key(seed), policy, params, starts.T.astype(np.float32), steps=calibration.longest)
    return Played(*map(np.asarray, found))


def _with_plans(params: EnvParams, d: int) -> EnvParams:
    """An environment whose task has behind its own coordinates what is planned, which nothing changes."""

    def wider(values: jax.Array, fill: float) -> np.ndarray:
        return np.concatenate([values, np.full((*values.shape[:-1], d), fill, values.dtype)], -1)

    table = dataclasses.replace(
        params.actions, gain=wider(params.actions.gain, 1.0), shift=wider(params.actions.shift, 0.0)
    )
    fields = {name: wider(getattr(params, name), 0.0) for name in ("drift", "start_low", "misread")}
    assert params.tolerance_low is not None
    return dataclasses.replace(
        params,
        actions=table,
        **fields,
        start_high=np.ones_like(fields["start_low"]),  # so that an episode starts where its chance says
        blind=None,
        tolerance=wider(params.tolerance, 1e9),
        tolerance_low=wider(params.tolerance_low, np.inf),
        z_scale=wider(params.z_scale, 1.0),
        start_points=None,
        start_weights=None,
    )


@functools.partial(jax.jit, static_argnames=("steps",))
def _play(key: jax.Array, policy: Loggers, params: EnvParams, starts: jax.Array, *, steps: int) -> tuple[Any, ...]:
    chance = draw_chance(key, params, episodes=starts.shape[1], steps=steps)
    trajectory = play(chance._replace(start=chance.start._replace(task=starts)), policy, params)
    costs = trajectory.costs.sum(0)
    rows = jnp.arange(num_actions(params))[:, None, None]
    calls = jnp.sum((trajectory.action == rows) & trajectory.alive, axis=(1, 2))
    return trajectory.alive.sum(0), costs[0], costs[1], costs[_FAILURE], trajectory.success, calls
