"""evosax's strategies on its own `GymnaxProblem`, to which `aljax.adapters.gymnax` brings the names."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .common import Agent, Contestant, Network, checkpoints, spending


class Evosax(Contestant):
    """Evolution strategies: whole episodes, no gradients."""

    name = "evosax"
    modules = ("evosax", "gymnax")
    remark = "its problem steps every rollout to the horizon, whenever its episode ends: all steps count"
    settings: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"strategy": "SNES", "population": 32, "rollouts": 8, "spread": 0.3},
        {"strategy": "Open_ES", "population": 32, "rollouts": 8, "spread": 0.2, "rate": 0.05},
        {"strategy": "Sep_CMA_ES", "population": 32, "rollouts": 8, "spread": 0.3},
        {"strategy": "SNES", "population": 64, "rollouts": 4, "spread": 0.5},
    )

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`."""
        import evosax.algorithms
        import optax
        from evosax.problems import GymnaxProblem
        from evosax.problems.networks import MLP

        from aljax.adapters.gymnax import make

        _, params = make(scenario)
        rows = params.numbers.actions.latency.shape[-1]
        policy = MLP(layer_sizes=(32, rows), output_fn=lambda logits, key: jnp.argmax(logits, axis=-1))
        problem = GymnaxProblem(f"{scenario}-aljax", policy, num_rollouts=settings["rollouts"], use_normalize_obs=False)
        likeness, size = problem.sample(jax.random.key(0)), settings["population"]
        given: dict[str, Any] = {}
        if "rate" in settings:
            given = {"optimizer": optax.adam(settings["rate"]),
                     "std_schedule": optax.constant_schedule(settings["spread"])}  # fmt: skip
        strategy = getattr(evosax.algorithms, settings["strategy"])(size, likeness, **given)
        options = strategy.default_params
        if "rate" not in settings:
            options = options.replace(std_init=settings["spread"])
        each = size * settings["rollouts"] * problem.episode_length
        generations = max(1, round(steps / each))
        looks = checkpoints(generations)

        def run(key: jax.Array) -> Any:
            start_key, key = jax.random.split(key)
            state = strategy.init(start_key, problem.sample(start_key), options)

            def generation(carry: Any, key: jax.Array) -> Any:
                state, situation = carry
                ask_key, play_key, tell_key = jax.random.split(key, 3)
                population, state = strategy.ask(ask_key, state, options)
                fitness, situation, _ = problem.eval(play_key, population, situation)
                state, _ = strategy.tell(tell_key, population, -fitness, state, options)
                return (state, situation), state.mean

            _, means = jax.lax.scan(generation, (state, problem.init(start_key)), jax.random.split(key, generations))
            return means[np.array(looks) - 1]

        keys = jnp.stack([jax.random.key(seed) for seed in seeds])
        with spending() as compiling:
            compiled = jax.jit(jax.vmap(run)).lower(keys).compile()
        with spending() as spent:
            means = np.asarray(compiled(keys))

        _, unravel = ravel_pytree(likeness)
        act = jax.jit(lambda mean, seen: policy.apply(unravel(mean), seen, None))

        share, episodes = 1 / len(seeds), generations * size * settings["rollouts"]
        return [
            Agent([(look * each, Network(act, mean)) for look, mean in zip(looks, means[seed], strict=True)],
                  generations * each, episodes, spent.seconds * share, spent.cpu_seconds * share, compiling.seconds)
            for seed in range(len(seeds))
        ]  # fmt: skip
