"""The exact optimum as a policy, and as a list of actions from one start."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.exact import beginning, lattice
from aljax.exact.layer import FAILURE
from aljax.exact.plan import Plan
from aljax.exact.recursion import Solution, choices, solve
from aljax.networks.seen import task_seen
from aljax.policy import Policy, only


class Memory(NamedTuple):
    """Where B episodes stand in their tables, B the product of the batch axes."""

    table: jax.Array
    """See `aljax.exact.recursion.choices`. ``[M, L, K]``"""
    start: jax.Array
    """Which of K starts is each episode's. Integer ``[B]``"""
    tails: jax.Array
    """How often everything has happened, as in `aljax.exact.lattice`. Integer ``[n, B]``"""
    past: jax.Array
    """What else matters, an entry of the axis L as in `aljax.exact.past`. Integer ``[B]``"""
    time: jax.Array
    """Steps played. Integer scalar"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Optimal(Policy):
    """The exact optimum: solves every episode from its start, then follows the choices.

    The start is read from the first observation, which nothing misreads where the solver applies, but for what is
    blind. All episodes of a batch begin together. The environment must be the plan's (`aljax.exact.fitting.fits`):
    elsewhere the choices mean nothing.
    """

    plan: Plan = dataclasses.field(metadata={"static": True})
    """The structure of the solution."""
    name: ClassVar[str] = "optimal"

    def begin(self, params: EnvParams, observation: jax.Array) -> Memory:
        """Solves all starts of the batch. See `Policy.begin`."""
        d = env.num_coordinates(params)
        start = task_seen(observation, params).reshape(d, -1)
        none, own = jnp.zeros(start.shape[1], jnp.int32), jnp.arange(start.shape[1])
        start, like = beginning.once(params, self.plan, start)
        table = choices(params, start, self.plan)
        return Memory(
            table,
            own if like is None else like,
            jnp.zeros((self.plan.counts, len(none)), jnp.int32),
            none,
            jnp.int32(0),
        )

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Memory) -> jax.Array:
        """See `Policy.logits`."""
        del legal  # the solution has reckoned with it
        layers = [s.offset + k * s.size for s in self.plan.segments() for k in range(s.times)]
        at = jnp.array(layers).at[memory.time].get(mode="clip")
        at = at + lattice.number(memory.tails, self.plan.horizon)
        choice = memory.table.at[at, memory.past, memory.start].get(mode="clip")
        row = jnp.array(self.plan.rows)[choice.astype(jnp.int32)]
        return only(row.reshape(observation.shape[1:]), env.num_actions(params))

    def remember(
        self, params: EnvParams, memory: Memory, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Memory:
        """Counts what happened, whichever row was played. See `Policy.remember`.

        The counts know nothing of a row that is not allowed, whose failing is no event of the plan: after one was
        played all the same, what follows need not be optimal.
        """
        del observation
        plan, actions = self.plan, env.num_actions(params)
        # By row of the table and by whether it failed: the class of that event, and where on the axis L it leads.
        kinds, strides = np.full((actions, 2), plan.counts), np.zeros((actions, 2), np.int32)
        entries = np.broadcast_to(np.arange(plan.past.size, dtype=np.int32), (actions, 2, plan.past.size)).copy()
        for row, *both in zip(plan.rows, plan.success, plan.failure, strict=True):
            for failing, kind in enumerate(both):
                kinds[row, failing] = plan.counts if kind is None else kind
                entries[row, failing], strides[row, failing] = plan.past.after(row, bool(failing))
        failed = failed.astype(jnp.int32).reshape(-1)
        action = env.played(action, params).reshape(-1)
        tails = lattice.advance(memory.tails, jnp.array(kinds)[action, failed])
        past = jnp.array(entries)[action, failed, memory.past] + jnp.array(strides)[action, failed] * memory.time
        return Memory(memory.table, memory.start, tails, jnp.minimum(past, plan.past.size - 1), memory.time + 1)


@dataclasses.dataclass(frozen=True)
class Path:
    """What the optimal policy does from one start as long as nothing fails that need not."""

    solution: Solution
    """From that start, B = 1."""
    actions: tuple[int, ...]
    """The rows played, T of them, until the episode ends."""
    z: np.ndarray
    """The task vector before each step and at the end. ``[T + 1, d]``"""


def optimal_path(params: EnvParams, start: Any, plan: Plan) -> Path:
    """Solves an environment from one start ``[d]``, and lists the optimal actions, none of them with bad luck.

    Args:
      params: the environment.
      start: the task vector. ``[d]``
      plan: of the exact solution.

    Returns:
      The actions, what they lead through, and the solution's values.
    """
    z = jnp.asarray(start, jnp.float32)
    none, up = jnp.zeros_like(z), jnp.ones(env.num_actions(params))
    state = env.begin(env.Start(none, none, jnp.float32(0), up), params)
    misread = none if params.blind is None else jnp.where(params.blind, env.expected_start(params) - z, none)
    state = dataclasses.replace(state, z=z, misread=misread)
    policy = Optimal(plan)
    memory = policy.begin(params, env.observe(state, params))
    succeed = jax.jit(functools.partial(_succeed, policy, params))
    actions, path = [], [np.asarray(z)]
    while not state.done:
        action, state, memory = succeed(state, memory)
        actions.append(int(action))
        path.append(np.asarray(state.z))
    return Path(solve(params, z[:, None], plan), tuple(actions), np.stack(path))


def _succeed(policy: Optimal, params: EnvParams, state: EnvState, memory: Memory) -> tuple[jax.Array, EnvState, Memory]:
    """Plays one optimal step with the best of luck: the row, the next state and memory."""
    action = jnp.argmax(policy.logits(params, env.observe(state, params), env.legal(state, params), memory))
    luck = env.Luck(jnp.float32(1), jnp.zeros_like(state.z), jnp.float32(0), jnp.ones(env.num_actions(params)))
    state, costs = env.transition_apart(state, action, luck, params)
    failed = costs[FAILURE] > 0
    return action, state, policy.remember(params, memory, action, failed, env.observe(state, params))
