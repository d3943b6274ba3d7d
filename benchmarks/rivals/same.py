"""Do other environments play as aljax plays? The same actions with the same luck must end in the same states."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import EnvParams

TOLERANCE = 2e-3
"""Sums of some hundred single-precision numbers may differ by this share, or by this where they are small."""

Player = Callable[..., dict[str, Any]]
"""Plays ``(uniform [d, B], normal [d, B], actions [T, B], u [T, B], epsilon [T, d, B])``."""


def luck(params: EnvParams, episodes: int, steps: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Starts, actions and luck for a comparison; every other action is the one before."""
    d, A = env.num_coordinates(params), env.num_actions(params)
    rng = np.random.default_rng(seed)
    uniform, normal = rng.random((d, episodes), np.float32), rng.standard_normal((d, episodes), np.float32)
    u, epsilon = rng.random((steps, episodes), np.float32), rng.standard_normal((steps, d, episodes), np.float32)
    actions = rng.integers(A, size=(steps, episodes), dtype=np.int32)
    for t in range(1, steps):
        actions[t] = np.where(rng.random(episodes) < 0.5, actions[t - 1], actions[t])
    return uniform, normal, actions, u, epsilon


def aljax_plays(params: EnvParams, uniform: Any, normal: Any, actions: Any, u: Any, epsilon: Any) -> dict[str, Any]:
    """The comparison's play in aljax: end states, and sums of what was seen and paid."""

    def body(carry: Any, drawn: Any) -> Any:
        state, seen, paid = carry
        action, u, epsilon = drawn
        state, costs = env.transition(state, action, env.Luck(u, epsilon), params)
        return (state, seen + env.observe(state, params), paid + costs), None

    start = env.begin(env.Start(jnp.asarray(uniform), jnp.asarray(normal)), params)
    carry = (start, env.observe(start, params), jnp.zeros((5, uniform.shape[1])))
    (final, seen, paid), _ = jax.jit(lambda *a: jax.lax.scan(body, *a))(carry, (actions, u, epsilon))
    names = ("z", "misread", "latency", "money", "time", "done")
    return {
        "final": {name: np.asarray(getattr(final, name)) for name in names},
        "seen": np.asarray(seen),
        "paid": np.asarray(paid),
    }


def difference(params: EnvParams, player: Player, episodes: int = 512) -> float:
    """The largest difference between aljax and another environment, relative to numbers above 1.

    An episode may end a step apart where rounding decides whether it is within tolerance: the few that do (at most
    one in a hundred) are left out.

    Raises:
      RuntimeError: they differ by more than rounding: there is nothing to compare.
    """
    drawn = luck(params, episodes, int(params.horizon))
    ours, theirs = aljax_plays(params, *drawn), player(*drawn)
    agree = ours["final"]["time"] == theirs["final"]["time"]
    if agree.mean() < 0.99:
        raise RuntimeError(f"{np.sum(~agree)} of {episodes} episodes end at another time than aljax's")
    pairs = [(ours["final"][name], theirs["final"][name]) for name in ours["final"]]
    pairs += [(ours[name], theirs[name]) for name in ("seen", "paid")]
    worst = 0.0
    for mine, other in pairs:
        mine, other = np.asarray(mine, np.float64)[..., agree], np.asarray(other, np.float64)[..., agree]
        worst = max(worst, float((np.abs(mine - other) / np.maximum(1.0, np.abs(mine))).max()))
    if not worst < TOLERANCE:
        raise RuntimeError(f"the environments differ by {worst}: nothing to compare")
    return worst
