"""rejax's PPO on aljax's environment, through an environment as rejax takes it: gymnax's methods, five values a step.

rejax 0.1.3 unpacks five values from ``step``; gymnax returns six since 1.0, so its own environments do not train
there. This one returns five.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from gymnax.environments import spaces
from rejax import PPO

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.policy import Policy, masked, only

SETTINGS: dict[str, Any] = {
    "num_envs": 128,
    "num_steps": 10,
    "num_epochs": 4,
    "num_minibatches": 4,
    "learning_rate": 3e-3,
    "gamma": 1.0,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "max_grad_norm": 0.5,
    "normalize_observations": False,
    "normalize_rewards": True,
    "agent_kwargs": {"hidden_layer_sizes": (64,), "activation": "tanh"},
}
"""PPO's settings: the network is of aljax's size."""


class Environment:
    """aljax's environment under gymnax's names: reward is the weighted cost with its sign turned."""

    def __init__(self, params: EnvParams) -> None:
        """Takes the environment's numbers, for its shapes."""
        self.default_params = params
        self.size, self.rows = env.observation_size(params), env.num_actions(params)

    def reset(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """The first observation, and the state."""
        return env.reset(key, params)

    def step(self, key: jax.Array, state: EnvState, action: jax.Array, params: EnvParams) -> tuple[Any, ...]:
        """Observation, state, reward, whether the episode ended, and nothing; a finished episode starts anew."""
        step_key, reset_key = jax.random.split(key)
        seen, moved, costs, done = env.step(step_key, state, action, params)
        fresh, start = env.reset(reset_key, params)
        moved = jax.tree.map(lambda new, old: jnp.where(done, new, old), start, moved)
        return jnp.where(done, fresh, seen), moved, -(costs * params.weights).sum(), done, {}

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """The rows."""
        return spaces.Discrete(self.rows)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Numbers, as many as aljax shows."""
        return spaces.Box(-jnp.inf, jnp.inf, (self.size,), jnp.float32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Greedy(Policy):
    """What PPO learned, as aljax plays it: the likeliest row."""

    variables: Any
    """The actor's weights."""
    actor: Any = dataclasses.field(metadata={"static": True})
    """Its module."""
    name: ClassVar[str] = "rejax"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        batch = observation.reshape(observation.shape[0], -1).T
        found = self.actor.apply(self.variables, batch, method="_action_dist").logits
        likely = masked(found.T.reshape(-1, *observation.shape[1:]), legal)
        return only(jnp.argmax(likely, axis=0), env.num_actions(params))


def learner(params: EnvParams, steps: int, **changes: Any) -> Any:
    """PPO for so many environment steps, in whole iterations, without evaluations on the way."""
    settings = SETTINGS | changes
    each = settings["num_envs"] * settings["num_steps"]
    total = each * -(-steps // each)
    algorithm = PPO.create(
        env=Environment(params),
        env_params=params,
        total_timesteps=total,
        eval_freq=total,
        skip_initial_evaluation=True,
        **settings,
    )
    return algorithm.replace(eval_callback=lambda algorithm, state, key: ())
