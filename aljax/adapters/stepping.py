"""The compiled part of all adapters: N environments started and stepped side by side, each by chance of its own.

An environment's numbers are Threefry's of its key, counted by episode and step, so chance keeps no state but these two
counts, and how many environments stand beside one changes none of its bits.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.chance import numbers, standard_normal
from aljax.env import EnvParams, EnvState, num_actions, num_coordinates
from aljax.episodes import succeeded
from aljax.target import Target


class Shown(NamedTuple):
    """What N episodes show of where they stand."""

    observation: Any
    """float32 ``[N, O]``"""
    action_mask: Any
    """Which rows may be chosen now, 1 or 0. int8 ``[N, A]``"""
    is_success: Any
    """The episode has ended and violates nothing. Boolean ``[N]``"""
    terminated: Any
    """The episode has ended. Boolean ``[N]``"""


class Answer(NamedTuple):
    """What N environments answer to a start or a step."""

    shown: Shown
    costs: Any
    """The five unweighted costs of the step; 0 at a start. float32 ``[N, 5]``"""
    episode_costs: Any
    """Their sums over the episode so far. float32 ``[N, 5]``"""
    reward: Any
    """−Σ λ_k C_k of the step; 0 at a start. float32 ``[N]``"""

    def infos(self) -> dict[str, Any]:
        """What is told beside observations, by the names under which adapters tell it."""
        return {
            "action_mask": self.shown.action_mask,
            "costs": self.costs,
            "episode_costs": self.episode_costs,
            "is_success": self.shown.is_success,
        }


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Episodes:
    """Where N environments stand, axes as in `aljax.env`: the environments last."""

    key: jax.Array
    """What an environment's chance is drawn from. uint32 ``[2, N]``"""
    number: jax.Array
    """Which of the key's episodes it is. uint32 ``[N]``"""
    state: EnvState
    costs: jax.Array
    """Unweighted, summed over the episode so far. ``[5, N]``"""


@dataclasses.dataclass(frozen=True)
class Form:
    """All of a simulation that is compiled into its programs. Static; numbers of another scenario may have the same."""

    tree: Any
    """Of the environment's arrays."""
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    misread: bool
    """Normal numbers are drawn for it; those that an environment would multiply by 0 are not."""
    noise: bool
    """The same for the noise of the rows."""
    target: Target

    def unpacked(self, packed: tuple[jax.Array, jax.Array]) -> EnvParams:
        """The environment of its numbers, see `pack`."""
        leaves, at = [], [0, 0]
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            part = int(dtype != "float32")
            start, at[part] = at[part], at[part] + math.prod(shape)
            leaves.append(packed[part][start : at[part]].reshape(shape).astype(dtype))
        return jax.tree.unflatten(self.tree, leaves)


def pack(params: EnvParams, target: Target) -> tuple[Form, tuple[np.ndarray, np.ndarray]]:
    """An environment in two arrays: a call takes the longer, the more arrays it is given.

    Args:
      params: the environment, on the host.
      target: what its programs are compiled for.

    Returns:
      What is static of it, and its real and its whole numbers.
    """
    leaves, tree = jax.tree.flatten(params)
    shapes, dtypes = tuple(leaf.shape for leaf in leaves), tuple(leaf.dtype.name for leaf in leaves)
    misread, noise = bool(np.any(params.misread > 0)), bool(np.any(params.actions.noise > 0))
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for leaf in leaves:
        parts[leaf.dtype != np.float32].append(leaf.ravel())
    numbers = np.concatenate(parts[0]), np.concatenate(parts[1]).astype(np.int32)
    return Form(tree, shapes, dtypes, misread, noise, target), numbers


def none_yet(params: EnvParams, size: int) -> Episodes:
    """Room for episodes that have not begun.

    Args:
      params: the environment.
      size: N.

    Returns:
      NumPy's arrays of zeros.
    """
    d, rows, outages = num_coordinates(params), num_actions(params), params.actions.mean_uptime is not None

    def blank(params: EnvParams) -> Episodes:
        task, word = jnp.zeros((d, size)), jnp.zeros(size, jnp.uint32)
        state = env.fresh(task, task, jnp.zeros((rows, size), bool) if outages else None, params)
        return Episodes(jnp.stack([word, word]), word, state, jnp.zeros((len(env.COMPONENTS), size)))

    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(blank, params))


class Programs(NamedTuple):
    """The two compiled programs by which all adapters start episodes and step them.

    Each is given the environment's numbers (see `pack`) and episodes, whose memory it takes, and gives where the
    environments then stand, and their answers. Nothing is worked out by both: what the same formula gives may differ
    in its last bits from one program to another.
    """

    start: Callable[[Any, Episodes, Any, Any, Any], tuple[Episodes, Answer]]
    """Starts episodes where the third argument says so (Boolean ``[N]``): the next of their key's or, where the fourth
    does too (Boolean ``[N]``), the first of a new key, the fifth (uint32 ``[2, N]``). Answers of others mean nothing.
    """
    step: Callable[[Any, Episodes, Any], tuple[Episodes, Answer]]
    """Plays the rows that are the third argument (int32 ``[N]``); episodes that have ended stay as they are."""


@functools.cache
def programs(form: Form) -> Programs:
    """The programs of a form; they are compiled at their first call for a number of environments.

    Args:
      form: what is static of the environment.

    Returns:
      The programs, the same for equal forms.
    """
    start, step = (functools.partial(function, form) for function in (_start, _step))
    return Programs(jax.jit(start, donate_argnums=1), jax.jit(step, donate_argnums=1))


def _start(
    form: Form, packed: Any, episodes: Episodes, chosen: jax.Array, seeded: jax.Array, key: jax.Array
) -> tuple[Episodes, Answer]:
    """See `Programs.start`."""
    params, d = form.unpacked(packed), len(episodes.state.z)
    key = jnp.where(seeded, key, episodes.key)
    number = jnp.where(seeded, jnp.uint32(0), episodes.number + 1)
    take = _drawn(key, number, jnp.zeros_like(number), params, form)
    task = take(d)
    misread = standard_normal(take(d)) if form.misread else jnp.zeros_like(task)
    point = None if params.start_points is None else take(1)[0]
    down = None if params.actions.mean_uptime is None else take(num_actions(params))
    state = env.begin(env.Start(task, misread, point, down), params)
    begun = Episodes(key, number, state, jnp.zeros_like(episodes.costs))
    begun = jax.tree.map(lambda new, old: jnp.where(chosen, new, old), begun, episodes)
    return begun, _answer(begun, jnp.zeros_like(begun.costs), params)


def _step(form: Form, packed: Any, episodes: Episodes, action: jax.Array) -> tuple[Episodes, Answer]:
    """See `Programs.step`."""
    params, state, d = form.unpacked(packed), episodes.state, len(episodes.state.z)
    take = _drawn(episodes.key, episodes.number, state.time.astype(jnp.uint32) + 1, params, form)
    u = take(1)[0]
    epsilon = standard_normal(take(d)) if form.noise else jnp.zeros_like(state.z)
    n = None if params.actions.latency_spread is None else standard_normal(take(1)[0])
    v = None if params.actions.mean_uptime is None else take(num_actions(params))
    state, costs = env.transition(state, action, env.Luck(u, epsilon, n, v), params, form.target)
    episodes = dataclasses.replace(episodes, state=state, costs=episodes.costs + costs)
    return episodes, _answer(episodes, costs, params)


def shown_of(state: EnvState, params: EnvParams) -> Shown:
    """What episodes show of where they stand.

    Args:
      state: of N episodes, along the trailing axis.
      params: the environment.

    Returns:
      Arrays whose leading axis is N.
    """
    legal = jnp.broadcast_to(env.legal(state, params), (num_actions(params), *state.time.shape))
    return Shown(env.observe(state, params).T, legal.T.astype(jnp.int8), succeeded(state, params), state.done)


def _answer(episodes: Episodes, costs: jax.Array, params: EnvParams) -> Answer:
    # One by one, so that the bits of a sum do not depend on how many environments there are.
    total = functools.reduce(jnp.add, [weight * cost for weight, cost in zip(params.weights, costs, strict=True)])
    reward = jnp.where(total == 0.0, 0.0, -total)  # never -0.0
    return Answer(shown_of(episodes.state, params), costs.T, episodes.costs.T, reward)


def _drawn(
    key: jax.Array, number: jax.Array, moment: jax.Array, params: EnvParams, form: Form
) -> Callable[[int], jax.Array]:
    """Draws an episode's uniform numbers of a moment, 0 its start, 1 its first step; they are taken part by part."""
    d, outages = num_coordinates(params), num_actions(params) * (params.actions.mean_uptime is not None)
    points, spread = params.start_points is not None, params.actions.latency_spread is not None
    most = max(d * (1 + form.misread) + points + outages, 1 + d * form.noise + spread + outages)
    blocks, at = -(-most // 2), 0

    def take(count: int) -> jax.Array:
        nonlocal at
        first, at = at, at + count
        block = jnp.arange(first // 2, -(-at // 2), dtype=jnp.uint32)[:, None]
        pairs = jnp.stack(numbers(key, number, moment * np.uint32(blocks) + block), axis=1)
        return pairs.reshape(-1, len(number))[first % 2 :][:count]

    return take
