"""Training over seeds: every seed's run at once, in one compiled program that goes on piece by piece."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from aljax.checks import check
from aljax.env import EnvParams
from aljax.host.modules import interpreter
from aljax.learning.risk import Risk, apart
from aljax.networks.architecture import Variables
from aljax.networks.inputs import inputs_of
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, learned_of
from aljax.posterior import posterior_of
from aljax.scenario import Scenario
from aljax.seeds import (
    TRAINING,
    fetch,
    keys_of,
    mesh_of,
    not_finite,
    places,
    run_in_pieces,
    seed_numbers,
    spread,
    target_on,
)
from aljax.train import Curve, TrainState, advance, init, policy_architecture

_PIECES = 20  # a run is shown, and could be interrupted, this many times


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training S seeds gave."""

    policy: Learned
    """Greedy; every array has a leading seed axis."""
    curve: Curve
    """Learning curves, leading seed axis, as NumPy arrays."""
    seconds: Mapping[str, float]
    """``compile`` and ``train``."""
    risk: Risk | None = None
    """Where thresholds and multipliers came to, leading seed axis; None where there are none."""

    @property
    def diverged(self) -> list[int]:
        """Seeds whose weights are not finite."""
        return not_finite(self.policy.variables)

    @property
    def curves(self) -> Mapping[str, np.ndarray]:
        """The curves by name, as a run folder keeps them. ``[S, updates]`` each, of components ``[S, updates, 5]``"""
        return {name: values for name, values in self.curve._asdict().items() if values is not None}


def train_seeds(
    scenario: Scenario,
    config: TrainConfig,
    hyperparameters: Hyperparameters,
    protocol: Protocol,
    on_progress: Callable[[int, Curve], None] | None = None,
    begin: Variables | None = None,
) -> Trained:
    """Trains `protocol.seeds` policies at once.

    Args:
      scenario: where.
      config: shape of the runs.
      hyperparameters: their numbers.
      protocol: how many, and from which seed.
      on_progress: called now and then from the host with the updates done and the curves so far. Nothing calls
        back from inside the compiled program, which runs in pieces.
      begin: weights to refine, with a leading axis of seeds; None: from scratch.

    Returns:
      The policies and their curves.

    Raises:
      UserError: an option out of range.
    """
    check(config, hyperparameters, protocol, scenario)
    static, numbers = apart(config, hyperparameters)
    devices = min(protocol.seeds, len(jax.local_devices()))
    init_seeds, advance_seeds = training_programs(static, scenario.horizon, devices)
    rows = places(protocol.seeds, devices)
    params = scenario.params if config.environments == "point" else posterior_of(scenario)

    def start() -> TrainState:
        weights = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], begin)
        given = (seed_numbers(protocol)[rows], weights), np.int32(protocol.seed), params
        with interpreter:  # both at once: while another thread then traces the evaluation, this one has them compiled
            first = init_seeds.traced(*given)
            if first is not None:
                advance_seeds.traced(first, np.int32(0), np.int32(0), numbers, params)
        return init_seeds(*given)

    def piece(state: TrainState, low: np.int32, high: np.int32) -> TrainState:
        return advance_seeds(state, low, high, numbers, params)

    def told(done: int, state: TrainState) -> None:
        if on_progress is not None:
            on_progress(done, fetch(state.curve, protocol.seeds))

    state, seconds = run_in_pieces(start, piece, config.updates, _PIECES, told)
    variables = jax.device_put(fetch(state.variables, protocol.seeds))
    policy = learned_of(config, scenario.params, variables)
    return Trained(policy, fetch(state.curve, protocol.seeds), seconds, fetch(state.risk, protocol.seeds))


@functools.lru_cache(16)
def training_programs(config: TrainConfig, steps: int, devices: int) -> tuple[Any, Any]:
    """`train.init` and `train.advance` for seeds on a leading axis, spread over devices; kept, so compiled once.

    Args:
      config: shape of the runs.
      steps: length of an episode's scan.
      devices: how many; the leading axis must be a multiple.

    Returns:
      The jitted functions. The first takes a pair of numbers of seeds and of weights to begin with, or None, the
      protocol's seed, and the environment;
      the second gives its state's memory to its result.
    """
    return programs_on(mesh_of(devices), config, steps)


def programs_on(mesh: Mesh, config: TrainConfig, steps: int) -> tuple[Any, Any]:
    """`training_programs` on given devices, which need not be this process's.

    Args:
      mesh: the devices, along an axis ``seeds``.
      config: shape of the runs.
      steps: length of an episode's scan.

    Returns:
      As `training_programs`.
    """
    target = target_on(mesh)
    static: dict[str, Any] = {"config": config, "steps": steps}

    def start(one: tuple[jax.Array, Variables | None], seed: jax.Array, params: EnvParams) -> TrainState:
        number, variables = one
        (key,) = keys_of(seed, TRAINING, number[None])  # here, where a program of its own would take longer to compile
        return init(key, params, variables, **static)

    further = functools.partial(advance, **static, target=target)
    return spread(start, mesh, 2, ("init", static), once=True), spread(
        further, mesh, 4, ("advance", static), donate=True
    )


def abstract_policy(scenario: Scenario, config: TrainConfig, protocol: Protocol) -> Learned:
    """Shapes of what `train_seeds` gives, without training.

    Args:
      scenario: where.
      config: shape of the training.
      protocol: how many seeds.

    Returns:
      A policy of `jax.ShapeDtypeStruct` in the place of arrays.
    """
    network, inputs = policy_architecture(config, scenario.params), inputs_of(config).size(scenario.params)
    one = jax.eval_shape(lambda: network.init(jax.random.key(0), inputs))
    variables = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((protocol.seeds, *leaf.shape), leaf.dtype), one)
    return learned_of(config, scenario.params, variables)
