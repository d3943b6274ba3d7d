"""One experiment from options to figures: train every seed in one program, evaluate all policies on shared luck."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from aljax import env, limits
from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.evaluate import Evaluation, Summary, check_finite, evaluate, summarise
from aljax.exact.policy import Optimal
from aljax.host import compiling
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, Policy, Variables, heuristics
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, TRAINING, fetch, mesh_of, not_finite, places, run_in_pieces, seed_keys, spread
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

    @property
    def diverged(self) -> list[int]:
        """Seeds whose weights are not finite."""
        return not_finite(self.policy.variables)

    @property
    def curves(self) -> Mapping[str, np.ndarray]:
        """The curves by name, as a run folder keeps them. ``[S, updates]`` each, of components ``[S, updates, 5]``"""
        return self.curve._asdict()


@dataclasses.dataclass(frozen=True)
class Compared:
    """What evaluating policies side by side gave."""

    evaluations: Mapping[str, Evaluation]
    summaries: Mapping[str, Summary]
    seconds: Mapping[str, float]
    """``compile`` and ``evaluate``."""


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
    numbers = jax.tree.map(np.float32, hyperparameters)
    devices = min(protocol.seeds, len(jax.local_devices()))
    init_seeds, advance_seeds = training_programs(config, scenario.horizon, devices)

    def start() -> TrainState:
        keys = seed_keys(protocol, TRAINING)
        given = jax.tree.map(lambda leaf: leaf[places(protocol.seeds, devices)], (keys, begin))
        return init_seeds(given, scenario.params)

    def piece(state: TrainState, low: np.int32, high: np.int32) -> TrainState:
        return advance_seeds(state, low, high, numbers, scenario.params)

    def told(done: int, state: TrainState) -> None:
        if on_progress is not None:
            on_progress(done, fetch(state.curve, protocol.seeds))

    state, seconds = run_in_pieces(start, piece, config.updates, _PIECES, told)
    variables = jax.device_put(fetch(state.variables, protocol.seeds))
    policy = Learned(variables, policy_architecture(config, scenario.params))
    return Trained(policy, fetch(state.curve, protocol.seeds), seconds)


@functools.lru_cache(16)
def training_programs(config: TrainConfig, steps: int, devices: int) -> tuple[Any, Any]:
    """`train.init` and `train.advance` for seeds on a leading axis, spread over devices; kept, so compiled once.

    Args:
      config: shape of the runs.
      steps: length of an episode's scan.
      devices: how many; the leading axis must be a multiple.

    Returns:
      The jitted functions. The first takes a pair of keys and of weights to begin with, or None, and the environment;
      the second gives its state's memory to its result.
    """
    mesh = mesh_of(devices)
    static: dict[str, Any] = {"config": config, "steps": steps}

    def start(seed: tuple[jax.Array, Variables | None], params: EnvParams) -> TrainState:
        key, variables = seed
        return init(key, params, variables, **static)

    return spread(start, mesh, 1), spread(functools.partial(advance, **static), mesh, 4, donate_argnums=0)


def prepare(
    scenario: Scenario, protocol: Protocol, learned: Learned | None = None, optimal: Optimal | None = None
) -> Callable[[Learned | None], Compared]:
    """Compiles the comparison of policies. See `compare`.

    Args:
      scenario: where.
      protocol: seeds and episodes.
      learned: shapes are enough (`abstract_policy`), so that this can run while the policy is trained.
      optimal: the exact optimum.

    Returns:
      The comparison, which takes the learned policy itself.
    """
    check_protocol(protocol, scenario)
    # The learned policy's row comes first, then what it is measured from.
    others: dict[str, Policy] = ({} if optimal is None else {optimal.name: optimal}) | dict(heuristics(scenario))
    trained = frozenset({Learned.name} if learned is not None else ())
    keys = seed_keys(protocol, EVALUATION)
    static = {"trained": trained, "episodes": protocol.evaluation_episodes, "steps": scenario.horizon}
    begun = time.perf_counter()
    run = jax.jit(functools.partial(evaluate, **static), compiler_options=compiling.options())
    given: dict[str, Policy] = {} if learned is None else {learned.name: learned}
    compiled = run.lower(keys, given | others, scenario.params).compile()
    compiled_in = time.perf_counter() - begun

    def comparison(learned: Learned | None) -> Compared:
        policies = ({} if learned is None else {learned.name: learned}) | others
        begun = time.perf_counter()
        found = jax.device_get(compiled(keys, policies, scenario.params))
        seconds = {"compile": compiled_in, "evaluate": time.perf_counter() - begun}
        for name in policies:
            check_finite(found[name], f"costs of policy {name}")
        reference = found.get(Optimal.name)
        summaries = {
            name: summarise(found[name], None if name == Optimal.name else reference, trained=name in trained)
            for name in policies
        }
        return Compared({name: found[name] for name in policies}, summaries, seconds)

    return comparison


def compare(
    scenario: Scenario, protocol: Protocol, learned: Learned | None = None, optimal: Optimal | None = None
) -> Compared:
    """Evaluates the learned policy, if there is one, beside the optimum and the heuristics on shared starts and luck.

    Args:
      scenario: where; it need not be the one of training, but must have as many actions and coordinates.
      protocol: seeds and episodes.
      learned: with a leading seed axis of `protocol.seeds`.
      optimal: the exact optimum (`aljax.exact.bracket.find_optimal`), from which the others' gaps are measured.

    Returns:
      Evaluations and their summaries, the learned policy first.
    """
    return prepare(scenario, protocol, learned, optimal)(learned)


def abstract_policy(scenario: Scenario, config: TrainConfig, protocol: Protocol) -> Learned:
    """Shapes of what `train_seeds` gives, without training."""

    def shapes(keys: jax.Array) -> Any:
        return jax.vmap(lambda key: init(key, scenario.params, config=config, steps=1).variables)(keys)

    variables = jax.eval_shape(lambda: shapes(jax.random.split(jax.random.key(0), protocol.seeds)))
    return Learned(variables, policy_architecture(config, scenario.params))


def check(
    config: TrainConfig, hyperparameters: Hyperparameters, protocol: Protocol, scenario: Scenario | None = None
) -> None:
    """Refuses options out of range, and what would not fit into any memory.

    Args:
      config: shape of the runs.
      hyperparameters: their numbers.
      protocol: their seeds.
      scenario: where, if it is known already: it says how large arrays become.

    Raises:
      UserError: one line naming the option.
    """
    limits.check_whole("episodes", config.episodes)
    limits.check_whole("batch", config.batch)
    if config.batch > config.episodes:
        raise UserError(f"batch: {config.batch} episodes an update, but only {config.episodes} episodes in all")
    most = limits.WHOLE["updates"][1]
    if config.updates > most:
        made = f"{config.episodes:,} in batches of {config.batch:,} make {config.updates:,} updates"
        raise UserError(f"episodes: {made}, expected at most {most:,}")
    limits.check_hidden(config.hidden)
    for field in dataclasses.fields(hyperparameters):
        limits.check_number(field.name, getattr(hyperparameters, field.name))
    check_protocol(protocol, scenario)
    if scenario is None:
        return
    shown = env.observation_size(scenario.params)
    played = ((config.batch, "episodes"), (scenario.horizon, "steps"), (shown, "numbers seen"))
    limits.check_size("batch", "an update", *played)
    weights = policy_architecture(config, scenario.params).products(shown)
    limits.check_size("hidden", "training", (protocol.seeds, "seeds"), (weights, "weights"), (6, "numbers for each"))


def check_protocol(protocol: Protocol, scenario: Scenario | None = None) -> None:
    """Refuses seeds and episodes out of range, and more of them than fit. See `check`."""
    for field in dataclasses.fields(protocol):
        limits.check_whole(field.name, getattr(protocol, field.name))
    if protocol.first_seed + protocol.seeds > 2**31:
        raise UserError(f"first_seed: {protocol.first_seed:,} and {protocol.seeds:,} more reach past seed 2^31 - 1")
    if scenario is not None:
        played = ((protocol.seeds, "seeds"), (protocol.evaluation_episodes, "episodes"), (scenario.horizon, "steps"))
        each = (len(env.COMPONENTS) + env.num_coordinates(scenario.params), "numbers")
        limits.check_size("evaluation_episodes", "the evaluation", *played, each)
