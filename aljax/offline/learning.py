"""Learning S policies from one log, each seed with weights and draws of its own."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from aljax import env, limits, runs
from aljax.checks import check_inputs
from aljax.errors import UserError
from aljax.offline.data import Log
from aljax.offline.learn import LearnState, advance, as_shown, init, policy_weights
from aljax.options import LearnConfig, LearnHyperparameters, Protocol
from aljax.policy import Learned, learned_of
from aljax.scenario import Scenario
from aljax.seeds import LEARNING, fetch, mesh_of, not_finite, places, run_in_pieces, seed_keys, spread

_PIECES = 10


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What learning S seeds from a log gave."""

    policy: Learned
    """Greedy; every array has a leading seed axis."""
    losses: np.ndarray
    """What was minimised: the sum of all networks' losses on each step's episodes. ``[S, updates]``"""
    seconds: Mapping[str, float]
    """``compile`` and ``train``."""

    @property
    def diverged(self) -> list[int]:
        """Seeds whose weights are not finite."""
        return not_finite(self.policy.variables)

    @property
    def curves(self) -> Mapping[str, np.ndarray]:
        """The losses by name, as a run folder keeps them. ``[S, updates]``"""
        return {runs.LOSS: self.losses}


def learn_seeds(
    scenario: Scenario,
    log: Log,
    config: LearnConfig,
    hyperparameters: LearnHyperparameters,
    protocol: Protocol,
    on_progress: Callable[[int, np.ndarray], None] | None = None,
) -> Learnt:
    """Learns `protocol.seeds` policies from one log, each with weights and draws of its own.

    Args:
      scenario: whose log it is; it says λ and which rows are allowed, and is not played.
      log: the data set.
      config: shape of learning.
      hyperparameters: its numbers.
      protocol: how many, and from which seed.
      on_progress: called now and then from the host with the steps done and the losses so far ``[S, updates]``.

    Returns:
      The policies and what they minimised.

    Raises:
      UserError: an option out of range, or arrays that are not this scenario's.
    """
    check(scenario, log, config, hyperparameters)
    numbers = jax.tree.map(np.float32, hyperparameters)
    devices = min(protocol.seeds, len(jax.local_devices()))
    # Once to every device: each piece would copy it there.
    episodes = as_shown(log.episodes, scenario.params, config)
    episodes = jax.device_put(episodes, NamedSharding(mesh_of(devices), P()))
    init_seeds, advance_seeds, finish = _programs(config, devices)

    def start() -> LearnState:
        keys = seed_keys(protocol, LEARNING)[places(protocol.seeds, devices)]
        return init_seeds(keys, scenario.params, episodes)

    def piece(state: LearnState, low: np.int32, high: np.int32) -> LearnState:
        return advance_seeds(state, low, high, numbers, scenario.params, episodes)

    def told(done: int, state: LearnState) -> None:
        if on_progress is not None:
            on_progress(done, fetch(state.losses, protocol.seeds))

    state, seconds = run_in_pieces(start, piece, config.updates, _PIECES, told)
    variables = jax.device_put(fetch(finish(state), protocol.seeds))
    return Learnt(learned_of(config, scenario.params, variables), fetch(state.losses, protocol.seeds), seconds)


@functools.lru_cache(16)
def _programs(config: LearnConfig, devices: int) -> tuple[Any, Any, Any]:
    """`init`, `advance` and `policy_weights` for seeds on a leading axis, spread over devices; the log is shared."""
    mesh = mesh_of(devices)
    return (
        spread(functools.partial(init, config=config), mesh, 2, ("learn.init", config)),
        spread(functools.partial(advance, config=config), mesh, 5, ("learn.advance", config), donate=True),
        jax.jit(jax.vmap(functools.partial(policy_weights, config=config))),
    )


def check(scenario: Scenario, log: Log, config: LearnConfig, hyperparameters: LearnHyperparameters) -> None:
    """Refuses options out of range, and data of another shape than the scenario's.

    Args:
      scenario: whose log it is.
      log: the data set.
      config: shape of learning.
      hyperparameters: its numbers.

    Raises:
      UserError: one line naming what is wrong.
    """
    for name in ("updates", "minibatch"):
        limits.check_whole(name, getattr(config, name))
    limits.check_hidden(config.hidden)
    for field in dataclasses.fields(hyperparameters):
        limits.check_number(field.name, getattr(hyperparameters, field.name))
    if not hyperparameters.target_rate <= 1:
        raise UserError(f"target_rate: expected a number in [0, 1], got {hyperparameters.target_rate}")
    check_inputs(config.inputs, scenario)
    if config.inputs == "told":
        raise UserError("inputs: no log tells which rows are up: expected observation or belief")
    if not len(log):
        raise UserError("the log has no episodes")
    shape, size = log.episodes.observation.shape, env.observation_size(scenario.params)
    if shape[2] != size:
        raise UserError(f"observations of {shape[2]} numbers, but scenario {scenario.name} has {size}")
