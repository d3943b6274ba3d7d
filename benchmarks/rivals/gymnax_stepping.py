"""gymnax's classic environments, stepped with random actions as gymnax's own examples do: vmap inside a scan."""

from collections.abc import Callable
from typing import Any

import gymnax
import jax
import jax.numpy as jnp


def stepping(name: str, episodes: int, steps: int, *, automatic: bool) -> Callable[[jax.Array], Any]:
    """A function of a key that resets `episodes` environments and steps each `steps` times with random actions.

    Args:
      name: of the environment, as gymnax registers it.
      episodes: environments side by side.
      steps: steps of each.
      automatic: by ``env.step``, which starts a finished episode anew; or by ``env.step_env``, which does not.

    Returns:
      The function. It gives the last states and the sums of observations and rewards.
    """
    env, params = gymnax.make(name)
    action_space = env.action_space(params)
    step = jax.vmap(env.step if automatic else env.step_env, in_axes=(0, 0, 0, None))

    def play(key: jax.Array) -> Any:
        start_key, key = jax.random.split(key)
        seen, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(start_key, episodes), params)

        def body(carry: Any, key: jax.Array) -> Any:
            state, total, paid = carry
            action_key, step_key = jax.random.split(key)
            actions = jax.vmap(action_space.sample)(jax.random.split(action_key, episodes))
            seen, state, reward, *_ = step(jax.random.split(step_key, episodes), state, actions, params)
            return (state, total + seen, paid + reward), None

        return jax.lax.scan(body, (state, seen, jnp.zeros(episodes)), jax.random.split(key, steps))[0]

    return play
