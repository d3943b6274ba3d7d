"""rejax's PPO, DQN and PQN, through `aljax.adapters.gymnax`: one compiled program, a seed after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .common import Agent, Contestant, Network, rounds, spending

TRACED = ("learning_rate", "ent_coef", "td_lambda", "polyak", "gae_lambda")
"""Numbers of a configuration for which rejax compiles nothing anew."""


class Counted:
    """An environment that counts the episodes that end in it, in its state."""

    def __init__(self, environment: Any) -> None:
        """Takes the environment."""
        self.environment, self.default_params = environment, environment.default_params

    def reset(self, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
        """See gymnax."""
        seen, state = self.environment.reset(key, params)
        return seen, (state, jnp.int32(0))

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> tuple[Any, ...]:
        """See gymnax."""
        seen, moved, reward, done, info = self.environment.step(key, state[0], action, params)
        return seen, (moved, state[1] + done), reward, done, info

    def action_space(self, params: Any) -> Any:
        """See gymnax."""
        return self.environment.action_space(params)

    def observation_space(self, params: Any) -> Any:
        """See gymnax."""
        return self.environment.observation_space(params)


class Rejax(Contestant):
    """What the three have in common."""

    modules = ("rejax", "gymnax")
    algorithm: ClassVar[str]
    learners: ClassVar[dict[Any, Any]] = {}
    """What is compiled already."""
    fixed: ClassVar[Mapping[str, Any]] = {"gamma": 1.0, "normalize_rewards": True, "max_grad_norm": 0.5}

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`."""
        import rejax

        from aljax.adapters.gymnax import make

        environment, params = make(scenario, five_values=True)
        options = {**self.fixed, **settings}
        iteration = options["num_envs"] * options.get("num_steps", 1)
        looks, between = rounds(steps, iteration)
        between *= iteration
        shape = {name: value for name, value in options.items() if name not in TRACED}
        kept = scenario, steps, repr(shape)
        if kept not in self.learners:
            learner = getattr(rejax, self.algorithm).create(
                env=Counted(environment), env_params=params, total_timesteps=looks * between, eval_freq=between,
                skip_initial_evaluation=True, **shape,
            )  # fmt: skip
            learner = learner.replace(eval_callback=lambda learner, state, key: self.weights(state))
            with spending() as compiling:
                run = jax.jit(lambda learner, key: learner.train(key))
                run = run.lower(self.tuned(learner, options), jax.random.PRNGKey(0)).compile()
            self.learners[kept] = learner, run, self.acting(learner), compiling.seconds
        learner, run, act, compiling = self.learners[kept]
        learner = self.tuned(learner, options)
        agents = []
        for seed in seeds:
            with spending() as spent:
                state, weights = jax.block_until_ready(run(learner, jax.random.PRNGKey(seed)))
            points = [
                ((i + 1) * between, Network(act, jax.tree.map(lambda leaf, i=i: leaf[i], weights)))
                for i in range(looks)
            ]
            episodes = int(np.asarray(state.env_state[1]).sum())
            took = spent.seconds, spent.cpu_seconds, compiling
            agents.append(Agent(points, looks * between, episodes, *took))
        return agents

    def tuned(self, learner: Any, options: Mapping[str, Any]) -> Any:
        """A configuration with the numbers of a setting for which nothing is compiled anew."""
        return learner.replace(**{name: options[name] for name in TRACED if name in options})

    def weights(self, state: Any) -> Any:
        """What acting needs of a training state."""
        raise NotImplementedError

    def acting(self, learner: Any) -> Any:
        """How they act, greedily: weights and observations ``[N, O]`` to rows ``[N]``."""
        raise NotImplementedError


class PPO(Rejax):
    """Proximal policy optimisation."""

    name = "rejax PPO"
    algorithm = "PPO"
    fixed = Rejax.fixed | {
        "agent_kwargs": {"hidden_layer_sizes": (64,), "activation": "tanh"}, "gae_lambda": 0.95, "num_steps": 10,
        "num_epochs": 4, "num_minibatches": 4,
    }  # fmt: skip
    settings = (
        {"num_envs": 64, "learning_rate": 3e-3, "ent_coef": 0.01},
        {"num_envs": 64, "learning_rate": 1e-3, "ent_coef": 0.01},
        {"num_envs": 64, "learning_rate": 3e-3, "ent_coef": 0.05},
        {"num_envs": 128, "learning_rate": 3e-3, "ent_coef": 0.01},
    )

    def weights(self, state: Any) -> Any:
        """See `Rejax.weights`."""
        return state.actor_ts.params

    def acting(self, learner: Any) -> Any:
        """The likeliest row: `make_act` would draw it."""
        rows = learner.action_dim

        @jax.jit
        def likeliest(weights: Any, seen: jax.Array) -> jax.Array:
            def of_row(row: jax.Array) -> jax.Array:
                actions = jnp.full(len(seen), row)
                return learner.actor.apply(weights, seen, actions, method="log_prob_entropy")[0]

            return jnp.argmax(jax.vmap(of_row)(jnp.arange(rows)), axis=0)

        return likeliest


class Q(Rejax):
    """What learns the value of each row."""

    def weights(self, state: Any) -> Any:
        """See `Rejax.weights`."""
        return state.q_ts.params

    def acting(self, learner: Any) -> Any:
        """The row of the greatest value."""
        return jax.jit(lambda weights, seen: jnp.argmax(learner.agent.apply(weights, seen), axis=1))


class DQN(Q):
    """Deep Q-learning with a replay buffer."""

    name = "rejax DQN"
    algorithm = "DQN"
    fixed = Rejax.fixed | {
        "num_envs": 8, "buffer_size": 20_000, "fill_buffer": 1_000, "batch_size": 128, "exploration_fraction": 0.5,
        "eps_end": 0.05, "max_grad_norm": 10.0, "target_update_freq": 1,
    }  # fmt: skip
    settings = (
        {"learning_rate": 1e-3, "polyak": 0.99},
        {"learning_rate": 3e-4, "polyak": 0.99},
        {"learning_rate": 3e-3, "polyak": 0.99},
        {"learning_rate": 1e-3, "polyak": 0.998},
    )


class PQN(Q):
    """Q-learning on λ-returns, without a buffer."""

    name = "rejax PQN"
    algorithm = "PQN"
    fixed = Rejax.fixed | {
        "num_steps": 10, "num_epochs": 4, "num_minibatches": 4, "exploration_fraction": 0.5, "eps_end": 0.05,
        "max_grad_norm": 10.0,
    }  # fmt: skip
    settings = (
        {"num_envs": 32, "learning_rate": 1e-3, "td_lambda": 0.9},
        {"num_envs": 32, "learning_rate": 3e-3, "td_lambda": 0.9},
        {"num_envs": 32, "learning_rate": 1e-3, "td_lambda": 0.65},
        {"num_envs": 16, "learning_rate": 1e-3, "td_lambda": 0.9},
    )
