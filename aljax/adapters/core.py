"""What all adapters share: N environments on the host, stepped side by side by one compiled program.

An environment draws from a stream of its own, which its seed alone begins: how many stand beside it changes none of its
bits. Its numbers are Threefry's of the key that its seed gives, counted by episode and step, so that chance keeps no
state but these two counts. All of it runs on the host's own processor, where actions come from and observations go.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.adapters.fork import refuse_after_fork
from aljax.chance import numbers, standard_normal
from aljax.env import EnvParams, EnvState, num_actions, num_coordinates
from aljax.episodes import succeeded
from aljax.errors import UserError, listed, short
from aljax.overrides import Given
from aljax.scenario import Scenario, load_scenario
from aljax.target import Target, target_of

_LANES = 16
"""Programs work on multiples of so many environments: fewer are compiled to other instructions, and other last bits."""


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
    """What N environments answer to a start or a step; on the host, arrays that nothing else holds."""

    shown: Shown
    costs: Any
    """The five unweighted costs of the step; 0 at a start. float32 ``[N, 5]``"""
    episode_costs: Any
    """Their sums over the episode so far. float32 ``[N, 5]``"""
    reward: Any
    """−Σ λ_k C_k of the step; 0 at a start. float32 ``[N]``"""


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
class Draws:
    """Which normal numbers an environment needs. Static: those that it would multiply by 0 are not drawn."""

    misread: bool
    noise: bool

    def of_start(self, params: EnvParams) -> int:
        """How many numbers a start takes."""
        points, outages = params.start_points is not None, params.actions.mean_uptime is not None
        return num_coordinates(params) * (1 + self.misread) + points + num_actions(params) * outages

    def of_step(self, params: EnvParams) -> int:
        """How many numbers a step takes."""
        spread, outages = params.actions.latency_spread is not None, params.actions.mean_uptime is not None
        return 1 + num_coordinates(params) * self.noise + spread + num_actions(params) * outages


def scenario_of(scenario: str | Path | Scenario, overrides: Given = ()) -> Scenario:
    """The scenario that is meant.

    Args:
      scenario: one, or its name, or the path of its file.
      overrides: changes to one that is loaded, see `aljax.load_scenario`.

    Returns:
      The scenario.

    Raises:
      UserError: it cannot be, or changes to one that is loaded already.
    """
    if not isinstance(scenario, Scenario):
        return load_scenario(scenario, overrides)
    if overrides:
        raise UserError("overrides change a scenario that is loaded: give its name or path, not a Scenario")
    return scenario


def key_of(seed: int | None) -> np.ndarray:
    """The key that a seed begins.

    Args:
      seed: a whole number from 0, of any size; None: one that was never there before.

    Returns:
      Two words. uint32 ``[2]``

    Raises:
      UserError: it is no such number.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise UserError(f"seed: expected a whole number from 0, got {short(seed)}")
    return np.random.SeedSequence(seed).generate_state(2)


class Simulator:
    """N environments of one scenario. Numbers of a scenario are traced: others of the same form compile nothing."""

    def __init__(self, scenario: str | Path | Scenario, overrides: Given, size: int):
        refuse_after_fork()
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise UserError(f"environments: expected a whole number from 1, got {short(size)}")
        self.scenario, self.size, device = scenario_of(scenario, overrides), int(size), processor()
        params = jax.device_get(self.scenario.params)
        self.actions, self.observations = num_actions(params), env.observation_size(params)
        draws = Draws(misread=bool(np.any(params.misread > 0)), noise=bool(np.any(params.actions.noise > 0)))
        self._static = {"draws": draws, "target": target_of(device.platform)}
        self._params = jax.device_put(params, device)
        self._width = -(-self.size // _LANES) * _LANES
        self._episodes: Episodes = jax.device_put(_none_yet(params, self._width), device)
        self._keyed = np.zeros(self.size, bool)

    @property
    def begun(self) -> bool:
        """All environments were started."""
        return bool(self._keyed.all())

    def start(self, seeds: Sequence[int | None], chosen: np.ndarray | None = None) -> Answer:
        """Starts episodes.

        Args:
          seeds: of each environment, which begin its stream anew; None: the next episode of the stream that it has.
          chosen: which environments start an episode; None: all. Boolean ``[N]``

        Returns:
          What they answer; what others do counts for nothing.

        Raises:
          UserError: no seed.
        """
        refuse_after_fork()
        chosen = np.ones(self.size, bool) if chosen is None else np.asarray(chosen)
        seeded, key = np.zeros(self._width, bool), np.zeros((2, self._width), np.uint32)
        for i in np.flatnonzero(chosen).tolist():
            if seeds[i] is not None or not self._keyed[i]:
                key[:, i], seeded[i] = key_of(seeds[i]), True
        given = (self._params, self._episodes, self._padded(chosen), seeded, key)
        self._episodes, answer = _start(*given, **self._static)
        self._keyed |= chosen
        return self._copied(answer)

    def step(self, actions: Any) -> Answer:
        """Plays a step in every environment; episodes that have ended stay as they are, at no cost.

        Args:
          actions: a row of the action table for each. Integer ``[N]``

        Returns:
          What they answer.

        Raises:
          UserError: no rows of the table.
        """
        refuse_after_fork()
        given = self._padded(checked_actions(actions, self.size, self.scenario))
        self._episodes, answer = _step(self._params, self._episodes, given, **self._static)
        return self._copied(answer)

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Values for all lanes, 0 where there is no environment."""
        return values if self.size == self._width else np.pad(values, (0, self._width - self.size))

    def _copied(self, answer: Answer) -> Answer:
        """The environments' part, in arrays that nothing else holds."""
        return jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[: self.size]), answer)


def checked_actions(actions: Any, size: int, scenario: Scenario) -> np.ndarray:
    """Actions as the environment takes them.

    Args:
      actions: whatever an agent gave for rows of the action table, one for each of N environments.
      size: N.
      scenario: where.

    Returns:
      int32 ``[N]``

    Raises:
      UserError: they are no such rows.
    """
    found = np.asarray(actions)
    if found.dtype.kind not in "iu" or found.shape != (size,):
        raise UserError(f"actions: expected integers of shape ({size},), got {found.dtype} of shape {found.shape}")
    rows = len(scenario.action_names)
    if found.min() < 0 or found.max() >= rows:
        wrong = found[(found < 0) | (found >= rows)][0]
        names = listed(scenario.action_names)
        raise UserError(f"action {wrong}: expected a row of the action table, 0 to {rows - 1} ({names})")
    return found.astype(np.int32)


def processor() -> Any:
    """Where adapters compute: on the host's own processor.

    Returns:
      The device; where JAX was told to know of no processor, its default one.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _none_yet(params: EnvParams, size: int) -> Episodes:
    """Room for episodes that have not begun. NumPy's arrays"""
    d, rows, outages = num_coordinates(params), num_actions(params), params.actions.mean_uptime is not None

    def blank(params: EnvParams) -> Episodes:
        task, word = jnp.zeros((d, size)), jnp.zeros(size, jnp.uint32)
        state = env.fresh(task, task, jnp.zeros((rows, size), bool) if outages else None, params)
        return Episodes(jnp.stack([word, word]), word, state, jnp.zeros((len(env.COMPONENTS), size)))

    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(blank, params))


@functools.partial(jax.jit, static_argnames=("draws", "target"))
def _start(
    params: EnvParams,
    episodes: Episodes,
    chosen: jax.Array,
    seeded: jax.Array,
    key: jax.Array,
    *,
    draws: Draws,
    target: Target,
) -> tuple[Episodes, Answer]:
    """Starts the next episode where `chosen`, the first of a new key where `seeded`."""
    del target
    key = jnp.where(seeded, key, episodes.key)
    number = jnp.where(seeded, jnp.uint32(0), episodes.number + 1)
    costs = jnp.zeros_like(episodes.costs)
    begun = Episodes(key, number, _begin(key, number, params, draws), costs)
    begun = jax.tree.map(lambda new, old: jnp.where(chosen, new, old), begun, episodes)
    return begun, _answer(begun, costs, params)


@functools.partial(jax.jit, static_argnames=("draws", "target"))
def _step(
    params: EnvParams, episodes: Episodes, action: jax.Array, *, draws: Draws, target: Target
) -> tuple[Episodes, Answer]:
    """Plays a step."""
    episodes, costs = _play(episodes, action, params, draws, target)
    return episodes, _answer(episodes, costs, params)


def _begin(key: jax.Array, number: jax.Array, params: EnvParams, draws: Draws) -> EnvState:
    """The start of a key's episode of some number."""
    d, rows = num_coordinates(params), num_actions(params)
    take = _taker(_drawn(key, number, jnp.zeros_like(number), draws.of_start(params), params, draws))
    task = take(d)
    misread = standard_normal(take(d)) if draws.misread else jnp.zeros_like(task)
    point = None if params.start_points is None else take(1)[0]
    down = None if params.actions.mean_uptime is None else take(rows)
    return env.begin(env.Start(task, misread, point, down), params)


def _play(
    episodes: Episodes, action: jax.Array, params: EnvParams, draws: Draws, target: Target
) -> tuple[Episodes, jax.Array]:
    """Episodes one step later, and the five costs ``[5, N]`` of the step."""
    state, d = episodes.state, num_coordinates(params)
    moment = state.time.astype(jnp.uint32) + 1
    take = _taker(_drawn(episodes.key, episodes.number, moment, draws.of_step(params), params, draws))
    u = take(1)[0]
    epsilon = standard_normal(take(d)) if draws.noise else jnp.zeros((d, *u.shape))
    n = None if params.actions.latency_spread is None else standard_normal(take(1)[0])
    v = None if params.actions.mean_uptime is None else take(num_actions(params))
    state, costs = env.transition(state, action, env.Luck(u, epsilon, n, v), params, target)
    return dataclasses.replace(episodes, state=state, costs=episodes.costs + costs), costs


def _drawn(
    key: jax.Array, number: jax.Array, moment: jax.Array, count: int, params: EnvParams, draws: Draws
) -> jax.Array:
    """Uniform numbers of an episode's moment: 0 is its start, 1 its first step. ``[count, N]``"""
    a_moment = -(-max(draws.of_start(params), draws.of_step(params)) // 2)
    block = jnp.arange(-(-count // 2), dtype=jnp.uint32)[:, None]
    return jnp.concatenate(numbers(key, number, moment * np.uint32(a_moment) + block))


def _taker(drawn: jax.Array) -> Any:
    """Takes numbers one part after the other."""
    at = 0

    def take(count: int) -> jax.Array:
        nonlocal at
        at += count
        return drawn[at - count : at]

    return take


def _answer(episodes: Episodes, costs: jax.Array, params: EnvParams) -> Answer:
    # One by one, so that the bits of a sum do not depend on how many environments there are.
    weighted = [weight * cost for weight, cost in zip(params.weights, costs, strict=True)]
    reward = -functools.reduce(jnp.add, weighted)
    return Answer(shown_of(episodes.state, params), costs.T, episodes.costs.T, reward)


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
