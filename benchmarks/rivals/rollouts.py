"""Whole episodes under a random network: NumPy, PyTorch, and gymnax with the same network."""

from collections.abc import Callable
from typing import Any

import numpy as np

from aljax.env import EnvParams

from rivals import numpy_batched


def numpy_rollout(params: EnvParams, hidden: int, episodes: int, steps: int) -> Callable[[], dict[str, np.ndarray]]:
    """NumPy, episodes along the last axis, every observation, action and cost kept. `params` are NumPy arrays."""
    env = numpy_batched.Environment(params)
    rng = np.random.default_rng(1)
    size = 2 * env.d + env.actions + 3

    def uniform(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(np.float32)

    W1, b1, W2, b2 = (
        uniform(hidden, size),
        uniform(hidden, 1),
        0.1 * uniform(env.actions, hidden),
        uniform(env.actions, 1),
    )

    def play() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        normal = rng.standard_normal((env.d, episodes), np.float32) if env.misreads else None
        state = env.begin(rng.random((env.d, episodes), np.float32), normal)
        observation = env.observe(state)
        kept: dict[str, list[np.ndarray]] = {"observation": [], "action": [], "costs": [], "alive": []}
        for _ in range(steps):
            logits = W2 @ np.tanh(W1 @ observation + b1) + b2
            weights = np.exp(logits - logits.max(0)).cumsum(0)
            action = (weights <= rng.random(episodes, np.float32) * weights[-1]).sum(0).astype(np.int32)
            epsilon = rng.standard_normal((env.d, episodes), np.float32) if env.noisy else None
            alive = ~state["done"]
            state, costs = env.step(state, action, rng.random(episodes, np.float32), epsilon)
            for name, value in zip(kept, (observation, action, costs, alive), strict=True):
                kept[name].append(value)
            observation = env.observe(state)
        found = {name: np.stack(values) for name, values in kept.items()}
        return found | {"total": np.tensordot(params.weights, found["costs"].sum(0), 1)}

    return play


def torch_rollout(params: EnvParams, hidden: int, episodes: int, steps: int) -> Callable[[], list[Any]]:
    """PyTorch, batched, as `rivals.torch_batched` plays before an update. `params` are NumPy arrays."""
    import torch

    from rivals.common import make_network, observation_size
    from rivals.torch_batched import Environment

    env = Environment(params, (episodes,))
    torch.manual_seed(1)
    network = make_network(observation_size(params), (hidden,), env.actions)
    weights = torch.as_tensor(params.weights)

    def play() -> list[Any]:
        torch.manual_seed(0)
        with torch.no_grad():
            normal = torch.randn(episodes, env.d) if env.misreads else None
            observation = env.begin(torch.rand(episodes, env.d), normal)
            luck = torch.rand(steps, episodes)
            noise = torch.randn(steps, episodes, env.d) if env.noisy else [None] * steps
            gumbel = -torch.empty(steps, episodes, env.actions).exponential_().log()
            kept = []
            for t in range(steps):
                action = (network(observation) + gumbel[t]).argmax(-1)
                alive = ~env.done
                after, costs = env.step(action, luck[t], noise[t])
                kept.append((observation, action, costs, alive))
                observation = after
            seen, chosen, costs, alive = (torch.stack(each) for each in zip(*kept, strict=True))
            return [seen, chosen, costs, alive, costs.sum(0) @ weights]

    return play


def gymnax_rollout(name: str, hidden: int, episodes: int, steps: int) -> Callable[..., Any]:
    """A gymnax environment under a network of the same shape, actions sampled, started anew when finished."""
    import flax.linen as nn
    import gymnax
    import jax

    env, params = gymnax.make(name)
    network = nn.Sequential([nn.Dense(hidden), nn.tanh, nn.Dense(env.num_actions)])
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))

    def play(key: jax.Array) -> Any:
        weights_key, start_key, key = jax.random.split(key, 3)
        seen, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(start_key, episodes), params)
        variables = network.init(weights_key, seen[0])

        def body(carry: Any, key: jax.Array) -> Any:
            seen, state = carry
            action_key, step_key = jax.random.split(key)
            action = jax.random.categorical(action_key, network.apply(variables, seen))
            after, state, reward, *_ = step(jax.random.split(step_key, episodes), state, action, params)
            return (after, state), (seen, action, reward)

        return jax.lax.scan(body, (seen, state), jax.random.split(key, steps))

    return play
