"""What follows from a step on: costs to go, and λ-returns in their place."""

import itertools

import jax
import jax.numpy as jnp

from aljax.env import EnvParams
from aljax.episodes import Trajectory
from aljax.target import Target, here


def step_costs(played: Trajectory, params: EnvParams) -> jax.Array:
    """Σ_k λ_k C_k of each step. ``[T, B]``

    Args:
      played: B episodes of T steps.
      params: the environment.

    Returns:
      0 after an episode's end. ``[T, B]``
    """
    return jnp.einsum("k,tkb->tb", params.weights, played.costs, precision="highest")


def costs_to_go(played: Trajectory, params: EnvParams, target: Target | None = None) -> jax.Array:
    """G_t: what each episode still costs from each step on, weighted. ``[T, B]``

    Args:
      played: B episodes of T steps.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      G. ``[T, B]``
    """
    return togo_of(step_costs(played, params), target)


def togo_of(costs: jax.Array, target: Target | None = None) -> jax.Array:
    """What is still to come at each step, that step's own included. ``[T, B]``

    Args:
      costs: of each step. ``[T, B]``
      target: what it is compiled for; None: this process's default backend.

    Returns:
      Sums from each step to the last. ``[T, B]``
    """
    target = target or here()
    if target.unrolled(len(costs)) > 1:
        return jnp.stack(list(itertools.accumulate(costs[::-1]))[::-1])
    return jnp.cumsum(costs[::-1], axis=0)[::-1]


def lambda_advantages(
    costs: jax.Array,
    values: jax.Array,
    alive: jax.Array,
    trace: float | jax.Array,
    target: Target | None = None,
) -> jax.Array:
    """λ-returns less the critic's estimates: what stands for costs to go less a baseline under a critic.

    The generalised advantage estimate of Schulman et al. (2016): A_t = c_t + V_{t+1} − V_t + λ A_{t+1}, nothing
    following an episode's end. V_t + A_t is the λ-return of Sutton and Barto, section 12.1.

    Args:
      costs: what each step cost, weighted, 0 after an episode's end. ``[T, B]``
      values: V, the critic's estimates. ``[T, B]``
      alive: which steps were played. Boolean ``[T, B]``
      trace: λ; 1 gives the costs to go themselves less V, 0 one step and the critic.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      A, 0 at steps not alive. ``[T, B]``
    """
    values = jnp.where(alive, values, 0.0)
    following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])

    def back(onward: jax.Array, step: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        cost, value, following = step
        onward = cost + following - value + trace * onward
        return onward, onward

    unroll = (target or here()).unrolled(len(costs))
    return jax.lax.scan(back, jnp.zeros_like(costs[0]), (costs, values, following), reverse=True, unroll=unroll)[1]


def residual_costs(
    costs: jax.Array, expected: jax.Array, played: jax.Array, trace: float | jax.Array, target: Target | None = None
) -> jax.Array:
    """What came of each step less what was expected of the row played, where every row's costs are expected.

    Backwards, with nothing following an episode's end: G_t = Σ_a π(a) q_t(a) + λ (c_t + G_{t+1} − q_t(A_t)), and the
    residual is what λ multiplies. Chance that q has averaged over is not in G: the doubly robust return of Jiang and
    Li (2016).

    Args:
      costs: what each step cost, weighted, 0 after an episode's end. ``[T, B]``
      expected: Σ_a π(a) q_t(a), likewise. ``[T, B]``
      played: q_t of the row played, likewise. ``[T, B]``
      trace: λ, one for all steps or one a step ``[T, B]``; 1 leaves no error of q in G on average.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      c_t + G_{t+1} − q_t(A_t). ``[T, B]``
    """
    own = (jnp.asarray(trace),) if jnp.ndim(trace) else ()

    def back(onward: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        cost, expected, played, *traces = step
        residual = cost + onward - played
        return expected + (traces[0] if traces else trace) * residual, residual

    unroll, given = (target or here()).unrolled(len(costs)), (costs, expected, played, *own)
    return jax.lax.scan(back, jnp.zeros_like(costs[0]), given, reverse=True, unroll=unroll)[1]


def root_mean_square(advantages: jax.Array, alive: jax.Array, further: jax.Array | None = None) -> jax.Array:
    """How large advantages are on the steps played: what they are divided by to have a mean square of 1.

    Args:
      advantages: A. ``[T, B]``
      alive: which steps were played. Boolean ``[T, B]``
      further: squares that count besides. ``[T, B]``

    Returns:
      Scalar.
    """
    squares = advantages**2 if further is None else advantages**2 + further
    return jnp.sqrt(squares.sum() / jnp.maximum(alive.sum(), 1) + 1e-8)
