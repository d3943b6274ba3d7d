"""Episodes that a router file brings along: what was played, and what the network gave in JAX, in double precision."""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.chance import draw_chance
from aljax.env import EnvParams, EnvState
from aljax.layout import lift
from aljax.policy import Learned, Policy, masked
from aljax.rollout import legal_steps, play
from aljax.scenario import Scenario
from aljax.target import here

_FAILURE = env.COMPONENTS.index("failure")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shadowed(Policy):
    """Plays any legal row, while another policy looks on: its inputs along all sorts of episodes."""

    policy: Learned
    """Who looks on."""
    name: ClassVar[str] = "shadowed"

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """See `Policy.observe`."""
        return self.policy.observe(params, state)

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """See `Policy.begin`."""
        return self.policy.begin(params, observation)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        seldom = lift(jnp.where(params.actions.ends, -3.0, 0.0), observation.ndim - 1)  # or episodes would be short
        return masked(jnp.broadcast_to(seldom, (env.num_actions(params), *observation.shape[1:])), legal)

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """See `Policy.remember`."""
        return self.policy.remember(params, memory, action, failed, observation)

    def sees(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.sees`."""
        return self.policy.sees(params, observation, memory)


def examples(scenario: Scenario, policy: Learned, read: list[str], *, episodes: int, seed: int) -> list[dict[str, Any]]:
    """Plays any rows that are legal and available, and notes what the policy would have chosen.

    Args:
      scenario: that the policy was trained in.
      policy: one seed's.
      read: coordinates that an agent reads at the start.
      episodes: how many.
      seed: of the chance.

    Returns:
      An object an episode, as router files have it: ``readings``, and ``steps`` of ``available``, the policy's
      ``action`` among those, its ``logits``, and the ``row`` played with ``ok``, ``seconds`` and ``dollars``.
    """
    with jax.enable_x64(True):
        double = jax.tree.map(doubled, (scenario.params, policy))
        params, shadow = double[0], Shadowed(double[1])
        chance = jax.tree.map(
            doubled, draw_chance(jax.random.key(seed), scenario.params, episodes=episodes, steps=scenario.horizon)
        )

        @functools.partial(jax.jit, compiler_options=here().compiler_options(once=True))
        def played(shadow: Shadowed, params: EnvParams, chance: Any) -> tuple[jax.Array, ...]:
            found = play(chance, shadow, params)
            seen = jnp.moveaxis(found.observation, 1, 0)
            logits = shadow.policy.architecture.unroll(shadow.policy.variables, seen)
            legal = jnp.broadcast_to(legal_steps(found, params), logits.shape)
            return found.observation, found.action, found.costs, found.alive, logits, legal

        told = [np.asarray(found) for found in played(shadow, params, chance)]
    observation, action, costs, alive, logits, legal = told
    scales = np.asarray(scenario.params.z_scale, np.float64)
    rng, names = np.random.default_rng(seed), scenario.action_names
    places = [scenario.coordinate_names.index(name) for name in read]
    found = []
    for b in range(episodes):
        readings = {scenario.coordinate_names[i]: float(observation[0, i, b] * scales[i]) for i in places}
        steps = []
        for t in range(int(alive[:, b].sum())):
            available = rng.random(len(names)) < 0.7  # what is not legal has to be found out
            available[action[t, b]] = True
            chosen = int(np.argmax(np.where(available & legal[:, t, b], logits[:, t, b], -np.inf)))
            step = {
                "available": [names[row] for row in np.flatnonzero(available)],
                "action": names[chosen],
                "logits": logits[:, t, b].tolist(),
                "row": names[int(action[t, b])],
                "ok": not costs[t, _FAILURE, b] > 0,
                "seconds": float(costs[t, 0, b]),
                "dollars": float(costs[t, 1, b]),
            }
            steps.append(step)
        found.append({"readings": readings, "steps": steps})
    return found


def doubled(leaf: jax.Array) -> jax.Array:
    """An array in double precision if it is one of real numbers.

    Args:
      leaf: an array.

    Returns:
      It, exactly. Where JAX has double precision (`jax.enable_x64`).
    """
    leaf = jnp.asarray(leaf)
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
